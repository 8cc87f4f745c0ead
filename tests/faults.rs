//! One thing goes wrong with the stream, at its n-th operation, for every n: an error, a wait, a
//! short write, silence. Whatever it is, all calls return, what the stream handed out is delivered,
//! what it took is whole frames in order, and nothing follows a Close.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support_tokio;

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use support_tokio::*;
use tickwire::{Config, Error, Heartbeat, OwnedMessage, tokio::WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, split},
    sync::mpsc,
};

/// What happens at one operation, or from it on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    ErrorOnce,
    ErrorForEver,
    WaitOnce,
    ShortWrites,
    BlockWrites,
    BlockReads,
    BlockBoth,
    OneByteReads,
    Trickle,
    Interrupts,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::ErrorOnce,
        Self::ErrorForEver,
        Self::WaitOnce,
        Self::ShortWrites,
        Self::BlockWrites,
        Self::BlockReads,
        Self::BlockBoth,
        Self::OneByteReads,
        Self::Trickle,
        Self::Interrupts,
    ];

    /// The stream still does all it is asked for, in its own time.
    fn is_harmless(self) -> bool {
        match self {
            Self::None
            | Self::WaitOnce
            | Self::ShortWrites
            | Self::OneByteReads
            | Self::Trickle
            | Self::Interrupts => true,
            Self::ErrorOnce
            | Self::ErrorForEver
            | Self::BlockWrites
            | Self::BlockReads
            | Self::BlockBoth => false,
        }
    }
}

/// How what is read ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    Violation,
    Eof,
    Silence,
    /// We close first.
    OurClose,
}

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Read,
    Write,
    Flush,
    Shutdown,
}

enum Then {
    Go,
    Fail,
    Wait,
    Block,
}

#[derive(Debug)]
struct Faulty {
    input: Vec<u8>,
    /// How much of it was read.
    at: usize,
    ends: bool,
    output: Vec<u8>,
    shut: bool,
    ops: usize,
    fault: Fault,
    /// At which operation.
    when: usize,
    writes: usize,
    wakers: Vec<Waker>,
}

/// What nobody needs, unless a call is made again and again without an end.
const TOO_MANY: usize = 20_000;

impl Faulty {
    fn op(&mut self, op: Op, cx: &Context<'_>) -> Then {
        let n = self.ops;
        self.ops += 1;
        assert!(n < TOO_MANY, "operations without end");
        let then = match self.fault {
            _ if n < self.when => Then::Go,
            Fault::ErrorOnce if n == self.when => Then::Fail,
            Fault::ErrorForEver => Then::Fail,
            Fault::WaitOnce if n == self.when => Then::Wait,
            Fault::BlockWrites if op == Op::Write => Then::Block,
            Fault::BlockReads if op == Op::Read => Then::Block,
            Fault::BlockBoth if op == Op::Write || op == Op::Read => Then::Block,
            _ => Then::Go,
        };
        match then {
            Then::Wait => cx.waker().wake_by_ref(),
            Then::Block => self.wakers.push(cx.waker().clone()),
            Then::Go | Then::Fail => {}
        }
        then
    }

    fn active(&self, fault: Fault) -> bool {
        self.fault == fault && self.ops > self.when
    }
}

#[derive(Clone, Debug)]
struct Io(Arc<Mutex<Faulty>>);

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut s = self.0.lock().unwrap();
        assert!(buf.remaining() > 0, "a read that would look like the end");
        match s.op(Op::Read, cx) {
            Then::Go => {}
            Then::Fail => return reset(),
            Then::Wait | Then::Block => return Poll::Pending,
        }
        let most = if s.active(Fault::OneByteReads) { 1 } else { 200 };
        let n = (s.input.len() - s.at).min(buf.remaining()).min(most);
        if n == 0 && !s.ends && !s.shut {
            s.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&s.input[s.at..s.at + n]);
        s.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut s = self.0.lock().unwrap();
        assert!(!buf.is_empty(), "a write that would look like a failure");
        assert!(!s.shut, "a write after the shutdown");
        match s.op(Op::Write, cx) {
            Then::Go => {}
            Then::Fail => return reset(),
            Then::Wait | Then::Block => return Poll::Pending,
        }
        s.writes += 1;
        let mut n = buf.len();
        if s.active(Fault::ShortWrites) {
            n = 1;
        } else if s.active(Fault::Trickle) {
            if s.writes.is_multiple_of(2) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            n = n.min(7);
        } else if s.active(Fault::Interrupts) && s.writes.is_multiple_of(3) {
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        s.output.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.lock().unwrap().op(Op::Flush, cx) {
            Then::Go => Poll::Ready(Ok(())),
            Then::Fail => reset(),
            Then::Wait | Then::Block => Poll::Pending,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut s = self.0.lock().unwrap();
        match s.op(Op::Shutdown, cx) {
            Then::Go => {}
            Then::Fail => return reset(),
            Then::Wait | Then::Block => return Poll::Pending,
        }
        s.shut = true;
        s.wakers.drain(..).for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

/// Messages, whole and in fragments, with pings between and inside them.
fn input(masked: bool, end: End) -> Vec<u8> {
    let mut input = vec![];
    input.extend(frame(masked, true, BINARY, b"one"));
    input.extend(frame(masked, true, PING, b"p1"));
    input.extend(frame(masked, true, TEXT, "zwö".as_bytes()));
    input.extend(frame(masked, false, TEXT, b"fr"));
    input.extend(frame(masked, true, PING, b"p2"));
    input.extend(frame(masked, true, CONTINUATION, b"ag"));
    input.extend(frame(masked, true, BINARY, &[9; 300]));
    match end {
        End::Close | End::OurClose => {
            input.extend(frame(masked, true, CLOSE, &close_body(1000, "")));
        }
        End::Violation => input.extend([0xf2, 0, 0, 0]),
        End::Eof | End::Silence => {}
    }
    input
}

const MESSAGES: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Case {
    server: bool,
    halves: bool,
    beats: bool,
    end: End,
    fault: Fault,
    when: usize,
}

/// What came of a case.
#[derive(Debug)]
struct Outcome {
    ops: usize,
    received: Vec<OwnedMessage>,
    /// `None`: the end.
    error: Option<String>,
    written: Vec<Frame>,
}

type Received = (Vec<OwnedMessage>, Option<Error>, usize);

/// Echoes until the end, each message at once.
async fn echo(mut ws: WebSocket<Io>, io: &Io, end: End) -> Received {
    let mut received = vec![];
    let error = loop {
        match ws.recv_owned().await {
            Ok(Some(message)) => {
                let _ = ws.send(&message).await;
                received.push(message);
                if received.len() == MESSAGES && end == End::OurClose {
                    break ws.close(None).await.err();
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let read = io.0.lock().unwrap().at;
    // Whatever is called now returns as well.
    let _ = ws.recv().await;
    let _ = ws.close(None).await;
    let _ = ws.flush().await;
    let _ = ws.send("after the end").await;
    (received, error, read)
}

/// The same, receiving here and sending in a task.
async fn echo_through_halves(ws: WebSocket<Io>, io: &Io, end: End) -> Received {
    let (mut reader, mut writer) = ws.into_split_with(split);
    let (outbox, mut messages) = mpsc::unbounded_channel::<OwnedMessage>();
    let sending = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            if writer.send(&message).await.is_err() {
                break;
            }
        }
        if end == End::OurClose {
            let _ = writer.close(None).await;
        }
        writer
    });
    let (mut received, mut outbox) = (vec![], Some(outbox));
    let error = loop {
        match reader.recv_owned().await {
            Ok(Some(message)) => {
                let _ = outbox.as_ref().map(|outbox| outbox.send(message.clone()));
                received.push(message);
                if received.len() == MESSAGES && end == End::OurClose {
                    outbox = None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let read = io.0.lock().unwrap().at;
    drop(outbox);
    let _ = reader.recv().await;
    let mut writer = sending.await.unwrap();
    let _ = writer.send("after the end").await;
    (received, error, read)
}

async fn run(case: Case) -> Outcome {
    let Case { server: is_server, halves, beats, end, fault, when } = case;
    let io = Io(Arc::new(Mutex::new(Faulty {
        input: input(is_server, end),
        at: 0,
        ends: end != End::Silence,
        output: vec![],
        shut: false,
        ops: 0,
        fault,
        when,
        writes: 0,
        wakers: vec![],
    })));
    let mut config = Config::default();
    if beats {
        config = config.heartbeat(Heartbeat::new(Duration::from_secs(4), Duration::from_secs(4)));
    }
    let ws = WebSocket::from_parts(io.clone(), conn(is_server, &config));
    let calls = async {
        if halves { echo_through_halves(ws, &io, end).await } else { echo(ws, &io, end).await }
    };
    let hour = Duration::from_secs(3600);
    let done = tokio::time::timeout(hour, calls).await;
    // Nothing bounds the wait for a peer that is silent, but a heartbeat.
    let may_wait = !beats && matches!(fault, Fault::BlockReads | Fault::BlockBoth);
    assert!(done.is_ok() || may_wait, "{case:?}: a call that does not return");

    let s = io.0.lock().unwrap();
    let (written, cut) = frames(&s.output);
    let (received, error, read) = done.unwrap_or_else(|_| (vec![], None, 0));

    if let Some(close) = written.iter().position(|f| f.opcode == CLOSE) {
        let nothing_follows = close + 1 == written.len() && cut.is_empty();
        assert!(nothing_follows, "{case:?}: behind the Close: {written:x?} {cut:x?}");
    }
    // The server's end of the stream is the peer's sign that the Close is all: a frame cut in two
    // in front of it would be a lie.
    if s.shut && fault.is_harmless() {
        assert!(cut.is_empty(), "{case:?}: shut down in the middle of a frame: {cut:x?}");
    }
    // A failure hides nothing that was read whole, and invents nothing.
    let valid = input(is_server, End::Eof);
    let whole = messages(&frames(&valid[..read.min(valid.len())]).0);
    assert_eq!(received, whole, "{case:?}");
    // What is sent is what was received, in that order, each once.
    let all = messages(&frames(&valid).0);
    let echoed = messages(&written);
    assert!(all.starts_with(&echoed), "{case:?}: sent {echoed:?}");
    Outcome { ops: s.ops, received, error: error.map(|e| format!("{e:?}")), written }
}

/// The frames but for pings: how many of those fit depends on the time.
fn lasting(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    let lasting = frames.iter().filter(|f| f.opcode != PING && f.opcode != PONG);
    lasting.map(|f| (f.opcode, f.payload.clone())).collect()
}

async fn grid(server: bool, halves: bool) {
    for beats in [false, true] {
        for end in [End::Close, End::Violation, End::Eof, End::Silence, End::OurClose] {
            if end == End::Silence && !beats {
                continue;
            }
            let case = Case { server, halves, beats, end, fault: Fault::None, when: 0 };
            let sound = run(case).await;
            assert_eq!(sound.received.len(), MESSAGES, "{case:?}");
            let clean = matches!(end, End::Close | End::OurClose);
            assert_eq!(sound.error.is_none(), clean, "{case:?}: {:?}", sound.error);
            for fault in Fault::ALL {
                for when in 0..sound.ops + 2 {
                    let case = Case { fault, when, ..case };
                    let outcome = run(case).await;
                    if !fault.is_harmless() {
                        continue;
                    }
                    // Nothing but the timing differs.
                    assert_eq!(outcome.received, sound.received, "{case:?}");
                    assert_eq!(outcome.error, sound.error, "{case:?}");
                    let closes = |frames: &[Frame]| {
                        frames.last().filter(|f| f.opcode == CLOSE).map(|f| f.payload.clone())
                    };
                    assert_eq!(closes(&outcome.written), closes(&sound.written), "{case:?}");
                    // (In a task of its own the sending may come before or after the end; and a
                    // violation waits for nothing that has to wait.)
                    if !halves && end != End::Violation {
                        let (here, there) = (lasting(&outcome.written), lasting(&sound.written));
                        assert_eq!(here, there, "{case:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_survives_a_fault_at_every_operation() {
    grid(true, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_survives_a_fault_at_every_operation() {
    grid(false, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_in_halves_survives_a_fault_at_every_operation() {
    grid(true, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_in_halves_survives_a_fault_at_every_operation() {
    grid(false, true).await;
}
