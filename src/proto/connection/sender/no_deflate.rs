//! Replaces `deflate.rs` when the feature `deflate` is off. Nothing is compressed.
use super::Sender;
use crate::proto::{
    config::Config, deflate::DeflateParams, outbound::prepared::Prepared, role::Role,
};
use core::ops::Range;

#[derive(Default)]
pub(super) struct Deflate {}

impl Deflate {
    pub(super) fn is_on(&self) -> bool {
        false
    }

    pub(super) fn stop(&mut self) {}
}

impl Sender {
    pub(in crate::proto::connection) fn set_deflate(
        &mut self,
        _: Role,
        _: &Config,
        agreed: DeflateParams,
    ) {
        match agreed {}
    }

    pub(super) fn frame_compressed(&mut self, _: u8, _: &[u8]) -> bool {
        false
    }

    pub(super) fn frame_compressed_built(&mut self, _: u8, _: Range<usize>) -> bool {
        false
    }

    pub(super) fn frame_precompressed(&mut self, _: &Prepared) -> bool {
        false
    }

    pub(super) fn frame_compressed_chunk(&mut self, _: u8, _: &[u8], _: bool) -> bool {
        false
    }
}
