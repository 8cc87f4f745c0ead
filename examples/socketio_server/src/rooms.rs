//! Rooms: who is in one hears what others say in it. And the queue in front of each connection,
//! which everybody who has something for it pushes into.
//!
//! A queue is bounded in bytes. Whoever is further behind is disconnected and may connect again;
//! dropping packets instead would drop acknowledgements, and parts of packets.
use crate::packet::Outgoing;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{CloseCode, Message, Outbound, Outbox, Prepared, SendError, Sender, Time, TooSlow};
use tokio::sync::Notify;

/// What waits for a connection.
#[derive(Debug)]
pub struct Mailbox {
    outbox: Mutex<Outbox>,
    arrived: Notify,
}

/// How far the connection of a [`Mailbox`] is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// So many bytes wait.
    pub bytes: usize,
    /// They were too many: the connection is closed with this code.
    pub disconnected: Option<CloseCode>,
}

impl Mailbox {
    /// An empty one, for at most so many bytes.
    pub fn new(max_bytes: usize) -> Self {
        let mut outbox = Outbox::new(TooSlow::Disconnect(CloseCode::TRY_AGAIN_LATER));
        outbox.max_bytes = max_bytes;
        Self { outbox: Mutex::new(outbox), arrived: Notify::new() }
    }

    /// Queues a packet, for a task that looks at its mailbox anyway: its own.
    pub fn push(&self, packet: Outgoing) {
        let text = Outbound::from(packet.text);
        let attachments = packet.attachments.into_iter().map(Outbound::from);
        self.queue(std::iter::once(text).chain(attachments));
    }

    /// Queues an Engine.IO packet.
    pub fn push_engine(&self, packet: impl Into<Outbound<'static>>) {
        self.queue([packet.into()]);
    }

    /// Queues a packet that somebody else sent.
    fn deliver(&self, packet: &[Prepared]) {
        self.queue(packet.iter().cloned().map(Outbound::from));
        self.arrived.notify_one();
    }

    /// All parts or none, and nothing in between. (Its bound once passed, an outbox takes nothing.)
    fn queue(&self, parts: impl IntoIterator<Item = Outbound<'static>>) {
        let mut outbox = lock(&self.outbox);
        for part in parts {
            let _ = outbox.push(Time::ZERO, part); // no message is ever too old
        }
    }

    /// Hands the connection what it may take now.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] where nothing can be sent any more.
    pub fn feed(&self, tx: &mut Sender) -> Result<Behind, SendError> {
        let mut outbox = lock(&self.outbox);
        outbox.feed(Time::ZERO, tx)?;
        Ok(Behind { bytes: outbox.counts().bytes, disconnected: outbox.disconnected() })
    }

    /// Waits until somebody else has pushed something. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// All rooms that somebody is in, of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Rooms(Arc<Mutex<HashMap<Name, Members>>>);

/// Namespace and room.
type Name = (String, String);

/// By the ids of their sockets.
type Members = HashMap<String, Arc<Mailbox>>;

impl Rooms {
    /// Enters a room, which is made if nobody is in it.
    pub fn join(&self, namespace: &str, room: &str, sid: &str, mailbox: &Arc<Mailbox>) {
        let mut rooms = lock(&self.0);
        let members = rooms.entry((namespace.into(), room.into())).or_default();
        members.insert(sid.into(), mailbox.clone());
    }

    /// Leaves a room, which is gone with its last member.
    pub fn leave(&self, namespace: &str, room: &str, sid: &str) {
        let mut rooms = lock(&self.0);
        if let Entry::Occupied(mut members) = rooms.entry((namespace.into(), room.into())) {
            members.get_mut().remove(sid);
            if members.get().is_empty() {
                members.remove();
            }
        }
    }

    /// Sends a packet to all in a room but the one who says it: encoded once, whoever many they are.
    /// All hear what is said in a room in the same order.
    pub fn say(&self, namespace: &str, room: &str, sid: &str, packet: &Outgoing) {
        let parts: Vec<Prepared> = std::iter::once(Message::from(&packet.text))
            .chain(packet.attachments.iter().map(Message::from))
            .map(Prepared::new)
            .collect();
        let rooms = lock(&self.0);
        let members = rooms.get(&(namespace.into(), room.into()));
        for (_, mailbox) in members.into_iter().flatten().filter(|(member, _)| *member != sid) {
            mailbox.deliver(&parts);
        }
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether nobody is in any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a panic elsewhere may have left is whole: nothing here is half done when it could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
