//! A line has one connection after the other. When a successor is due, the line has two connections
//! for a short time.
use super::open::Open;
use crate::{ConnectionId, Ended, Rotation, State};
use core::time::Duration;
use tickwire::{CloseCode, Retry, Time, handshake::HandshakeError};
use tickwire_parts::Backoff;

pub(super) struct Run {
    pub(super) backoff: Backoff,
    pub(super) rotation: Rotation<Open>,
    /// The attempt that is under way, and its address.
    pub(super) dialing: Option<(ConnectionId, usize)>,
    /// The address that is dialed next, modulo the number of addresses.
    pub(super) address: usize,
    /// Whether the next dial avoids an address that another line uses.
    pub(super) avoids: bool,
    /// How many attempts and connections have ended since `backoff` was last reset.
    pub(super) failed: usize,
    /// No attempt before this time. `None`: no attempt until `go_on`.
    pub(super) not_before: Option<Time>,
    /// The `Ended` that has set `not_before`, and its `Retry`, which becomes `BackOff` when a
    /// connection opens. `None` before the first end.
    pub(super) after: Option<(Ended, Retry)>,
}

impl Run {
    pub(super) fn new(backoff: Backoff, rotation: Rotation<Open>, address: usize) -> Self {
        let (dialing, avoids, failed, after) = (None, false, 0, None);
        let not_before = Some(Time::ZERO);
        Self { backoff, rotation, dialing, address, avoids, failed, not_before, after }
    }

    /// Removes a connection that was open, and is now over.
    pub(super) fn remove(&mut self, connection: ConnectionId, now: Time) -> Option<Open> {
        let open = self.rotation.ended(|open| open.id == connection)?;
        self.backoff.connected_for(now - open.opened);
        if self.backoff.attempts() == 0 {
            self.failed = 0; // the connection has lasted for `max_delay`
        }
        Some(open)
    }

    pub(super) fn dials(&self, connection: ConnectionId) -> bool {
        self.dialing.is_some_and(|(id, _)| id == connection)
    }

    /// Ends the attempt with this id, if it is under way. Returns the attempt's address.
    pub(super) fn end_dialing(&mut self, connection: ConnectionId) -> Option<usize> {
        self.dialing.take_if(|(id, _)| *id == connection).map(|(_, address)| address)
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.rotation.iter().any(|open| open.id == connection)
    }

    /// Whether the line dials this address, or has a connection to it.
    pub(super) fn uses(&self, address: usize) -> bool {
        let dials = self.dialing.is_some_and(|(_, dialed)| dialed == address);
        dials || self.rotation.iter().any(|open| open.address == address)
    }

    /// When to dial. `None` while an attempt is under way, and if no attempt is wanted.
    pub(super) fn dials_at(&self) -> Option<Time> {
        let due = match self.rotation.iter().next() {
            Some(_) => self.rotation.poll_timeout()?,
            None => Time::ZERO,
        };
        self.not_before.filter(|_| self.dialing.is_none()).map(|at| at.max(due))
    }

    /// Handles a failed attempt, or the end of a connection. `other` is the address to turn to, if
    /// any. `away` is the time before which the server wants no attempt.
    pub(super) fn over(
        &mut self,
        ended: Ended,
        other: Option<usize>,
        addresses: usize,
        away: Option<Time>,
        now: Time,
    ) {
        let retry = match ended {
            // 1006 (no Close) and 1005 (a Close without a code) are no reason to give up.
            Ended::Closed(code) => CloseCode::new(code).map_or(Retry::BackOff, CloseCode::retry),
            Ended::Refused { status, .. } => HandshakeError::Refused { status }.retry(),
            Ended::Failed(retry) => retry,
            Ended::Silent => Retry::BackOff,
        };
        self.failed += 1;
        self.address = other.unwrap_or(self.address);
        let delay = match (retry, ended) {
            (Retry::Stop, _) => None,
            (Retry::Alarm, _) => self.backoff.rarely(),
            (_, Ended::Closed(code)) => self.backoff.after_close(code),
            // `away` may be the same for all lines, so each line adds its own delay.
            (_, Ended::Refused { status, retry_after }) => match away {
                Some(at) => self.backoff.next().map(|delay| (at - now) + delay),
                None => self.backoff.after_refusal(status, retry_after),
            },
            // The other addresses may work, so the line waits only once all addresses have failed.
            // Here `next` only counts the attempt for `max_attempts`.
            _ if other.is_some() && self.failed < addresses => {
                self.backoff.next().map(|_| Duration::ZERO)
            }
            _ => self.backoff.next(),
        };
        // The line may be waiting before it dials a successor, or it may have stopped. The end of
        // the older connection must not shorten this wait, or undo this stop.
        let not_before = delay.map(|delay| now + delay);
        if self.not_before.is_some_and(|before| not_before.is_none_or(|at| before <= at)) {
            (self.not_before, self.after) = (not_before, Some((ended, retry)));
        }
    }

    /// The checks have the order that the docs of [`State`] promise.
    pub(super) fn state(&self) -> State {
        let mut open = self.rotation.iter();
        let current = open.next();
        match (self.not_before, self.after, self.dialing) {
            (None, Some((after, _)), _) => return State::Stopped { after },
            (Some(until), Some((after, Retry::Alarm)), None) => {
                return State::Alarm { until, after };
            }
            (_, _, Some((_, address))) if current.is_none() => return State::Dialing { address },
            _ => {}
        }
        let Some(current) = current else {
            let until = self.not_before.unwrap_or(Time::ZERO);
            return State::Waiting { until, after: self.after.map(|(after, _)| after) };
        };
        match current.missing() {
            _ if !current.is_logged_in() => State::LoggingIn,
            (missing @ 1.., _) => State::Subscribing { missing },
            (_, true) => State::Probing,
            _ if open.next().is_some() || self.dialing.is_some() => State::Replacing,
            _ => State::Following,
        }
    }
}
