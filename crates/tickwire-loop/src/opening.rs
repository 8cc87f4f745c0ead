//! The turns of an accepted connection until it is open: TLS, the request, and the application's
//! decision.
use crate::event::{Answer, Decision, Event};
use crate::net::{Handler, Net};
use crate::slots::{Origin, Peer};
use crate::stage::{Open, Opening, Rejected, Stage};
use crate::wire::{Got, Pause, Wire, is_passing};
use crate::{entrance::Phase, handle::Handle, inner::Inner, run::RETRY};
use std::{
    io::{self, ErrorKind},
    mem,
    time::{Duration, UNIX_EPOCH},
};
use tickwire::handshake::{
    HandshakeError, Progress,
    server::{Accept, Rejection},
};
use tickwire_parts::{BadProxyHeader, ProxyHeader};

/// If too many connections are silent, those that have been for so long are closed. Honest clients
/// send at once, or within a round trip or two.
const PATIENCE: Duration = Duration::from_secs(2);
/// For a rejected client to read the response, once that is written.
const LINGER: Duration = Duration::from_secs(1);

impl<T> Inner<T> {
    pub(crate) fn open_up(
        &mut self,
        handle: Handle,
        mut opening: Box<Opening>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        match self.read_request(handle, &mut opening) {
            Ok(None) => return self.ask(handle, opening, handler),
            // A health check asks for no WebSocket, so the handshake rejects it, but the door may
            // have an answer.
            Ok(Some(rejection)) => match opening.health_check() {
                Some(answer) => {
                    self.counts.health_checks += 1;
                    self.answer(handle, *opening, answer);
                }
                None => self.refuse(handle, *opening, rejection),
            },
            Err(Pause::Wait(until)) => self.put(handle, Stage::Opening(opening), until),
            // No event, because the application does not know of this connection yet.
            // `Counts::handshakes_failed` shows it.
            Err(Pause::Failed(_)) => self.fail(handle),
        }
        None
    }

    fn read_request(
        &mut self,
        handle: Handle,
        opening: &mut Opening,
    ) -> Result<Option<Rejection>, Pause> {
        let now = self.clock.now;
        // A deferred request is complete, so nothing is read.
        if let Some(until) = opening.answer_by {
            return match until <= now {
                true => Ok(Some(Rejection::new(503))),
                false => Err(Pause::Wait(Some(until))),
            };
        }
        let until = opening.deadline();
        // Once its deadline has passed it needs no place: it goes on, and fails below.
        if until.is_none_or(|at| at > now) && !self.has_place(handle) {
            return Err(Pause::Wait(until));
        }
        self.read_header(handle, opening)?;
        let handshake = &mut opening.handshake;
        let wire = self.slots.get_mut(handle).and_then(|slot| slot.wire.as_mut());
        // Not reached: a connection in its handshake always has a wire.
        let wire = wire.ok_or(io::Error::from(ErrorKind::NotConnected))?;
        let mut spent = 0;
        loop {
            // The TLS handshake, and ciphertext that is left from an earlier turn.
            match wire.send(&mut self.system) {
                Err(error) if !is_passing(&error) => return Err(error.into()),
                _ => {}
            }
            match handshake.step() {
                Ok(Progress::Complete) => return Ok(None),
                Err(error) => return Ok(Some(error.into())),
                Ok(Progress::Partial) => {}
            }
            let spent = (&mut spent, self.settings.turn_bytes);
            wire.shake(&mut self.system, &mut handshake.reading, now, spent)?;
        }
    }

    /// Reads the header of the PROXY protocol if one is to come, and not a byte more. Then the
    /// connection counts for the client that the header names. If there is no good header, the
    /// handshake fails.
    fn read_header(&mut self, handle: Handle, opening: &mut Opening) -> Result<(), Pause> {
        let now = self.clock.now;
        let reading = &mut opening.handshake.reading;
        let Some(header) = &mut opening.header else { return Ok(()) };
        // The early returns are not reached: see `read_request`.
        let Some(slot) = self.slots.get_mut(handle) else { return Ok(()) };
        let Some(wire) = &mut slot.wire else { return Ok(()) };
        let mut spent = 0; // no limit is needed: a header is short
        let client = loop {
            let missing = match ProxyHeader::parse(header) {
                Ok(ProxyHeader::Complete(client)) => break client,
                Ok(ProxyHeader::Partial { missing }) => missing,
                Err(BadProxyHeader { what }) => {
                    reading.fail(HandshakeError::Malformed { what });
                    return Ok(());
                }
            };
            let Some(late) = wire.may_read(&mut self.system, reading, now, false)? else {
                return Ok(());
            };
            let read = header.len();
            header.resize(read + missing, 0);
            let to = header.get_mut(read..).unwrap_or_default();
            let got = wire.read_below_tls(&mut self.system, to, &mut spent);
            header.truncate(read + if let Ok(Got::Bytes(n)) = got { n } else { 0 });
            match got? {
                Got::Bytes(0) => {
                    reading.end_of_stream();
                    return Ok(());
                }
                Got::Again | Got::Blocked if late => return Err(Pause::Wait(Some(now))),
                Got::Bytes(_) | Got::Again | Got::Blocked => {}
            }
        };
        opening.header = None;
        let Some(balancer) = slot.peer else { return Ok(()) };
        let address = client.unwrap_or(balancer.address());
        if !self.entrance.count_for(address.ip()) {
            self.counts.over_per_address += 1;
            self.free(handle);
            return Err(Pause::Wait(None)); // for nothing: the slot is free
        }
        slot.peer = Some(Peer::new(address, Origin::Accepted));
        Ok(())
    }

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
        self.slots.get(handle)?; // the handler may have removed the connection
        match answer.0 {
            Decision::Accept(accept, value) => return self.admit(handle, *opening, accept, value),
            Decision::Defer if !self.entrance.has_room(Phase::Deferred) => {
                self.refuse(handle, *opening, Rejection::new(503));
            }
            Decision::Defer => {
                self.set_phase(handle, Phase::Deferred); // its place is free for another handshake
                let until = self.clock.now + opening.config.handshake_timeout;
                opening.answer_by = Some(until);
                self.put(handle, Stage::Opening(opening), Some(until));
            }
            Decision::Reject(rejection) => self.refuse(handle, *opening, rejection),
            Decision::None => self.refuse(handle, *opening, Rejection::new(403)),
        }
        None
    }

    pub(crate) fn admit(
        &mut self,
        handle: Handle,
        opening: Opening,
        accept: Accept<'_>,
        value: T,
    ) -> Option<Box<Open>> {
        // First, because the handshake consumes `accept` below. Without one, the door's applies.
        let config = accept.own_config().cloned().unwrap_or(opening.config);
        let Ok(conn) = opening.handshake.accept(accept) else {
            self.fail(handle); // not reached: the request is complete
            return None;
        };
        self.end_opening(handle);
        self.slots.get_mut(handle)?.value = Some(value);
        Some(self.open(handle, conn, config))
    }

    pub(crate) fn refuse(&mut self, handle: Handle, opening: Opening, rejection: Rejection) {
        self.counts.handshakes_failed += 1;
        self.answer(handle, opening, rejection);
    }

    /// Rejects the request; writing the response may take `handshake_timeout`. Before the TLS
    /// handshake is over, no response can be sealed, so the connection ends at once.
    fn answer(&mut self, handle: Handle, opening: Opening, rejection: Rejection) {
        let wire = self.slots.get(handle).and_then(|slot| slot.wire.as_ref());
        if wire.is_none_or(Wire::is_in_tls_handshake) {
            return drop(self.free(handle));
        }
        self.end_opening(handle); // its place is free for another handshake
        let until = self.clock.now + opening.config.handshake_timeout;
        // RFC 9110 §6.6.1 requires a Date. One that the application has set stays. A system clock
        // before 1970 counts as 1970.
        let rejection = rejection.date(UNIX_EPOCH.elapsed().unwrap_or_default());
        let response = opening.handshake.reject(rejection);
        let rejected = Rejected { response, said: 0, is_shut: false, until };
        self.go_on_rejected(handle, Box::new(rejected));
    }

    pub(crate) fn go_on_rejected(&mut self, handle: Handle, mut rejected: Box<Rejected>) {
        let Rejected { response, said, is_shut, until } = &mut *rejected;
        let Inner { slots, system, clock, counts, .. } = self;
        let Some(slot) = slots.get_mut(handle) else { return };
        let Some(wire) = &mut slot.wire else { return };
        let mut over = false;
        if !*is_shut {
            match wire.say_last(system, response, said) {
                Ok(()) => {
                    *is_shut = true;
                    *until = clock.now + LINGER;
                }
                Err(error) => over = !is_passing(&error),
            }
        }
        let mut spent = 0;
        let mut again = false;
        while !over && !again {
            match wire.read(system, &mut [0; 4096], &mut spent) {
                Ok(Got::Bytes(0)) if *is_shut => over = true,
                Ok(Got::Bytes(0)) => break, // the client may still read, though it sends no more
                Ok(Got::Blocked) => break,
                // Read, and dropped.
                Ok(Got::Bytes(_) | Got::Again) => again = spent >= self.settings.turn_bytes,
                Err(_) => over = true,
            }
        }
        if over || clock.now >= *until {
            return drop(self.free(handle));
        }
        slot.set_queued(counts, response.len() - *said);
        let until = if again { clock.now } else { *until }; // `again`: more bytes may be unread
        self.put(handle, Stage::Rejected(rejected), Some(until));
    }

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

    fn fail(&mut self, handle: Handle) {
        self.counts.handshakes_failed += 1;
        self.free(handle);
    }

    fn end_opening(&mut self, handle: Handle) {
        if let Some(slot) = self.slots.get_mut(handle)
            && let Some(peer) = slot.peer
        {
            self.entrance.opened(peer.counted_for(), &mut slot.marks.phase);
        }
    }

    fn set_phase(&mut self, handle: Handle, phase: Phase) {
        if let Some(slot) = self.slots.get_mut(handle) {
            self.entrance.change(&mut slot.marks.phase, Some(phase));
        }
    }

    fn has_place(&mut self, handle: Handle) -> bool {
        let Some(slot) = self.slots.get_mut(handle) else { return false };
        let readable = slot.wire.as_ref().is_some_and(Wire::is_readable);
        self.entrance.goes_on(handle, &mut slot.marks.phase, readable)
    }

    pub(crate) fn fill_places(&mut self) {
        while let Some(handle) = self.entrance.next_waiting() {
            if self.slots.get(handle).is_some_and(|of| of.marks.phase == Some(Phase::Waiting)) {
                self.set_phase(handle, Phase::UnderWay);
                self.make_ready(handle.at);
            }
        }
        if !self.entrance.held || !self.entrance.has_room(Phase::UnderWay) {
            return;
        }
        // Places are free here, so if nothing may be accepted, too many connections are silent.
        // While `accept_at` is set, it is too early to close some again.
        if !self.entrance.may_accept() && self.entrance.accept_at.is_none() {
            self.close_silent();
        }
        if self.entrance.may_accept() {
            self.entrance.held = false;
            self.look_at_doors();
        }
    }

    /// At most once in `RETRY`, because each call visits all connections.
    fn close_silent(&mut self) {
        let now = self.clock.now;
        // First, because `free` changes the slots.
        for handle in self.slots.handles().collect::<Vec<_>>() {
            if let Some(slot) = self.slots.get_mut(handle)
                && let (Stage::Opening(opening), Some(wire)) = (&slot.stage, &mut slot.wire)
                && slot.marks.phase == Some(Phase::Silent)
                && opening.began + PATIENCE <= now
                // The first bytes may be here, although no `Note` has reported them.
                && wire.find_unread(&mut self.system) == 0
            {
                self.counts.evicted += 1;
                self.free(handle);
            }
        }
        self.entrance.accept_at = Some(now + RETRY);
    }
}
