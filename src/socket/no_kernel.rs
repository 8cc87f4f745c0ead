//! Replaces the module `kernel` on systems other than Linux, and if the feature `stamps` is off.
use crate::proto::message::Arrival;
use std::io;

pub(super) const STAMPS: bool = false;

pub(super) fn stamp_reads<S>(_: &S) -> io::Result<()> {
    Ok(())
}

/// Never called: `STAMPS` is `false`.
pub(super) fn read<S>(_: &S, _: &mut [u8], _: bool) -> io::Result<(usize, Option<Arrival>)> {
    Err(io::ErrorKind::Unsupported.into())
}
