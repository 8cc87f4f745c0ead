//! How the wire is cut changes nothing; whatever comes over it, nothing breaks.
use crate::support::{cases, wire::*};
use proptest::{collection::vec, prelude::*};
use tickwire::{Chunk, Config, DataKind, Role};

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
                wire.extend(to(role, if *pong { PONG } else { PING }, payload));
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
                    wire.extend(to(
                        role,
                        if first { opcode } else { CONT_OPEN },
                        &bytes[from..end],
                    ));
                    (from, first) = (end, false);
                    if let Some(ping) = pings.get(i) {
                        wire.extend(to(role, PING, [*ping]));
                        seen.push(Seen::Ping(vec![*ping]));
                    }
                }
                let opcode = if *is_text { TEXT } else { BINARY };
                wire.extend(to(role, if first { opcode } else { CONT }, &bytes[from..]));
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
        feed(&mut conn, &wire[from..cut]);
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
    #![proptest_config(cases(sampled(300, 100) as u32))]

    /// P002, P024, P033, A13, A14
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
    #![proptest_config(cases(sampled(3000, 500) as u32))]

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
            let wire = to(role, b0, &payload);
            let whole = transcript(role, &Config::default(), &wire, []);
            assert_eq!(whole.0.len(), 1);
            for cut in (0..=wire.len()).step_by(every(23)) {
                assert_eq!(transcript(role, &Config::default(), &wire, [cut]), whole);
            }
        }
    }
}
