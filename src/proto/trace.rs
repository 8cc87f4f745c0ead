//! Events of the crate `tracing`, for operators; `lib.rs` has a table of them.
//!
//! The caller adds spans, because only the caller can name the connection. Text from the peer is
//! truncated and escaped. Payloads of messages and queries of URLs are never shown, and of header
//! values only the chosen subprotocol, in a server's event.
#![cfg_attr(not(feature = "tracing"), allow(unused, clippy::single_match))]
#[cfg_attr(not(feature = "tracing"), path = "trace/no_events.rs")]
mod events;

use crate::proto::{close::CloseFrame, error::RecvError, role::Role, shown::Shown};
use core::fmt::Display;
use events::{debug, info, trace};

/// One for all events, so that one filter finds them all.
const TARGET: &str = "tickwire";

/// A client's event has no `subprotocol`, because it may be a secret token that the client offered
/// in place of a cookie.
#[inline]
pub(crate) fn opened<'p>(role: Role, path: impl FnOnce() -> &'p str, subprotocol: Option<&str>) {
    let subprotocol = subprotocol.filter(|_| role == Role::Server);
    debug!(
        target: TARGET,
        ?role,
        path = %Shown(path().as_bytes()),
        subprotocol = subprotocol.map(|name| tracing::field::display(Shown(name.as_bytes()))),
        "opening handshake done"
    );
}

/// `status` is for a server's response; a client sends none.
#[inline]
pub(crate) fn handshake_failed(role: Role, error: impl Display, status: u16) {
    let status = (role == Role::Server).then_some(status);
    info!(target: TARGET, ?role, %error, status, "opening handshake failed");
}

/// `payload` is the uncompressed length in bytes.
#[inline(always)]
pub(crate) fn received(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message received");
}

/// `payload` is the frame's payload length in bytes.
#[inline(always)]
pub(crate) fn queued(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message queued");
}

#[inline]
pub(crate) fn close_received(role: Role, frame: Option<CloseFrame<'_>>) {
    debug!(
        target: TARGET,
        ?role,
        code = code(frame),
        reason = %Shown(frame.map_or("", |frame| frame.reason).as_bytes()),
        "Close received"
    );
}

#[inline]
pub(crate) fn close_queued(role: Role, frame: Option<CloseFrame<'_>>) {
    debug!(target: TARGET, ?role, code = code(frame), "Close queued");
}

fn code(frame: Option<CloseFrame<'_>>) -> u16 {
    frame.map_or(1005, |frame| frame.code.get())
}

/// A sender was dropped with `bytes()` bytes of messages unsent; 0 is not reported. Without the
/// feature `tracing` we don't call `bytes`, which costs time.
#[inline]
pub(crate) fn unsent(role: Role, bytes: impl FnOnce() -> u64) {
    let unsent = if events::EMITTED { bytes() } else { 0 };
    if unsent > 0 {
        info!(target: TARGET, ?role, unsent, "dropped with messages unsent");
    }
}

#[inline]
pub(crate) fn failed(role: Role, error: RecvError) {
    match error.close_code() {
        Some(code) => info!(target: TARGET, ?role, %error, code = code.get(), "connection failed"),
        None => debug!(target: TARGET, ?role, %error, "connection ended"),
    }
}
