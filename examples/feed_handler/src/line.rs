//! One line of a feed: which connections it has, when to dial the next, and why the last one ended.
use market_feed::wire::Foreign;
use std::io;
use tickwire::{Error, Time};
use tickwire_feed::Rotation;
use tickwire_loop::{Dial, Handle};
use tickwire_parts::Backoff;

pub struct Line {
    pub(crate) feed: usize,
    pub(crate) dial: Dial,
    pub(crate) backoff: Backoff,
    /// The connections that are followed: another takes the place of one that is too old.
    pub(crate) rotation: Rotation<Handle>,
    /// The connection that is not open yet.
    pub(crate) dialing: Option<Handle>,
    /// Not to be dialed before; `None`: it would end the same way.
    dials: Option<Time>,
    /// How many connections were opened.
    pub opened: u64,
    /// How many of them were closed because another had taken their place.
    pub replaced: u64,
    /// Why the last one ended, or could not be had.
    pub ended: Option<String>,
}

/// What belongs to a connection of a line: the loop keeps it, and gives it back at the end.
pub(crate) struct Seat {
    /// The number of its line.
    pub(crate) line: usize,
    /// Its part in the feed: from when it is open, until another has taken its place.
    pub(crate) part: Option<tickwire_feed::Line>,
    pub(crate) since: Time,
    /// It brought messages for long enough.
    pub(crate) useful: bool,
}

/// How a connection ended.
pub(crate) enum End {
    Closed(u16),
    Failed(Error),
    /// By us: it is no feed.
    Foreign(Foreign),
}

impl From<tickwire_loop::End<'_>> for End {
    fn from(end: tickwire_loop::End<'_>) -> Self {
        match end {
            tickwire_loop::End::Closed(closed) => match closed.error {
                Some(error) => Self::Failed(error.into()),
                None => Self::Closed(closed.code),
            },
            tickwire_loop::End::Failed(error) => Self::Failed(error),
            end => Self::Failed(io::Error::other(format!("{end:?}")).into()),
        }
    }
}

impl Line {
    pub(crate) fn new(
        feed: usize,
        dial: Dial,
        backoff: Backoff,
        rotation: Rotation<Handle>,
    ) -> Self {
        let (dialing, dials, ended) = (None, Some(Time::ZERO), None);
        let (opened, replaced) = (0, 0);
        Self { feed, dial, backoff, rotation, dialing, dials, opened, replaced, ended }
    }

    pub fn is_open(&self) -> bool {
        self.rotation.iter().next().is_some()
    }

    pub fn has_given_up(&self) -> bool {
        self.dials.is_none()
    }

    /// When to dial: at once without a connection, and when the one that is open grows old. `None`
    /// while that is under way, and if it is given up.
    pub(crate) fn dials_at(&self) -> Option<Time> {
        let due = match self.is_open() {
            true => self.rotation.poll_timeout()?,
            false => Time::ZERO,
        };
        self.dials.filter(|_| self.dialing.is_none()).map(|dials| dials.max(due))
    }

    /// A connection has ended that was followed, or was being dialed.
    pub(crate) fn over(&mut self, end: &End, now: Time) {
        let delay = match end {
            End::Closed(code) => self.backoff.after_close(*code),
            End::Failed(error) => self.backoff.after_error(error.retry_delay()),
            End::Foreign(_) => None,
        };
        self.dials = delay.map(|delay| now + delay);
        self.ended = Some(match end {
            End::Closed(code) => format!("closed with {code}"),
            End::Failed(error) => error.to_string(),
            End::Foreign(foreign) => foreign.to_string(),
        });
    }
}
