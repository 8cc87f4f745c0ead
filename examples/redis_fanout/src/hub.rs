//! Who of this process wants which channel, what Redis has to be asked for, and what to tell whom.
//!
//! ```text
//! session: sub, unsub ---> channels ---> changed: names ---> bus: SUBSCRIBE, UNSUBSCRIBE
//! bus: deliver, confirm, lost ---> the outbox of each member ---> its session writes
//! ```
//!
//! A channel is in the table while it has a member. One lock guards it, which holds the order: what is
//! pushed to two members is pushed in the same order. No I/O here, and no clock: time is handed in.
use crate::protocol::Envelope;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{Outbox, Prepared, Time};
use tokio::sync::Notify;

/// As many publishers' numbers are remembered for a channel; if there are more, all are forgotten,
/// and what is missing just then goes unseen.
const MAX_PUBLISHERS: usize = 64;

/// One connection, as the hub sees it: what waits for it, and a bell.
pub struct Subscriber {
    id: u64,
    pub queue: Mutex<Queue>,
    pub news: Notify,
}

pub struct Queue {
    pub outbox: Outbox,
    /// When the oldest message was published that has waited since the outbox was last empty; 0 if
    /// that is not known.
    pub oldest: u64,
}

impl Subscriber {
    /// `id` has to be another for each connection.
    pub fn new(id: u64, outbox: Outbox) -> Arc<Self> {
        let queue = Mutex::new(Queue { outbox, oldest: 0 });
        Arc::new(Self { id, queue, news: Notify::new() })
    }

    /// Something for this one alone.
    pub fn tell(&self, now: Time, text: &str) {
        self.push(now, &Prepared::new(text), 0);
    }

    /// If it is too slow the outbox's policy has ruled: the session finds out when it feeds.
    fn push(&self, now: Time, message: &Prepared, nanos: u64) {
        let mut queue = lock(&self.queue);
        if queue.oldest == 0 {
            queue.oldest = nanos;
        }
        let _ = queue.outbox.push(now, message);
        drop(queue);
        self.news.notify_one();
    }
}

#[derive(Default)]
pub struct Hub {
    table: Mutex<Table>,
    /// Rings when there is something in [`changed`](Self::changed).
    pub changes: Notify,
}

#[derive(Default)]
struct Table {
    channels: HashMap<Arc<str>, Channel>,
    /// Names that were taken up or given up since Redis was last told.
    changed: HashSet<Arc<str>>,
    counts: Counts,
}

#[derive(Default)]
struct Channel {
    members: HashMap<u64, Member>,
    /// Redis has confirmed the subscription.
    live: bool,
    /// The last number of each publisher.
    last: HashMap<Box<str>, u64>,
}

struct Member {
    who: Arc<Subscriber>,
    /// Was told `subscribed`, and so has to be told what goes wrong.
    told: bool,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came from Redis on a channel that somebody wants.
    pub received: u64,
    /// Were pushed, summed over the members.
    pub pushed: u64,
    /// Are missing, by the publishers' numbers.
    pub missing: u64,
    /// Came behind a later one of their publisher, and were left out.
    pub late: u64,
    /// How often Redis was lost.
    pub lost: u64,
}

impl Hub {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    // For sessions.

    /// Once more is once: the answer is repeated.
    pub fn sub(&self, now: Time, name: &str, who: &Arc<Subscriber>) {
        let mut table = self.table();
        let table = &mut *table;
        let name: Arc<str> = match table.channels.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => {
                let name: Arc<str> = name.into();
                table.changed.insert(name.clone());
                self.changes.notify_one();
                name
            }
        };
        let channel = table.channels.entry(name.clone()).or_default();
        if channel.live {
            who.tell(now, &format!("subscribed {name}"));
        }
        channel.members.insert(who.id, Member { who: who.clone(), told: channel.live });
    }

    pub fn unsub(&self, name: &str, who: &Subscriber) {
        let mut table = self.table();
        let Some(channel) = table.channels.get_mut(name) else { return };
        channel.members.remove(&who.id);
        if channel.members.is_empty()
            && let Some((name, _)) = table.channels.remove_entry(name)
        {
            table.changed.insert(name);
            self.changes.notify_one();
        }
    }

    // For the bus.

    /// What came on a channel. Before Redis has confirmed that one, nobody was promised it.
    pub fn deliver(&self, now: Time, name: &str, message: &[u8]) {
        let mut table = self.table();
        let Table { channels, counts, .. } = &mut *table;
        let Some(channel) = channels.get_mut(name).filter(|channel| channel.live) else { return };
        let envelope = Envelope::open(message);
        match channel.missing_before(&envelope) {
            None => {
                counts.late += 1;
                return;
            }
            Some(0) => {}
            Some(missing) => {
                counts.missing = counts.missing.saturating_add(missing);
                channel.tell_all(now, &format!("gap {name} {missing}"));
            }
        }
        let prepared = envelope.prepare(name);
        for member in channel.members.values() {
            member.who.push(now, &prepared, envelope.nanos);
        }
        counts.received += 1;
        counts.pushed += channel.members.len() as u64;
    }

    /// Redis has confirmed a subscription.
    pub fn confirm(&self, now: Time, name: &str) {
        let mut table = self.table();
        let Some(channel) = table.channels.get_mut(name) else { return };
        if channel.live {
            return;
        }
        channel.live = true;
        for member in channel.members.values_mut() {
            if member.told {
                member.who.tell(now, &format!("gap {name} ?"));
            } else {
                member.who.tell(now, &format!("subscribed {name}"));
                member.told = true;
            }
        }
    }

    /// The connection to Redis is lost. All channels have to be asked for again.
    pub fn lost(&self, now: Time) {
        let mut table = self.table();
        let Table { channels, changed, counts } = &mut *table;
        counts.lost += 1;
        for (name, channel) in channels {
            if std::mem::take(&mut channel.live) {
                channel.tell_all(now, &format!("stale {name}"));
            }
            changed.insert(name.clone());
        }
        self.changes.notify_one();
    }

    /// At most `most` names that were taken up or given up, each with whether it is wanted.
    pub fn changed(&self, most: usize) -> Vec<(Arc<str>, bool)> {
        let mut table = self.table();
        let Table { channels, changed, .. } = &mut *table;
        let names: Vec<Arc<str>> = changed.iter().take(most).cloned().collect();
        let wanted = |name: Arc<str>| {
            changed.remove(&name);
            let wanted = channels.contains_key(&name);
            (name, wanted)
        };
        names.into_iter().map(wanted).collect()
    }

    // For those who watch.

    /// How many channels have a member, and how many members there are in all of them.
    pub fn len(&self) -> (usize, usize) {
        let table = self.table();
        (table.channels.len(), table.channels.values().map(|channel| channel.members.len()).sum())
    }

    pub fn counts(&self) -> Counts {
        self.table().counts
    }
}

impl Channel {
    /// How many messages of its publisher are missing before this one; `None` if a later one has
    /// been delivered.
    fn missing_before(&mut self, envelope: &Envelope<'_>) -> Option<u64> {
        if envelope.seq == 0 {
            return Some(0);
        }
        match self.last.get_mut(envelope.from) {
            Some(last) => {
                let missing = envelope.seq.checked_sub(last.checked_add(1)?)?;
                *last = envelope.seq;
                Some(missing)
            }
            None => {
                if self.last.len() >= MAX_PUBLISHERS {
                    self.last.clear();
                }
                self.last.insert(envelope.from.into(), envelope.seq);
                Some(0)
            }
        }
    }

    fn tell_all(&self, now: Time, text: &str) {
        let message = Prepared::new(text);
        for member in self.members.values().filter(|member| member.told) {
            member.who.push(now, &message, 0);
        }
    }
}

/// What a panic elsewhere has left is whole here: nothing is half done under these locks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickwire::{CloseCode, Config, Connection, Negotiated, Step, TooSlow};

    const NOW: Time = Time::ZERO;

    fn subscriber(id: u64) -> Arc<Subscriber> {
        Subscriber::new(id, Outbox::new(TooSlow::Disconnect(CloseCode::TRY_AGAIN_LATER)))
    }

    /// What waits for one, as its peer would read it.
    fn told(who: &Subscriber) -> Vec<String> {
        use bytes::Buf;
        let mut server = Connection::server(&Config::default(), Negotiated::default());
        let entropy = tickwire::SystemEntropy::new().unwrap();
        let mut client = Connection::client(&Config::default(), Negotiated::default(), entropy);
        lock(&who.queue).outbox.feed(NOW, server.sender_mut()).unwrap();
        let mut outgoing = server.sender_mut().outgoing();
        let wire = outgoing.copy_to_bytes(outgoing.remaining());
        client.receiver_mut().spare_mut()[..wire.len()].copy_from_slice(&wire);
        client.receiver_mut().commit(wire.len());
        let mut told = Vec::new();
        while client.step().unwrap() == Step::Message {
            let message = client.receiver().message().unwrap();
            told.push(message.as_text().unwrap().to_owned());
        }
        told
    }

    fn sealed(from: &str, seq: u64) -> Vec<u8> {
        Envelope { from, seq, nanos: 1, payload: b"x" }.seal()
    }

    fn changes(hub: &Hub) -> Vec<(String, bool)> {
        let mut all: Vec<_> =
            hub.changed(99).into_iter().map(|(name, wanted)| (name.to_string(), wanted)).collect();
        all.sort();
        all
    }

    #[test]
    fn redis_is_asked_for_what_the_first_wants_and_the_last_gives_up() {
        let (hub, one, two) = (Hub::default(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", &one);
        assert_eq!(changes(&hub), [("a".into(), true)]);
        hub.sub(NOW, "a", &two);
        hub.sub(NOW, "a", &two);
        assert_eq!((changes(&hub), hub.len()), (vec![], (1, 2)));
        hub.unsub("a", &one);
        hub.unsub("a", &one);
        hub.unsub("b", &one);
        assert_eq!((changes(&hub), hub.len()), (vec![], (1, 1)));
        hub.unsub("a", &two);
        assert_eq!((changes(&hub), hub.len()), (vec![("a".into(), false)], (0, 0)));
    }

    #[test]
    fn what_was_given_up_and_taken_up_again_is_one_change() {
        let (hub, one) = (Hub::default(), subscriber(1));
        for name in ["a", "b", "c"] {
            hub.sub(NOW, name, &one);
        }
        hub.unsub("a", &one);
        hub.sub(NOW, "a", &one);
        hub.unsub("b", &one);
        assert_eq!(hub.changed(1).len(), 1);
        assert_eq!(hub.changed(9).len(), 2);
        assert_eq!(hub.changed(9).len(), 0);
    }

    #[test]
    fn subscribed_is_told_once_redis_has_confirmed() {
        let (hub, one, two) = (Hub::default(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", &one);
        hub.deliver(NOW, "a", b"early");
        assert!(told(&one).is_empty());
        hub.confirm(NOW, "a");
        hub.confirm(NOW, "a");
        assert_eq!(told(&one), ["subscribed a"]);
        hub.sub(NOW, "a", &two);
        assert_eq!(told(&two), ["subscribed a"]);
        hub.deliver(NOW, "a", b"plain");
        hub.deliver(NOW, "b", b"nobody's");
        for who in [&one, &two] {
            assert_eq!(told(who), ["message a - 0 0 plain"]);
        }
        assert_eq!((hub.counts().received, hub.counts().pushed), (1, 2));
    }

    #[test]
    fn what_is_missing_is_counted_for_each_publisher() {
        let (hub, one) = (Hub::default(), subscriber(1));
        hub.sub(NOW, "a", &one);
        hub.confirm(NOW, "a");
        for (from, seq) in [("p", 4), ("p", 5), ("q", 1), ("p", 8), ("p", 7), ("q", 2)] {
            hub.deliver(NOW, "a", &sealed(from, seq));
        }
        assert_eq!(
            told(&one),
            [
                "subscribed a",
                "message a p 4 1 x",
                "message a p 5 1 x",
                "message a q 1 1 x",
                "gap a 2",
                "message a p 8 1 x",
                "message a q 2 1 x",
            ]
        );
        assert_eq!((hub.counts().missing, hub.counts().late), (2, 1));
    }

    #[test]
    fn an_outage_is_a_gap_for_those_who_were_there() {
        let (hub, one, two) = (Hub::default(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", &one);
        hub.confirm(NOW, "a");
        hub.deliver(NOW, "a", &sealed("p", 1));
        told(&one);
        changes(&hub);
        hub.lost(NOW);
        hub.lost(NOW); // the first attempt to connect again failed
        hub.sub(NOW, "a", &two);
        assert_eq!(changes(&hub), [("a".into(), true)]);
        hub.confirm(NOW, "a");
        hub.deliver(NOW, "a", &sealed("p", 3));
        assert_eq!(told(&one), ["stale a", "gap a ?", "gap a 1", "message a p 3 1 x"]);
        assert_eq!(told(&two), ["subscribed a", "gap a 1", "message a p 3 1 x"]);
    }

    #[test]
    fn publishers_are_forgotten_before_they_fill_the_memory() {
        let (hub, one) = (Hub::default(), subscriber(1));
        hub.sub(NOW, "a", &one);
        hub.confirm(NOW, "a");
        for publisher in 0..1000 {
            hub.deliver(NOW, "a", &sealed(&publisher.to_string(), 1));
        }
        assert!(hub.table().channels["a"].last.len() <= MAX_PUBLISHERS);
    }
}
