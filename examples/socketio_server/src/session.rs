//! Socket.IO over Engine.IO: one client's namespaces, a state machine without I/O and clock too.
//!
//! ```text
//! text --> packet --> 0 connect     the handler admits, or refuses
//!                     1 disconnect
//!                     2 event       the handler acts on it
//!                     3 ack         goes to who asked
//!                     5-, 6-        wait for their attachments, which are binary messages
//! ```
//!
//! A client of revision 3 speaks the packets of Socket.IO 2, which differ in CONNECT alone: the main
//! namespace is joined without asking, what `auth` would say stands behind the name of another, such
//! as `/admin?token=secret`, and the answers are shorter. The [`Handler`] sees nothing of that.
use crate::{
    engine::{
        self, End, Malformed, Opening, Revision,
        mailbox::Mailbox,
        session::{Layer, Layers},
    },
    handler::{Ack, Event, Handler, Joined, NoAnswer, Refusal, Socket},
    packet::{Args, Body, MAIN, Outgoing, Packet},
    rooms::Rooms,
    settings::Settings,
};
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeMap, sync::Arc};
use tickwire::Time;

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

impl Layers for Shared {
    fn begin(&self, opening: Opening, mailbox: &Arc<Mailbox>, now: Time) -> Box<dyn Layer> {
        let mut client = Client {
            revision: opening.revision,
            mailbox: mailbox.clone(),
            joined: Vec::new(),
            connect_by: Some(now + self.settings.connect_timeout),
            assembly: None,
            shared: self.clone(),
        };
        if client.revision == Revision::V3 {
            client.connect(MAIN, None, now);
        }
        Box::new(client)
    }
}

/// One client. Dropping it leaves all rooms.
struct Client {
    shared: Shared,
    revision: Revision,
    mailbox: Arc<Mailbox>,
    joined: Vec<Joined>,
    /// By when a namespace has to be joined; `None` once one was.
    connect_by: Option<Time>,
    assembly: Option<Assembly>,
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

impl Layer for Client {
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

    fn binary(&mut self, bytes: &[u8], now: Time) -> Result<(), End> {
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

    fn excuse(&mut self, now: Time) {
        if let Some(assembly) = &mut self.assembly {
            assembly.by = now + self.shared.settings.attachment_timeout;
        }
        let by = now + self.shared.settings.ack_timeout;
        for (asked_by, _) in self.joined.iter_mut().flat_map(|joined| joined.asked.values_mut()) {
            *asked_by = by;
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let assembly = self.assembly.as_ref().map(|assembly| assembly.by);
        let owed = self.joined.iter().filter_map(Joined::owed_by);
        self.connect_by.into_iter().chain(assembly).chain(owed).min()
    }

    fn handle_timeout(&mut self, now: Time) -> Result<(), End> {
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
}

impl Client {
    /// A packet that is whole.
    fn packet(&mut self, packet: Packet<'_>, attachments: &[Bytes], now: Time) -> Result<(), End> {
        let Packet { namespace, id, body, .. } = packet;
        if let Body::Connect(auth) = body {
            match (self.revision, namespace.split_once('?')) {
                (Revision::V3, Some((namespace, query))) => {
                    self.connect(namespace, object(query).as_deref(), now);
                }
                _ => self.connect(namespace, auth, now),
            }
            return Ok(());
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
    fn connect(&mut self, namespace: &str, auth: Option<&RawValue>, now: Time) {
        if let Some(at) = self.joined.iter().position(|joined| joined.namespace == namespace) {
            self.leave(at);
        }
        let revision = self.revision;
        let rejection =
            |Refusal(why)| self.mailbox.push(Outgoing::refused(revision, namespace, why));
        if self.joined.len() >= self.shared.settings.max_namespaces {
            return rejection(Refusal("Too many namespaces"));
        }
        let Ok(sid) = engine::session_id() else {
            return rejection(Refusal("No entropy"));
        };
        let mut joined = Joined::new(namespace, sid);
        let mut socket = Socket::new(&mut joined, &self.mailbox, &self.shared, now);
        socket.held = Some(Vec::new());
        let admitted = self.shared.handler.connect(&mut socket, auth);
        let held = socket.held.take().unwrap_or_default();
        match admitted {
            Ok(()) => {
                self.mailbox.push(Outgoing::connected(revision, namespace, &joined.sid));
                held.into_iter().for_each(|packet| self.mailbox.push(packet));
                self.joined.push(joined);
                self.connect_by = None;
            }
            Err(refusal) => {
                joined.leave_rooms(&self.shared.rooms);
                rejection(refusal);
            }
        }
    }

    fn leave(&mut self, at: usize) {
        self.joined.swap_remove(at).leave_rooms(&self.shared.rooms);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for joined in &self.joined {
            joined.leave_rooms(&self.shared.rooms);
        }
    }
}

/// A query as the object that `auth` would be.
fn object(query: &str) -> Option<Box<RawValue>> {
    let pairs: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    to_raw_value(&pairs).ok()
}
