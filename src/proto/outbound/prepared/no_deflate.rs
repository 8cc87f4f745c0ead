//! Replaces the module `deflate` if the feature `deflate` is off. Nothing is compressed.
#[derive(Clone)]
pub(super) struct Packed;

impl Packed {
    pub(super) fn new(_: bool) -> Self {
        Self
    }
}
