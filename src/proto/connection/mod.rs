//! The connection's state machine: a [`Receiver`], a [`Sender`], timers, and the policy that joins
//! them.
//!
//! The halves share nothing. What one owes the other (a Pong, the answering Close, the Close that
//! reports a violation) passes through [`respond`](inbound::respond). `closing` decides how a
//! connection ends, `handshake` opens it; adapters read, write and tell the time.
pub(crate) mod closing;
#[cfg_attr(not(feature = "counters"), path = "no_counters.rs")]
pub(crate) mod counters;
mod idle;
mod inbound;
mod looks;
mod next;
pub(crate) mod out_buffer;
mod receiver;
mod recv_buffer;
mod rtt;
mod sender;
mod silence;
mod stall;
mod timers;

pub use closing::{Closed, Ending, ReadyState};
pub(crate) use inbound::Inbound;
pub use next::{Next, Wait};
pub use out_buffer::Outgoing;
pub(crate) use receiver::Delivery;
pub use receiver::{Receiver, Step};
pub(crate) use recv_buffer::RecvBuffer;
pub use rtt::RoundTrip;
pub use sender::{MessageWriter, Position, Sender};

use crate::proto::{
    close::CloseFrame,
    config::{Config, Negotiated},
    entropy::Entropy,
    error::{RecvError, SendError},
    memory::Memory,
    role::Role,
    time::Time,
};
use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

/// One open WebSocket connection without its stream: bytes in, events out; messages in, bytes out.
///
/// # Your own loop
///
/// [`next`](Self::next) says what to do: hand on what arrived, write, read, shut the stream down,
/// wait, or drop it. This is the whole loop over a stream that does not block, with deadlines,
/// writes that block, backpressure and an orderly end:
///
/// ```
#[doc = include_str!("../../../docs/loop.rs")]
/// ```
///
/// For readiness of edges (mio, epoll) that is all. Over TLS the loop reads and writes through a
/// `tls::Session` (feature `rustls`).
///
/// # The fine calls
///
/// A loop that wants another order, chunks, or a kernel that reads by itself has the parts that
/// `next` is made of:
///
/// - **Inputs**: [`Receiver::spare_mut`] and [`commit`](Receiver::commit),
///   [`end_of_stream`](Receiver::end_of_stream), through [`receiver_mut`](Self::receiver_mut);
///   [`write_failed`](Self::write_failed), [`write_blocked`](Self::write_blocked),
///   [`shut_down`](Self::shut_down); [`handle_timeout`](Self::handle_timeout).
/// - **Commands**: those of [`Sender`], through [`sender_mut`](Self::sender_mut) or
///   [`split_mut`](Self::split_mut).
/// - **Outputs**: [`step`](Self::step), then [`Receiver::message`] or [`event`](Receiver::event);
///   [`Sender::outgoing`]; [`poll_timeout`](Self::poll_timeout); [`ending`](Self::ending).
///
/// After each `step` that is not an event, write what is outgoing. At
/// [`NeedInput`](Step::NeedInput), read; at [`Closed`](Step::Closed) or an error, do what `ending`
/// says. Once reading would block, tell the time if `poll_timeout` is due, and step again.
#[derive(Debug)]
pub struct Connection {
    inbound: Inbound,
    tx: Sender,
    turn: next::Turn,
}

impl Connection {
    /// The server's end of a connection whose opening handshake is done.
    pub fn server(config: &Config, negotiated: Negotiated) -> Self {
        Self::new(Role::Server, config, negotiated, None)
    }

    /// The client's end of a connection whose opening handshake is done. `entropy` supplies its
    /// masking keys.
    pub fn client(
        config: &Config,
        negotiated: Negotiated,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> Self {
        Self::new(Role::Client, config, negotiated, Some(Box::new(entropy)))
    }

    pub(crate) fn new(
        role: Role,
        config: &Config,
        negotiated: Negotiated,
        entropy: Option<Box<dyn Entropy + Send + Sync>>,
    ) -> Self {
        let deflate = negotiated.deflate;
        let mut this = Self {
            inbound: Inbound::new(role, config, negotiated),
            tx: Sender::new(config, entropy),
            turn: next::Turn::default(),
        };
        if let Some(agreed) = deflate {
            this.inbound.rx.set_deflate(role, config, agreed);
            this.tx.set_deflate(role, config, agreed);
        }
        this
    }

    /// Takes over the bytes that a handshake has read, and queues its response, in the parts it
    /// has; if possible in the head's buffer.
    pub(crate) fn begin_with(&mut self, input: RecvBuffer, response: &[&[u8]]) {
        let free = self.inbound.rx.begin_with(input);
        self.tx.begin_with(free, response);
    }

    /// Keeps the head of the response that opened it.
    pub(crate) fn keep_response(&mut self, head: Vec<u8>) {
        self.inbound.keep_response(head);
    }

    /// The head of the response, if it was kept.
    pub(crate) fn response_head(&self) -> Option<&[u8]> {
        self.inbound.response()
    }

    /// Takes buffers from `memory` and gives them back there.
    pub(crate) fn set_memory(&mut self, memory: &'static Memory) {
        self.inbound.rx.set_memory(memory);
        self.tx.set_memory(memory);
    }

    // Inputs.

    /// Says that the stream failed to write. The sending half is closed and emptied
    /// ([`dropped`](Sender::dropped) counts the bytes); receiving goes on until the stream ends, at
    /// most for [`close_timeout`](Config::close_timeout), since the peer's last messages may tell
    /// why.
    pub fn write_failed(&mut self) {
        self.tx.write_failed();
    }

    /// Says that the stream, for now, refused the bytes of [`Sender::outgoing`]: the write
    /// timer runs from here until the stream takes some.
    pub fn write_blocked(&mut self) {
        self.turn.write_blocked();
        self.tx.blocked();
    }

    /// Fails the connection as a violation of the peer does, for a rule of the application's own:
    /// nothing more is delivered, what was received and not looked at is dropped, and `frame` goes
    /// out, behind the replies to what came before it, unless the stream does not take those. The
    /// peer's Close is not awaited: once ours is written, the stream has a second to end, as
    /// [`ending`](Self::ending) says. From here on [`step`](Self::step) and
    /// [`closed`](Self::closed) say [`Failed`](RecvError::Failed).
    ///
    /// If our Close was sent before, there is no second one. To receive everything up to the peer's
    /// Close instead, see [`Sender::close`] and [`Sender::abort`].
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed) if nothing more is received anyway: the peer has closed, or
    /// the connection failed; [`ReasonTooLong`](SendError::ReasonTooLong) above 123 bytes;
    /// [`BadCloseCode`](SendError::BadCloseCode) for 1010 from a server. Nothing has changed then.
    pub fn fail<'f>(&mut self, frame: impl Into<CloseFrame<'f>>) -> Result<(), SendError> {
        self.inbound.fail(frame.into(), &mut self.tx)
    }

    /// Says that the stream was shut for writing, as [`ending`](Self::ending) asked.
    pub fn shut_down(&mut self) {
        self.inbound.shut_down();
    }

    /// Says that reading is paused, or goes on: while it is paused, silence is not held against the
    /// peer, and only the timers on writing and closing run. Other deadlines are put off by as
    /// long: [`poll_timeout`](Self::poll_timeout) asks for the time when it begins and when it
    /// ends.
    #[inline]
    pub fn set_paused(&mut self, paused: bool) {
        self.inbound.set_paused(paused);
    }

    /// Says that times from now on have another epoch: all deadlines are armed anew.
    pub(crate) fn restart_clock(&mut self) {
        self.inbound.restart_clock();
        self.tx.restart_clock();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None`: not until something
    /// else happens. A time in the past means at once.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.inbound.poll_timeout(&self.tx)
    }

    /// Tells the time. Early and repeated calls are harmless; call it again while
    /// [`poll_timeout`](Self::poll_timeout) is not in the future.
    ///
    /// Call it after a read that would have waited, or while reading is [paused](Self::set_paused):
    /// a Pong still unread in the system would not count as a sign of life. If input keeps coming,
    /// so that no read would wait, call it once it is due, after everything read was stepped over.
    ///
    /// # Errors
    ///
    /// A deadline has passed: [`PongTimeout`](RecvError::PongTimeout),
    /// [`FrameTimeout`](RecvError::FrameTimeout), [`CloseTimeout`](RecvError::CloseTimeout),
    /// [`WriteTimeout`](RecvError::WriteTimeout), [`DataTimeout`](RecvError::DataTimeout).
    /// [`step`](Self::step) repeats it after delivering everything received.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), RecvError> {
        self.inbound.handle_timeout(now, &mut self.tx)
    }

    /// The shortest deadline that the sending half can set going, for an adapter whose halves
    /// cannot wake each other.
    pub(crate) fn shortest_sending_timeout(&self) -> Duration {
        self.inbound.close_timeout().min(self.tx.write_timeout())
    }

    // Outputs.

    /// Consumes input up to the next event, and queues the reply it calls for.
    ///
    /// The result borrows nothing; what arrived is at [`Receiver::message`] or
    /// [`event`](Receiver::event) until the next call that receives.
    ///
    /// # Errors
    ///
    /// [`RecvError`], once all that came before it has been delivered; repeated by every later
    /// call. Where the peer is to be told why, a Close is queued.
    #[inline]
    pub fn step(&mut self) -> Result<Step, RecvError> {
        match self.inbound.rx.quick() {
            Some(step) => Ok(step),
            None => self.step_slow(),
        }
    }

    #[inline(never)]
    fn step_slow(&mut self) -> Result<Step, RecvError> {
        self.inbound.step(Delivery::Whole, &mut self.tx)
    }

    /// [`step`](Self::step), but stops at each piece of a message as it arrives, for
    /// [`Receiver::chunk`]: for messages that are too large for memory.
    ///
    /// [`max_message`](Config::max_message), [`max_fragments`](Config::max_fragments) and
    /// [`frame_timeout`](Config::frame_timeout) do not apply to a message received in pieces;
    /// [`max_frame`](Config::max_frame) does. A call of `step` in the middle of a message skips the
    /// rest of it, to which `frame_timeout` applies.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_chunk(&mut self) -> Result<Step, RecvError> {
        self.inbound.step(Delivery::Chunks, &mut self.tx)
    }

    /// What to do with the stream once [`step`](Self::step) says [`Closed`](Step::Closed) or fails.
    /// Before that it means nothing: it is [`Done`](Ending::Done) on an open connection too.
    pub fn ending(&self) -> Ending {
        self.inbound.ending(&self.tx)
    }

    // The halves.

    /// The receiving half, to look at: what [`step`](Self::step) stopped at.
    #[inline]
    pub fn receiver(&self) -> &Receiver {
        &self.inbound.rx
    }

    /// The receiving half, into which to put the bytes read.
    #[inline]
    pub fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.inbound.rx
    }

    /// The sending half, to look at.
    #[inline]
    pub fn sender(&self) -> &Sender {
        &self.tx
    }

    /// The sending half.
    #[inline]
    pub fn sender_mut(&mut self) -> &mut Sender {
        &mut self.tx
    }

    /// Both halves at once: a message borrowed from the first leaves the second free.
    ///
    /// A message cannot outlive the next receiving call:
    ///
    /// ```compile_fail,E0502
    /// fn keep(conn: &mut tickwire::Connection) {
    ///     let first = conn.receiver().message();
    ///     let _ = conn.step();
    ///     println!("{first:?}");
    /// }
    /// ```
    #[inline]
    pub fn split_mut(&mut self) -> (&mut Receiver, &mut Sender) {
        (&mut self.inbound.rx, &mut self.tx)
    }

    #[inline(always)]
    pub(crate) fn inbound(&mut self) -> &mut Inbound {
        &mut self.inbound
    }

    /// The parts, for a connection that is used from two tasks or threads.
    #[inline]
    pub(crate) fn halves_mut(&mut self) -> (&mut Inbound, &mut Sender) {
        (&mut self.inbound, &mut self.tx)
    }

    pub(crate) fn into_halves(self) -> (Inbound, Sender) {
        (self.inbound, self.tx)
    }

    // Getters.

    /// The result of the opening handshake's negotiation.
    pub fn negotiated(&self) -> &Negotiated {
        self.inbound.negotiated()
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.inbound.role()
    }

    /// How the connection ended: `None` while more may be received. Known at once, while receiving
    /// calls first tell the peer, and deliver everything before it.
    ///
    /// It says all that a log needs: the code of the peer's Close and that of ours, and why
    /// receiving failed. A peer that sends a message of more than
    /// [`max_message`](Config::max_message) gets a Close with 1009 and usually sends none itself:
    /// then [`code`](Closed::code) is 1006, and [`sent_code`](Closed::sent_code) is 1009.
    pub fn closed(&self) -> Option<Closed<'_>> {
        self.inbound.closed(&self.tx)
    }

    /// The connection's state, as in a browser: open; closing once a Close was sent or
    /// received; closed once nothing more will be received or sent, that is, only after all that
    /// [`ending`](Self::ending) asks for, up to [`Ending::Done`].
    pub fn ready_state(&self) -> ReadyState {
        self.inbound.ready_state(&self.tx)
    }
}
