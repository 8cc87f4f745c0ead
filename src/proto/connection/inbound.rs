//! [`Inbound`]: the receiver and the deadlines of a connection. Its methods get the sender as an
//! argument, because the halves of a split connection share it.
use super::{
    Closed, Delivery, Ending, ReadyState, Receiver, Sender, Step,
    closing::{self, Closing, Course, Phase},
    timers::{Blocked, Timers},
};
use crate::proto::{
    close::CloseFrame,
    config::{Config, Negotiated},
    error::{RecvError, SendError},
    outlined::Empty,
    role::Role,
    tape::{Facts, Note, Tape},
    time::Time,
};
use alloc::boxed::Box;

/// The receiver, the deadlines, and the other fields of a connection that the sender does not need.
#[derive(Debug)]
#[allow(unreachable_pub)] // `pub`, because the traits of `drive` name this type.
pub struct Inbound {
    pub(super) rx: Receiver,
    pub(super) timers: Timers,
    /// Bytes received until the stream was shut for writing.
    pub(super) shut: Option<u64>,
    /// [`Config::stamp_reads`].
    pub(crate) stamps_reads: bool,
    /// `None` in the usual case: neither a subprotocol nor compression.
    pub(super) negotiated: Option<Box<Negotiated>>,
}

impl Empty for Inbound {
    fn empty() -> Self {
        Self::new(Role::Server, &Config::default(), Negotiated::default())
    }
}

impl Inbound {
    #[inline(always)] // into `Connection::new`, so that the `Inbound` is built in its final place
    pub(super) fn new(role: Role, config: &Config, negotiated: Negotiated) -> Self {
        let plain = negotiated == Negotiated::default();
        // In the order of construction. What may panic comes first: the compiler then builds the
        // rest of the struct in its final place, which saves a copy.
        Self {
            negotiated: (!plain).then(|| Box::new(negotiated)),
            timers: Timers::new(config),
            rx: Receiver::new(role, config),
            shut: None,
            stamps_reads: config.stamp_reads,
        }
    }

    pub(crate) fn facts(&self, tx: &Sender) -> Facts {
        let phase = self.phase(tx);
        let ending = phase.ending();
        Facts {
            has_outgoing: tx.has_outgoing(),
            unflushed: tx.held_back() > 0,
            paused: self.is_paused(),
            drains: ending == Ending::Discard,
            shuts: ending == Ending::ShutDown,
            done: ending == Ending::Done,
            over: phase == Phase::Over,
            deadline: self.earliest(tx),
            ..Facts::default()
        }
    }

    #[inline(always)]
    pub(crate) fn note(&self, note: Note) {
        self.rx.tape.note(note);
    }

    #[inline(always)]
    pub(crate) fn tape(&self) -> Tape {
        self.rx.tape.clone()
    }

    #[inline(always)]
    pub(crate) fn check(&self, note: Note, tx: &Sender) {
        self.rx.tape.check(note, || Facts { whole: true, ..self.facts(tx) });
    }

    /// Receiving must not have ended, and every received message must be complete and processed. No
    /// deadline may run, except the deadline on data and the intervals of the heartbeat and of the
    /// idle message.
    pub(super) fn may_be_dormant(&self) -> bool {
        self.shut.is_none() && self.rx.may_be_dormant() && self.timers.may_be_dormant()
    }

    #[inline]
    pub(crate) fn receiver(&self) -> &Receiver {
        &self.rx
    }

    #[inline]
    pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.rx
    }

    #[inline]
    pub(super) fn step(&mut self, delivery: Delivery, tx: &mut Sender) -> Result<Step, RecvError> {
        let step = self.rx.step_slow(delivery);
        self.respond(&step, tx);
        step
    }

    /// Queues the automatic reply to a frame, passes on a Pong, or handles an error. Later calls of
    /// `step` return the same error, so `closing::fail` is called again, but only the first call
    /// can queue a Close, because it closes the sender.
    pub(crate) fn respond(&self, step: &Result<Step, RecvError>, tx: &mut Sender) {
        let rx = &self.rx;
        match step {
            // §5.5.2, unless automatic Pongs are switched off.
            Ok(Step::Ping) if tx.auto_pong => tx.answer_ping(rx.payload()),
            Ok(Step::Pong) => tx.hear_pong(rx.payload(), rx.read_at()),
            Ok(Step::Close) => closing::answer(rx, tx),
            Err(error) => closing::fail(*error, tx),
            // `Core::step` in `drive` relies on this: it does not call `respond` for `Message`,
            // `NeedInput` and `Closed`.
            Ok(_) => {}
        }
    }

    pub(super) fn closing(&self, tx: &Sender) -> Closing {
        let Timers { overdue, given_up, .. } = self.timers;
        let behind = self.shut.map(|total| self.rx.total().wrapping_sub(total));
        Closing::new(self.rx.role(), &self.rx, tx, Course { behind, overdue, given_up })
    }

    #[inline(never)]
    pub(super) fn phase(&self, tx: &Sender) -> Phase {
        self.closing(tx).phase()
    }

    pub(crate) fn ending(&self, tx: &Sender) -> Ending {
        self.phase(tx).ending()
    }

    pub(crate) fn closed(&self, tx: &Sender) -> Option<Closed<'_>> {
        let closing = self.closing(tx);
        self.rx.closed(closing.is_clean(), closing.sent_code(tx))
    }

    pub(crate) fn ready_state(&self, tx: &Sender) -> ReadyState {
        self.phase(tx).ready_state()
    }

    pub(crate) fn fail(&mut self, frame: CloseFrame<'_>, tx: &mut Sender) -> Result<(), SendError> {
        if self.rx.ended() || self.rx.failure().is_some() {
            return Err(SendError::Closed);
        }
        // Before the receiver changes, because it may refuse the frame.
        tx.fail(frame)?;
        self.rx.abandon(RecvError::Failed { code: frame.code });
        Ok(())
    }

    #[inline]
    pub(crate) fn poll_timeout(&self, tx: &Sender) -> Option<Time> {
        // In the usual case, this saves the cost of `earliest`, which computes the phase.
        if self.is_idle() && tx.is_idle() {
            debug_assert_eq!(self.earliest(tx), None, "an idle connection has no deadline");
            return None;
        }
        self.earliest(tx)
    }

    /// If the sender is idle too, no deadline runs at all.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.rx.is_idle() && !self.timers.ticks()
    }

    #[inline(never)]
    fn earliest(&self, tx: &Sender) -> Option<Time> {
        let phase = self.phase(tx);
        let own = self.timers.poll(&self.rx, tx, phase);
        // The clock on writing and the time of `leave` have no effect once the connection is over.
        let sending = tx.poll_timeout().filter(|_| phase != Phase::Over);
        Time::earliest(&[own, sending])
    }

    /// Early and repeated calls are harmless.
    pub(crate) fn handle_timeout(&mut self, now: Time, tx: &mut Sender) -> Result<(), RecvError> {
        let phase = self.phase(tx);
        let Self { rx, timers, .. } = self;
        // After `cut_off`, `step` still delivers everything received, then fails with the error.
        let told = timers.handle(now, rx, tx, phase);
        match told {
            Err(error) if rx.failure().is_none() => rx.tape.note(Note::Verdict(error)),
            _ => rx.tape.note(Note::Looked { now, found: timers.found_at(rx).is_some() }),
        }
        told.inspect_err(|&error| rx.cut_off(error))?;
        tx.handle_timeout(now).inspect_err(|&error| self.sending_ended(error, tx))
    }

    /// A deadline of the sender has passed. A peer that does not take our Close, but sends, may
    /// still read what it has: see `Theirs::Overdue`.
    pub(crate) fn sending_ended(&mut self, error: RecvError, tx: &Sender) {
        let Self { rx, timers, .. } = self;
        timers.overdue |= error == RecvError::CloseTimeout && !tx.has_left() && rx.take_heard();
        rx.cut_off(error);
    }

    #[inline]
    pub(crate) fn looks(&self) -> bool {
        self.timers.looks(&self.rx)
    }

    pub(crate) fn looked(&mut self) {
        self.timers.looked(&self.rx);
    }

    #[inline]
    pub(crate) fn found_at(&self) -> Option<Time> {
        self.timers.found_at(&self.rx)
    }

    /// Then report who kept the next reads from bringing bytes: a deadline on the peer's silence
    /// has passed and is not refuted yet.
    #[inline(always)]
    pub(crate) fn doubts(&self) -> bool {
        self.timers.has_found()
    }

    pub(crate) fn read_blocked(&mut self, blocked: Blocked) {
        if blocked != Blocked::PutOff {
            self.note(Note::Blocked { surely: blocked == Blocked::Surely });
        }
        self.timers.read_blocked(blocked);
    }

    pub(crate) fn shut_down(&mut self) {
        // A later call changes nothing: `DRAIN` limits the bytes received since the first.
        self.shut.get_or_insert(self.rx.total());
        self.note(Note::ShutDown);
    }

    #[inline(always)]
    pub(super) fn is_paused(&self) -> bool {
        self.timers.paused() && !self.rx.ended() && self.rx.failure().is_none()
    }

    /// `now`, which reads the clock, is called only after a pause.
    #[inline]
    pub(crate) fn resume_if_paused(&mut self, now: impl FnOnce() -> Time) {
        if !self.timers.run() {
            self.timers.resume(now());
        }
    }

    pub(crate) fn negotiated(&self) -> &Negotiated {
        // For most connections: neither a subprotocol nor compression.
        static NOTHING: Negotiated = Negotiated { subprotocol: None, deflate: None };
        self.negotiated.as_deref().unwrap_or(&NOTHING)
    }
}
