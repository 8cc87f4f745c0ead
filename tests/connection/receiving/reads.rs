//! What a read may commit, and what is known of the read that completed a message: how many others
//! it completed before, whether another is here, and when its bytes arrived.
use crate::support::wire::*;
use std::time::Duration;
use testkit::Rng;
use tickwire::{Arrival, Config, Step, Time};

#[test]
fn info_tells_whether_another_whole_message_is_here() {
    for role in ROLES {
        let tick = frame_to(role, BINARY, "tick");
        let ping = frame_to(role, PING, "");
        for (behind, more) in [
            (vec![], false),
            (tick.clone(), true),
            (tick[..tick.len() - 1].to_vec(), false),
            ([&ping[..], &tick].concat(), true),
            ([&ping[..], &ping].concat(), false),
            (frame_to(role, BINARY_OPEN, "part"), false),
            ([frame_to(role, CLOSE, ""), tick.clone()].concat(), false),
        ] {
            for eof in [false, true] {
                // Two in front, since the end of the stream ends the current message.
                let mut conn = connection(role, &Config::default());
                arrive(&mut conn, &[&tick[..], &tick, &behind].concat());
                assert_eq!(next(&mut conn), Some(binary("tick")));
                assert!(conn.receiver().info().more);
                if eof {
                    conn.receiver_mut().end_of_stream();
                }
                assert_eq!(next(&mut conn), Some(binary("tick")));
                assert_eq!(conn.receiver().info().more, more, "{role:?} eof {eof} {behind:02x?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "committed more than was spare")]
fn committing_more_than_there_was_room_for_panics() {
    let mut conn = server(&Config::default());
    conn.receiver_mut().spare_mut();
    conn.receiver_mut().commit(1 << 20);
}

/// A lent buffer may be longer than the room, and hold old bytes of another connection.
#[test]
#[should_panic(expected = "committed more than was spare")]
fn committing_more_than_the_room_of_a_longer_buffer_panics() {
    let mut conn = server(&Config::default());
    conn.receiver_mut().lend(vec![0x82; 64 * 1024]);
    let room = conn.receiver_mut().spare_mut().len();
    assert!(room < 64 * 1024);
    conn.receiver_mut().commit(room + 1);
}

/// A read may be committed in parts.
#[test]
fn a_read_is_committed_in_parts() {
    let mut conn = server(&Config::default());
    let wire = [0x82, 0x81, 0, 0, 0, 0, 7];
    conn.receiver_mut().spare_mut()[..7].copy_from_slice(&wire);
    conn.receiver_mut().commit(3);
    conn.receiver_mut().commit(4);
    assert_eq!(conn.step(), Ok(Step::Message));
}

#[test]
fn spare_is_never_empty_whatever_the_limits() {
    // An empty read would look like the end of the stream.
    for (role, buffer) in product(ROLES, [0, 512, 513, 1 << 16]) {
        for max in [0, 1, 600, 100_000].into_iter().take(times(4, 2)) {
            let config = Config { read_buffer: buffer, max_message: max, ..Config::default() };
            let mut conn = connection(role, &config);
            let wire = [
                frame_to(role, BINARY_OPEN, vec![1; max / 2]),
                frame_to(role, PING, vec![2; 125]).repeat(20),
                frame_to(role, CONT, vec![3; max - max / 2]),
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
        let wire: Vec<u8> = all().flat_map(|i| frame_to(role, BINARY, i.to_be_bytes())).collect();
        arrive(&mut conn, &wire);
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

/// Messages of all kinds: the wire, and where each one ends that is handed out.
fn mixed(rng: &mut Rng, role: tickwire::Role) -> (Vec<u8>, Vec<usize>) {
    let (mut wire, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let len = rng.below(60);
        let payload = vec![b'x'; len];
        match rng.below(5) {
            0 => {
                wire.extend(frame_to(role, TEXT_OPEN, &payload));
                wire.extend(frame_to(role, PING, b"between"));
                wire.extend(frame_to(role, CONT, b"end"));
            }
            1 => {
                wire.extend(frame_to(role, PONG, b"unasked"));
                continue;
            }
            _ => wire.extend(frame_to(role, BINARY, &payload)),
        }
        ends.push(wire.len());
    }
    (wire, ends)
}

#[test]
fn a_message_knows_how_many_the_same_read_completed_before_it() {
    let rng = &mut Rng::new(18);
    let config = Config::default();
    for round in 0..times(400, 4) {
        let role = ROLES[round % 2];
        let (wire, ends) = mixed(rng, role);
        let mut conn = connection(role, &config);
        let (mut at, mut seen) = (0, Vec::new());
        let mut want = Vec::new();
        while at < wire.len() {
            let most = if rng.once_in(4) { wire.len() } else { 90 };
            let n = read_once(&mut conn, rng.cut(&wire[at..], most).0);
            let completed = ends.iter().filter(|end| (at + 1..=at + n).contains(end));
            want.extend(0..completed.count() as u32);
            at += n;
            loop {
                match conn.step().unwrap() {
                    Step::NeedInput => break,
                    Step::Message => seen.push(conn.receiver().info().ahead),
                    _ => {}
                }
            }
        }
        assert_eq!(seen, want, "round {round}, {role:?}");
    }
}

#[test]
fn a_piece_counts_the_messages_before_its_own() {
    for (role, mut conn) in connections(&Config::default()) {
        let wire =
            [frame_to(role, TEXT, "a"), frame_to(role, TEXT, "b"), frame_to(role, TEXT_OPEN, "c")]
                .concat();
        read_once(&mut conn, &wire);
        let mut next = |wire: &[u8]| {
            if !wire.is_empty() {
                read_once(&mut conn, wire);
            }
            assert_eq!(conn.step_chunk(), Ok(Step::Message));
            conn.receiver().info().ahead
        };
        assert_eq!([next(b""), next(b""), next(b"")], [0, 1, 2]);
        assert_eq!(next(&frame_to(role, CONT_OPEN, "d")), 0);
        assert_eq!(next(&frame_to(role, CONT, "e")), 0);
    }
}

/// What came with the head of the handshake is one read, as are bytes in a buffer of the caller's.
#[test]
fn bytes_that_are_lent_are_a_read() {
    let mut conn = server(&Config::default());
    for _ in 0..2 {
        let wire = [masked(TEXT, "a"), masked(TEXT, "b")].concat();
        let mut buffer = vec![0; 4096];
        buffer[..wire.len()].copy_from_slice(&wire);
        assert_eq!(conn.receiver_mut().lend_filled(buffer, wire.len()), None);
        for ahead in 0..2 {
            assert_eq!(conn.step(), Ok(Step::Message));
            assert_eq!(conn.receiver().info().ahead, ahead);
        }
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        conn.receiver_mut().reclaim();
    }
}

#[test]
fn the_times_of_a_read_hold_until_they_are_set_again() {
    let mut conn = server(&Config::default());
    let mut next = |said: Option<(Option<Time>, Option<Arrival>)>| {
        let wire = masked(TEXT, "tick");
        let rx = conn.receiver_mut();
        rx.spare_mut()[..wire.len()].copy_from_slice(&wire);
        rx.commit(wire.len());
        if let Some((at, arrived)) = said {
            rx.set_read(at, arrived);
        }
        assert_eq!(conn.step(), Ok(Step::Message));
        let info = conn.receiver().info();
        (info.read_at, info.arrived)
    };
    let software = Duration::new(1_795_305_390, 676_640_387);
    let arrived = Some(Arrival { software, hardware: Some(Duration::from_secs(7)) });
    let at = Some(Time::new(Duration::from_secs(1)));
    assert_eq!(next(None), (None, None));
    for times in [(at, arrived), (at, None), (None, arrived), (None, None)] {
        assert_eq!([next(Some(times)), next(None)], [times; 2]);
    }
}

// P209
#[cfg(feature = "blocking")]
#[test]
fn nothing_is_read_that_nobody_asks_for() {
    use crate::support::carriers::Line;
    for role in ROLES {
        let wire = frame_to(role, TEXT, "x").repeat(100_000);
        let most = (16 << 10) + 14; // the read buffer, with room for a header
        let line = Line::new(&wire, usize::MAX);
        let conn = connection(role, &Config::default());
        let mut ws = tickwire::blocking::WebSocket::from_parts(line.clone(), conn);
        assert_eq!(line.left(), wire.len());
        for _ in 0..10 {
            assert!(ws.recv().unwrap().is_some());
        }
        assert!(line.left() >= wire.len() - most, "one read is enough for ten");
        #[cfg(feature = "tokio")]
        crate::support::carriers::block_on(async {
            let line = Line::new(&wire, usize::MAX);
            let conn = connection(role, &Config::default());
            let mut ws = tickwire::tokio::WebSocket::from_parts(line.clone(), conn);
            for _ in 0..10 {
                assert!(ws.recv().await.unwrap().is_some());
            }
            assert!(line.left() >= wire.len() - most, "one read is enough for ten");
            let (mut reader, _writer) = ws.into_split();
            assert!(reader.recv().await.unwrap().is_some());
            assert!(line.left() >= wire.len() - most, "split or not");
        });
    }
}
