//! A message built where it is sent from is on the wire as one that was fed, or is not there at
//! all.
use crate::support::wire::*;
use proptest::prelude::*;
use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};
use testkit::Rng;
use tickwire::{Chunk, Config, Connection, DataKind, Position, Role, SendError, Sender};

const KINDS: [DataKind; 2] = [DataKind::Text, DataKind::Binary];

/// Both sides of each length form of a header, and of the first buffer.
const LENGTHS: [usize; 11] =
    [0, 1, 125, 126, 1000, (16 << 10) - 14, 16 << 10, 65_535, 65_536, 65_537, 80_000];

fn payload(kind: DataKind, len: usize) -> Vec<u8> {
    match kind {
        DataKind::Text => ("é!".repeat(len / 3) + &"x".repeat(len % 3)).into(),
        DataKind::Binary => Rng::new(len as u64).bytes(len),
    }
}

fn feed(tx: &mut Sender, kind: DataKind, payload: &[u8]) -> Result<Position, SendError> {
    match kind {
        DataKind::Text => tx.feed(str::from_utf8(payload).unwrap()),
        DataKind::Binary => tx.feed(payload),
    }
}

/// How a message is built.
#[derive(Clone, Copy, Debug)]
enum How {
    /// In a slice of zeroes, behind so many bytes that were written.
    Slice(usize),
    /// By a writer, in pieces of this many bytes.
    Writer(usize),
    /// In a slice of so many zeroes, and then by a writer.
    Both(usize),
}

fn built(tx: &mut Sender, kind: DataKind, payload: &[u8], how: How) -> Result<Position, SendError> {
    let mut message = tx.build(kind)?;
    match how {
        How::Slice(before) => {
            let (before, payload) = payload.split_at(before.min(payload.len()));
            message.zeroed(before.len()).copy_from_slice(before);
            let to = message.zeroed(payload.len());
            assert!(*to == *vec![0; payload.len()]);
            to.copy_from_slice(payload);
        }
        How::Writer(each) => {
            for piece in payload.chunks(each) {
                push(&mut message, piece);
            }
        }
        How::Both(before) => {
            let (before, payload) = payload.split_at(before.min(payload.len()));
            message.zeroed(before.len()).copy_from_slice(before);
            for piece in payload.chunks(90) {
                push(&mut message, piece);
            }
        }
    }
    message.feed()
}

#[cfg(feature = "std")]
fn push(w: &mut tickwire::MessageWriter<'_>, piece: &[u8]) {
    use std::io::Write;
    // Each way there is to write.
    match piece.len() % 3 {
        0 => assert_eq!(w.write(piece).unwrap(), piece.len()),
        1 => w.write_all(piece).unwrap(),
        _ => assert_eq!(std::io::copy(&mut &piece[..], w).unwrap(), piece.len() as u64),
    }
    w.flush().unwrap();
}

#[cfg(not(feature = "std"))]
fn push(w: &mut tickwire::MessageWriter<'_>, piece: &[u8]) {
    // Without std it takes text alone: ASCII of other bytes is what is compared.
    for &byte in piece {
        w.write_char(char::from(byte)).unwrap();
    }
}

/// Two connections of which nothing can be told apart.
struct Twins {
    fed: Connection,
    built: Connection,
}

impl Twins {
    fn new(role: Role, config: &Config) -> Self {
        Self { fed: connection(role, config), built: connection(role, config) }
    }

    #[track_caller]
    fn message(&mut self, kind: DataKind, payload: &[u8], how: How) {
        let fed = feed(self.fed.sender_mut(), kind, payload);
        assert_eq!(built(self.built.sender_mut(), kind, payload, how), fed, "{how:?}");
        self.are_alike();
    }

    #[track_caller]
    fn write(&mut self, n: usize) {
        let (fed, built) = (write(&mut self.fed, n), write(&mut self.built, n));
        // They may be long.
        assert_eq!(fed.len(), built.len());
        assert!(fed == built, "at {:?}", fed.iter().zip(&built).position(|(a, b)| a != b));
        self.are_alike();
    }

    #[track_caller]
    fn are_alike(&self) {
        let [fed, built] = [&self.fed, &self.built].map(|conn| {
            let tx = conn.sender();
            #[cfg(feature = "counters")]
            let counted = tx.counters();
            #[cfg(not(feature = "counters"))]
            let counted = ();
            let state = (tx.has_room(), tx.message_in_progress());
            (tx.buffered_amount(), tx.fed(), tx.dropped(), state, counted)
        });
        assert_eq!(fed, built);
    }
}

/// Without std a writer takes text alone.
fn can(kind: DataKind, how: How) -> bool {
    let text_alone = cfg!(not(feature = "std")) && matches!(how, How::Writer(_) | How::Both(_));
    !text_alone || kind == DataKind::Text
}

#[test]
fn a_built_message_is_the_frame_that_feed_makes_for_every_length_and_room() {
    for (role, kind) in product(ROLES, KINDS) {
        for (nth, len) in LENGTHS.into_iter().take(times(LENGTHS.len(), 4)).enumerate() {
            let payload = &payload(kind, len);
            for (way, how) in [
                How::Slice(0),
                How::Slice(1),
                How::Slice(200), // of the next form
                How::Slice(times(70_000, 2000)),
                How::Writer(usize::MAX),
                How::Writer(1000),
                How::Writer(7),
                How::Both(20),
                How::Both(1000),
            ]
            .into_iter()
            .enumerate()
            {
                // Every other length and way is of the other kind.
                if !(nth + way + kind as usize).is_multiple_of(sampled(1, 2)) {
                    continue;
                }
                let ascii =
                    cfg!(not(feature = "std")) && matches!(how, How::Writer(_) | How::Both(_));
                let payload = if ascii { &vec![b'a'; len] } else { payload };
                if !can(kind, how) {
                    continue;
                }
                let mut twins = Twins::new(role, &Config::default());
                twins.message(kind, payload, how);
                twins.message(kind, payload, how); // behind another
                twins.write(len / 2);
                twins.message(kind, payload, how); // behind one under way
                twins.write(usize::MAX);
                twins.message(kind, payload, how); // in a buffer that was used
                twins.write(usize::MAX);
            }
        }
    }
}

/// The room for the header may be all that is left, or not even that.
#[cfg(feature = "std")]
#[test]
fn what_was_queued_stays_where_the_buffer_ends_at_any_place() {
    for (role, left) in product(ROLES, (0..40).step_by(every(40))) {
        for written in [0, 100, 9000, 12_000].into_iter().step_by(every(3)) {
            let mut twins = Twins::new(role, &Config::default());
            let header = if role == Role::Client { 8 } else { 4 };
            for _ in 0..12 {
                twins.message(DataKind::Binary, &vec![1; 1000 - header], How::Slice(0));
            }
            let rest = (16 << 10) - 12_000 - header - left;
            twins.message(DataKind::Binary, &vec![2; rest], How::Slice(0));
            twins.write(written);
            twins.message(DataKind::Binary, &[3; 5000], How::Writer(11));
            twins.message(DataKind::Text, b"the next", How::Writer(1));
            twins.write(usize::MAX);
        }
    }
}

/// All ways in which it can come to nothing.
fn vain(tx: &mut Sender, text: &[u8]) {
    let room = text.len() + 10;
    let _ = tx.build(DataKind::Text).unwrap();
    tx.build(DataKind::Text).unwrap().zeroed(room).fill(b'!');
    let mut begun = tx.build(DataKind::Binary).unwrap();
    begun.write_str(str::from_utf8(text).unwrap()).unwrap();
    begun.zeroed(room).fill(b'!');

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut begun = tx.build(DataKind::Text).unwrap();
        begun.zeroed(room).fill(b'!');
        begun.write_str(str::from_utf8(text).unwrap()).unwrap();
        resume_unwind(Box::new("a panic in the middle of a message")) // which prints nothing
    }));
    assert!(panicked.is_err());

    for bad in [&b"\xff"[..], b"\xe2\x82", b"valid, then \xed\xa0\x80"] {
        let mut message = tx.build(DataKind::Text).unwrap();
        message.zeroed(bad.len()).copy_from_slice(bad);
        assert_eq!(message.feed(), Err(SendError::BadUtf8));
    }
    #[cfg(feature = "std")]
    {
        let mut message = tx.build(DataKind::Text).unwrap();
        std::io::Write::write_all(&mut message, b"\xff").unwrap();
        assert_eq!(message.feed(), Err(SendError::BadUtf8));
    }
}

#[test]
fn what_is_dropped_or_refused_leaves_everything_as_it_was() {
    for (role, len) in product(ROLES, [10, 1000, 100_000].into_iter().take(times(3, 1))) {
        for written in [0, 1, 700] {
            let text = &payload(DataKind::Text, len);
            let mut twins = Twins::new(role, &Config::default());
            vain(twins.built.sender_mut(), text);
            twins.are_alike();
            assert!(!twins.built.sender().has_outgoing());
            twins.message(DataKind::Text, text, How::Slice(0)); // the same masking key, too
            twins.message(DataKind::Binary, &[7; 500], How::Slice(0));
            twins.write(written);
            vain(twins.built.sender_mut(), text);
            twins.are_alike();
            twins.message(DataKind::Binary, &[9; 500], How::Slice(3));
            twins.write(usize::MAX);
            vain(twins.built.sender_mut(), text);
            twins.write(usize::MAX);
        }
    }
}

#[test]
fn nothing_is_begun_where_it_would_be_refused() {
    let refused = |tx: &mut Sender, with: SendError| {
        assert_eq!(tx.build(DataKind::Text).err(), Some(with));
    };
    for role in ROLES {
        // One message goes beyond `high_water`, and then there is no room.
        let config = Config { high_water: 100, ..Config::default() };
        let mut conn = connection(role, &config);
        built(conn.sender_mut(), DataKind::Text, &[b'x'; 200], How::Slice(0)).unwrap();
        assert!(!conn.sender().has_room());
        let buffered = conn.sender().buffered_amount() as u32;
        refused(conn.sender_mut(), SendError::Full { buffered, limit: 100 });
        write(&mut conn, 150);
        built(conn.sender_mut(), DataKind::Text, b"x", How::Slice(0)).unwrap();

        let mut conn = connection(role, &Config::default());
        let chunk = Chunk { kind: DataKind::Text, first: true, data: b"a", last: false };
        conn.sender_mut().feed_chunk(chunk).unwrap();
        refused(conn.sender_mut(), SendError::MessageInProgress);
        conn.sender_mut().close(None).unwrap();
        refused(conn.sender_mut(), SendError::Closed);
    }
}

#[test]
fn no_byte_of_another_message_is_seen_or_sent() {
    for (_, mut conn) in connections(&Config::default()) {
        conn.sender_mut().lend(vec![b'S'; 32 << 10]); // another connection's secrets
        conn.sender_mut().feed(&[b's'; 3000]).unwrap();
        drain(&mut conn);
        for len in [5, 126, 2000, 40_000].into_iter().take(times(4, 2)) {
            // All of it is claimed, and hardly any was written.
            let mut built = conn.sender_mut().build(DataKind::Binary).unwrap();
            let to = built.zeroed(len);
            assert!(to.iter().all(|&byte| byte == 0), "a secret is seen");
            to[0] = b'!';
            built.feed().unwrap();
            let mut message = vec![0; len];
            message[0] = b'!';
            assert_eq!(sent(&drain(&mut conn)), [(BINARY, message)]);
            // What was built in vain does not leave with the next.
            conn.sender_mut().build(DataKind::Text).unwrap().zeroed(len).fill(b's');
            let mut next = conn.sender_mut().build(DataKind::Text).unwrap();
            next.write_str("next").unwrap();
            next.feed().unwrap();
            assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"next".to_vec())]);
        }
    }
}

/// Text that is formatted, as a serializer would: in many small pieces.
#[test]
fn a_writer_takes_what_is_formatted() {
    for (_, mut conn) in connections(&Config::default()) {
        let mut message = conn.sender_mut().build(DataKind::Text).unwrap();
        assert_eq!(format!("{message:?}"), "0 bytes");
        write!(message, "{{\"bid\":{},", 1.25).unwrap();
        assert_eq!(format!("{message:?}"), "12 bytes");
        write!(message, "\"ask\":{}}}", 1.5).unwrap();
        let fed = message.feed().unwrap();
        let wire = drain(&mut conn);
        assert_eq!(sent(&wire), [(TEXT, b"{\"bid\":1.25,\"ask\":1.5}".to_vec())]);
        assert!(conn.sender().is_written(fed));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Message(DataKind, usize, How),
    Vain(usize),
    Ping,
    Write(usize),
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        (0..300_usize).prop_map(How::Slice),
        Just(How::Slice(66_000)),
        (1..100_usize).prop_map(How::Writer),
        Just(How::Writer(usize::MAX)),
        (0..300_usize).prop_map(How::Both),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![4 => 0..300_usize, 2 => 300..5000_usize, 1 => 60_000..70_000_usize];
    let kind = proptest::sample::select(&KINDS[..]);
    prop_oneof![
        6 => (kind, len, how()).prop_map(|(kind, len, how)| Op::Message(kind, len, how)),
        1 => (0..3000_usize).prop_map(Op::Vain),
        1 => Just(Op::Ping),
        4 => (0..9000_usize).prop_map(Op::Write),
    ]
}

fn alike(mut twins: Twins, ops: Vec<Op>) {
    for op in ops {
        match op {
            Op::Message(kind, len, how) if can(kind, how) => {
                let ascii =
                    cfg!(not(feature = "std")) && matches!(how, How::Writer(_) | How::Both(_));
                let payload = if ascii { vec![b'a'; len] } else { payload(kind, len) };
                twins.message(kind, &payload, how);
            }
            Op::Message(..) => {}
            Op::Vain(_) if !twins.built.sender().has_room() => {}
            Op::Vain(len) => vain(twins.built.sender_mut(), &payload(DataKind::Text, len)),
            Op::Ping => {
                for conn in [&mut twins.fed, &mut twins.built] {
                    conn.sender_mut().ping(b"now").unwrap();
                }
            }
            Op::Write(n) => twins.write(n),
        }
    }
    twins.write(usize::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sampled(200, 70)))]

    #[test]
    fn whatever_else_happens_the_wire_is_that_of_feed(
        server in any::<bool>(),
        ops in proptest::collection::vec(op(), 0..times(40, 5)),
    ) {
        alike(Twins::new(role_of(server), &Config::default()), ops);
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn where_messages_are_compressed_the_wire_is_that_of_feed_too(
        server in any::<bool>(),
        takeover in any::<bool>(),
        min_size in proptest::sample::select(&[0, 200][..]),
        ops in proptest::collection::vec(op(), 0..times(20, 5)),
    ) {
        use tickwire::deflate::Deflate;
        let deflate = Deflate { min_size, ..Deflate::default() };
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let agreed = crate::support::deflate::agreed(takeover);
        let twins = agreeing(agreed, || Twins::new(role_of(server), &config));
        alike(twins, ops);
    }
}
