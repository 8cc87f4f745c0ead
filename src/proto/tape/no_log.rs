//! Replaces `log.rs` in builds that are not for tests. Nothing is noted.
use super::{Facts, Note};

/// The stream itself answered a read with `Pending`.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn stream_blocked() {}

/// Returns whether `stream_blocked` was called since the last call of this function.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn take_stream_blocked() -> bool {
    false
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {}

impl Tape {
    #[inline(always)]
    pub(crate) fn note(&self, _: Note) {}

    #[inline(always)]
    pub(crate) fn check(&self, _: Note, _: impl FnOnce() -> Facts) {}
}
