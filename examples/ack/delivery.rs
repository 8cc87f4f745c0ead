//! What it takes to lose nothing and to do nothing twice, whatever happens to connections: numbers,
//! and a small state at each end. This module has no I/O and no WebSocket.
//!
//! ```text
//! sender    number, payload  -->    receiver does it once, in order
//!           forgets up to n  <--    "I have all up to n"
//! after a reconnect:         <--    "I have all up to n"; then the sender sends the rest again
//! ```
//!
//! On the wire, an order is its number (eight bytes, big-endian), then its payload. An
//! acknowledgement is the number alone.
//!
//! A real application keeps both states on a disk. Here they live as long as the process.
use std::collections::VecDeque;

/// The state of the sender: all messages that the receiver has not acknowledged. Their number is
/// bounded, so a receiver that is away for long does not fill the memory.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// The messages, oldest first. Their numbers have no gaps.
    messages: VecDeque<Vec<u8>>,
    /// The number of the oldest message.
    first: u64,
    limit: usize,
}

impl Unacked {
    pub(crate) fn new(limit: usize) -> Self {
        Self { messages: VecDeque::new(), first: 1, limit }
    }

    /// Remembers a message and returns its number. `None` if too many messages wait.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Option<u64> {
        if self.messages.len() >= self.limit {
            return None;
        }
        self.messages.push_back(payload.to_vec());
        Some(self.first + self.messages.len() as u64 - 1)
    }

    /// Says that the receiver has all messages up to this number.
    pub(crate) fn acked(&mut self, up_to: u64) {
        while self.first <= up_to && self.messages.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// The messages to send again after a reconnect.
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

/// The state of the receiver: it has all messages up to a number.
#[derive(Debug, Default)]
pub(crate) struct Received {
    up_to: u64,
}

impl Received {
    /// Returns whether this message is new, so that the caller has to act on it now. Returns
    /// `false` for a message that was sent again. Returns an error for a gap: a connection cannot
    /// cause one, but a bug can.
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

    /// All messages up to this number have arrived.
    pub(crate) fn up_to(&self) -> u64 {
        self.up_to
    }
}

/// Encodes an order.
pub(crate) fn order(number: u64, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), payload].concat()
}

/// Splits a message into the number and the rest. `None` if the message is too short.
pub(crate) fn read(message: &[u8]) -> Option<(u64, &[u8])> {
    let (number, payload) = message.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), payload))
}
