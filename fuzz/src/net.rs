//! The model of the target `net`: the connections of a loop as its events tell them, the messages
//! on their way, and peers that write anything to a plain stream.
pub mod command;

use crate::{begin_frame, head, reference, tls};
use command::Command;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    vec,
};
use tickwire::Config;
use tickwire_loop::{Door, Handle, SendError, Sent, Timer};
use tickwire_parts::PushError;

const REQUEST: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The messages that one end sends.
#[derive(Default)]
pub struct Flow {
    /// The hashes of the messages that were accepted and have not arrived.
    pub pending: VecDeque<u64>,
    /// Messages may be dropped, or overtake others.
    pub loose: bool,
    /// The sender is a raw peer, so that any message may arrive.
    pub raw: bool,
}

impl Flow {
    /// Checks that the message was sent, comes once and is not overtaken.
    pub fn delivered(&mut self, message: &[u8]) {
        if self.raw {
            return;
        }
        let at = self.pending.iter().position(|of| *of == hash(message));
        let at = at.expect("a message that was sent, and comes once");
        assert!(at == 0 || self.loose, "{at} messages are lost or overtaken");
        self.pending.remove(at);
    }
}

fn hash(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

/// A connection that has a value.
#[derive(Default)]
pub struct Connection {
    pub open: bool,
    pub closing: bool,
    /// `Net::accept` accepted the connection, and `Event::Open` has not come.
    pub accepted: bool,
    /// The connection refused a message, and `Event::Room` has not come since.
    pub refused: bool,
    /// One of the connections that a message was sent to refused it, perhaps this one.
    pub perhaps_refused: bool,
    /// The index in `Model::flows`, which has the flows of both ends.
    pub pair: usize,
    /// The index of this end's flow: 0 for a client, 1 for a server.
    pub end: usize,
}

/// A peer that writes anything.
pub struct Raw {
    stream: TcpStream,
    pair: usize,
    /// The number of bytes of the request that are written.
    asked: usize,
    /// The received bytes that are not read yet.
    got: Vec<u8>,
    /// The server has accepted the request.
    in_frames: bool,
    /// The message that is not complete.
    message: Option<Vec<u8>>,
    /// The server has ended the stream.
    over: bool,
}

impl Raw {
    /// Writes at most `most` further bytes of the request.
    pub fn ask(&mut self, most: u8) {
        let rest = &REQUEST[self.asked..];
        self.asked += self.write(&rest[..rest.len().min(most.into())]);
    }

    /// Writes a message, or its beginning if the stream does not take more.
    pub fn say(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        begin_frame(&mut frame, 0x82, true, message.len());
        frame.extend([0; 4]);
        frame.extend_from_slice(message);
        self.write(&frame);
    }

    /// Returns the number of bytes that the stream took.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.stream.write(bytes).unwrap_or(0)
    }

    /// Reads once. Returns the messages that are now complete.
    fn hear(&mut self) -> Vec<Vec<u8>> {
        let mut part = [0; 1 << 16];
        match self.stream.read(&mut part) {
            Ok(0) => self.over = true,
            Ok(n) => self.got.extend_from_slice(&part[..n]),
            Err(error) => self.over |= error.kind() != ErrorKind::WouldBlock,
        }
        let mut messages = Vec::new();
        if !self.in_frames {
            let Some(head) = head::Head::read(&self.got) else { return messages };
            // A rejection is not followed by frames.
            self.in_frames = head.first.starts_with(b"HTTP/1.1 101 ");
            let len = head.len;
            self.got.drain(..len);
        }
        while self.in_frames && !self.got.is_empty() {
            let head = reference::Head::read(&self.got);
            let wrong = head.wrong(false, self.message.is_some());
            assert!(wrong.is_empty(), "the server sent {wrong:?}");
            let Some((start, len)) = head.end.zip(head.len) else { break };
            let end = start + len as usize;
            let Some(payload) = self.got.get(start..end) else { break };
            if head.opcode < 8 {
                self.message.get_or_insert_default().extend_from_slice(payload);
                messages.extend(self.message.take_if(|_| head.fin));
            }
            self.got.drain(..end);
        }
        messages
    }
}

/// What the program knows of its loop.
#[derive(Default)]
pub struct Model {
    pub living: BTreeMap<Handle, Connection>,
    /// The deferred requests, with the numbers of their pairs.
    pub asked: Vec<(Handle, usize)>,
    /// The connection whose request the handler has.
    pub asks: Option<Handle>,
    pub gone: Vec<Handle>,
    /// The flows of each pair of ends: of the client, and of the server.
    pub flows: Vec<[Flow; 2]>,
    pub raw: Vec<Raw>,
    /// The pairs of all raw peers so far, by the peers' addresses.
    pub raw_pairs: HashMap<SocketAddr, usize>,
    /// The pairs of the dialed connections, by the paths of their requests.
    pub dialed: HashMap<String, usize>,
    /// The addresses at which the loop listens, and whether with TLS.
    pub doors: Vec<(SocketAddr, bool)>,
    pub timers: Vec<(Timer, u64)>,
    /// The number of messages and timers so far, which makes each of them unique.
    pub made: u64,
    pub requests: u32,
    pub over_queued: u64,
    /// A wake-up has not come yet.
    pub wakes: bool,
    pub shuts: bool,
    pub stops: bool,
    /// The number of messages that are still echoed.
    pub echoes: u8,
    /// The commands of the next events, one for each event.
    pub inside: vec::IntoIter<Command>,
    pub config: Config,
    pub in_place: bool,
    pub stamps: bool,
}

impl Model {
    /// Picks a connection, a request, or a handle that names nothing any more.
    pub fn pick(&self, which: u8) -> Option<Handle> {
        let mut all: Vec<_> = self.living.keys().copied().collect();
        all.extend(self.asked.iter().map(|(handle, _)| *handle).chain(self.asks));
        all.extend(self.gone.iter().rev().take(2));
        (!all.is_empty()).then(|| all[which as usize % all.len()])
    }

    /// Returns a number that was not returned before.
    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Makes a message that differs from all others.
    pub fn message(&mut self, len: u16) -> Vec<u8> {
        let number = self.number();
        let mut message = vec![number as u8; len.into()];
        message.extend(number.to_be_bytes());
        message
    }

    /// Adds the flows of a client, perhaps a raw peer, and its server.
    fn pair(&mut self, raw: bool) -> usize {
        self.flows.push([Flow { raw, ..Flow::default() }, Flow::default()]);
        self.flows.len() - 1
    }

    fn flow(&mut self, of: Handle) -> Option<&mut Flow> {
        let of = self.living.get(&of)?;
        Some(&mut self.flows[of.pair][of.end])
    }

    /// Allows that messages of this connection are dropped or overtaken.
    fn loosen(&mut self, of: Handle) {
        self.flow(of).into_iter().for_each(|flow| flow.loose = true);
    }

    /// Notes that a connection has a value now.
    pub fn begin(&mut self, handle: Handle, pair: usize, end: usize) {
        let connection = Connection { pair, end, ..Connection::default() };
        assert!(self.living.insert(handle, connection).is_none(), "a handle is used again");
    }

    /// Notes that a connection or a request has ended.
    pub fn end(&mut self, handle: Handle) -> Option<Connection> {
        self.gone.push(handle);
        self.asked.retain(|(asked, _)| *asked != handle);
        self.living.remove(&handle)
    }

    /// Notes what became of a message to a connection.
    pub fn sent(&mut self, to: Handle, message: &[u8], sent: Result<(), SendError>) {
        let Some(connection) = self.living.get_mut(&to) else {
            return assert_eq!(sent, Err(SendError::NotOpen));
        };
        match sent {
            Ok(()) => {
                assert!(connection.open || connection.accepted);
                let flow = &mut self.flows[connection.pair][connection.end];
                flow.pending.push_back(hash(message));
            }
            // The loop may have disconnected it over the limit on queued bytes.
            Err(SendError::NotOpen) => {}
            Err(
                SendError::Refused(tickwire::SendError::Full { .. })
                | SendError::Outbox(PushError::Full),
            ) => connection.refused = true,
            Err(_) => {}
        }
    }

    /// Notes what became of a message to several connections.
    fn sent_to(&mut self, to: &[Handle], message: &[u8], sent: Sent) {
        assert_eq!(sent.taken + sent.refused + sent.not_open, to.len());
        for handle in to {
            let Some(connection) = self.living.get_mut(handle) else { continue };
            let flow = &mut self.flows[connection.pair][connection.end];
            if sent.taken > 0 {
                flow.pending.push_back(hash(message));
            }
            // Nothing tells which connections refused it.
            flow.loose |= sent.taken < to.len();
            connection.perhaps_refused |= sent.refused > 0;
        }
    }

    /// Reads from a raw peer's stream once, and checks the messages.
    pub fn hear(&mut self, at: usize) {
        let raw = &mut self.raw[at];
        for message in raw.hear() {
            self.flows[raw.pair][1].delivered(&message);
        }
    }

    /// Adds a raw peer. Does nothing if an earlier raw peer had the same address: streams to
    /// different doors may share a port.
    pub fn raw(&mut self, stream: TcpStream) {
        stream.set_nonblocking(true).expect("a socket");
        let address = stream.local_addr().expect("a socket");
        if self.raw_pairs.contains_key(&address) {
            return;
        }
        let pair = self.pair(true);
        self.raw_pairs.insert(address, pair);
        let (got, in_frames, message, over) = (Vec::new(), false, None, false);
        self.raw.push(Raw { stream, pair, asked: 0, got, in_frames, message, over });
    }

    /// Adds a pair whose client is dialed. Returns the path of its request.
    fn dialed(&mut self) -> (usize, String) {
        let pair = self.pair(false);
        // Raw peers cannot guess the path.
        let path = format!("/{:x}", RandomState::new().hash_one(pair));
        self.dialed.insert(path.clone(), pair);
        (pair, path)
    }

    /// Returns the pair of the client that sent a request.
    pub fn pair_of(&self, path: &str, address: SocketAddr) -> usize {
        // A dialed client may share its port with a raw peer.
        *self.dialed.get(path).unwrap_or_else(|| &self.raw_pairs[&address])
    }

    /// Makes a door with the settings of this input.
    fn door(&self, tls: bool) -> Door {
        let door = Door::new(self.config.clone()).timestamps(self.stamps);
        if tls { door.tls(tls::shared(self.in_place).0) } else { door }
    }

    /// Returns whether every accepted message has arrived that has to, and every refusal got Room.
    pub fn is_quiet(&self) -> bool {
        let open = |pair, end| {
            let mut all = self.living.values();
            all.any(|other| (other.pair, other.end) == (pair, end) && other.open)
        };
        self.living.values().all(|of| {
            let raw = self.raw.iter().find(|raw| raw.pair == of.pair);
            let heard = match raw {
                Some(raw) => !raw.over,
                None => open(of.pair, 1 - of.end),
            };
            let flow = &self.flows[of.pair][of.end];
            !of.open
                || !heard
                || (flow.pending.is_empty() || flow.loose) && (!of.refused || of.closing)
        })
    }
}
