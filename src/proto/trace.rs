//! Events of the crate `tracing`, for operators. The documentation in `lib.rs` has a table of these
//! events. Without the feature `tracing`, no event is emitted.
//!
//! The caller adds spans, because only the caller can name the connection. Text from the peer is
//! truncated and escaped. Events never show payloads of messages or queries of URLs. The only
//! header value that they show is the chosen subprotocol, in the event of a server.
#![cfg_attr(not(feature = "tracing"), allow(unused, clippy::single_match))]
#[cfg_attr(not(feature = "tracing"), path = "trace/no_events.rs")]
mod events;

use crate::proto::{close::CloseFrame, error::RecvError, role::Role, shown::Shown};
use core::fmt::Display;
use events::{debug, info, trace};

/// The target of all events. By default an event's target is the module that emits the event. With
/// one target for all events, one filter finds them all.
const TARGET: &str = "tickwire";

/// Reports that an opening handshake succeeded; `path` is the requested path. The event of a client
/// has no `subprotocol`, because the subprotocol may be a secret token that the client offered in
/// place of a cookie.
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

/// Reports that an opening handshake failed. `status` is the HTTP status of a server's response to
/// `error`. A client sends no response, so a client's event does not show `status`.
#[inline]
pub(crate) fn handshake_failed(role: Role, error: impl Display, status: u16) {
    let status = (role == Role::Server).then_some(status);
    info!(target: TARGET, ?role, %error, status, "opening handshake failed");
}

/// Reports that a message or a chunk is delivered. `payload` is the uncompressed length in bytes.
#[inline(always)]
pub(crate) fn received(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message received");
}

/// Reports that a message or a chunk was queued. `payload` is the frame's payload length in bytes.
#[inline(always)]
pub(crate) fn queued(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message queued");
}

/// Reports that a Close was received.
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

/// Reports that a Close was queued.
#[inline]
pub(crate) fn close_queued(role: Role, frame: Option<CloseFrame<'_>>) {
    debug!(target: TARGET, ?role, code = code(frame), "Close queued");
}

fn code(frame: Option<CloseFrame<'_>>) -> u16 {
    frame.map_or(1005, |frame| frame.code.get())
}

/// Reports that a sender was dropped with messages unsent. `bytes` returns the number of unsent
/// bytes of these messages. If the number is 0, nothing is reported. Without the feature `tracing`,
/// `bytes` is not called, because the call costs time.
#[inline]
pub(crate) fn unsent(role: Role, bytes: impl FnOnce() -> u64) {
    let unsent = if events::EMITTED { bytes() } else { 0 };
    if unsent > 0 {
        info!(target: TARGET, ?role, unsent, "dropped with messages unsent");
    }
}

/// Reports the error that ended receiving.
#[inline]
pub(crate) fn failed(role: Role, error: RecvError) {
    match error.close_code() {
        Some(code) => info!(target: TARGET, ?role, %error, code = code.get(), "connection failed"),
        None => debug!(target: TARGET, ?role, %error, "connection ended"),
    }
}
