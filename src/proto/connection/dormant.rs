//! [`Dormant`]: an idle connection without its buffers and settings.
use super::{
    Connection, Receiver, Sender,
    inbound::Inbound,
    next::LoopState,
    receiver::Kept,
    sender::DormantSender,
    timers::{DormantTimers, Timers},
};
use crate::proto::{
    config::{Config, Negotiated},
    role::Role,
    tape::{Note, Tape},
};
use alloc::boxed::Box;
use core::fmt;

/// An idle connection that takes about an eighth of the memory of an active connection, or a
/// quarter with the feature `counters`. This type is for servers with many connections of which
/// only a few are active at a time.
///
/// [`Connection::into_dormant`] makes a connection dormant.
/// [`into_connection`](Self::into_connection) makes it active again, for example when its stream is
/// readable. Each of the two calls takes about 0.1 µs. Positions, round-trip times, masking keys
/// and deadlines are kept, so the connection goes on as before. Only the last message and its
/// [`info`](crate::Receiver::info) are forgotten.
///
/// ```
/// use tickwire::{Config, Connection, Negotiated};
///
/// let config = Config::server();
/// let conn = Connection::server(&config, Negotiated::default());
/// let dormant = conn.into_dormant().expect("nothing has arrived, and nothing is to be sent");
/// assert!(size_of_val(&dormant) < size_of::<Connection>() / 3);
/// let mut conn = dormant.into_connection(&config);
/// assert!(conn.sender_mut().feed("hello").is_ok());
/// ```
pub struct Dormant {
    kept: Kept,
    tx: DormantSender,
    timers: DormantTimers,
    negotiated: Option<Box<Negotiated>>,
    role: Role,
}

impl fmt::Debug for Dormant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dormant").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Connection {
    /// Makes an idle connection dormant.
    ///
    /// # Errors
    ///
    /// Returns the connection itself, unchanged, if it is not idle. A connection is not idle if
    /// received bytes are not processed, a message is unfinished in either direction, bytes wait to
    /// be sent, or reading is paused. It is also not idle while its heartbeat waits for a sign of
    /// life, or while a call of `handle_timeout` still has to tell when a Pong arrived. After a
    /// Close, a failure or the end of the stream, no connection is idle. A connection that has
    /// agreed on compression never becomes dormant: with context takeover, it would have to keep
    /// its compression windows, which take most of its memory.
    #[allow(clippy::result_large_err)] // The error is the connection, which the caller had before.
    pub fn into_dormant(mut self) -> Result<Dormant, Self> {
        let Self { inbound, tx, .. } = &mut self;
        if !inbound.may_be_dormant() || !tx.may_be_dormant() {
            return Err(self);
        }
        Ok(Dormant {
            kept: core::mem::take(&mut inbound.rx.kept),
            tx: tx.keep(),
            timers: inbound.timers.keep(),
            negotiated: inbound.negotiated.take(),
            role: inbound.rx.role(),
        })
    }
}

impl Dormant {
    /// Makes the connection active again. `config` has to be the `Config` that the connection had.
    pub fn into_connection(self, config: &Config) -> Connection {
        let Self { kept, tx, timers, negotiated, role } = self;
        let mut rx = Receiver::new(role, config);
        let timers = Timers::from_kept(timers, config);
        rx.kept = kept;
        let stamps_reads = config.stamp_reads;
        // The stream of an idle connection was not shut. The old `LoopState` may have known that
        // reads block; without it, `next` may ask for one read in vain.
        let mut tx = Sender::from_kept(tx, config);
        rx.tape = Tape::new();
        tx.out.tape = rx.tape.clone();
        rx.tape.note(Note::Starved);
        Connection {
            inbound: Inbound { rx, timers, shut: None, stamps_reads, negotiated }.into(),
            tx: tx.into(),
            loop_state: LoopState::default(),
        }
    }
}

#[cfg(test)]
mod tests;
