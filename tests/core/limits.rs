//! Every limit at the limit and one beyond (PROTOCOL.md 1 and 13).
use crate::support::wire::*;
use tickwire::{Config, ProtocolError, RecvError, Role, Step};

/// Sent in pieces of these lengths, the message is received, or fails so with this Close.
fn pieces(role: Role, config: &Config, lens: &[usize], error: Option<(RecvError, u16)>) {
    for first in [TEXT_OPEN, BINARY_OPEN] {
        let mut wire = Vec::new();
        for (i, &len) in lens.iter().enumerate() {
            let fin = if i + 1 == lens.len() { 0x80 } else { 0 };
            let opcode = if i == 0 { first } else { CONT_OPEN };
            wire.extend(to(role, fin | opcode, vec![b'x'; len]));
        }
        let all = vec![b'x'; lens.iter().sum()];
        let last_header = wire.len() - lens[lens.len() - 1];
        let (want, close) = match error {
            None if first == TEXT_OPEN => (text(std::str::from_utf8(&all).unwrap()), vec![]),
            None => (binary(&all), vec![]),
            Some((error, code)) => {
                (Seen::Failed(error), vec![(CLOSE, code.to_be_bytes().to_vec())])
            }
        };
        let places = [0, 1, last_header.saturating_sub(1), last_header, wire.len() - 1, wire.len()];
        for cut in places.into_iter().step_by(every(4)) {
            let (seen, output) = transcript(role, config, &wire, [cut]);
            assert_eq!((seen, sent(&output)), (vec![want.clone()], close.clone()), "{lens:?}");
        }
        if wire.len() < times(2000, 200) {
            let (seen, output) = transcript(role, config, &wire, 0..wire.len());
            assert_eq!((seen, sent(&output)), (vec![want], close), "{lens:?} byte by byte");
        }
        if error.is_some() {
            // Found at the header, before any of its payload (P010, P015).
            let (seen, _) = transcript(role, config, &wire[..last_header], []);
            assert_eq!(seen.len(), 1, "{lens:?}");
        }
    }
}

// P014, P015, P032, P206, A02, A05, A17
#[test]
fn each_limit_is_exact_in_one_frame_and_in_several() {
    let big = |limit| Some((RecvError::MessageTooBig { limit }, 1009));
    let message = |max_message| Config { max_message, ..Config::default() };
    let frame = |limit| Config { max_frame: Some(limit), ..Config::default() };
    let several = |max_fragments| Config { max_fragments, ..Config::default() };
    let mut cases = vec![
        (message(1000), vec![500, 500], None),
        (message(1000), vec![1000, 0, 0], None),
        (message(1000), vec![0, 0, 1000], None),
        (message(1000), vec![300, 300, 300, 100], None),
        (message(1000), vec![500, 501], big(1000)),
        (message(1000), vec![1000, 1], big(1000)),
        (message(1000), vec![1, 1, 1, 998], big(1000)),
    ];
    let lens = [0, 1, 125, 126, 127, 4095, 4096, 65535, 65536, 70_000];
    for limit in lens.into_iter().take(times(10, 5)) {
        cases.push((message(limit), vec![limit], None));
        cases.push((message(limit), vec![limit + 1], big(limit as u32)));
    }
    for limit in [0, 100, 126, 5000, 66_000].into_iter().take(times(5, 3)) {
        let error = Some((RecvError::FrameTooBig { limit: limit as u32 }, 1009));
        cases.push((frame(limit), vec![limit], None));
        cases.push((frame(limit), vec![limit, limit, 0], None));
        cases.push((frame(limit), vec![limit + 1], error));
        cases.push((frame(limit), vec![limit, limit + 1], error));
    }
    for limit in [1, 2, 3, 50].into_iter().take(times(4, 2)) {
        let error = Some((RecvError::TooManyFragments { limit }, 1008));
        for len in [0, 1, 7].into_iter().step_by(every(2)) {
            cases.push((several(limit), vec![len; limit as usize], None));
            cases.push((several(limit), vec![len; limit as usize + 1], error));
        }
    }
    for (role, (config, lens, error)) in product(ROLES, &cases) {
        pieces(role, config, lens, *error);
    }
}

#[test]
fn fragments_are_counted_for_each_message_and_control_frames_against_no_limit() {
    for role in ROLES {
        let mut wire = [to(role, TEXT_OPEN, "a"), to(role, CONT, "b")].concat().repeat(20);
        let (seen, _) =
            transcript(role, &Config { max_fragments: 2, ..Config::default() }, &wire, []);
        assert_eq!(seen, vec![text("ab"); 20]);
        wire = to(role, TEXT, "a").repeat(20);
        let (seen, _) =
            transcript(role, &Config { max_fragments: 1, ..Config::default() }, &wire, []);
        assert_eq!(seen, vec![text("a"); 20]);
        let none =
            Config { max_message: 0, max_frame: Some(0), max_fragments: 0, ..Config::default() };
        let (seen, _) = transcript(role, &none, &to(role, PING, "not data"), []);
        assert_eq!(seen, [Seen::Ping(b"not data".to_vec())]);
        // With no fragments at all, cut or whole, it is the same.
        for (b0, payload) in [(BINARY, "x"), (TEXT, "xyz")] {
            let wire = to(role, b0, payload);
            let config = Config { max_fragments: 0, ..Config::default() };
            let whole = transcript(role, &config, &wire, []);
            assert_eq!(whole, transcript(role, &config, &wire, 0..wire.len()), "{role:?}");
        }
    }
}

/// With 32 bits, a frame and its header together may be longer than a `usize` holds; and room may
/// be asked for before that header was checked.
#[test]
fn a_frames_length_and_its_headers_do_not_wrap() {
    for role in ROLES {
        let config = Config { max_message: usize::MAX, ..Config::default() };
        for n in [u32::MAX - 14, u32::MAX - 1, u32::MAX].map(u64::from) {
            for (b0, want) in [
                (BINARY, vec![]),
                (BINARY | 0x40, vec![Seen::Failed(ProtocolError::ReservedBits.into())]),
            ] {
                let mut conn = connection(role, &config);
                feed(&mut conn, &head(b0, key_of(peer(role)), Len::Long(n)));
                assert!(conn.receiver_mut().spare_mut().len() <= 256 << 10);
                assert_eq!(events(&mut conn), want, "{role:?} {n}");
            }
        }
    }
}

#[test]
fn spare_is_never_empty_whatever_the_limits() {
    // An empty read would look like the end of the stream.
    for (role, buffer) in product(ROLES, [0, 512, 513, 1 << 16]) {
        for max in [0, 1, 600, 100_000].into_iter().take(times(4, 2)) {
            let config = Config { read_buffer: buffer, max_message: max, ..Config::default() };
            let mut conn = connection(role, &config);
            let wire = [
                to(role, BINARY_OPEN, vec![1; max / 2]),
                to(role, PING, vec![2; 125]).repeat(20),
                to(role, CONT, vec![3; max - max / 2]),
            ];
            let (wire, mut seen, mut step) = (wire.concat(), 0, 1);
            for piece in wire.chunks(97) {
                let mut piece = piece;
                while !piece.is_empty() {
                    assert!(!conn.receiver_mut().spare_mut().is_empty());
                    let n = read_once(&mut conn, &piece[..step.min(piece.len())]);
                    piece = &piece[n..];
                    step = step % 50 + 1;
                    seen += events(&mut conn).len();
                }
            }
            assert_eq!(seen, 21, "{role:?} {buffer} {max}");
        }
    }
}

#[test]
fn frames_committed_without_a_step_are_all_kept() {
    for role in ROLES {
        let config = Config { max_message: 100, read_buffer: 512, ..Config::default() };
        let mut conn = connection(role, &config);
        let all = || 0..times(5000, 100) as u32;
        let wire: Vec<u8> = all().flat_map(|i| to(role, BINARY, i.to_be_bytes())).collect();
        feed(&mut conn, &wire);
        let want: Vec<Seen> = all().map(|i| binary(i.to_be_bytes())).collect();
        assert!(events(&mut conn) == want);
    }
}

#[test]
fn one_read_asks_for_what_was_set_and_for_512_bytes_to_16_mib() {
    for role in ROLES {
        for (set, asked) in
            [(0, 512), (512, 512), (1000, 1000), (16 << 10, 16 << 10), (usize::MAX, 16 << 20)]
        {
            let mut conn = connection(role, &Config { read_buffer: set, ..Config::default() });
            let got = conn.receiver_mut().spare_mut().len();
            assert!((asked..=asked + 64).contains(&got), "{set}: {got}");
        }
        let got = connection(role, &Config::default()).receiver_mut().spare_mut().len();
        assert!((16 << 10..=(16 << 10) + 64).contains(&got), "{got} by default");
    }
}

#[test]
fn what_will_be_refused_is_not_one_more_message() {
    for role in ROLES {
        let large = to(role, BINARY, [1; 101]);
        let ping = to(role, PING, "");
        let small = to(role, TEXT, "small");
        let begins = to(role, BINARY_OPEN, [1; 101]);
        let after = |frames: &[&Vec<u8>]| {
            let config = Config { max_message: 100, ..Config::default() };
            let mut conn = connection(role, &config);
            feed(&mut conn, &to(role, TEXT, "first"));
            for frame in frames {
                feed(&mut conn, frame);
            }
            assert_eq!(conn.step(), Ok(Step::Message));
            conn.receiver().info().more
        };
        assert!(after(&[&small]));
        assert!(after(&[&ping, &small]));
        assert!(!after(&[&large]));
        assert!(!after(&[&ping, &large, &ping]));
        assert!(!after(&[&begins, &small]));
        assert!(!after(&[&ping, &large, &large, &ping, &small]));
    }
}
