//! Two connections and a link between them that cuts as it likes: what one sends, the other
//! receives, in order and whole, both ways at once, compressed or not.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Event, Negotiated, Outbound,
    OwnedMessage, Prepared, SendError, Step,
    deflate::{Deflate, DeflateParams, Direction},
};
use tickwire_fuzz::{Cuts, Keys, binary, text, write};

#[derive(Arbitrary, Debug)]
struct Input {
    read_buffer: u16,
    high_water: u16,
    min_vectored: u16,
    cuts: [u8; 4],
    compression: Option<Compression>,
    ops: Vec<(bool, Op)>,
}

/// By the client, by the server.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Compression {
    takeover: [bool; 2],
    window_bits: [u8; 2],
    min_size: u8,
    level: u8,
}

#[derive(Arbitrary, Clone, Debug)]
enum Op {
    Feed {
        text: bool,
        len: Len,
    },
    /// As it is, also where there is compression.
    FeedPlain {
        text: bool,
        len: Len,
    },
    Shared {
        text: bool,
        len: Len,
    },
    Prepared {
        text: bool,
        len: Len,
    },
    Chunks {
        text: bool,
        pieces: Vec<Len>,
    },
    Short(Vec<u8>),
    Ping(u8),
    /// Moves a piece over the link, and has the other end take it.
    Pass,
    /// The same until all is quiet.
    Settle,
}

/// Short as a rule, around the length forms and beyond 64 KiB at times.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Len(u16);

impl Len {
    fn get(self) -> usize {
        let n = usize::from(self.0 >> 3);
        match self.0 & 7 {
            0..=3 => n % 140,
            4 => 120 + n % 12,
            5 => n,
            6 => 65_530 + n % 12,
            _ => 16 * n,
        }
    }

    fn within(self, budget: &mut usize) -> usize {
        let len = if self.get() <= *budget { self.get() } else { self.get() % 140 };
        *budget = budget.saturating_sub(len);
        len
    }
}

struct End {
    conn: Connection,
    /// Written by this end; up to `read`, read by the other.
    link: Vec<u8>,
    read: usize,
    /// How much more may be fed in large messages, so that no run takes long.
    budget: usize,
    /// Fed by this end, not yet received by the other.
    expected: VecDeque<OwnedMessage>,
    /// Only the newest of several that wait has to be sent, so some may be missing.
    pings: VecDeque<Vec<u8>>,
    writes: Cuts,
    reads: Cuts,
    closed: bool,
}

fuzz_target!(|input: Input| {
    let mut config = Config {
        read_buffer: usize::from(input.read_buffer),
        high_water: usize::from(input.high_water).max(1),
        min_vectored: usize::from(input.min_vectored),
        ..Config::default()
    };
    let mut negotiated = Negotiated::default();
    if let Some(compression) = input.compression {
        let ours = Deflate {
            min_size: usize::from(compression.min_size),
            level: compression.level % 10,
            ..Deflate::default()
        };
        config = Config { deflate: Some(ours), ..config };
        let [client, server] = [0, 1].map(|i| Direction {
            takeover: compression.takeover[i],
            window_bits: 9 + compression.window_bits[i] % 7,
        });
        negotiated = Negotiated::from(DeflateParams { server, client });
    }
    let [a, b, c, d] = input.cuts;
    let end = |client, writes, reads| End {
        conn: match client {
            true => Connection::client(&config, negotiated.clone(), Keys(1)),
            false => Connection::server(&config, negotiated.clone()),
        },
        link: vec![],
        read: 0,
        budget: 160 << 10,
        expected: VecDeque::new(),
        pings: VecDeque::new(),
        writes: Cuts::new(writes),
        reads: Cuts::new(reads),
        closed: false,
    };
    let (mut client, mut server) = (end(true, a, b), end(false, c, d));
    for (i, (from_client, op)) in input.ops.into_iter().take(64).enumerate() {
        let (from, to) =
            if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        match op {
            Op::Pass => {
                pass(from, to);
            }
            Op::Settle => settle(from, to),
            op => {
                if !from.feed(&op, i) {
                    settle(from, to);
                    assert!(from.feed(&op, i), "all is written, and there is no room");
                }
            }
        }
    }
    settle(&mut client, &mut server);
    // The closing handshake, begun by the client.
    client.conn.sender_mut().close(CloseFrame::with_reason(CloseCode::NORMAL, "bye")).unwrap();
    settle(&mut client, &mut server);
    for end in [&mut client, &mut server] {
        assert!(end.expected.is_empty(), "fed, but not received: {}", end.expected.len());
        assert!(end.pings.is_empty());
        assert!(end.closed && end.conn.closed().is_some_and(|end| end.clean));
        assert_eq!(end.conn.step(), Ok(Step::Closed));
        assert_eq!(end.conn.closed().unwrap().code, 1000);
        assert_eq!(end.conn.sender().buffered_amount(), 0);
        assert_eq!(end.conn.sender().dropped(), 0);
        assert_eq!(end.conn.sender_mut().feed(b"late"), Err(SendError::Closed));
    }
});

impl End {
    /// False where there was no room for it.
    fn feed(&mut self, op: &Op, seed: usize) -> bool {
        let budget = &mut self.budget;
        let mut message = |as_text: bool, len: Len| match as_text {
            true => OwnedMessage::from(text(len.within(budget), seed)),
            false => OwnedMessage::from(binary(len.within(budget), seed)),
        };
        let tx = self.conn.sender_mut();
        let room = tx.has_room();
        let (message, fed) = match op {
            Op::Feed { text, len } => {
                let message = message(*text, *len);
                let fed = tx.feed(&message);
                (message, fed)
            }
            Op::FeedPlain { text, len } => {
                let message = message(*text, *len);
                let fed = tx.feed(Outbound::plain(&message));
                (message, fed)
            }
            Op::Shared { text, len } => {
                let message = message(*text, *len);
                let fed = tx.feed(message.clone());
                (message, fed)
            }
            Op::Prepared { text, len } => {
                let message = message(*text, *len);
                let fed = tx.feed(Prepared::new(&message));
                (message, fed)
            }
            Op::Short(bytes) => (OwnedMessage::from(bytes.clone()), tx.feed(bytes)),
            Op::Ping(n) => {
                let mut payload = binary(1 + usize::from(n % 125), seed);
                payload[0] = seed as u8; // unlike all others
                tx.ping(&payload).unwrap();
                self.pings.push_back(payload);
                return true;
            }
            Op::Chunks { text, pieces } => {
                return self.feed_chunks(*text, pieces, seed);
            }
            Op::Pass | Op::Settle => return true,
        };
        assert_eq!(fed.is_ok(), room, "{fed:?}");
        if fed.is_ok() {
            self.expected.push_back(message);
        }
        room
    }

    fn feed_chunks(&mut self, as_text: bool, pieces: &[Len], seed: usize) -> bool {
        if !self.conn.sender().has_room() {
            return false;
        }
        let lens: Vec<usize> =
            pieces.iter().take(8).map(|len| len.within(&mut self.budget)).collect();
        let (kind, all) = match as_text {
            true => (DataKind::Text, text(lens.iter().sum(), seed).into_bytes()),
            false => (DataKind::Binary, binary(lens.iter().sum(), seed)),
        };
        let mut left = &all[..];
        for (i, len) in lens.iter().chain([&0]).enumerate() {
            let (data, rest) = left.split_at(*len);
            left = rest;
            let last = i == lens.len();
            let chunk = Chunk { kind, first: i == 0, data, last };
            while let Err(error) = self.conn.sender_mut().feed_chunk(chunk) {
                // The link takes all: nobody need read for this end to write.
                assert!(matches!(error, SendError::Full { .. }), "{error}");
                assert!(write(self.conn.sender_mut(), &mut self.link, usize::MAX) > 0);
            }
            if !last {
                let refused = self.conn.sender_mut().feed(b"inside");
                assert_eq!(refused, Err(SendError::MessageInProgress));
            }
        }
        self.expected.push_back(match as_text {
            true => OwnedMessage::from(String::from_utf8(all).unwrap()),
            false => OwnedMessage::from(all),
        });
        true
    }
}

/// Writes one piece, reads one piece, and takes all there is. False when nothing moved.
fn pass(from: &mut End, to: &mut End) -> bool {
    // Longer pieces where much waits, or single bytes would take for ever.
    let pace = |waiting: usize| 1 + waiting / 256;
    let waiting = from.conn.sender().buffered_amount();
    let most = from.writes.next().unwrap().saturating_mul(pace(waiting));
    let written = write(from.conn.sender_mut(), &mut from.link, most);
    let spare = to.conn.receiver_mut().spare_mut();
    let link = &from.link[from.read..];
    let most = to.reads.next().unwrap().saturating_mul(pace(link.len()));
    let n = most.min(spare.len()).min(link.len());
    spare[..n].copy_from_slice(&link[..n]);
    to.conn.receiver_mut().commit(n);
    from.read += n;
    if from.read == from.link.len() {
        from.link.clear();
        from.read = 0;
    }
    loop {
        match to.conn.step().expect("nothing on this link is wrong") {
            Step::NeedInput | Step::Closed => break,
            Step::Message => {
                let want = from.expected.pop_front().expect("nobody fed this");
                assert!(
                    to.conn.receiver().message() == Some(want.as_message()),
                    "another message came"
                );
                if want.as_bytes().len().is_multiple_of(2) {
                    assert!(to.conn.receiver_mut().take_message() == Some(want));
                }
            }
            Step::Ping => {
                let Some(Event::Ping(got)) = to.conn.receiver().event() else { panic!() };
                while from.pings.pop_front().expect("nobody sent this") != got {}
            }
            Step::Pong => {}
            Step::Close => to.closed = true,
        }
    }
    written > 0 || n > 0
}

fn settle(a: &mut End, b: &mut End) {
    while pass(a, b) | pass(b, a) {}
}
