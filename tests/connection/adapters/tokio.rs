//! The tokio adapter: how connections end, what failures hide, timers, memory, the opening
//! handshake over real and scripted streams.
use crate::support::tokio::*;
use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};
use testkit::alloc::live;
use tickwire::{
    CloseCode, CloseFrame, Config, Error, Event, Heartbeat, ReadyState, RecvError, Retry,
    handshake::{
        HandshakeError,
        client::Request,
        server::{Accept, Rejection},
    },
    tokio::{Incoming, MessageOrRoom, WebSocket, accept, connect},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::TcpListener,
    task::yield_now,
    time::{Instant, advance, sleep},
};

fn scripted(input: &[u8], config: &Config) -> (WebSocket<Scripted>, Scripted) {
    let io = Scripted::new(input);
    (server(io.clone(), config), io)
}

// A failed write never hides what was received.

#[test]
fn after_a_failed_write_receiving_goes_on_for_the_close_timeout_at_most() {
    run_paused(async {
        let (mut ws, io) = scripted(b"", &config());
        io.with(|s| s.broken = true);
        assert!(ws.send("x").await.is_err());
        let began = Instant::now();
        let error = ws.recv().await.map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::BrokenPipe));
        assert_eq!(began.elapsed().as_secs(), 5);
    });
}

#[test]
fn flush_does_not_say_that_all_is_written_when_it_was_dropped() {
    run_paused(async {
        // The write failed inside a `recv` that was then dropped.
        let (mut ws, io) = scripted(b"", &config());
        let at = ws.feed("lost").unwrap();
        io.with(|s| s.broken = true);
        assert!(once!(ws.recv()).is_pending());
        assert!(!ws.sender().is_written(at));
        assert!(ws.flush().await.is_err(), "flush said that a dropped message was written");

        // The write timeout passed after the peer's Close had come.
        let (mut ws, io) = scripted(&masked(CLOSE, b""), &config());
        io.with(|s| s.room = 10);
        let at = ws.feed(&[0; 100]).unwrap();
        assert!(once!(ws.recv()).is_pending());
        let flushed = ws.flush().await;
        assert!(!ws.sender().is_written(at) && flushed.is_err(), "{flushed:?}");
    });
}

#[test]
fn a_client_that_is_kept_does_not_keep_the_server() {
    run_paused(async {
        for client_first in [true, false] {
            let (near, far) = duplex(1 << 10);
            let (mut kept, mut ws) = (client(near, &config()), server(far, &config()));
            let begin = Instant::now();
            let closing = CloseFrame::from(CloseCode::NORMAL);
            if client_first {
                let (closed, end) = tokio::join!(kept.close(closing), ws.recv());
                assert!(closed.is_ok() && end.unwrap().is_none());
            } else {
                let (end, closed) = tokio::join!(kept.recv(), ws.close(closing));
                assert!(closed.is_ok() && end.unwrap().is_none());
            }
            assert_eq!(begin.elapsed(), Duration::ZERO); // it lingers for what may still come
            assert_eq!(kept.closed().unwrap().code, 1000);
        }
    });
}

// Violations.

#[test]
fn a_violation_is_returned_within_a_second_though_the_peer_goes_on_for_ever() {
    run_paused(async {
        for blocked in [false, true] {
            let (mut ws, io) = scripted(&unmasked(TEXT, b""), &config());
            if blocked {
                io.with(|s| s.room = 2); // not even the Close can go
            }
            let flood = io.clone();
            let flooding = tokio::spawn(async move {
                loop {
                    flood.with(|s| s.input.extend([7; 100]));
                    sleep(Duration::from_millis(10)).await;
                }
            });
            let began = Instant::now();
            let error = recv_error(ws.recv().await);
            assert!(matches!(error, RecvError::Protocol(_)));
            assert!(began.elapsed() <= Duration::from_millis(1010), "{:?}", began.elapsed());
            assert_eq!(io.with(|s| s.shut), !blocked);
            flooding.abort();
        }
    });
}

#[test]
fn a_violation_does_not_cost_the_replies_that_short_writes_can_still_take() {
    run_paused(async {
        let mut input = vec![];
        for i in 0..40 {
            input.extend(masked(BINARY, [i]));
        }
        input.extend(unmasked(BINARY, b"not masked"));
        let io = Scripted::new(&input);
        io.with(|s| s.at_end = AtEnd::Eof);
        let (mut short, _) = Counted::new(io.clone());
        (short.vectored, short.most) = (false, 16 << 10);
        let mut ws = server(short, &config());
        let error = loop {
            match ws.recv_to_reply().await {
                Ok(Some(received)) => drop(received.sender.feed(&[1; 1000]).unwrap()),
                Ok(None) => panic!("no Close was sent"),
                failed => break recv_error(failed),
            }
        };
        assert!(matches!(error, RecvError::Protocol(_)));
        // A write that took less than it was given is no sign that the stream refuses more.
        assert_eq!(ws.sender().dropped(), 0);
        let frames = frames(&io.with(|s| s.output.clone()));
        assert_eq!(messages(&frames).len(), 40);
        assert_eq!(frames.last().unwrap().payload, close_body(1002, ""));
    });
}

/// Never has to wait, and takes no part in tokio's budget.
struct Endless {
    frame: [u8; 2],
    uses_budget: bool,
}

polled!(tokio: Endless);
impl Polled for Endless {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.uses_budget {
            std::task::ready!(::tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        let frames = buf.remaining().min(64) / 2; // a poll makes 128 such reads
        buf.put_slice(&self.frame.repeat(frames));
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
}

#[tokio::test]
async fn a_stream_that_never_has_to_wait_cannot_escape_the_deadline_on_its_end() {
    let config = Config { close_timeout: Duration::from_millis(20), ..config() };
    let unmasked = Endless { frame: [0, 0], uses_budget: false };
    let mut ws = server(unmasked, &config);
    let error = recv_error(ws.recv().await);
    assert!(matches!(error, RecvError::Protocol(_)));
}

// The write timeout holds when receiving is over, too: else these calls wait for ever.

#[test]
fn send_after_the_end_of_the_stream_returns() {
    run_paused(async {
        let (mut ws, io) = scripted(b"", &config());
        io.with(|s| (s.at_end, s.room) = (AtEnd::Eof, 10));
        assert_eq!(recv_error(ws.recv().await), RecvError::UnexpectedEof);
        let began = Instant::now();
        assert!(ws.send(&[7; 500]).await.is_err());
        assert!(began.elapsed().as_secs() <= 30, "{:?}", began.elapsed());
        assert_eq!(recv_error(ws.flush().await), RecvError::UnexpectedEof);
    });
}

// Closing.

// P073, P075, A31
#[test]
fn close_is_bounded_whatever_the_peer_does() {
    run_paused(async {
        // Silent, trickling, not reading; and one that sends a part of its Close.
        // A peer that goes on sending may still be reading, so the stream is drained as long again.
        for (what, seconds) in [("silent", 5), ("trickle", 10), ("full", 5), ("part", 10)] {
            let (mut ws, io) = scripted(b"", &config());
            let far = io.clone();
            if what == "full" {
                io.with(|s| s.room = 10);
                let _ = ws.feed(&[0; 1000]).unwrap();
            }
            let peer = tokio::spawn(async move {
                match what {
                    "trickle" => loop {
                        far.with(|s| s.input.extend(masked(BINARY, b"more")));
                        sleep(Duration::from_millis(70)).await;
                    },
                    "part" => far.with(|s| s.input.push_back(0x88)),
                    _ => {}
                }
            });
            let began = Instant::now();
            let error = recv_error(ws.close(None).await);
            assert_eq!(error, RecvError::CloseTimeout, "{what}");
            assert_eq!(began.elapsed().as_secs(), seconds, "{what}");
            assert!(ws.closed().is_none_or(|end| !end.clean && end.code == 1006));
            assert_eq!(ws.connection().ready_state(), ReadyState::Closed);
            assert!(ws.recv().await.is_err());
            peer.abort();
        }
    });
}

// P065
#[test]
fn after_our_own_close_recv_reads_on_and_recv_reply_discards() {
    run_paused(async {
        let mut input = vec![];
        for i in 0..20 {
            input.extend(masked(BINARY, [i; 500]));
        }
        input.extend(masked(CLOSE, close_body(1000, "")));
        let (mut ws, io) = scripted(&input, &config());
        io.with(|s| s.at_end = AtEnd::Eof);
        ws.sender_mut().close(None).unwrap();
        for i in 0..20 {
            assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), [i; 500]);
        }
        assert!(ws.recv().await.unwrap().is_none() && ws.closed().is_some_and(|end| end.clean));

        let (mut ws, io) = scripted(&input, &config());
        io.with(|s| s.at_end = AtEnd::Eof);
        let received = ws.recv_to_reply().await.unwrap().unwrap();
        received.sender.close(None).unwrap();
        assert!(ws.recv_to_reply().await.unwrap().is_none());
        assert!(ws.closed().unwrap().clean);
        let frames = io.frames();
        assert_eq!((frames.len(), frames[0].b0), (1, CLOSE));
    });
}

// P071
#[test]
fn a_client_waits_for_the_servers_fin_for_a_second_at_most() {
    run_paused(async {
        let io = Scripted::new(&unmasked(CLOSE, close_body(1000, "")));
        let mut ws = client(io.clone(), &config());
        let began = Instant::now();
        assert!(ws.recv().await.unwrap().is_none());
        assert_eq!(began.elapsed().as_secs(), 1);
        assert!(ws.closed().unwrap().clean && !io.with(|s| s.shut));

        // Who does not want to wait for that sees the Close as it comes, answers it, and drops the
        // stream.
        let io = Scripted::new(&unmasked(CLOSE, close_body(1012, "")));
        let mut ws = client(io.clone(), &config());
        let began = Instant::now();
        assert!(matches!(ws.recv_event().await.unwrap(), Some(Event::Close(_))));
        assert!(ws.closed().is_some_and(|end| end.code == 1012));
        ws.flush().await.unwrap();
        assert_eq!(io.frames().len(), 1);
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}

// Control frames by hand.

/// `recv_event` has said that receiving is over, and more may be sent: to a stream that takes a
/// part.
#[test]
fn behind_a_close_that_is_not_answered_the_stream_may_refuse_too() {
    run_paused(async {
        let limits =
            Config { auto_close: false, write_timeout: Duration::from_secs(5), ..config() };
        let (mut ws, io) = scripted(&masked(CLOSE, close_body(4000, "why")), &limits);
        assert!(matches!(ws.recv_event().await.unwrap(), Some(Event::Close(Some(_)))));
        assert_eq!(ws.recv_event().await.unwrap(), None);
        io.with(|s| s.room = 10);
        let last = ws.feed("the last of all messages").unwrap();
        let began = Instant::now();
        assert_eq!(recv_error(ws.flush().await), RecvError::WriteTimeout);
        assert_eq!(began.elapsed().as_secs(), 5);
        assert!(!ws.sender().is_written(last));
    });
}

// Timers.

#[test]
fn a_silent_peer_is_given_up_though_a_send_has_waited_before() {
    run_paused(async {
        let (mut ws, io) = scripted(b"", &beating());
        io.with(|s| s.room = 10);
        assert!(once!(ws.send(&[0; 100])).is_pending()); // nobody reads meanwhile
        io.with(|s| s.room = usize::MAX);
        assert_eq!(recv_error(ws.recv().await), RecvError::PongTimeout);
    });
}

#[test]
fn a_ping_is_written_when_it_is_due_though_another_deadline_is_awaited() {
    run_paused(async {
        // That of a frame, of which something has come.
        let (mut ws, io) = scripted(&masked(BINARY, [1; 5000])[..1000], &beating());
        let receiving = tokio::spawn(async move { ws.recv().await.map(|_| ()) });
        sleep(Duration::from_secs(26)).await;
        assert!(io.frames().iter().any(|f| f.b0 == PING), "no ping within 1.25 intervals");
        receiving.abort();
    });
}

#[test]
fn a_pong_that_was_not_read_yet_is_not_held_against_the_peer() {
    run_paused(async {
        let (mut ws, io) = scripted(b"", &beating());
        let began = Instant::now();
        while io.frames().is_empty() {
            assert!(once!(ws.recv()).is_pending());
            advance(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed().as_secs() <= 25);
        // The pong comes at once; nobody receives for an hour.
        io.with(|s| s.input.extend(masked(PONG, b"")));
        advance(Duration::from_secs(3600)).await;
        assert!(once!(ws.recv()).is_pending());

        // The same while a flush is blocked: silence is not held against the peer then.
        io.with(|s| s.room = 0);
        assert!(once!(ws.send("x")).is_pending());
        for _ in 0..29 {
            advance(Duration::from_secs(1)).await;
            assert!(once!(ws.flush()).is_pending());
        }
        io.with(|s| s.room = usize::MAX);
        ws.flush().await.unwrap();
        assert!(once!(ws.recv()).is_pending());
    });
}

/// A client whose Pong is overdue, but lies in the stream, and the server that sent this Pong.
async fn with_an_unread_pong() -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = duplex(1000);
    let mut far = server(far, &config());
    let mut ws = client(near, &beating());
    let began = Instant::now();
    while began.elapsed().as_secs() < 25 {
        assert!(once!(ws.recv()).is_pending());
        advance(Duration::from_secs(1)).await;
    }
    assert!(once!(ws.recv()).is_pending()); // the ping is written
    assert!(once!(far.recv()).is_pending()); // and answered
    advance(Duration::from_secs(20)).await;
    (ws, far)
}

#[test]
fn a_task_that_used_up_its_budget_does_not_miss_the_pong_that_lies_there() {
    run_paused(async {
        let (mut ws, _far) = with_an_unread_pong().await;
        // The runtime makes a read wait then, though there is something to read.
        recv_waits_without_budget(&mut ws).await;
        assert!(once!(ws.recv()).is_pending());
    });
}

/// The runtime refuses the write too, so the deadline on writing is not armed yet. It is at
/// `Time::ZERO`, before the deadline on silence.
#[test]
fn a_refused_write_does_not_hide_that_the_budget_is_used_up() {
    run_paused(async {
        let (mut ws, _far) = with_an_unread_pong().await;
        ws.feed("order").unwrap();
        recv_waits_without_budget(&mut ws).await;
        assert!(once!(ws.recv()).is_pending());
    });
}

#[test]
fn a_task_that_used_up_its_budget_does_not_miss_the_rest_of_a_frame() {
    run_paused(async {
        for heartbeat in [None, beating().heartbeat] {
            let frame_timeout = Duration::from_secs(10);
            let (near, mut far) = duplex(1000);
            let mut ws = client(near, &Config { heartbeat, frame_timeout, ..config() });
            far.write_all(b"\x82\x05ab").await.unwrap();
            assert!(once!(ws.recv()).is_pending());
            far.write_all(b"cde").await.unwrap();
            advance(Duration::from_secs(15)).await;
            recv_waits_without_budget(&mut ws).await;
            assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), b"abcde");
        }
    });
}

#[test]
fn a_connection_taken_apart_and_joined_again_keeps_its_heartbeat() {
    run_paused(async {
        let (mut ws, _) = scripted(b"", &beating());
        for _ in 0..3600 {
            assert!(once!(ws.recv()).is_pending());
            ws.get_ref().with(|s| s.input.extend(masked(PONG, b"")));
            advance(Duration::from_secs(1)).await;
        }
        let (io, conn) = ws.into_parts();
        let mut ws = WebSocket::from_parts(io, conn);
        let began = Instant::now();
        assert_eq!(recv_error(ws.recv().await), RecvError::PongTimeout);
        assert!(began.elapsed().as_secs() <= 35, "{:?}", began.elapsed());
    });
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_no_length_pass_at_once_and_those_beyond_all_time_never() {
    let hour = Duration::from_secs(3600);
    let partial = &masked(BINARY, b"x")[..1];
    bounded(async {
        // An interval of nothing must not become a loop that does nothing else.
        for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let config = Config {
                heartbeat: Some(Heartbeat::new(interval, Duration::ZERO)),
                frame_timeout: Duration::ZERO,
                close_timeout: Duration::ZERO,
                write_timeout: Duration::ZERO,
                handshake_timeout: Duration::ZERO,
                ..config()
            };
            let (mut ws, io) = scripted(partial, &config);
            let began = Instant::now();
            assert!(ws.recv().await.is_err());
            assert!(ws.close(None).await.is_err());
            let (mut ws, _) = scripted(b"", &config);
            assert!(ws.close(None).await.is_err());
            let (mut ws, stuck) = scripted(b"", &config);
            stuck.with(|s| s.room = 1);
            assert!(ws.send("x").await.is_err());
            assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
            let shaken = accept(Scripted::new(b""), &config).await.map(|_| ());
            assert!(matches!(shaken, Err(Error::Handshake(HandshakeError::Timeout))));
            assert!(io.frames().len() < 10);
        }
    })
    .await;
    // A sum with the time that overflows would panic, or pass at once.
    for long in [Duration::MAX, Duration::from_secs(u64::MAX / 1000), Duration::from_secs(1 << 34)]
    {
        let config = Config {
            handshake_timeout: long,
            heartbeat: Some(Heartbeat::new(hour, long)),
            ..config()
        };
        let shaking = accept(Scripted::new(b""), &config);
        assert!(tokio::time::timeout(hour, shaking).await.is_err());
        let (mut ws, _) = scripted(partial, &Config { frame_timeout: long, ..config });
        assert!(tokio::time::timeout(4 * hour, ws.recv()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_waited_for_as_long_as_any_write() {
    let good = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let second = Duration::from_secs(1);
    for request in [good, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /"] {
        let (near, mut far) = duplex(64); // and nobody reads it
        let began = Instant::now();
        let config = config();
        let accepting = accept(near, &config);
        let come = async {
            sleep(9 * second).await;
            far.write_all(request.as_bytes()).await.unwrap();
        };
        let (accepted, ()) = tokio::join!(accepting, come);
        match accepted.map(|_| ()).unwrap_err() {
            Error::Recv(RecvError::WriteTimeout) => assert_eq!(request, good),
            Error::Handshake(HandshakeError::NotUpgrade | HandshakeError::Timeout) => {}
            other => panic!("{other:?}"),
        }
        let (by_request, by_answer) = (10 * second, 30 * second); // the defaults
        assert!(began.elapsed() <= by_request + by_answer + second, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_is_not_taken_is_no_success() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (near, mut far) = duplex(64); // and nobody reads it
    let config = config();
    let (incoming, sent) =
        tokio::join!(Incoming::read(near, &config), far.write_all(request.as_bytes()));
    sent.unwrap();
    let rejected = incoming.unwrap().reject(Rejection::new(503)).await;
    assert_eq!(recv_error(rejected), RecvError::WriteTimeout);
}

#[test]
fn limits_of_no_size_or_of_all_there_is_leave_a_connection_that_works() {
    run_paused(async {
        for n in [0, 1, usize::MAX] {
            let config = Config { high_water: n, cork_limit: n, read_buffer: n, ..config() };
            let input = [masked(TEXT, b"a"), masked(TEXT, b"b")].concat();
            let (mut ws, io) = scripted(&input, &config);
            for _ in 0..2 {
                // With room for nothing no message would ever be handed out.
                let received = ws.recv_to_reply().await.unwrap().unwrap();
                let _ = received.sender.feed(received.message).unwrap();
            }
            ws.flush().await.unwrap();
            assert_eq!(io.frames().len(), 2, "{n}");
        }
    });
}

#[test]
fn a_runtime_without_a_clock_is_enough_where_no_deadline_is_armed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, mut server) = pair(1 << 16, &config());
        let echoing = tokio::spawn(async move {
            for _ in 0..10 {
                let received = server.recv_to_reply().await.unwrap().unwrap();
                let _ = received.sender.feed(received.message).unwrap();
            }
            server.flush().await.unwrap();
        });
        for _ in 0..10 {
            client.send("tick").await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("tick"));
        }
        echoing.await.unwrap();
    });
}

// Memory.

/// How many bytes a connection holds while it waits, its own size included.
fn held<S>(ws: WebSocket<S>) -> usize {
    let before = live();
    drop(ws);
    (before - live()) as usize + size_of::<WebSocket<tokio::net::TcpStream>>()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_the_peers_fin_holds_no_buffers() {
    let io = Scripted::new(&unmasked(CLOSE, close_body(1000, "")));
    let mut ws = client(io.clone(), &config());
    assert!(once!(ws.recv()).is_pending());
    assert!(io.frames().len() == 1 && ws.connection().ready_state() == ReadyState::Closing);
    let held = held(ws);
    assert!(held <= 4 << 10, "{held} bytes");
}

/// Whole messages of `len` bytes both ways through a connection that answers them; then `after`.
async fn used(is_server: bool, len: usize, after: &[u8]) -> (WebSocket<Scripted>, Scripted) {
    let io = Scripted::new(b"");
    let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &beating()));
    for i in 0..200 {
        let wire = frame_to(role_of(is_server), BINARY, vec![i as u8; len]);
        // Cut in two, so that each waits in the middle of a message, too.
        let (a, b) = wire.split_at(wire.len() * (i % 7) / 7);
        for part in [a, b] {
            io.with(|s| s.input.extend(part));
            match once!(ws.recv_to_reply()) {
                Poll::Ready(received) => {
                    let received = received.unwrap().unwrap();
                    let _ = received.sender.feed(received.message).unwrap();
                    received.sender.ping(b"").unwrap();
                }
                Poll::Pending => {}
            }
            assert!(once!(ws.recv_to_reply()).is_pending());
        }
    }
    io.with(|s| s.input.extend(after));
    assert!(once!(ws.recv_to_reply()).is_pending());
    assert_eq!(messages(&io.frames()).len(), 200);
    (ws, io)
}

// P212, A18
#[tokio::test(start_paused = true)]
async fn a_waiting_connection_holds_no_buffers() {
    for (is_server, len) in product([true, false], [10, 1000, 16 << 10, 100 << 10]) {
        let (ws, io) = used(is_server, len, b"").await;
        let held = held(ws);
        assert!(held <= 4 << 10, "server {is_server}, {len} byte messages: {held} bytes");
        drop(io);
    }
}

#[tokio::test(start_paused = true)]
async fn the_few_bytes_of_a_partial_frame_do_not_pin_a_buffer() {
    for (is_server, cut) in product([true, false], [1, 2, 5, 20, 100]) {
        let part = &frame_to(role_of(is_server), BINARY, [0; 8000])[..cut];
        let (ws, io) = used(is_server, 1000, part).await;
        let held = held(ws);
        assert!(held <= 4 << 10, "server {is_server}, {cut} bytes: {held} bytes");
        drop(io);
    }
}

#[tokio::test(start_paused = true)]
async fn a_split_connection_that_waits_holds_no_buffers() {
    let (ws, io) = used(true, 16 << 10, b"").await;
    let (mut reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
    for i in 0..100 {
        io.with(|s| s.input.extend(masked(BINARY, [i; 16 << 10])));
        assert!(reader.recv().await.unwrap().is_some());
        assert!(once!(reader.recv()).is_pending());
        writer.send(&[i; 16 << 10]).await.unwrap();
    }
    let before = live();
    drop((reader, writer));
    let held = before - live();
    assert!(held <= 4 << 10, "{held} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_only_sends_holds_no_buffer_between_two_messages() {
    let (mut ws, _io) = scripted(b"", &config());
    for _ in 0..10 {
        ws.send(&[0; 1000]).await.unwrap();
    }
    let held = held(ws);
    assert!(held <= 4 << 10, "{held} bytes");
}

// The opening handshake.

const REQUEST: &str = "GET /feed?x=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\r\n";

#[test]
fn a_connected_client_that_fails_tells_the_server_and_ends_its_half() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = accept(stream, &config()).await.unwrap().into_parts().0;
            let mut slices = [0; 5];
            stream.read_exact(&mut slices).await.unwrap();
            assert_eq!(&slices, b"ab cd");
            stream.write_all(b"\x83\x00").await.unwrap(); // no such opcode
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            let close = frames(&rest).pop().unwrap();
            assert_eq!((close.b0, close.payload), (CLOSE, close_body(1002, "")));
        });
        // The type that a program writes into its structs.
        let mut ws: tickwire::tokio::WebSocket = connect(&url, &config()).await.unwrap();
        #[cfg(feature = "rustls")]
        assert!(ws.get_ref().session().is_none());
        // Beside the protocol, since no client writes slices but where something overtakes.
        let stream = ws.get_mut();
        assert!(tokio::io::AsyncWrite::is_write_vectored(stream));
        let slices = [std::io::IoSlice::new(b"ab "), std::io::IoSlice::new(b"cd")];
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 5);
        stream.flush().await.unwrap();
        assert!(ws.closed().and_then(|end| end.error).is_none());
        assert!(matches!(ws.recv().await, Err(Error::Recv(RecvError::Protocol(_)))));
        assert!(matches!(ws.closed().and_then(|end| end.error), Some(RecvError::Protocol(_))));
        serving.await.unwrap();
    });
}

#[test]
fn connect_says_what_is_wrong() {
    run(async {
        assert!(matches!(connect("http://localhost/", &config()).await, Err(Error::Url(_))));
        assert!(matches!(connect("ws://localhost/#x", &config()).await, Err(Error::Url(_))));
        #[cfg(not(feature = "rustls"))]
        assert!(matches!(connect("wss://localhost/", &config()).await, Err(Error::NoTls)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let refused = connect(&format!("ws://{nobody}"), &config()).await.map(|_| ());
        assert!(matches!(&refused, Err(Error::Io(_))), "{refused:?}");
        assert_eq!(refused.unwrap_err().retry(), Retry::BackOff);
    });
}

#[test]
fn read_any_gives_back_plain_http_to_be_answered() {
    run_paused(async {
        let io = Scripted::new(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        io.with(|s| s.at_end = AtEnd::Eof);
        let incoming = Incoming::read_any(io.clone(), &config()).await.unwrap();
        assert_eq!(incoming.error(), Some(HandshakeError::NotUpgrade));
        assert_eq!(incoming.request().path(), "/health");
        assert!(io.with(|s| s.output.is_empty()));
        incoming.reject(Rejection::new(200).body("fine")).await.unwrap();
        let output = io.with(|s| String::from_utf8(s.output.clone()).unwrap());
        assert!(output.starts_with("HTTP/1.1 200 ") && output.ends_with("\r\n\r\nfine"));

        // What was found bad cannot be accepted after all.
        let io = Scripted::new(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        let incoming = Incoming::read_any(io, &config()).await.unwrap();
        let accepted = incoming.accept(Accept::default()).await.map(|_| ());
        assert!(matches!(accepted, Err(Error::Handshake(HandshakeError::NotUpgrade))));

        // A good one is good here, too; a stream that ends at once is an error of the handshake.
        let io = Scripted::new(REQUEST.as_bytes());
        let incoming = Incoming::read_any(io, &config()).await.unwrap();
        assert_eq!(incoming.error(), None);
        incoming.accept(Accept::default()).await.unwrap();
        let io = Scripted::new(b"");
        io.with(|s| s.at_end = AtEnd::Eof);
        let incoming = Incoming::read_any(io, &config()).await.unwrap();
        assert_eq!(incoming.error(), Some(HandshakeError::UnexpectedEof));
        assert_eq!(incoming.request().method(), "");
    });
}

/// A client's handshake with a server that answers `response` to whatever it is asked.
async fn answered(response: &str, at_end: AtEnd) -> Result<WebSocket<Scripted>, Error> {
    let io = Scripted::new(response.as_bytes());
    io.with(|s| s.at_end = at_end);
    let request = Request::new("ws://example.com/").unwrap();
    tickwire::tokio::client(io, &request, &config()).await
}

#[test]
fn a_client_is_told_of_a_reset_and_of_a_request_that_is_not_taken() {
    run_paused(async {
        let reset = answered("", AtEnd::Reset).await.map(|_| ());
        assert!(matches!(reset, Err(Error::Io(_))), "{reset:?}");
        // A server that never reads the request.
        let io = Scripted::new(b"");
        io.with(|s| s.room = 10);
        let request = Request::new("ws://example.com/").unwrap();
        let began = Instant::now();
        let full = tickwire::tokio::client(io, &request, &config()).await.map(|_| ());
        assert!(matches!(full, Err(Error::Handshake(HandshakeError::Timeout))), "{full:?}");
        assert_eq!(began.elapsed().as_secs(), 10);
    });
}

// Types.

#[test]
fn all_of_it_can_be_sent_to_another_thread_while_it_waits() {
    fn spawns<F: Future<Output: Send + 'static> + Send + 'static>(_: F) {}
    // Whatever the stream is, and though a borrowed message lives across an await.
    async fn every_call<S>(io: S) -> Result<(), Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let mut ws = accept(io, &Config::default()).await?;
        while let Some(received) = ws.recv_to_reply().await? {
            yield_now().await;
            let _ = received.sender.feed(received.message)?;
        }
        ws.recv_to_reply().await?;
        ws.recv_chunk().await?;
        ws.recv_event().await?;
        ws.recv_owned().await?;
        ws.send("x").await?;
        ws.close(CloseCode::NORMAL).await?;
        let (mut reader, mut writer) = ws.into_split();
        reader.recv().await?;
        writer.send("x").await?;
        writer.close(None).await
    }
    spawns(every_call(duplex(1).0));
    spawns(async { connect("ws://example.com/", &Config::default()).await.map(|_| ()) });
}

/// The recipe for "has my order been written?".
#[tokio::test]
async fn room_for_one_byte_means_that_all_is_written_although_the_peer_is_silent() {
    let (near, mut far) = duplex(64);
    let mut ws = server(near, &Config::default());
    let position = ws.feed(&[7; 1000]).unwrap();
    let short = Duration::from_millis(20);
    assert!(tokio::time::timeout(short, ws.recv_or_room(1)).await.is_err());
    assert!(!ws.sender().is_written(position));
    let reading = tokio::spawn(async move {
        far.read_exact(&mut [0; 1004]).await.unwrap();
        far // stays open, and silent
    });
    assert!(matches!(bounded(ws.recv_or_room(1)).await.unwrap(), MessageOrRoom::Room));
    assert!(ws.sender().is_written(position));
    reading.await.unwrap();
}

/// After our Close no message can be fed, although everything is written.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_has_no_room_again() {
    let (near, mut far) = duplex(64);
    let mut ws = server(near, &Config { close_timeout: Duration::from_secs(50), ..config() });
    ws.feed(&[7; 1000]).unwrap();
    ws.sender_mut().close(CloseCode::NORMAL).unwrap();
    let reading = tokio::spawn(async move {
        far.read_exact(&mut [0; 1008]).await.unwrap();
        far // stays open, and silent
    });
    assert_eq!(recv_error(bounded(ws.recv_or_room(1)).await), RecvError::CloseTimeout);
    reading.await.unwrap();
}

/// A flood uses up the task's budget at each poll. `data_timeout` no longer runs after our Close.
#[tokio::test]
async fn a_flood_cannot_put_off_the_deadline_on_closing() {
    for data_timeout in [None, Some(Duration::from_secs(3))] {
        let close_timeout = Duration::from_millis(100);
        let pongs = Endless { frame: [0x8a, 0], uses_budget: true };
        let mut ws = client(pongs, &Config { data_timeout, close_timeout, ..config() });
        let short = Duration::from_millis(1); // starts `data_timeout`
        assert!(tokio::time::timeout(short, ws.recv()).await.is_err());
        assert_eq!(recv_error(bounded(ws.close(CloseCode::NORMAL)).await), RecvError::CloseTimeout);
    }
}

#[tokio::test]
async fn a_connection_that_has_ended_holds_no_buffer() {
    let (mut near, far) = duplex(256);
    near.write_all(&masked(CLOSE, b"")).await.unwrap();
    near.shutdown().await.unwrap();
    let mut ws = server(far, &config());
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(!ws.connection().receiver().has_buffer());
}

#[cfg(feature = "futures")]
#[tokio::test(start_paused = true)]
async fn a_connection_holds_no_buffer_once_its_sink_is_flushed() {
    use futures_util::{SinkExt, StreamExt};
    for len in [10, 1000, 16 << 10, 100 << 10] {
        let (mut ws, io) = scripted(b"", &config());
        for i in 0..10 {
            io.with(|s| s.input.extend(masked(BINARY, vec![i; len])));
            let message = ws.next().await.unwrap().unwrap();
            assert!(once!(ws.next()).is_pending());
            // Another task may send while the receiving task waits, and is not polled again.
            SinkExt::send(&mut ws, message).await.unwrap();
        }
        let held = held(ws);
        assert!(held <= 4 << 10, "{len} byte messages: {held} bytes");
    }
}
