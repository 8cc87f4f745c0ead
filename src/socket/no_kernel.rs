//! In place of `kernel` where the system stamps nothing and polls no card, or the feature `socket` is off.
use crate::proto::message::Arrival;
use std::io;

#[allow(dead_code)] // with the feature alone
pub(super) fn prefer_busy_poll<S>(_: &S) -> io::Result<()> {
    Ok(())
}

#[allow(dead_code)] // with the feature alone
pub(super) fn busy_poll_budget<S>(_: &S, _: u16) -> io::Result<()> {
    Ok(())
}

#[allow(dead_code)] // with the feature alone
pub(super) fn stamp_reads<S>(_: &S) -> io::Result<bool> {
    Ok(false)
}

/// Not called: no stream is stamped.
pub(super) fn read<S>(_: &S, _: &mut [u8]) -> io::Result<(usize, Option<Arrival>)> {
    Err(io::ErrorKind::Unsupported.into())
}
