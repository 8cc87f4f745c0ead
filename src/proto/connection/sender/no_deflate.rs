//! In place of `deflate` without that feature: nothing is compressed.
use super::Sender;
use crate::proto::prepared::Prepared;

#[derive(Default)]
pub(super) struct Deflate {}

impl Deflate {
    pub(super) fn is_on(&self) -> bool {
        false
    }

    pub(super) fn stop(&mut self) {}
}

impl Sender {
    pub(super) fn frame_compressed(&mut self, _: u8, _: &[u8]) -> bool {
        false
    }

    pub(super) fn frame_precompressed(&mut self, _: &Prepared) -> bool {
        false
    }

    pub(super) fn frame_compressed_chunk(&mut self, _: u8, _: &[u8], _: bool) -> bool {
        false
    }
}
