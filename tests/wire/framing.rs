//! One frame at a time: headers, lengths, reserved bits (docs/RULES.md 1); and however the wire is
//! cut, the same comes of it.
use crate::{delivers, fails, fails_behind, support::wire::*};
use proptest::{collection::vec, prelude::*};
use tickwire::{
    Chunk, Config, Connection, DataKind, Entropy, Negotiated, ProtocolError, RecvError, Report,
    Role, Step,
    frame::{Header, OpCode},
};

/// A message or control frame, in fragments of these lengths, control frames between them.
#[derive(Clone, Debug)]
enum Item {
    Message { text: bool, pieces: Vec<Vec<u8>>, pings: Vec<u8> },
    Control { pong: bool, payload: Vec<u8> },
}

fn item() -> impl Strategy<Value = Item> {
    let piece =
        prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 120..130), vec(any::<u8>(), 0..600)];
    let message = (any::<bool>(), vec(piece, 1..5), vec(any::<u8>(), 0..3))
        .prop_map(|(text, pieces, pings)| Item::Message { text, pieces, pings });
    let control = (any::<bool>(), vec(any::<u8>(), 0..=125))
        .prop_map(|(pong, payload)| Item::Control { pong, payload });
    prop_oneof![4 => message, 1 => control]
}

/// Their wire bytes to `role`, and what it should see.
fn wire(role: Role, items: &[Item]) -> (Vec<u8>, Vec<Seen>) {
    let (mut wire, mut seen) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Control { pong, payload } => {
                wire.extend(frame_to(role, if *pong { PONG } else { PING }, payload));
                let payload = payload.clone();
                seen.push(if *pong { Seen::Pong(payload) } else { Seen::Ping(payload) });
            }
            Item::Message { text: is_text, pieces, pings } => {
                let whole = pieces.concat();
                // Text of any bytes: each byte as the character of that number.
                let string: String = whole.iter().map(|b| char::from(*b)).collect();
                let bytes = if *is_text { string.as_bytes() } else { &whole[..] };
                let mut ends: Vec<usize> = pieces.iter().map(Vec::len).collect();
                ends.pop();
                let (mut from, mut first) = (0, true);
                for (i, len) in ends.into_iter().enumerate() {
                    let end = (from + len).min(bytes.len());
                    let opcode = if *is_text { TEXT_OPEN } else { BINARY_OPEN };
                    wire.extend(frame_to(
                        role,
                        if first { opcode } else { CONT_OPEN },
                        &bytes[from..end],
                    ));
                    (from, first) = (end, false);
                    if let Some(ping) = pings.get(i) {
                        wire.extend(frame_to(role, PING, [*ping]));
                        seen.push(Seen::Ping(vec![*ping]));
                    }
                }
                let opcode = if *is_text { TEXT } else { BINARY };
                wire.extend(frame_to(role, if first { opcode } else { CONT }, &bytes[from..]));
                seen.push(if *is_text { text(&string) } else { binary(bytes) });
            }
        }
    }
    (wire, seen)
}

/// Turns fractions into sorted places.
fn places(cuts: &[f64], len: usize) -> Vec<usize> {
    let mut places: Vec<usize> = cuts.iter().map(|c| (c * len as f64) as usize).collect();
    places.sort_unstable();
    places
}

/// What a connection sees in chunks, joined.
fn in_chunks(role: Role, config: &Config, wire: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut conn = connection(role, config);
    let (mut seen, mut open, mut from) = (Vec::new(), Vec::new(), 0);
    for &cut in cuts.iter().chain([&wire.len()]) {
        arrive(&mut conn, &wire[from..cut]);
        from = cut;
        for event in chunks(&mut conn) {
            if let Seen::Chunk(kind, data, last) = event {
                open.extend(data);
                if last {
                    let data = std::mem::take(&mut open);
                    seen.push(match kind {
                        DataKind::Text => text(std::str::from_utf8(&data).unwrap()),
                        DataKind::Binary => binary(data),
                    });
                }
            } else {
                seen.push(event);
            }
        }
    }
    seen.dedup_by(|a, b| a == b && matches!(a, Seen::Closed | Seen::Failed(_)));
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sampled(300, 100)))]

    // P002, P024, P033, A13, A14
    #[test]
    fn legal_frames_under_any_cut_give_the_same_events_and_output(
        items in vec(item(), 1..times(8, 3)),
        cuts in vec(0.0..1.0f64, 0..6),
        small in any::<bool>(),
    ) {
        let read_buffer = if small { 512 } else { 16 << 10 };
        let config = Config { read_buffer, ..Config::default() };
        for role in ROLES {
            let (wire, want) = wire(role, &items);
            let (seen, output) = transcript(role, &config, &wire, []);
            prop_assert_eq!(&seen, &want);
            let pongs = seen.iter().filter_map(|e| match e {
                Seen::Ping(payload) => Some((PONG, payload.clone())),
                _ => None,
            });
            prop_assert!(pongs.eq(sent(&output)));
            let whole = (seen, output);
            let cuts = places(&cuts, wire.len());
            prop_assert_eq!(&transcript(role, &config, &wire, cuts.clone()), &whole);
            prop_assert_eq!(&transcript(role, &config, &wire, 0..wire.len()), &whole);
            prop_assert_eq!(&in_chunks(role, &config, &wire, &cuts), &whole.0);
        }
    }

    /// What we send is what the other end receives, fed in any way, written in any pieces.
    #[test]
    fn decoding_what_was_encoded_is_the_identity(
        items in vec(item(), 1..8),
        cuts in vec(0.0..1.0f64, 0..6),
    ) {
        for (role, mut conn) in connections(&Config { min_vectored: 100, ..Config::default() }) {
            let (mut want, mut wire) = (Vec::new(), Vec::new());
            for (i, item) in items.iter().enumerate() {
                let tx = conn.sender_mut();
                match item {
                    Item::Control { pong: true, payload } => {
                        tx.pong(payload).unwrap();
                        want.push(Seen::Pong(payload.clone()));
                    }
                    Item::Control { payload, .. } => {
                        tx.ping(payload).unwrap();
                        want.push(Seen::Ping(payload.clone()));
                    }
                    Item::Message { pieces, .. } => {
                        let whole = pieces.concat();
                        if i % 2 == 0 {
                            tx.feed(whole.clone()).unwrap();
                        } else {
                            for (i, data) in pieces.iter().enumerate() {
                                let last = i + 1 == pieces.len();
                                let (kind, first) = (DataKind::Binary, i == 0);
                                tx.feed_chunk(Chunk { kind, first, data, last }).unwrap();
                            }
                        }
                        want.push(binary(whole));
                    }
                }
                wire.extend(drain(&mut conn));
            }
            let cuts = places(&cuts, wire.len());
            let (seen, _) = transcript(peer(role), &Config::default(), &wire, cuts);
            prop_assert_eq!(seen, want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sampled(3000, 500)))]

    /// Any bytes: frames with something flipped, or noise.
    #[test]
    fn any_bytes_under_any_cut_give_the_same_events_error_and_output(
        items in vec(item(), 0..4),
        noise in vec(any::<u8>(), 0..40),
        flips in vec((0.0..1.0f64, any::<u8>()), 0..3),
        cuts in vec(0.0..1.0f64, 0..4),
    ) {
        let config = Config {
            max_message: 400,
            max_frame: Some(300),
            max_fragments: 4,
            read_buffer: 512,
            ..Config::default()
        };
        for role in ROLES {
            let (mut wire, _) = wire(role, &items);
            for (at, bits) in &flips {
                let at = (at * wire.len() as f64) as usize;
                if let Some(byte) = wire.get_mut(at) {
                    *byte ^= bits;
                }
            }
            wire.extend(&noise);
            let whole = transcript(role, &config, &wire, []);
            sent(&whole.1); // whole frames
            prop_assert_eq!(&transcript(role, &config, &wire, 0..wire.len()), &whole);
            let cuts = places(&cuts, wire.len());
            prop_assert_eq!(&transcript(role, &config, &wire, cuts), &whole);
        }
    }

    /// The quick path takes whole small messages; byte by byte, the slow one takes all.
    #[test]
    fn the_quick_path_and_the_slow_one_agree_on_every_single_frame(
        b0 in prop_oneof![Just(TEXT), Just(BINARY), any::<u8>()],
        b1 in any::<u8>(),
        rest in vec(any::<u8>(), 0..140),
        limit in 0usize..140,
    ) {
        let mut wire = vec![b0, b1];
        wire.extend(&rest);
        let config = Config { max_message: limit, ..Config::default() };
        for role in ROLES {
            let whole = transcript(role, &config, &wire, []);
            prop_assert_eq!(&transcript(role, &config, &wire, 0..wire.len()), &whole);
            prop_assert_eq!(&transcript(role, &config, &wire, [1]), &whole);
        }
    }

    /// Headers: parsing is total, and what it accepts encodes to the same bytes.
    #[test]
    fn a_header_that_parses_encodes_to_itself(wire in vec(any::<u8>(), 0..16)) {
        use tickwire::frame::Header;
        if let Ok(Some((header, n))) = Header::parse(&wire) {
            let (bytes, m) = header.encode();
            prop_assert_eq!(&bytes[..m], &wire[..n]);
            for cut in 0..n {
                prop_assert_eq!(Header::parse(&wire[..cut]), Ok(None));
            }
        } else if let Err(error) = Header::parse(&wire) {
            // Nothing behind it makes it better.
            let longer = [&wire[..], &[0; 16]].concat();
            prop_assert_eq!(Header::parse(&longer), Err(error));
        }
    }
}

#[test]
fn every_length_and_every_cut_of_one_frame() {
    // P024: lengths 0..=300, both roles, text and binary.
    for (role, len) in product(ROLES, (0..=300).step_by(times(sampled(1, 7), 125))) {
        let payload: Vec<u8> = (0..len).map(|i| (i % 96 + 32) as u8).collect();
        for b0 in [TEXT, BINARY] {
            let wire = frame_to(role, b0, &payload);
            let whole = transcript(role, &Config::default(), &wire, []);
            assert_eq!(whole.0.len(), 1);
            for cut in (0..=wire.len()).step_by(every(23)) {
                assert_eq!(transcript(role, &Config::default(), &wire, [cut]), whole);
            }
        }
    }
}

/// Whether some legal header of an end begins with these bytes, by the numbers that the length can
/// still become. `None` for the mask bit: either will do.
fn can_become_legal(begun: &[u8], mask_bit: Option<u8>, first_byte: impl Fn(u8) -> bool) -> bool {
    let [b0, rest @ ..] = begun else { return true };
    let control = b0 & 0x08 != 0;
    if !first_byte(*b0) || (control && b0 & 0x80 == 0) {
        return false;
    }
    let [b1, length @ ..] = rest else { return true };
    let len7 = b1 & 0x7f;
    if mask_bit.is_some_and(|bit| b1 & 0x80 != bit) {
        return false;
    }
    if control && (len7 > 125 || (b0 & 0x0f == 8 && len7 == 1)) {
        return false;
    }
    let (bytes, legal) = match len7 {
        126 => (2, 126..=0xffff),
        127 => (8, 0x1_0000..=i64::MAX as u64),
        _ => return true,
    };
    let filled = |with| {
        let all = (0..bytes).map(|i| length.get(i).copied().unwrap_or(with));
        all.fold(0, |n, byte| n << 8 | u64::from(byte))
    };
    filled(0) <= *legal.end() && filled(0xff) >= *legal.start()
}

fn is_opcode(b0: u8) -> bool {
    matches!(b0 & 0x0f, 0 | 1 | 2 | 8 | 9 | 10)
}

#[test]
fn a_header_is_refused_at_the_first_byte_that_leaves_no_legal_one() {
    /// Goes on with each byte that makes a difference, for as long as it is legal.
    fn go_on(begun: &mut Vec<u8>) {
        let legal = can_become_legal(begun, None, is_opcode);
        assert_eq!(Header::parse(begun).is_ok(), legal, "{begun:02x?}");
        let more: &[u8] = match begun.len() {
            _ if !legal => return,
            0 | 1 => &std::array::from_fn::<u8, 256, _>(|i| i as u8),
            2..10 if begun[1] & 0x7e == 0x7e => &[0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0xff],
            _ => return,
        };
        // The length is the same for all data frames.
        if begun.len() == 2 && !matches!(begun[0], 0x82 | 0x01) {
            return;
        }
        // Deep below, what a byte can still change is whether the length is short.
        let more = if begun.len() > 4 { &more[..2] } else { more };
        for byte in more.iter().step_by(times(1, more.len().div_ceil(12))) {
            begun.push(*byte);
            go_on(begun);
            begun.pop();
        }
    }
    go_on(&mut Vec::new());
}

// P005, P006, P017, P038
#[test]
fn a_frame_is_refused_at_the_first_byte_that_leaves_no_legal_one_here() {
    let deflated = if cfg!(feature = "deflate") { &[false, true][..] } else { &[false] };
    for (role, &deflate) in product([Role::Server, Role::Client], deflated) {
        for inside in [false, true] {
            let mut opening = frame_to(role, TEXT, "a message, begun");
            opening[0] &= 0x7f;
            let legal = |b0: u8| {
                let fragment = b0 & 0x0f == 0;
                let data = matches!(b0 & 0x0f, 1 | 2);
                let rsv = if deflate && data { 0x30 } else { 0x70 };
                is_opcode(b0) && b0 & rsv == 0 && (!fragment || inside) && !(data && inside)
            };
            let mask_bit = if role == Role::Server { 0x80 } else { 0 };
            for [b0, b1] in (0..=u16::MAX).step_by(times(sampled(1, 5), 4093)).map(u16::to_be_bytes)
            {
                for third in [0, 1, 0x7f, 0x80] {
                    let mut conn = if deflate { deflating(role) } else { undeflated(role) };
                    if inside {
                        arrive(&mut conn, &opening);
                        assert_eq!(conn.step(), Ok(Step::NeedInput));
                    }
                    let wire = [b0, b1, third];
                    // Behind the header's first two bytes only a length is the header's.
                    let len = if b1 & 0x7e == 0x7e { 3 } else { 2 };
                    for end in 1..=len {
                        arrive(&mut conn, &wire[end - 1..end]);
                        let legal = can_become_legal(&wire[..end], Some(mask_bit), legal);
                        let step = conn.step();
                        match step {
                            Err(RecvError::Protocol(_)) => assert!(!legal, "{wire:02x?} {end}"),
                            _ => assert!(legal, "{role:?} {inside} {wire:02x?} {end} {step:?}"),
                        }
                        if !legal {
                            break;
                        }
                    }
                    if len == 2 {
                        break;
                    }
                }
            }
        }
    }
}

fn undeflated(role: Role) -> Connection {
    connection(role, &Config::default())
}

#[cfg(feature = "deflate")]
fn deflating(role: Role) -> Connection {
    agreeing(tickwire::deflate::DeflateParams::default(), || undeflated(role))
}

#[cfg(not(feature = "deflate"))]
fn deflating(role: Role) -> Connection {
    undeflated(role)
}

/// Gives the key of the RFC's examples.
struct ExampleKey;

impl Entropy for ExampleKey {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.chunks_mut(4).for_each(|c| c.copy_from_slice(&KEY[..c.len()]));
    }
}

const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

#[test]
fn the_examples_of_rfc_6455_are_sent_byte_for_byte() {
    let mut server = server(&Config::default());
    server.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x81\x05Hello");
    server.sender_mut().ping(b"Hello").unwrap();
    assert_eq!(drain(&mut server), b"\x89\x05Hello");
    let block: Vec<u8> = (0..=255).collect();
    server.sender_mut().feed(&block).unwrap();
    assert_eq!(drain(&mut server), [b"\x82\x7e\x01\x00", &block[..]].concat());
    let long = vec![7; 65536];
    server.sender_mut().feed(&long).unwrap();
    assert_eq!(
        drain(&mut server),
        [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &long[..]].concat()
    );

    let mut client =
        tickwire::Connection::client(&Config::default(), Negotiated::default(), ExampleKey);
    client.sender_mut().feed("Hello").unwrap();
    assert_eq!(drain(&mut client), MASKED_HELLO);
    assert_eq!(receive(&mut client, b"\x89\x05Hello"), [Seen::Ping(b"Hello".to_vec())]);
    assert_eq!(drain(&mut client), b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

// P001
#[test]
fn every_field_of_a_header_is_where_the_rfc_has_it_and_encoding_is_the_inverse() {
    let wire = [0xf1, 0xfe, 0x01, 0x02, 0xa, 0xb, 0xc, 0xd];
    let (header, n) = Header::parse(&wire).unwrap().unwrap();
    assert!(header.fin && header.rsv1 && header.rsv2 && header.rsv3);
    assert_eq!((header.opcode, header.payload_len, n), (OpCode::Text, 0x0102, 8));
    assert_eq!(header.masking_key, Some([0xa, 0xb, 0xc, 0xd]));
    let wire = [0x02, 127, 0, 1, 2, 3, 4, 5, 6, 7];
    let (header, n) = Header::parse(&wire).unwrap().unwrap();
    assert!(!(header.fin || header.rsv1 || header.rsv2 || header.rsv3));
    assert_eq!((header.opcode, header.payload_len, n), (OpCode::Binary, 0x0001_0203_0405_0607, 10));
    for (b0, key) in product(0..=255_u8, [None, Some(KEY)]) {
        for len in [0, 1, 125, 126, 0xffff, 0x1_0000, u64::MAX >> 1] {
            let wire = head(b0, key, Len::of(len));
            let control = b0 & 0x08 != 0;
            let fault = match b0 & 0xf {
                3..=7 | 11..=15 => Some(ProtocolError::ReservedOpCode),
                _ if control && (b0 & 0x80 == 0 || len > 125) => {
                    Some(ProtocolError::BadControlFrame)
                }
                8 if len == 1 => Some(ProtocolError::ShortClose),
                _ => None,
            };
            match (Header::parse(&wire), fault) {
                (Ok(Some((header, n))), None) => {
                    assert_eq!((n, header.payload_len), (wire.len(), len));
                    let (again, n) = header.encode();
                    assert_eq!(again[..n], wire);
                }
                (parsed, fault) => assert_eq!(parsed.err(), fault, "{wire:x?}"),
            }
        }
    }
}

// P002
#[test]
fn where_reads_cut_the_wire_changes_nothing() {
    for role in ROLES {
        let long = vec![b'x'; 70_000];
        let mut wire = [
            frame_to(role, TEXT_OPEN, "He"),
            frame_to(role, PING, "?"),
            frame_to(role, CONT, "llo"),
            frame_to(role, BINARY, vec![7; 200]),
            frame_to(role, PONG, ""),
        ]
        .concat();
        let mut want =
            vec![Seen::Ping(b"?".to_vec()), text("Hello"), binary([7; 200]), Seen::Pong(vec![])];
        assert_eq!(delivers(role, &wire, &want), [(PONG, b"?".to_vec())]);
        for cut in 0..=wire.len() {
            let (seen, output) = transcript(role, &Config::default(), &wire, [cut]);
            assert_eq!((seen, sent(&output)), (want.clone(), vec![(PONG, b"?".to_vec())]));
        }
        // A header of every length, cut at each of its offsets.
        wire.extend(frame_to(role, BINARY, &long));
        want.push(binary(&long));
        let key = if role == Role::Server { 4 } else { 0 };
        let at = wire.len() - long.len() - 10 - key;
        for cut in at..at + 15 {
            assert_eq!(transcript(role, &Config::default(), &wire, [cut]).0, want);
            assert_eq!(Header::parse(&wire[at..cut]).unwrap().is_some(), cut - at >= 10 + key);
        }
    }
}

// P016
#[test]
fn an_error_is_told_once_and_nothing_behind_it_is_parsed() {
    for role in ROLES {
        let wire = [
            frame_to(role, TEXT, "before"),
            frame_to(role, 0x83, "x"),
            frame_to(role, TEXT, "behind"),
            frame_to(role, CLOSE, ""),
            vec![0xff; 5000],
        ];
        let error = ProtocolError::ReservedOpCode;
        let before = [text("before")];
        assert_eq!(fails_behind(role, &Config::default(), &wire.concat(), &before, error), []);
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &wire.concat());
        drain(&mut conn);
        for more in wire.iter().chain([&vec![0x55; 1 << 20]]) {
            arrive(&mut conn, more);
            assert_eq!(conn.step(), Err(error.into()));
            assert_eq!(conn.step_chunk(), Err(error.into()));
            let rx = conn.receiver_mut();
            assert!(rx.event().is_none() && rx.message().is_none() && rx.chunk().is_none());
            assert!(rx.take_message().is_none() && !rx.info().more);
            let buffer = rx.reclaim();
            rx.lend(buffer);
            assert!(!conn.sender().has_outgoing());
        }
        conn.receiver_mut().end_of_stream();
        conn.report(Report::WriteFailed);
        assert_eq!(conn.step(), Err(error.into()));
    }
}

// P017
#[test]
fn what_two_bytes_show_to_be_illegal_is_refused_on_them() {
    use ProtocolError::*;
    for role in ROLES {
        let bit = if role == Role::Server { 0x80 } else { 0 };
        let masking = if role == Role::Server { MaskRequired } else { MaskForbidden };
        for (b0, b1, error) in [
            (0xc1, bit | 5, ReservedBits),
            (0x83, bit | 127, ReservedOpCode),
            (0x09, bit, BadControlFrame),
            (CONT, bit | 1, UnexpectedContinuation),
        ] {
            fails(role, &[b0, b1], error);
            let mut conn = connection(role, &Config::default());
            let seen = receive(&mut conn, &[b0]);
            assert_eq!(seen, [Seen::Failed(error.into())], "one byte is enough to tell");
        }
        for (b0, b1, error) in [
            (PING, bit | 126, BadControlFrame),
            (CLOSE, bit | 127, BadControlFrame),
            (CLOSE, bit | 1, ShortClose),
            (TEXT, (bit ^ 0x80) | 126, masking),
        ] {
            fails(role, &[b0, b1], error);
            let mut conn = connection(role, &Config::default());
            assert_eq!(receive(&mut conn, &[b0]), [], "one byte is not enough to tell");
            assert_eq!(receive(&mut conn, &[b1]), [Seen::Failed(error.into())]);
        }
    }
}

// P018
#[test]
fn an_end_inside_a_frame_is_abnormal_and_delivers_none_of_it() {
    for role in ROLES {
        for b0 in [TEXT, BINARY, PING, CLOSE] {
            let code = if b0 == TEXT { b"ab" } else { b"\x03\xe8" };
            let whole = frame_to(role, b0, [code, &b"xy"[..]].concat());
            for cut in 0..whole.len() {
                assert_eq!(delivers(role, &whole[..cut], &[]), [], "{cut} of {whole:x?}");
            }
        }
        // In pieces it is seen as it comes, and never as the last.
        let mut conn = connection(role, &Config::default());
        let whole = frame_to(role, BINARY, "abc");
        arrive(&mut conn, &whole[..whole.len() - 1]);
        conn.receiver_mut().end_of_stream();
        let seen = chunks(&mut conn);
        let want = Seen::Chunk(DataKind::Binary, b"ab".to_vec(), false);
        assert_eq!(seen, [want, Seen::Failed(RecvError::UnexpectedEof)]);
    }
}
