//! Topics, those who have subscribed to them, and one connection.
//!
//! ```text
//! publish --> topic --> the outbox of each subscriber --> its session writes
//! ```
//!
//! A publisher waits for nobody: it leaves the message in the outboxes, where a newer one of the same topic
//! replaces it if the subscriber is slow, and rings.
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{
    Config, Error, Prepared, Time,
    tokio::{MessageOrRoom, accept},
};
use tickwire_parts::{Outbox, Overflow};
use tokio::{net::TcpStream, sync::Notify, time::Instant};

/// All topics there are; clients make none.
pub(crate) struct Topics {
    topics: HashMap<String, Topic>,
    epoch: Instant,
}

struct Topic {
    /// In every outbox.
    key: u64,
    state: Mutex<State>,
}

/// Locked while a message is pushed to all, so that all get them in the same order.
#[derive(Default)]
struct State {
    newest: Option<Prepared>,
    subscribers: HashMap<u64, Arc<Subscriber>>,
}

/// One connection, as topics see it.
struct Subscriber {
    /// Another for each connection.
    id: u64,
    outbox: Mutex<Outbox>,
    news: Notify,
}

impl Subscriber {
    /// `key` is that of a topic, whose older message is replaced.
    fn push(&self, now: Time, key: Option<u64>, message: &Prepared) {
        let mut outbox = lock(&self.outbox);
        let _ = match key {
            Some(key) => outbox.push_keyed(now, key, message),
            None => outbox.push(now, message),
        }; // too slow even so: the session's next feed closes
        drop(outbox);
        self.news.notify_one();
    }
}

impl Topics {
    pub(crate) fn new(names: &[&str]) -> Self {
        let topic = |(key, name): (u64, &&str)| {
            ((*name).to_owned(), Topic { key, state: Mutex::default() })
        };
        Self { topics: (0..).zip(names).map(topic).collect(), epoch: Instant::now() }
    }

    /// Encodes a message once, for all who have subscribed and for those who will.
    pub(crate) fn publish(&self, name: &str, message: &str) {
        let Some(topic) = self.topics.get(name) else { return };
        let message = Prepared::new(&*format!("{name} {message}"));
        let mut state = lock(&topic.state);
        for subscriber in state.subscribers.values() {
            subscriber.push(self.now(), Some(topic.key), &message);
        }
        state.newest = Some(message);
    }

    /// How many subscribers a topic has.
    #[allow(dead_code)] // for the test
    pub(crate) fn subscribers(&self, name: &str) -> usize {
        self.topics.get(name).map_or(0, |topic| lock(&topic.state).subscribers.len())
    }

    /// Behind the answer comes the newest message, then all later ones.
    fn subscribe(&self, name: &str, who: &Arc<Subscriber>) -> bool {
        let Some(topic) = self.topics.get(name) else { return false };
        let mut state = lock(&topic.state);
        who.push(self.now(), None, &Prepared::new(&*format!("subscribed {name}")));
        if let Some(newest) = &state.newest {
            who.push(self.now(), Some(topic.key), newest);
        }
        state.subscribers.insert(who.id, who.clone());
        true
    }

    fn unsubscribe(&self, name: &str, who: &Subscriber) {
        if let Some(topic) = self.topics.get(name) {
            lock(&topic.state).subscribers.remove(&who.id);
        }
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}

/// The subscriptions of one connection. Dropping it ends them.
struct Session<'t> {
    topics: &'t Topics,
    me: Arc<Subscriber>,
    names: HashSet<String>,
}

impl Session<'_> {
    /// Does what the client asks for. Whether it may is for an application to say, here.
    fn heed(&mut self, asked: &str) {
        let answer = match asked.split_once(' ') {
            Some(("subscribe", name)) if self.topics.subscribe(name, &self.me) => {
                self.names.insert(name.to_owned());
                return;
            }
            Some(("unsubscribe", name)) if self.names.remove(name) => {
                self.topics.unsubscribe(name, &self.me);
                format!("unsubscribed {name}") // behind this nothing of it comes
            }
            _ => "error: subscribe TOPIC, unsubscribe TOPIC".into(),
        };
        self.me.push(self.topics.now(), None, &Prepared::new(&*answer));
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            self.topics.unsubscribe(name, &self.me);
        }
    }
}

/// One connection. `id` has to be another for each.
pub(crate) async fn session(stream: TcpStream, topics: &Topics, id: u64) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, &Config { max_message: 1024, ..Config::default() }).await?;
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_bytes = 64 << 10;
    let me = Arc::new(Subscriber { id, outbox: Mutex::new(outbox), news: Notify::new() });
    let mut session = Session { topics, me: me.clone(), names: HashSet::new() };
    loop {
        let _ = lock(&me.outbox).feed(topics.now(), ws.sender_mut()); // closed: receiving says why
        tokio::select! {
            biased; // receiving writes what was fed: before more is
            received = ws.recv_or_room(Outbox::MAX_UNSENT) => match received? {
                MessageOrRoom::Message(message) => session.heed(message.as_text().unwrap_or("")),
                MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(()),
            },
            () = me.news.notified() => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
