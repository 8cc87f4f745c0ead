//! What passes over a connection is counted: by kind, in both directions, whole and split, plain
//! and compressed.
use crate::support::{
    tokio::{pair, run},
    wire::{arrive, product},
};
use bytes::Bytes;
use tickwire::{
    Chunk, CloseCode, Config, Connection, Counters, DataKind, Negotiated, Outbound, Prepared, Step,
    SystemEntropy,
};

fn ends(config: &Config) -> (Connection, Connection) {
    let entropy = SystemEntropy::new().unwrap();
    let client = Connection::client(config, Negotiated::default(), entropy);
    (client, Connection::server(config, Negotiated::default()))
}

/// Carries all that is outgoing over, in reads of up to `step` bytes. Says how many writes and
/// reads that took.
fn carry(from: &mut Connection, to: &mut Connection, step: usize) -> (u64, u64) {
    use bytes::Buf;
    let (mut writes, mut reads) = (0, 0);
    while from.sender().has_outgoing() {
        let mut outgoing = from.sender_mut().outgoing();
        let bytes = outgoing.chunk().to_vec();
        outgoing.advance(bytes.len());
        writes += 1;
        for piece in bytes.chunks(step) {
            arrive(to, piece);
            reads += 1;
            while !matches!(to.step().unwrap(), Step::NeedInput | Step::Closed) {}
        }
    }
    (writes, reads)
}

/// The counts that are the same for the end that sends and the end that receives.
fn seen_by_both_ends(traffic: Counters) -> [u64; 8] {
    let Counters { messages, frames, payload, wire, pings, pongs, plain, packed, .. } = traffic;
    [messages, frames, payload, wire, pings, pongs, plain, packed]
}

/// What this end has sent, and what it has received.
fn sent_and_received(conn: &Connection) -> (Counters, Counters) {
    (conn.sender().counters(), conn.receiver().counters())
}

#[test]
fn every_way_of_sending_counts_and_the_receiver_counts_the_same() {
    for (step, client_sends) in product([1, 7, 100_000], [false, true]) {
        let (client, server) = ends(&Config::default());
        let (mut tx, mut rx) = if client_sends { (client, server) } else { (server, client) };
        let sender = tx.sender_mut();
        sender.feed("text").unwrap();
        sender.feed(&[7; 300]).unwrap();
        sender.feed(Bytes::from(vec![7; 5_000])).unwrap();
        sender.feed(Prepared::new(&[7; 10])).unwrap();
        sender.feed(Prepared::new(&[7; 6_000])).unwrap();
        for (data, last) in [("a", false), ("", false), ("bc", true)] {
            let data = data.as_bytes();
            let first = sender.message_in_progress().is_none();
            sender.feed_chunk(Chunk { kind: DataKind::Text, first, data, last }).unwrap();
        }
        sender.feed_first("first").unwrap();
        sender.ping(b"ping").unwrap();
        sender.pong(b"pong").unwrap();
        let (writes, reads) = carry(&mut tx, &mut rx, step);
        let (sent, received) = (tx.sender().counters(), rx.receiver().counters());
        let payload = 4 + 300 + 5_000 + 10 + 6_000 + 3 + 5;
        assert_eq!(seen_by_both_ends(sent)[..3], [7, 11, payload]);
        assert_eq!((sent.pings, sent.pongs), (1, 1));
        assert_eq!((sent.calls, received.calls), (writes, reads));
        assert_eq!(seen_by_both_ends(sent), seen_by_both_ends(received), "step {step}");
        assert!(sent.wire > payload && sent.plain == 0);
        // And the Pong that was called for.
        carry(&mut rx, &mut tx, step);
        assert_eq!((rx.sender().counters().pongs, tx.receiver().counters().pongs), (1, 1));
    }
}

#[test]
fn a_read_of_nothing_does_not_count_and_one_in_a_buffer_of_its_own_does() {
    let (mut client, _) = ends(&Config::default());
    client.receiver_mut().spare_mut();
    client.receiver_mut().commit(0);
    assert!(client.receiver_mut().lend_filled(vec![0; 100], 0).is_some());
    assert_eq!(client.receiver().counters(), Counters::default());
    let mut buffer = b"\x82\x03abc".to_vec();
    buffer.extend([0; 8]);
    assert_eq!(client.receiver_mut().lend_filled(buffer, 5), Some(vec![0; 100]));
    assert_eq!(client.step(), Ok(Step::Message));
    assert_eq!(seen_by_both_ends(client.receiver().counters())[..4], [1, 1, 3, 5]);
    assert_eq!(client.receiver().counters().calls, 1);
}

#[test]
fn what_is_refused_does_not_count() {
    let (mut client, mut server) =
        ends(&Config { high_water: 1, max_message: 10, ..Config::default() });
    client.sender_mut().feed("one").unwrap();
    assert!(client.sender_mut().feed("two").is_err());
    carry(&mut client, &mut server, 100);
    client.sender_mut().feed(&[0; 11]).unwrap();
    use bytes::Buf;
    let bytes = client.sender_mut().outgoing().chunk().to_vec();
    arrive(&mut server, &bytes);
    assert!(server.step().is_err());
    let received = server.receiver().counters();
    assert_eq!((received.messages, received.payload), (1, 3));
}

#[test]
fn a_split_connection_counts_as_a_whole_one() {
    run(async {
        let count = 200;
        let mut seen = Vec::new();
        for (split, serves) in [(false, false), (true, false), (false, true), (true, true)] {
            // A server's large message leaves in one write, if the stream has room for it.
            let (mut ours, mut theirs) = pair(1 << 16, &Config::default());
            if serves {
                std::mem::swap(&mut ours, &mut theirs);
            }
            let receiving = tokio::spawn(async move {
                while theirs.recv().await.unwrap().is_some() {}
                sent_and_received(theirs.connection())
            });
            let ours = if split {
                let (mut reader, mut writer) = ours.into_split();
                for _ in 0..count {
                    writer.send(&[1; 100]).await.unwrap();
                }
                writer.send(&[1; 20_000]).await.unwrap();
                writer.close(CloseCode::NORMAL).await.unwrap();
                while reader.recv().await.unwrap().is_some() {}
                let sent = reader.with_sender(|tx| tx.counters());
                (sent, reader.receiver().counters())
            } else {
                for _ in 0..count {
                    ours.send(&[1; 100]).await.unwrap();
                }
                ours.send(&[1; 20_000]).await.unwrap();
                ours.close(CloseCode::NORMAL).await.unwrap();
                sent_and_received(ours.connection())
            };
            let theirs = receiving.await.unwrap();
            let (sent, received) = ours;
            assert_eq!(seen_by_both_ends(sent), seen_by_both_ends(theirs.1));
            assert_eq!(seen_by_both_ends(received), seen_by_both_ends(theirs.0));
            assert_eq!((sent.messages, sent.frames), (count + 1, count + 2));
            assert!(sent.calls > count + 1, "{sent:?}");
            seen.push(seen_by_both_ends(sent));
        }
        assert_eq!((seen[0], seen[2]), (seen[1], seen[3]));
    });
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_are_counted_before_and_after_compression() {
    use tickwire::{deflate::Deflate, handshake::client::Request};
    run(async {
        let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let request = Request::new("ws://test/").unwrap();
        let (ours, theirs) = tokio::join!(
            tickwire::tokio::client(ours, &request, &config),
            tickwire::tokio::accept(theirs, &config),
        );
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        // The same text five times, in each way of sending; all but the second are compressed.
        let text = "market data ".repeat(100);
        let len = text.len() as u64;
        ours.send(text.as_str()).await.unwrap();
        ours.feed(Outbound::plain(text.as_str())).unwrap();
        ours.send(text.as_str()).await.unwrap();
        let sender = ours.sender_mut();
        sender.feed(Prepared::new(text.as_str())).unwrap();
        for (first, data) in [(true, &text[..500]), (false, &text[500..])] {
            let (kind, data) = (DataKind::Text, data.as_bytes());
            sender.feed_chunk(Chunk { kind, first, data, last: !first }).unwrap();
        }
        ours.flush().await.unwrap();
        for _ in 0..5 {
            assert_eq!(theirs.recv().await.unwrap().unwrap().as_text(), Some(&*text));
        }
        let (sent, _) = sent_and_received(ours.connection());
        let (_, received) = sent_and_received(theirs.connection());
        // The server's 101 is not the client's to count.
        assert_eq!(seen_by_both_ends(sent), seen_by_both_ends(received));
        assert_eq!(sent.messages, 5);
        assert_eq!(sent.plain, 4 * len, "before compression");
        assert_eq!(sent.payload, sent.packed + len, "compressed, and the one that is not");
        assert!(sent.packed > 0 && sent.packed < sent.plain / 10, "{sent:?}");
    });
}

#[test]
fn what_a_split_connection_wrote_counts_when_it_is_broken_too() {
    run(async {
        let (ours, mut theirs) = pair(1 << 10, &Config::default());
        let (mut reader, mut writer) = ours.into_split();
        for _ in 0..3 {
            writer.send("hello").await.unwrap();
            let _ = theirs.recv().await.unwrap();
        }
        let before = reader.with_sender(|tx| tx.counters());
        assert_eq!((before.wire, before.calls), (33, 3));
        drop(theirs);
        assert!(reader.recv().await.is_err() && writer.with_sender(|tx| tx.is_closed()));
        assert_eq!(reader.with_sender(|tx| tx.counters()), before);
    });
}
