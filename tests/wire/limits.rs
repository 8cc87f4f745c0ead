//! Every limit at the limit and one beyond (docs/RULES.md 1 and 13).
use crate::{delivers_with, fails, fails_with, support::wire::*};
use tickwire::{Config, DataKind, ProtocolError, RecvError, Role, SendError, Step, mask::Masker};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

#[test]
fn limits_on_messages_do_not_hold_for_chunks_and_that_on_frames_does() {
    let config =
        Config { max_message: 10, max_frame: Some(20), max_fragments: 2, ..Config::default() };
    for role in ROLES {
        let mut wire = frame_to(role, BINARY_OPEN, [1; 20]);
        wire.extend(frame_to(role, CONT_OPEN, [1; 20]).repeat(30));
        wire.extend(frame_to(role, CONT, [1; 20]));
        let mut conn = connection(role, &config);
        arrive(&mut conn, &wire);
        assert_eq!(join(chunks(&mut conn)), [binary([1; 640])]);
        // The next is whole again, and held against them.
        let error = RecvError::MessageTooBig { limit: 10 };
        assert_eq!(receive(&mut conn, &frame_to(role, BINARY, [1; 11])), [Seen::Failed(error)]);

        let mut conn = connection(role, &config);
        arrive(
            &mut conn,
            &[frame_to(role, BINARY_OPEN, [1; 20]), frame_to(role, CONT, [1; 21])].concat(),
        );
        let error = RecvError::FrameTooBig { limit: 20 };
        let want = [Seen::Chunk(DataKind::Binary, vec![1; 20], false), Seen::Failed(error)];
        assert_eq!(chunks(&mut conn), want);
    }
}

#[test]
fn a_message_begun_in_chunks_is_not_whole_within_the_limits() {
    // A header taken while chunks were asked for, then `step`: the limit holds again.
    let config = Config { max_message: 10, max_frame: Some(100), ..Config::default() };
    for role in ROLES {
        let wire = frame_to(role, BINARY, [1; 50]);
        let mut conn = connection(role, &config);
        arrive(&mut conn, &wire[..wire.len() - 50]);
        assert_eq!(chunks(&mut conn), []);
        arrive(&mut conn, &wire[wire.len() - 50..]);
        let error = RecvError::MessageTooBig { limit: 10 };
        assert_eq!(events(&mut conn), [Seen::Failed(error)]);
    }
}

#[test]
fn a_large_message_in_chunks_takes_constant_memory() {
    // A read of `max_read`, with a header for each `read_buffer` in it.
    const READ: usize = (64 << 10) + 4 * 14;
    for role in ROLES {
        let total = times(16 << 20, 66_000);
        let config = Config { max_frame: Some(total), ..Config::default() };
        let mut conn = connection(role, &config);
        let key = key_of(peer(role));
        arrive(&mut conn, &head(BINARY, key, Len::Long(total as u64)));
        let (mut sent, mut got) = (0, 0);
        let mut masker = key.map(Masker::new);
        let mut last = false;
        while !last {
            let spare = conn.receiver_mut().spare_mut();
            assert!(spare.len() <= READ);
            let n = spare.len().min(total - sent);
            let piece = &mut spare[..n];
            piece.fill(0x5a);
            if let Some(masker) = &mut masker {
                masker.apply(piece);
            }
            conn.receiver_mut().commit(n);
            sent += n;
            while conn.step_chunk() == Ok(Step::Message) {
                let chunk = conn.receiver().chunk().unwrap();
                got += chunk.data.len();
                assert!(chunk.data.iter().step_by(511).all(|b| *b == 0x5a));
                last = chunk.last;
            }
        }
        assert_eq!((sent, got), (total, total));
        assert!(
            conn.receiver_mut().reclaim().len() <= READ + 8,
            "memory follows what is kept, not what passed"
        );
    }
}

/// Sent in pieces of these lengths, the message is received, or fails so with this Close: through
/// the core however it is cut, and if it is short through all carriers.
fn pieces(role: Role, config: &Config, lens: &[usize], error: Option<(RecvError, u16)>) {
    for first in [TEXT_OPEN, BINARY_OPEN] {
        let mut wire = Vec::new();
        for (i, &len) in lens.iter().enumerate() {
            let fin = if i + 1 == lens.len() { 0x80 } else { 0 };
            let opcode = if i == 0 { first } else { CONT_OPEN };
            wire.extend(frame_to(role, fin | opcode, vec![b'x'; len]));
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
        // Found at the header, before any of its payload (P010, P015).
        let header = &wire[..last_header];
        if error.is_some() {
            let (seen, _) = transcript(role, config, header, []);
            assert_eq!(seen.len(), 1, "{lens:?}");
        }
        if wire.len() < times(2000, 200) {
            let (seen, output) = transcript(role, config, &wire, 0..wire.len());
            let whole = (vec![want.clone()], close);
            assert_eq!((seen, sent(&output)), whole, "{lens:?} byte by byte");
        }
        // Most of the carriers take a byte at a time.
        let short = if lens.len() == 1 { 2000 } else { 100 };
        if wire.len() < times(short, 30) {
            match error {
                None => drop(delivers_with(role, config, &wire, &[want])),
                Some((error, _)) => {
                    fails_with(role, config, &wire, error);
                    fails_with(role, config, header, error);
                }
            }
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
        (message(10), vec![4, 4, 2], None),
        (message(10), vec![4, 4, 3], big(10)),
    ];
    let lens = [0, 1, 100, 125, 126, 127, 1000, 4095, 4096, 65535, 65536, 70_000];
    for limit in lens.into_iter().take(times(12, 6)) {
        cases.push((message(limit), vec![limit], None));
        cases.push((message(limit), vec![limit + 1], big(limit as u32)));
    }
    let lens = [0, 1, 50, 100, 125, 126, 1000, 5000, 66_000];
    for limit in lens.into_iter().take(times(9, 6)) {
        let error = Some((RecvError::FrameTooBig { limit: limit as u32 }, 1009));
        cases.push((frame(limit), vec![limit], None));
        cases.push((frame(limit), vec![limit, limit, 0], None));
        cases.push((frame(limit), vec![limit + 1], error));
        cases.push((frame(limit), vec![limit, limit + 1], error));
    }
    for limit in [1, 2, 3, 10, 50].into_iter().take(times(5, 4)) {
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
        let mut wire =
            [frame_to(role, TEXT_OPEN, "a"), frame_to(role, CONT, "b")].concat().repeat(20);
        let (seen, _) =
            transcript(role, &Config { max_fragments: 2, ..Config::default() }, &wire, []);
        assert_eq!(seen, vec![text("ab"); 20]);
        wire = frame_to(role, TEXT, "a").repeat(20);
        let (seen, _) =
            transcript(role, &Config { max_fragments: 1, ..Config::default() }, &wire, []);
        assert_eq!(seen, vec![text("a"); 20]);
        let none =
            Config { max_message: 0, max_frame: Some(0), max_fragments: 0, ..Config::default() };
        let (seen, _) = transcript(role, &none, &frame_to(role, PING, "not data"), []);
        assert_eq!(seen, [Seen::Ping(b"not data".to_vec())]);
        // With no fragments at all, cut or whole, it is the same.
        for (b0, payload) in [(BINARY, "x"), (TEXT, "xyz")] {
            let wire = frame_to(role, b0, payload);
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
                arrive(&mut conn, &head(b0, key_of(peer(role)), Len::Long(n)));
                assert!(conn.receiver_mut().spare_mut().len() <= 256 << 10);
                assert_eq!(events(&mut conn), want, "{role:?} {n}");
            }
        }
    }
}

#[test]
fn what_will_be_refused_is_not_one_more_message() {
    for role in ROLES {
        let large = frame_to(role, BINARY, [1; 101]);
        let ping = frame_to(role, PING, "");
        let small = frame_to(role, TEXT, "small");
        let begins = frame_to(role, BINARY_OPEN, [1; 101]);
        let after = |frames: &[&Vec<u8>]| {
            let config = Config { max_message: 100, ..Config::default() };
            let mut conn = connection(role, &config);
            arrive(&mut conn, &frame_to(role, TEXT, "first"));
            for frame in frames {
                arrive(&mut conn, frame);
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

// P010
#[test]
fn a_length_above_the_limit_is_refused_at_the_header_and_reserves_nothing() {
    for (role, len) in product(ROLES, [(1 << 24) + 1, 1 << 31, 1 << 32, u64::MAX >> 1]) {
        let wire = head(BINARY, key_of(peer(role)), Len::Long(len));
        fails(role, &wire, RecvError::MessageTooBig { limit: 1 << 24 });
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &wire);
        assert!(conn.receiver_mut().spare_mut().len() <= 64 << 10);
    }
}

// P011
#[test]
fn a_length_that_32_bits_do_not_hold_is_not_cut_to_what_they_do() {
    // On a target of 32 bits this limit is the largest there is.
    let limit = u32::MAX as usize;
    let config = Config { max_message: limit, max_frame: Some(limit), ..Config::default() };
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [1 << 32, (1 << 32) + 5, (1 << 62) + 5] {
            let wire = [head(BINARY, key, Len::Long(len)), vec![0; 5]].concat();
            let error = RecvError::MessageTooBig { limit: u32::MAX };
            fails_with(role, &config, &wire, error);
            fails_with(role, &config, &wire[..wire.len() - 5], error);
        }
        // The sum of fragments.
        let begun = frame_to(role, BINARY_OPEN, [0; 6]);
        let wire = [begun, head(CONT, key, Len::Long(u32::MAX.into()))].concat();
        fails_with(role, &config, &wire, RecvError::MessageTooBig { limit: u32::MAX });
    }
}

// P206
#[test]
fn each_limit_is_finite_by_default() {
    for role in ROLES {
        // The defaults: 16 MiB a message and a frame, 131,072 fragments, 1 MiB queued.
        let header = |n: u64| head(BINARY, key_of(peer(role)), Len::Long(n));
        let verdict = |wire: &[u8]| receive(&mut connection(role, &Config::default()), wire);
        assert_eq!(verdict(&header(16 << 20)), []);
        let error = RecvError::MessageTooBig { limit: 16 << 20 };
        assert_eq!(verdict(&header((16 << 20) + 1)), [Seen::Failed(error)]);
        let open =
            [frame_to(role, TEXT_OPEN, ""), frame_to(role, CONT_OPEN, "").repeat(131_071)].concat();
        assert_eq!(verdict(&open), []);
        let error = RecvError::TooManyFragments { limit: 131_072 };
        let more = [open, frame_to(role, CONT_OPEN, "")].concat();
        assert_eq!(verdict(&more), [Seen::Failed(error)]);
        let mut conn = connection(role, &Config::default());
        while conn.sender().buffered_amount() < 1 << 20 {
            conn.sender_mut().feed(&[0; 4090]).unwrap();
        }
        assert!(matches!(conn.sender_mut().feed(b""), Err(SendError::Full { .. })));
    }
    // Heads, headers, request lines and interim responses are at P106 and P133, Pongs at P042.
}

// P212
#[test]
fn memory_follows_the_bytes_received_and_not_those_announced() {
    for (role, b0) in product(ROLES, [BINARY, TEXT_OPEN]) {
        let config = Config { max_message: 2 << 30, ..Config::default() };
        let mut conn = connection(role, &config);
        arrive(&mut conn, &head(b0, key_of(peer(role)), Len::Long(1 << 30)));
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        assert!(conn.receiver_mut().spare_mut().len() < 64 << 10);
        assert!(conn.receiver_mut().reclaim().capacity() < 64 << 10);
    }
}
