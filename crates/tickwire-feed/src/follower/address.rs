//! Where a line dials, and whether it may: what is known of an address, for all lines. How fast a
//! line dials is the line's own: `run`.
use crate::{Cause, Ended};
use core::time::Duration;
use tickwire::{Retry, Time};

/// What a fault concerns, and so what is left alone because of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// This machine, or whatever all addresses have in common: no address is marked.
    Machine,
    /// The key, which is the same at each address.
    Account,
    Address,
}

impl Scope {
    pub(super) const fn of(ended: Ended) -> Self {
        match ended {
            Ended::Closed { code: 3000, .. }
            | Ended::Refused { status: 401, .. }
            | Ended::Failed(Cause::OwnCertificateRefused | Cause::Wrong(Retry::Stop)) => {
                Self::Account
            }
            Ended::Refused { status: 407 | 418 | 429, .. }
            | Ended::Failed(
                Cause::Unreachable
                | Cause::Settings
                | Cause::System
                | Cause::Proxy { .. }
                | Cause::NoToken { .. }
                | Cause::Doubted
                | Cause::Other(_),
            ) => Self::Machine,
            Ended::Closed { .. } | Ended::Refused { .. } | Ended::Failed(_) => Self::Address,
        }
    }
}

/// Shared by all lines.
#[derive(Clone, Copy)]
pub(super) enum Address {
    Open,
    /// The server wants to be left alone until then.
    Waits {
        from: Time,
        after: Ended,
    },
    Alarm {
        since: Time,
        from: Time,
        after: Ended,
    },
    /// Not until `go_on`.
    Stopped {
        after: Ended,
    },
}

impl Address {
    /// `None` if it may not be dialed at all.
    pub(super) const fn from(&self) -> Option<Time> {
        match *self {
            Self::Open => Some(Time::ZERO),
            Self::Waits { from, .. } | Self::Alarm { from, .. } => Some(from),
            Self::Stopped { .. } => None,
        }
    }

    pub(super) const fn after(&self) -> Option<Ended> {
        match *self {
            Self::Open => None,
            Self::Waits { after, .. } | Self::Alarm { after, .. } | Self::Stopped { after } => {
                Some(after)
            }
        }
    }

    pub(super) fn holds(&self, now: Time) -> bool {
        self.from().is_none_or(|from| from > now)
    }

    /// The end that a person should be told of.
    pub(super) const fn fault(&self) -> Option<Ended> {
        match *self {
            Self::Open | Self::Waits { .. } => None,
            Self::Alarm { after, .. } | Self::Stopped { after } => Some(after),
        }
    }

    /// Also after the end of another line's connection, which must shorten nothing.
    pub(super) fn mark(&mut self, new: Self) {
        let is_later = match (self.from(), new.from()) {
            (Some(before), Some(from)) => from >= before,
            (before, _) => before.is_some(),
        };
        if is_later {
            *self = new;
        }
    }

    /// An attempt has failed, perhaps otherwise than before.
    pub(super) fn note_tried(&mut self, now: Time) {
        if self.from().is_some_and(|from| from <= now) {
            *self = Self::Open;
        }
    }

    /// A connection has settled that began after the alarm: the address may be dialed. A person is
    /// still told of its fault.
    pub(super) fn note_settled(&mut self, lived: Duration, now: Time) {
        if let Self::Alarm { from, since, .. } = self
            && now - *since >= lived
        {
            *from = now.min(*from);
        }
    }

    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    pub(super) const fn clear(&mut self) {
        *self = Self::Open;
    }

    /// A certificate may be valid now.
    pub(super) fn note_clock(&mut self) {
        let is_lapsed = |ended: Ended| ended.cause().is_some_and(Cause::is_lapsed_certificate);
        if self.fault().is_some_and(is_lapsed) {
            self.clear();
        }
    }
}
