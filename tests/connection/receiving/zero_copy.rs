//! Where payloads lie: in the buffer the stream was read into, and where the caller put them.
use crate::support::wire::*;
use bytes::{Buf, Bytes};
use testkit::Rng;
use tickwire::{Config, Connection, Message, Outbound, OwnedMessage, Prepared, Sender};

/// Reads `wire` in one go; returns the address of its first byte in the buffer.
fn read_at(conn: &mut Connection, wire: &[u8]) -> usize {
    let spare = conn.receiver_mut().spare_mut();
    let address = spare.as_ptr() as usize;
    spare[..wire.len()].copy_from_slice(wire);
    conn.receiver_mut().commit(wire.len());
    address
}

fn address(conn: &Connection) -> usize {
    conn.receiver().message().unwrap().as_bytes().as_ptr() as usize
}

#[test]
fn a_message_is_a_slice_of_the_buffer_it_was_read_into() {
    for (role, b0) in product(ROLES, [TEXT, BINARY]) {
        for len in [0, 1, 125, 126, 4000, 15_000].into_iter().take(times(6, 4)) {
            let wire = frame_to(role, b0, vec![b'x'; len]);
            let mut conn = connection(role, &Config::default());
            let two = [&wire[..], &wire].concat();
            if two.len() > conn.receiver_mut().spare_mut().len() {
                let base = read_at(&mut conn, &wire);
                conn.step().unwrap();
                assert_eq!(address(&conn), base + wire.len() - len);
                continue;
            }
            let base = read_at(&mut conn, &two);
            conn.step().unwrap();
            assert_eq!(address(&conn), base + wire.len() - len, "{role:?} {len}");
            conn.step().unwrap();
            assert_eq!(address(&conn), base + 2 * wire.len() - len);
        }
    }
}

#[test]
fn a_message_in_one_frame_is_not_moved_when_it_comes_in_two_reads() {
    for (role, len) in product(ROLES, [100, 5000, 15_000].into_iter().take(times(3, 1))) {
        let wire = frame_to(role, BINARY, vec![7; len]);
        for cut in [1, wire.len() - len, wire.len() - len + 50, wire.len() - 1] {
            let mut conn = connection(role, &Config::default());
            let base = read_at(&mut conn, &wire[..cut]);
            assert_eq!(events(&mut conn), []);
            let back = read_at(&mut conn, &wire[cut..]);
            // A header alone that was looked at is let go, which moves nothing.
            let header = wire.len() - len;
            assert!(back == base + cut || (cut == header && back == base));
            conn.step().unwrap();
            assert_eq!(address(&conn), back + header - cut, "{role:?} {len} {cut}");
        }
    }
}

#[test]
fn the_second_fragment_moves_left_over_the_gap_and_the_first_stays() {
    for role in ROLES {
        let wire = [
            frame_to(role, BINARY_OPEN, "one"),
            frame_to(role, PING, "gap"),
            frame_to(role, CONT, "two"),
        ]
        .concat();
        let head = frame_to(role, BINARY_OPEN, "one").len() - 3;
        let mut conn = connection(role, &Config::default());
        let base = read_at(&mut conn, &wire);
        assert_eq!(next(&mut conn), Some(Seen::Ping(b"gap".to_vec())));
        assert_eq!(next(&mut conn), Some(binary("onetwo")));
        assert_eq!(address(&conn), base + head);
    }
}

#[test]
fn a_large_message_taken_is_the_buffer_itself_and_a_small_one_a_copy() {
    for role in ROLES {
        let (large, small) =
            (frame_to(role, TEXT, "x".repeat(12_000)), frame_to(role, BINARY, "small"));
        let mut conn = connection(role, &Config::default());
        read_at(&mut conn, &[&large[..], &small, &small].concat());
        conn.step().unwrap();
        let at = address(&conn);
        let taken = conn.receiver_mut().take_message().unwrap();
        assert_eq!(taken.as_bytes().as_ptr() as usize, at);
        assert_eq!(taken.as_message().as_text().unwrap(), "x".repeat(12_000));
        assert_eq!(conn.receiver().message(), None);
        assert_eq!(conn.receiver_mut().take_message(), None);
        // What followed is kept.
        assert_eq!(next(&mut conn), Some(binary("small")));
        let at = address(&conn);
        let bytes = conn.receiver_mut().take_message().map(bytes::Bytes::from).unwrap();
        assert_ne!(bytes.as_ptr() as usize, at);
        assert_eq!(bytes, "small");
        assert_eq!(next(&mut conn), Some(binary("small")));
        assert_eq!(next(&mut conn), None);
        assert_eq!(receive(&mut conn, &small), [binary("small")]);
        assert_eq!(taken.as_bytes().len(), 12_000); // and stays what it is
    }
}

#[test]
fn taking_messages_in_every_state_loses_nothing() {
    let mut rng = Rng::new(5);
    for role in ROLES {
        let config = Config { read_buffer: 512, ..Config::default() };
        let mut conn = connection(role, &config);
        let mut wire = Vec::new();
        let mut want = Vec::new();
        for i in 0..times(2000, 8) {
            let len = [3, 200, 400, 3000][rng.below(4)];
            let payload = vec![i as u8; len];
            if rng.once_in(3) {
                wire.extend(frame_to(role, BINARY_OPEN, &payload[..len / 2]));
                wire.extend(frame_to(role, PING, ""));
                wire.extend(frame_to(role, CONT, &payload[len / 2..]));
            } else {
                wire.extend(frame_to(role, BINARY, &payload));
            }
            want.push(payload);
        }
        let (mut got, mut rest) = (Vec::new(), &wire[..]);
        while !rest.is_empty() {
            let n = read_once(&mut conn, rng.cut(rest, 1000).0);
            rest = &rest[n..];
            while let Some(event) = next(&mut conn) {
                if let Seen::Binary(copy) = event {
                    if rng.once_in(2) {
                        got.push(
                            conn.receiver_mut()
                                .take_message()
                                .map(bytes::Bytes::from)
                                .unwrap()
                                .to_vec(),
                        );
                    } else {
                        got.push(copy);
                    }
                }
            }
        }
        assert!(got == want);
    }
}

#[test]
fn a_shared_payload_is_written_from_where_it_lies() {
    let config = Config { min_vectored: 1000, ..Config::default() };
    for (len, shared) in [(999, false), (1000, true), (100_000, true)] {
        let payload = Bytes::from(vec![7; len]);
        let prepared = Prepared::new(&payload);
        for way in 0..3 {
            let mut conn = server(&config);
            let here = match way {
                0 => {
                    conn.sender_mut().feed(payload.clone()).unwrap();
                    payload.as_ptr()
                }
                1 => {
                    conn.sender_mut().feed(OwnedMessage::from(payload.clone())).unwrap();
                    payload.as_ptr()
                }
                _ => {
                    conn.sender_mut().feed(&prepared).unwrap();
                    prepared.payload().as_ptr()
                }
            };
            let mut out = conn.sender_mut().outgoing();
            let header = out.remaining() - len;
            out.advance(header);
            // A prepared frame is measured with its header.
            if way < 2 || len != 999 {
                assert_eq!(out.chunk().as_ptr() == here, shared, "way {way}, {len}");
            }
            assert_eq!(out.copy_to_bytes(len), payload);
        }
        // A client masks, and so copies: the caller's bytes are left alone.
        let mut conn = client(&config);
        conn.sender_mut().feed(payload.clone()).unwrap();
        drain(&mut conn);
        assert!(payload.iter().all(|b| *b == 7));
    }
}

#[test]
fn whatever_a_program_has_is_fed_by_value_or_by_reference() {
    let config = Config { min_vectored: 1000, ..Config::default() };
    let by_reference = |tx: &mut Sender, text: &String| {
        let owned = OwnedMessage::from(&**text);
        let fed = [
            tx.feed(&**text),
            tx.feed(text),
            tx.feed(Message::Text(text)),
            tx.feed(&owned),
            tx.feed(&Prepared::new(text)),
            tx.feed(text.as_bytes()),
            tx.feed(&text.as_bytes().to_vec()),
            tx.feed(&Bytes::from(text.clone())),
        ];
        fed.map(Result::unwrap)
    };
    let by_value = |tx: &mut Sender, text: &String| {
        let owned = OwnedMessage::from(&**text);
        let fed = [
            tx.feed(text.clone()),
            tx.feed(owned),
            tx.feed(Prepared::new(text)),
            tx.feed(Outbound::plain(text.clone())),
            tx.feed(text.clone().into_bytes()),
            tx.feed(Bytes::from(text.clone())),
        ];
        fed.map(Result::unwrap)
    };
    let lens = [5, 999, 1000, 70_000].into_iter().take(times(4, 3));
    for (len, role) in product(lens, ROLES) {
        let long = "x".repeat(len);
        let mut conn = connection(role, &config);
        by_reference(conn.sender_mut(), &long);
        by_value(conn.sender_mut(), &long);
        let mut far = connection(peer(role), &Config::default());
        let seen = receive(&mut far, &drain(&mut conn));
        let (text, binary) = (text(&long), binary(&long));
        let expected = [vec![text.clone(); 5], vec![binary.clone(); 3], vec![text; 4]].concat();
        assert_eq!(seen, [expected, vec![binary; 2]].concat(), "{role:?} {len}");
    }
    // A vector of the caller's is written from where it lies too.
    let mut conn = server(&config);
    let payload = vec![7; 1000];
    let here = payload.as_ptr();
    conn.sender_mut().feed(payload).unwrap();
    let mut out = conn.sender_mut().outgoing();
    out.advance(4);
    assert_eq!(out.chunk().as_ptr(), here);
}

#[test]
fn an_echo_borrows_the_message_while_it_feeds_it() {
    for (role, mut conn) in connections(&Config::default()) {
        arrive(&mut conn, &[frame_to(role, TEXT, "a"), frame_to(role, BINARY, "b")].concat());
        while conn.step() == Ok(tickwire::Step::Message) {
            let (rx, tx) = conn.split_mut();
            let message = rx.message().unwrap();
            tx.feed(message).unwrap();
            assert_eq!(rx.message(), Some(message));
        }
        let mut far = connection(peer(role), &Config::default());
        assert_eq!(receive(&mut far, &drain(&mut conn)), [text("a"), binary("b")]);
    }
}
