//! The halves of a WebSocket in two tasks that run in parallel, and the peer: all interleavings.
//!
//! checks/model/README.md says what each case is about.
mod support;

use loom::{
    sync::{Condvar, Mutex},
    thread,
};
use std::{
    future::Future,
    io, mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};
use support::*;
use tickwire::{
    CloseCode, Config, Connection, Error, Negotiated, ProtocolError, RecvError, SendError,
    tokio::{Reader, WebSocket, Writer},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone)]
struct Stream(Arc<Wire>);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.read(buf.initialize_unfilled(), Some(cx.waker())) {
            Io::Done(n) => buf.advance(n),
            Io::Blocked => return Poll::Pending,
            Io::Broken => unreachable!(),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0.write(bytes, Some(cx.waker())) {
            Io::Done(n) => Poll::Ready(Ok(n)),
            Io::Blocked => Poll::Pending,
            Io::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn halves(wire: &Arc<Wire>) -> (Reader<Stream, Stream>, Writer<Stream>) {
    let conn = Connection::server(&Config::default(), Negotiated::default());
    let ws = WebSocket::from_parts(Stream(wire.clone()), conn);
    ws.into_split_with(|io| (io.clone(), io))
}

/// A task: it runs again when it was woken up, and only then.
#[derive(Default)]
struct Task {
    state: Mutex<Runs>,
    wakes: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Runs {
    #[default]
    Now,
    Again,
    Waits,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock().unwrap();
        if mem::replace(&mut *state, Runs::Again) == Runs::Waits {
            self.wakes.notify_all(); // a step fewer to try where none waits
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let task = Arc::new(Task::default());
    let waker = Waker::from(task.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        let mut state = task.state.lock().unwrap();
        while *state != Runs::Again {
            *state = Runs::Waits;
            state = task.wakes.wait(state).unwrap();
        }
        *state = Runs::Now;
    }
}

/// Polls once, then drops: a task that a timeout or `select!` has cancelled.
fn cancelled<T>(future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Task::default()));
    match pin!(future).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Receives to the peer's Close; how many messages came before.
fn receive(mut reader: Reader<Stream, Stream>) -> usize {
    block_on(async {
        let mut messages = 0;
        while reader.recv().await.unwrap().is_some() {
            messages += 1;
        }
        assert!(reader.closed().unwrap().clean);
        messages
    })
}

/// Both tasks wait for the same stream to take bytes, which keeps one waker, the last one's; that
/// task's send is cancelled. The reader has to be woken up for its Pong all the same.
#[test]
fn the_lost_wake_up_when_a_send_is_cancelled() {
    check_a_pong_and_a_message("the lost wake-up", Vec::new(), [20, 6], b"abcdef", |wire| {
        let (reader, mut writer) = halves(wire);
        let sending = move || drop(cancelled(writer.send(b"abcdef")));
        (thread::spawn(move || receive(reader)), thread::spawn(sending))
    });
}

#[test]
fn the_deadlock_of_a_reader_that_waits_for_the_writer() {
    let rest = frame(BINARY, b"xy");
    check_a_pong_and_a_message("the deadlock", rest, [8, 6], b"abcdef", |wire| {
        let (reader, mut writer) = halves(wire);
        (
            thread::spawn(move || receive(reader)),
            thread::spawn(move || block_on(writer.send(b"abcdef")).unwrap()),
        )
    });
}

#[test]
fn a_close_from_both_ends_while_part_of_a_frame_is_written() {
    check_closes_within_a_frame(false, |wire| {
        let (reader, mut writer) = halves(wire);
        let sending = move || {
            let fed = writer.feed(b"abcdef").is_ok();
            cancelled(writer.flush());
            match block_on(writer.close(CloseCode::NORMAL)) {
                Ok(()) | Err(Error::Send(SendError::Closed)) => fed,
                Err(error) => panic!("{error}"),
            }
        };
        (thread::spawn(move || receive(reader)), thread::spawn(sending))
    });
}

/// The peer violates the protocol and reads nothing: the writer, which waits for it to read, has to
/// learn of it from the reader.
#[test]
fn a_writer_that_waits_learns_that_receiving_failed() {
    check("the writer learns", 3, || {
        let wire = Wire::new(&frame(0x3, b""), 20, 5);
        let (mut reader, mut writer) = halves(&wire);
        let receiving = thread::spawn(move || block_on(reader.recv()).map(|_| ()).unwrap_err());
        let error = block_on(writer.send(b"abcdef")).unwrap_err();
        assert!(is_violation(&error) || matches!(error, Error::Send(SendError::Closed)), "{error}");
        wire.end();
        let error = receiving.join().unwrap();
        assert!(is_violation(&error), "{error}");
    });
}

fn is_violation(error: &Error) -> bool {
    matches!(error, Error::Recv(RecvError::Protocol(ProtocolError::ReservedOpCode)))
}

/// The writer's flush is given up while the stream refuses bytes, and the reader, which was about
/// to wait for input alone, has to go on with it.
#[test]
fn a_flush_that_is_given_up_is_finished_by_the_reader() {
    check("a flush given up", 3, || {
        let wire = Wire::new(&[], 20, 5);
        let (reader, mut writer) = halves(&wire);
        let receiving = thread::spawn(move || assert_eq!(receive(reader), 0));
        let sending = thread::spawn(move || {
            assert!(writer.feed(b"abcdef").is_ok());
            cancelled(writer.flush());
            writer // alive until the end
        });
        let writer = sending.join().unwrap();
        let mut frames = Frames::default();
        wire.take_until(&mut frames, &[BINARY], false);
        wire.close();
        receiving.join().unwrap();
        wire.take_rest(&mut frames);
        drop(writer);
        frames.assert_are(&[(BINARY, b"abcdef"), (CLOSE, NORMAL)]);
    });
}

/// Each half is dropped while it waits, and the stream wakes up whoever it was.
#[test]
fn both_halves_are_dropped() {
    check_both_are_dropped(|wire| {
        let (mut reader, mut writer) = halves(wire);
        [
            thread::spawn(move || {
                cancelled(async { reader.recv().await.is_ok() });
            }),
            thread::spawn(move || {
                cancelled(writer.send(b"abcdef"));
            }),
        ]
    });
}

/// Receiving fails while the writer is in the middle of a write, which the stream takes all the
/// same.
#[test]
fn what_a_write_under_way_took_is_not_reported_as_dropped() {
    for room in [1, 3, 5, 20] {
        check_what_left_is_written(room, |wire| {
            let (mut reader, mut writer) = halves(wire);
            let sending = move || {
                let fed = [b"ab".as_slice(), b"x"].map(|payload| writer.feed(payload));
                let _ = block_on(writer.flush());
                move || (fed.map(|at| at.ok().map(|at| writer.is_written(at))), writer.dropped())
            };
            let receiving = move || assert!(block_on(reader.recv()).is_err());
            (thread::spawn(receiving), thread::spawn(sending))
        });
    }
}
