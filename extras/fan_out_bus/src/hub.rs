//! Knows who wants which channel, what to ask the broker for, and what to tell each subscriber.
//!
//! ```text
//! session: sub, unsub ---> channels ---> changed: names ---> follower: subscribe, unsubscribe
//! follower: deliver, confirm, lost ---> the outbox of each member ---> its session writes
//! sub from a place ---> the tail, or behind: names ---> replay: serve, read ---> its outbox
//! ```
//!
//! A channel is in the table while it has a member, and until the broker is asked to end its
//! subscription. One lock guards the table, so two members get messages in the same order. No I/O.
use crate::{
    bus::{Arrived, Began, Page, Start},
    channel::{Channel, Need, Progress},
    memory::Memory,
    protocol::{self, From},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tickwire::{Prepared, Sender, Time};
use tickwire_parts::Outbox;
use tokio::sync::Notify;

/// One connection, as the hub sees it: an outbox, and a bell that wakes the session.
pub struct Subscriber {
    pub id: u64,
    outbox: Mutex<Outbox>,
    pub news: Notify,
    memory: Arc<Memory>,
    /// How many bytes may wait in the outbox while memory is not short.
    most: usize,
}

impl Subscriber {
    /// Each connection needs a different `id`.
    pub fn new(id: u64, outbox: Outbox, memory: Arc<Memory>) -> Arc<Self> {
        let most = outbox.max_bytes;
        let outbox = Mutex::new(outbox);
        Arc::new(Self { id, outbox, news: Notify::new(), memory, most })
    }

    /// Pushes a text for this subscriber alone.
    pub fn tell(&self, text: &str) {
        self.push(&Prepared::new(text));
    }

    /// Pushes a message. If the outbox gives up a slow subscriber, its session learns it from
    /// `feed`.
    pub fn push(&self, message: &Prepared) {
        self.change(|outbox| {
            outbox.max_bytes = self.memory.outbox(self.most);
            let _ = outbox.push(now(), message);
        });
        self.news.notify_one();
    }

    pub fn feed(&self, sender: &mut Sender) {
        self.change(|outbox| {
            let _ = outbox.feed(now(), sender); // closed: receiving says why
        });
    }

    /// Whether less than half of the allowed bytes wait in the outbox.
    pub fn has_room(&self) -> bool {
        let counts = lock(&self.outbox).counts();
        counts.waiting == 0 || counts.bytes < self.memory.outbox(self.most) / 2
    }

    fn change(&self, act: impl FnOnce(&mut Outbox)) {
        let mut outbox = lock(&self.outbox);
        let before = outbox.counts().bytes;
        act(&mut outbox);
        self.memory.changed(before, outbox.counts().bytes);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.memory.changed(lock(&self.outbox).counts().bytes, 0);
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
    /// Channels that were taken up or given up since the broker was last told.
    changed: HashSet<Arc<str>>,
    /// Channels with members that are behind.
    behind: HashSet<Arc<str>>,
}

/// The changes to ask the broker for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub give_up: Vec<Arc<str>>,
    /// Each channel, and where its subscription has to begin.
    pub take_up: Vec<(Arc<str>, Start)>,
}

impl Hub {
    pub fn new(tail: usize, memory: Memory) -> Self {
        let (table, changes, unserved) = <(_, Notify, Notify)>::default();
        Self { table, changes, unserved, memory: Arc::new(memory), tail }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Calls `act` on a channel, if there is one of this name. If its members then need something,
    /// wakes the task that serves them.
    fn on(&self, table: &mut Table, name: &str, act: impl FnOnce(&mut Channel) -> Option<Need>) {
        let Some(channel) = table.channels.get_mut(name) else { return };
        let before = channel.tail.bytes;
        let need = act(channel);
        self.memory.changed(before, channel.tail.bytes);
        if need.is_some() {
            table.behind.insert(channel.name.clone());
            self.unserved.notify_one();
        }
    }

    // For sessions.

    /// Subscribes `who` to a channel. A second call does not subscribe it twice, but repeats the
    /// answer.
    pub fn sub(&self, name: &str, from: From, who: &Arc<Subscriber>) {
        let mut table = self.table();
        if !table.channels.contains_key(name) {
            let name: Arc<str> = name.into();
            let channel = Channel { name: name.clone(), ..Channel::default() };
            table.channels.insert(name.clone(), channel);
            table.changed.insert(name);
            self.changes.notify_one();
        }
        self.on(&mut table, name, |channel| channel.join(who, from));
    }

    pub fn unsub(&self, name: &str, who: &Subscriber) {
        let mut table = self.table();
        let Some(channel) = table.channels.get_mut(name) else { return };
        channel.members.remove(&who.id);
        if channel.members.is_empty() {
            // A channel that the broker was never asked for is forgotten at once. Otherwise a
            // client could fill the memory with subscriptions while the broker is away.
            let asked = channel.stage == Progress::Asked;
            if asked && let Some(channel) = table.channels.remove(name) {
                self.memory.changed(channel.tail.bytes, 0);
            }
            if !asked || !table.changed.remove(name) {
                table.changed.insert(name.into());
            }
            self.changes.notify_one();
        }
    }

    // For the follower.

    /// Delivers a message that arrived on a channel. Before the broker has confirmed the channel's
    /// subscription, messages are dropped, because no member was promised them.
    pub fn deliver(&self, arrived: &Arrived) {
        let Arrived { channel: name, payload, at, more } = arrived;
        self.on(&mut self.table(), name, |channel| {
            if channel.stage == Progress::Asked {
                return None;
            }
            if at.is_none_or(|at| channel.place.is_none_or(|place| at > place.at)) {
                let message = protocol::prepare(name, *at, payload);
                channel.push(&message, *at, self.memory.tail(self.tail));
            }
            let catching_up = matches!(channel.stage, Progress::CatchingUp(_));
            if catching_up && !more { channel.caught_up() } else { None }
        });
    }

    /// Says that the broker has confirmed a subscription.
    pub fn confirm(&self, name: &str, began: Began) {
        self.on(&mut self.table(), name, |channel| {
            let asked = channel.stage == Progress::Asked;
            if asked { channel.confirm(began) } else { None }
        });
    }

    /// Says that the connection to the broker is lost. All channels have to be asked for again.
    pub fn lost(&self) {
        let mut table = self.table();
        let Table { channels, changed, .. } = &mut *table;
        channels.retain(|name, channel| {
            if std::mem::replace(&mut channel.stage, Progress::Asked) != Progress::Asked {
                channel.tell_all(&format!("stale {name}"));
            }
            let wanted = !channel.members.is_empty();
            if wanted {
                changed.insert(name.clone());
            } else {
                self.memory.changed(channel.tail.bytes, 0);
            }
            wanted
        });
        self.changes.notify_one();
    }

    /// Takes at most `most` of the channels that were taken up or given up.
    pub fn changed(&self, most: usize) -> Changes {
        let mut table = self.table();
        let Table { channels, changed, .. } = &mut *table;
        let names: Vec<Arc<str>> = changed.iter().take(most).cloned().collect();
        let mut changes = Changes::default();
        for name in names {
            changed.remove(&name);
            match channels.get(&name) {
                Some(channel) if channel.members.is_empty() => {
                    self.memory.changed(channel.tail.bytes, 0);
                    channels.remove(&name);
                    changes.give_up.push(name);
                }
                Some(channel) if channel.stage == Progress::Asked => {
                    changes.take_up.push((name, channel.start()));
                }
                Some(_) => {}
                None => changes.give_up.push(name),
            }
        }
        changes
    }

    // For the task that reads the log.

    /// Takes the channels with members that are behind: [`serve`](Self::serve) these channels.
    pub fn behind(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.table().behind)
    }

    /// Sends messages of the tail to the members that are behind. Returns what they need next.
    pub fn serve(&self, name: &str) -> Option<Need> {
        let mut need = None;
        self.on(&mut self.table(), name, |channel| {
            need = channel.serve_all();
            need
        });
        need
    }

    /// Says that a page was read. Returns `false` if it is from another log than the channel.
    pub fn read(&self, name: &str, page: &Page<Prepared>) -> bool {
        let mut read = true;
        self.on(&mut self.table(), name, |channel| {
            read = channel.read(page, self.memory.tail(self.tail));
            None
        });
        read
    }
}

/// The time since the first call.
fn now() -> Time {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    Time::new(EPOCH.elapsed())
}

/// Ignores the poison of a panic: no code that holds these locks leaves the data half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use tickwire::{CloseCode, Config, Connection, Negotiated};
    use tickwire_parts::Overflow;

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

    /// The messages that wait for a subscriber, as its peer would read them.
    pub fn told(who: &Subscriber) -> Vec<String> {
        use bytes::Buf;
        let mut server = Connection::server(&Config::default(), Negotiated::default());
        who.feed(server.sender_mut());
        let mut outgoing = server.sender_mut().outgoing();
        let wire = outgoing.copy_to_bytes(outgoing.remaining());
        let (mut told, mut rest) = (Vec::new(), &wire[..]);
        while let [0x81, len @ 0..126, more @ ..] = rest {
            let (text, after) = more.split_at((*len).into());
            told.push(String::from_utf8(text.to_vec()).unwrap());
            rest = after;
        }
        assert!(matches!(rest, [] | [0x88, ..]), "behind it is at most a Close");
        told
    }

    fn plain(channel: &str, payload: &[u8]) -> Arrived {
        let (channel, payload) = (channel.into(), payload.to_vec());
        Arrived { channel, payload, at: None, more: false }
    }

    /// How many channels are known, and how many members they have in all.
    fn len(hub: &Hub) -> (usize, usize) {
        let channels = &hub.table().channels;
        (channels.len(), channels.values().map(|channel| channel.members.len()).sum())
    }

    fn changes(hub: &Hub) -> Vec<(String, bool)> {
        let Changes { give_up, take_up } = hub.changed(99);
        let up = take_up.into_iter().map(|(name, _)| (name.to_string(), true));
        let mut all: Vec<_> =
            up.chain(give_up.into_iter().map(|name| (name.to_string(), false))).collect();
        all.sort();
        all
    }

    #[test]
    fn redis_is_asked_for_what_the_first_wants_and_the_last_gives_up() {
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub("a", From::Now, &one);
        hub.sub("b", From::Now, &one);
        hub.unsub("b", &one);
        assert_eq!((changes(&hub), len(&hub)), (vec![("a".into(), true)], (1, 1)));
        hub.sub("a", From::Now, &two);
        hub.sub("a", From::Now, &two);
        hub.confirm("a", NO_LOG);
        assert_eq!((changes(&hub), len(&hub)), (vec![], (1, 2)));
        hub.unsub("a", &one);
        hub.unsub("a", &one);
        hub.unsub("b", &one);
        assert_eq!((changes(&hub), len(&hub)), (vec![], (1, 1)));
        hub.unsub("a", &two);
        assert_eq!((changes(&hub), len(&hub)), (vec![("a".into(), false)], (0, 0)));
    }

    #[test]
    fn what_was_given_up_and_taken_up_again_is_no_change() {
        let (hub, one) = (hub(), subscriber(1));
        for name in ["a", "b", "c"] {
            hub.sub(name, From::Now, &one);
        }
        assert_eq!((hub.changed(1).take_up.len(), hub.changed(9).take_up.len()), (1, 2));
        hub.confirm("a", NO_LOG);
        hub.confirm("b", NO_LOG);
        for name in ["a", "b", "c"] {
            hub.unsub(name, &one);
        }
        hub.sub("a", From::Now, &one);
        assert_eq!(changes(&hub), [("b".into(), false), ("c".into(), false)]);
        assert_eq!(told(&one), ["subscribed a", "subscribed b", "subscribed a"]);
    }

    #[test]
    fn subscribed_is_told_once_redis_has_confirmed() {
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub("a", From::Now, &one);
        hub.deliver(&plain("a", b"early"));
        assert!(told(&one).is_empty());
        hub.confirm("a", NO_LOG);
        hub.confirm("a", NO_LOG);
        assert_eq!(told(&one), ["subscribed a"]);
        hub.sub("a", From::Now, &two);
        assert_eq!(told(&two), ["subscribed a"]);
        hub.deliver(&plain("a", b"plain"));
        hub.deliver(&plain("b", b"nobody's"));
        for who in [&one, &two] {
            assert_eq!(told(who), ["message a plain"]);
        }
    }

    #[test]
    fn an_outage_is_a_gap_for_those_who_were_there() {
        let (hub, one, two) = (hub(), subscriber(1), subscriber(2));
        hub.sub("a", From::Now, &one);
        hub.confirm("a", NO_LOG);
        hub.deliver(&plain("a", b"1"));
        told(&one);
        changes(&hub);
        hub.lost();
        hub.lost(); // the first attempt to connect again failed
        hub.sub("a", From::Now, &two);
        assert_eq!(changes(&hub), [("a".into(), true)]);
        hub.confirm("a", NO_LOG);
        hub.deliver(&plain("a", b"3"));
        assert_eq!(told(&one), ["stale a", "gap a", "message a 3"]);
        assert_eq!(told(&two), ["subscribed a", "message a 3"]);
    }
}
