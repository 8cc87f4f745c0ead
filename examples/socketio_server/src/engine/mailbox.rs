//! The queue in front of each client, which everybody who has something for it pushes into, and
//! from which the transport takes it that the client has now.
//!
//! It is bounded in bytes. Whoever is further behind is disconnected and may connect again;
//! dropping packets instead would drop acknowledgements, and parts of packets.
use super::{Binary, Opening, payload};
use crate::packet::Outgoing;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tickwire::{CloseCode, CloseFrame, DataKind, Message, Outbound, Prepared, SendError, Sender};
use tickwire_parts::Outbox;
use tokio::sync::Notify;

/// What a message counts for beside its bytes.
const OVERHEAD: usize = 64;

/// A message that waits.
#[derive(Clone, Debug)]
pub enum Part {
    /// An Engine.IO packet as text.
    Text(String),
    /// Bytes of the layer above.
    Binary(Bytes),
    /// Either, encoded once for many clients.
    Shared(DataKind, Prepared),
}

impl Part {
    /// What it says.
    pub fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
            Self::Shared(DataKind::Binary, shared) => Message::Binary(shared.payload()),
            Self::Shared(DataKind::Text, shared) => {
                Message::Text(str::from_utf8(shared.payload()).unwrap_or_default()) // it was one
            }
        }
    }

    /// As a WebSocket message.
    fn outbound(self, opening: Opening) -> Outbound<'static> {
        match (self.message(), opening.binary) {
            (Message::Binary(bytes), Binary::Typed) => payload::typed(bytes).into(),
            (Message::Binary(bytes), Binary::Base64) => {
                payload::in_base64(opening.mark(), bytes).into()
            }
            _ => match self {
                Self::Text(text) => text.into(),
                Self::Binary(bytes) => bytes.into(),
                Self::Shared(_, shared) => shared.into(),
            },
        }
    }

    fn cost(&self) -> usize {
        self.message().as_bytes().len() + OVERHEAD
    }
}

/// How far a client is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// So many bytes wait.
    pub bytes: usize,
    /// They were too many.
    pub too_slow: bool,
}

/// What waits for a client.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    max_bytes: usize,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    parts: VecDeque<Part>,
    bytes: usize,
    too_slow: bool,
    /// Sockets to disconnect, and whether the connection with them.
    put_out: BTreeMap<String, bool>,
}

impl Queue {
    fn pop(&mut self) -> Option<Part> {
        let part = self.parts.pop_front()?;
        self.bytes -= part.cost();
        Some(part)
    }
}

impl Mailbox {
    /// An empty one, for at most so many bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), max_bytes, arrived: Notify::new() }
    }

    /// Queues a packet, for a task that looks at its mailbox anyway: its own.
    pub fn push(&self, packet: Outgoing) {
        let attachments = packet.attachments.into_iter().map(Part::Binary);
        self.queue(std::iter::once(Part::Text(packet.text)).chain(attachments));
    }

    /// Queues an Engine.IO packet.
    pub fn push_engine(&self, packet: impl Into<String>) {
        self.queue([Part::Text(packet.into())]);
    }

    /// Queues bytes of the layer above.
    pub fn push_binary(&self, bytes: Bytes) {
        self.queue([Part::Binary(bytes)]);
    }

    /// Queues a packet that somebody else sent.
    pub fn deliver(&self, packet: &[Part]) {
        self.queue(packet.iter().cloned());
        self.arrived.notify_one();
    }

    /// Has a socket disconnected by its own task; with `close` its connection too.
    pub fn put_out(&self, sid: &str, close: bool) {
        *self.lock().put_out.entry(sid.into()).or_default() |= close;
        self.arrived.notify_one();
    }

    /// Takes a socket that is to be disconnected.
    pub fn take_put_out(&self) -> Option<(String, bool)> {
        self.lock().put_out.pop_first()
    }

    /// All parts or none, and nothing in between. The bound once passed, it takes nothing.
    fn queue(&self, parts: impl IntoIterator<Item = Part>) {
        let mut queue = self.lock();
        for part in parts {
            if queue.too_slow {
                return;
            }
            queue.bytes += part.cost();
            queue.parts.push_back(part);
            if queue.bytes > self.max_bytes && queue.parts.len() > 1 {
                *queue = Queue { too_slow: true, ..Queue::default() };
            }
        }
    }

    /// Hands a WebSocket what it may take now.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] where nothing can be sent any more.
    pub fn feed(&self, tx: &mut Sender, opening: Opening) -> Result<Behind, SendError> {
        let mut queue = self.lock();
        if queue.too_slow {
            tx.abort(CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, "too slow"))?;
        }
        while tx.buffered_amount() < Outbox::MAX_UNSENT
            && tx.has_room()
            && let Some(part) = queue.pop()
        {
            tx.feed(part.outbound(opening))?;
        }
        Ok(Behind { bytes: queue.bytes, too_slow: queue.too_slow })
    }

    /// Takes what waits longest, for the answer to a poll: at most so many parts, and no more once
    /// they have so many bytes.
    pub fn take(&self, max_parts: usize, enough: usize) -> Vec<Part> {
        let mut queue = self.lock();
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while parts.len() < max_parts
            && bytes < enough
            && let Some(part) = queue.pop()
        {
            bytes += part.cost();
            parts.push(part);
        }
        parts
    }

    /// How much waits.
    pub fn behind(&self) -> Behind {
        let queue = self.lock();
        Behind { bytes: queue.bytes, too_slow: queue.too_slow }
    }

    /// Waits until somebody else has pushed something. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// What a panic elsewhere may have left is whole: nothing here is half done when it could
    /// panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
