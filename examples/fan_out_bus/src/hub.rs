//! Who of this process wants which channel, what the broker has to be asked for, and what to tell
//! whom.
//!
//! ```text
//! session: sub, unsub ---> channels ---> changed: names ---> follower: subscribe, unsubscribe
//! follower: deliver, confirm, lost ---> the outbox of each member ---> its session writes
//! sub from a place ---> the tail, or behind: names ---> replay: serve, read ---> its outbox
//! ```
//!
//! A channel is in the table while it has a member. One lock guards it, which holds the order: what
//! is pushed to two members is pushed in the same order. No I/O here, and no clock: time is handed
//! in.
use crate::{
    bus::{Arrived, Began, Page, Start},
    channel::{Channel, Need, Progress},
    memory::Memory,
    protocol::{Envelope, From},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{Prepared, Sender, Time};
use tickwire_parts::Outbox;
use tokio::sync::Notify;

/// One connection, as the hub sees it: what waits for it, and a bell.
pub struct Subscriber {
    pub id: u64,
    pub queue: Mutex<Queue>,
    pub news: Notify,
    memory: Arc<Memory>,
    /// How many bytes may wait while there is memory.
    most: usize,
}

pub struct Queue {
    outbox: Outbox,
    /// When the oldest message was published that has waited since the outbox was last empty; 0 if
    /// that is not known.
    oldest: u64,
}

impl Subscriber {
    /// `id` has to be another for each connection.
    pub fn new(id: u64, outbox: Outbox, memory: Arc<Memory>) -> Arc<Self> {
        let most = outbox.max_bytes;
        let queue = Mutex::new(Queue { outbox, oldest: 0 });
        Arc::new(Self { id, queue, news: Notify::new(), memory, most })
    }

    /// Something for this one alone.
    pub fn tell(&self, now: Time, text: &str) {
        self.push(now, &Prepared::new(text), 0);
    }

    /// If it is too slow the outbox's policy has ruled: the session finds out when it feeds.
    pub fn push(&self, now: Time, message: &Prepared, nanos: u64) {
        self.change(|Queue { outbox, oldest }| {
            if *oldest == 0 {
                *oldest = nanos;
            }
            outbox.max_bytes = self.memory.outbox(self.most);
            let _ = outbox.push(now, message);
        });
        self.news.notify_one();
    }

    /// Says when the oldest message was published that waited, once none waits.
    pub fn feed(&self, now: Time, sender: &mut Sender) -> Option<u64> {
        self.change(|Queue { outbox, oldest }| {
            let _ = outbox.feed(now, sender); // closed: receiving says why
            let emptied = outbox.counts().waiting == 0 && *oldest != 0;
            emptied.then(|| std::mem::take(oldest))
        })
    }

    /// Whether less than half of what may wait for it does.
    pub fn has_room(&self) -> bool {
        let counts = lock(&self.queue).outbox.counts();
        counts.waiting == 0 || counts.bytes < self.memory.outbox(self.most) / 2
    }

    fn change<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = lock(&self.queue);
        let before = queue.outbox.counts().bytes;
        let done = act(&mut queue);
        self.memory.changed(before, queue.outbox.counts().bytes);
        done
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.memory.changed(lock(&self.queue).outbox.counts().bytes, 0);
    }
}

pub struct Hub {
    table: Mutex<Table>,
    /// Rings when there is something in [`changed`](Self::changed).
    pub changes: Notify,
    /// Rings when there is something in [`behind`](Self::behind).
    pub unserved: Notify,
    pub memory: Arc<Memory>,
    /// How many bytes of the newest messages a channel keeps.
    tail: usize,
}

#[derive(Default)]
struct Table {
    channels: HashMap<Arc<str>, Channel>,
    /// Names that were taken up or given up since the broker was last told.
    changed: HashSet<Arc<str>>,
    /// Channels with members that are behind.
    behind: Vec<Arc<str>>,
    counts: Counts,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came from the broker on a channel that somebody wants.
    pub received: u64,
    /// Were pushed, summed over the members.
    pub pushed: u64,
    /// Are missing, by the publishers' numbers.
    pub missing: u64,
    /// Came behind a later one of their publisher, or of the log, and were left out.
    pub late: u64,
    /// How often the broker was lost or could not be reached.
    pub lost: u64,
}

impl Hub {
    pub fn new(tail: usize, memory: Memory) -> Self {
        let (table, changes, unserved) = <(_, Notify, Notify)>::default();
        Self { table, changes, unserved, memory: Arc::new(memory), tail }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Does something to a channel, if there is one, and sees to what its members need then.
    fn on(&self, name: &str, act: impl FnOnce(&mut Channel, &mut Counts) -> Option<Need>) {
        self.on_table(&mut self.table(), name, act);
    }

    fn on_table(
        &self,
        table: &mut Table,
        name: &str,
        act: impl FnOnce(&mut Channel, &mut Counts) -> Option<Need>,
    ) {
        let Table { channels, counts, behind, .. } = table;
        let Some(channel) = channels.get_mut(name) else { return };
        let before = channel.tail.bytes();
        let need = act(channel, counts);
        self.memory.changed(before, channel.tail.bytes());
        if need.is_some() && !std::mem::replace(&mut channel.served, true) {
            behind.push(channel.name.clone());
            self.unserved.notify_one();
        }
    }

    // For sessions.

    /// Once more is once: the answer is repeated.
    pub fn sub(&self, now: Time, name: &str, from: From, who: &Arc<Subscriber>) {
        let mut table = self.table();
        if !table.channels.contains_key(name) {
            let name: Arc<str> = name.into();
            table.channels.insert(name.clone(), Channel::new(name.clone()));
            table.changed.insert(name);
            self.changes.notify_one();
        }
        self.on_table(&mut table, name, |channel, _| channel.join(now, who, from));
    }

    pub fn unsub(&self, name: &str, who: &Subscriber) {
        let mut table = self.table();
        let Some(channel) = table.channels.get_mut(name) else { return };
        channel.leave(who);
        if channel.members.is_empty()
            && let Some((name, channel)) = table.channels.remove_entry(name)
        {
            self.memory.changed(channel.tail.bytes(), 0);
            table.changed.insert(name);
            self.changes.notify_one();
        }
    }

    // For the follower.

    /// What came on a channel. Before the broker has confirmed that one, nobody was promised it.
    pub fn deliver(&self, now: Time, arrived: &Arrived) {
        let Arrived { channel: name, message, at, more } = arrived;
        let envelope = Envelope::open(message);
        self.on(name, |channel, counts| {
            let missing = match *at {
                _ if channel.stage == Progress::Asked => return None,
                Some(at) if channel.has(at) => None,
                Some(_) => Some(0), // the log is what there is
                None => channel.missing_before(&envelope),
            };
            match missing {
                None => counts.late += 1,
                Some(missing) => {
                    if missing > 0 {
                        counts.missing = counts.missing.saturating_add(missing);
                        channel.tell_all(now, &format!("gap {name} {missing}"));
                    }
                    counts.received += 1;
                    let message = envelope.prepare(name, *at);
                    counts.pushed += channel.push(
                        now,
                        &message,
                        envelope.nanos,
                        *at,
                        self.memory.tail(self.tail),
                    );
                }
            }
            let catching_up = matches!(channel.stage, Progress::CatchingUp(_));
            if catching_up && !more { channel.caught_up(now) } else { None }
        });
    }

    /// The broker has confirmed a subscription.
    pub fn confirm(&self, now: Time, name: &str, began: Began) {
        self.on(name, |channel, _| {
            let asked = channel.stage == Progress::Asked;
            if asked { channel.confirm(now, began) } else { None }
        });
    }

    /// The connection to the broker is lost. All channels have to be asked for again.
    pub fn lost(&self, now: Time) {
        let mut table = self.table();
        let Table { channels, changed, counts, .. } = &mut *table;
        counts.lost += 1;
        for (name, channel) in channels {
            if std::mem::replace(&mut channel.stage, Progress::Asked) != Progress::Asked {
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

    /// Where a channel's subscription has to begin.
    pub fn start(&self, name: &str) -> Start {
        self.table().channels.get(name).map_or(Start::Newest, Channel::start)
    }

    /// Whether the broker has confirmed a channel.
    pub fn is_confirmed(&self, name: &str) -> bool {
        self.table().channels.get(name).is_some_and(|channel| channel.stage != Progress::Asked)
    }

    // For those who read the log.

    /// Channels with members that are behind, each once until [`serve`](Self::serve) says `None`.
    pub fn behind(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.table().behind)
    }

    /// Sends the members that are behind what the tail has, and says what they need next.
    pub fn serve(&self, now: Time, name: &str) -> Option<Need> {
        let mut table = self.table();
        let channel = table.channels.get_mut(name)?;
        let need = channel.serve_all(now);
        channel.served = need.is_some();
        need
    }

    /// A page of the log was read; `false`: it is of another log than the channel.
    pub fn read(&self, now: Time, name: &str, page: &Page<Prepared>) -> bool {
        let mut read = true;
        self.on(name, |channel, _| {
            read = channel.read(now, page, self.memory.tail(self.tail));
            None
        });
        read
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

/// What a panic elsewhere has left is whole here: nothing is half done under these locks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::channel::MAX_PUBLISHERS;
    use tickwire::{CloseCode, Config, Connection, Negotiated, Step};
    use tickwire_parts::Overflow;

    const NOW: Time = Time::ZERO;
    const NO_LOG: Began = Began::NO_LOG;

    pub fn hub() -> Hub {
        Hub::new(1 << 20, Memory::new(1 << 30, 1))
    }

    pub fn subscriber(id: u64) -> Arc<Subscriber> {
        bounded(id, 1 << 20, &Arc::new(Memory::new(1 << 30, 1)))
    }

    pub fn bounded(id: u64, most: usize, memory: &Arc<Memory>) -> Arc<Subscriber> {
        let mut outbox = Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER));
        outbox.max_bytes = most;
        Subscriber::new(id, outbox, memory.clone())
    }

    /// What waits for one, as its peer would read it.
    pub fn told(who: &Subscriber) -> Vec<String> {
        use bytes::Buf;
        let mut server = Connection::server(&Config::default(), Negotiated::default());
        let entropy = tickwire::SystemEntropy::new().unwrap();
        let mut client = Connection::client(&Config::default(), Negotiated::default(), entropy);
        who.feed(NOW, server.sender_mut());
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

    pub fn sealed(from: &str, seq: u64) -> Vec<u8> {
        Envelope { from, seq, nanos: 1, payload: b"x" }.seal()
    }

    fn plain(channel: &str, message: &[u8]) -> Arrived {
        let (channel, message) = (channel.into(), message.to_vec());
        Arrived { channel, message, at: None, more: false }
    }

    fn changes(hub: &Hub) -> Vec<(String, bool)> {
        let mut all: Vec<_> =
            hub.changed(99).into_iter().map(|(name, wanted)| (name.to_string(), wanted)).collect();
        all.sort();
        all
    }

    #[test]
    fn redis_is_asked_for_what_the_first_wants_and_the_last_gives_up() {
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", From::Now, &one);
        assert_eq!(changes(&hub), [("a".into(), true)]);
        hub.sub(NOW, "a", From::Now, &two);
        hub.sub(NOW, "a", From::Now, &two);
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
        let (hub, one) = (hub(), subscriber(1));
        for name in ["a", "b", "c"] {
            hub.sub(NOW, name, From::Now, &one);
        }
        hub.unsub("a", &one);
        hub.sub(NOW, "a", From::Now, &one);
        hub.unsub("b", &one);
        assert_eq!(hub.changed(1).len(), 1);
        assert_eq!(hub.changed(9).len(), 2);
        assert_eq!(hub.changed(9).len(), 0);
    }

    #[test]
    fn subscribed_is_told_once_redis_has_confirmed() {
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", From::Now, &one);
        hub.deliver(NOW, &plain("a", b"early"));
        assert!(told(&one).is_empty());
        hub.confirm(NOW, "a", NO_LOG);
        hub.confirm(NOW, "a", NO_LOG);
        assert_eq!(told(&one), ["subscribed a"]);
        hub.sub(NOW, "a", From::Now, &two);
        assert_eq!(told(&two), ["subscribed a"]);
        hub.deliver(NOW, &plain("a", b"plain"));
        hub.deliver(NOW, &plain("b", b"nobody's"));
        for who in [&one, &two] {
            assert_eq!(told(who), ["message a - 0 0 plain"]);
        }
        assert_eq!((hub.counts().received, hub.counts().pushed), (1, 2));
    }

    #[test]
    fn what_is_missing_is_counted_for_each_publisher() {
        let (hub, one) = (hub(), subscriber(1));
        hub.sub(NOW, "a", From::Now, &one);
        hub.confirm(NOW, "a", NO_LOG);
        for (from, seq) in [("p", 4), ("p", 5), ("q", 1), ("p", 8), ("p", 7), ("q", 2)] {
            hub.deliver(NOW, &plain("a", &sealed(from, seq)));
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
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub(NOW, "a", From::Now, &one);
        hub.confirm(NOW, "a", NO_LOG);
        hub.deliver(NOW, &plain("a", &sealed("p", 1)));
        told(&one);
        changes(&hub);
        hub.lost(NOW);
        hub.lost(NOW); // the first attempt to connect again failed
        hub.sub(NOW, "a", From::Now, &two);
        assert_eq!(changes(&hub), [("a".into(), true)]);
        hub.confirm(NOW, "a", NO_LOG);
        hub.deliver(NOW, &plain("a", &sealed("p", 3)));
        assert_eq!(told(&one), ["stale a", "gap a ?", "gap a 1", "message a p 3 1 x"]);
        assert_eq!(told(&two), ["subscribed a", "gap a 1", "message a p 3 1 x"]);
    }

    #[test]
    fn publishers_are_forgotten_before_they_fill_the_memory() {
        let (hub, one) = (hub(), subscriber(1));
        hub.sub(NOW, "a", From::Now, &one);
        hub.confirm(NOW, "a", NO_LOG);
        for publisher in 0..1000 {
            hub.deliver(NOW, &plain("a", &sealed(&publisher.to_string(), 1)));
        }
        assert!(hub.table().channels["a"].last.len() <= MAX_PUBLISHERS);
    }
}
