//! Replaces `inflate.rs` when the feature `deflate` is off. No message is compressed, so the type
//! `Inflate` has no values.
use super::{Receiver, walk::Stop};
use crate::proto::{
    config::Config,
    connection::recv_buffer::RecvBuffer,
    deflate::DeflateParams,
    error::RecvError,
    kernel::Buffer,
    mask::Masker,
    message::{DataKind, OwnedMessage},
    role::Role,
};
use core::ops::Range;

pub(super) type Handle = Inflate;

pub(super) enum Inflate {}

impl Receiver {
    pub(in crate::proto::connection) fn set_deflate(
        &mut self,
        _: Role,
        _: &Config,
        agreed: DeflateParams,
    ) {
        match agreed {}
    }
}

impl Inflate {
    pub(super) fn buffer_len(&self) -> usize {
        match *self {}
    }

    pub(super) fn taken(&self) -> u64 {
        match *self {}
    }

    pub(super) fn take(
        &mut self,
        _: &mut RecvBuffer,
        _: usize,
        _: Option<&mut Masker>,
        _: bool,
        _: Option<usize>,
    ) -> Result<(usize, Stop), RecvError> {
        match *self {}
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match *self {}
    }

    pub(super) fn bytes_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        match *self {}
    }

    pub(super) fn text(&self) -> &str {
        match *self {}
    }

    pub(super) fn clear(&mut self) {
        match *self {}
    }

    pub(super) fn give_back(&mut self) {
        match *self {}
    }

    pub(super) fn take_message(&mut self, _: DataKind) -> OwnedMessage {
        match *self {}
    }
}
