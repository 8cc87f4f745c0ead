//! When and where a line dials: a function of facts. An end adds to the facts of what it
//! [concerns](Concern), and a settled life ends their [`Row`]. No alarm, and no stop but the
//! program's own, is kept: they are what one says of the facts.
//!
//! | facts of | say |
//! |---|---|
//! | the line | no dial before its own delay is over, but to an address that it has not tried in this incident |
//! | an address | no dial there before its pace, and what was asked for, are over |
//! | the key | no dial before its pace is over |
//! | the machine | the same; and [`Attempts`] has its budget and its gate |
//!
//! The latest of these is when an address may be dialed, and the earliest address is dialed: of
//! several the own, then a free one, then the one that was dialed longest ago.
use crate::{
    Cause, Ended,
    attempts::{Attempts, Key},
    row::{self, Row, spread},
};
use alloc::{vec, vec::Vec};
use core::{mem, time::Duration};
use tickwire::{Retry, Time};
use tickwire_parts::Backoff;

#[cfg(test)]
mod tests;

/// The close code 1012 asks clients to come back after a random 5 to 30 s (IANA registry).
const RESTART: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It was not opened, or its login was not accepted.
    Attempt,
    Short,
    Settled,
}

/// The end of a line's connection, or attempt.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) address: usize,
    pub(crate) ended: Ended,
    pub(crate) life: Life,
    pub(crate) now: Time,
}

/// What an end says something about, if not of the line alone, which waits for its own delay in any
/// case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Concern {
    Address,
    /// Or whatever else all addresses have in common.
    Machine,
    Key,
}

/// Why a line dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) due: Time,
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has no connection.
    None,
    /// Its connection will end.
    Planned,
    /// Its connection is silent. These dials have a pace of their own.
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) from: Time,
    pub(crate) address: usize,
}

pub(crate) struct Line {
    own: usize,
    pub(crate) backoff: Backoff,
    /// In a row, since a life has settled.
    pub(crate) ends: u32,
    pub(crate) last: Time,
    /// The end before the next attempt.
    pub(crate) after: Option<Ended>,
    from: Time,
    /// For each address whether it was dialed, or had a fault, in this incident: the highest was
    /// the last.
    tried: Vec<Option<u32>>,
    tries: u32,
    address: usize,
    /// What the program has said, or the end of its last attempt.
    stopped: Option<Ended>,
    /// A copy, if it is shared.
    key: Row,
    pub(crate) shared: Option<Key>,
    /// The key is a new one: `Attempts` has not heard of it.
    is_new: bool,
    /// The key was refused to this line, since a life of the line has settled.
    is_refused: bool,
}

impl Line {
    fn is_in_trouble(&self) -> bool {
        self.tried.iter().any(Option::is_some)
    }

    fn note_tried(&mut self, address: usize) {
        self.tries = self.tries.saturating_add(1);
        self.tried[address] = Some(self.tries);
    }

    /// Waits for the next delay. `true` if it was the last.
    fn wait(&mut self, draw: u64, now: Time) -> bool {
        let delay = self.backoff.delay(self.ends, draw);
        self.from = self.from.max(now + delay.unwrap_or_default());
        self.ends = self.ends.saturating_add(1);
        self.last = now;
        delay.is_none()
    }

    /// `true` goes to `change` if the key is the line's own.
    fn change_key(&mut self, attempts: &mut Attempts, change: impl FnOnce(&mut Row, bool)) {
        let shared = self.shared.and_then(|key| attempts.key_mut(key));
        let is_own = shared.is_none();
        let row = shared.unwrap_or(&mut self.key);
        if mem::take(&mut self.is_new) {
            row.forget();
        }
        change(row, is_own);
        self.key = *row;
    }
}

pub(crate) struct Dials {
    pub(crate) lines: Vec<Line>,
    pub(crate) addresses: Vec<Row>,
    machine: Row,
    refused_logins: Option<u32>,
}

impl Dials {
    pub(crate) fn new(addresses: usize, refused_logins: Option<u32>) -> Self {
        Self {
            lines: Vec::new(),
            addresses: vec![Row::NONE; addresses.max(1)],
            machine: Row::NONE,
            refused_logins,
        }
    }

    pub(crate) fn add_line(&mut self, backoff: Backoff) {
        let own = self.lines.len() % self.addresses.len();
        self.lines.push(Line {
            own,
            backoff,
            ends: 0,
            last: Time::ZERO,
            after: None,
            from: Time::ZERO,
            tried: vec![None; self.addresses.len()],
            tries: 0,
            address: own,
            stopped: None,
            key: Row::NONE,
            shared: None,
            is_new: false,
            is_refused: false,
        });
    }

    /// What other lines and followers have found out about the keys.
    pub(crate) fn look(&mut self, attempts: &mut Attempts) {
        for line in &mut self.lines {
            line.change_key(attempts, |_, _| {});
        }
    }

    /// Whether the attempts, and the key, allow this dial now.
    pub(crate) fn take(
        &mut self,
        at: usize,
        address: usize,
        attempts: &mut Attempts,
        now: Time,
    ) -> Result<(), Time> {
        let line = &mut self.lines[at];
        attempts.take_with(line.shared, now)?;
        line.address = address;
        if line.is_in_trouble() {
            line.note_tried(address);
        }
        Ok(())
    }

    pub(crate) fn note_end(&mut self, at: usize, end: End, attempts: &mut Attempts) {
        let draw = self.lines[at].backoff.draw();
        self.note_end_with(at, end, draw, attempts);
    }

    fn note_end_with(&mut self, at: usize, end: End, draw: u64, attempts: &mut Attempts) {
        let End { address, ended, life, now } = end;
        let line = &mut self.lines[at];
        let is_last = line.wait(draw, now);
        line.after = Some(ended);
        if is_last || is_word(ended) {
            line.stopped = Some(ended);
        }
        let Some(concern) = concern(ended, life) else { return };
        line.note_tried(address);
        let asked = asked(ended, &line.backoff, draw);
        let row = match concern {
            Concern::Key => {
                // A clean address comes before one that refuses the key.
                self.addresses[address].note(ended, Duration::ZERO, now);
                let delay = line.backoff.delay(0, draw).unwrap_or_default();
                line.is_refused = true;
                line.change_key(attempts, |row, _| {
                    row.note(ended, asked, now);
                    row.wait(delay, now);
                    row.pace(row::of_key(row.ends), draw, now);
                });
                return;
            }
            Concern::Machine => &mut self.machine,
            Concern::Address => &mut self.addresses[address],
        };
        row.note(ended, asked, now);
        if is_slow(ended, life) {
            row.pace(row::slow(row.ends, row.age()), draw, now);
        }
    }

    /// The connection at this address is silent, and still open.
    pub(crate) fn note_silence(&mut self, at: usize, address: usize, cause: Cause, now: Time) {
        let line = &mut self.lines[at];
        line.after = Some(cause.into());
        line.note_tried(address);
        if cause.subscription().is_none() {
            self.addresses[address].note(cause.into(), Duration::ZERO, now);
        }
    }

    /// The exchange will end the line's connection: its successor waits for the next delay.
    pub(crate) fn note_ending(&mut self, at: usize, now: Time) {
        let line = &mut self.lines[at];
        let draw = line.backoff.draw();
        line.wait(draw, now);
    }

    /// A connection that was admitted then has settled.
    pub(crate) fn note_settled(
        &mut self,
        at: usize,
        address: usize,
        admitted: Time,
        attempts: &mut Attempts,
    ) {
        self.addresses[address].settle(admitted);
        self.machine.settle(admitted);
        let line = &mut self.lines[at];
        let is_refused = mem::take(&mut line.is_refused);
        line.change_key(attempts, |row, is_own| match is_own || is_refused {
            true => row.settle(admitted),
            false => row.vouch(admitted),
        });
        if line.last <= admitted {
            line.ends = 0;
            line.tried.fill(None);
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.addresses.iter_mut().for_each(Row::forget);
        self.machine.forget();
        for at in 0..self.lines.len() {
            self.new_key(at);
            let line = &mut self.lines[at];
            line.ends = 0;
            line.from = Time::ZERO;
            line.tried.fill(None);
        }
    }

    pub(crate) fn new_key(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(at) else { return };
        line.stopped = None;
        line.key.forget();
        line.is_new = true;
    }

    /// What has stopped the line, until the program says that it goes on.
    pub(crate) fn stopped(&self, at: usize) -> Option<Ended> {
        let line = &self.lines[at];
        let is_limit = self.refused_logins.is_some_and(|most| line.key.ends >= most.max(1));
        line.stopped.or(line.key.after.filter(|_| is_limit))
    }

    /// Where the line dials next, of the addresses that it may dial, and from when on. `None` if it
    /// has stopped.
    pub(crate) fn next(
        &self,
        at: usize,
        need: Need,
        may_dial: impl Fn(usize) -> bool,
        now: Time,
    ) -> Option<Next> {
        if self.stopped(at).is_some() {
            return None;
        }
        let addresses = (0..self.addresses.len()).filter(|&address| may_dial(address));
        let nexts = addresses.map(|address| Next { from: self.from(at, address, need), address });
        nexts.min_by_key(|next| (next.from.max(now), self.rank(at, next.address, need.why)))
    }

    fn from(&self, at: usize, address: usize, need: Need) -> Time {
        let line = &self.lines[at];
        let is_free = line.tried[address].is_none() && line.is_in_trouble();
        let own = match need.why {
            Why::None | Why::Planned if !is_free => line.from,
            _ => Time::ZERO,
        };
        let from =
            self.rows(at, address).into_iter().map(Row::from).fold(need.due.max(own), Time::max);
        from.max(self.beside(address))
    }

    fn rows(&self, at: usize, address: usize) -> [&Row; 3] {
        [&self.lines[at].key, &self.addresses[address], &self.machine]
    }

    /// Who was asked for a token, or for a tunnel, wants to be left alone: it is perhaps the same
    /// for each address, so one other is tried and no more.
    fn beside(&self, address: usize) -> Time {
        let is_asked = |row: &Row| {
            let cause = row.after.and_then(Ended::cause);
            matches!(cause, Some(Cause::NoToken { .. } | Cause::Proxy { .. }))
        };
        let others = self.addresses.iter().enumerate().filter(|(at, _)| *at != address);
        let asked = others.filter(|(_, row)| is_asked(row)).map(|(_, row)| row.asked);
        let latest = asked.fold([Time::ZERO; 2], |[first, second], asked| match asked > first {
            true => [asked, first],
            false => [first, second.max(asked)],
        });
        latest[1]
    }

    /// The lowest first, of those that may be dialed at the same time.
    fn rank(&self, at: usize, address: usize, why: Why) -> (u8, u32, usize) {
        let line = &self.lines[at];
        let count = self.addresses.len();
        let behind = (address + count - line.address) % count;
        let is_own = address == line.own;
        let tried = line.tried[address];
        // Nobody waits for a planned successor, so the own address has its turn.
        let is_planned = why == Why::Planned && tried.is_none_or(|nth| nth < line.tries);
        match tried {
            _ if is_own && is_planned => (0, 0, 0),
            None if self.addresses[address].ends == 0 => (1, u32::from(!is_own), behind),
            tried => (2, tried.unwrap_or(0), behind),
        }
    }

    /// What a person should know of a dial there.
    pub(crate) fn alarm(&self, at: usize, address: usize) -> Option<Ended> {
        self.rows(at, address).into_iter().find_map(Row::alarm)
    }

    /// The end because of which a dial there waits until then.
    pub(crate) fn waits_for(&self, at: usize, next: Next) -> Option<Ended> {
        let line = &self.lines[at];
        let rows = self.rows(at, next.address).into_iter();
        let held = rows.rev().find(|row| row.from() == next.from && row.after.is_some());
        held.filter(|_| line.from < next.from).map_or(line.after, |row| row.after)
    }
}

/// The program says so itself. What is read from the wire stops no line.
fn is_word(ended: Ended) -> bool {
    let is_own = matches!(
        ended.cause(),
        Some(Cause::Wrong(_) | Cause::Other(_) | Cause::NoToken { .. } | Cause::Settings)
    );
    is_own && ended.retry() == Retry::Stop
}

fn concern(ended: Ended, life: Life) -> Option<Concern> {
    Some(match ended {
        Ended::Closed { code: 3000, .. }
        | Ended::Refused { status: 401, .. }
        | Ended::Failed(Cause::OwnCertificateRefused) => Concern::Key,
        // The answer to the login.
        Ended::Closed { .. } | Ended::Failed(Cause::Wrong(_))
            if life == Life::Attempt && ended.retry() != Retry::BackOff =>
        {
            Concern::Key
        }
        Ended::Closed { code: 1012 | 1013, .. }
        | Ended::Failed(Cause::Wrong(Retry::Alarm | Retry::Stop)) => Concern::Address,
        Ended::Failed(cause) if cause.is_silence() => Concern::Address,
        // An exchange ends its day by a Close, and its network cuts.
        _ if life == Life::Settled => return None,
        Ended::Refused { status: 407 | 418 | 429, .. }
        | Ended::Failed(Cause::System | Cause::Settings | Cause::Other(_)) => Concern::Machine,
        Ended::Closed { .. } | Ended::Refused { .. } | Ended::Failed(_) => Concern::Address,
    })
}

/// Another attempt would most likely end in the same way, until people have done something.
fn is_slow(ended: Ended, life: Life) -> bool {
    let is_wrong = matches!(ended, Ended::Failed(Cause::Wrong(_)));
    // The gate has its own pace.
    let has_gate = matches!(ended, Ended::Refused { status: 418 | 429, .. });
    (life == Life::Attempt || is_wrong) && !has_gate && ended.retry() != Retry::BackOff
}

/// For how long the server, or who was asked instead, wants to be left alone. Of a 429, `Attempts`
/// takes care.
fn asked(ended: Ended, backoff: &Backoff, draw: u64) -> Duration {
    let asked = match ended {
        Ended::Closed { code: 1012, .. } if backoff.max_delay >= RESTART.0 => {
            return RESTART.0 + spread(RESTART.1 - RESTART.0, draw);
        }
        // Also a restart, by a server of one's own.
        Ended::Closed { code: 1012 | 1013, .. } => {
            return backoff.max_delay / 2 + spread(backoff.max_delay / 2, draw);
        }
        Ended::Refused { status: 418 | 429, .. } | Ended::Closed { .. } => return Duration::ZERO,
        Ended::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
        Ended::Failed(cause) => cause.retry_after(),
    };
    let asked = asked.min(backoff.max_retry_after);
    asked.saturating_add(spread(asked / 10, draw))
}
