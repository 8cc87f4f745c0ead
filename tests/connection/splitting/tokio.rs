//! The two halves of a tokio connection, in two tasks: who answers pings, who wakes whom, who
//! learns of the end.
use crate::support::{blocking, tokio::*};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, Error, Event, Message, RecvError, SendError,
    tokio::{Reader, Writer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex},
    task::yield_now,
    time::{Instant, advance, sleep},
};

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

#[test]
fn a_pong_leaves_though_the_writers_future_was_dropped_in_mid_write() {
    run(async {
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
    });
}

#[test]
fn a_violation_is_not_spun_upon_while_writing_is_blocked() {
    run(async {
        let (io, mut peer) = duplex(1000);
        let (io, calls) = Counted::new(io);
        // In real time: what spins inside of a poll would stop a paused clock.
        let config = Config { close_timeout: Duration::from_millis(50), ..config() };
        let (mut reader, mut writer) = server(io, &config).into_split();
        let _ = writer.feed(&[7; 5000]).unwrap();
        peer.write_all(&unmasked(BINARY, b"not masked")).await.unwrap();
        let error = reader.recv().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Recv(RecvError::Protocol(_))), "{error:?}");
        let calls = counted(&calls);
        assert!(calls.full + calls.dry < 20, "{} + {} calls", calls.full, calls.dry);
    });
}

#[test]
fn a_dropped_reader_ends_receiving_and_the_writer_goes_on_until_a_write_fails() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (reader, mut writer) = server(far, &config()).into_split();
        let mut client = client(near, &config());
        drop(reader);
        writer.send("still here").await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some("still here"));
        drop(client);
        assert!(matches!(writer.send("gone").await, Err(Error::Io(_))));
        assert!(matches!(writer.send("gone").await, Err(Error::Send(SendError::Closed))));
    });
}

#[test]
fn a_dropped_writer_leaves_the_reader_to_receive_answer_and_send_what_was_fed() {
    run(async {
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
    });
}

#[test]
fn a_failed_write_is_seen_by_both_halves_and_hides_nothing_that_was_received() {
    run_paused(async {
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
    });
}

#[test]
fn a_writer_that_waits_learns_that_the_readers_write_failed() {
    run_paused(async {
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
    });
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_if_receiving_fails_and_not_by_the_peers_close() {
    for (frame, wakes) in [(unmasked(BINARY, b"not masked"), 1), (masked(CLOSE, b""), 0)] {
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

/// The stream has woken the reader by a waker that it kept, after both Closes had passed.
#[tokio::test]
async fn a_reader_that_discards_input_is_woken_by_leave() {
    let ((mut reader, mut writer), io) = scripted(&masked(CLOSE, b""), &config());
    let (woken, waker) = waker();
    io.with(|s| s.room = 0);
    assert!(poll_with!(&waker, reader.recv()).is_pending());
    let kept = io.0.lock().unwrap().wakers.clone();
    io.with(|s| s.room = 999);
    assert!(poll_with!(&waker, reader.recv()).is_pending());
    kept.into_iter().for_each(Waker::wake);
    assert!(poll_with!(&waker, reader.recv()).is_pending());
    let before = woken.0.load(Relaxed);
    writer.leave(None, Duration::ZERO).await.unwrap();
    assert_eq!(woken.0.load(Relaxed), before + 1);
    assert!(matches!(poll_with!(&waker, reader.recv()), Poll::Ready(Ok(None))));
}

/// The reader waits; three seconds later the writer is closed like this.
async fn the_close_timeout_runs_from(close: impl AsyncFnOnce(&mut Writer<Scripted>)) {
    bounded(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        let began = Instant::now();
        let reading = tokio::spawn(async move { recv_error(reader.recv().await) });
        sleep(Duration::from_secs(3)).await;
        close(&mut writer).await;
        assert_eq!(reading.await.unwrap(), RecvError::CloseTimeout);
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

/// The closure panics behind its Close.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_learns_of_a_close_by_a_closure_that_panicked() {
    the_close_timeout_runs_from(async |writer| {
        let closes = || {
            writer.with_sender(|tx| {
                tx.close(None).unwrap();
                panic!("of the program");
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(closes)).is_err());
        let _ = writer.flush().await;
    })
    .await;
}

#[test]
fn the_write_timeout_ends_both_halves() {
    run_paused(async {
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
    });
}

/// The stream accepts nothing, or the Close before `leave`; and one task drives both halves.
#[test]
fn whichever_half_finds_that_the_time_to_leave_has_passed_both_end() {
    const MS: Duration = Duration::from_millis(1);
    run_paused(async {
        for within in [30 * MS, Duration::from_secs(1)] {
            let ways = [(true, 0), (false, 0), (true, 999), (false, 999)];
            let leaving = [None, Some(within), Some(20 * within)];
            for (leaves_by, (reader_first, room)) in product(leaving, ways) {
                let ((mut reader, mut writer), io) = scripted(b"", &config());
                io.with(|s| s.room = room);
                let _ = writer.feed(&[0; 500]).unwrap();
                let began = Instant::now();
                let reading = async {
                    match leaves_by {
                        None => assert!(reader.recv().await.is_err()),
                        Some(by) => reader.leave(None, by).await.unwrap(),
                    }
                    began.elapsed()
                };
                let writing = async {
                    sleep(MS).await; // the reader waits
                    if room > 0 {
                        writer.close(None).await.unwrap();
                    }
                    writer.leave(None, within - MS).await.unwrap();
                    began.elapsed()
                };
                let ended = match reader_first {
                    true => tokio::join!(reading, writing),
                    false => {
                        let (w, r) = tokio::join!(writing, reading);
                        (r, w)
                    }
                };
                assert_eq!(ended, (within, if room > 0 { MS } else { within }), "{room}");
                let error = reader.closed().unwrap().error;
                assert_eq!(error, Some(RecvError::CloseTimeout));
            }
        }
    });
}

/// A Close waits behind a message of which the stream accepts nothing.
#[test]
fn a_write_timeout_that_the_writer_finds_ends_the_reader_while_it_waits_for_a_close() {
    run_paused(async {
        // `join` changes its order at each poll, so either half finds it.
        for polls in [1, 2] {
            let config = Config { close_timeout: Duration::from_secs(300), ..config() };
            let ((mut reader, mut writer), io) = scripted(b"", &config);
            io.with(|s| s.room = 0);
            let _ = writer.feed(&[0; 500]).unwrap();
            let began = Instant::now();
            let closing = async {
                for _ in 0..polls {
                    yield_now().await; // the reader waits
                }
                writer.close(None).await
            };
            let (closed, read) = tokio::join!(closing, reader.recv());
            for error in [recv_error(closed), recv_error(read)] {
                assert_eq!(error, RecvError::WriteTimeout);
            }
            assert_eq!(began.elapsed(), config.write_timeout);
        }
    });
}

#[test]
fn progress_in_writing_keeps_the_write_timeout_away() {
    run_paused(async {
        let ((mut reader, mut writer), io) = scripted(b"", &config());
        io.with(|s| s.room = 1);
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        let sending = tokio::spawn(async move { writer.send(&[0; 1_499_000]).await });
        for _ in 0..101 {
            sleep(Duration::from_secs(29)).await;
            io.with(|s| s.room += 29 * 512);
        }
        sending.await.unwrap().unwrap();
        io.with(|s| s.at_end = AtEnd::Eof);
        assert_eq!(recv_error(reading.await.unwrap()), RecvError::UnexpectedEof);
    });
}

#[test]
fn a_connection_that_was_blocked_in_a_write_before_it_was_split_keeps_its_heartbeat() {
    run_paused(async {
        let io = Scripted::new(b"");
        io.with(|s| s.room = 10);
        let mut ws = server(io.clone(), &beating());
        assert!(once!(ws.send(&[0; 100])).is_pending()); // reading is paused now
        io.with(|s| s.room = usize::MAX);
        let (mut reader, _writer) = ws.into_split_with(|io| (io.clone(), io));
        assert_eq!(recv_error(reader.recv().await), RecvError::PongTimeout);
    });
}

#[test]
fn a_pong_overtakes_a_large_message_that_waits_behind_another() {
    run(async {
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
    });
}

/// The stream takes part of a batch in one call; a Pong that comes then joins behind the frame
/// under way.
#[test]
fn a_pong_joins_a_batch_behind_one_write_call() {
    run(async {
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
    });
}

#[test]
fn what_was_begun_before_the_split_goes_on_after_it() {
    run(async {
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
    });
}

#[test]
fn nothing_is_armed_and_no_time_is_needed_where_nothing_waits() {
    run_paused(async {
        let ((mut reader, mut writer), io) = scripted(&masked(TEXT, b"x"), &config());
        assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("x"));
        writer.send("y").await.unwrap();
        assert!(once!(reader.recv()).is_pending());
        advance(Duration::from_secs(1_000_000)).await;
        assert!(once!(reader.recv()).is_pending());
        io.with(|s| s.input.extend(masked(TEXT, b"z")));
        assert_eq!(reader.recv().await.unwrap().unwrap().as_text(), Some("z"));
    });
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
}

#[test]
fn an_abort_of_the_writer_drops_what_was_fed_and_says_why() {
    run_paused(async {
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
    });
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
        assert_eq!(writer.flush().await.is_err(), fails);
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

/// Refuses one write, and has room again before the caller knows.
#[derive(Clone, Default)]
struct Quick(Arc<Mutex<(bool, Vec<u8>)>>);

polled!(tokio: Quick);
impl Polled for Quick {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (has_refused, written) = &mut *self.0.lock().unwrap();
        if !std::mem::replace(has_refused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        written.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

/// Polls its reader while it is woken, as a task on another thread may.
struct Eager(Mutex<Reader<Quick, Quick>>);

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        let waker = self.clone().into();
        let mut reader = self.0.lock().unwrap();
        let reading = std::pin::pin!(reader.recv());
        assert!(reading.poll(&mut Context::from_waker(&waker)).is_pending());
    }
}

/// The reader is woken, and finds nothing to write, before the writer has noted that its write was
/// refused. Then the writer's future is dropped.
#[test]
#[cfg_attr(tickwire_tape, ignore = "the reader's tape waits for the lock that the writer holds")]
fn a_write_refused_as_its_future_is_dropped_is_finished_by_a_reader_that_was_too_early() {
    run(async {
        let io = Quick::default();
        let ws = server(io.clone(), &config());
        let (reader, mut writer) = ws.into_split_with(|io| (io.clone(), io));
        Arc::new(Eager(Mutex::new(reader))).wake(); // it waits, and has parked its waker
        let _ = writer.feed("data").unwrap();
        {
            let flushing = std::pin::pin!(writer.flush());
            let _ = flushing.poll(&mut Context::from_waker(Waker::noop()));
        }
        let written = io.0.lock().unwrap().1.clone(); // unlocked before a failure drops the socket
        assert_eq!(written, b"\x81\x04data");
    });
}
