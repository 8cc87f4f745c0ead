//! How a connection ends, and what each side learns.
use crate::{
    MS, Peer, binary, bytes,
    end::End,
    line::How,
    meet, recv_error, serve,
    support::wire::{BINARY, CLOSE, PING, PONG, ROLES, TEXT, TEXT_OPEN, close_body, product, text},
};
use std::{
    io::{
        ErrorKind::{BrokenPipe, ConnectionReset},
        Read, Write,
    },
    net::Shutdown,
    thread,
};
use tickwire::{
    CloseCode, CloseFrame, Config, DataKind, Error, Position, ProtocolError, RecvError, Role,
    SendError,
};

crate::everywhere! {
    the_peer_closes_and_is_answered_with_its_code
    this_end_closes_and_gets_the_answer
    both_ends_may_close_at_once
    a_violation_is_told_to_the_peer_behind_what_came_before_it
    a_limit_of_ours_closes_with_1009
    nothing_is_delivered_after_this_end_has_failed_the_connection
    the_end_of_the_stream_is_not_a_close
    a_reset_does_not_hide_what_came_before_it
    a_peer_that_is_gone_fails_whoever_sends
    what_came_before_a_failed_write_is_received_to_be_answered_too
    after_the_end_positions_tell_which_messages_the_stream_took_whole
}

crate::over! { [an_end_that_has_closed_reads_on_with_more_unsent_than_high_water]
    tokio_whole: crate::end::Tokio;
    futures_io_whole: crate::end::FuturesIo;
    blocking_whole: crate::end::Blocking;
}

/// In the middle of a message of its own. A stream that holds back what it took gets a flush before
/// the end is told.
fn the_peer_closes_and_is_answered_with_its_code<E: End>() {
    for ((role, code), how) in product(product(ROLES, [1000, 4321]), [How::PLAIN, How::HOLDS]) {
        let (over, told) = std::sync::mpsc::channel();
        let far = move |peer: &mut Peer| {
            peer.say(TEXT, b"last");
            peer.say(TEXT_OPEN, b"cut");
            peer.say(CLOSE, &close_body(code, "enough"));
            peer.expect(BINARY, &bytes(2));
            peer.expect(CLOSE, &close_body(code, ""));
            if role == Role::Server {
                assert_eq!(peer.hear(), None); // the server ends the stream (§7.1.1)
            }
            over.send(()).unwrap();
        };
        meet(role, &Config::default(), how, far, |mut end: E| {
            let _ = end.feed(&binary(2)).unwrap(); // goes before the answer
            assert_eq!(end.recv().unwrap(), Some(text("last")));
            for _ in 0..2 {
                assert_eq!(end.recv().unwrap(), None);
            }
            assert!(end.was_clean());
            assert_eq!((end.close_code(), end.sent_code()), (code, code));
            assert_eq!(end.close_frame(), Some((code, "enough".into())));
            assert_eq!(end.cut(), Some(DataKind::Text));
            assert!(matches!(end.feed(&binary(1)), Err(SendError::Closed)));
            assert!(end.send(&binary(1)).is_err());
            told.recv().unwrap(); // before the stream is dropped
        });
    }
}

// P233
fn this_end_closes_and_gets_the_answer<E: End>() {
    for role in ROLES {
        let far = move |peer: &mut Peer| {
            peer.expect(BINARY, &bytes(3));
            peer.expect(CLOSE, &close_body(1001, "bye"));
            peer.say(BINARY, b"on its way when the Close came");
            for ping in [b"a", b"b"] {
                peer.say(PING, ping);
                peer.expect(PONG, ping);
            }
            peer.say(CLOSE, &close_body(1001, ""));
            if role == Role::Client {
                peer.io.shutdown(Shutdown::Write).unwrap();
            }
            assert_eq!(peer.hear(), None, "nothing after both Closes");
        };
        meet(role, &Config::default(), How::PLAIN, far, |mut end: E| {
            let _ = end.feed(&binary(3)).unwrap();
            let too_long = "x".repeat(124);
            let frame = CloseFrame::with_reason(CloseCode::NORMAL, &too_long);
            let refused = end.close(frame);
            assert!(matches!(refused, Err(Error::Send(SendError::ReasonTooLong))));
            end.close(CloseFrame::with_reason(CloseCode::GOING_AWAY, "bye")).unwrap();
            end.close(CloseCode::NORMAL.into()).unwrap(); // the first one counts
            assert!(end.was_clean());
            assert_eq!((end.close_code(), end.sent_code()), (1001, 1001));
            assert!(end.send(&binary(1)).is_err());
        });
    }
}

fn both_ends_may_close_at_once<E: End>() {
    for role in ROLES {
        let far = |peer: &mut Peer| {
            peer.say(CLOSE, &close_body(1001, ""));
            peer.expect(CLOSE, &close_body(1000, ""));
        };
        meet(role, &Config::default(), How::PLAIN, far, |mut end: E| {
            end.close(CloseCode::NORMAL.into()).unwrap();
            assert!(end.was_clean());
            assert_eq!((end.close_code(), end.sent_code()), (1001, 1000));
        });
    }
}

// P072
/// And a megabyte behind it that nobody looks at does not take the Close away (P072).
fn a_violation_is_told_to_the_peer_behind_what_came_before_it<E: End>() {
    for role in ROLES {
        let far = |peer: &mut Peer| {
            peer.say(TEXT, b"good");
            peer.say(PING, b"answered");
            let all = [peer.frame(0x83, b""), vec![0x55; 1 << 20]].concat();
            let mut io = peer.io.try_clone().unwrap();
            let behind = thread::spawn(move || match io.write_all(&all) {
                Ok(()) => io.shutdown(Shutdown::Write).unwrap(),
                Err(e) => assert!(matches!(e.kind(), ConnectionReset | BrokenPipe), "{e}"),
            });
            peer.expect(PONG, b"answered");
            peer.expect(CLOSE, &close_body(1002, ""));
            assert_eq!(peer.io.read(&mut [0]).unwrap(), 0, "the end, and no reset");
            behind.join().unwrap();
        };
        meet(role, &Config::default(), How::PLAIN, far, |mut end: E| {
            assert_eq!(end.recv().unwrap(), Some(text("good")));
            for _ in 0..2 {
                let error = recv_error(end.recv());
                assert_eq!(error, RecvError::Protocol(ProtocolError::ReservedOpCode));
            }
            assert!(!end.was_clean());
            assert!(end.send(&binary(1)).is_err());
        });
    }
}

fn a_limit_of_ours_closes_with_1009<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(BINARY, &bytes(100));
        peer.say(BINARY, &bytes(101));
        peer.expect(CLOSE, &close_body(1009, ""));
    };
    let config = Config { max_message: 100, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert!(end.recv().unwrap().is_some());
        assert_eq!(recv_error(end.recv()), RecvError::MessageTooBig { limit: 100 });
        assert_eq!((end.close_code(), end.sent_code()), (1006, 1009));
    });
}

fn nothing_is_delivered_after_this_end_has_failed_the_connection<E: End>() {
    for role in ROLES {
        let far = |peer: &mut Peer| {
            let all = [peer.frame(TEXT, b"bad"), peer.frame(TEXT, b"worse")].concat();
            peer.io.write_all(&all).unwrap();
            peer.expect(BINARY, &bytes(3));
            peer.expect(CLOSE, &close_body(4001, "bad"));
            peer.io.write_all(&all).unwrap();
            assert_eq!(peer.hear(), None); // it does not wait for an answer
        };
        meet(role, &Config::default(), How::PLAIN, far, |mut end: E| {
            let code = CloseCode::new(4001).unwrap();
            assert_eq!(end.recv().unwrap(), Some(text("bad")));
            let _ = end.feed(&binary(3)).unwrap();
            end.fail(CloseFrame::with_reason(code, "bad")).unwrap();
            for _ in 0..2 {
                assert_eq!(recv_error(end.recv()), RecvError::Failed { code });
            }
            assert_eq!((end.was_clean(), end.close_code(), end.sent_code()), (false, 1006, 4001));
            assert!(matches!(end.feed(&binary(1)), Err(SendError::Closed)));
            assert!(end.send(&binary(1)).is_err());
            assert_eq!(end.fail(code.into()), Err(SendError::Closed));
        });
    }
}

fn the_end_of_the_stream_is_not_a_close<E: End>() {
    for cut in [0, 3] {
        let far = move |peer: &mut Peer| {
            peer.say(TEXT, b"whole");
            let frame = peer.frame(TEXT, b"cut");
            peer.io.write_all(&frame[..cut]).unwrap();
            peer.io.shutdown(Shutdown::Write).unwrap();
            assert_eq!(peer.hear(), None);
        };
        serve(far, |mut end: E| {
            assert_eq!(end.recv().unwrap(), Some(text("whole")));
            for _ in 0..2 {
                assert_eq!(recv_error(end.recv()), RecvError::UnexpectedEof);
            }
            assert!(end.send(&binary(1)).is_err());
            assert_eq!((end.was_clean(), end.close_code(), end.sent_code()), (false, 1006, 1006));
        });
    }
}

fn a_reset_does_not_hide_what_came_before_it<E: End>() {
    let (sent, told) = std::sync::mpsc::channel();
    let (gone, over) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        peer.say(TEXT, b"last");
        told.recv().unwrap();
        // Closed with something unread: a reset.
        peer.io = std::os::unix::net::UnixStream::pair().unwrap().0;
        gone.send(()).unwrap();
    };
    serve(far, |mut end: E| {
        end.send(&binary(10)).unwrap();
        sent.send(()).unwrap();
        over.recv().unwrap();
        assert_eq!(end.recv().unwrap(), Some(text("last")));
        match end.recv() {
            Err(Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
        assert!(end.recv().is_err());
    });
}

fn a_peer_that_is_gone_fails_whoever_sends<E: End>() {
    let (gone, over) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        peer.say(TEXT, b"last");
        peer.io = std::os::unix::net::UnixStream::pair().unwrap().0;
        gone.send(()).unwrap();
    };
    serve(far, |mut end: E| {
        over.recv().unwrap();
        match end.send(&binary(10)) {
            Err(Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
        assert!(end.flush().is_err());
        assert!(matches!(end.ready(), Err(Error::Send(SendError::Closed))));
        // What the peer said before is still there.
        assert_eq!(end.recv().unwrap(), Some(text("last")));
        assert!(end.recv().is_err());
    });
}

fn what_came_before_a_failed_write_is_received_to_be_answered_too<E: End>() {
    for closes in [false, true] {
        let (gone, over) = std::sync::mpsc::channel();
        let far = move |peer: &mut Peer| {
            for message in ["last but one", "last"] {
                peer.say(TEXT, message.as_bytes());
            }
            if closes {
                peer.say(CLOSE, &close_body(1008, ""));
            }
            peer.io = std::os::unix::net::UnixStream::pair().unwrap().0;
            gone.send(()).unwrap();
        };
        serve(far, |mut end: E| {
            over.recv().unwrap();
            assert!(end.send(&binary(10)).is_err());
            for message in ["last but one", "last"] {
                assert_eq!(end.recv_info().unwrap().unwrap().0, text(message));
            }
            // Without a Close, the error is told.
            assert_eq!(end.recv_info().is_ok_and(|got| got.is_none()), closes);
            let code = if closes { 1008 } else { 1006 };
            assert_eq!((end.close_code(), end.was_clean()), (code, false));
        });
    }
}

fn an_end_that_has_closed_reads_on_with_more_unsent_than_high_water<E: End>() {
    // The peer takes what is unsent only after all of its own was read.
    const MUCH: usize = 1 << 20;
    let far = |peer: &mut Peer| {
        for _ in 0..MUCH / 100_000 {
            peer.say(BINARY, &bytes(100_000));
        }
        peer.say(CLOSE, b"");
        let mut got = 0;
        while let Some((BINARY, payload)) = peer.hear() {
            got += payload.len();
        }
        assert_eq!(got, MUCH);
    };
    let config = Config { high_water: 1 << 10, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let _ = end.feed(&binary(MUCH)).unwrap();
        end.feed_close().unwrap();
        while end.recv_info().unwrap().is_some() {}
        assert!(end.was_clean());
    });
}

fn after_the_end_positions_tell_which_messages_the_stream_took_whole<E: End>() {
    let (stuck, told) = std::sync::mpsc::channel();
    let (gone, over) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        told.recv().unwrap(); // does not read
        peer.io = std::os::unix::net::UnixStream::pair().unwrap().0;
        gone.send(()).unwrap();
    };
    let config = Config { high_water: usize::MAX, ..Config::default() };
    meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
        let written = [0, 10].map(|len| end.feed(&binary(len)).unwrap());
        end.flush().unwrap();
        // More than a socket takes: this one begins to leave, and does not end.
        let lost = [4 << 20, 10, 0].map(|len| end.feed(&binary(len)).unwrap());
        assert!(end.flush_for(50 * MS).is_none());
        let whole = |end: &mut E, positions: &[Position]| -> Vec<bool> {
            positions.iter().map(|&at| end.is_written(at)).collect()
        };
        assert_eq!(whole(&mut end, &written), [true; 2]);
        assert_eq!(whole(&mut end, &lost), [false; 3]);
        stuck.send(()).unwrap();
        over.recv().unwrap();
        assert!(end.flush().is_err());
        for _ in 0..2 {
            assert_eq!(whole(&mut end, &written), [true; 2]);
            assert_eq!(whole(&mut end, &lost), [false; 3]);
            assert!(end.recv().is_err());
        }
        assert_eq!(end.feed(&binary(1)), Err(SendError::Closed));
    });
}
