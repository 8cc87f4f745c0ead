//! `Config::max_frame_sent` cuts messages into frames (§5.4), which joined are the messages.
use crate::support::wire::*;
use bytes::Bytes;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use std::collections::BTreeSet;
use tickwire::{
    Chunk, CloseCode, Config, Connection, DataKind, Message, Outbound, OwnedMessage, Position,
    Prepared, Role, frame::Header,
};

#[derive(Clone, Copy, Debug)]
enum How {
    Borrowed,
    Plain,
    Vec,
    Bytes,
    Prepared,
    Chunks,
    Built,
    First,
}

#[derive(Clone, Debug)]
enum Op {
    /// How many fifths of a frame the message has.
    Feed(How, DataKind, usize),
    Ping,
    Write(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let hows = [
        How::Borrowed,
        How::Plain,
        How::Vec,
        How::Bytes,
        How::Prepared,
        How::Chunks,
        How::Built,
        How::First,
    ];
    let kind = proptest::sample::select(&[DataKind::Text, DataKind::Binary][..]);
    prop_oneof![
        5 => (proptest::sample::select(hows.to_vec()), kind, 0..30_usize)
            .prop_map(|(how, kind, n)| Op::Feed(how, kind, n)),
        1 => Just(Op::Ping),
        5 => (0..3000_usize).prop_map(Op::Write),
    ]
}

/// The limits: mostly around those that decide how a frame is written, and all from 1 on.
fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1..=10_usize,
        8 => 60..=130_usize,
        8 => 1..3000_usize,
        1 => 65_530..65_540_usize,
    ]
}

/// Message number `n`, whose characters take two and three bytes, so that frames end inside them.
fn message(n: usize, kind: DataKind, len: usize) -> OwnedMessage {
    let text: String = format!("{n} ").chars().chain("é€".chars().cycle().take(len / 2)).collect();
    match kind {
        DataKind::Text => text.into(),
        DataKind::Binary => text.into_bytes().into(),
    }
}

fn feed_message(conn: &mut Connection, how: How, message: &OwnedMessage) -> Position {
    let tx = conn.sender_mut();
    let lent = message.as_message();
    let (kind, payload) = (lent.kind(), lent.as_bytes());
    let fed = match how {
        How::Borrowed => tx.feed(lent),
        How::Plain => tx.feed(Outbound::plain(lent)),
        How::Vec => match lent {
            Message::Text(text) => tx.feed(text.to_owned()),
            Message::Binary(bytes) => tx.feed(bytes.to_vec()),
        },
        How::Bytes => tx.feed(message.clone()),
        How::Prepared => tx.feed(Prepared::new(lent)),
        How::Chunks => {
            let (begin, end) = payload.split_at(payload.len() / 2);
            tx.feed_chunk(Chunk { kind, first: true, data: begin, last: false }).unwrap();
            tx.feed_chunk(Chunk { kind, first: false, data: end, last: true })
        }
        How::Built => {
            let mut built = tx.build(kind).unwrap();
            built.zeroed(payload.len()).copy_from_slice(payload);
            built.feed()
        }
        How::First => tx.feed_first(lent),
    };
    fed.unwrap()
}

/// The frames that a wire begins with: each at most `limit` long; RSV1 on no continuation, which
/// the far end refuses; a masking key for each frame of a client.
fn check_frames(role: Role, mut wire: &[u8], limit: usize) {
    let (mut keys, mut frames) = (BTreeSet::new(), 0);
    while let Ok(Some((header, len))) = Header::parse(wire) {
        let payload = header.payload_len as usize;
        assert!(header.opcode.is_control() || payload <= limit, "{header:?}");
        assert_eq!(header.masking_key.is_some(), role == Role::Client);
        keys.extend(header.masking_key);
        frames += 1;
        let Some(rest) = wire.get(len + payload..) else { break };
        wire = rest;
    }
    // 32 bits: now and then two keys are alike.
    assert!(role == Role::Server || keys.len() + 3 >= frames, "{} of {frames}", keys.len());
}

struct Talk {
    near: Connection,
    far: Connection,
    fifth: usize,
    wire: Vec<u8>,
    /// Each message, whether it was to overtake, and its position.
    fed: Vec<(OwnedMessage, bool, Position)>,
    pings: usize,
    /// The numbers of the messages that the far end has got.
    arrived: Vec<usize>,
    /// What else it has got.
    others: Vec<Seen>,
}

impl Talk {
    fn new(role: Role, limit: usize, config: Config) -> Self {
        let fifth = limit.clamp(10, 20_000) / 5;
        let near = Config { max_frame_sent: Some(limit), min_vectored: 64, ..config.clone() };
        let far = Config { max_frame: Some(limit.max(1)), ..config };
        Self {
            near: connection(role, &Config { high_water: usize::MAX, ..near }),
            far: connection(peer(role), &far),
            fifth,
            wire: Vec::new(),
            fed: Vec::new(),
            pings: 0,
            arrived: Vec::new(),
            others: Vec::new(),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Feed(how, kind, n) => {
                let message = message(self.fed.len(), kind, n * self.fifth);
                let at = feed_message(&mut self.near, how, &message);
                self.fed.push((message, matches!(how, How::First), at));
            }
            Op::Ping => {
                self.near.sender_mut().ping(b"!").unwrap();
                self.pings += 1;
            }
            Op::Write(n) => self.write(n),
        }
    }

    /// Writes, and checks that a message is written exactly if the far end has it.
    fn write(&mut self, n: usize) {
        let wire = write(&mut self.near, n);
        for event in receive(&mut self.far, &wire) {
            let payload = match &event {
                Seen::Text(text) => text.as_bytes(),
                Seen::Binary(bytes) => bytes,
                _ => {
                    self.others.push(event);
                    continue;
                }
            };
            let number = payload.split(|&b| b == b' ').next().unwrap();
            let number: usize = std::str::from_utf8(number).unwrap().parse().unwrap();
            assert!(event == seen(&self.fed[number].0), "message {number}");
            self.arrived.push(number);
        }
        self.wire.extend(wire);
        for (number, (.., at)) in self.fed.iter().enumerate() {
            let written = self.near.sender().is_written(*at);
            assert_eq!(written, self.arrived.contains(&number), "message {number}");
        }
    }

    /// Checks that messages arrived in the order in which they were fed, of each of the two kinds
    /// that may pass each other, and none twice; and all of them, unless the end was an abort.
    fn check(&self, all: bool) {
        for overtakes in [false, true] {
            let is = |number: &usize| self.fed[*number].1 == overtakes;
            let fed: Vec<_> = (0..self.fed.len()).filter(is).collect();
            let arrived: Vec<_> = self.arrived.iter().copied().filter(is).collect();
            assert_eq!(arrived, if all { &fed } else { &fed[..arrived.len()] });
        }
        let fails = |seen: &Seen| matches!(seen, Seen::Failed(_));
        assert!(!self.others.iter().any(fails), "{:?}", self.others);
    }
}

fn seen(message: &OwnedMessage) -> Seen {
    match message.as_message() {
        Message::Text(t) => text(t),
        Message::Binary(b) => binary(b),
    }
}

fn joined(role: Role, limit: usize, config: Config, ops: Vec<Op>, aborts: bool) {
    let mut talk = Talk::new(role, limit, config);
    for op in ops {
        talk.run(op);
    }
    if aborts {
        talk.near.sender_mut().abort(CloseCode::GOING_AWAY).unwrap();
    }
    talk.write(usize::MAX);
    talk.check(!aborts);
    check_frames(role, &talk.wire, limit.max(1));
    let sender = talk.near.sender();
    let lost = talk.fed.iter().any(|(.., at)| !sender.is_written(*at));
    assert_eq!(sender.dropped() > 0, lost);
    assert!(aborts || talk.pings == 0 || talk.others.contains(&Seen::Ping(b"!".to_vec())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn joined_the_frames_are_the_messages(
        server in any::<bool>(),
        limit in limit(),
        aborts in any::<bool>(),
        ops in proptest::collection::vec(op(), 0..times(25, 4)),
    ) {
        joined(role_of(server), limit, Config::default(), ops, aborts);
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn joined_and_inflated_the_frames_are_the_messages(
        server in any::<bool>(),
        limit in limit(),
        takeover in any::<bool>(),
        aborts in any::<bool>(),
        ops in proptest::collection::vec(op(), 0..times(15, 4)),
    ) {
        let deflate = tickwire::deflate::Deflate { min_size: 20, ..Default::default() };
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let agreed = crate::support::deflate::agreed(takeover);
        agreeing(agreed, || joined(role_of(server), limit, config, ops, aborts));
    }
}

#[test]
fn each_way_to_feed_is_cut_at_the_limit() {
    let hows =
        [How::Borrowed, How::Plain, How::Vec, How::Bytes, How::Prepared, How::Built, How::First];
    for (how, (limit, min_vectored)) in product(hows, [(3, 1 << 20), (3, 2), (0, 1)]) {
        let config = Config { max_frame_sent: Some(limit), min_vectored, ..Config::default() };
        for (_, mut conn) in connections(&config) {
            for (payload, pieces) in [("", 1), ("a", 1), ("abc", 1), ("abcd", 2), ("abcdefg", 3)] {
                let at = feed_message(&mut conn, how, &payload.into());
                let frames = sent(&drain(&mut conn));
                assert!(conn.sender().is_written(at));
                let last = frames.len() - 1;
                let pieces = if limit == 0 { payload.len().max(1) } else { pieces };
                assert_eq!(frames.len(), pieces, "{how:?} {payload} {limit}");
                for (i, (b0, _)) in frames.iter().enumerate() {
                    let opcode = if i == 0 { TEXT_OPEN } else { CONT_OPEN };
                    assert_eq!(*b0, opcode | if i == last { FIN } else { 0 });
                }
                let joined: Vec<u8> = frames.into_iter().flat_map(|(_, payload)| payload).collect();
                assert_eq!(joined, payload.as_bytes());
            }
        }
    }
}

/// A control frame waits for one frame, not for a message.
#[test]
fn a_ping_goes_between_two_frames_and_a_message_behind_the_last() {
    let config = Config { max_frame_sent: Some(2), ..Config::default() };
    for (role, mut conn) in connections(&config) {
        conn.sender_mut().feed("abcdef").unwrap();
        conn.sender_mut().feed("z").unwrap();
        let mut wire = write(&mut conn, 1); // the first frame is under way
        conn.sender_mut().ping(b"!").unwrap();
        conn.sender_mut().feed_first("xyz").unwrap();
        wire.extend(drain(&mut conn));
        let expected: [(u8, &[u8]); 7] = [
            (TEXT_OPEN, b"ab"),
            (PING, b"!"),
            (CONT_OPEN, b"cd"),
            (CONT, b"ef"),
            (TEXT_OPEN, b"xy"),
            (CONT, b"z"),
            (TEXT, b"z"),
        ];
        let expected = expected.map(|(b0, payload)| (b0, payload.to_vec()));
        assert_eq!(sent(&wire), expected, "{role:?}");
    }
}

/// A server's spliced payload is cut without a copy.
#[test]
fn the_frames_of_a_long_payload_share_its_memory() {
    let config = Config { max_frame_sent: Some(100), min_vectored: 50, ..Config::default() };
    let mut conn = server(&config);
    let payload = Bytes::from(bytes(250));
    conn.sender_mut().feed(payload.clone()).unwrap();
    let mut lent = 0;
    loop {
        let mut out = conn.sender_mut().outgoing();
        let chunk = bytes::Buf::chunk(&out);
        if chunk.is_empty() {
            break;
        }
        lent += usize::from(payload.as_ptr_range().contains(&chunk.as_ptr())) * chunk.len();
        let n = chunk.len();
        bytes::Buf::advance(&mut out, n);
    }
    assert_eq!(lent, 250);
}
