//! Who hears what: the sockets of each namespace, and its rooms.
use crate::{
    engine::mailbox::{Mailbox, Part},
    packet::{Args, Outgoing},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::{Message, Prepared};

/// All sockets and all rooms with somebody in it, of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Rooms(Arc<Mutex<HashMap<Name, Members>>>);

/// Namespace and room; without a room all sockets of the namespace.
type Name = (String, Option<String>);

/// By the ids of their sockets.
type Members = HashMap<String, Arc<Mailbox>>;

impl Rooms {
    pub(crate) fn join(
        &self,
        namespace: &str,
        room: Option<&str>,
        sid: &str,
        mailbox: &Arc<Mailbox>,
    ) {
        let mut rooms = self.lock();
        let members = rooms.entry(name(namespace, room)).or_default();
        members.insert(sid.into(), mailbox.clone());
    }

    /// A room is gone with its last member.
    pub(crate) fn leave(&self, namespace: &str, room: Option<&str>, sid: &str) {
        if let Entry::Occupied(mut members) = self.lock().entry(name(namespace, room)) {
            members.get_mut().remove(sid);
            if members.get().is_empty() {
                members.remove();
            }
        }
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// What a panic elsewhere may have left is whole: nothing here is half done when it could
    /// panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Members>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(namespace: &str, room: Option<&str>) -> Name {
    (namespace.into(), room.map(Into::into))
}

/// Sockets of a namespace, to say something to them or to put them out.
#[derive(Clone, Copy, Debug)]
pub struct Broadcast<'a> {
    rooms: &'a Rooms,
    namespace: &'a str,
    room: Option<&'a str>,
    only: Option<&'a str>,
    except: Option<&'a str>,
}

impl<'a> Broadcast<'a> {
    pub(crate) fn new(rooms: &'a Rooms, namespace: &'a str, except: Option<&'a str>) -> Self {
        Self { rooms, namespace, room: None, only: None, except }
    }

    /// Only the sockets in this room. A second call replaces the first.
    #[must_use]
    pub fn to(self, room: &'a str) -> Self {
        Self { room: Some(room), ..self }
    }

    /// Only the socket with this id. An id is not a room, so a client that may choose a room cannot
    /// choose to hear what is for one socket.
    #[must_use]
    pub fn socket(self, id: &'a str) -> Self {
        Self { only: Some(id), ..self }
    }

    /// Sends them an event, which is encoded once. All sockets of a namespace get its events in the
    /// same order.
    pub fn emit<'b>(self, event: &str, args: impl Into<Args<'b>>) {
        let packet = Outgoing::event(self.namespace, None, event, args.into());
        let parts: Vec<Part> = std::iter::once(Message::from(&packet.text))
            .chain(packet.attachments.iter().map(Message::from))
            .map(|message| Part::Shared(message.kind(), Prepared::new(message)))
            .collect();
        self.each(|_, mailbox| mailbox.deliver(&parts));
    }

    /// Disconnects them from the namespace. With `close`, disconnects their clients from all
    /// namespaces and closes the connections.
    pub fn disconnect(self, close: bool) {
        self.each(|id, mailbox| mailbox.put_out(id, close));
    }

    /// How many they are.
    pub fn count(self) -> usize {
        let mut count = 0;
        self.each(|_, _| count += 1);
        count
    }

    fn each(self, mut what: impl FnMut(&str, &Mailbox)) {
        let rooms = self.rooms.lock();
        let Some(members) = rooms.get(&name(self.namespace, self.room)) else { return };
        match self.only {
            Some(id) => members.get_key_value(id).into_iter().for_each(|(id, to)| what(id, to)),
            None => members
                .iter()
                .filter(|(id, _)| self.except != Some(&**id))
                .for_each(|(id, to)| what(id, to)),
        }
    }
}
