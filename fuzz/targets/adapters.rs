//! Two ends of the adapters, each in one of their forms (tokio whole or in halves, blocking over a
//! stream that does not block), over a stream in memory that does as a script says: short reads,
//! partial writes, nothing at all now. Futures are dropped after any number of polls.
//!
//! What must hold: what was taken, as `fed` tells, arrives once, whole and in order, whatever was
//! dropped meanwhile; at the end both close cleanly, driven by nothing but the wakers they were
//! given; where the link was cut or a deadline passed, it ends with an error and what arrived is
//! the beginning of what was taken.
#![no_main]
use arbitrary::Arbitrary;
use futures_core::Stream;
use futures_sink::Sink;
use libfuzzer_sys::fuzz_target;
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice, Read, Write},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Error, Event, Events, Heartbeat,
    Message, Negotiated, OwnedCloseFrame, OwnedEvent, OwnedMessage, Position, Prepared, Received,
    SendError, blocking,
    deflate::{Deflate, DeflateParams, Direction},
    tokio::{MessageOrRoom, Reader, WebSocket, Writer},
};
use tickwire_fuzz::{
    Data, Len, negotiated, owned,
    reference::{self, Limits},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
    task::{unconstrained, yield_now},
    time::{advance, timeout},
};

#[derive(Arbitrary, Debug)]
struct Input {
    forms: [Form; 2],
    settings: Settings,
    /// What the stream does, call by call, again and again.
    script: [u8; 8],
    ops: Vec<(bool, Op)>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Form {
    Whole,
    Halves,
    Blocking,
}

#[derive(Arbitrary, Debug)]
struct Settings {
    read_buffer: u16,
    high_water: u16,
    cork_limit: u16,
    min_vectored: u16,
    vectored: bool,
    /// How much a direction of the link holds, until all is to be settled.
    room: u16,
    compressed: bool,
    takeover: bool,
    /// Bits: a heartbeat; a deadline on data, which passes with the others.
    timers: u8,
    /// Short deadlines, so that they pass.
    deadlines: bool,
    /// Which of the ends receives in chunks.
    chunks: [bool; 2],
    /// Which of the ends, in one piece or in halves, ends as a `Stream` and a `Sink` in two tasks.
    streams: [bool; 2],
}

#[derive(Arbitrary, Clone, Debug)]
enum Op {
    /// With the length of the answer for `Kind::Reply`.
    Recv(Kind, Polls, Len),
    Send(Data, Polls),
    Feed(Data),
    FeedPrepared(Data),
    Chunks(bool, Vec<Len>),
    Ready(Polls),
    Flush(Polls),
    Ping(u8, Polls),
    Probe(Polls),
    /// Both halves at once, each polled in turn.
    Both(Len, Polls),
    Advance(u16),
    Close(Polls),
    /// The link breaks, with a reset or without.
    Cut(bool),
    /// As a `Sink` takes it; other ends do what is nearest.
    Item(Item, Polls),
}

/// How often a future is polled.
type Polls = u8;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Item {
    Message(Data),
    Ping(u8),
    Pong(u8),
    /// With a reason of this length.
    Close(u8),
    /// Not an item: the sink is closed.
    End,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Info,
    Owned,
    Event,
    Reply,
    Room,
    /// The next of the `Stream` of events.
    Stream,
}

// The link.

#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// All that was ever written.
    all: Vec<u8>,
    room: usize,
    /// Nothing more comes.
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Link {
    /// From the client, and from the server.
    ways: [Way; 2],
    script: [u8; 8],
    at: usize,
    /// Of each end's calls: how often in a row it was nothing.
    stalls: [[u8; 4]; 2],
    /// `Some` where it broke: with a reset, or as if the other end had gone.
    cut: Option<bool>,
}

impl Link {
    /// The most that the next call of this kind may move; `None`: not now, though it could. Not
    /// three times in a row: a stream that never does anything would be none.
    fn next(&mut self, end: usize, call: Call) -> Option<usize> {
        let byte = usize::from(self.script[self.at % self.script.len()]);
        self.at += 1;
        let stalls = &mut self.stalls[end][call as usize];
        *stalls += 1;
        if byte & 7 < 2 && *stalls < 3 {
            return None;
        }
        *stalls = 0;
        Some(match byte & 7 {
            2 => 1,
            0 | 1 | 3 => 2 + byte / 8,
            4 => 100 + byte,
            _ => usize::MAX,
        })
    }
}

#[derive(Clone, Copy)]
enum Call {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// One end of the link; clones are the same end.
#[derive(Clone)]
struct Pipe {
    link: Arc<Mutex<Link>>,
    /// The way it writes to; it reads from the other.
    out: usize,
    vectored: bool,
}

impl Pipe {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap()
    }

    /// `None` where it would block; then `waker` is woken when that changes.
    fn read_some(&self, to: &mut [u8], waker: &Waker) -> Option<io::Result<usize>> {
        let mut link = self.link();
        let most = link.next(self.out, Call::Read);
        if let Some(true) = link.cut {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let cut = link.cut.is_some();
        let way = &mut link.ways[1 - self.out];
        if way.bytes.is_empty() {
            if way.shut || cut {
                return Some(Ok(0));
            }
            way.reader = Some(waker.clone());
            return None;
        }
        let Some(most) = most else {
            waker.wake_by_ref();
            return None;
        };
        // Longer pieces where much waits, or single bytes would take for ever.
        let most = most.saturating_mul(1 + way.bytes.len() / 256);
        let n = most.min(to.len()).min(way.bytes.len());
        for (to, from) in to.iter_mut().zip(way.bytes.drain(..n)) {
            *to = from;
        }
        way.writer.take().into_iter().for_each(Waker::wake);
        Some(Ok(n))
    }

    fn write_some(&self, from: &[IoSlice<'_>], waker: &Waker) -> Option<io::Result<usize>> {
        let mut link = self.link();
        let most = link.next(self.out, Call::Write);
        if link.cut.is_some() {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let way = &mut link.ways[self.out];
        assert!(!way.shut, "written behind the end of the stream");
        let room = way.room.saturating_sub(way.bytes.len());
        if room == 0 {
            way.writer = Some(waker.clone());
            return None;
        }
        let Some(most) = most else {
            waker.wake_by_ref();
            return None;
        };
        // Asked all the same, a stream without vectored writes takes of the first slice.
        let first = from.iter().position(|slice| !slice.is_empty()).unwrap_or(0);
        let from = if self.vectored { from } else { &from[first..=first] };
        let len: usize = from.iter().map(|slice| slice.len()).sum();
        assert!(len > 0, "nothing is written");
        let n = most.saturating_mul(1 + len / 256).min(room).min(len);
        let before = way.all.len();
        way.all.extend(from.iter().flat_map(|slice| slice.iter()).take(n));
        way.bytes.extend(&way.all[before..]);
        way.reader.take().into_iter().for_each(Waker::wake);
        Some(Ok(n))
    }

    /// Whether it may be done now; `waker` is woken where not.
    fn may(&self, call: Call, cx: &Context<'_>) -> Poll<()> {
        if self.link().next(self.out, call).is_none() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn shut(&self) {
        let way = &mut self.link().ways[self.out];
        way.shut = true;
        way.reader.take().into_iter().for_each(Waker::wake);
    }
}

fn pending<T>(done: Option<io::Result<T>>) -> Poll<io::Result<T>> {
    done.map_or(Poll::Pending, Poll::Ready)
}

fn blocks<T>(done: Option<io::Result<T>>) -> io::Result<T> {
    done.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(buf.remaining() > 0, "an empty read would look like the end of the stream");
        let read = pending(self.read_some(buf.initialize_unfilled(), cx.waker()));
        read.map_ok(|n| buf.advance(n))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        pending(self.write_some(&[IoSlice::new(buf)], cx.waker()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pending(self.write_some(bufs, cx.waker()))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may(Call::Flush, cx).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may(Call::Shutdown, cx).map(|()| self.shut()).map(Ok)
    }
}

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        assert!(!to.is_empty(), "an empty read would look like the end of the stream");
        blocks(self.read_some(to, Waker::noop()))
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        blocks(self.write_some(from, Waker::noop()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for Pipe {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read(buf)
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [bytes] => self.write(bytes),
            _ => self.write_vectored(bufs),
        }
    }

    fn wait(&self, _: blocking::Interest, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.shut();
        Ok(())
    }

    fn writes_vectored(&self) -> bool {
        self.vectored
    }
}

// The ends.

enum End {
    Whole(Events<WebSocket<Pipe>>),
    Halves(Events<Reader<Pipe, Pipe>>, Events<Writer<Pipe>>),
    Blocking(blocking::WebSocket<Pipe>),
}

/// One end, and what it knows of what should be.
struct Side {
    end: End,
    chunks: bool,
    /// Taken to be sent, in order.
    fed: Vec<OwnedMessage>,
    came: Came,
    /// A message in chunks that was begun.
    open: Option<(DataKind, Vec<u8>)>,
    /// It says that it closes; then a whole one discards what comes.
    closing: bool,
    /// How much more may be sent in large messages.
    budget: usize,
    /// It ends as a `Stream` and a `Sink`.
    streams: bool,
    /// Control frames that were taken to be sent.
    said: Vec<OwnedEvent>,
}

/// Polls a future up to so often, and drops it.
fn polled<F: Future>(future: F, polls: u8) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..=polls % 8).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(ready) => Some(ready),
        Poll::Pending => None,
    })
}

/// Calls again as often while it would block.
fn called<T>(mut call: impl FnMut() -> Result<T, Error>, polls: u8) -> Option<Result<T, Error>> {
    (0..=polls % 8).find_map(|_| unless_blocked(call()))
}

fn unless_blocked<T>(result: Result<T, Error>) -> Option<Result<T, Error>> {
    match result {
        Err(Error::WouldBlock) => None,
        result => Some(result),
    }
}

/// What a receiving call gave.
enum Got {
    Message(OwnedMessage),
    /// A piece, and whether it was the last.
    Chunk(DataKind, Vec<u8>, bool),
    Control(OwnedEvent),
    Nothing,
    End,
}

impl From<OwnedEvent> for Got {
    fn from(event: OwnedEvent) -> Self {
        match event {
            OwnedEvent::Message(message) => Self::Message(message),
            control => Self::Control(control),
        }
    }
}

fn whole(message: Option<Message<'_>>) -> Got {
    message.map_or(Got::End, |message| Got::Message(message.into_owned()))
}

fn taken(message: Option<OwnedMessage>) -> Got {
    message.map_or(Got::End, Got::Message)
}

fn piece(chunk: Option<Chunk<'_>>) -> Got {
    chunk.map_or(Got::End, |chunk| Got::Chunk(chunk.kind, chunk.data.to_vec(), chunk.last))
}

fn of_event(event: Option<Event<'_>>) -> Got {
    match event {
        None => Got::End,
        Some(event) => Got::from(OwnedEvent::from(event)),
    }
}

/// Of a `Stream`.
async fn next<S>(events: &mut S) -> Option<S::Item>
where
    S: Stream<Item = Result<OwnedEvent, Error>> + Unpin,
{
    poll_fn(|cx| Pin::new(&mut *events).poll_next(cx)).await
}

fn item(item: Option<Result<OwnedEvent, Error>>) -> Result<Got, Error> {
    item.map_or(Ok(Got::End), |item| item.map(Got::from))
}

/// Sends it, or closes; whether it was taken.
fn sent<S>(sink: &mut S, event: Option<OwnedEvent>, polls: u8) -> bool
where
    S: Sink<OwnedEvent, Error = Error> + Unpin,
{
    let Some(event) = event else {
        let _ = polled(poll_fn(|cx| Pin::new(&mut *sink).poll_close(cx)), polls);
        return true;
    };
    let ready = polled(poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)), polls);
    if !matches!(ready, Some(Ok(()))) {
        return false;
    }
    let taken = match Pin::new(&mut *sink).start_send(event) {
        Ok(()) => true,
        Err(Error::Send(SendError::MessageInProgress)) => false,
        Err(error) => panic!("{error:?}, of a sink that is ready"),
    };
    let _ = polled(poll_fn(|cx| Pin::new(&mut *sink).poll_flush(cx)), polls);
    taken
}

/// What two tasks share, each behind its own.
struct Shared<S>(Arc<Mutex<S>>);

impl<S: Stream + Unpin> Stream for Shared<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_next(cx)
    }
}

impl<S: Sink<OwnedEvent, Error = Error> + Unpin> Sink<OwnedEvent> for Shared<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_ready(cx)
    }
    fn start_send(self: Pin<&mut Self>, event: OwnedEvent) -> Result<(), Error> {
        Pin::new(&mut *self.0.lock().unwrap()).start_send(event)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_flush(cx)
    }
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_close(cx)
    }
}

fn received(received: MessageOrRoom<'_>) -> Got {
    match received {
        MessageOrRoom::Message(message) => Got::Message(message.into_owned()),
        MessageOrRoom::Room => Got::Nothing,
        MessageOrRoom::Closed => Got::End,
    }
}

/// What one end received.
#[derive(Default)]
struct Came {
    got: Vec<OwnedMessage>,
    partial: Vec<u8>,
    /// Control frames.
    heard: Vec<OwnedEvent>,
    /// Its receiving ended: cleanly, or with an error.
    over: Option<bool>,
}

impl Came {
    /// Notes what a receiving call gave; `true` where it gave something.
    fn take(&mut self, got: Option<Result<Got, Error>>) -> bool {
        match got {
            None => return false,
            Some(Ok(Got::Nothing)) => {}
            Some(Ok(Got::Message(message))) => self.got.push(message),
            Some(Ok(Got::Control(control))) => self.heard.push(control),
            Some(Ok(Got::Chunk(kind, data, last))) => {
                self.partial.extend(data);
                if last {
                    let payload = std::mem::take(&mut self.partial);
                    self.got.push(owned(kind == DataKind::Text, payload));
                }
            }
            Some(Ok(Got::End)) => self.over = Some(self.over.unwrap_or(true)),
            Some(Err(_)) => {
                assert_ne!(self.over, Some(true), "an error behind a clean end");
                self.over = Some(false);
            }
        }
        true
    }
}

impl Side {
    fn new(form: Form, pipe: Pipe, conn: Connection, chunks: bool, streams: bool) -> Self {
        let end = match form {
            Form::Whole => End::Whole(Events(WebSocket::from_parts(pipe, conn))),
            Form::Halves => {
                let ws = WebSocket::from_parts(pipe, conn);
                let (reader, writer) = ws.into_split_with(|pipe| (pipe.clone(), pipe));
                End::Halves(Events(reader), Events(writer))
            }
            Form::Blocking => End::Blocking(blocking::WebSocket::from_parts(pipe, conn)),
        };
        Self {
            end,
            chunks,
            fed: vec![],
            came: Came::default(),
            open: None,
            closing: false,
            budget: 70 << 10,
            streams,
            said: vec![],
        }
    }

    fn message(&mut self, Data { text, len }: Data, seed: usize) -> OwnedMessage {
        let len = len.within(&mut self.budget);
        // Unlike its neighbours even where it is empty of anything else.
        let mut payload = format!("{} ", self.fed.len()).into_bytes();
        payload.extend((0..len).map(|i| b' ' + (i.wrapping_mul(7) ^ seed) as u8 % 95));
        owned(text, payload)
    }

    fn fed(&mut self) -> Position {
        match &mut self.end {
            End::Whole(Events(ws)) => ws.sender().fed(),
            End::Halves(_, Events(writer)) => writer.fed(),
            End::Blocking(ws) => ws.sender().fed(),
        }
    }

    fn recv(&mut self, kind: Kind, polls: u8) -> Option<Result<Got, Error>> {
        if self.chunks {
            return match &mut self.end {
                End::Whole(Events(ws)) => polled(ws.recv_chunk(), polls).map(|got| got.map(piece)),
                End::Halves(Events(rx), _) => {
                    polled(rx.recv_chunk(), polls).map(|got| got.map(piece))
                }
                End::Blocking(ws) => called(|| ws.recv_chunk().map(piece), polls),
            };
        }
        match &mut self.end {
            End::Whole(events) if kind == Kind::Stream => polled(next(events), polls).map(item),
            End::Halves(events, _) if kind == Kind::Stream => polled(next(events), polls).map(item),
            End::Whole(Events(ws)) => match kind {
                Kind::Plain | Kind::Reply | Kind::Stream => {
                    polled(ws.recv(), polls).map(|got| got.map(whole))
                }
                Kind::Info => polled(ws.recv_to_reply(), polls)
                    .map(|got| got.map(|got| whole(got.map(|got| got.message)))),
                Kind::Owned => polled(ws.recv_owned(), polls).map(|got| got.map(taken)),
                Kind::Event => polled(ws.recv_event(), polls).map(|got| got.map(of_event)),
                Kind::Room => polled(ws.recv_or_room(1000), polls).map(|got| got.map(received)),
            },
            End::Halves(Events(rx), _) => match kind {
                Kind::Plain | Kind::Reply | Kind::Room | Kind::Stream => {
                    polled(rx.recv(), polls).map(|got| got.map(whole))
                }
                Kind::Info => polled(rx.recv_with_info(), polls)
                    .map(|got| got.map(|got| whole(got.map(|(message, _)| message)))),
                Kind::Owned => polled(rx.recv_owned(), polls).map(|got| got.map(taken)),
                Kind::Event => polled(rx.recv_event(), polls).map(|got| got.map(of_event)),
            },
            End::Blocking(ws) => match kind {
                Kind::Plain | Kind::Reply | Kind::Room | Kind::Stream => {
                    called(|| ws.recv().map(whole), polls)
                }
                Kind::Info => called(
                    || ws.recv_to_reply().map(|got| whole(got.map(|got| got.message))),
                    polls,
                ),
                Kind::Owned => called(|| ws.recv_owned().map(taken), polls),
                Kind::Event => called(|| ws.recv_event().map(of_event), polls),
            },
        }
    }

    /// Receives, and answers what came at once.
    fn recv_to_reply(&mut self, polls: u8, answer: &OwnedMessage) -> Option<Result<Got, Error>> {
        let mut fed = false;
        let mut replied = |got: Option<Received<'_>>| {
            got.map_or(Got::End, |got| {
                fed = reply(got.sender.feed(answer));
                Got::Message(got.message.into_owned())
            })
        };
        let got = match &mut self.end {
            End::Whole(Events(ws)) => polled(ws.recv_to_reply(), polls).map(|got| got.map(replied)),
            End::Blocking(ws) => called(|| ws.recv_to_reply().map(&mut replied), polls),
            End::Halves(..) => self.recv(Kind::Plain, polls),
        };
        if fed {
            self.fed.push(answer.clone());
        }
        got
    }

    fn send(&mut self, message: OwnedMessage, polls: u8) {
        let before = self.fed();
        let sent = match &mut self.end {
            End::Whole(Events(ws)) => polled(ws.send(&message), polls),
            End::Halves(_, Events(tx)) => polled(tx.send(&message), polls),
            // Called again it would send again: that is for `flush`.
            End::Blocking(ws) => unless_blocked(ws.send(&message)),
        };
        let taken = self.fed() != before;
        assert!(taken || !matches!(sent, Some(Ok(()))), "sent, and it does not count");
        if taken {
            self.fed.push(message);
        }
    }

    fn feed(&mut self, message: OwnedMessage, prepared: bool) {
        let form = prepared.then(|| Prepared::new(&message));
        let fed = match (&mut self.end, &form) {
            (End::Whole(Events(ws)), None) => ws.feed(&message),
            (End::Whole(Events(ws)), Some(form)) => ws.feed(form),
            (End::Halves(_, Events(tx)), None) => tx.feed(&message),
            (End::Halves(_, Events(tx)), Some(form)) => tx.feed(form),
            (End::Blocking(ws), None) => ws.feed(&message),
            (End::Blocking(ws), Some(form)) => ws.feed(form),
        };
        if reply(fed) {
            self.fed.push(message);
        }
    }

    /// A message in chunks. Where there is no room for its end, it stays open, and the next goes on
    /// with it.
    fn feed_chunks(&mut self, text: bool, lens: &[Len], seed: usize) {
        let kind = if text { DataKind::Text } else { DataKind::Binary };
        let mut begun = self.open.is_some();
        let (kind, mut all) = self.open.take().unwrap_or((kind, vec![]));
        for len in lens.iter().take(6) {
            let piece = self.message(Data { text: true, len: *len }, seed);
            let data = piece.as_bytes();
            if !self.feed_chunk(Chunk { kind, first: !begun, data, last: false }) {
                break;
            }
            begun = true;
            all.extend_from_slice(data);
        }
        if !begun {
            return;
        }
        for _ in 0..4 {
            if self.feed_chunk(Chunk { kind, first: false, data: &[], last: true }) {
                return self.fed.push(owned(kind == DataKind::Text, all));
            }
            self.flush(7);
        }
        self.open = Some((kind, all));
    }

    fn feed_chunk(&mut self, chunk: Chunk<'_>) -> bool {
        reply(match &mut self.end {
            End::Whole(Events(ws)) => ws.sender_mut().feed_chunk(chunk),
            End::Halves(_, Events(tx)) => tx.with_sender(|tx| tx.feed_chunk(chunk)),
            End::Blocking(ws) => ws.sender_mut().feed_chunk(chunk),
        })
    }

    fn flush(&mut self, polls: u8) {
        let _ = match &mut self.end {
            End::Whole(Events(ws)) => polled(ws.flush(), polls),
            End::Halves(_, Events(tx)) => polled(tx.flush(), polls),
            End::Blocking(ws) => called(|| ws.flush(), polls),
        };
    }

    fn close(&mut self, polls: u8) {
        let code = CloseCode::GOING_AWAY;
        self.closing = true;
        let closed = match &mut self.end {
            End::Whole(Events(ws)) => polled(ws.close(code), polls),
            End::Halves(_, Events(tx)) => {
                let _ = polled(tx.close(code), polls);
                return;
            }
            End::Blocking(ws) => called(|| ws.close(code), polls),
        };
        if let Some(closed) = closed {
            self.closed(closed);
        }
    }

    fn is_clean(&self) -> bool {
        let closed = match &self.end {
            End::Whole(Events(ws)) => ws.closed(),
            End::Halves(Events(rx), _) => rx.closed(),
            End::Blocking(ws) => ws.closed(),
        };
        closed.is_some_and(|end| end.clean)
    }

    /// `Ok` also says that the peer ended the stream on our Close. Then receiving calls return the
    /// error.
    fn closed(&mut self, closed: Result<(), Error>) {
        match closed {
            Ok(()) if !self.is_clean() => self.came.over = Some(false),
            closed => _ = self.came.take(Some(closed.map(|()| Got::End))),
        }
    }

    fn call(&mut self, op: &Op, seed: usize) {
        match op {
            Op::Recv(Kind::Reply, polls, len) if !self.chunks => {
                let answer = self.message(Data { text: false, len: *len }, seed);
                let got = self.recv_to_reply(*polls, &answer);
                self.came.take(got);
            }
            Op::Recv(kind, polls, _) => {
                let got = self.recv(*kind, *polls);
                self.came.take(got);
            }
            Op::Send(data, polls) => {
                let message = self.message(*data, seed);
                self.send(message, *polls);
            }
            Op::Feed(data) | Op::FeedPrepared(data) => {
                let message = self.message(*data, seed);
                self.feed(message, matches!(op, Op::FeedPrepared(_)));
            }
            Op::Chunks(text, lens) => self.feed_chunks(*text, lens, seed),
            Op::Ready(polls) => {
                let _ = match &mut self.end {
                    End::Whole(Events(ws)) => polled(ws.ready(), *polls),
                    End::Halves(_, Events(tx)) => polled(tx.ready(), *polls),
                    End::Blocking(ws) => called(|| ws.ready(), *polls),
                };
            }
            Op::Flush(polls) => self.flush(*polls),
            Op::Ping(len, polls) => {
                let payload = payload(*len, seed);
                let pinged = match &mut self.end {
                    End::Whole(Events(ws)) => ws.sender_mut().ping(&payload),
                    End::Halves(_, Events(tx)) => tx.with_sender(|tx| tx.ping(&payload)),
                    End::Blocking(ws) => ws.sender_mut().ping(&payload),
                };
                if pinged.is_ok() {
                    self.said.push(OwnedEvent::Ping(payload.into()));
                }
                self.flush(*polls);
            }
            Op::Probe(polls) => {
                let _ = match &mut self.end {
                    End::Whole(Events(ws)) => ws.measure_rtt(),
                    End::Halves(_, Events(tx)) => tx.measure_rtt(),
                    End::Blocking(ws) => ws.measure_rtt(),
                };
                self.flush(*polls);
            }
            Op::Both(len, polls) => self.both(*len, *polls, seed),
            Op::Close(polls) => self.close(*polls),
            Op::Item(item, polls) => self.item(*item, *polls, seed),
            Op::Advance(_) | Op::Cut(_) => {}
        }
    }

    fn item(&mut self, item: Item, polls: u8, seed: usize) {
        let event = match item {
            Item::Message(data) => Some(self.message(data, seed).into()),
            Item::Ping(len) => Some(OwnedEvent::Ping(payload(len, seed).into())),
            Item::Pong(len) => Some(OwnedEvent::Pong(payload(len, seed).into())),
            Item::Close(len) => {
                let (code, reason) = (CloseCode::GOING_AWAY, "r".repeat(usize::from(len) % 124));
                Some(OwnedEvent::Close(Some(OwnedCloseFrame { code, reason })))
            }
            Item::End => None,
        };
        let taken = match &mut self.end {
            End::Whole(sink) => sent(sink, event.clone(), polls),
            End::Halves(_, sink) => sent(sink, event.clone(), polls),
            End::Blocking(_) => return self.flush(polls),
        };
        match event {
            Some(OwnedEvent::Message(message)) if taken => self.fed.push(message),
            Some(control) if taken => {
                self.closing |= matches!(control, OwnedEvent::Close(_));
                self.said.push(control);
            }
            Some(_) => {}
            None => self.closing = true,
        }
    }

    fn both(&mut self, len: Len, polls: u8, seed: usize) {
        let message = self.message(Data { text: false, len }, seed);
        let End::Halves(Events(rx), Events(tx)) = &mut self.end else { return };
        if self.chunks {
            return; // would lose what it has of a message
        }
        let before = tx.fed();
        let mut cx = Context::from_waker(Waker::noop());
        let mut got = None;
        {
            let mut recv = pin!(rx.recv_owned());
            let mut send = pin!(tx.send(&message));
            for _ in 0..=polls % 16 {
                if send.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
                if let Poll::Ready(ready) = recv.as_mut().poll(&mut cx) {
                    got = Some(ready.map(taken));
                    break;
                }
            }
        }
        let taken = tx.fed() != before;
        if taken {
            self.fed.push(message);
        }
        self.came.take(got);
    }
}

fn payload(len: u8, seed: usize) -> Vec<u8> {
    vec![seed as u8; usize::from(len) % 126]
}

/// Whether it was taken; every other answer has to be one that there can be.
fn reply<T>(fed: Result<T, SendError>) -> bool {
    match fed {
        Ok(_) => true,
        Err(SendError::Full { .. } | SendError::Closed | SendError::MessageInProgress) => false,
        Err(error) => panic!("{error:?}"),
    }
}

// The end of it.

/// Receives `count` messages and no more, or up to the end.
async fn receive(side: &mut Side, count: usize) {
    let mut idle = 0;
    while side.came.got.len() < count && side.came.over.is_none() {
        let chunks = side.chunks;
        let got = match &mut side.end {
            End::Whole(Events(ws)) if chunks => Some(ws.recv_chunk().await.map(piece)),
            End::Whole(Events(ws)) => Some(ws.recv().await.map(whole)),
            End::Halves(Events(rx), _) if chunks => Some(rx.recv_chunk().await.map(piece)),
            End::Halves(Events(rx), _) => Some(rx.recv().await.map(whole)),
            End::Blocking(ws) if chunks => unless_blocked(ws.recv_chunk().map(piece)),
            End::Blocking(ws) => unless_blocked(ws.recv().map(whole)),
        };
        if !side.came.take(got) {
            idle += 1;
            assert!(idle < 1_000_000, "a blocking end is stuck");
            yield_now().await;
        }
    }
}

async fn flush(side: &mut Side) -> Result<(), Error> {
    match &mut side.end {
        End::Whole(Events(ws)) => ws.flush().await,
        End::Halves(_, Events(tx)) => tx.flush().await,
        End::Blocking(ws) => loop {
            match ws.flush() {
                Err(Error::WouldBlock) => yield_now().await,
                done => return done,
            }
        },
    }
}

/// Takes what there is to come, and ends: by closing where that was begun or is its turn.
async fn finish(mut side: Side) -> Side {
    let code = CloseCode::GOING_AWAY;
    if side.streams && !side.chunks && !matches!(side.end, End::Blocking(_)) {
        return finish_streams(side).await;
    }
    if let End::Halves(..) = side.end {
        return finish_halves(side).await;
    }
    if !side.closing {
        receive(&mut side, usize::MAX).await;
        return side;
    }
    let closed = match &mut side.end {
        End::Whole(Events(ws)) => ws.close(code).await,
        End::Blocking(ws) => loop {
            match ws.close(code) {
                Err(Error::WouldBlock) => yield_now().await,
                done => break done,
            }
        },
        End::Halves(..) => unreachable!("above"),
    };
    side.closed(closed);
    side
}

/// Each half in a task of its own, each with a waker of its own.
async fn finish_halves(side: Side) -> Side {
    let Side { end, chunks, mut came, closing, .. } = side;
    let End::Halves(Events(mut rx), Events(mut tx)) = end else { unreachable!("asked for") };
    let reading = tokio::spawn(async move {
        while came.over.is_none() {
            let more = match chunks {
                true => rx.recv_chunk().await.map(piece),
                false => rx.recv_owned().await.map(taken),
            };
            came.take(Some(more));
        }
        (rx, came)
    });
    let writing = tokio::spawn(async move {
        let _ = if closing { tx.close(CloseCode::GOING_AWAY).await } else { tx.flush().await };
        tx
    });
    let (rx, came) = reading.await.expect("no panic");
    let tx = writing.await.expect("no panic");
    Side { end: End::Halves(Events(rx), Events(tx)), came, ..side }
}

/// The same as a stream and a sink, of a connection in one piece too.
async fn finish_streams(side: Side) -> Side {
    let Side { end, closing, .. } = side;
    let (end, items, pinged) = match end {
        End::Halves(rx, tx) => {
            let (rx, tx, items, pinged) = two_tasks(rx, tx, closing).await;
            (End::Halves(rx, tx), items, pinged)
        }
        End::Whole(ws) => {
            let ws = Arc::new(Mutex::new(ws));
            let (rx, tx) = (Shared(ws.clone()), Shared(ws));
            let (rx, tx, items, pinged) = two_tasks(rx, tx, closing).await;
            drop(rx);
            let ws = Arc::into_inner(tx.0).expect("both tasks are over").into_inner();
            (End::Whole(ws.expect("no panic")), items, pinged)
        }
        End::Blocking(_) => unreachable!("not asked for"),
    };
    let mut side = Side { end, ..side };
    side.said.extend(pinged);
    for got in items {
        side.came.take(Some(item(got)));
    }
    side
}

/// All items up to the end, or with the error that is the last of them; and the Ping that was sent
/// meanwhile, if it could be.
async fn two_tasks<R, W>(
    mut rx: R,
    mut tx: W,
    closing: bool,
) -> (R, W, Vec<Option<Result<OwnedEvent, Error>>>, Option<OwnedEvent>)
where
    R: Stream<Item = Result<OwnedEvent, Error>> + Unpin + Send + 'static,
    W: Sink<OwnedEvent, Error = Error> + Unpin + Send + 'static,
{
    let reading = tokio::spawn(async move {
        let mut items = vec![];
        loop {
            let item = next(&mut rx).await;
            let more = matches!(item, Some(Ok(_)));
            items.push(item);
            if !more {
                assert!(next(&mut rx).await.is_none(), "an item behind the last");
                return (rx, items);
            }
        }
    });
    let writing = tokio::spawn(async move {
        let ping = OwnedEvent::Ping("before the end".into());
        let ready = poll_fn(|cx| Pin::new(&mut tx).poll_ready(cx)).await.is_ok();
        let pinged = ready && Pin::new(&mut tx).start_send(ping.clone()).is_ok();
        let _ = match closing {
            true => poll_fn(|cx| Pin::new(&mut tx).poll_close(cx)).await,
            false => poll_fn(|cx| Pin::new(&mut tx).poll_flush(cx)).await,
        };
        (tx, pinged.then_some(ping))
    });
    let (rx, items) = reading.await.expect("no panic");
    let (tx, pinged) = writing.await.expect("no panic");
    (rx, tx, items, pinged)
}

fn config(s: &Settings) -> Config {
    let hour = Duration::from_secs(3600);
    let long = if s.deadlines { Duration::from_secs(2) } else { hour };
    let deflate = Deflate { level: 1, min_size: 8, ..Deflate::default() };
    let heartbeat = Heartbeat::new(Duration::from_millis(800), long);
    Config {
        read_buffer: usize::from(s.read_buffer),
        high_water: usize::from(s.high_water),
        cork_limit: usize::from(s.cork_limit),
        min_vectored: usize::from(s.min_vectored),
        close_timeout: long,
        frame_timeout: long,
        write_timeout: long,
        deflate: s.compressed.then_some(deflate),
        heartbeat: (s.timers & 1 != 0).then_some(heartbeat),
        data_timeout: (s.timers & 2 != 0).then_some(long),
        ..Config::default()
    }
}

fn agreed(s: &Settings) -> Negotiated {
    if !s.compressed {
        return Negotiated::default();
    }
    let both = Direction { takeover: s.takeover, ..Direction::default() };
    Negotiated::from(DeflateParams { server: both, client: both })
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("no I/O"),
    );
}

fuzz_target!(|input: Input| {
    RUNTIME.with_borrow(|runtime| runtime.block_on(unconstrained(run(input))));
});

async fn run(input: Input) {
    let s = &input.settings;
    let way = || Way { room: usize::from(s.room).max(1), ..Way::default() };
    let link = Arc::new(Mutex::new(Link {
        ways: [way(), way()],
        script: input.script,
        at: 0,
        stalls: [[0; 4]; 2],
        cut: None,
    }));
    let config = config(s);
    let side = |out: usize| {
        let pipe = Pipe { link: link.clone(), out, vectored: s.vectored };
        let conn = negotiated(out == 0, &config, agreed(s));
        Side::new(input.forms[out], pipe, conn, s.chunks[out], s.streams[out])
    };
    let mut sides = [side(0), side(1)];

    let mut late = false;
    for (i, (client, op)) in input.ops.iter().take(50).enumerate() {
        match op {
            Op::Advance(ms) => {
                let by = Duration::from_millis(u64::from(ms % 3000));
                late |= s.deadlines;
                advance(by).await;
            }
            Op::Cut(reset) => {
                let mut link = link.lock().unwrap();
                link.cut = Some(link.cut.unwrap_or(*reset));
                for way in &mut link.ways {
                    way.reader.take().into_iter().for_each(Waker::wake);
                    way.writer.take().into_iter().for_each(Waker::wake);
                }
            }
            op => sides[usize::from(*client)].call(op, i),
        }
        check(&sides, false);
    }

    let cut = link.lock().unwrap().cut.is_some();
    // Where both only wait for each other in the end, deadlines are what ends it.
    let spoilt = cut || late || s.deadlines;
    for way in &mut link.lock().unwrap().ways {
        way.room = usize::MAX;
        way.writer.take().into_iter().for_each(Waker::wake);
    }
    let [mut a, mut b] = sides;
    let bound = Duration::from_secs(100_000);
    if !(a.closing || b.closing || spoilt) {
        let (to_a, to_b) = (b.fed.len(), a.fed.len());
        let settle = async |mut side: Side, count| {
            // A reader does not send what was fed to its writer.
            if let End::Halves(..) = side.end {
                flush(&mut side).await.expect("nothing is wrong with this link");
            }
            receive(&mut side, count).await;
            flush(&mut side).await.expect("nothing is wrong with this link");
            side
        };
        // Who is done first does not read meanwhile: the link has room for all.
        let both = async { tokio::join!(settle(a, to_a), settle(b, to_b)) };
        (a, b) = timeout(bound, both).await.expect("it hangs");
        assert_eq!((a.came.over, b.came.over), (None, None), "nobody closed");
        assert_eq!((a.came.got.len(), b.came.got.len()), (to_a, to_b));
        a.closing = true;
    } else if !(a.closing || b.closing) {
        a.closing = true;
    }
    // Who is done drops its stream.
    let ending = async |side: Side, out: usize| {
        let side = finish(side).await;
        Pipe { link: link.clone(), out, vectored: false }.shut();
        side
    };
    let both = async { tokio::join!(ending(a, 0), ending(b, 1)) };
    let (a, b) = timeout(bound, both).await.expect("it hangs");
    let mut sides = [a, b];
    check(&sides, !spoilt);
    check_wire(&link.lock().unwrap(), s.compressed, spoilt);
    if !spoilt {
        for side in &mut sides {
            assert_eq!(side.came.over, Some(true), "nothing was wrong with this link");
            assert!(side.is_clean());
        }
    }
    // An end is final.
    for side in &mut sides {
        let (over, before) = (side.came.over, side.came.got.len());
        let again = side.recv(Kind::Plain, 0);
        assert!(over.is_some() && again.is_some(), "it ended, and waits");
        side.came.take(again);
        assert_eq!((side.came.over, side.came.got.len()), (over, before));
    }
}

/// What may follow a Close of ours before the peer's comes (§5.5.1), the last of it perhaps cut
/// off.
fn only_pings_and_pongs(mut wire: &[u8]) {
    while !wire.is_empty() {
        let head = reference::Head::read(wire);
        assert!(matches!(head.opcode, 9 | 10), "{wire:02x?} behind the Close");
        let Some((start, len)) = head.end.zip(head.len) else { return };
        wire = wire.get(start + len as usize..).unwrap_or_default();
    }
}

/// What was written is legal frames, and no data behind a Close.
fn check_wire(link: &Link, compressed: bool, spoilt: bool) {
    // What is inside of what is compressed the other end has shown.
    let inside = compressed.then_some((|_: &[u8]| Some(vec![])) as reference::Inflate);
    for (out, way) in link.ways.iter().enumerate() {
        let got = reference::receive_compressed(&way.all, out == 0, Limits::NONE, inside);
        match got.end {
            reference::End::Closed => only_pings_and_pongs(&way.all[got.used..]),
            reference::End::More => assert!(spoilt, "no Close came out"),
            reference::End::Failed(reasons) => panic!("{reasons:?}"),
        }
    }
}

/// What one got is what the other was given, as far as it came; all of it `at_the_end`, unless who
/// closed discards it.
fn check(sides: &[Side; 2], at_the_end: bool) {
    for (from, to) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        let discards = to.closing && !matches!(to.end, End::Halves(..));
        // A close that is cancelled has discarded what came until then, and receives go on.
        let mut fed = from.fed.iter();
        let in_order = to.came.got.iter().all(|got| fed.any(|fed| fed == got));
        assert!(
            from.fed.starts_with(&to.came.got) || (discards && in_order),
            "another message than was sent"
        );
        for heard in &to.came.heard {
            assert!(is_known(heard, from, to), "{heard:?}, which nobody said");
        }
        if at_the_end && !discards {
            assert_eq!(from.fed.len(), to.came.got.len(), "messages are missing");
        }
    }
}

/// Whether one said this, or it answers the other, or is of a heartbeat or a probe.
fn is_known(heard: &OwnedEvent, from: &Side, to: &Side) -> bool {
    from.said.contains(heard)
        || match heard {
            OwnedEvent::Message(_) => false,
            OwnedEvent::Ping(payload) => payload.len() == 4,
            OwnedEvent::Pong(payload) => {
                payload.len() == 4 || to.said.contains(&OwnedEvent::Ping(payload.clone()))
            }
            OwnedEvent::Close(None) => false,
            OwnedEvent::Close(Some(frame)) => [CloseCode::GOING_AWAY, CloseCode::NORMAL]
                .iter()
                .any(|&code| CloseFrame::from(code) == CloseFrame::from(frame)),
        }
}
