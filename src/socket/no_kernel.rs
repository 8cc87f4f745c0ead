//! Replaces `kernel` where the system stamps nothing, or the feature `stamps` is off.
use crate::proto::message::Arrival;
use std::io;

pub(super) fn stamp_reads<S>(_: &S) -> io::Result<bool> {
    Ok(false)
}

/// Not called: no stream is stamped.
pub(super) fn read<S>(_: &S, _: &mut [u8], _: bool) -> io::Result<(usize, Option<Arrival>)> {
    Err(io::ErrorKind::Unsupported.into())
}
