//! The application's side: what it is asked, and what it can do for one client in one namespace.
use crate::{
    engine::mailbox::Mailbox,
    packet::{Args, MAIN, Outgoing},
    rooms::Rooms,
    session::Shared,
};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tickwire::Time;

/// An application: which namespaces there are, who may join them, what events mean.
///
/// Its methods run in the connection's task, between two messages: they must not block.
pub trait Handler: Send + Sync {
    /// A client asks to join a namespace; `auth` is the object it sent along. What is emitted here
    /// arrives behind the news that it has joined.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that the client gets to see.
    fn connect(&self, socket: &mut Socket<'_>, auth: Option<&RawValue>) -> Result<(), Refusal>;

    /// A client has sent an event.
    fn event(&self, socket: &mut Socket<'_>, event: Event<'_>);
}

/// Why a client may not join a namespace, as its `connect_error` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

impl Refusal {
    /// There is no such namespace.
    pub const NAMESPACE: Self = Self("Invalid namespace");
    /// Who asks has not shown that they may.
    pub const AUTHORIZATION: Self = Self("Not authorized");
}

/// What a client has sent.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments.
    pub args: Args<'a>,
    /// There if the client wants to know that it arrived.
    pub ack: Option<Ack>,
}

/// Something to be acknowledged, once; whenever, while the socket lives.
#[derive(Debug)]
pub struct Ack(pub(crate) u64);

/// There was no answer to an event in time, or too many are owed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

/// What is done with the answer to an event.
pub type Then = Box<dyn FnOnce(&mut Socket<'_>, Result<Args<'_>, NoAnswer>) + Send>;

/// What a [`Handler`] can do for one client in one namespace.
pub struct Socket<'a> {
    joined: &'a mut Joined,
    mailbox: &'a Arc<Mailbox>,
    shared: &'a Shared,
    now: Time,
    /// Where packets wait until the client knows that it has joined.
    pub(crate) held: Option<Vec<Outgoing>>,
}

impl<'a> Socket<'a> {
    pub(crate) fn new(
        joined: &'a mut Joined,
        mailbox: &'a Arc<Mailbox>,
        shared: &'a Shared,
        now: Time,
    ) -> Self {
        Self { joined, mailbox, shared, now, held: None }
    }

    /// The namespace; [`MAIN`] if the client named none.
    pub fn namespace(&self) -> &str {
        &self.joined.namespace
    }

    /// Whether this is the namespace of those who name none.
    pub fn is_main(&self) -> bool {
        self.joined.namespace == MAIN
    }

    /// The socket's id, as the client knows it.
    pub fn sid(&self) -> &str {
        &self.joined.sid
    }

    /// Sends an event.
    pub fn emit(&mut self, name: &str, args: Args<'_>) {
        self.send(Outgoing::event(&self.joined.namespace, None, name, args));
    }

    /// Sends an event, and does something with its acknowledgement.
    pub fn ask(&mut self, name: &str, args: Args<'_>, then: Then) {
        if self.joined.asked.len() >= self.shared.settings.max_asked {
            return then(self, Err(NoAnswer));
        }
        let id = self.joined.next_id;
        self.joined.next_id += 1;
        self.joined.asked.insert(id, (self.now + self.shared.settings.ack_timeout, then));
        self.send(Outgoing::event(&self.joined.namespace, Some(id), name, args));
    }

    /// Acknowledges an event.
    pub fn acknowledge(&mut self, Ack(id): Ack, args: Args<'_>) {
        self.send(Outgoing::ack(&self.joined.namespace, id, args));
    }

    /// Enters a room of this namespace; in which it may be already. `false` where the name is too
    /// long or the rooms too many.
    pub fn join(&mut self, room: &str) -> bool {
        let settings = &self.shared.settings;
        let joined = &mut *self.joined;
        if !joined.rooms.contains(room) {
            if joined.rooms.len() >= settings.max_rooms || room.len() > settings.max_room_name {
                return false;
            }
            joined.rooms.insert(room.to_owned());
            self.shared.rooms.join(&joined.namespace, room, &joined.sid, self.mailbox);
        }
        true
    }

    /// Leaves a room. `false` if it was not in it.
    pub fn leave(&mut self, room: &str) -> bool {
        let was_in = self.joined.rooms.remove(room);
        if was_in {
            self.shared.rooms.leave(&self.joined.namespace, room, &self.joined.sid);
        }
        was_in
    }

    /// Sends an event to all others in a room of this namespace.
    pub fn say(&mut self, room: &str, name: &str, args: Args<'_>) {
        let packet = Outgoing::event(&self.joined.namespace, None, name, args);
        self.shared.rooms.say(&self.joined.namespace, room, &self.joined.sid, &packet);
    }

    fn send(&mut self, packet: Outgoing) {
        match &mut self.held {
            Some(held) => held.push(packet),
            None => self.mailbox.push(packet),
        }
    }
}

/// A namespace that the client has joined.
pub(crate) struct Joined {
    pub(crate) namespace: String,
    pub(crate) sid: String,
    rooms: BTreeSet<String>,
    /// The id of the next event that wants an answer.
    next_id: u64,
    /// The answers that are owed, oldest first: by when, and what is done with them.
    pub(crate) asked: BTreeMap<u64, (Time, Then)>,
}

impl Joined {
    pub(crate) fn new(namespace: &str, sid: String) -> Self {
        Self {
            namespace: namespace.to_owned(),
            sid,
            rooms: BTreeSet::new(),
            next_id: 0,
            asked: BTreeMap::new(),
        }
    }

    /// By when the oldest answer is owed.
    pub(crate) fn owed_by(&self) -> Option<Time> {
        self.asked.first_key_value().map(|(_, &(by, _))| by)
    }

    pub(crate) fn leave_rooms(&self, rooms: &Rooms) {
        for room in &self.rooms {
            rooms.leave(&self.namespace, room, &self.sid);
        }
    }
}
