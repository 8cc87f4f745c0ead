//! All of a connection but its sending half, which is an argument: so that a connection in one piece
//! and one whose halves are used from two tasks or threads go by the same rules.
use super::{
    Closed, Delivery, Ending, Ends, ReadyState, Receiver, Sender, Step, respond,
    timers::{Phase, Timers},
};
use crate::proto::{
    config::{Config, Negotiated},
    error::RecvError,
    role::Role,
    time::Time,
};
use alloc::boxed::Box;
#[cfg(feature = "std")]
use core::time::Duration;

/// The receiving half, the deadlines, and how the stream ends.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(super) rx: Receiver,
    timers: Timers,
    ends: Ends,
    /// Reads are to be stamped: [`Config::stamp_reads`].
    #[cfg(feature = "std")]
    stamps: bool,
    /// `None` where nothing was agreed on, as mostly.
    negotiated: Option<Box<Negotiated>>,
}

impl Inbound {
    pub(super) fn new(role: Role, config: &Config, rx: Receiver, negotiated: Negotiated) -> Self {
        let plain = negotiated == Negotiated::default();
        Self {
            rx,
            timers: Timers::new(config),
            ends: Ends { client: role == Role::Client, shut: false },
            #[cfg(feature = "std")]
            stamps: config.stamp_reads,
            negotiated: (!plain).then(|| Box::new(negotiated)),
        }
    }

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn receiver(&self) -> &Receiver {
        &self.rx
    }

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.rx
    }

    /// Consumes input up to the next event, and queues in `tx` what it calls for.
    #[inline]
    pub(super) fn step(&mut self, delivery: Delivery, tx: &mut Sender) -> Result<Step, RecvError> {
        let step = self.rx.step_slow(delivery);
        respond(&step, &self.rx, tx);
        step
    }

    /// What a step calls for in the sending half.
    #[cfg(feature = "std")]
    pub(crate) fn respond(&self, step: &Result<Step, RecvError>, tx: &mut Sender) {
        respond(step, &self.rx, tx);
    }

    fn phase(&self, tx: &Sender) -> Phase {
        self.timers.phase(&self.rx, tx, self.ends)
    }

    /// How far the end has come: to be compared with what it was.
    #[cfg(feature = "std")]
    pub(crate) fn progress(&self, tx: &Sender) -> impl PartialEq + use<> {
        self.phase(tx)
    }

    pub(crate) fn ending(&self, tx: &Sender) -> Ending {
        self.phase(tx).into()
    }

    pub(crate) fn closed(&self, tx: &Sender) -> Option<Closed<'_>> {
        self.rx.closed(self.rx.is_closed() && tx.close_written())
    }

    pub(super) fn ready_state(&self, tx: &Sender) -> ReadyState {
        match self.phase(tx) {
            Phase::Open => ReadyState::Open,
            Phase::Over if !self.rx.is_closed() || tx.is_closed() => ReadyState::Closed,
            Phase::Over | Phase::Closing | Phase::Flushing => ReadyState::Closing,
            Phase::Shutting | Phase::Discarding => ReadyState::Closing,
        }
    }

    /// When to tell the time next; `None`: not before something else happens.
    pub(crate) fn poll_timeout(&self, tx: &Sender) -> Option<Time> {
        [self.poll_own_timeout(tx), tx.poll_timeout()].into_iter().flatten().min()
    }

    /// [`poll_timeout`](Self::poll_timeout) without the deadline on writing.
    pub(crate) fn poll_own_timeout(&self, tx: &Sender) -> Option<Time> {
        self.timers.poll(&self.rx, tx, self.phase(tx), self.ends)
    }

    /// Tells the time. Early and repeated calls are harmless.
    pub(crate) fn handle_timeout(&mut self, now: Time, tx: &mut Sender) -> Result<(), RecvError> {
        self.handle_own_timeout(now, tx)?;
        tx.handle_timeout(now).inspect_err(|&error| self.rx.cut_off(error))
    }

    /// [`handle_timeout`](Self::handle_timeout) but for the deadline on writing.
    pub(crate) fn handle_own_timeout(
        &mut self,
        now: Time,
        tx: &mut Sender,
    ) -> Result<(), RecvError> {
        let phase = self.phase(tx);
        let Self { rx, timers, ends, .. } = self;
        let told = timers.handle(now, rx, tx, phase, *ends);
        told.inspect_err(|&error| rx.cut_off(error))
    }

    /// Says that the stream was shut for writing.
    pub(crate) fn shut_down(&mut self) {
        self.ends.shut = true;
    }

    /// Says that nobody reads for now, or that reading goes on.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.timers.set_paused(paused);
    }

    /// Says that the times told from now on have another epoch.
    #[cfg(feature = "std")]
    pub(super) fn restart_clock(&mut self) {
        self.timers.restart();
    }

    /// The shortest of all deadlines but the one on writing.
    #[cfg(feature = "std")]
    pub(super) fn shortest_timeout(&self) -> Duration {
        self.timers.shortest()
    }

    #[cfg(feature = "std")]
    pub(crate) fn stamps_reads(&self) -> bool {
        self.stamps
    }

    pub(crate) fn negotiated(&self) -> &Negotiated {
        Negotiated::or_nothing(self.negotiated.as_deref())
    }

    pub(super) fn role(&self) -> Role {
        if self.ends.client { Role::Client } else { Role::Server }
    }
}
