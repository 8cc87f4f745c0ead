//! Streams with oddities.
use crate::{
    Peer, bytes,
    end::End,
    line::How,
    meet,
    support::wire::{BINARY, CLOSE, PING, PONG, TEXT, close_body, text},
};
use bytes::Bytes;
use tickwire::{Config, OwnedMessage, Role};

crate::everywhere! {
    a_stream_of_single_bytes_makes_no_difference
    a_stream_that_holds_back_until_a_flush_is_flushed
    large_shared_payloads_pass_flat_and_vectored
}

/// A message each way, a Ping answered while this end waits, and a Close.
fn dialog<E: End>(how: How) {
    let far = |peer: &mut Peer| {
        peer.say(TEXT, b"question");
        peer.expect(TEXT, b"answer");
        peer.say(PING, b"?");
        peer.expect(PONG, b"?");
        assert_eq!(peer.hear().unwrap().0, PING);
        peer.say(CLOSE, &close_body(1000, ""));
        peer.expect(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.hear(), None);
    };
    meet(Role::Server, &Config::default(), how, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("question")));
        end.send(&OwnedMessage::from("answer")).unwrap();
        assert_eq!(end.event().unwrap(), Some(crate::support::wire::Seen::Ping(b"?".into())));
        end.ping(b"!").unwrap();
        assert_eq!(end.recv().unwrap(), None);
        assert!(end.was_clean());
    });
}

fn a_stream_of_single_bytes_makes_no_difference<E: End>() {
    dialog::<E>(How::BYTEWISE);
}

fn a_stream_that_holds_back_until_a_flush_is_flushed<E: End>() {
    dialog::<E>(How::HOLDS);
    dialog::<E>(How { most: 3, ..How::HOLDS });
}

fn large_shared_payloads_pass_flat_and_vectored<E: End>() {
    for how in [How::PLAIN, How::FLAT] {
        let far = |peer: &mut Peer| {
            for len in [300_000, 5, 300_000] {
                peer.expect(BINARY, &bytes(len));
            }
        };
        let config = Config::default().vectored_from(1024);
        meet(Role::Server, &config, how, far, |mut end: E| {
            let payload = Bytes::from(bytes(300_000));
            let _ = end.feed_bytes(payload.clone()).unwrap();
            let _ = end.feed(&crate::binary(5)).unwrap();
            let _ = end.feed_bytes(payload).unwrap();
            end.flush().unwrap();
        });
    }
}
