//! What the fuzz targets share: a receiver written a second time, payloads, and ways to cut a wire.
//!
//! Nothing in `reference` calls the crate under test, except for the names of its errors.
pub mod head;
pub mod inflate;
pub mod peers;
#[path = "../../tests/support/placed.rs"]
mod placed;
pub mod reference;
pub mod tls;

use arbitrary::Arbitrary;
use testkit::Rng;
use tickwire::{
    Config, Connection, Entropy, Event, Message, Negotiated, OwnedMessage, Receiver, RecvError,
    Sender, Step, handshake::Reading,
};

/// Masking keys that differ from each other and are the same in every run.
struct Keys(Rng);

impl Entropy for Keys {
    fn fill(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }
}

/// The same byte for everything.
pub struct Sevens;

impl Entropy for Sevens {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(7);
    }
}

/// A connection past its handshake.
pub fn connection(client: bool, config: &Config) -> Connection {
    negotiated(client, config, Negotiated::default())
}

/// A connection past its handshake, which has agreed on this.
pub fn negotiated(client: bool, config: &Config, negotiated: Negotiated) -> Connection {
    if client {
        Connection::client(config, negotiated, Keys(Rng::new(1)))
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
    let n = take(reading.spare_mut(), wire, most);
    reading.commit(n);
}

/// One read of a connection, of at most `most` bytes of `wire`, which it takes off.
pub fn read(rx: &mut Receiver, wire: &mut &[u8], most: usize) {
    let n = take(rx.spare_mut(), wire, most);
    rx.commit(n);
}

/// Moves at most `most` bytes from the start of `wire` to `spare`. Returns their number.
fn take(spare: &mut [u8], wire: &mut &[u8], most: usize) -> usize {
    assert!(!spare.is_empty(), "an empty read would look like the end of the stream");
    let (piece, rest) = wire.split_at(most.min(spare.len()).min(wire.len()));
    spare[..piece.len()].copy_from_slice(piece);
    *wire = rest;
    piece.len()
}

/// An endless sequence of piece lengths: 0 gives everything at once, 1 single bytes, any other
/// seed lengths of its own, short ones more often.
pub struct Cuts {
    seed: u8,
    rng: Rng,
}

impl Cuts {
    pub fn new(seed: u8) -> Self {
        Self { seed, rng: Rng::new(seed.into()) }
    }
}

impl Iterator for Cuts {
    type Item = usize;

    /// At least 1.
    fn next(&mut self) -> Option<usize> {
        Some(match self.seed {
            0 => usize::MAX,
            1 => 1,
            _ if self.rng.once_in(4) => 1 + self.rng.below(1024),
            seed => 1 + self.rng.below(usize::from(seed)),
        })
    }
}

/// The length of a payload: short as a rule, around the length forms and beyond 64 KiB at times.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Len(u16);

impl Len {
    pub fn get(self) -> usize {
        let n = usize::from(self.0 >> 3);
        match self.0 & 7 {
            0..=4 => n % 140,
            5 => 120 + n % 12,
            6 => n,
            _ => 65_530 + n % 12,
        }
    }

    /// Short where large ones have used up the budget, so that no run takes long.
    pub fn within(self, budget: &mut usize) -> usize {
        let len = if self.get() <= *budget { self.get() } else { self.get() % 140 };
        *budget = budget.saturating_sub(len);
        len
    }
}

/// What a message is made of.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Data {
    pub text: bool,
    pub len: Len,
}

/// A message with this payload, which is UTF-8 if it is `text`.
pub fn owned(text: bool, payload: Vec<u8>) -> OwnedMessage {
    match text {
        true => OwnedMessage::from(String::from_utf8(payload).expect("UTF-8")),
        false => OwnedMessage::from(payload),
    }
}

/// Text of mixed widths, different for each `seed`, `len` bytes long.
pub fn text(len: usize, seed: usize) -> String {
    let mut text = String::with_capacity(len);
    let mut i = seed;
    while text.len() < len {
        let c = ['a', 'é', '価', '📈', 'z', '0'][i % 6];
        text.push(if text.len() + c.len_utf8() > len { '.' } else { c });
        i = i.wrapping_mul(5).wrapping_add(1 + seed);
    }
    text
}

/// Bytes, different for each `seed`.
pub fn binary(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(167) >> 3) as u8 ^ seed as u8).collect()
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
                // Longer pieces where much waits, or single bytes would take for ever.
                let n = cuts.next().unwrap_or(1).saturating_mul(1 + wire.len() / 4096);
                read(conn.receiver_mut(), &mut wire, n);
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
