//! What the fuzz targets share: a receiver written a second time, and ways to cut a wire.
//!
//! Nothing in `reference` calls the crate under test, except for the names of its errors.
pub mod cuts;
pub mod head;
pub mod inflate;
pub mod payload;
pub mod peers;
pub mod reference;
pub mod tls;

use cuts::Cuts;
use tickwire::{Connection, Entropy, Event, Message, RecvError, Sender, Step, handshake::Reading};

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
    let negotiated = tickwire::Negotiated::default();
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

/// One read of a handshake, of at most `most` bytes of `wire`, which it takes off.
pub fn read_head(reading: &mut Reading, wire: &mut &[u8], most: usize) {
    let spare = reading.spare_mut();
    assert!(!spare.is_empty(), "an empty read would look like the end of the stream");
    let (piece, rest) = wire.split_at(most.min(spare.len()).min(wire.len()));
    spare[..piece.len()].copy_from_slice(piece);
    reading.commit(piece.len());
    *wire = rest;
}

/// Begins a frame: all of its header but the masking key.
pub fn begin_frame(wire: &mut Vec<u8>, b0: u8, masked: bool, payload: usize) {
    let bit = if masked { 0x80 } else { 0 };
    wire.push(b0);
    match payload {
        n @ 0..126 => wire.push(bit | n as u8),
        n @ 126..=0xffff => {
            wire.push(bit | 126);
            wire.extend((n as u16).to_be_bytes());
        }
        n => {
            wire.push(bit | 127);
            wire.extend((n as u64).to_be_bytes());
        }
    }
}

/// The bytes of a frame.
pub fn frame_len(payload: usize, masked: bool) -> usize {
    let head = match payload {
        0..126 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    head + payload + if masked { 4 } else { 0 }
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
