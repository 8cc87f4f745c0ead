//! What it takes to lose nothing and to do nothing twice, whatever becomes of connections: numbers,
//! and two small pieces of state. No I/O, and no WebSocket.
//!
//! ```text
//! sender    number, payload  -->    receiver does it once, in order
//!           forgets up to n  <--    "I have all up to n"
//! after a reconnect:         <--    "I have all up to n"; then the sender sends the rest again
//! ```
//!
//! On the wire an order is its number, eight bytes, big-endian, and its payload; an acknowledgement
//! is the number alone.
//!
//! A real application writes both down, where a crash does not reach them; here they live as long
//! as the process.
use std::collections::VecDeque;

/// What the sender remembers: all messages that the receiver has not said it has. Bounded, since
/// nobody can wait for ever.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// Oldest first, numbered without gaps.
    messages: VecDeque<Vec<u8>>,
    /// The number of the oldest.
    first: u64,
    limit: usize,
}

impl Unacked {
    pub(crate) fn new(limit: usize) -> Self {
        Self { messages: VecDeque::new(), first: 1, limit }
    }

    /// Remembers a message and gives it its number; `None` when too many wait.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Option<u64> {
        if self.messages.len() >= self.limit {
            return None;
        }
        self.messages.push_back(payload.to_vec());
        Some(self.first + self.messages.len() as u64 - 1)
    }

    /// The receiver has all up to this number.
    pub(crate) fn acked(&mut self, up_to: u64) {
        while self.first <= up_to && self.messages.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// What is to be sent again after a reconnect.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.messages.iter().map(Vec::as_slice))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.messages.len() < self.limit
    }
}

/// What the receiver remembers: how far it is.
#[derive(Debug, Default)]
pub(crate) struct Received {
    up_to: u64,
}

impl Received {
    /// Whether this message is new and to be acted on now. `false` for one that was sent again; an
    /// error for a gap, which a connection cannot make, but a bug can.
    pub(crate) fn take(&mut self, number: u64) -> Result<bool, String> {
        match number {
            n if n <= self.up_to => Ok(false),
            n if n == self.up_to + 1 => {
                self.up_to = n;
                Ok(true)
            }
            n => Err(format!("message {n} behind {}", self.up_to)),
        }
    }

    /// All up to this number is here.
    pub(crate) fn up_to(&self) -> u64 {
        self.up_to
    }
}

/// An order for the wire.
pub(crate) fn order(number: u64, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), payload].concat()
}

/// The number and what is behind it; `None` for what is too short.
pub(crate) fn read(message: &[u8]) -> Option<(u64, &[u8])> {
    let (number, payload) = message.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), payload))
}
