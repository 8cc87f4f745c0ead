//! `Stream` and `Sink` of events, received and sent by a task each: what comes, what goes out, and
//! who wakes up. A task is polled by hand, and once it sleeps only after it was woken.
use crate::{
    Peer, bytes, dialog,
    end::{RUNTIME, Timers, of_smol, of_tokio},
    recv_error, says_one_of_each,
    support::{
        blocking::{PATIENCE, took, with_time_enough},
        polled::{Polled, polled},
        wire::{BINARY, CLOSE, PING, PONG, TEXT, close_body, connection, masked},
    },
};
use async_io::{Async, Timer};
use futures_util::{
    Sink, Stream, StreamExt,
    stream::{FusedStream, SplitSink, SplitStream},
};
use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, CloseFrame, Config, Connection, Error, Events, OwnedEvent, OwnedMessage, RecvError,
    Role, SendError, futures_io as smol, tokio as on_tokio,
};
use tokio::{
    io::ReadBuf,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

macro_rules! each_way {
    ($($behaviour:ident)*) => {
        crate::over! { [$($behaviour)*]
            tokio_whole: super::Tokio;
            tokio_split: super::TokioSplit;
            futures_io_whole: super::FuturesIo;
            futures_io_split: super::FuturesIoSplit;
        }
    };
}

each_way! {
    a_stream_has_every_event_and_ends_behind_the_peers_close
    an_error_is_the_last_item_and_comes_once
    each_kind_of_item_goes_out_in_its_place
    what_cannot_be_sent_is_refused_and_nothing_is_queued
    a_close_by_the_writer_wakes_the_reader_for_its_deadline
    the_peers_close_ends_a_writer_that_waits_for_room
    a_writer_that_waits_for_room_and_a_reader_are_each_woken
    a_ping_leaves_while_the_reader_sleeps_and_its_pong_wakes_it
    a_ping_leaves_in_the_middle_of_a_message_that_waits_at_the_next_frame_boundary
    a_timer_wakes_both
    a_violation_wakes_the_writer_too
    both_go_on_while_the_peer_pings_and_reads_slowly
}

/// Two halves of a connection, each for a task.
trait Way {
    type Events: Stream<Item = Result<OwnedEvent, Error>> + Send + Unpin;
    type Sink: Sink<OwnedEvent, Error = Error> + Send + Unpin;

    fn halves(io: UnixStream, conn: Connection) -> (Self::Events, Self::Sink);
}

type TokioSocket = on_tokio::WebSocket<tokio::net::UnixStream>;
type SmolStream = async_net::unix::UnixStream;
type SmolSocket = smol::WebSocket<SmolStream, Timers>;

struct Tokio;
struct TokioSplit;
struct FuturesIo;
struct FuturesIoSplit;

impl Way for Tokio {
    type Events = SplitStream<Events<TokioSocket>>;
    type Sink = SplitSink<Events<TokioSocket>, OwnedEvent>;

    fn halves(io: UnixStream, conn: Connection) -> (Self::Events, Self::Sink) {
        let (sink, events) = Events(TokioSocket::from_parts(of_tokio(io), conn)).split();
        (events, sink)
    }
}

impl Way for TokioSplit {
    type Events = Events<on_tokio::Reader<OwnedReadHalf, OwnedWriteHalf>>;
    type Sink = Events<on_tokio::Writer<OwnedWriteHalf>>;

    fn halves(io: UnixStream, conn: Connection) -> (Self::Events, Self::Sink) {
        let ws = TokioSocket::from_parts(of_tokio(io), conn);
        let (reader, writer) = ws.into_split_with(tokio::net::UnixStream::into_split);
        (Events(reader), Events(writer))
    }
}

impl Way for FuturesIo {
    type Events = SplitStream<Events<SmolSocket>>;
    type Sink = SplitSink<Events<SmolSocket>, OwnedEvent>;

    fn halves(io: UnixStream, conn: Connection) -> (Self::Events, Self::Sink) {
        let ws = SmolSocket::from_parts(of_smol(io), Timer::at as Timers, conn);
        let (sink, events) = Events(ws).split();
        (events, sink)
    }
}

impl Way for FuturesIoSplit {
    type Events = Events<smol::Reader<SmolStream, SmolStream, Timers>>;
    type Sink = Events<smol::Writer<SmolStream, Timers>>;

    fn halves(io: UnixStream, conn: Connection) -> (Self::Events, Self::Sink) {
        let ws = SmolSocket::from_parts(of_smol(io), Timer::at as Timers, conn);
        let (reader, writer) = ws.into_split_with(|io| (io.clone(), io));
        (Events(reader), Events(writer))
    }
}

// A task.

/// Has both runtimes look at what has come of their streams: a byte is the last of that. Who is not
/// woken by then is not woken by what was done before.
fn settle() {
    let ready = || {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&[0]).unwrap();
        (near, far)
    };
    let (_near, far) = ready();
    let far = of_tokio(far);
    RUNTIME.block_on(far.readable()).unwrap();
    let (_near, far) = ready();
    async_io::block_on(Async::new(far).unwrap().readable()).unwrap();
}

#[derive(Default)]
struct Alarm {
    woken: Mutex<bool>,
    rings: Condvar,
}

impl Alarm {
    /// Whether it is woken within this time.
    fn woken_within(&self, time: Duration) -> bool {
        let woken = self.woken.lock().unwrap();
        let (mut woken, _) = self.rings.wait_timeout_while(woken, time, |woken| !*woken).unwrap();
        std::mem::take(&mut *woken)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.rings.notify_one();
    }
}

struct Task<S> {
    of: S,
    alarm: Arc<Alarm>,
}

impl<S: Unpin> Task<S> {
    fn new(of: S) -> Self {
        Self { of, alarm: Arc::default() }
    }

    fn poll<T>(&mut self, call: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let _timers = RUNTIME.enter();
        call(Pin::new(&mut self.of), &mut Context::from_waker(&Waker::from(self.alarm.clone())))
    }

    /// Polls until nothing wakes it any more; false if it is ready instead.
    fn falls_asleep<T>(&mut self, call: impl Fn(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) -> bool {
        while self.poll(&call).is_pending() {
            settle();
            if !self.alarm.woken_within(Duration::ZERO) {
                return true;
            }
        }
        false
    }

    fn sleeps<T>(&mut self, call: impl Fn(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) {
        assert!(self.falls_asleep(call));
    }

    /// Polls whenever it is woken; it has slept.
    fn goes_on<T>(&mut self, call: impl Fn(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) -> T {
        loop {
            assert!(self.alarm.woken_within(PATIENCE), "nobody woke it");
            if let Poll::Ready(done) = self.poll(&call) {
                return done;
            }
        }
    }

    fn does<T>(&mut self, call: impl Fn(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) -> T {
        match self.poll(&call) {
            Poll::Ready(done) => done,
            Poll::Pending => self.goes_on(call),
        }
    }
}

impl<S: Stream<Item = Result<OwnedEvent, Error>> + Unpin> Task<S> {
    fn next(&mut self) -> Option<OwnedEvent> {
        self.does(S::poll_next).transpose().unwrap()
    }
}

impl<S: Sink<OwnedEvent, Error = Error> + Unpin> Task<S> {
    fn feed(&mut self, event: impl Into<OwnedEvent>) -> Result<(), Error> {
        self.does(S::poll_ready)?;
        Pin::new(&mut self.of).start_send(event.into())
    }

    fn send(&mut self, event: impl Into<OwnedEvent>) -> Result<(), Error> {
        self.feed(event)?;
        self.does(S::poll_flush)
    }

    /// Feeds until it has to wait.
    fn fills(&mut self, len: usize) {
        while !self.falls_asleep(S::poll_ready) {
            Pin::new(&mut self.of).start_send(binary(len)).unwrap();
        }
    }
}

/// The two of them, as a server.
fn serve<W: Way>(
    config: &Config,
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(Task<W::Events>, Task<W::Sink>),
) {
    let (io, other) = UnixStream::pair().unwrap();
    let (events, sink) = W::halves(io, connection(Role::Server, config));
    dialog(Peer::new(other, Role::Server), far, || near(Task::new(events), Task::new(sink)));
}

/// Something for the peer to wait for.
fn signal() -> (impl FnMut(), impl FnMut() + Send + 'static) {
    let (say, hear) = mpsc::channel();
    (move || say.send(()).unwrap(), move || hear.recv().unwrap())
}

fn text(text: &str) -> OwnedEvent {
    text.into()
}

fn binary(len: usize) -> OwnedEvent {
    bytes(len).into()
}

fn ping(payload: &'static str) -> OwnedEvent {
    OwnedEvent::Ping(payload.into())
}

fn pong(payload: &'static str) -> OwnedEvent {
    OwnedEvent::Pong(payload.into())
}

fn close(code: u16, reason: &str) -> OwnedEvent {
    let frame = CloseFrame::with_reason(CloseCode::new(code).unwrap(), reason);
    OwnedEvent::Close(Some(frame.into()))
}

fn is_closed<T>(done: Result<T, Error>) -> bool {
    matches!(done, Err(Error::Send(SendError::Closed)))
}

// What comes and goes.

fn a_stream_has_every_event_and_ends_behind_the_peers_close<W: Way>() {
    serve::<W>(&Config::default(), says_one_of_each, |mut rx, mut tx| {
        let events = [text("one"), ping("two"), pong("three"), close(1001, "four")];
        for event in events {
            assert_eq!(rx.next(), Some(event));
        }
        assert_eq!((rx.next(), rx.next()), (None, None));
        tx.does(W::Sink::poll_close).unwrap();
        assert!(is_closed(tx.send(ping("late"))));
    });
}

fn an_error_is_the_last_item_and_comes_once<W: Way>() {
    let far = |peer: &mut Peer| {
        peer.say(TEXT, b"before");
        peer.say(0x83, b"no such opcode");
        peer.expect(CLOSE, &close_body(1002, ""));
    };
    serve::<W>(&Config::default(), far, |mut rx, _tx| {
        assert_eq!(rx.next(), Some(text("before")));
        let error = recv_error(rx.does(W::Events::poll_next).unwrap());
        assert!(matches!(error, RecvError::Protocol(_)), "{error:?}");
        assert_eq!((rx.next(), rx.next()), (None, None));
    });
}

fn each_kind_of_item_goes_out_in_its_place<W: Way>() {
    let far = |peer: &mut Peer| {
        peer.expect(PONG, b"pong");
        peer.expect(PING, b"ping");
        peer.expect(TEXT, b"one");
        peer.expect(BINARY, &bytes(70_000));
        peer.expect(CLOSE, &close_body(4000, "enough"));
        peer.say(TEXT, b"still received");
        peer.say(CLOSE, &close_body(4001, "too"));
        assert_eq!(peer.hear(), None);
    };
    serve::<W>(&Config::default(), far, |mut rx, mut tx| {
        for event in [text("one"), binary(70_000), ping("ping"), pong("pong")] {
            tx.feed(event).unwrap();
        }
        tx.send(close(4000, "enough")).unwrap();
        tx.does(W::Sink::poll_close).unwrap();
        assert!(is_closed(tx.send(text("late"))));
        assert!(is_closed(tx.send(close(1000, ""))));
        assert_eq!(rx.next(), Some(text("still received")));
        assert_eq!(rx.next(), Some(close(4001, "too")));
        assert_eq!(rx.next(), None);
    });
}

fn what_cannot_be_sent_is_refused_and_nothing_is_queued<W: Way>() {
    let far = |peer: &mut Peer| {
        peer.expect(PING, &[b'x'; 125]);
        peer.expect(CLOSE, b"");
        peer.say(CLOSE, b"");
        assert_eq!(peer.hear(), None);
    };
    serve::<W>(&Config::default(), far, |mut rx, mut tx| {
        let refused = |done: Result<(), Error>| match done {
            Err(Error::Send(error)) => error,
            other => panic!("{other:?}"),
        };
        let long = OwnedEvent::Ping(vec![b'x'; 126].into());
        assert_eq!(refused(tx.send(long)), SendError::ControlTooLong);
        assert_eq!(refused(tx.send(close(1000, &"x".repeat(124)))), SendError::ReasonTooLong);
        assert_eq!(refused(tx.send(close(1010, ""))), SendError::BadCloseCode);
        tx.feed(OwnedEvent::Ping(vec![b'x'; 125].into())).unwrap();
        tx.send(OwnedEvent::Close(None)).unwrap();
        assert_eq!((rx.next(), rx.next()), (Some(OwnedEvent::Close(None)), None));
    });
}

// Who wakes up.

fn a_close_by_the_writer_wakes_the_reader_for_its_deadline<W: Way>() {
    let far = |peer: &mut Peer| {
        peer.expect(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.hear(), None); // and says nothing
    };
    let config = Config { close_timeout: Duration::from_millis(50), ..Config::default() };
    for item in [true, false] {
        serve::<W>(&config, far, |mut rx, mut tx| {
            rx.sleeps(W::Events::poll_next);
            match item {
                true => tx.send(close(1000, "")).unwrap(),
                false => tx.does(W::Sink::poll_close).unwrap(),
            }
            let error = recv_error(rx.goes_on(W::Events::poll_next).unwrap());
            assert_eq!(error, RecvError::CloseTimeout);
            assert_eq!(rx.next(), None);
        });
    }
}

fn the_peers_close_ends_a_writer_that_waits_for_room<W: Way>() {
    for writer_last in [true, false] {
        let (mut begin, mut begins) = signal();
        let far = move |peer: &mut Peer| {
            begins();
            peer.say(CLOSE, &close_body(1001, ""));
            while peer.hear().unwrap().0 == BINARY {}
            assert_eq!(peer.hear(), None);
        };
        serve::<W>(&Config { high_water: 1 << 10, ..Config::default() }, far, |mut rx, mut tx| {
            tx.fills(60_000);
            rx.sleeps(W::Events::poll_next);
            if writer_last {
                tx.sleeps(W::Sink::poll_ready);
            }
            begin();
            assert_eq!(rx.goes_on(W::Events::poll_next).unwrap().unwrap(), close(1001, ""));
            thread::scope(|scope| {
                let writing = scope.spawn(|| tx.goes_on(W::Sink::poll_ready));
                assert_eq!(rx.next(), None);
                assert!(is_closed(writing.join().unwrap()));
            });
        });
    }
}

fn a_writer_that_waits_for_room_and_a_reader_are_each_woken<W: Way>() {
    for writer_last in [true, false] {
        let (mut step, mut steps) = signal();
        let far = move |peer: &mut Peer| {
            steps();
            peer.say(PONG, b"one");
            steps();
            while peer.hear().unwrap().0 == BINARY {}
            peer.say(PONG, b"two");
        };
        serve::<W>(&Config { high_water: 1 << 10, ..Config::default() }, far, |mut rx, mut tx| {
            tx.fills(60_000);
            rx.sleeps(W::Events::poll_next);
            if writer_last {
                tx.sleeps(W::Sink::poll_ready);
            }
            step();
            assert_eq!(rx.goes_on(W::Events::poll_next).unwrap().unwrap(), pong("one"));
            rx.sleeps(W::Events::poll_next);
            if writer_last {
                tx.sleeps(W::Sink::poll_ready);
            }
            step();
            tx.goes_on(W::Sink::poll_ready).unwrap();
            tx.send(text("last")).unwrap();
            assert_eq!(rx.goes_on(W::Events::poll_next).unwrap().unwrap(), pong("two"));
        });
    }
}

fn a_ping_leaves_while_the_reader_sleeps_and_its_pong_wakes_it<W: Way>() {
    let far = |peer: &mut Peer| {
        peer.expect(PING, b"now?");
        peer.say(PONG, b"now?");
    };
    serve::<W>(&Config::default(), far, |mut rx, mut tx| {
        rx.sleeps(W::Events::poll_next);
        tx.send(ping("now?")).unwrap();
        assert_eq!(rx.goes_on(W::Events::poll_next).unwrap().unwrap(), pong("now?"));
    });
}

fn a_ping_leaves_in_the_middle_of_a_message_that_waits_at_the_next_frame_boundary<W: Way>() {
    for writer_last in [true, false] {
        let (mut begin, mut begins) = signal();
        let far = move |peer: &mut Peer| {
            begins();
            peer.expect(BINARY, &bytes(900_000));
            peer.expect(PING, b"now?");
            peer.say(PONG, b"now?");
            peer.expect(TEXT, b"behind");
        };
        serve::<W>(&Config::default(), far, |mut rx, mut tx| {
            tx.feed(binary(900_000)).unwrap();
            tx.sleeps(W::Sink::poll_flush);
            rx.sleeps(W::Events::poll_next);
            tx.feed(text("behind")).unwrap();
            tx.feed(ping("now?")).unwrap();
            tx.sleeps(W::Sink::poll_flush);
            if !writer_last {
                rx.sleeps(W::Events::poll_next);
            }
            begin();
            tx.goes_on(W::Sink::poll_flush).unwrap();
            assert_eq!(rx.goes_on(W::Events::poll_next).unwrap().unwrap(), pong("now?"));
        });
    }
}

fn a_timer_wakes_both<W: Way>() {
    for writer_last in [true, false] {
        with_time_enough(|timeout| {
            let (mut end, mut ends) = signal();
            let far = move |_: &mut Peer| ends(); // reads nothing
            let (mut in_time, began) = (false, Instant::now());
            serve::<W>(
                &Config { write_timeout: timeout, ..Config::default() },
                far,
                |mut rx, mut tx| {
                    tx.feed(binary(900_000)).unwrap();
                    in_time = tx.falls_asleep(W::Sink::poll_flush)
                        && rx.falls_asleep(W::Events::poll_next)
                        && (!writer_last || tx.falls_asleep(W::Sink::poll_flush));
                    if !in_time {
                        took(began, timeout);
                        return end();
                    }
                    let (written, received) = thread::scope(|scope| {
                        let writing = scope.spawn(|| tx.goes_on(W::Sink::poll_flush));
                        let received = rx.goes_on(W::Events::poll_next);
                        (writing.join().unwrap(), received)
                    });
                    assert_eq!(recv_error(received.unwrap()), RecvError::WriteTimeout);
                    assert_eq!(recv_error(written), RecvError::WriteTimeout);
                    end();
                },
            );
            in_time
        });
    }
}

fn a_violation_wakes_the_writer_too<W: Way>() {
    for writer_last in [true, false] {
        let (mut step, mut steps) = signal();
        let far = move |peer: &mut Peer| {
            steps();
            peer.say(0x83, b"no such opcode");
            steps(); // reads nothing
        };
        let config = Config { close_timeout: Duration::from_millis(50), ..Config::default() };
        serve::<W>(&config, far, |mut rx, mut tx| {
            tx.feed(binary(900_000)).unwrap();
            tx.sleeps(W::Sink::poll_flush);
            rx.sleeps(W::Events::poll_next);
            if writer_last {
                tx.sleeps(W::Sink::poll_flush);
            }
            step();
            let (written, received) = thread::scope(|scope| {
                let writing = scope.spawn(|| tx.goes_on(W::Sink::poll_flush));
                let received = rx.goes_on(W::Events::poll_next);
                (writing.join().unwrap(), received)
            });
            assert!(matches!(recv_error(received.unwrap()), RecvError::Protocol(_)));
            assert!(matches!(recv_error(written), RecvError::Protocol(_)));
            assert_eq!(rx.next(), None);
            step();
        });
    }
}

fn both_go_on_while_the_peer_pings_and_reads_slowly<W: Way>() {
    // Of more Pings that wait at one time only the newest is answered.
    const COUNT: usize = 16;
    let far = |peer: &mut Peer| {
        let (mut messages, mut pongs) = (0, 0);
        while messages < COUNT || pongs < COUNT {
            match peer.hear().unwrap() {
                (PONG, _) => pongs += 1,
                (BINARY, payload) => {
                    assert!(payload == bytes(300_000));
                    peer.say(PING, &[messages as u8]);
                    messages += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        peer.expect(CLOSE, &close_body(1000, ""));
        peer.say(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.hear(), None);
    };
    serve::<W>(&Config::default(), far, |mut rx, mut tx| {
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                (0..COUNT).for_each(|_| tx.send(binary(300_000)).unwrap());
                tx
            });
            for i in 0..COUNT {
                assert_eq!(rx.next(), Some(OwnedEvent::Ping(vec![i as u8].into())));
            }
            writing.join().unwrap().does(W::Sink::poll_close).unwrap();
            assert_eq!((rx.next(), rx.next()), (Some(close(1000, "")), None));
        });
    });
}

// By one task.

macro_rules! message {
    ($task:ident) => {
        $task.does(|mut ws, cx| ws.poll_recv(cx).map_ok(|got| got.map(OwnedMessage::from))).unwrap()
    };
}

#[test]
fn a_poll_lends_the_next_message_of_a_whole_and_of_a_half() {
    let far = |peer: &mut Peer| {
        for _ in 0..2 {
            peer.say(PING, b"unseen");
            peer.say(TEXT, b"one");
        }
        peer.say(CLOSE, &close_body(1000, ""));
        while peer.hear().is_some() {}
    };
    let (io, other) = UnixStream::pair().unwrap();
    let conn = connection(Role::Server, &Config::default());
    dialog(Peer::new(other, Role::Server), far, || {
        let mut ws = Task::new(TokioSocket::from_parts(of_tokio(io), conn));
        assert_eq!(message!(ws), Some(OwnedMessage::from("one")));
        let (reader, _writer) = ws.of.into_split_with(tokio::net::UnixStream::into_split);
        let mut reader = Task::new(reader);
        assert_eq!(message!(reader), Some(OwnedMessage::from("one")));
        assert_eq!(message!(reader), None);
        assert!(!reader.of.is_terminated(), "no stream has been asked");
    });
}

/// A stream that wakes nobody: it takes as many bytes as it was told to.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(usize, Vec<u8>)>>);

polled!(futures: Gate);
impl Polled for Gate {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (_, ref mut input) = *self.0.lock().unwrap();
        let n = input.len().min(buf.remaining());
        buf.put_slice(&input[..n]);
        input.drain(..n);
        if n > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (ref mut takes, _) = *self.0.lock().unwrap();
        let n = bytes.len().min(*takes);
        *takes -= n;
        if n > 0 { Poll::Ready(Ok(n)) } else { Poll::Pending }
    }
}

fn the_reader_writes_what_the_writer_waits_for<R, W>(gate: Gate, reader: R, writer: W)
where
    R: Stream<Item = Result<OwnedEvent, Error>> + Unpin,
    W: Sink<OwnedEvent, Error = Error> + Unpin,
{
    let (mut rx, mut tx) = (Task::new(reader), Task::new(writer));
    tx.feed(text("waits")).unwrap();
    tx.sleeps(W::poll_flush);
    rx.sleeps(R::poll_next);
    assert!(!tx.alarm.woken_within(Duration::ZERO), "nothing has changed for it");
    *gate.0.lock().unwrap() = (usize::MAX, masked(PING, "?"));
    assert!(matches!(rx.poll(R::poll_next), Poll::Ready(Some(Ok(OwnedEvent::Ping(_))))));
    assert!(rx.poll(R::poll_next).is_pending()); // it has written
    tx.goes_on(W::poll_flush).unwrap();
}

fn the_reader_makes_the_room_that_the_writer_waits_for<R, W>(gate: Gate, reader: R, writer: W)
where
    R: Stream<Item = Result<OwnedEvent, Error>> + Unpin,
    W: Sink<OwnedEvent, Error = Error> + Unpin,
{
    let (mut rx, mut tx) = (Task::new(reader), Task::new(writer));
    tx.fills(600);
    rx.sleeps(R::poll_next);
    assert!(!tx.alarm.woken_within(Duration::ZERO), "nothing has changed for it");
    *gate.0.lock().unwrap() = (1000, masked(PING, "?")); // less than waits
    assert!(matches!(rx.poll(R::poll_next), Poll::Ready(Some(Ok(OwnedEvent::Ping(_))))));
    assert!(rx.poll(R::poll_next).is_pending());
    tx.goes_on(W::poll_ready).unwrap();
}

#[test]
fn who_writes_the_rest_wakes_the_other_though_the_stream_does_not() {
    let socket = |gate: &Gate| {
        let conn = connection(Role::Server, &Config { high_water: 1000, ..Config::default() });
        smol::WebSocket::from_parts(gate.clone(), Timer::at, conn)
    };
    let gate = Gate::default();
    let (sink, events) = Events(socket(&gate)).split();
    the_reader_writes_what_the_writer_waits_for(gate, events, sink);
    let gate = Gate::default();
    let (sink, events) = Events(socket(&gate)).split();
    the_reader_makes_the_room_that_the_writer_waits_for(gate, events, sink);

    let gate = Gate::default();
    let (reader, writer) = socket(&gate).into_split_with(|io| (io.clone(), io));
    the_reader_writes_what_the_writer_waits_for(gate, Events(reader), Events(writer));
    let gate = Gate::default();
    let (reader, writer) = socket(&gate).into_split_with(|io| (io.clone(), io));
    the_reader_makes_the_room_that_the_writer_waits_for(gate, Events(reader), Events(writer));
}

#[test]
fn a_reader_that_finds_the_write_timeout_wakes_the_writer() {
    type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;
    // The first alarm set, which is the writer's, never rings.
    let set = Arc::new(Mutex::new(0));
    let alarms = move |at| -> Alarm {
        let mut set = set.lock().unwrap();
        *set += 1;
        if *set == 1 {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async move {
                let _ = Timer::at(at).await;
            })
        }
    };
    let config = Config { write_timeout: Duration::from_millis(50), ..Config::default() };
    let conn = connection(Role::Server, &config);
    let ws = smol::WebSocket::from_parts(Gate::default(), alarms, conn);
    let (reader, writer) = ws.into_split_with(|io| (io.clone(), io));
    let (mut rx, mut tx) = (Task::new(Events(reader)), Task::new(Events(writer)));
    tx.feed(text("waits")).unwrap();
    assert!(tx.poll(Sink::poll_flush).is_pending());
    assert_eq!(recv_error(rx.does(Stream::poll_next).unwrap()), RecvError::WriteTimeout);
    assert_eq!(recv_error(tx.goes_on(Sink::poll_flush)), RecvError::WriteTimeout);
}
