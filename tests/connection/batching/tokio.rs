//! The tokio adapter's reads and writes, counted: a batch costs one of each, and nothing travels in
//! more pieces than it has to.
use crate::support::{tokio::*, wire::bytes};
use bytes::Bytes;
use std::{
    io,
    sync::Mutex,
    task::{Context, Poll},
};
use tickwire::{
    Config, Error, Prepared, SendError,
    handshake::{accept_key, client::Request, server::Accept},
    tokio::{Incoming, WebSocket, accept},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    task::JoinHandle,
};

/// Reads, and the lengths of the writes, since the last look.
fn traffic(calls: &Mutex<Calls>) -> (usize, Vec<usize>) {
    let calls = counted(calls);
    (calls.reads, calls.writes)
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) -> WebSocket<S> {
    while let Some(received) = ws.recv_to_reply().await.unwrap() {
        let _ = received.sender.feed(received.message).unwrap();
    }
    ws
}

/// Closes this end, and waits for the echo's.
async fn end<S: AsyncRead + AsyncWrite + Unpin, T>(
    mut client: WebSocket<S>,
    echoing: JoinHandle<T>,
) {
    client.close(None).await.unwrap();
    drop(client);
    echoing.await.unwrap();
}

#[test]
fn a_batch_of_50_costs_an_echo_one_read_and_one_write() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (far, calls) = Counted::new(far);
        let echoing = tokio::spawn(echo(server(far, &config())));
        let mut client = client(near, &config());
        for round in 0..10 {
            for i in 0..50 {
                let _ = client.feed(&[i; 100]).unwrap();
            }
            client.flush().await.unwrap();
            for i in 0..50 {
                assert_eq!(client.recv().await.unwrap().unwrap().as_bytes(), [i; 100]);
            }
            assert_eq!(traffic(&calls), (1, vec![50 * 102]), "round {round}");
        }
        end(client, echoing).await;
    });
}

#[test]
fn ping_pong_costs_a_read_and_a_write_a_message_and_no_try_besides() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (far, calls) = Counted::new(far);
        let echoing = tokio::spawn(echo(server(far, &config())));
        let mut client = client(near, &config());
        for i in 0..100 {
            client.send(&[i; 64]).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().as_bytes(), [i; 64]);
            let seen = counted(&calls);
            if i > 0 {
                // One read that gave the message, one that has to wait for the next.
                assert_eq!((seen.reads, seen.dry, seen.writes, seen.full), (1, 1, vec![66], 0));
            }
        }
        end(client, echoing).await;
    });
}

#[test]
fn a_client_that_sends_and_receives_in_turn_reads_and_writes_once_each() {
    run(async {
        let (near, far) = tcp_pair().await;
        let (near, calls) = Counted::new(near);
        let echoing = tokio::spawn(echo(server(far, &config())));
        let mut client = client(near, &config());
        for i in 0..50 {
            client.send(&[i; 64]).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().as_bytes(), [i; 64]);
            let seen = counted(&calls);
            assert_eq!((seen.reads, seen.writes), (1, vec![70]), "message {i}");
        }
        end(client, echoing).await;
    });
}

#[test]
fn split_halves_write_a_batch_once_and_a_message_once() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (near, calls) = Counted::new(near);
        let (mut reader, mut writer) = client(near, &config()).into_split();
        let echoing = tokio::spawn(echo(server(far, &config())));
        for _ in 0..10 {
            for i in 0..50 {
                let _ = writer.feed(&[i; 100]).unwrap();
            }
            writer.flush().await.unwrap();
            for i in 0..50 {
                assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), [i; 100]);
            }
            assert_eq!(traffic(&calls), (1, vec![50 * 106]));
            writer.send("one").await.unwrap();
            assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("one"));
            assert_eq!(traffic(&calls), (1, vec![9]));
        }
        writer.close(None).await.unwrap();
        assert!(reader.recv().await.unwrap().is_none());
        drop((reader, writer));
        echoing.await.unwrap();
    });
}

#[test]
fn a_large_batch_is_written_when_the_cork_limit_is_passed() {
    run(async {
        let (near, far) = duplex(1 << 20);
        let (far, calls) = Counted::new(far);
        let config = Config { cork_limit: 10_000, read_buffer: 200_000, ..config() };
        let echoing = tokio::spawn(echo(server(far, &config)));
        let mut client = client(near, &config);
        for i in 0..100 {
            let _ = client.feed(&[i; 996]).unwrap(); // 1000 on the wire of a server
        }
        client.flush().await.unwrap();
        for i in 0..100 {
            assert_eq!(client.recv().await.unwrap().unwrap().as_bytes(), [i; 996]);
        }
        assert_eq!(traffic(&calls), (1, vec![10_000; 10]));
        end(client, echoing).await;
    });
}

// P042
#[test]
fn pings_of_a_batch_cost_one_pong_in_the_write_of_the_batch() {
    run(async {
        let mut input = vec![];
        for i in 0..20 {
            input.extend(masked(BINARY, [i; 10]));
            input.extend(masked(PING, [i]));
        }
        let io = Scripted::new(&input);
        let (counting, calls) = Counted::new(io.clone());
        let mut ws = server(counting, &config());
        for i in 0..20 {
            let received = ws.recv_to_reply().await.unwrap().unwrap();
            assert_eq!(received.message.as_bytes(), [i; 10]);
            let _ = received.sender.feed(received.message).unwrap();
        }
        assert!(once!(ws.recv_to_reply()).is_pending());
        let (reads, writes) = traffic(&calls);
        assert_eq!((reads, writes), (1, vec![20 * 12 + 3]));
        let written = io.frames();
        let pongs: Vec<_> = written.iter().filter(|f| f.b0 == PONG).collect();
        assert_eq!(pongs.len(), 1);
        assert_eq!(pongs[0].payload, [19]);
        assert_eq!(messages(&written).len(), 20);
    });
}

fn request() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec()
}

/// Three messages in one read, and what is fed after each of them by every receiving call.
#[test]
fn no_receiving_call_writes_before_the_input_is_used_up() {
    run(async {
        let input = masked(BINARY, b"tick").repeat(3);
        for call in ["recv", "recv_to_reply", "recv_event", "recv_chunk", "recv_owned"] {
            let (io, calls) = Counted::new(Scripted::new(&input));
            let mut ws = server(io, &config());
            macro_rules! receive {
                () => {
                    match call {
                        "recv" => once!(ws.recv()).map_ok(|got| got.is_some()),
                        "recv_to_reply" => once!(ws.recv_to_reply()).map_ok(|got| got.is_some()),
                        "recv_event" => once!(ws.recv_event()).map_ok(|got| got.is_some()),
                        "recv_chunk" => once!(ws.recv_chunk()).map_ok(|got| got.is_some()),
                        _ => once!(ws.recv_owned()).map_ok(|got| got.is_some()),
                    }
                };
            }
            for _ in 0..3 {
                assert!(matches!(receive!(), Poll::Ready(Ok(true))), "{call}");
                let _ = ws.feed("quote").unwrap();
                let _ = ws.feed(Bytes::from(vec![1; 5000])).unwrap();
            }
            assert_eq!(traffic(&calls), (1, vec![]), "{call}: input was at hand");
            assert!(receive!().is_pending());
            assert_eq!(traffic(&calls), (0, vec![3 * (7 + 5004)]), "{call}: before it waits");
            assert!(receive!().is_pending());
            assert_eq!(traffic(&calls), (0, vec![]), "{call}: once");
        }
    });
}

#[test]
fn send_has_reached_the_stream_when_it_returns_with_what_was_fed_before() {
    run(async {
        for split in [false, true] {
            let input = masked(BINARY, b"tick").repeat(3);
            let (io, calls) = Counted::new(Scripted::new(&input));
            let mut ws = server(io, &config());
            assert!(ws.recv().await.unwrap().is_some()); // and two more are at hand
            assert_eq!(traffic(&calls), (1, vec![]));
            if split {
                let (mut reader, mut writer) = ws.into_split();
                let _ = writer.feed("fed").unwrap();
                writer.send("sent").await.unwrap();
                assert_eq!(traffic(&calls), (0, vec![5 + 6]));
                for _ in 0..2 {
                    assert!(reader.recv().await.unwrap().is_some());
                }
                assert!(once!(reader.recv()).is_pending());
            } else {
                let _ = ws.feed("fed").unwrap();
                ws.send("sent").await.unwrap();
                assert_eq!(traffic(&calls), (0, vec![5 + 6]));
                for _ in 0..2 {
                    assert!(ws.recv().await.unwrap().is_some());
                }
                assert!(once!(ws.recv()).is_pending());
            }
            assert_eq!(traffic(&calls), (0, vec![]));
        }
    });
}

#[test]
fn an_echo_over_split_halves_costs_one_read_and_one_write_a_batch() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (far, calls) = Counted::new(far);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        let echoing = tokio::spawn(async move {
            while let Some((message, info)) = reader.recv_with_info().await.unwrap() {
                let _ = writer.feed(message).unwrap();
                if !info.more {
                    writer.flush().await.unwrap();
                }
            }
        });
        let mut client = client(near, &config());
        for batch in [1, 50, 1, 7] {
            for i in 0..batch {
                let _ = client.feed(&[i; 100]).unwrap();
                client.sender_mut().ping(b"?").unwrap(); // only the newest of these leaves
            }
            client.flush().await.unwrap();
            for i in 0..batch {
                assert_eq!(client.recv().await.unwrap().unwrap().as_bytes(), [i; 100]);
            }
            let (reads, writes) = traffic(&calls);
            assert_eq!(reads, 1, "batch of {batch}");
            // The pong goes along, or by itself.
            assert!(writes.len() <= 2, "batch of {batch}: {writes:?}");
            assert_eq!(writes.iter().sum::<usize>(), usize::from(batch) * 102 + 3);
        }
        end(client, echoing).await;
    });
}

#[test]
fn accept_writes_the_response_alone_and_at_once() {
    run(async {
        let (io, calls) = Counted::new(Scripted::new(&request()));
        let ws = accept(io, &config()).await.unwrap();
        let (reads, writes) = traffic(&calls);
        assert_eq!((reads, writes.len()), (1, 1));
        let script = ws.get_ref().io.0.lock().unwrap();
        let text = String::from_utf8(script.output.clone()).unwrap();
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains(&accept_key("dGhlIHNhbXBsZSBub25jZQ==")));
    });
}

#[test]
fn accept_corked_writes_the_response_with_the_first_messages() {
    run(async {
        // By a flush.
        let (io, calls) = Counted::new(Scripted::new(&request()));
        let incoming = Incoming::read(io, &config()).await.unwrap();
        let mut ws = incoming.accept_corked(Accept::default()).unwrap();
        let _ = ws.feed("welcome").unwrap();
        let _ = ws.feed("snapshot").unwrap();
        assert!(traffic(&calls).1.is_empty());
        ws.flush().await.unwrap();
        assert_eq!(traffic(&calls).1.len(), 1);
        let output = ws.get_ref().io.with(|s| s.output.clone());
        let head = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(messages(&frames(&output[head..])).len(), 2);

        // By a receiving call, with the answers to what came right behind the request (P129, A65).
        let mut input = request();
        input.extend(masked(TEXT, b"early"));
        let (io, calls) = Counted::new(Scripted::new(&input));
        let incoming = Incoming::read(io, &config()).await.unwrap();
        let mut ws = incoming.accept_corked(Accept::default()).unwrap();
        let received = ws.recv_to_reply().await.unwrap().unwrap();
        assert_eq!(received.message.as_text(), Some("early"));
        let _ = received.sender.feed(received.message).unwrap();
        assert!(once!(ws.recv_to_reply()).is_pending());
        let (reads, writes) = traffic(&calls);
        assert_eq!((reads, writes.len()), (1, 1));
        assert!(ws.get_ref().io.with(|s| s.output.ends_with(b"\r\n\r\n\x81\x05early")));
    });
}

#[test]
fn a_large_shared_payload_leaves_in_one_vectored_write_from_where_it_lies() {
    run(async {
        let (mut near, far) = duplex(1 << 20);
        let (far, calls) = Counted::new(far);
        let mut ws = server(far, &config());
        let payload = Bytes::from(vec![7; 100_000]);
        let _ = ws.feed("before").unwrap();
        let _ = ws.feed(payload.clone()).unwrap();
        let _ = ws.feed(Prepared::new(&payload)).unwrap();
        let _ = ws.feed("after").unwrap();
        ws.flush().await.unwrap();
        let seen = counted(&calls);
        assert_eq!(seen.writes, [8 + 2 * 100_010 + 7]);
        assert_eq!(seen.slices, [5]);
        let mut wire = vec![0; seen.writes[0]];
        near.read_exact(&mut wire).await.unwrap();
        let got = messages(&frames(&wire));
        assert_eq!(got.len(), 4);
        assert!(got[1].as_bytes() == payload && got[2].as_bytes() == payload);
    });
}

#[test]
fn without_vectored_writes_no_header_travels_alone() {
    run(async {
        for split in [false, true] {
            let (mut near, far) = duplex(1 << 20);
            let (mut far, calls) = Counted::new(far);
            far.vectored = false;
            let mut ws = server(far, &config());
            let payload = Bytes::from(vec![7; 100_000]);
            let prepared = Prepared::new(&payload);
            let _ = ws.feed("before").unwrap();
            let _ = ws.feed(payload.clone()).unwrap();
            let _ = ws.feed(&prepared).unwrap();
            ws.sender_mut().ping(b"overtakes").unwrap();
            let _ = ws.sender_mut().feed_first("overtakes, too").unwrap();
            if split {
                let (_reader, mut writer) = ws.into_split();
                writer.flush().await.unwrap();
            } else {
                ws.flush().await.unwrap();
            }
            let writes = counted(&calls).writes;
            let mut wire = vec![0; writes.iter().sum()];
            near.read_exact(&mut wire).await.unwrap();
            assert_eq!(messages(&frames(&wire)).len(), 4);
            // Each write holds more than a header: it ends at the end of a frame, or (split: a
            // turn's worth was written) far inside a payload.
            let mut end = 0;
            for write in writes {
                let (_, rest) = whole_frames(&wire[..end + write]);
                assert!(rest.is_empty() || (split && rest.len() > 1000), "{}", rest.len());
                end += write;
            }
        }
    });
}

#[test]
fn a_hundred_spliced_payloads_go_out_whole_and_in_order() {
    run(async {
        // More slices than one vectored write is given, over a pipe that cuts them anywhere.
        for room in [1, 7, 1000, 1 << 16] {
            let (mut near, far) = duplex(room);
            let mut ws = server(far, &Config { min_vectored: 1, ..config() });
            for i in 0..100_u8 {
                let _ = ws.feed(vec![i; usize::from(i) * 3]).unwrap();
            }
            let expected: usize = (0..100).map(|i| 3 * i + if 3 * i > 125 { 4 } else { 2 }).sum();
            let sending = async { ws.flush().await.unwrap() };
            let mut wire = vec![0; expected];
            let reading = async { near.read_exact(&mut wire).await.unwrap() };
            tokio::join!(sending, reading);
            let messages = messages(&frames(&wire));
            assert_eq!(messages.len(), 100);
            for (i, message) in messages.iter().enumerate() {
                assert!(message.as_bytes() == vec![i as u8; i * 3]);
            }
        }
    });
}

#[test]
fn a_long_borrowed_message_is_sent_from_where_it_lies() {
    run(async {
        let payload = vec![7; 20_000];
        let (io, calls) = Counted::new(Scripted::new(&[]));
        let mut ws = server(io, &config());
        ws.send(&payload).await.unwrap();
        let seen = counted(&calls);
        assert_eq!((seen.writes, seen.slices, seen.flushes), (vec![20_004], vec![2], 1));
        // No buffer of its length was needed.
        assert!(ws.sender_mut().reclaim().len() < 20_000);
        // The same from a half, and for a client, which masks a copy.
        let (_, mut writer) = ws.into_split();
        writer.send(&payload).await.unwrap();
        assert_eq!(counted(&calls).slices, [2]);
        let (io, calls) = Counted::new(Scripted::new(&[]));
        client(io, &config()).send(&payload).await.unwrap();
        assert_eq!(counted(&calls).slices, [1]);
    });
}

#[test]
fn what_the_stream_refuses_of_a_borrowed_message_goes_before_all_that_is_fed_later() {
    run(async {
        for room in [1, 3, 4, 5, 100, 2999, 3003, 3004] {
            let (mut near, far) = duplex(room);
            let mut ws = server(far, &Config { min_vectored: 3000, ..config() });
            let payload = bytes(3000);
            assert!(matches!(once!(ws.send(&payload)), Poll::Pending) == (room < 3004));
            ws.sender_mut().ping(b"?").unwrap();
            let _ = ws.feed("later").unwrap();
            let _ = ws.sender_mut().feed_first("first").unwrap();
            let mut wire = vec![0; 3004 + 3 + 7 + 7];
            let reading = async { near.read_exact(&mut wire).await.unwrap() };
            tokio::join!(async { ws.flush().await.unwrap() }, reading);
            let frames = frames(&wire);
            let order: Vec<_> = frames.iter().map(|frame| frame.b0).collect();
            assert_eq!(order, [BINARY, PING, TEXT, TEXT], "{room}");
            assert!(frames[0].payload == payload && frames[2].payload == b"first");
        }
    });
}

#[test]
fn a_borrowed_message_that_meets_a_failed_stream_is_lost_and_counted() {
    run(async {
        let io = Scripted::new(&[]);
        io.with(|script| script.broken = true);
        let mut ws = server(io, &config());
        assert!(matches!(ws.send(&[7; 20_000]).await, Err(Error::Io(_))));
        assert_eq!((ws.sender().dropped(), ws.sender().buffered_amount()), (20_004, 0));
        assert!(matches!(ws.send("x").await, Err(Error::Send(SendError::Closed))));
    });
}

/// Copies of it have only its kind.
#[test]
fn a_long_borrowed_message_gets_the_streams_own_error() {
    struct Fails;
    polled!(tokio: Fails);
    impl Polled for Fails {
        fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::Error::other("the link is down")))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
    }
    run(async {
        for len in [5, 20_000] {
            let whole = server(Fails, &config()).send(&vec![7; len]).await;
            let (_reader, mut writer) = server(Fails, &config()).into_split();
            for sent in [whole, writer.send(&vec![7; len]).await] {
                assert_eq!(sent.unwrap_err().to_string(), "the link is down", "{len}");
            }
            assert_eq!(writer.dropped() as usize, if len == 5 { 7 } else { 20_004 });
        }
    });
}

#[test]
fn send_is_one_write_and_one_flush_of_the_stream() {
    run(async {
        let (io, calls) = Counted::new(Scripted::new(&[]));
        let mut ws = client(io, &config());
        for _ in 0..10 {
            ws.send("hello").await.unwrap();
            let seen = counted(&calls);
            assert_eq!((seen.reads, seen.writes, seen.flushes), (0, vec![11], 1));
        }
        // Nothing to write: nothing is asked of the stream.
        ws.flush().await.unwrap();
        let seen = counted(&calls);
        assert_eq!((seen.writes.len(), seen.full, seen.flushes), (0, 0, 0));
    });
}

// P105, A65
#[test]
fn the_request_of_a_client_is_one_write_and_early_frames_are_not_lost() {
    run(async {
        let (near, mut far) = duplex(1 << 16);
        let (near, calls) = Counted::new(near);
        let serving = async {
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(far.read_u8().await.unwrap());
            }
            let text = String::from_utf8(head).unwrap();
            let key = text.split("Sec-WebSocket-Key: ").nth(1).unwrap();
            let key = accept_key(key.split("\r\n").next().unwrap());
            let mut answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
            )
            .into_bytes();
            answer.extend(unmasked(TEXT, b"early"));
            answer.extend(&unmasked(TEXT, b"cut")[..3]);
            far.write_all(&answer).await.unwrap();
            far
        };
        let request = Request::new("ws://example.com/").unwrap();
        let config = config();
        let connecting = tickwire::tokio::client(near, &request, &config);
        let (ws, mut far) = tokio::join!(connecting, serving);
        let mut ws = ws.unwrap();
        let seen = counted(&calls);
        assert_eq!((seen.reads, seen.writes.len()), (1, 1));
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("early"));
        assert_eq!(counted(&calls).reads, 0);
        far.write_all(&unmasked(TEXT, b"cut")[3..]).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("cut"));
    });
}
