//! Events for operators, with the crate `tracing`: handshakes and Closes at DEBUG, refusals and
//! violations at INFO, each message at TRACE. The docs in `lib.rs` have a table of these events.
//! Without the feature `tracing`, `no_trace.rs` replaces this file.
//!
//! The caller adds spans, because only the caller can name the connection. Enter a span around the
//! calls, or attach a span to the task. The peer's text is escaped and truncated. Payloads of
//! messages, queries and values of headers are never shown, except the subprotocol that a server
//! has chosen.
use crate::proto::{close::CloseFrame, error::RecvError, role::Role, shown::Shown};
use core::fmt::Display;
use tracing::{debug, info, trace};

/// The target of all events, wherever they are in the source, so that users can filter by this
/// target.
const TARGET: &str = "tickwire";

/// An opening handshake succeeded; `path` is the requested path. Only a server shows the
/// `subprotocol`, because it chose the name itself. A client's server may have chosen a token that
/// the client offered.
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

/// An opening handshake failed; `status` is the status of a server's answer.
#[inline]
pub(crate) fn handshake_failed(role: Role, error: impl Display, status: u16) {
    let status = (role == Role::Server).then_some(status);
    info!(target: TARGET, ?role, %error, status, "opening handshake failed");
}

/// A message or a chunk was received.
#[inline(always)]
pub(crate) fn received(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message received");
}

/// A message or a chunk was queued.
#[inline(always)]
pub(crate) fn queued(role: Role, payload: usize) {
    trace!(target: TARGET, ?role, payload, "message queued");
}

/// A Close was received.
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

/// A Close was queued.
#[inline]
pub(crate) fn close_queued(role: Role, frame: Option<CloseFrame<'_>>) {
    debug!(target: TARGET, ?role, code = code(frame), "Close queued");
}

fn code(frame: Option<CloseFrame<'_>>) -> u16 {
    frame.map_or(1005, |frame| frame.code.get())
}

/// A sender was dropped with this number of unsent bytes of messages.
#[inline]
pub(crate) fn unsent(role: Role, bytes: impl FnOnce() -> u64) {
    let unsent = bytes();
    if unsent > 0 {
        info!(target: TARGET, ?role, unsent, "dropped with messages unsent");
    }
}

/// Nothing more is received: a violation, a deadline, or a stream that ended without a Close.
#[inline]
pub(crate) fn failed(role: Role, error: RecvError) {
    match error.close_code() {
        Some(code) => info!(target: TARGET, ?role, %error, code = code.get(), "connection failed"),
        None => debug!(target: TARGET, ?role, %error, "connection ended"),
    }
}
