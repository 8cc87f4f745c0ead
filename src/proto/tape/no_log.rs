//! Replaces `log.rs` in builds that are not for tests.
use super::{Facts, Note};

#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn stream_blocked() {}

#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn take_stream_blocked() -> bool {
    false
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {}

impl Tape {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {}
    }

    #[inline(always)]
    pub(crate) fn note(&self, _: Note) {}

    #[inline(always)]
    pub(crate) fn check(&self, _: Note, _: impl FnOnce() -> Facts) {}
}
