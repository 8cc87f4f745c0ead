//! What hostile clients try on the WebSocket below a protocol such as Socket.IO.
use crate::Canned;
use futures_util::{SinkExt, StreamExt};
use testkit::{
    PATIENCE,
    {
        Rng,
        frames::{BINARY, BINARY_OPEN, CONT, FIN, PING, masked},
    },
};
use tickwire_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, WebSocket,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio::time::timeout;

// A lost wake-up waits for ever.
/// A crate above may make a `str` of it without another look, as engineioxide does.
#[test]
fn text_is_utf_8_however_it_is_cut_and_otherwise_closes_with_1007() {
    let pieces: [&[u8]; 13] = [
        b"42[\"",
        b"\0",
        b"a\\u0000",
        "é".as_bytes(),
        "€".as_bytes(),
        "\u{1F600}".as_bytes(),
        "\u{10FFFF}".as_bytes(),
        b"\xC3",
        b"\x80",
        b"\xED\xA0\x80",
        b"\xF0\x9F",
        b"\xF4\x90\x80\x80",
        b"\xC0\xAF",
    ];
    let mut rng = Rng::new(7);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
        // Mostly pieces of UTF-8.
        let count = rng.below(6);
        let text: Vec<u8> = (0..count)
            .flat_map(|_| pieces[if rng.once_in(8) { rng.below(13) } else { rng.below(7) }])
            .copied()
            .collect();
        let mut wire = Vec::new();
        let (mut first, mut rest) = (1, &*text);
        loop {
            let (fragment, next) = rest.split_at(rng.below(rest.len() + 1));
            let fin = next.is_empty();
            wire.extend(masked(if fin { FIN | first } else { first }, fragment));
            (first, rest) = (0, next);
            if fin {
                break;
            }
        }
        let canned = Canned { at_once: 1 + rng.below(20), ..Canned::new(&wire) };
        let mut socket = WebSocket::from_raw_socket(canned, Role::Server, None);
        let received = loop {
            match socket.read() {
                Err(Error::Io(_)) if !socket.get_ref().input.is_empty() => {}
                received => break received,
            }
        };
        match (received, str::from_utf8(&text)) {
            (Ok(Message::Text(got)), Ok(sent)) => {
                assert_eq!(got, sent);
                assert!(socket.get_ref().output.is_empty());
                taken += 1;
            }
            (Err(Error::Utf8(_)), Err(_)) => {
                assert_eq!(socket.get_ref().output[2..4], 1007_u16.to_be_bytes());
                refused += 1;
            }
            (received, sent) => panic!("{text:x?}: {received:?}, {sent:?}"),
        }
    }
    assert!(taken > 10 && refused > 10, "{taken} {refused}");
}

#[test]
fn a_message_that_is_announced_too_long_is_not_read_and_closes_with_1009() {
    let config = WebSocketConfig::default().max_message_size(Some(1_000));
    let whole = masked(BINARY, [0; 1_001]);
    let fragments = [masked(BINARY_OPEN, [0; 600]), masked(CONT, [0; 401])].concat();
    for (wire, unread) in [(&whole[..8], 0), (&fragments[..616], 0), (&whole, 1_001)] {
        let canned = Canned { at_once: 8, ..Canned::new(wire) };
        let mut socket = WebSocket::from_raw_socket(canned, Role::Server, Some(config));
        assert!(matches!(socket.read(), Err(Error::Capacity(_))));
        assert_eq!(socket.get_ref().output, b"\x88\x02\x03\xF1");
        assert_eq!(socket.get_ref().input.len(), unread);
    }
}

#[test]
fn of_pings_without_end_a_few_pongs_wait_for_a_peer_that_does_not_read() {
    let pings: Vec<u8> = (0..10_000_u32).flat_map(|n| masked(PING, n.to_be_bytes())).collect();
    let mut socket = WebSocket::from_raw_socket(Canned::new(&pings), Role::Server, None);
    socket.get_mut().full = true;
    while !socket.get_ref().input.is_empty() {
        let _ = socket.read();
    }
    while socket.read().is_ok() {}
    socket.get_mut().full = false;
    socket.flush().unwrap();
    // Two that had begun to wait, and the newest.
    let pong = |n: u32| [&[0x8A, 4], &n.to_be_bytes()[..]].concat();
    assert_eq!(socket.get_ref().output, [pong(0), pong(1), pong(9_999)].concat());
}

/// Split, as engineioxide and axum's programs have it.
#[tokio::test]
async fn who_does_not_read_the_answers_is_not_listened_to_and_loses_nothing() {
    const COUNT: usize = 400;
    let (client, server) = tokio::io::duplex(64 << 10);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    let (mut to_client, mut from_client) = server.split();
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = heard.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = from_client.next().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if message.is_binary() {
                to_client.send(message).await.unwrap();
            }
        }
    });
    // 40 MB of questions, of which the pipe and the server hold but a few.
    let (mut to_server, mut from_server) = client.split();
    let asking = tokio::spawn(async move {
        for n in 0..COUNT {
            to_server.send(Message::binary(vec![n as u8; 100_000])).await.unwrap();
        }
        to_server
    });
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished());
    let heard = heard.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..10).contains(&heard), "{heard}");
    for n in 0..COUNT {
        let answer = timeout(PATIENCE, from_server.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer, Message::binary(vec![n as u8; 100_000]));
    }
    drop(asking.await.unwrap());
}
