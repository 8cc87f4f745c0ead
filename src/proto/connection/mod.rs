//! The state machine of one connection: a [`Receiver`], a [`Sender`], the deadlines, and the rules
//! that join them.
//!
//! The receiver and the sender share no state: replies to the peer (a Pong, the answering Close,
//! the Close that reports a violation) reach the sender through [`respond`](Inbound::respond).
//! `handshake` opens a connection, `closing` decides how it ends. Adapters read and write the
//! stream, and tell the connection the time.
pub(crate) mod closing;
#[cfg_attr(not(feature = "counters"), path = "no_counters.rs")]
pub(crate) mod counters;
mod dormant;
mod inbound;
mod looks;
mod next;
#[cfg(any(fuzzing, tickwire_tape))]
mod notes;
pub mod order;
pub(crate) mod out_buffer;
mod receiver;
mod recv_buffer;
mod report;
mod rtt;
mod sender;
mod stall;
mod timers;

pub use closing::{Closed, Ending, ReadyState};
pub use dormant::Dormant;
pub(crate) use inbound::Inbound;
pub use next::{Next, Wait};
pub use out_buffer::Outgoing;
pub(crate) use receiver::Delivery;
use receiver::Unfinished;
pub use receiver::{Receiver, Step};
pub(crate) use recv_buffer::RecvBuffer;
pub use report::Report;
pub use rtt::RoundTrip;
#[cfg(feature = "std")]
pub(crate) use sender::Offer;
pub use sender::{MessageWriter, Position, Sender};
pub(crate) use timers::Blocked;

use crate::proto::{
    close::CloseFrame,
    config::{Config, Negotiated},
    deflate::zlib,
    entropy::{Entropy, Keys},
    error::{RecvError, SendError},
    memory::Memory,
    outlined::Outlined,
    role::Role,
    tape::Tape,
    time::Time,
};
use alloc::boxed::Box;
use core::time::Duration;

/// One open WebSocket connection without its stream. It turns received bytes into events, and
/// messages into bytes to send. The handshakes of a [client](crate::handshake::client::Handshake)
/// and of a [server](crate::handshake::server::Handshake) do no I/O, and return a `Connection` when
/// they succeed. Most programs use an adapter instead: `tokio`, `blocking` or `futures_io`. The
/// guide has [recipes](crate::guide::recipes), such as [wss in your own
/// loop](crate::guide::recipes::latency#wss-in-your-own-loop), and [limits](crate::guide::limits).
///
/// # Your own loop
///
/// [`next`](Self::next) says what to do: pass on an event, write, read, shut the stream down, wait,
/// or drop the stream. This is the whole loop over a non-blocking stream, with deadlines, blocked
/// writes, backpressure and an orderly end:
///
/// ```
#[doc = include_str!("../../../docs/loop.rs")]
/// ```
///
/// The same loop serves edge-triggered readiness (mio, epoll): see the example `own_loop`. Over TLS
/// the loop reads and writes through a `tls::Session` (feature `rustls`).
///
/// # The fine calls
///
/// Use the calls below instead of `next` if you need a different order of reads and writes,
/// messages in chunks, or completion-based I/O, where the kernel reads by itself:
///
/// - **Inputs**: [`Receiver::spare_mut`], then [`commit`](Receiver::commit) or
///   [`end_of_stream`](Receiver::end_of_stream), through [`receiver_mut`](Self::receiver_mut);
///   [`report`](Self::report) for all else that the stream does;
///   [`handle_timeout`](Self::handle_timeout).
/// - **Commands**: the methods of [`Sender`], through [`sender_mut`](Self::sender_mut) or
///   [`split_mut`](Self::split_mut).
/// - **Outputs**: [`step`](Self::step), then [`Receiver::message`] or [`event`](Receiver::event);
///   [`Sender::outgoing`]; [`poll_timeout`](Self::poll_timeout); [`ending`](Self::ending).
///
/// After each `step` that returns no event, write the outgoing bytes. If `step` returned
/// [`NeedInput`](Step::NeedInput), then read. If it returned [`Closed`](Step::Closed) or an error,
/// do what `ending` says. If a read would block, report it. If the time of `poll_timeout` has come,
/// call `handle_timeout`, then `step` again. If [`must_read`](Self::must_read) is then `true`, read
/// before you wait.
///
/// # Calls for a loop over many connections
///
/// Over plain TCP and with few connections you need none of these. Three tell facts that such a
/// stream does not have:
///
/// - [`must_read`](Self::must_read) and [`Report::Unread`]: a kernel that reads by itself
///   (io_uring) does not say that a read blocked. So the loop asks how many bytes lie unread, and
///   only while a deadline on the peer's silence has passed.
/// - [`Sender::set_unflushed`]: a TLS session holds ciphertext, for which the clock on writing
///   and [`high_water`](Config::high_water) hold too.
///
/// Others are about memory, because the loop lends its own buffers to thousands of connections:
///
/// - [`Receiver::lend_filled`]: the kernel has read into a buffer of its choice. Lending that
///   buffer saves a copy.
/// - [`Receiver::has_buffer`] and [`Receiver::wanted_len`]: whether to lend a buffer before the
///   next read, and how long a one.
/// - [`Receiver::buffer_len`] and [`Receiver::grown_len`]: what a connection holds, and may hold
///   after the next read, for a limit over all connections. Near that limit,
///   [`Receiver::reset_reads`] makes reads short.
/// - [`into_dormant`](Self::into_dormant): an idle connection then takes about an eighth of its
///   memory.
#[derive(Debug)]
pub struct Connection {
    inbound: Outlined<Inbound>,
    tx: Outlined<Sender>,
    loop_state: next::LoopState,
}

impl Connection {
    /// Makes the server's end of a connection whose opening handshake is done.
    pub fn server(config: &Config, negotiated: Negotiated) -> Self {
        Self::new(Role::Server, config, negotiated, None)
    }

    /// Makes the client's end of a connection whose opening handshake is done. The masking keys are
    /// made from the bytes of `entropy`.
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
        // What may panic is built first: the compiler then builds the rest of the struct in its
        // final place, which saves a copy. (`set_deflate` allocates and may panic too, but by then
        // the struct is complete.)
        let keys = entropy.map(|source| Box::new(Keys::new(source)));
        let mut this = Self {
            inbound: Inbound::new(role, config, negotiated).into(),
            tx: Sender::new(config, keys).into(),
            loop_state: next::LoopState::default(),
        };
        this.inbound.rx.tape = Tape::new();
        this.tx.out.tape = this.inbound.rx.tape.clone();
        // `None` only in a build without zlib, in which no handshake agrees on compression.
        if let Some(agreed) = deflate
            && let Some(ours) = zlib::settings(config.deflate)
        {
            this.inbound.rx.set_deflate(role, &ours, agreed);
            this.tx.set_deflate(role, &ours, agreed);
        }
        this
    }

    /// Received bytes may follow the handshake's head in `input`. Otherwise the sender gets its
    /// memory, which saves an allocation. Queues the parts of the handshake's response.
    pub(crate) fn begin_with(&mut self, input: RecvBuffer, response: &[&[u8]]) {
        let free = self.inbound.rx.begin_with(input);
        self.tx.begin_with(free, response);
    }

    pub(crate) fn set_memory(&mut self, memory: &'static Memory) {
        self.inbound.rx.set_memory(memory);
        self.tx.set_memory(memory);
    }

    // Inputs.

    /// Fails the connection because the peer broke a rule of the application. The effect is the
    /// same as after a violation of the protocol. Nothing more is delivered: received bytes that no
    /// `step` has processed are dropped. `frame` is the Close to send. The Close goes behind all
    /// queued frames. But if the stream refuses bytes while some of these frames are unwritten, the
    /// data frames that have not begun to leave are dropped, so that the Close need not wait for
    /// them. After this call [`step`](Self::step) and [`closed`](Self::closed) report
    /// [`Failed`](RecvError::Failed).
    ///
    /// The connection does not wait for the peer's Close. Do what [`ending`](Self::ending) says:
    /// write our Close, shut the stream, and wait at most a second for the stream's end.
    ///
    /// If our Close was queued before this call, no second Close is sent. To close and still
    /// receive everything up to the peer's Close, use [`Sender::close`] or [`Sender::abort`].
    ///
    /// # Errors
    ///
    /// On an error nothing has changed. [`Closed`](SendError::Closed) if the peer's Close was
    /// received, receiving has failed, or a deadline has passed;
    /// [`ReasonTooLong`](SendError::ReasonTooLong) if the reason has more than 123 bytes;
    /// [`BadCloseCode`](SendError::BadCloseCode) if a server sends 1010.
    pub fn fail<'f>(&mut self, frame: impl Into<CloseFrame<'f>>) -> Result<(), SendError> {
        self.inbound.fail(frame.into(), &mut self.tx)
    }

    /// Pauses or resumes reading. During a pause, only the deadlines on writing and on closing run.
    /// The [idle message](Config::idle_message) is still sent. Each deadline on the arrival of the
    /// peer's bytes is extended by the length of the pause. If the pause extends a deadline, the
    /// connection has to learn when the pause begins and ends. In that case
    /// [`poll_timeout`](Self::poll_timeout) asks for an immediate call of
    /// [`handle_timeout`](Self::handle_timeout) when the pause begins, and for another call when
    /// the pause ends.
    #[inline]
    pub fn set_paused(&mut self, paused: bool) {
        self.inbound.timers.set_paused(paused);
    }

    /// Tells the core that the caller's times have another epoch from now on. Each deadline starts
    /// again with its full duration, except the time of [`Sender::leave`], which counts as passed.
    pub(crate) fn restart_clock(&mut self) {
        self.inbound.timers.restart();
        self.tx.restart_clock();
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout) next. `None`
    /// means that no deadline runs until another call starts one. A time in the past means: call
    /// `handle_timeout` at once.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.inbound.poll_timeout(&self.tx)
    }

    /// Tells the connection the time. Early and repeated calls are harmless. Make this call before
    /// a wait if the time of [`poll_timeout`](Self::poll_timeout) has come, and repeat the call
    /// until `poll_timeout` is `None` or in the future. While input keeps coming, make this call
    /// now and then between two reads. Before this call, always call [`step`](Self::step) until it
    /// needs input, because otherwise a frame that waits for `step` would count as incomplete.
    ///
    /// A deadline on the peer's silence may pass while bytes of the peer lie unread. So
    /// `handle_timeout` fails only after later reads have shown that the peer was silent. A blocked
    /// read shows this, once you report it as [`Report::ReadBlocked`]. 1,024 reads without a sign
    /// of life also show it. Once the deadline has passed, and until reads have shown this,
    /// [`must_read`](Self::must_read) is `true`: read, report each read that blocks, and call
    /// `handle_timeout` again.
    ///
    /// # Errors
    ///
    /// The error of the deadline that has passed: [`PongTimeout`](RecvError::PongTimeout),
    /// [`FrameTimeout`](RecvError::FrameTimeout), [`CloseTimeout`](RecvError::CloseTimeout),
    /// [`WriteTimeout`](RecvError::WriteTimeout), [`DataTimeout`](RecvError::DataTimeout). If our
    /// Close reports an earlier error and is not written in time, the earlier error is returned.
    ///
    /// If receiving had not ended before, the next calls of [`step`](Self::step) deliver everything
    /// received, and then return the same error.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), RecvError> {
        self.inbound.handle_timeout(now, &mut self.tx)
    }

    /// Whether a deadline on the peer's silence has passed, and only a read can show whether the
    /// peer is really silent. If so, read the stream, even if nothing says that it is readable.
    #[inline]
    pub fn must_read(&self) -> bool {
        self.inbound.found_at().is_some()
    }

    /// The shortest timeout that the sending half can start. If the two halves of a split
    /// connection cannot wake each other, each wait of the receiving half must be shorter:
    /// otherwise a timeout that starts during such a wait is noticed late.
    pub(crate) fn shortest_sending_timeout(&self) -> Duration {
        self.tx.close_timeout.min(self.tx.write_timeout)
    }

    // Outputs.

    /// Consumes input up to the next event, and queues the automatic reply, if this event has one.
    ///
    /// The result does not borrow the connection. Until the next call that receives or tells the
    /// time, [`Receiver::message`] returns the message at which `step` stopped.
    /// [`event`](Receiver::event) returns the event, of whatever kind.
    ///
    /// # Errors
    ///
    /// Fails with a [`RecvError`] once all events received before the error are delivered. After
    /// [`fail`](Self::fail) the error comes at once. Every later call repeats the error. If
    /// [`close_code`](RecvError::close_code) is `Some`, a Close with that code is queued, unless
    /// our Close was queued before or a write has failed.
    #[inline]
    pub fn step(&mut self) -> Result<Step, RecvError> {
        // A step that `quick` returns has no effect on the sender, so no `respond`.
        match self.inbound.rx.quick() {
            Some(step) => Ok(step),
            None => self.step_slow(),
        }
    }

    #[inline(never)]
    fn step_slow(&mut self) -> Result<Step, RecvError> {
        self.inbound.step(Delivery::Whole, &mut self.tx)
    }

    /// Works as [`step`](Self::step), but stops at each chunk of a message as the chunk arrives.
    /// [`Receiver::chunk`] returns the chunk. Use this call for messages that are too large for
    /// memory.
    ///
    /// [`max_message`](Config::max_message) and [`max_fragments`](Config::max_fragments) do not
    /// apply to a message received in chunks, but [`max_frame`](Config::max_frame) applies. Once a
    /// chunk was returned, [`frame_timeout`](Config::frame_timeout) no longer applies to the
    /// payload of that message. If you call `step` after a chunk that is not the last, `step` skips
    /// the rest of the message, and `frame_timeout` applies to that rest.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_chunk(&mut self) -> Result<Step, RecvError> {
        self.inbound.step(Delivery::Chunks, &mut self.tx)
    }

    /// Says what to do with the stream once [`step`](Self::step) returns [`Closed`](Step::Closed)
    /// or fails. Before that, the returned value has no meaning: it is [`Done`](Ending::Done) even
    /// on an open connection.
    pub fn ending(&self) -> Ending {
        self.inbound.ending(&self.tx)
    }

    /// The receiver by shared reference, to read the event at which [`step`](Self::step)
    /// stopped.
    #[inline]
    pub fn receiver(&self) -> &Receiver {
        &self.inbound.rx
    }

    /// The receiver by mutable reference, to give it the bytes that you have read.
    #[inline]
    pub fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.inbound.rx
    }

    /// The sender by shared reference.
    #[inline]
    pub fn sender(&self) -> &Sender {
        &self.tx
    }

    /// The sender by mutable reference.
    #[inline]
    pub fn sender_mut(&mut self) -> &mut Sender {
        &mut self.tx
    }

    /// Both at once, so that you can feed the sender while you borrow a message from the
    /// receiver.
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

    #[inline]
    pub(crate) fn halves_mut(&mut self) -> (&mut Inbound, &mut Sender) {
        (&mut self.inbound, &mut self.tx)
    }

    pub(crate) fn into_halves(self) -> (Outlined<Inbound>, Outlined<Sender>) {
        (self.inbound, self.tx)
    }

    // Getters.

    /// The result of the opening handshake's negotiation.
    pub fn negotiated(&self) -> &Negotiated {
        self.inbound.negotiated()
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.inbound.rx.role()
    }

    /// How the connection ended; `None` while more may be received. After a passed deadline the
    /// result is `Some`, although received events may still have to be delivered. So go on calling
    /// [`step`](Self::step): it delivers these events, and then queues a Close if the error has a
    /// close code.
    ///
    /// The value has everything that a log needs: the code of the peer's Close, the code of our
    /// Close, and why receiving failed. For example, after a message of more than
    /// [`max_message`](Config::max_message), [`sent_code`](Closed::sent_code) is 1009, and
    /// [`code`](Closed::code) is 1006, because the peer's Close is not received any more.
    pub fn closed(&self) -> Option<Closed<'_>> {
        self.inbound.closed(&self.tx)
    }

    /// The connection's state, as in a browser. It is `Open` at first, and `Closing` once a Close
    /// was queued or received, or a write failed. It is `Closed` once nothing more will be received
    /// or sent, and the stream can be dropped.
    ///
    /// No other call says all this at any time: [`ending`](Self::ending) counts only once `step`
    /// has ended, and [`closed`](Self::closed) is `Some` while events may still have to be
    /// delivered.
    pub fn ready_state(&self) -> ReadyState {
        self.inbound.ready_state(&self.tx)
    }
}
