//! The two halves of a tokio connection, in two tasks: who answers pings, who wakes whom, who
//! learns of the end.
use crate::support::{blocking, tokio::*};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, Error, Event, Heartbeat, Message, RecvError,
    SendError,
    tokio::{Reader, Writer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    task::yield_now,
    time::{Instant, advance, sleep},
};

fn config() -> Config {
    Config::default()
}

type Halves = (Reader<Scripted, Scripted>, Writer<Scripted>);

/// The halves of a server whose peer the test plays.
fn scripted(input: &[u8], config: &Config) -> (Halves, Scripted) {
    let io = Scripted::new(input);
    (server(io.clone(), config).into_split_with(|io| (io.clone(), io)), io)
}

/// How often a task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn waker() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (woken.clone(), Waker::from(woken))
}

/// Polls a future once with this waker.
macro_rules! poll_with {
    ($waker:expr, $future:expr) => {
        std::future::Future::poll(std::pin::pin!($future), &mut Context::from_waker($waker))
    };
}

#[tokio::test]
async fn pings_are_answered_while_the_writers_task_sleeps() {
    bounded(async {
        let (mut near, far) = duplex(256);
        let (mut reader, writer) = server(far, &config()).into_split();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        for i in 0..5 {
            near.write_all(&masked(PING, [i])).await.unwrap();
            let mut pong = [0; 3];
            near.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong, [0x8a, 1, i]);
        }
        near.write_all(&masked(CLOSE, b"")).await.unwrap();
        let mut close = [0; 2];
        near.read_exact(&mut close).await.unwrap();
        drop(near);
        reading.await.unwrap().unwrap();
        drop(writer);
    })
    .await;
}

#[tokio::test]
async fn a_ping_is_answered_at_the_next_frame_boundary_while_the_writer_is_in_mid_write() {
    bounded(async {
        let (mut near, far) = duplex(100);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        let sending = tokio::spawn(async move {
            for i in 0..3 {
                let _ = writer.feed(&[i; 5000]).unwrap();
            }
            writer.flush().await.unwrap();
            writer
        });
        yield_now().await; // the pipe is full now, the first frame has begun
        near.write_all(&masked(PING, b"!")).await.unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        let mut wire = vec![0; 3 * 5004 + 3];
        near.read_exact(&mut wire).await.unwrap();
        let opcodes: Vec<_> = frames(&wire).iter().map(|f| f.b0).collect();
        assert_eq!(opcodes, [BINARY, PONG, BINARY, BINARY]);
        let _writer = sending.await.unwrap();
        drop(near);
        reading.await.unwrap().unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn a_writer_learns_at_once_that_the_reader_has_failed_the_connection() {
    let ((mut reader, mut writer), io) = scripted(b"", &config());
    reader.fail(CloseCode::POLICY_VIOLATION).unwrap();
    for result in [writer.ready().await, writer.flush().await] {
        let failed = RecvError::Failed { code: CloseCode::POLICY_VIOLATION };
        assert!(matches!(result, Err(Error::Recv(error)) if error == failed));
    }
    assert_eq!(io.frames().len(), 1); // the Close
}

#[tokio::test]
async fn the_streams_one_waker_wakes_both_who_wait_for_it() {
    // The pipe is full. The writer waits first, then the reader, whose waker the stream keeps; and
    // the other way round.
    for reader_last in [true, false] {
        let ((mut reader, mut writer), io) = scripted(&masked(PING, b"1"), &config());
        io.with(|s| s.room = 1);
        let ((read, for_reader), (write, for_writer)) = (waker(), waker());
        let _ = writer.feed(&[1; 5000]).unwrap();
        if reader_last {
            assert!(poll_with!(&for_writer, writer.flush()).is_pending());
            assert!(poll_with!(&for_reader, reader.recv()).is_pending());
        } else {
            assert!(poll_with!(&for_reader, reader.recv()).is_pending());
            assert!(poll_with!(&for_writer, writer.flush()).is_pending());
        }
        read.0.store(0, Relaxed);
        write.0.store(0, Relaxed);
        io.with(|s| s.room = 10_000);
        assert!(read.0.load(Relaxed) > 0, "the reader, which has a pong to write, was not woken");
        assert!(write.0.load(Relaxed) > 0, "the writer was not woken");
        assert!(poll_with!(&for_reader, reader.recv()).is_pending());
        assert!(matches!(poll_with!(&for_writer, writer.flush()), Poll::Ready(Ok(()))));
        assert_eq!(io.frames().len(), 2);
    }
}

/// What goes with the last waker of a task.
struct Last<D: FnMut()>(Mutex<D>);

impl<D: FnMut() + Send + 'static> Wake for Last<D> {
    fn wake(self: Arc<Self>) {}
}

impl<D: FnMut()> Drop for Last<D> {
    fn drop(&mut self) {
        self.0.get_mut().unwrap()();
    }
}

fn last_waker(then: impl FnMut() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Last(Mutex::new(then))))
}

/// Runs on a thread of its own, since what waits for itself never returns from a poll.
fn on_a_thread(test: impl FnOnce() + Send + 'static) {
    blocking::bounded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        test();
    });
}

#[test]
fn a_waker_of_before_that_uses_the_connection_when_it_is_dropped_does_not_wait_for_itself() {
    on_a_thread(|| {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        let before =
            last_waker(move || writer.with_sender(|tx| tx.close(CloseCode::GOING_AWAY)).unwrap());
        assert!(poll_with!(&before, reader.recv()).is_pending());
        drop(before);
        io.with(|_| {}); // the stream forgets it
        // Another task receives from now on.
        let (woken, waker) = waker();
        assert!(poll_with!(&waker, reader.recv()).is_pending());
        assert!(woken.0.load(Relaxed) > 0, "the reader does not learn of the Close");
        assert!(poll_with!(&waker, reader.recv()).is_pending());
        let frames = io.frames();
        assert_eq!((frames[0].b0, &frames[0].payload), (CLOSE, &close_body(1001, "")));
    });
}

#[test]
fn a_waker_of_before_that_the_writers_alarm_had_does_not_wait_for_itself() {
    on_a_thread(|| {
        let ((mut reader, mut writer), io) = scripted(&masked(PING, b"!"), &config());
        io.with(|s| s.room = 0);
        let before = last_waker(move || assert!(once!(reader.recv()).is_pending()));
        let _ = writer.feed("x").unwrap();
        assert!(poll_with!(&before, writer.flush()).is_pending());
        drop(before);
        // Another task sends from now on.
        let (woken, waker) = waker();
        assert!(poll_with!(&waker, writer.flush()).is_pending());
        io.with(|s| s.room = usize::MAX);
        assert!(woken.0.load(Relaxed) > 0, "the writer was not woken");
        assert!(poll_with!(&waker, writer.flush()).is_ready());
        assert_eq!(io.frames().iter().map(|f| f.b0).collect::<Vec<_>>(), [PONG, TEXT]);
    });
}

/// Keeps the waker of its last write, and cannot flush while there is no room.
struct Buffering(Scripted, Option<Waker>);

impl AsyncWrite for Buffering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1 = Some(cx.waker().clone());
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut script = self.0.0.lock().unwrap();
        if script.room > 0 {
            return Poll::Ready(Ok(()));
        }
        script.wakers.push(cx.waker().clone());
        Poll::Pending
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn a_waker_of_before_that_a_large_message_left_does_not_wait_for_itself() {
    on_a_thread(|| {
        let io = Scripted::new(&masked(PING, b"!"));
        io.with(|s| s.room = 10);
        let (mut reader, mut writer) =
            server(io.clone(), &config()).into_split_with(|io| (io.clone(), Buffering(io, None)));
        let before = last_waker(move || assert!(once!(reader.recv()).is_pending()));
        assert!(poll_with!(&before, writer.send(&[1; 100_000])).is_pending());
        drop(before);
        io.with(|s| s.room = usize::MAX);
        // Another task sends from now on.
        assert!(matches!(once!(writer.flush()), Poll::Ready(Ok(()))));
        assert_eq!(io.frames().iter().map(|f| f.b0).collect::<Vec<_>>(), [BINARY, PONG]);
    });
}

#[tokio::test]
async fn a_pong_leaves_though_the_writers_future_was_dropped_in_mid_write() {
    bounded(async {
        let (mut near, far) = duplex(100);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        {
            let mut sending = std::pin::pin!(writer.send(&[1; 5000]));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(std::future::Future::poll(sending.as_mut(), &mut cx).is_pending());
        }
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        near.write_all(&masked(PING, b"!")).await.unwrap();
        let mut wire = vec![0; 5004 + 3];
        near.read_exact(&mut wire).await.unwrap();
        let opcodes: Vec<_> = frames(&wire).iter().map(|f| f.b0).collect();
        assert_eq!(opcodes, [BINARY, PONG]);
        assert_eq!(writer.buffered_amount(), 0);
        drop(near);
        reading.await.unwrap().unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn the_writer_closes_and_the_reader_gets_the_peers_close_and_ends() {
    bounded(async {
        let (near, far) = duplex(256);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        let mut client = client(near, &config());
        let reading = tokio::spawn(async move {
            let mut got = 0;
            while reader.recv().await.unwrap().is_some() {
                got += 1;
            }
            (got, reader)
        });
        client.send("in flight").await.unwrap();
        let _ = writer.feed("last").unwrap();
        writer.close(CloseFrame::with_reason(CloseCode::GOING_AWAY, "done")).await.unwrap();
        writer.close(None).await.unwrap(); // the first one counts
        assert!(matches!(writer.feed("late"), Err(SendError::Closed)));
        assert!(matches!(writer.send("late").await, Err(Error::Send(SendError::Closed))));
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("last"));
        assert!(client.recv().await.unwrap().is_none());
        assert_eq!(client.closed().unwrap().reason, "done");
        assert!(client.closed().unwrap().clean);
        drop(client);
        let (got, reader) = reading.await.unwrap();
        let end = reader.closed().unwrap();
        assert_eq!((got, end.clean, end.code), (1, true, 1001));
    })
    .await;
}

#[tokio::test]
async fn the_peer_closes_and_both_halves_know() {
    bounded(async {
        let (near, far) = duplex(1 << 16);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        let mut client = client(near, &config());
        let _ = writer.feed("queued").unwrap();
        let closing = tokio::spawn(async move {
            client.close(CloseFrame::with_reason(CloseCode::NORMAL, "bye")).await.unwrap();
            assert!(client.closed().unwrap().clean);
        });
        assert!(reader.recv().await.unwrap().is_none());
        assert_eq!(reader.closed().unwrap().reason, "bye");
        assert!(reader.closed().unwrap().clean && writer.with_sender(|tx| tx.is_closed()));
        assert!(matches!(writer.send("late").await, Err(Error::Send(SendError::Closed))));
        assert_eq!(writer.dropped(), 0, "what was queued went before the answer");
        closing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_violation_ends_both_halves() {
    bounded(async {
        let mut input = masked(BINARY, b"good");
        input.extend(plain(BINARY, b"not masked")); // P019
        let ((mut reader, mut writer), io) = scripted(&input, &config());
        io.with(|s| s.room = 10);
        let (woken, waker) = waker();
        assert!(poll_with!(&waker, writer.send(&[0; 5000])).is_pending());
        assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), b"good");
        assert!(once!(reader.recv()).is_pending(), "the frame under way has to end first");
        io.with(|s| (s.room, s.at_end) = (usize::MAX, AtEnd::Eof));
        assert!(matches!(reader.recv().await, Err(Error::Recv(RecvError::Protocol(_)))));
        assert!(woken.0.load(Relaxed) > 0);
        assert!(matches!(writer.flush().await, Err(Error::Recv(RecvError::Protocol(_)))));
        assert!(matches!(writer.send("x").await, Err(Error::Recv(RecvError::Protocol(_)))));
        let frames = io.frames();
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].payload.len(), frames[1].b0), (5000, CLOSE));
        assert_eq!(frames[1].payload, close_body(1002, ""));
    })
    .await;
}

#[tokio::test]
async fn a_violation_is_not_spun_upon_while_writing_is_blocked() {
    bounded(async {
        let (io, mut peer) = duplex(1000);
        let (io, calls) = Counted::new(io);
        // In real time: what spins inside of a poll would stop a paused clock.
        let config = Config { close_timeout: Duration::from_millis(50), ..config() };
        let (mut reader, mut writer) = server(io, &config).into_split();
        let _ = writer.feed(&[7; 5000]).unwrap();
        peer.write_all(&plain(BINARY, b"not masked")).await.unwrap();
        let error = reader.recv().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Recv(RecvError::Protocol(_))), "{error:?}");
        let calls = counted(&calls);
        assert!(calls.full + calls.dry < 20, "{} + {} calls", calls.full, calls.dry);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_reader_ends_receiving_and_the_writer_goes_on_until_a_write_fails() {
    bounded(async {
        let (near, far) = duplex(1 << 16);
        let (reader, mut writer) = server(far, &config()).into_split();
        let mut client = client(near, &config());
        drop(reader);
        writer.send("still here").await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("still here"));
        drop(client);
        assert!(matches!(writer.send("gone").await, Err(Error::Io(_))));
        assert!(matches!(writer.send("gone").await, Err(Error::Send(SendError::Closed))));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_writer_leaves_the_reader_to_receive_answer_and_send_what_was_fed() {
    bounded(async {
        let (near, far) = duplex(1 << 16);
        let (mut reader, mut writer) = server(far, &config()).into_split();
        let mut client = client(near, &config());
        let _ = writer.feed("fed before").unwrap();
        drop(writer);
        let reading = tokio::spawn(async move {
            assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("hello"));
            assert!(reader.recv().await.unwrap().is_none());
            assert!(reader.closed().unwrap().clean);
        });
        client.send("hello").await.unwrap();
        client.sender_mut().ping(b"there?").unwrap();
        client.flush().await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("fed before"));
        client.close(None).await.unwrap();
        assert!(client.closed().unwrap().clean);
        drop(client);
        reading.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_seen_by_both_halves_and_hides_nothing_that_was_received() {
    bounded(async {
        for who in ["writer", "reader"] {
            let ((mut reader, mut writer), io) = scripted(b"", &config());
            assert!(once!(reader.recv()).is_pending());
            io.with(|s| s.broken = true);
            let mut input = masked(BINARY, b"last words");
            input.extend(masked(PING, b""));
            if who == "writer" {
                assert!(matches!(writer.send("x").await, Err(Error::Io(_))));
                io.with(|s| s.input.extend(input));
            } else {
                // The reader's pong is what fails, while the writer has something buffered.
                let _ = writer.feed("x").unwrap();
                io.with(|s| s.input.extend(input));
                assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), b"last words");
                assert!(once!(reader.recv()).is_pending());
                assert!(writer.flush().await.is_err(), "what was fed is lost: flush has to say so");
            }
            assert!(writer.with_sender(|tx| tx.is_closed()) && writer.dropped() > 0);
            assert!(matches!(writer.send("x").await, Err(Error::Send(SendError::Closed))));
            if who == "writer" {
                assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), b"last words");
            }
            io.with(|s| {
                s.input.extend(masked(BINARY, b"very last"));
                s.at_end = AtEnd::Reset;
            });
            assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes(), b"very last");
            assert!(matches!(reader.recv().await, Err(Error::Io(_))), "{who}");
            assert!(reader.recv().await.is_err() && !reader.closed().is_some_and(|end| end.clean));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_learns_that_the_readers_write_failed() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 10);
        let (woken, waker) = waker();
        assert!(poll_with!(&waker, writer.send(&[1; 5000])).is_pending());
        let at = writer.fed();
        io.with(|s| {
            s.input.extend(masked(PING, b"!"));
            s.wakers.clear(); // only the reader is polled
            s.broken = true;
        });
        assert!(once!(reader.recv()).is_pending());
        assert!(woken.0.load(Relaxed) > 0, "the writer was not told");
        let flushed = writer.flush().await;
        assert!(flushed.is_err(), "a message that was dropped must not be reported as written");
        assert!(!writer.is_written(at));
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_if_receiving_fails_and_not_by_the_peers_close() {
    for (frame, wakes) in [(plain(BINARY, b"not masked"), 1), (masked(CLOSE, b""), 0)] {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 10);
        let (woken, waker) = waker();
        assert!(poll_with!(&waker, writer.send(&[1; 5000])).is_pending());
        io.with(|s| {
            s.input.extend(frame);
            s.wakers.clear(); // only the reader is polled
        });
        assert!(once!(reader.recv()).is_pending()); // its Close is behind the frame under way
        assert_eq!(woken.0.load(Relaxed), wakes);
        let flushed = poll_with!(&waker, writer.flush());
        assert_eq!(flushed.is_ready(), wakes > 0, "{flushed:?}");
    }
}

#[tokio::test]
async fn only_a_call_that_closes_the_sender_wakes_the_reader() {
    let ((mut reader, mut writer), _) = scripted(b"", &config());
    let (woken, waker) = waker();
    assert!(poll_with!(&waker, reader.recv()).is_pending());
    let _ = writer.with_sender(|tx| tx.feed("fed")).unwrap();
    reader.with_sender(|_| ());
    assert_eq!(woken.0.load(Relaxed), 0);
    writer.with_sender(|tx| tx.close(None)).unwrap();
    assert_eq!(woken.0.load(Relaxed), 1);
    assert!(poll_with!(&waker, reader.recv()).is_pending());
    writer.with_sender(|_| ()); // it was closed before
    assert_eq!(woken.0.load(Relaxed), 1);
}

#[tokio::test]
async fn both_halves_say_what_became_of_a_message() {
    let ((mut reader, mut writer), io) = scripted(b"", &config());
    io.with(|s| s.room = 10);
    let start = writer.fed();
    let fed = writer.feed(&[1; 100]).unwrap();
    assert!(writer.fed() == fed && fed != start);
    assert!(once!(writer.flush()).is_pending());
    assert!(!reader.is_written(fed) && !writer.is_written(fed));
    assert_eq!(writer.buffered_amount(), 92); // 2 of header
    io.with(|s| s.room = usize::MAX);
    writer.flush().await.unwrap();
    assert!(reader.is_written(fed) && writer.is_written(fed));
    let late = writer.feed(&[2; 100]).unwrap();
    io.with(|s| s.broken = true);
    assert!(writer.flush().await.is_err());
    assert!(!reader.is_written(late) && !writer.is_written(late));
    assert_eq!((writer.dropped(), writer.buffered_amount()), (102, 0));
    assert_eq!(reader.with_sender(|tx| (tx.dropped(), tx.is_closed())), (102, true));
}

/// The reader waits; three seconds later the writer is closed like this.
async fn the_close_timeout_runs_from(close: impl AsyncFnOnce(&mut Writer<Scripted>)) {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        let began = Instant::now();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()).unwrap_err() });
        sleep(Duration::from_secs(3)).await;
        close(&mut writer).await;
        let error = reading.await.unwrap();
        assert!(matches!(error, Error::Recv(RecvError::CloseTimeout)), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), 3 + 5);
        assert_eq!(io.frames().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_close_timeout_runs_for_a_reader_that_waited_before_the_writer_closed() {
    the_close_timeout_runs_from(async |writer| writer.close(None).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_learns_that_the_writers_sender_was_closed() {
    the_close_timeout_runs_from(async |writer| writer.with_sender(|tx| tx.close(None)).unwrap())
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_write_timeout_ends_both_halves() {
    bounded(async {
        // Who waits: the writer only, then both, in either order.
        for order in 0..3 {
            let ((mut reader, mut writer), io) = scripted(b"", &config());
            io.with(|s| s.room = 10);
            let began = Instant::now();
            let reading = async move {
                if order == 0 {
                    sleep(Duration::from_secs(31)).await; // comes late
                }
                (reader.recv().await.map(|_| ()).unwrap_err(), Instant::now())
            };
            let writing =
                async move { (writer.send(&[0; 500]).await.unwrap_err(), Instant::now(), writer) };
            let ((read, read_at), (wrote, wrote_at, mut writer)) = if order == 1 {
                tokio::join!(reading, writing)
            } else {
                let (w, r) = tokio::join!(writing, reading);
                (r, w)
            };
            let timeout = |e: &Error| matches!(e, Error::Recv(RecvError::WriteTimeout));
            assert!(timeout(&wrote), "order {order}: {wrote:?}");
            assert_eq!((wrote_at - began).as_secs(), 30);
            assert!(timeout(&read), "order {order}: {read:?}");
            assert!((read_at - began).as_secs() <= 31, "order {order}");
            assert!(writer.dropped() > 0 && writer.with_sender(|tx| tx.is_closed()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn progress_in_writing_keeps_the_write_timeout_away() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 1);
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        let sending = tokio::spawn(async move { writer.send(&[0; 100]).await });
        for _ in 0..101 {
            sleep(Duration::from_secs(29)).await;
            io.with(|s| s.room += 1);
        }
        sending.await.unwrap().unwrap();
        io.with(|s| s.at_end = AtEnd::Eof);
        assert!(matches!(
            reading.await.unwrap().unwrap_err(),
            Error::Recv(RecvError::UnexpectedEof)
        ));
    })
    .await;
}

fn beating() -> Config {
    Config {
        heartbeat: Some(Heartbeat::new(Duration::from_secs(20), Duration::from_secs(10))),
        ..config()
    }
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_works_over_split_halves() {
    bounded(async {
        // P204, P205
        let ((mut reader, _writer), io) = scripted(b"", &beating());
        let began = Instant::now();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()).unwrap_err() });
        for _ in 0..3 {
            let before = io.frames().len();
            while io.frames().len() == before {
                sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(io.frames()[before].b0, PING);
            io.with(|s| s.input.extend(masked(PONG, b"")));
        }
        let last_pong = began.elapsed();
        let error = reading.await.unwrap();
        assert!(matches!(error, Error::Recv(RecvError::PongTimeout)), "{error:?}");
        let silent = (began.elapsed() - last_pong).as_secs_f64();
        assert!((29.9..=35.2).contains(&silent), "{silent}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_blocked_in_a_write_before_it_was_split_keeps_its_heartbeat() {
    bounded(async {
        let io = Scripted::new(b"");
        io.with(|s| s.room = 10);
        let mut ws = server(io.clone(), &beating());
        assert!(once!(ws.send(&[0; 100])).is_pending()); // reading is paused now
        io.with(|s| s.room = usize::MAX);
        let (mut reader, _writer) = ws.into_split_with(|io| (io.clone(), io));
        let error = reader.recv().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Recv(RecvError::PongTimeout)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_pong_overtakes_a_large_message_that_waits_behind_another() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 10);
        for byte in [1, 2] {
            assert!(once!(writer.send(&[byte; 20_000])).is_pending());
        }
        io.with(|s| s.input.extend(masked(PING, b"p")));
        assert!(once!(reader.recv()).is_pending());
        io.with(|s| s.room = usize::MAX);
        writer.flush().await.unwrap();
        let sent: Vec<_> = io.frames().iter().map(|f| (f.b0, f.payload[0])).collect();
        assert_eq!(sent, [(BINARY, 1), (PONG, b'p'), (BINARY, 2)]);
    })
    .await;
}

/// The stream takes part of a batch in one call; a Pong that comes then joins behind the frame
/// under way.
#[tokio::test]
async fn a_pong_joins_a_batch_behind_one_write_call() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        for _ in 0..5 {
            let _ = writer.feed(&[1; 15_000]).unwrap();
        }
        let _ = writer.feed(&[2; 20_000]).unwrap();
        io.with(|s| s.room = 20_000);
        assert!(once!(writer.flush()).is_pending());
        io.with(|s| s.input.extend(masked(PING, b"p")));
        assert!(matches!(once!(reader.recv_event()), Poll::Ready(Ok(Some(Event::Ping(_))))));
        io.with(|s| s.room = usize::MAX);
        writer.flush().await.unwrap();
        let sent: Vec<_> = io.frames().iter().map(|f| f.b0).collect();
        assert_eq!(sent, [BINARY, BINARY, PONG, BINARY, BINARY, BINARY, BINARY]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_pings_though_something_was_fed_and_not_flushed() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &beating());
        // A partial frame is there too, so that another deadline is armed.
        io.with(|s| s.input.extend(&masked(BINARY, [1; 5000])[..1000]));
        assert!(once!(reader.recv()).is_pending());
        let _ = writer.feed("not flushed").unwrap();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        sleep(Duration::from_secs(26)).await;
        assert!(io.frames().iter().any(|f| f.b0 == PING), "no ping within 1.25 intervals");
        drop(reading);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_frame_timeout_works_over_split_halves() {
    bounded(async {
        // A25
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()).unwrap_err() });
        let began = Instant::now();
        let wire = masked(BINARY, [0; 100]);
        for byte in &wire[..70] {
            io.with(|s| s.input.push_back(*byte));
            sleep(Duration::from_secs(1)).await;
            if reading.is_finished() {
                break;
            }
        }
        assert!(matches!(reading.await.unwrap(), Error::Recv(RecvError::FrameTimeout)));
        assert!((60..=61).contains(&began.elapsed().as_secs()));
        assert!(matches!(writer.flush().await, Err(Error::Recv(RecvError::FrameTimeout))));
    })
    .await;
}

#[tokio::test]
async fn what_was_begun_before_the_split_goes_on_after_it() {
    bounded(async {
        let mut input = masked(TEXT, b"first");
        input.extend(&masked(TEXT, b"second")[..4]);
        let io = Scripted::new(&input);
        io.with(|s| s.room = 3);
        let mut ws = server(io.clone(), &config());
        let _ = ws.feed("before").unwrap();
        assert!(once!(ws.flush()).is_pending()); // cut in the middle
        let _ = ws
            .sender_mut()
            .feed_chunk(Chunk { kind: DataKind::Text, first: true, data: b"half ", last: false })
            .unwrap();
        let position = ws.sender().fed();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("first"));
        let (mut reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
        assert_eq!(writer.fed(), position);
        assert!(!writer.is_written(position));
        assert!(matches!(writer.feed("inside"), Err(SendError::MessageInProgress)));
        let _ = writer
            .with_sender(|tx| {
                tx.feed_chunk(Chunk {
                    kind: DataKind::Text,
                    first: false,
                    data: b"and half",
                    last: true,
                })
            })
            .unwrap();
        io.with(|s| {
            s.room = usize::MAX;
            s.input.extend(&masked(TEXT, b"second")[4..]);
        });
        assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("second"));
        writer.flush().await.unwrap();
        assert!(writer.is_written(position));
        let sent = messages(&io.frames());
        assert_eq!(sent[0].as_message(), Message::Text("before"));
        assert_eq!(sent[1].as_message(), Message::Text("half and half"));
    })
    .await;
}

#[tokio::test]
async fn messages_that_overtake_keep_their_place_while_the_writer_is_in_mid_write() {
    bounded(async {
        let ((_reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 10);
        let _ = writer.feed(&[1; 200]).unwrap();
        assert!(once!(writer.flush()).is_pending()); // the first has begun
        let second = writer.feed(&[2; 200]).unwrap();
        let urgent = writer.with_sender(|tx| tx.feed_first("urgent")).unwrap();
        let more = writer.with_sender(|tx| tx.feed_first("more")).unwrap();
        assert!(!writer.is_written(urgent) && !writer.is_written(second));
        io.with(|s| s.room = 204 - 10 + 8);
        assert!(once!(writer.flush()).is_pending());
        assert!(writer.is_written(urgent) && !writer.is_written(more));
        io.with(|s| s.room = usize::MAX);
        writer.flush().await.unwrap();
        assert!(writer.is_written(more) && writer.is_written(second));
        let sent = messages(&io.frames());
        assert_eq!(sent.len(), 4);
        assert_eq!(sent[1].as_message(), Message::Text("urgent"));
        assert_eq!(sent[2].as_message(), Message::Text("more"));
        assert_eq!(sent[3].as_message(), Message::Binary(&[2; 200]));
    })
    .await;
}

/// Sends numbered messages and now and then a ping, in all the ways there are.
async fn chatter<W>(mut writer: Writer<W>, count: u32, seed: u64) -> Writer<W>
where
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut dice = Rng(seed);
    for i in 0..count {
        let mut payload = i.to_be_bytes().to_vec();
        payload.resize(4 + dice.below(300), i as u8);
        if dice.once_in(500) {
            payload.resize(200_000, i as u8);
        }
        match dice.below(8) {
            0 => writer.send(&payload).await.unwrap(),
            1 => {
                writer.ready().await.unwrap();
                let _ = writer.feed(payload).unwrap();
            }
            2 => {
                writer.ready().await.unwrap();
                let (a, b) = payload.split_at(payload.len() / 2);
                let kind = DataKind::Binary;
                let _ = writer
                    .with_sender(|tx| {
                        tx.feed_chunk(Chunk { kind, first: true, data: a, last: false })
                    })
                    .unwrap();
                yield_now().await;
                writer.ready().await.unwrap();
                let _ = writer
                    .with_sender(|tx| {
                        tx.feed_chunk(Chunk { kind, first: false, data: b, last: true })
                    })
                    .unwrap();
            }
            3 => {
                // Dropped after one poll, then finished by flush.
                let before = writer.fed();
                let sent = tokio::select! {
                    biased;
                    sent = writer.send(&payload) => { sent.unwrap(); true }
                    () = async {} => false,
                };
                if !sent && writer.fed() == before {
                    writer.send(&payload).await.unwrap();
                }
            }
            _ => {
                writer.ready().await.unwrap();
                let _ = writer.feed(&payload).unwrap();
            }
        }
        if dice.once_in(10) {
            writer.with_sender(|tx| tx.ping(&i.to_be_bytes())).unwrap();
            writer.flush().await.unwrap();
        }
        if dice.once_in(5) {
            yield_now().await;
        }
    }
    writer.flush().await.unwrap();
    writer
}

/// Checks that the messages are numbered without a gap, and that pongs never go back.
async fn listen<R, W>(mut reader: Reader<R, W>, count: u32, seed: u64) -> (Reader<R, W>, u32)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut dice = Rng(seed);
    let (mut next, mut pongs, mut newest) = (0, 0, 0);
    while next < count {
        match reader.recv_event().await.unwrap().expect("not closed yet") {
            tickwire::Event::Message(message) => {
                let (number, rest) = message.as_bytes().split_first_chunk().unwrap();
                assert_eq!(u32::from_be_bytes(*number), next);
                assert!(rest.iter().all(|&b| b == next as u8), "message {next}");
                next += 1;
            }
            tickwire::Event::Pong(payload) => {
                let number = u32::from_be_bytes(payload.try_into().unwrap());
                assert!(number >= newest, "pong {number} after {newest}");
                newest = number;
                pongs += 1;
            }
            tickwire::Event::Ping(_) => {}
            tickwire::Event::Close(_) => panic!("closed early"),
        }
        if dice.once_in(7) {
            yield_now().await;
        }
    }
    (reader, pongs)
}

const MANY: u32 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_thousand_messages_each_way_with_pings_arrive_whole_and_in_order() {
    bounded(async {
        for tcp in [true, false] {
            let config = Config { high_water: 20_000, cork_limit: 8_000, ..config() };
            let mut tasks = vec![];
            if tcp {
                let (near, far) = tcp_pair().await;
                let near = client(near, &config).into_split_with(|s| s.into_split());
                let far = server(far, &config).into_split_with(|s| s.into_split());
                tasks.push(tokio::spawn(run(near, 1)));
                tasks.push(tokio::spawn(run(far, 2)));
            } else {
                let (near, far) = pair(3000, &config);
                tasks.push(tokio::spawn(run(near.into_split(), 3)));
                tasks.push(tokio::spawn(run(far.into_split(), 4)));
            }
            for task in tasks {
                task.await.unwrap();
            }
        }
    })
    .await;

    async fn run<R, W>((reader, writer): (Reader<R, W>, Writer<W>), seed: u64)
    where
        R: tokio::io::AsyncRead + Unpin + Send + 'static,
        W: tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let listening = tokio::spawn(listen(reader, MANY, seed + 10));
        let mut writer = chatter(writer, MANY, seed).await;
        let (mut reader, pongs) = listening.await.unwrap();
        assert!(pongs > 100, "{pongs} pongs");
        let closing = tokio::spawn(async move { writer.close(None).await.map(|()| writer) });
        while reader.recv().await.unwrap().is_some() {}
        assert!(reader.closed().unwrap().clean);
        closing.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_armed_and_no_time_is_needed_where_nothing_waits() {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(&masked(TEXT, b"x"), &config());
        assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("x"));
        writer.send("y").await.unwrap();
        assert!(once!(reader.recv()).is_pending());
        advance(Duration::from_secs(1_000_000)).await;
        assert!(once!(reader.recv()).is_pending());
        io.with(|s| s.input.extend(masked(TEXT, b"z")));
        assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("z"));
    })
    .await;
}

#[tokio::test]
async fn every_way_to_queue_a_message_leads_to_the_same_stream() {
    let ((_reader, mut writer), io) = scripted(b"", &config());
    let (fed, amount) = writer.with_sender(feed_in_every_way);
    writer.flush().await.unwrap();
    assert!(writer.is_written(fed) && writer.buffered_amount() == 0);
    writer.with_sender(|tx| tx.pong(b"unasked")).unwrap();
    writer.flush().await.unwrap();
    let wire = io.with(|s| std::mem::take(&mut s.output));
    assert_eq!(amount, wire.len() - 2 - 7);
    let mut found = sent(&wire);
    assert_eq!(found.pop(), Some((PONG, b"unasked".to_vec())));
    assert_eq!(found, fed_in_every_way());

    // At the limit there is no room.
    let ((_reader, mut writer), _) = scripted(b"", &Config { high_water: 10, ..config() });
    let _ = writer.feed([0; 10].as_slice()).unwrap();
    assert!(!writer.with_sender(|tx| tx.has_room()));
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_the_writer_drops_what_was_fed_and_says_why() {
    bounded(async {
        let ((mut reader, mut writer), io) =
            scripted(&masked(CLOSE, close_body(1001, "bye")), &config());
        assert!(!reader.get_ref().with(|s| s.shut));
        let _ = writer.feed("late").unwrap();
        let slow = CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, "too slow");
        let long = "x".repeat(124);
        let bad =
            writer.with_sender(|tx| tx.abort(CloseFrame::with_reason(CloseCode::NORMAL, &long)));
        assert_eq!(bad, Err(SendError::ReasonTooLong));
        writer.with_sender(|tx| tx.abort(slow)).unwrap();
        writer.flush().await.unwrap();
        assert!(writer.with_sender(|tx| tx.is_closed()) && writer.dropped() == 6);
        assert!(reader.recv().await.unwrap().is_none());
        let end = reader.closed().unwrap();
        assert_eq!((end.code, end.reason, end.clean), (1001, "bye", true));
        assert_eq!(sent(&io.with(|s| s.output.clone())), [(CLOSE, close_body(1013, "too slow"))]);
        // Again there is nothing to do.
        assert_eq!(writer.with_sender(|tx| tx.abort(None)), Err(SendError::Closed));
        writer.flush().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pong_behind_a_written_close_that_cannot_leave_spoils_no_clean_end() {
    for fails in [true, false] {
        let ((mut reader, mut writer), peer) = scripted(b"", &config());
        writer.close(CloseCode::NORMAL).await.unwrap();
        peer.with(|s| {
            s.room = 1;
            s.broken = fails;
            s.input.extend(masked(PING, b"late"));
        });
        let ended = tokio::spawn(async move { (reader.recv_owned().await, reader) });
        yield_now().await;
        peer.with(|s| {
            s.input.extend(masked(CLOSE, b"\x03\xe8"));
            s.at_end = AtEnd::Eof;
        });
        let (end, reader) = ended.await.unwrap();
        assert_eq!(end.unwrap(), None, "{fails}");
        assert!(reader.closed().unwrap().clean, "{fails}");
    }
}

#[tokio::test(start_paused = true)]
async fn why_writing_ended_goes_along_with_the_halves() {
    let brief = Config { close_timeout: Duration::from_secs(1), ..config() };
    let io = Scripted::new(&masked(CLOSE, b"\x03\xe8"));
    io.with(|s| s.room = 0);
    let mut ws = server(io, &brief);
    assert!(matches!(ws.recv().await, Err(Error::Recv(RecvError::CloseTimeout))));
    let (mut reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
    assert!(matches!(reader.recv().await, Err(Error::Recv(RecvError::CloseTimeout))));
    assert!(matches!(writer.flush().await, Err(Error::Recv(RecvError::CloseTimeout))));
}
