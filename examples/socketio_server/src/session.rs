//! What one client and the server say to each other: a state machine without I/O and clock, as the
//! core of the crate below it is one.
//!
//! ```text
//! message --> engine packet --> 4 --> packet --> 0 connect     the handler admits, or refuses
//!                            |         |         1 disconnect
//!                            3 pong    |         2 event       the handler acts on it
//!                                      |         3 ack         goes to who asked
//!                                      5-, 6-    waits for its attachments
//! ```
//!
//! What is to be sent goes into the [`Mailbox`]; what the events mean is the [`Handler`]'s.
use crate::{
    engine::{self, Beat, Heartbeat},
    packet::{Args, Body, MAIN, Malformed, Outgoing, Packet},
    rooms::{Mailbox, Rooms},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use tickwire::{CloseCode, Message, Time};

/// Times and limits; the defaults of the times are those of Socket.IO's own server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// From a pong to the next ping; 25 s.
    pub ping_interval: Duration,
    /// From a ping to its pong; 20 s. A client that saw no ping for the sum of both gives up.
    pub ping_timeout: Duration,
    /// From the opening to the first namespace joined; 45 s.
    pub connect_timeout: Duration,
    /// From a packet, or one of its attachments, to the next attachment; 60 s.
    pub attachment_timeout: Duration,
    /// From an event of the server's to its acknowledgement; 20 s.
    pub ack_timeout: Duration,
    /// The longest message, in bytes; 1,000,000, as Socket.IO's server has it.
    pub max_payload: usize,
    /// The longest packet with its attachments, in bytes; 4,000,000.
    pub max_packet: usize,
    /// The most attachments of a packet; 10, as Socket.IO's parsers have it.
    pub max_attachments: usize,
    /// The most bytes that wait for a client. More are a reason to disconnect it; 12,000,000.
    pub max_backlog: usize,
    /// With so many bytes waiting for it, a client is not listened to; 256 KiB.
    pub pause_at: usize,
    /// The most namespaces that a client may have joined; 16.
    pub max_namespaces: usize,
    /// The most rooms that a socket may be in; 100.
    pub max_rooms: usize,
    /// The longest name of a room, in bytes; 200.
    pub max_room_name: usize,
    /// The most acknowledgements that a socket may owe; 100.
    pub max_asked: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            attachment_timeout: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
            max_packet: 4_000_000,
            max_attachments: 10,
            max_backlog: 12_000_000,
            pause_at: 256 << 10,
            max_namespaces: 16,
            max_rooms: 100,
            max_room_name: 200,
            max_asked: 100,
        }
    }
}

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
pub struct Ack(u64);

/// There was no answer to an event in time, or too many are owed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

/// What is done with the answer to an event.
pub type Then = Box<dyn FnOnce(&mut Socket<'_>, Result<Args<'_>, NoAnswer>) + Send>;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client said so.
    Closed,
    /// The client sent what is no packet, or none that may come now.
    Malformed(Malformed),
    /// The client does not answer pings.
    PingTimeout,
    /// The client has joined no namespace in time.
    ConnectTimeout,
    /// The attachments of a packet did not come in time.
    AttachmentTimeout,
}

impl End {
    /// What the WebSocket is closed with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Closed => CloseCode::NORMAL,
            Self::Malformed(_) => CloseCode::PROTOCOL_ERROR,
            Self::PingTimeout | Self::ConnectTimeout | Self::AttachmentTimeout => {
                CloseCode::POLICY_VIOLATION
            }
        }
    }

    /// What it is closed with in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Closed => "",
            Self::Malformed(Malformed(what)) => what,
            Self::PingTimeout => "ping timeout",
            Self::ConnectTimeout => "no namespace joined",
            Self::AttachmentTimeout => "attachments missing",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the client"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            other => f.write_str(other.reason()),
        }
    }
}

impl From<Malformed> for End {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// What all sessions have in common.
#[derive(Clone)]
pub struct Shared {
    /// The application.
    pub handler: Arc<dyn Handler>,
    /// Who is where.
    pub rooms: Rooms,
    /// Times and limits.
    pub settings: Arc<Settings>,
}

impl Shared {
    /// An application, with rooms in which nobody is.
    pub fn new(handler: impl Handler + 'static, settings: Settings) -> Self {
        Self { handler: Arc::new(handler), rooms: Rooms::default(), settings: Arc::new(settings) }
    }
}

/// One client's session. Dropping it leaves all rooms.
pub struct Session {
    shared: Shared,
    mailbox: Arc<Mailbox>,
    joined: Vec<Joined>,
    heartbeat: Heartbeat,
    /// By when a namespace has to be joined; `None` once one was.
    connect_by: Option<Time>,
    assembly: Option<Assembly>,
}

/// A namespace that the client has joined.
struct Joined {
    namespace: String,
    sid: String,
    rooms: BTreeSet<String>,
    /// The id of the next event that wants an answer.
    next_id: u64,
    /// The answers that are owed, oldest first: by when, and what is done with them.
    asked: BTreeMap<u64, (Time, Then)>,
}

/// A packet whose attachments have not all come yet.
struct Assembly {
    text: String,
    wanted: usize,
    attachments: Vec<Bytes>,
    /// Of text and attachments together.
    bytes: usize,
    by: Time,
}

impl Session {
    /// Begins: the first packet is in the mailbox.
    ///
    /// # Errors
    ///
    /// When the system has no entropy for an id.
    pub fn new(shared: &Shared, now: Time) -> Result<Self, getrandom::Error> {
        let settings = &shared.settings;
        let (interval, timeout) = (settings.ping_interval, settings.ping_timeout);
        let sid = engine::session_id()?; // only polling clients ever say it again
        let mailbox = Mailbox::new(settings.max_backlog);
        mailbox.push_engine(engine::open(&sid, interval, timeout, settings.max_payload));
        Ok(Self {
            mailbox: Arc::new(mailbox),
            joined: Vec::new(),
            heartbeat: Heartbeat::new(interval, timeout, now),
            connect_by: Some(now + settings.connect_timeout),
            assembly: None,
            shared: shared.clone(),
        })
    }

    /// Where what is to be sent waits.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    // Inputs.

    /// A message has come.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    pub fn receive(&mut self, message: Message<'_>, now: Time) -> Result<(), End> {
        match engine::Packet::parse(message)? {
            engine::Packet::Text(text) => self.text(text, now),
            engine::Packet::Binary(bytes) => self.attachment(bytes, now),
            engine::Packet::Pong => {
                self.heartbeat.pong(now);
                Ok(())
            }
            engine::Packet::Close => Err(End::Closed),
        }
    }

    /// Nobody has read for a while, because the client was behind: what it owes may have come.
    pub fn excuse(&mut self, now: Time) {
        self.heartbeat.excuse(now);
        if let Some(assembly) = &mut self.assembly {
            assembly.by = now + self.shared.settings.attachment_timeout;
        }
        let by = now + self.shared.settings.ack_timeout;
        for (asked_by, _) in self.joined.iter_mut().flat_map(|joined| joined.asked.values_mut()) {
            *asked_by = by;
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Time {
        let assembly = self.assembly.as_ref().map(|assembly| assembly.by);
        let owed = self.joined.iter().filter_map(Joined::owed_by);
        let other = self.connect_by.into_iter().chain(assembly).chain(owed);
        other.fold(self.heartbeat.poll_timeout(), Time::min)
    }

    /// Tells the time.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), End> {
        match self.heartbeat.handle_timeout(now) {
            Beat::Nothing => {}
            Beat::Ping => self.mailbox.push_engine(engine::PING),
            Beat::Dead => return Err(End::PingTimeout),
        }
        if self.connect_by.is_some_and(|by| by <= now) {
            return Err(End::ConnectTimeout);
        }
        if self.assembly.as_ref().is_some_and(|assembly| assembly.by <= now) {
            return Err(End::AttachmentTimeout);
        }
        for joined in &mut self.joined {
            while joined.owed_by().is_some_and(|by| by <= now)
                && let Some((_, (_, then))) = joined.asked.pop_first()
            {
                then(&mut Socket::new(joined, &self.mailbox, &self.shared, now), Err(NoAnswer));
            }
        }
        Ok(())
    }

    // Packets.

    fn text(&mut self, text: &str, now: Time) -> Result<(), End> {
        let settings = &self.shared.settings;
        if self.assembly.is_some() {
            return Err(Malformed("text where an attachment was due").into());
        }
        let packet = Packet::parse(text, settings.max_attachments)?;
        if packet.attachments > 0 {
            self.assembly = Some(Assembly {
                text: text.to_owned(),
                wanted: packet.attachments,
                attachments: Vec::new(),
                bytes: text.len(),
                by: now + settings.attachment_timeout,
            });
            return Ok(());
        }
        self.packet(packet, &[], now)
    }

    fn attachment(&mut self, bytes: &[u8], now: Time) -> Result<(), End> {
        let settings = &self.shared.settings;
        let assembly = self.assembly.as_mut().ok_or(Malformed("attachment of nothing"))?;
        assembly.bytes += bytes.len();
        if assembly.bytes > settings.max_packet {
            return Err(Malformed("packet too long").into());
        }
        assembly.attachments.push(Bytes::copy_from_slice(bytes));
        assembly.by = now + settings.attachment_timeout;
        if assembly.attachments.len() < assembly.wanted {
            return Ok(());
        }
        let max = settings.max_attachments;
        let Some(whole) = self.assembly.take() else { return Ok(()) };
        // Once more: what was parsed could not stay, for it borrows the text.
        self.packet(Packet::parse(&whole.text, max)?, &whole.attachments, now)
    }

    /// A packet that is whole.
    fn packet(&mut self, packet: Packet<'_>, attachments: &[Bytes], now: Time) -> Result<(), End> {
        let Packet { namespace, id, body, .. } = packet;
        if let Body::Connect(auth) = body {
            return self.connect(namespace, auth, now);
        }
        let found = self.joined.iter().position(|joined| joined.namespace == namespace);
        let at = found.ok_or(Malformed("packet for a namespace that was not joined"))?;
        if let Body::Disconnect = body {
            self.leave(at);
            return Ok(());
        }
        let Some(joined) = self.joined.get_mut(at) else { return Ok(()) };
        match body {
            Body::Event(name, values) => {
                let args = Args { values: &values, attachments };
                let event = Event { name: &name, args, ack: id.map(Ack) };
                let mut socket = Socket::new(joined, &self.mailbox, &self.shared, now);
                self.shared.handler.event(&mut socket, event);
            }
            Body::Ack(values) => {
                // Nobody waits for one that is late.
                if let Some((_, then)) = id.and_then(|id| joined.asked.remove(&id)) {
                    let mut socket = Socket::new(joined, &self.mailbox, &self.shared, now);
                    then(&mut socket, Ok(Args { values: &values, attachments }));
                }
            }
            _ => return Err(Malformed("not for a client to send").into()),
        }
        Ok(())
    }

    /// Clients connect twice at times, for which they get a socket each, and only the last one
    /// stays: with a new id and in no room.
    fn connect(&mut self, namespace: &str, auth: Option<&RawValue>, now: Time) -> Result<(), End> {
        if let Some(at) = self.joined.iter().position(|joined| joined.namespace == namespace) {
            self.leave(at);
        }
        let rejection = |Refusal(why)| self.mailbox.push(Outgoing::refused(namespace, why));
        if self.joined.len() >= self.shared.settings.max_namespaces {
            rejection(Refusal("Too many namespaces"));
            return Ok(());
        }
        let Ok(sid) = engine::session_id() else {
            rejection(Refusal("No entropy"));
            return Ok(());
        };
        let mut joined = Joined {
            namespace: namespace.to_owned(),
            sid,
            rooms: BTreeSet::new(),
            next_id: 0,
            asked: BTreeMap::new(),
        };
        let mut socket = Socket::new(&mut joined, &self.mailbox, &self.shared, now);
        socket.held = Some(Vec::new());
        let admitted = self.shared.handler.connect(&mut socket, auth);
        let held = socket.held.take().unwrap_or_default();
        match admitted {
            Ok(()) => {
                self.mailbox.push(Outgoing::connected(namespace, &joined.sid));
                held.into_iter().for_each(|packet| self.mailbox.push(packet));
                self.joined.push(joined);
                self.connect_by = None;
            }
            Err(refusal) => {
                joined.leave_rooms(&self.shared.rooms);
                rejection(refusal);
            }
        }
        Ok(())
    }

    fn leave(&mut self, at: usize) {
        self.joined.swap_remove(at).leave_rooms(&self.shared.rooms);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for joined in &self.joined {
            joined.leave_rooms(&self.shared.rooms);
        }
    }
}

impl Joined {
    /// By when the oldest answer is owed.
    fn owed_by(&self) -> Option<Time> {
        self.asked.first_key_value().map(|(_, &(by, _))| by)
    }

    fn leave_rooms(&self, rooms: &Rooms) {
        for room in &self.rooms {
            rooms.leave(&self.namespace, room, &self.sid);
        }
    }
}

/// What a [`Handler`] can do for one client in one namespace.
pub struct Socket<'a> {
    joined: &'a mut Joined,
    mailbox: &'a Arc<Mailbox>,
    shared: &'a Shared,
    now: Time,
    /// Where packets wait until the client knows that it has joined.
    held: Option<Vec<Outgoing>>,
}

impl<'a> Socket<'a> {
    fn new(
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
