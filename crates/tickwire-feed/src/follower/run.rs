//! A line has one connection after the other, and two for a short time when a successor is due.
use super::open::Open;
use crate::{ConnectionId, Ended, Rotation, State};
use core::time::Duration;
use tickwire::{Retry, Time};
use tickwire_parts::Backoff;

/// Until a line that is not at its own address looks whether it can go home.
const HOME_AFTER: Duration = Duration::from_secs(600);

pub(super) struct Run {
    /// Modulo the number of addresses.
    home: usize,
    backoff: Backoff,
    pub(super) rotation: Rotation<Open>,
    pub(super) dialing: Option<Dialing>,
    address: usize,
    /// Since a connection last settled.
    tried: usize,
    gate: Gate,
    /// The end before the next attempt.
    last: Option<Ended>,
    /// The attempts of this machine's address allow no dial before this time, although one is due.
    pub(super) held: Option<Time>,
    home_from: Time,
}

pub(super) struct Dialing {
    pub(super) connection: ConnectionId,
    pub(super) address: usize,
    pub(super) since: Time,
    purpose: Purpose,
    /// False once the silent connection that it should replace has spoken.
    is_wanted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// There is no connection, or it will end.
    Need,
    Silence,
    Home,
}

#[derive(Clone, Copy)]
enum Gate {
    Open {
        from: Time,
        after: Option<Ended>,
    },
    Alarm {
        from: Time,
        after: Ended,
    },
    /// Not until `go_on`.
    Stopped {
        after: Ended,
    },
}

#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) address: usize,
    /// Another address, because of this end.
    pub(super) is_elsewhere: bool,
    pub(super) addresses: usize,
}

/// For the address of this machine.
#[derive(Clone, Copy)]
pub(super) struct Away {
    pub(super) until: Time,
    pub(super) is_above_cap: bool,
}

impl Run {
    pub(super) fn new(backoff: Backoff, rotation: Rotation<Open>, home: usize) -> Self {
        Self {
            home,
            backoff,
            rotation,
            dialing: None,
            address: home,
            tried: 0,
            gate: Gate::Open { from: Time::ZERO, after: None },
            last: None,
            held: None,
            home_from: Time::ZERO,
        }
    }

    pub(super) fn current(&self) -> Option<&Open> {
        self.rotation.iter().next()
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Open> {
        self.rotation.iter_mut().next()
    }

    pub(super) fn successor(&self) -> Option<&Open> {
        self.rotation.iter().nth(1)
    }

    pub(super) fn find_mut(&mut self, connection: ConnectionId) -> Option<&mut Open> {
        self.rotation.iter_mut().find(|open| open.id == connection)
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.rotation.iter().any(|open| open.id == connection)
    }

    pub(super) fn dials(&self, connection: ConnectionId) -> bool {
        self.dialing.as_ref().is_some_and(|dialing| dialing.connection == connection)
    }

    pub(super) fn uses(&self, address: usize) -> bool {
        let dials = self.dialing.as_ref().is_some_and(|dialing| dialing.address == address);
        dials || self.rotation.iter().any(|open| open.address == address)
    }

    pub(super) fn is_well(&self) -> bool {
        self.current().is_some_and(Open::is_well)
    }

    pub(super) fn home(&self, addresses: usize) -> usize {
        self.home % addresses
    }

    pub(super) fn address(&self, addresses: usize) -> usize {
        self.address % addresses
    }

    pub(super) fn wants(&self, addresses: usize, now: Time) -> usize {
        match self.purpose(addresses, now) {
            Purpose::Home => self.home(addresses),
            Purpose::Need | Purpose::Silence => self.address(addresses),
        }
    }

    pub(super) fn dial(
        &mut self,
        connection: ConnectionId,
        address: usize,
        addresses: usize,
        now: Time,
    ) {
        let purpose = self.purpose(addresses, now);
        if purpose != Purpose::Home {
            self.address = address;
        }
        self.held = None;
        self.dialing = Some(Dialing { connection, address, since: now, purpose, is_wanted: true });
    }

    fn purpose(&self, addresses: usize, now: Time) -> Purpose {
        let Some(current) = self.current() else { return Purpose::Need };
        let is_planned = self.rotation.poll_timeout().is_some_and(|due| due <= now);
        match current.silent {
            Some(_) => Purpose::Silence,
            None if !is_planned && current.address != self.home(addresses) => Purpose::Home,
            None => Purpose::Need,
        }
    }

    pub(super) fn goes_home(&self, addresses: usize, now: Time) -> bool {
        self.purpose(addresses, now) == Purpose::Home
    }

    pub(super) fn postpone_home(&mut self, now: Time) {
        self.home_from = now + HOME_AFTER;
    }

    pub(super) const fn last(&self) -> Option<Ended> {
        self.last
    }

    /// `None` while an attempt is under way, and if none is wanted.
    pub(super) fn dials_at(&self, addresses: usize) -> Option<Time> {
        let from = match self.gate {
            Gate::Open { from, .. } | Gate::Alarm { from, .. } => from,
            Gate::Stopped { .. } => return None,
        };
        if self.dialing.is_some() || self.successor().is_some() {
            return None;
        }
        let Some(current) = self.current() else { return Some(from) };
        let silent = current.silent.map(|silent| silent.since);
        let is_away = current.address != self.home(addresses);
        let goes_home = is_away.then(|| self.home_from.max(current.opened + HOME_AFTER));
        let due = [silent, goes_home, self.rotation.poll_timeout()].into_iter().flatten().min()?;
        Some(from.max(due))
    }

    /// The attempt, if it is still wanted.
    pub(super) fn opened(&mut self, connection: ConnectionId) -> Option<Dialing> {
        let dialing = self.dialing.take_if(|dialing| dialing.connection == connection)?;
        self.address = dialing.address;
        // A new connection ends an alarm, but not a stop: only `go_on` does.
        if let Gate::Alarm { from, after } = self.gate {
            self.gate = Gate::Open { from, after: Some(after) };
        }
        Some(dialing).filter(|dialing| dialing.is_wanted)
    }

    /// Returns the successor, which nobody needs any more.
    pub(super) fn note_spoken(&mut self) -> Option<Open> {
        if let Some(dialing) = &mut self.dialing
            && dialing.purpose == Purpose::Silence
        {
            dialing.is_wanted = false;
        }
        let successor = self.successor().filter(|open| open.is_for_silence)?.id;
        self.rotation.ended(|open| open.id == successor)
    }

    pub(super) fn note_life(&mut self, lived: Duration) {
        self.backoff.connected_for(lived);
        if lived >= self.backoff.settled_after {
            self.tried = 0;
        }
    }

    /// The line dials after the next delay, whether the current connection or its successor will
    /// end.
    pub(super) fn note_ending(&mut self, lived: Duration, now: Time) {
        self.note_life(lived);
        if let Some(delay) = self.backoff.next() {
            self.wait(Gate::Open { from: now + delay, after: self.last });
        }
        self.rotation.hasten(now);
    }

    pub(super) fn stay_away(&mut self, dialing: &Dialing, ended: Ended, now: Time) -> bool {
        let stays = dialing.purpose == Purpose::Home
            && self.current().is_some_and(|current| current.silent.is_none())
            && ended.retry() == Retry::BackOff;
        if stays {
            self.postpone_home(now);
            self.wait(Gate::Open { from: now, after: Some(ended) }); // an alarm of before is over
        }
        stays
    }

    /// `lived` is how long the connection served; zero for an attempt.
    pub(super) fn over(
        &mut self,
        ended: Ended,
        lived: Duration,
        turn: Turn,
        away: Option<Away>,
        now: Time,
    ) {
        self.note_life(lived);
        if turn.is_elsewhere {
            self.tried = self.tried.saturating_add(1);
        }
        self.address = turn.address;
        self.last = Some(ended);
        if self.current().is_none()
            && let Some(dialing) = &mut self.dialing
        {
            dialing.is_wanted = true;
        }
        // The other addresses may work, so the line waits only once all have failed.
        let is_untried = turn.is_elsewhere && self.tried < turn.addresses;
        let gate = self.gate_after(ended, lived, is_untried, away, now);
        self.wait(gate);
    }

    fn gate_after(
        &mut self,
        ended: Ended,
        lived: Duration,
        is_untried: bool,
        away: Option<Away>,
        now: Time,
    ) -> Gate {
        let after = Some(ended);
        let is_lapsed = ended.cause().is_some_and(|cause| cause.is_lapsed_certificate());
        if ended.retry() == Retry::Stop {
            return Gate::Stopped { after: ended };
        }
        if let Some(Away { until, is_above_cap }) = away {
            return match self.backoff.next() {
                None => Gate::Stopped { after: ended },
                Some(_) if is_above_cap => Gate::Alarm { from: until, after: ended },
                Some(delay) => Gate::Open { from: until + delay, after },
            };
        }
        let delay = match ended {
            Ended::Closed(code) => self.backoff.after_close(code, lived),
            Ended::Refused { status, retry_after, .. } => {
                self.backoff.after_refusal(status, retry_after)
            }
            Ended::Failed(_) if is_lapsed && !is_untried => {
                return match self.backoff.after_lapsed_certificate() {
                    Some(delay) => Gate::Alarm { from: now + delay, after: ended },
                    None => Gate::Stopped { after: ended },
                };
            }
            Ended::Failed(_) if is_lapsed => self.backoff.next(),
            Ended::Failed(cause) => self.backoff.after_error(cause.retry_delay()),
        };
        match delay {
            Some(_) if is_untried => Gate::Open { from: now, after },
            Some(delay) => Gate::Open { from: now + delay, after },
            // A person should know, or the attempts are used up.
            None => match self.backoff.rarely() {
                Some(delay) => Gate::Alarm { from: now + delay, after: ended },
                None => Gate::Stopped { after: ended },
            },
        }
    }

    /// The end of one connection must not shorten the wait for a successor, or undo a stop.
    fn wait(&mut self, gate: Gate) {
        let before = match self.gate {
            Gate::Open { from, .. } | Gate::Alarm { from, .. } => from,
            Gate::Stopped { .. } => return,
        };
        match gate {
            Gate::Open { from, .. } | Gate::Alarm { from, .. } if from < before => {}
            _ => self.gate = gate,
        }
    }

    pub(super) fn go_on(&mut self, now: Time) {
        if let Gate::Stopped { after } = self.gate {
            self.backoff.reset();
            self.tried = 0;
            self.gate = Gate::Open { from: now, after: Some(after) };
        }
    }

    /// A certificate may be valid now.
    pub(super) fn note_clock(&mut self, now: Time) {
        if let Gate::Alarm { after, .. } = self.gate
            && after.cause().is_some_and(|cause| cause.is_lapsed_certificate())
        {
            self.gate = Gate::Open { from: now, after: Some(after) };
        }
    }

    /// In the order that the docs of [`State`] promise.
    pub(super) fn state(&self) -> State {
        let dialed = self.dialing.as_ref().map(|dialing| dialing.address);
        let (until, after) = match self.gate {
            Gate::Stopped { after } => return State::Stopped { after },
            Gate::Alarm { from, after } if dialed.is_none() => {
                return State::Alarm { until: from, after };
            }
            Gate::Alarm { from, after } => (from, Some(after)),
            Gate::Open { from, after } => (from, after),
        };
        let Some(current) = self.current() else {
            return match (dialed, self.held) {
                (Some(address), _) => State::Dialing { address, after: self.last },
                (None, Some(until)) => State::Held { until, after },
                (None, None) => State::Waiting { until, after },
            };
        };
        if let Some(silent) = current.silent {
            return State::Silent { cause: silent.cause };
        }
        match current.missing() {
            _ if !current.is_logged_in() => State::LoggingIn,
            missing @ 1.. => State::Subscribing { missing },
            0 if current.is_asking() => State::Probing,
            0 if self.successor().is_some() || dialed.is_some() => State::Replacing,
            0 => State::Following,
        }
    }

    pub(super) fn is_for_silence(dialing: &Dialing) -> bool {
        dialing.purpose == Purpose::Silence
    }
}
