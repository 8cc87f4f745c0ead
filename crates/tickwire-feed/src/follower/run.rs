//! A line has one connection after the other, and two for a short time when a successor is due. Its
//! `Backoff` says how fast it dials; `address` says where, and whether.
use super::{address::Address, open::Open};
use crate::{ConnectionId, Ended, State};
use alloc::vec::Vec;
use core::time::Duration;
use tickwire::{Retry, Time};
use tickwire_parts::Backoff;

/// How long after the last dial for silence the next one comes.
fn silence_delay(dials: u32) -> Duration {
    let seconds = 1_u64.checked_shl(dials.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(Duration::from_secs(15 * 60))
}

/// How long a line stays away from its own address before it looks whether it can go home.
const HOME_AFTER: Duration = Duration::from_secs(600);

pub(super) struct Run {
    /// The line's own address, modulo the number of addresses.
    home: usize,
    pub(super) backoff: Backoff,
    /// The connection, and its successor if there is one: both for a short time, so that no message
    /// is lost.
    pub(super) open: Vec<Open>,
    /// The age at which a connection's successor is due.
    renew_after: Duration,
    pub(super) dialing: Option<Dialing>,
    /// The address of the current connection, or of the last.
    address: usize,
    /// Those that had a fault since a connection last settled, and those dialed since the first of
    /// these faults: the earliest first.
    pub(super) tried: Vec<usize>,
    gate: Gate,
    /// Since when `gate` holds.
    gated: Time,
    /// The last dial for a silent connection, and how many there were since all was served.
    last_for_silence: Option<Time>,
    for_silence: u32,
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
pub(super) enum Purpose {
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

/// What the server asks of this machine's address.
#[derive(Clone, Copy)]
pub(super) struct Away {
    pub(super) until: Time,
    pub(super) is_above_cap: bool,
}

impl Run {
    pub(super) fn new(backoff: Backoff, renew_after: Duration, home: usize) -> Self {
        Self {
            home,
            backoff,
            open: Vec::new(),
            renew_after,
            dialing: None,
            address: home,
            tried: Vec::new(),
            gate: Gate::Open { from: Time::ZERO, after: None },
            gated: Time::ZERO,
            last_for_silence: None,
            for_silence: 0,
            last: None,
            held: None,
            home_from: Time::ZERO,
        }
    }

    pub(super) fn current(&self) -> Option<&Open> {
        self.open.first()
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Open> {
        self.open.first_mut()
    }

    pub(super) fn successor(&self) -> Option<&Open> {
        self.open.get(1)
    }

    pub(super) fn position(&self, connection: ConnectionId) -> Option<usize> {
        self.open.iter().position(|open| open.id == connection)
    }

    /// A successor is dialed only while there is none.
    pub(super) fn hold(&mut self, mut open: Open, now: Time) {
        open.renew_at = now + self.renew_after;
        self.open.push(open);
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Open> {
        Some(self.open.remove(self.position(connection)?))
    }

    pub(super) fn dials(&self, connection: ConnectionId) -> bool {
        self.dialing.as_ref().is_some_and(|dialing| dialing.connection == connection)
    }

    pub(super) fn uses(&self, address: usize) -> bool {
        let dials = self.dialing.as_ref().is_some_and(|dialing| dialing.address == address);
        dials || self.open.iter().any(|open| open.address == address)
    }

    pub(super) fn is_well(&self) -> bool {
        self.current().is_some_and(Open::is_well)
    }

    pub(super) fn home(&self, addresses: usize) -> usize {
        self.home % addresses
    }

    pub(super) fn dial(
        &mut self,
        connection: ConnectionId,
        address: usize,
        purpose: Purpose,
        now: Time,
    ) {
        if purpose != Purpose::Home {
            self.address = address;
        }
        if !self.tried.is_empty() {
            self.note_tried(address); // the one dial that is free
        }
        if purpose == Purpose::Silence {
            self.last_for_silence = Some(now);
            self.for_silence = self.for_silence.saturating_add(1);
        }
        self.dialing = Some(Dialing { connection, address, since: now, purpose, is_wanted: true });
    }

    /// Why the line would dial, and since when or from when on, in the order of preference.
    pub(super) fn needs(&self, addresses: usize) -> [Option<(Purpose, Time)>; 2] {
        if self.dialing.is_some() || self.successor().is_some() {
            return [None; 2];
        }
        let Some(current) = self.current() else {
            return [Some((Purpose::Need, Time::ZERO)), None];
        };
        if let Some(silent) = current.silent {
            let again = self.last_for_silence.map(|last| last + silence_delay(self.for_silence));
            let due = again.unwrap_or(silent.since).max(silent.since);
            return [Some((Purpose::Silence, due)), None];
        }
        let is_away = current.address != self.home(addresses);
        let home = self.home_from.max(current.opened + HOME_AFTER);
        [Some((Purpose::Need, current.renew_at)), is_away.then_some((Purpose::Home, home))]
    }

    /// When the line's own pace lets it dial this address: after a fault each other one is free,
    /// once. `None` if the line has stopped.
    pub(super) fn paced(&self, address: usize, purpose: Purpose) -> Option<Time> {
        // For silence there is another pace: `needs`.
        let is_free =
            purpose == Purpose::Silence || !self.tried.is_empty() && !self.tried.contains(&address);
        match self.gate {
            Gate::Stopped { .. } => None,
            Gate::Open { .. } if is_free => Some(Time::ZERO),
            Gate::Open { from, .. } | Gate::Alarm { from, .. } => Some(from),
        }
    }

    /// The rank of an address among those that may be dialed at the same time, the lowest first:
    /// where the line is. After a fault its own first, then the others that are free, then the
    /// earliest.
    pub(super) fn rank(&self, address: usize, addresses: usize) -> usize {
        let behind = (address + addresses - self.address % addresses) % addresses;
        match self.tried.iter().position(|tried| *tried == address) {
            Some(at) => 2 * addresses + at,
            None if !self.tried.is_empty() && address == self.home(addresses) => 0,
            None => behind,
        }
    }

    /// The connection has, which is not the one that was opened for the silence before.
    pub(super) fn has_settled_since_silence(&self) -> bool {
        let settled = self.backoff.settled_after;
        let silent = self.current().and_then(|current| current.silent);
        let since = self.last_for_silence;
        silent.is_some_and(|silent| since.is_none_or(|last| last + settled <= silent.since))
    }

    /// A subscription, or a connection, has fallen silent that was not before.
    pub(super) const fn note_first_silence(&mut self) {
        self.for_silence = 0;
    }

    pub(super) fn note_tried(&mut self, address: usize) {
        self.tried.retain(|tried| *tried != address);
        self.tried.push(address);
    }

    pub(super) fn postpone_home(&mut self, now: Time) {
        self.home_from = now + HOME_AFTER;
    }

    pub(super) const fn last(&self) -> Option<Ended> {
        self.last
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
        self.remove(successor)
    }

    /// Zero is an attempt.
    pub(super) fn has_settled(&self, lived: Duration) -> bool {
        lived >= self.backoff.settled_after && !lived.is_zero()
    }

    /// Faults of before a connection that has settled are of another time, and what a proxy asked.
    pub(super) fn note_life(&mut self, lived: Duration, addresses: &mut [Address], now: Time) {
        self.backoff.connected_for(lived);
        if self.has_settled(lived) {
            self.tried.clear();
            addresses.iter_mut().for_each(|address| address.note_settled(lived, now));
            if let Gate::Open { from, .. } = &mut self.gate
                && now - self.gated >= lived
            {
                *from = now.min(*from);
            }
        }
    }

    /// The exchange will end this connection, as Binance says by `serverShutdown`: once. It will
    /// end the other one too, so whichever stays is due for a successor after the next delay.
    pub(super) fn note_ending(&mut self, nth: usize, addresses: &mut [Address], now: Time) {
        let Some(open) = self.open.get_mut(nth) else { return };
        if core::mem::replace(&mut open.is_ending, true) {
            return;
        }
        let lived = open.lived(now);
        self.note_life(lived, addresses, now);
        if let Some(delay) = self.backoff.next() {
            self.wait(Gate::Open { from: now + delay, after: self.last }, now);
        }
        for open in &mut self.open {
            open.renew_at = open.renew_at.min(now);
        }
    }

    pub(super) fn stay_away(&mut self, dialing: &Dialing, ended: Ended, now: Time) -> bool {
        let stays = dialing.purpose == Purpose::Home
            && self.current().is_some_and(|current| current.silent.is_none())
            && ended.retry() == Retry::BackOff;
        if stays {
            self.postpone_home(now);
        }
        stays
    }

    pub(super) fn note_end(&mut self, ended: Ended) {
        self.last = Some(ended);
        if self.current().is_none()
            && let Some(dialing) = &mut self.dialing
        {
            dialing.is_wanted = true;
        }
    }

    pub(super) fn stop(&mut self, after: Ended, now: Time) {
        self.wait(Gate::Stopped { after }, now);
    }

    /// `None`: the attempts are used up.
    pub(super) fn wait_until(&mut self, from: Option<Time>, after: Ended, now: Time) {
        let waits = from.map(|from| Gate::Open { from, after: Some(after) });
        self.wait(waits.unwrap_or(Gate::Stopped { after }), now);
    }

    /// A person should know.
    pub(super) fn alarm(&mut self, from: Option<Time>, after: Ended, now: Time) {
        let alarm = from.map(|from| Gate::Alarm { from, after });
        self.wait(alarm.unwrap_or(Gate::Stopped { after }), now);
    }

    /// The end of one connection must not shorten the wait for a successor, or undo a stop or an
    /// alarm.
    fn wait(&mut self, gate: Gate, now: Time) {
        let before = match self.gate {
            Gate::Open { from, .. } | Gate::Alarm { from, .. } => from,
            Gate::Stopped { .. } => return,
        };
        let gate = match (self.gate, gate) {
            (Gate::Alarm { after, .. }, Gate::Open { from, .. }) if now < before => {
                Gate::Alarm { from, after }
            }
            _ => gate,
        };
        match gate {
            Gate::Open { from, .. } | Gate::Alarm { from, .. } if from < before => {}
            _ => {
                self.gate = gate;
                self.gated = now;
            }
        }
    }

    pub(super) fn go_on(&mut self, now: Time) {
        self.backoff.reset();
        self.tried.clear();
        self.address = self.home;
        self.gate = Gate::Open { from: now, after: self.last };
    }

    /// An alarm that is over is none, though the line waits for another reason or needs no dial.
    /// Returns when it will be.
    pub(super) fn end_alarm(&mut self, now: Time) -> Option<Time> {
        let Gate::Alarm { from, after } = self.gate else { return None };
        if now < from {
            return Some(from);
        }
        self.gate = Gate::Open { from, after: Some(after) };
        None
    }

    /// A certificate may be valid now.
    pub(super) fn note_clock(&mut self, now: Time) {
        if let Gate::Alarm { after, .. } = self.gate
            && after.cause().is_some_and(|cause| cause.is_lapsed_certificate())
        {
            self.gate = Gate::Open { from: now, after: Some(after) };
        }
    }

    pub(super) const fn stopped(&self) -> Option<Ended> {
        match self.gate {
            Gate::Stopped { after } => Some(after),
            Gate::Open { .. } | Gate::Alarm { .. } => None,
        }
    }

    /// Looks in the order that the docs of [`State`] promise. `address` is where the line dials
    /// next, if it needs a connection; `stopped` the fault because of which it dials nowhere.
    pub(super) fn state(&self, address: Option<&Address>, stopped: Option<Ended>) -> State {
        if let Some(after) = stopped {
            return State::Stopped { after };
        }
        let dialed = self.dialing.as_ref().map(|dialing| dialing.address);
        let (mut until, mut after) = match self.gate {
            Gate::Stopped { after } => return State::Stopped { after },
            Gate::Alarm { from, after } if dialed.is_none() => {
                return State::Alarm { until: from, after };
            }
            Gate::Alarm { from, after } => (from, Some(after)),
            Gate::Open { from, after } => (from, after),
        };
        let Some(current) = self.current() else {
            if let Some(address) = address
                && let Some(from) = address.from()
                && from > until
            {
                until = from;
                after = address.after();
            }
            return match (dialed, self.held, address) {
                (Some(address), ..) => State::Dialing { address, after: self.last },
                (None, Some(until), _) => State::Held { until, after: self.last },
                // Not if it is over, and the line waits for its own pace.
                (None, None, Some(&Address::Alarm { from, after, .. })) if from == until => {
                    State::Alarm { until, after }
                }
                (None, None, _) => State::Waiting { until, after },
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
