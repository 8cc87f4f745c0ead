//! Messages, chunks and control frames, both ways.
use crate::{
    MS, Peer, binary, bytes,
    end::End,
    line::How,
    meet, recv_error, says_one_of_each, serve,
    support::{
        blocking::PATIENCE,
        wire::{
            self, BINARY, BINARY_OPEN, CLOSE, CONT, CONT_OPEN, PING, PONG, ROLES, Seen, TEXT,
            TEXT_OPEN, close_body, text,
        },
    },
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, OwnedMessage, ProtocolError, RecvError, Role,
    SendError,
};

crate::everywhere! {
    messages_of_every_length_and_kind_pass_both_ways
    each_message_is_answered_in_order
    fragments_are_one_message_and_a_ping_between_is_answered
    a_message_goes_both_ways_in_chunks
    control_frames_are_seen_as_events
    control_frames_between_chunks_are_answered_and_passed_over
    the_receiver_knows_what_is_at_hand_and_when_it_was_read
    pings_go_out_at_once_and_a_probe_is_timed
    text_that_is_not_utf8_is_refused_with_1007
    what_was_fed_leaves_in_order_with_the_next_flush
    reading_goes_on_while_the_peer_does_not_read
    room_ends_at_high_water_and_comes_back
    both_ends_may_send_much_before_they_receive
    a_receiving_call_that_was_given_up_loses_nothing
    calls_given_up_again_and_again_lose_nothing
    a_flush_that_was_given_up_loses_nothing_and_repeats_nothing
    with_auto_pong_and_auto_close_off_the_caller_answers
}

fn messages_of_every_length_and_kind_pass_both_ways<E: End>() {
    const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 300_000];
    for role in ROLES {
        let far = |peer: &mut Peer| {
            for len in LENGTHS {
                peer.say(BINARY, &bytes(len));
                peer.expect(BINARY, &bytes(len));
                peer.say(TEXT, "ä".repeat(len / 2).as_bytes());
                peer.expect(TEXT, "ä".repeat(len / 2).as_bytes());
            }
        };
        meet(role, &Config::default(), How::PLAIN, far, |mut end: E| {
            for len in LENGTHS {
                assert_eq!(end.recv().unwrap(), Some(wire::binary(bytes(len))));
                end.send(&binary(len)).unwrap();
                assert_eq!(end.recv_owned().unwrap(), Some(text(&"ä".repeat(len / 2))));
                end.send(&OwnedMessage::from("ä".repeat(len / 2))).unwrap();
            }
        });
    }
}

fn each_message_is_answered_in_order<E: End>() {
    let far = |peer: &mut Peer| {
        let batch: Vec<u8> = (0..200).flat_map(|i| peer.frame(BINARY, &bytes(i))).collect();
        std::io::Write::write_all(&mut peer.io, &batch).unwrap();
        for i in 0..200 {
            peer.expect(BINARY, &bytes(i));
        }
        peer.say(CLOSE, &close_body(1000, ""));
        peer.expect(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.hear(), None);
    };
    serve(far, |mut end: E| {
        end.echo().unwrap();
        assert!(end.was_clean());
    });
}

fn fragments_are_one_message_and_a_ping_between_is_answered<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(TEXT_OPEN, b"Hel");
        peer.say(PING, b"between");
        peer.expect(PONG, b"between");
        peer.say(CONT_OPEN, b"");
        peer.say(CONT, b"lo");
    };
    serve(far, |mut end: E| assert_eq!(end.recv().unwrap(), Some(text("Hello"))));
}

fn a_message_goes_both_ways_in_chunks<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(BINARY_OPEN, b"ab");
        peer.say(CONT_OPEN, b"cd");
        peer.say(CONT, b"ef");
        for expected in [(BINARY_OPEN, "gh"), (CONT_OPEN, "ij"), (CONT, "kl")] {
            assert_eq!(peer.hear().unwrap(), (expected.0, expected.1.into()));
        }
        // One frame, a piece at a time.
        let frame = peer.frame(BINARY, b"mnop");
        std::io::Write::write_all(&mut peer.io, &frame[..frame.len() - 2]).unwrap();
        peer.expect(TEXT, b"half");
        std::io::Write::write_all(&mut peer.io, &frame[frame.len() - 2..]).unwrap();
    };
    serve(far, |mut end: E| {
        let mut got = vec![];
        let mut next = |end: &mut E| match end.chunk().unwrap() {
            Some(Seen::Chunk(DataKind::Binary, data, last)) => {
                got.extend(data);
                (got.len(), last)
            }
            other => panic!("{other:?}"),
        };
        while !next(&mut end).1 {}
        for (first, data, last) in
            [(true, b"gh", false), (false, b"ij", false), (false, b"kl", true)]
        {
            let _ = end.feed_chunk(Chunk { kind: DataKind::Binary, first, data, last }).unwrap();
            if !last {
                let other = end.feed(&binary(1));
                assert_eq!(other, Err(SendError::MessageInProgress));
            }
        }
        end.flush().unwrap();
        while next(&mut end).0 < 8 {}
        end.send(&OwnedMessage::from("half")).unwrap();
        while !next(&mut end).1 {}
        assert_eq!(got, b"abcdefmnop");
    });
}

fn control_frames_are_seen_as_events<E: End>() {
    serve(says_one_of_each, |mut end: E| {
        let expected = [
            text("one"),
            Seen::Ping(b"two".into()),
            Seen::Pong(b"three".into()),
            Seen::Close(Some((1001, "four".into()))),
        ];
        for expected in expected {
            assert_eq!(end.event().unwrap(), Some(expected));
        }
        assert_eq!(end.event().unwrap(), None);
    });
}

fn the_receiver_knows_what_is_at_hand_and_when_it_was_read<E: End>() {
    let far = |peer: &mut Peer| {
        let two = [peer.frame(TEXT, b"old"), peer.frame(TEXT, b"new")].concat();
        std::io::Write::write_all(&mut peer.io, &two).unwrap();
        let _ = peer.hear().unwrap();
        std::thread::sleep(20 * MS);
        peer.say(TEXT, b"later");
    };
    let config = Config { stamp_reads: true, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let mut next = |expected: &str, ahead, more| {
            let (message, info) = end.recv_info().unwrap().unwrap();
            assert_eq!((message, info.ahead, info.more), (text(expected), ahead, more));
            if expected == "new" {
                end.send(&OwnedMessage::from("go on")).unwrap();
            }
            info.read_at.expect("it was asked for")
        };
        let [old, new, later] = [("old", 0, true), ("new", 1, false), ("later", 0, false)]
            .map(|(t, n, more)| next(t, n, more));
        assert_eq!(old, new); // one read
        assert!(later - new >= 20 * MS);
    });
}

fn pings_go_out_at_once_and_a_probe_is_timed<E: End>() {
    let far = |peer: &mut Peer| {
        peer.expect(PING, b"payload");
        let (b0, payload) = peer.hear().unwrap();
        assert_eq!(b0, PING);
        std::thread::sleep(20 * MS);
        peer.say(TEXT, b"before");
        peer.say(PONG, &payload);
        peer.say(TEXT, b"done");
    };
    serve(far, |mut end: E| {
        end.ping(b"payload").unwrap();
        assert!(end.ping(&[0; 126]).is_err());
        end.measure_rtt().unwrap();
        // When the Pong is received, and neither before nor with the next look.
        assert_eq!(end.rtt(), None);
        assert_eq!(end.recv().unwrap(), Some(text("before")));
        assert_eq!(end.rtt(), None);
        assert_eq!(end.recv().unwrap(), Some(text("done")));
        let rtt = end.rtt().unwrap().latest;
        assert!((20 * MS..PATIENCE).contains(&rtt), "{rtt:?}");
    });
}

fn text_that_is_not_utf8_is_refused_with_1007<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(TEXT, b"good");
        peer.say(TEXT, b"b\xffd");
        peer.expect(CLOSE, &close_body(1007, ""));
        assert_eq!(peer.hear(), None);
    };
    serve(far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("good")));
        assert_eq!(recv_error(end.recv()), RecvError::Protocol(ProtocolError::BadUtf8));
    });
}

fn what_was_fed_leaves_in_order_with_the_next_flush<E: End>() {
    let far = |peer: &mut Peer| {
        for i in 0..3 {
            peer.expect(BINARY, &bytes(i));
        }
        // Where one task has both, a receiving call writes.
        if E::WHOLE {
            peer.expect(BINARY, &bytes(7));
        }
        peer.say(TEXT, b"go on");
        peer.expect(BINARY, &bytes(if E::WHOLE { 8 } else { 7 }));
    };
    serve(far, |mut end: E| {
        let positions = [0, 1, 2].map(|i| end.feed(&binary(i)).unwrap());
        assert!(!end.is_written(positions[0]));
        assert!(end.buffered_amount() > 3);
        end.flush().unwrap();
        assert!(positions.iter().all(|&at| end.is_written(at)));
        assert_eq!(end.buffered_amount(), 0);
        let _ = end.feed(&binary(7)).unwrap();
        assert_eq!(end.recv().unwrap(), Some(text("go on")));
        if E::WHOLE {
            let _ = end.feed(&binary(8)).unwrap();
        }
        end.flush().unwrap();
    });
}

/// More than a socket takes.
const MUCH: usize = 1 << 20;

/// There is always room.
fn roomy() -> Config {
    Config { high_water: usize::MAX, ..Config::default() }
}

fn reading_goes_on_while_the_peer_does_not_read<E: End>() {
    let far = |peer: &mut Peer| {
        for i in 0..50 {
            peer.say(BINARY, &bytes(i));
            peer.say(PING, b"still there?");
        }
        let (mut messages, mut pongs) = (0, 0);
        loop {
            match peer.hear().unwrap() {
                (BINARY, payload) => messages += usize::from(payload == bytes(MUCH)),
                (PONG, payload) => pongs += usize::from(payload == b"still there?"),
                (b0, _) => break assert_eq!(b0, CLOSE),
            }
        }
        assert!(messages == 1 && (1..=50).contains(&pongs), "{messages} {pongs}");
        peer.say(CLOSE, &close_body(1000, ""));
    };
    serve(far, |mut end: E| {
        let got = end.both(&[binary(MUCH)], 50).unwrap();
        assert!(got.iter().enumerate().all(|(i, got)| *got == wire::binary(bytes(i))));
        end.close(CloseCode::NORMAL.into()).unwrap();
    });
}

fn room_ends_at_high_water_and_comes_back<E: End>() {
    let (go_on, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        told.recv().unwrap();
        let mut count = 0;
        while peer.hear().is_some_and(|(b0, _)| b0 != CLOSE) {
            count += 1;
        }
        peer.say(CLOSE, &close_body(1000, ""));
        peer.say(TEXT, count.to_string().as_bytes()); // behind the Close, for nobody
        assert_eq!(count, 2);
    };
    let config = Config { high_water: MUCH / 4, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let _ = end.feed(&binary(MUCH)).unwrap();
        assert!(matches!(end.feed(&binary(1)), Err(SendError::Full { .. })));
        assert!(end.ready_for(50 * MS).is_none());
        go_on.send(()).unwrap();
        end.ready().unwrap();
        end.send(&binary(1)).unwrap();
        end.close(CloseCode::NORMAL.into()).unwrap();
    });
}

fn both_ends_may_send_much_before_they_receive<E: End>() {
    let far = |peer: &mut Peer| {
        let mut writing = peer.io.try_clone().unwrap();
        let frame = peer.frame(BINARY, &bytes(MUCH));
        let there = std::thread::spawn(move || {
            for _ in 0..2 {
                std::io::Write::write_all(&mut writing, &frame).unwrap();
            }
        });
        there.join().unwrap();
        for _ in 0..2 {
            peer.expect(BINARY, &bytes(MUCH));
        }
    };
    meet(Role::Server, &roomy(), How::PLAIN, far, |mut end: E| {
        let got = end.both(&[binary(MUCH), binary(MUCH)], 2).unwrap();
        assert!(got.iter().all(|got| *got == wire::binary(bytes(MUCH))));
    });
}

fn a_receiving_call_that_was_given_up_loses_nothing<E: End>() {
    let (go_on, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let frame = peer.frame(TEXT, b"in two pieces");
        std::io::Write::write_all(&mut peer.io, &frame[..9]).unwrap();
        told.recv().unwrap();
        std::io::Write::write_all(&mut peer.io, &frame[9..]).unwrap();
        peer.say(TEXT, b"next");
    };
    serve(far, |mut end: E| {
        for _ in 0..3 {
            assert!(end.recv_for(20 * MS).is_none());
        }
        go_on.send(()).unwrap();
        assert_eq!(end.recv_for(PATIENCE).unwrap().unwrap(), Some(text("in two pieces")));
        assert_eq!(end.recv().unwrap(), Some(text("next")));
    });
}

fn calls_given_up_again_and_again_lose_nothing<E: End>() {
    let (went_on, goes_on) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let frames = [peer.frame(TEXT, b"byte by byte"), peer.frame(PING, b"?")].concat();
        for byte in [frames, peer.frame(TEXT, b"over")].concat() {
            while goes_on.try_recv().is_ok() {}
            std::io::Write::write_all(&mut peer.io, &[byte]).unwrap();
            let _ = goes_on.recv();
        }
        peer.expect(PONG, b"?");
    };
    serve(far, |mut end: E| {
        let (mut got, mut given_up) = (vec![], 0);
        while got.len() < 2 {
            match end.recv_for(MS) {
                Some(received) => got.extend(received.unwrap()),
                None => given_up += 1,
            }
            let _ = went_on.send(());
        }
        assert_eq!(got, [text("byte by byte"), text("over")]);
        assert!(given_up > 2, "{given_up}");
        end.flush().unwrap();
    });
}

fn with_auto_pong_and_auto_close_off_the_caller_answers<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(PING, b"a");
        peer.say(CLOSE, &close_body(1000, ""));
        peer.expect(TEXT, b"pinged");
        peer.expect(CLOSE, &close_body(1001, "mine"));
        assert_eq!(peer.hear(), None);
    };
    let config = Config { auto_pong: false, auto_close: false, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.event().unwrap(), Some(Seen::Ping(b"a".into())));
        assert_eq!(end.event().unwrap(), Some(Seen::Close(Some((1000, String::new())))));
        end.send(&OwnedMessage::from("pinged")).unwrap();
        end.close(CloseFrame::with_reason(CloseCode::GOING_AWAY, "mine")).unwrap();
        assert!(end.was_clean());
    });
}

fn a_flush_that_was_given_up_loses_nothing_and_repeats_nothing<E: End>() {
    let (go_on, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        told.recv().unwrap();
        for len in [MUCH, 1, 2] {
            peer.expect(BINARY, &bytes(len));
        }
    };
    meet(Role::Server, &roomy(), How::PLAIN, far, |mut end: E| {
        let much = end.feed(&binary(MUCH)).unwrap();
        assert!(end.flush_for(20 * MS).is_none());
        let one = end.feed(&binary(1)).unwrap();
        assert!(end.flush_for(20 * MS).is_none());
        assert!(!end.is_written(much) && !end.is_written(one));
        go_on.send(()).unwrap();
        end.send(&binary(2)).unwrap();
        assert!(end.is_written(one));
    });
}

fn control_frames_between_chunks_are_answered_and_passed_over<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(TEXT_OPEN, b"ab");
        peer.say(PING, b"1");
        peer.say(PONG, b"2");
        peer.say(CONT, b"cd");
        peer.say(CLOSE, &close_body(1000, "bye"));
        peer.expect(PONG, b"1");
        peer.expect(CLOSE, &close_body(1000, ""));
    };
    serve(far, |mut end: E| {
        let chunk = |data: &str, last| Seen::Chunk(DataKind::Text, data.into(), last);
        for expected in [chunk("ab", false), chunk("cd", true)] {
            assert_eq!(end.chunk().unwrap(), Some(expected));
        }
        assert_eq!(end.chunk().unwrap(), None);
    });
}
