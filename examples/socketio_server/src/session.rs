//! Socket.IO over Engine.IO: one client's namespaces, a state machine without I/O and clock too.
//!
//! ```text
//! text --> packet --> 0 connect     the namespace admits, or refuses
//!                     1 disconnect
//!                     2 event       a handler acts on it
//!                     3 ack         goes to who asked
//!                     5-, 6-        wait for their attachments, which are binary messages
//! ```
//!
//! A client of revision 3 speaks the packets of Socket.IO 2, which differ in CONNECT alone: the
//! main namespace is joined without asking, what `auth` would say stands behind the name of
//! another, such as `/admin?token=secret`, and the answers are shorter. The application sees
//! nothing of that.
use crate::{
    engine::{self, End, Malformed, Opening, Revision, mailbox::Mailbox, session::Layer},
    io::{Ack, Io, Joined, NoAnswer, Refusal, Socket},
    packet::{Args, Body, MAIN, Outgoing, Packet},
};
use bytes::Bytes;
use serde_json::{json, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tickwire::Time;

/// How long a client has to learn that it is disconnected, and to close its connection: it may be
/// between two polls, or on its way to a WebSocket.
const CLOSING: Duration = Duration::from_secs(5);

impl Io {
    /// A client comes.
    pub fn begin(&self, opening: Opening, mailbox: &Arc<Mailbox>, now: Time) -> Box<dyn Layer> {
        let mut client = Client {
            io: self.clone(),
            revision: opening.revision,
            mailbox: mailbox.clone(),
            joined: Vec::new(),
            connect_by: Some(now + self.settings.connect_timeout),
            put_out_of: BTreeSet::new(),
            closing: false,
            assembly: None,
        };
        if client.revision == Revision::V3 {
            client.connect(MAIN, None, now);
        }
        Box::new(client)
    }
}

/// One client. Dropping it leaves all rooms.
struct Client {
    io: Io,
    revision: Revision,
    mailbox: Arc<Mailbox>,
    joined: Vec<Joined>,
    /// By when a namespace has to be joined, if none is.
    connect_by: Option<Time>,
    /// The application has disconnected these, of which the client may not know yet.
    put_out_of: BTreeSet<String>,
    /// And it may join no other.
    closing: bool,
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
        let settings = &self.io.settings;
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
        self.packet(packet, Vec::new(), now)
    }

    fn binary(&mut self, bytes: &[u8], now: Time) -> Result<(), End> {
        let settings = &self.io.settings;
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
        self.packet(Packet::parse(&whole.text, max)?, whole.attachments, now)
    }

    fn excuse(&mut self, now: Time) {
        if let Some(assembly) = &mut self.assembly {
            assembly.by = now + self.io.settings.attachment_timeout;
        }
        for asked in self.joined.iter_mut().flat_map(|joined| joined.asked.values_mut()) {
            asked.by = now + asked.timeout;
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let assembly = self.assembly.as_ref().map(|assembly| assembly.by);
        let asked = self.joined.iter().flat_map(|joined| joined.asked.values());
        let owed = asked.map(|asked| asked.by);
        self.connect_by.into_iter().chain(assembly).chain(owed).min()
    }

    fn handle_timeout(&mut self, now: Time) -> Result<(), End> {
        if self.connect_by.is_some_and(|by| by <= now) {
            return Err(if self.closing { End::Disconnected } else { End::ConnectTimeout });
        }
        if self.assembly.as_ref().is_some_and(|assembly| assembly.by <= now) {
            return Err(End::AttachmentTimeout);
        }
        for joined in &mut self.joined {
            // Those that are asked anew below have their time, however short.
            let due = joined.asked.iter().filter(|(_, asked)| asked.by <= now).map(|(&id, _)| id);
            for id in due.collect::<Vec<_>>() {
                if let Some(asked) = joined.asked.remove(&id) {
                    let mut socket = Socket { joined, mailbox: &self.mailbox, io: &self.io, now };
                    (asked.then)(&mut socket, Err(NoAnswer));
                }
            }
        }
        self.put_out(now);
        Ok(())
    }

    fn end(&mut self, reason: &str, now: Time) {
        while let Some(last) = self.joined.len().checked_sub(1) {
            self.leave(last, reason, now);
        }
    }
}

impl Client {
    /// A packet that is whole.
    fn packet(
        &mut self,
        packet: Packet<'_>,
        attachments: Vec<Bytes>,
        now: Time,
    ) -> Result<(), End> {
        let Packet { namespace, id, body, .. } = packet;
        if self.closing {
            return Ok(());
        }
        if let Body::Connect(auth) = body {
            match (self.revision, namespace.split_once('?')) {
                (Revision::V3, Some((namespace, query))) => {
                    self.connect(namespace, Some(&object(query)), now);
                }
                _ => self.connect(namespace, auth.map(RawValue::get), now),
            }
            self.put_out(now);
            return Ok(());
        }
        let found = self.joined.iter().position(|joined| joined.namespace == namespace);
        let at = match found {
            Some(at) => at,
            None if self.put_out_of.contains(namespace) => return Ok(()),
            None => return Err(Malformed("packet for a namespace that was not joined").into()),
        };
        if let Body::Disconnect = body {
            self.leave(at, "client namespace disconnect", now);
            return Ok(());
        }
        let Some(joined) = self.joined.get_mut(at) else { return Ok(()) };
        match body {
            Body::Event(name, values) => {
                let handlers = self.io.namespaces.get(namespace);
                if let Some(handler) = handlers.and_then(|found| found.events.get(&*name)) {
                    let mut socket = Socket { joined, mailbox: &self.mailbox, io: &self.io, now };
                    handler(&mut socket, Args::received(values, attachments), Ack(id));
                }
            }
            Body::Ack(values) => {
                // Nobody waits for one that is late.
                if let Some(asked) = id.and_then(|id| joined.asked.remove(&id)) {
                    let mut socket = Socket { joined, mailbox: &self.mailbox, io: &self.io, now };
                    (asked.then)(&mut socket, Ok(Args::received(values, attachments)));
                }
            }
            Body::Connect(_) | Body::Disconnect => {} // see above
        }
        self.put_out(now);
        Ok(())
    }

    /// Clients connect twice at times, for which they get a socket each, and only the last one
    /// stays: with a new id and in no room.
    fn connect(&mut self, namespace: &str, auth: Option<&str>, now: Time) {
        if let Some(at) = self.joined.iter().position(|joined| joined.namespace == namespace) {
            self.leave(at, "client namespace disconnect", now);
        }
        let auth = auth.map_or_else(Args::default, Args::json);
        let sid = match self.admit(namespace, &auth) {
            Ok(sid) => sid,
            Err(Refusal(why)) => {
                return self.mailbox.push(Outgoing::refused(self.revision, namespace, why));
            }
        };
        self.mailbox.push(Outgoing::connected(self.revision, namespace, &sid));
        self.io.rooms.join(namespace, None, &sid, &self.mailbox);
        self.connect_by = None;
        self.put_out_of.remove(namespace);
        self.joined.push(Joined::new(namespace, sid));
        let (Some(joined), Some(found)) =
            (self.joined.last_mut(), self.io.namespaces.get(namespace))
        else {
            return;
        };
        let mut socket = Socket { joined, mailbox: &self.mailbox, io: &self.io, now };
        for handler in &found.connection {
            handler(&mut socket, auth.clone());
        }
    }

    /// The id of a new socket, if there may be one.
    fn admit(&self, namespace: &str, auth: &Args<'_>) -> Result<String, Refusal> {
        let found = self.io.namespaces.get(namespace).ok_or(Refusal("Invalid namespace"))?;
        if auth.to_string().len() > self.io.settings.max_auth {
            return Err(Refusal("Too long"));
        }
        if let Some(allow) = &found.allow {
            allow(auth)?;
        }
        if self.joined.len() >= self.io.settings.max_namespaces {
            return Err(Refusal("Too many namespaces"));
        }
        engine::session_id().map_err(|_| Refusal("No entropy"))
    }

    /// Disconnects the sockets of this client that the application wants to be rid of.
    fn put_out(&mut self, now: Time) {
        while let Some((sid, close)) = self.mailbox.take_put_out() {
            let found = self.joined.iter().position(|joined| joined.sid == sid);
            let Some(at) = found else { continue };
            let others = if close { 0..self.joined.len() } else { at..at + 1 };
            for at in others.rev() {
                if let Some(joined) = self.joined.get(at) {
                    self.mailbox.push(Outgoing::disconnected(&joined.namespace));
                    self.put_out_of.insert(joined.namespace.clone());
                }
                self.leave(at, "server namespace disconnect", now);
            }
            if close {
                self.closing = true;
                self.connect_by = Some(now + CLOSING);
            }
        }
    }

    fn leave(&mut self, at: usize, reason: &str, now: Time) {
        let Some(joined) = self.joined.get_mut(at) else { return };
        joined.gone = true;
        let found = self.io.namespaces.get(&joined.namespace);
        let mut socket = Socket { joined, mailbox: &self.mailbox, io: &self.io, now };
        for handler in found.into_iter().flat_map(|found| &found.disconnecting) {
            handler(&mut socket, reason);
        }
        let mut joined = self.joined.swap_remove(at);
        joined.leave_rooms(&self.io.rooms);
        if self.joined.is_empty() {
            self.connect_by = Some(now + self.io.settings.connect_timeout);
        }
        let mut socket = Socket { joined: &mut joined, mailbox: &self.mailbox, io: &self.io, now };
        for handler in found.into_iter().flat_map(|found| &found.disconnect) {
            handler(&mut socket, reason);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for joined in &self.joined {
            joined.leave_rooms(&self.io.rooms);
        }
    }
}

/// A query as the object that `auth` would be.
fn object(query: &str) -> String {
    let pairs: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    json!(pairs).to_string()
}
