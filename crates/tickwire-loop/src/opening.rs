//! The turns of an accepted connection until it is open: TLS, the request, and the application's
//! decision.
use crate::event::{Answer, Decision, Event};
use crate::net::{Handler, Net};
use crate::stage::{Open, Opening, Rejected, Stage};
use crate::wire::{Next, Wire, is_passing};
use crate::{door::Phase, handle::Handle, inner::Inner, run::RETRY};
use std::{
    io::ErrorKind,
    mem,
    time::{Duration, UNIX_EPOCH},
};
use tickwire::{
    Time,
    handshake::{
        Progress,
        server::{Accept, Rejection},
    },
};

/// For each place for a handshake, this number of connections may be accepted and silent. Until it
/// has sent something, a connection takes little memory.
const SILENT: usize = 4;
/// If too many connections are silent, those are closed that have been silent for so long. Honest
/// clients send at once, or within a round trip or two.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least number of connections from one address that may be in their handshake.
const LEAST_SHARE: usize = 8;
/// How long a rejected client has to read the response.
const LINGER: Duration = Duration::from_secs(1);

/// How the turn of a handshake ended.
enum Stop {
    /// It waits for its stream, or for a deadline.
    Wait(Option<Time>),
    /// It has input to read, and goes on in the next turn.
    Again,
    /// The request is complete.
    Complete,
    Reject(Rejection),
    /// The stream or TLS has failed.
    Failed,
}

impl<T> Inner<T> {
    /// Goes on with an opening handshake. Returns the connection if it is open now.
    pub(crate) fn open_up(
        &mut self,
        handle: Handle,
        mut opening: Box<Opening>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        match self.read_request(handle, &mut opening) {
            Stop::Wait(until) => self.put(handle, Stage::Opening(opening), until),
            Stop::Again => {
                self.put(handle, Stage::Opening(opening), None);
                self.make_ready(handle.at);
            }
            Stop::Complete => return self.ask(handle, opening, handler),
            Stop::Reject(rejection) => self.refuse(handle, *opening, rejection),
            Stop::Failed => self.fail(handle),
        }
        None
    }

    /// Reads until the request is complete.
    fn read_request(&mut self, handle: Handle, opening: &mut Opening) -> Stop {
        let now = self.clock.now;
        if let Some(until) = opening.answer_by {
            return match until <= now {
                true => Stop::Reject(Rejection::new(503)),
                false => Stop::Wait(Some(until)),
            };
        }
        let until = opening.deadline();
        if until.is_none_or(|at| at > now) && !self.has_place(handle) {
            return Stop::Wait(until);
        }
        let handshake = &mut opening.handshake;
        let Some(wire) = self.slots.get_mut(handle).and_then(|slot| slot.wire.as_mut()) else {
            return Stop::Failed;
        };
        // Ciphertext may be left from a turn in which the stream accepted no more.
        if wire.send(&mut self.system).is_err_and(|error| !is_passing(&error)) {
            return Stop::Failed;
        }
        let (mut spent, mut late) = (0, false);
        loop {
            match handshake.step() {
                Ok(Progress::Complete) => return Stop::Complete,
                Err(error) => return Stop::Reject(error.into()),
                Ok(Progress::Partial) => {}
            }
            let share_used = spent >= self.settings.turn_bytes;
            let until = || handshake.reading.poll_timeout();
            match wire.next((true, share_used, false), now, until) {
                Next::Read => {}
                Next::TellTime if !share_used && wire.find_unread(&mut self.system) > 0 => {
                    late = true
                }
                Next::TellTime => {
                    let _ = handshake.reading.handle_timeout(now); // `step` returns the error
                    continue;
                }
                Next::Rest { unfinished: true, .. } => return Stop::Again,
                Next::Rest { until, .. } => return Stop::Wait(until),
            }
            let read = wire.read(&mut self.system, handshake.reading.spare_mut(), &mut spent);
            let sent = wire.send(&mut self.system); // the TLS handshake, or an alert
            match read {
                Ok(0) => handshake.reading.end_of_stream(),
                Ok(n) => handshake.reading.commit(n),
                // The bytes that arrived in time are not here yet.
                Err(error) if is_passing(&error) && late => return Stop::Again,
                Err(error) if is_passing(&error) => {}
                Err(_) => return Stop::Failed,
            }
            if sent.is_err_and(|error| !is_passing(&error)) {
                return Stop::Failed;
            }
        }
    }

    /// Asks the application about a complete request.
    fn ask(
        &mut self,
        handle: Handle,
        mut opening: Box<Opening>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        let mut answer = Answer(Decision::None);
        if let Some(request) = opening.handshake.request() {
            let event = Event::Request { from: handle, request, answer: &mut answer };
            handler(&mut Net::new(self), event);
        }
        self.slots.get(handle)?; // the application may have removed it
        match answer.0 {
            Decision::Accept(accept, value) => return self.admit(handle, *opening, accept, value),
            Decision::Defer if self.handshakes.deferred >= self.places() => {
                self.refuse(handle, *opening, Rejection::new(503));
            }
            Decision::Defer => {
                self.set_phase(handle, Some(Phase::Deferred));
                let until = self.clock.now + opening.config.handshake_timeout;
                opening.answer_by = Some(until);
                self.put(handle, Stage::Opening(opening), Some(until));
            }
            Decision::Reject(rejection) => self.refuse(handle, *opening, rejection),
            Decision::None => self.refuse(handle, *opening, Rejection::new(403)),
        }
        None
    }

    /// Accepts a request.
    pub(crate) fn admit(
        &mut self,
        handle: Handle,
        opening: Opening,
        accept: Accept<'_>,
        value: T,
    ) -> Option<Box<Open>> {
        let Ok(conn) = opening.handshake.accept(accept) else {
            self.fail(handle); // not reached: the request is complete
            return None;
        };
        self.end_opening(handle);
        self.slots.get_mut(handle)?.value = Some(value);
        Some(self.open(handle, conn, opening.config))
    }

    /// Rejects a request. The response has `handshake_timeout` to leave.
    pub(crate) fn refuse(&mut self, handle: Handle, opening: Opening, rejection: Rejection) {
        self.end_opening(handle);
        self.counts.handshakes_failed += 1;
        let until = self.clock.now + opening.config.handshake_timeout;
        let response = opening.handshake.reject(dated(rejection));
        let rejected = Rejected { response, said: 0, is_shut: false, until };
        self.go_on_rejected(handle, Box::new(rejected));
    }

    /// Goes on with a rejected request: writes the response, and drops what the client still sends.
    pub(crate) fn go_on_rejected(&mut self, handle: Handle, mut rejected: Box<Rejected>) {
        let Rejected { response, said, is_shut, until } = &mut *rejected;
        let Inner { slots, system, clock, counts, .. } = self;
        let Some(slot) = slots.get_mut(handle) else { return };
        let Some(wire) = &mut slot.wire else { return };
        let mut over = false;
        if !*is_shut {
            match wire.say_last(system, response, said) {
                Ok(()) => (*is_shut, *until) = (true, clock.now + LINGER),
                Err(error) => over = !is_passing(&error),
            }
        }
        let (mut spent, mut again) = (0, false);
        while !over && !again {
            match wire.read(system, &mut [0; 4096], &mut spent) {
                Ok(0) if *is_shut => over = true,
                Ok(0) => break, // it may read though it writes no more
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if !is_passing(&error) => over = true,
                _ => again = spent >= self.settings.turn_bytes,
            }
        }
        if over || clock.now >= *until {
            return drop(self.free(handle));
        }
        slot.set_queued(counts, response.len() - *said);
        let until = *until;
        self.put(handle, Stage::Rejected(rejected), Some(until));
        if again {
            self.make_ready(handle.at);
        }
    }

    /// Takes a deferred request out of its slot, to accept or reject it.
    pub(crate) fn take_deferred(&mut self, handle: Handle) -> Option<Opening> {
        let slot = self.slots.get_mut(handle)?;
        match mem::replace(&mut slot.stage, Stage::Turn) {
            Stage::Opening(opening) if opening.answer_by.is_some() => Some(*opening),
            stage => {
                slot.stage = stage;
                None
            }
        }
    }

    /// Ends a connection whose opening handshake failed.
    fn fail(&mut self, handle: Handle) {
        self.counts.handshakes_failed += 1;
        self.free(handle);
    }

    fn end_opening(&mut self, handle: Handle) {
        self.set_phase(handle, None);
        if let Some(peer) = self.slots.get(handle).and_then(|slot| slot.peer) {
            self.addresses.opened(peer.ip);
        }
    }

    fn set_phase(&mut self, handle: Handle, phase: Option<Phase>) {
        if let Some(slot) = self.slots.get_mut(handle) {
            self.handshakes.change(&mut slot.marks.phase, phase);
        }
    }

    // The places for handshakes.

    fn places(&self) -> usize {
        self.settings.max_handshakes.max(1)
    }

    /// Returns how many connections an address may have, and how many that are not open.
    pub(crate) fn most_of_address(&self) -> (usize, usize) {
        let all = self.settings.max_per_address;
        match all >= self.settings.max_connections {
            true => (all, all), // peers may share an address
            false => (all, (self.places() / 8).max(LEAST_SHARE)),
        }
    }

    /// Whether a connection may go on. If it has sent its first bytes, it takes a place, or waits
    /// for one.
    fn has_place(&mut self, handle: Handle) -> bool {
        let is_free = self.handshakes.under_way < self.places() && self.handshakes.waiting == 0;
        let Some(slot) = self.slots.get_mut(handle) else { return false };
        let phase = &mut slot.marks.phase;
        if *phase == Some(Phase::Silent) && slot.wire.as_ref().is_some_and(Wire::is_readable) {
            if !is_free {
                self.handshakes.queue.push_back(handle);
            }
            let to = if is_free { Phase::UnderWay } else { Phase::Waiting };
            self.handshakes.change(phase, Some(to));
        }
        *phase != Some(Phase::Waiting)
    }

    /// Gives free places to the connections that wait for one. If places are left, the doors accept
    /// again.
    pub(crate) fn fill_places(&mut self) {
        while self.handshakes.under_way < self.places()
            && let Some(handle) = self.handshakes.queue.pop_front()
        {
            if self.slots.get(handle).is_some_and(|of| of.marks.phase == Some(Phase::Waiting)) {
                self.set_phase(handle, Some(Phase::UnderWay));
                self.make_ready(handle.at);
            }
        }
        if !self.handshakes.held || self.handshakes.under_way >= self.places() {
            return;
        }
        if !self.may_accept() && self.accept_at.is_none() {
            self.close_silent();
        }
        if self.may_accept() {
            self.handshakes.held = false;
            self.queues.knocked.extend(0..self.doors.len() as u32);
        }
    }

    pub(crate) fn may_accept(&self) -> bool {
        let (now, places) = (&self.handshakes, self.places());
        now.under_way < places && now.silent + now.waiting < SILENT.saturating_mul(places)
    }

    /// Closes the connections that have been silent for `PATIENCE`. The next call is made after
    /// `RETRY`, because it looks at all connections.
    fn close_silent(&mut self) {
        let now = self.clock.now;
        for handle in self.slots.handles().collect::<Vec<_>>() {
            if let Some(slot) = self.slots.get_mut(handle)
                && let (Stage::Opening(opening), Some(wire)) = (&slot.stage, &mut slot.wire)
                && slot.marks.phase == Some(Phase::Silent)
                && opening.began + PATIENCE <= now
                && wire.find_unread(&mut self.system) == 0
            {
                self.counts.evicted += 1;
                self.free(handle);
            }
        }
        self.accept_at = Some(now + RETRY);
    }
}

/// Adds the Date that RFC 9110 §6.6.1 requires, unless the application set one.
fn dated(rejection: Rejection) -> Rejection {
    rejection.date(UNIX_EPOCH.elapsed().unwrap_or_default())
}
