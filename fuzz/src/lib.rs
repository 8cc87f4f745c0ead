//! What the fuzz targets share: a receiver written a second time, and ways to cut a wire.
//!
//! Nothing in `reference` calls the crate under test, except for the names of its errors.
pub mod cuts;
pub mod head;
pub mod inflate;
pub mod payload;
pub mod peers;
pub mod reference;

use cuts::Cuts;
use tickwire::{Connection, Entropy, Event, Message, RecvError, Sender, Step};

/// Masking keys that differ from each other and are the same in every run.
pub struct Keys(pub u64);

impl Entropy for Keys {
    fn fill(&mut self, dest: &mut [u8]) {
        for byte in dest {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A connection past its handshake.
pub fn connection(client: bool, config: &tickwire::Config) -> Connection {
    let negotiated = tickwire::Negotiated::new();
    if client {
        Connection::client(config, negotiated, Keys(1))
    } else {
        Connection::server(config, negotiated)
    }
}

/// Writes at most `most` bytes of what is outgoing to `to`, one chunk at a time; returns how many.
pub fn write(tx: &mut Sender, to: &mut Vec<u8>, most: usize) -> usize {
    use bytes::Buf;
    let mut written = 0;
    let mut out = tx.outgoing();
    while written < most && out.has_remaining() {
        let chunk = out.chunk();
        assert!(!chunk.is_empty(), "something remains, but its chunk is empty");
        let n = chunk.len().min(most - written);
        to.extend_from_slice(&chunk[..n]);
        out.advance(n);
        written += n;
    }
    written
}

/// What a connection made of its input.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    pub events: Vec<reference::Event>,
    pub error: Option<RecvError>,
}

/// Hands `wire` to a connection, and takes all there is.
pub fn play(conn: &mut Connection, mut wire: &[u8], cuts: &mut Cuts) -> Seen {
    let mut seen = Seen::default();
    loop {
        match conn.step() {
            Ok(Step::NeedInput) if wire.is_empty() => return seen,
            Ok(Step::NeedInput) => {
                let spare = conn.receiver_mut().spare_mut();
                // Longer pieces where much waits, or single bytes would take for ever.
                let n = cuts.next().unwrap_or(1).saturating_mul(1 + wire.len() / 4096);
                let n = n.min(spare.len()).min(wire.len());
                spare[..n].copy_from_slice(&wire[..n]);
                conn.receiver_mut().commit(n);
                wire = &wire[n..];
            }
            Ok(Step::Closed) => return seen,
            Ok(_) => seen.events.extend(conn.receiver().event().map(event)),
            Err(error) => {
                seen.error = Some(error);
                return seen;
            }
        }
    }
}

/// The same event in the reference's words.
pub fn event(event: Event<'_>) -> reference::Event {
    match event {
        Event::Message(message) => reference::Event::Message {
            text: matches!(message, Message::Text(_)),
            payload: message.as_bytes().to_vec(),
        },
        Event::Ping(payload) => reference::Event::Ping(payload.to_vec()),
        Event::Pong(payload) => reference::Event::Pong(payload.to_vec()),
        Event::Close(frame) => reference::Event::Close(frame.map_or(vec![], |frame| {
            [&frame.code.get().to_be_bytes()[..], frame.reason.as_bytes()].concat()
        })),
    }
}
