//! What an application uses, in the words of Socket.IO's own server: namespaces with handlers by
//! name, sockets, rooms.
//!
//! ```
//! # use socketio_server::io::Io;
//! let mut io = Io::default();
//! io.of("/")
//!     .on_connection(|socket, _auth| socket.emit("greeting", "Welcome!"))
//!     .on("channel", |socket, args, _ack| socket.nsp().emit("broadcast", args))
//!     .on_disconnect(|socket, reason| socket.broadcast().emit("left", reason));
//! ```
//!
//! Handlers run in the client's task, between two of its messages: they must not block.
use crate::{
    engine::mailbox::Mailbox,
    packet::{Args, MAIN, Outgoing},
    rooms::{Broadcast, Rooms},
    settings::Settings,
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tickwire::Time;

/// An application: its namespaces, and who is connected to them. Clones share who is connected.
#[derive(Clone)]
pub struct Io {
    pub(crate) namespaces: Arc<HashMap<String, Namespace>>,
    pub(crate) rooms: Rooms,
    pub(crate) settings: Arc<Settings>,
}

impl Io {
    /// With the main namespace, which has no handlers yet.
    pub fn new(settings: Settings) -> Self {
        let namespaces = HashMap::from([(MAIN.to_owned(), Namespace::default())]);
        let (namespaces, settings) = (Arc::new(namespaces), Arc::new(settings));
        Self { namespaces, rooms: Rooms::default(), settings }
    }

    /// The namespace of this name, to add handlers. It is created if it is missing. A server that
    /// was started before does not get the handlers.
    pub fn of(&mut self, namespace: &str) -> &mut Namespace {
        Arc::make_mut(&mut self.namespaces).entry(namespace.to_owned()).or_default()
    }

    /// All sockets of a namespace, for code that is not in a handler.
    pub fn nsp<'a>(&'a self, namespace: &'a str) -> Broadcast<'a> {
        Broadcast::new(&self.rooms, namespace, None)
    }

    /// Who is connected, and in which rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Times and limits.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }
}

impl Default for Io {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

type Allow = dyn Fn(&Args<'_>) -> Result<(), Refusal> + Send + Sync;
type OnConnection = dyn Fn(&mut Socket<'_>, Args<'_>) + Send + Sync;
type OnEvent = dyn Fn(&mut Socket<'_>, Args<'_>, Ack) + Send + Sync;
type OnDisconnect = dyn Fn(&mut Socket<'_>, &str) + Send + Sync;

/// The handlers of a namespace.
#[derive(Clone, Default)]
pub struct Namespace {
    pub(crate) allow: Option<Arc<Allow>>,
    pub(crate) connection: Vec<Arc<OnConnection>>,
    pub(crate) events: HashMap<String, Arc<OnEvent>>,
    pub(crate) disconnecting: Vec<Arc<OnDisconnect>>,
    pub(crate) disconnect: Vec<Arc<OnDisconnect>>,
}

impl Namespace {
    /// Decides who may connect. The arguments hold the client's `auth`, or are empty.
    pub fn allow<F>(&mut self, allow: F) -> &mut Self
    where
        F: Fn(&Args<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        self.allow = Some(Arc::new(allow));
        self
    }

    /// Adds a handler that runs when a client has connected. It gets the client's `auth`.
    pub fn on_connection<F>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(&mut Socket<'_>, Args<'_>) + Send + Sync + 'static,
    {
        self.connection.push(Arc::new(handler));
        self
    }

    /// Sets the handler of an event, and replaces an earlier one. An event without a handler is not
    /// acknowledged.
    pub fn on<F>(&mut self, event: &str, handler: F) -> &mut Self
    where
        F: Fn(&mut Socket<'_>, Args<'_>, Ack) + Send + Sync + 'static,
    {
        self.events.insert(event.to_owned(), Arc::new(handler));
        self
    }

    /// Adds a handler that runs just before those of [`on_disconnect`](Self::on_disconnect), while
    /// the socket is still in its rooms.
    pub fn on_disconnecting<F>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(&mut Socket<'_>, &str) + Send + Sync + 'static,
    {
        self.disconnecting.push(Arc::new(handler));
        self
    }

    /// Adds a handler that runs when a client has gone. It gets the reason in Socket.IO's words,
    /// such as `transport close`. The socket has left its rooms, and `emit` does nothing.
    pub fn on_disconnect<F>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(&mut Socket<'_>, &str) + Send + Sync + 'static,
    {
        self.disconnect.push(Arc::new(handler));
        self
    }
}

/// Why a client may not connect to a namespace: the message of its `connect_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// The acknowledgement of an event: goes back once, now or later, while the socket lives.
#[derive(Debug)]
pub struct Ack(pub(crate) Option<u64>);

impl Ack {
    /// Whether the client asked for it. If not, sending it does nothing.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }
}

/// There was no answer to an event in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

type Then = Box<dyn FnOnce(&mut Socket<'_>, Result<Args<'_>, NoAnswer>) + Send>;

/// One client in one namespace.
pub struct Socket<'a> {
    pub(crate) joined: &'a mut Joined,
    pub(crate) mailbox: &'a Arc<Mailbox>,
    pub(crate) io: &'a Io,
    pub(crate) now: Time,
}

impl Socket<'_> {
    /// Its id, as the client knows it.
    pub fn id(&self) -> &str {
        &self.joined.sid
    }

    /// What the application keeps about this socket. Limit what a client may add to it.
    pub fn data(&mut self) -> &mut Map<String, Value> {
        &mut self.joined.data
    }

    /// Sends an event to this client.
    pub fn emit<'b>(&self, event: &str, args: impl Into<Args<'b>>) {
        self.send(Outgoing::event(&self.joined.namespace, None, event, args.into()));
    }

    /// Sends an event, and does something with its acknowledgement, or when it did not come in
    /// time. Once the client has gone, nothing more is done.
    ///
    /// # Errors
    ///
    /// `then`, when the client has gone or owes too many acknowledgements: the event is not sent.
    pub fn emit_with_ack<'b, F>(
        &mut self,
        event: &str,
        args: impl Into<Args<'b>>,
        timeout: Duration,
        then: F,
    ) -> Result<(), F>
    where
        F: FnOnce(&mut Socket<'_>, Result<Args<'_>, NoAnswer>) + Send + 'static,
    {
        if self.joined.gone || self.joined.asked.len() >= self.io.settings.max_asked {
            return Err(then);
        }
        let id = self.joined.next_id;
        self.joined.next_id += 1;
        let asked = Asked { by: self.now + timeout, timeout, then: Box::new(then) };
        self.joined.asked.insert(id, asked);
        self.send(Outgoing::event(&self.joined.namespace, Some(id), event, args.into()));
        Ok(())
    }

    /// Acknowledges an event.
    pub fn ack<'b>(&self, ack: Ack, args: impl Into<Args<'b>>) {
        if let Ack(Some(id)) = ack {
            self.send(Outgoing::ack(&self.joined.namespace, id, args.into()));
        }
    }

    /// All sockets of the namespace, this one among them: `nsp().to(room)` is a room with the
    /// sender.
    pub fn nsp(&self) -> Broadcast<'_> {
        self.io.nsp(&self.joined.namespace)
    }

    /// All others.
    pub fn broadcast(&self) -> Broadcast<'_> {
        Broadcast::new(&self.io.rooms, &self.joined.namespace, Some(&self.joined.sid))
    }

    /// All others in a room.
    pub fn to<'b>(&'b self, room: &'b str) -> Broadcast<'b> {
        self.broadcast().to(room)
    }

    /// The rooms that it is in.
    pub fn rooms(&self) -> &BTreeSet<String> {
        &self.joined.rooms
    }

    /// Enters a room of the namespace, where it may be already. `false` if the name is too long or
    /// the rooms are too many.
    pub fn join(&mut self, room: &str) -> bool {
        let (joined, settings) = (&mut *self.joined, &self.io.settings);
        if !joined.rooms.contains(room) {
            let full = joined.rooms.len() >= settings.max_rooms;
            if full || joined.gone || room.len() > settings.max_room_name {
                return false;
            }
            joined.rooms.insert(room.to_owned());
            self.io.rooms.join(&joined.namespace, Some(room), &joined.sid, self.mailbox);
        }
        true
    }

    /// Leaves a room. `false` if it was not in it.
    pub fn leave(&mut self, room: &str) -> bool {
        let was_in = self.joined.rooms.remove(room);
        if was_in {
            self.io.rooms.leave(&self.joined.namespace, Some(room), &self.joined.sid);
        }
        was_in
    }

    /// Disconnects the client from the namespace once the handler has returned. With `close`,
    /// disconnects it from all namespaces and closes its connection.
    pub fn disconnect(&mut self, close: bool) {
        self.mailbox.put_out(&self.joined.sid, close);
    }

    fn send(&self, packet: Outgoing) {
        if !self.joined.gone {
            self.mailbox.push(packet);
        }
    }
}

/// A namespace that the client has joined.
#[derive(Default)]
pub(crate) struct Joined {
    pub(crate) namespace: String,
    pub(crate) sid: String,
    /// It has left: nothing is sent to it any more.
    pub(crate) gone: bool,
    data: Map<String, Value>,
    rooms: BTreeSet<String>,
    /// The id of the next event that wants an answer.
    next_id: u64,
    /// The answers that are owed.
    pub(crate) asked: BTreeMap<u64, Asked>,
}

/// An event that wants an answer.
pub(crate) struct Asked {
    pub(crate) by: Time,
    pub(crate) timeout: Duration,
    pub(crate) then: Then,
}

impl Joined {
    pub(crate) fn new(namespace: &str, sid: String) -> Self {
        Self { namespace: namespace.to_owned(), sid, ..Self::default() }
    }

    pub(crate) fn leave_rooms(&self, rooms: &Rooms) {
        for room in self.rooms.iter().map(|room| Some(&**room)).chain([None]) {
            rooms.leave(&self.namespace, room, &self.sid);
        }
    }
}
