//! The exchange: what it counts, what it sends over which connection, and what it has come to.
use super::{
    oracle::Note,
    plan::{Kind, Plan},
};
use std::{collections::VecDeque, ops::Range, time::Duration};
use testkit::Rng;
use tickwire_feed::{Cause, ConnectionId, Ended, Incoming, Text};

/// What comes to the program over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    Data(usize, Note),
    Said(Incoming),
    Ended(Ended),
}

/// A subscription's count.
pub(crate) struct Count {
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    /// What it was before: when it became so.
    past: VecDeque<(Duration, u32, u64)>,
}

/// A connection, as the exchange has it.
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) address: usize,
    /// It reads and writes nothing any more, and nobody notices.
    pub(crate) silent: bool,
    pub(crate) subscribed: Vec<bool>,
    pub(crate) muted: Vec<bool>,
    /// What the connection itself has counted.
    counts: Vec<u64>,
    epoch: u32,
    /// The last message, to be sent again.
    pub(crate) last: Option<(usize, Note)>,
    /// The next message lies by this much.
    pub(crate) lie: i64,
    /// When the last message so far will be there.
    latest: Duration,
}

impl Link {
    /// When a message that is sent now will be there: in order.
    pub(crate) fn arrival(&mut self, now: Duration, rng: &mut Rng) -> Duration {
        let at = now + Duration::from_micros(rng.between(5_000, 30_000));
        self.latest = at.max(self.latest);
        self.latest
    }
}

/// What an address does with those who dial.
#[derive(Clone, Copy, Default)]
pub(crate) struct Door {
    pub(crate) frozen: Duration,
    pub(crate) down: Duration,
}

pub(crate) struct Exchange {
    pub(crate) counts: Vec<Count>,
    pub(crate) links: Vec<Link>,
    pub(crate) doors: Vec<Door>,
    /// The whole exchange restarts until then.
    pub(crate) down: Duration,
    /// Requests are refused so until then.
    pub(crate) refusal: (Duration, u16, Option<Duration>),
    pub(crate) lapsed: Duration,
    pub(crate) no_keys: Duration,
    opened: u32,
}

impl Exchange {
    pub(crate) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        let count = |_| Count { epoch: 1, number: rng.between(0, 200), past: VecDeque::new() };
        Self {
            counts: (0..plan.kinds.len()).map(count).collect(),
            links: Vec::new(),
            doors: vec![Door::default(); plan.addresses],
            down: Duration::ZERO,
            refusal: (Duration::ZERO, 0, None),
            lapsed: Duration::ZERO,
            no_keys: Duration::ZERO,
            opened: 0,
        }
    }

    /// What becomes of an attempt, and how long it takes.
    pub(crate) fn dial(&mut self, address: usize, now: Duration) -> (Duration, Option<Ended>) {
        let quick = Duration::from_millis(40);
        let door = self.doors[address];
        if self.down > now || door.down > now {
            return (quick, Some(Cause::ConnectionRefused.into()));
        }
        if door.frozen > now {
            return (Duration::from_secs(3), Some(Cause::HandshakeTimeout.into()));
        }
        if self.lapsed > now {
            return (quick, Some(Cause::CertificateExpired.into()));
        }
        let (until, status, retry_after) = self.refusal;
        if until > now {
            return (quick, Some(Ended::Refused { status, retry_after, text: Text::default() }));
        }
        (quick, None)
    }

    pub(crate) fn open(&mut self, id: ConnectionId, address: usize) {
        self.opened += 1;
        let subscriptions = self.counts.len();
        self.links.push(Link {
            id,
            address,
            silent: false,
            subscribed: vec![false; subscriptions],
            muted: vec![false; subscriptions],
            counts: vec![0; subscriptions],
            epoch: self.opened,
            last: None,
            lie: 0,
            latest: Duration::ZERO,
        });
    }

    pub(crate) fn link(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    pub(crate) fn subscribe(&mut self, id: ConnectionId, range: Range<usize>) {
        if let Some(link) = self.link(id) {
            link.subscribed[range].fill(true);
        }
    }

    /// The next update of a subscription, with what each connection gets of it.
    pub(crate) fn update(
        &mut self,
        of: usize,
        plan: &Plan,
        now: Duration,
        rng: &mut Rng,
    ) -> Vec<(Duration, ConnectionId, Note)> {
        if self.down > now {
            return Vec::new();
        }
        let span = rng.between(1, plan.span);
        let count = &mut self.counts[of];
        let first = count.number + 1;
        count.number += span;
        count.note(now);
        let note = Note { epoch: count.epoch, first, last: count.number, bytes: plan.bytes };
        let mut sent = Vec::new();
        for link in &mut self.links {
            if !link.subscribed[of] || link.silent || link.muted[of] {
                continue;
            }
            let mut note = note;
            if plan.kinds[of] == Kind::PerConnection {
                note = Note { epoch: link.epoch, first: link.counts[of] + 1, ..note };
                note.last = note.first;
                link.counts[of] += 1;
            }
            if now < plan.chaos && plan.misses.is_some_and(|n| rng.once_in(n)) {
                continue;
            }
            if link.lie != 0 {
                note.first = note.first.saturating_add_signed(link.lie).max(1);
                note.last = note.last.saturating_add_signed(link.lie).max(note.first);
                link.lie = 0;
            }
            link.last = Some((of, note));
            sent.push((link.arrival(now, rng), link.id, note));
        }
        sent
    }

    pub(crate) fn count_anew(&mut self, now: Duration, rng: &mut Rng) {
        for count in &mut self.counts {
            count.epoch += 1;
            count.number = rng.of(&[0, 0, 0, 5]);
            count.note(now);
        }
    }
}

impl Count {
    fn note(&mut self, now: Duration) {
        self.past.push_back((now, self.epoch, self.number));
        if self.past.len() > 200 {
            self.past.pop_front();
        }
    }

    /// The epoch and the number at this time.
    pub(crate) fn at(&self, time: Duration) -> (u32, u64) {
        let then = self.past.iter().rev().find(|(since, ..)| *since <= time);
        let oldest = self.past.front();
        then.or(oldest).map_or((self.epoch, self.number), |(_, epoch, number)| (*epoch, *number))
    }
}
