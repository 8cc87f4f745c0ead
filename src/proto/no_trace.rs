//! Replaces the module `trace` if the feature `tracing` is off. No events are emitted.
use crate::proto::{close::CloseFrame, error::RecvError, role::Role};
use core::fmt::Display;

pub(crate) fn opened<'p>(_: Role, _: impl FnOnce() -> &'p str, _: Option<&str>) {}

pub(crate) fn handshake_failed(_: Role, _: impl Display, _: u16) {}

#[inline(always)]
pub(crate) fn received(_: Role, _: usize) {}

#[inline(always)]
pub(crate) fn queued(_: Role, _: usize) {}

#[inline]
pub(crate) fn close_received(_: Role, _: Option<CloseFrame<'_>>) {}

#[inline]
pub(crate) fn close_queued(_: Role, _: Option<CloseFrame<'_>>) {}

#[inline(always)]
pub(crate) fn unsent(_: Role, _: impl FnOnce() -> u64) {}

#[inline]
pub(crate) fn failed(_: Role, _: RecvError) {}
