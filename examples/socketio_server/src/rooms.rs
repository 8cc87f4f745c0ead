//! Rooms: who is in one hears what others say in it.
use crate::{
    engine::mailbox::{Mailbox, Part},
    packet::Outgoing,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{Message, Prepared};

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
        let parts: Vec<Part> = std::iter::once(Message::from(&packet.text))
            .chain(packet.attachments.iter().map(Message::from))
            .map(|message| Part::Shared(message.kind(), Prepared::new(message)))
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
