//! A conversation that two ends hold whatever lies between them, over either adapter, whole and in
//! halves, and what must be true of it however it ends: `agree`.
//!
//! The program is written once, over [`Says`] and [`Hears`]. Those of the blocking adapter never
//! wait, so [`at_once`] runs them.
use bytes::Bytes;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, DataKind, Error, OwnedMessage, Position, SendError, Sender,
    blocking, tokio as on_tokio,
};
use tokio::io::{AsyncRead, AsyncWrite};

// What is said.

/// What one end is to do.
#[derive(Clone, Debug)]
pub struct Part {
    pub says: Vec<OwnedMessage>,
    /// How many messages the other has to say, if it comes to that.
    pub hears: usize,
    /// After how many messages it closes; `None`: it leaves that to the other.
    pub closes_after: Option<usize>,
}

const SQUARES: [u8; 256] = {
    let mut squares = [0; 256];
    let mut k = 0;
    while k < 256 {
        squares[k] = (k * k) as u8;
        k += 1;
    }
    squares
};

/// Messages that nobody mistakes for one another: each begins with its number and `who` says it.
pub fn messages(who: char, lengths: &[usize]) -> Vec<OwnedMessage> {
    let numbered = |(i, &length): (usize, &usize)| {
        let mut text = format!("{who}{i}");
        if i % 2 == 0 {
            // A character of three bytes, so that pieces end inside one.
            text.push_str(&"€".repeat(length / 3));
            OwnedMessage::from(text)
        } else {
            let fill = SQUARES.repeat((length + i) / 256 + 1);
            OwnedMessage::from([text.as_bytes(), &fill[i..][..length]].concat())
        }
    };
    lengths.iter().enumerate().map(numbered).collect()
}

/// What came of it at one end.
#[derive(Debug)]
pub struct Report {
    /// The messages that were accepted to be sent, in order, whole.
    pub fed: Vec<OwnedMessage>,
    /// How many of those were reported as written.
    pub written: usize,
    pub heard: Vec<OwnedMessage>,
    /// What sending failed with, if it did.
    pub unsaid: Option<Error>,
    /// `Ok`: with the peer's Close.
    pub end: Result<(), Error>,
    /// Both Closes have passed.
    pub clean: bool,
    /// It has closed before it saw the other's Close.
    pub closed_first: bool,
    stillborn: bool,
}

impl Report {
    /// The opening handshake was done.
    pub fn was_open(&self) -> bool {
        !self.stillborn
    }

    /// Of an end that never got as far as saying anything.
    pub fn stillborn(error: Error) -> Self {
        Self {
            fed: vec![],
            written: 0,
            heard: vec![],
            unsaid: None,
            end: Err(error),
            clean: false,
            closed_first: false,
            stillborn: true,
        }
    }
}

/// What holds of both ends whatever lay between them.
///
/// - Neither hears what the other did not say, or in another order, or twice.
/// - Who has seen the other's Close has heard all that the other said, above all what was reported
///   as written.
/// - Who closed alone, and cleanly, was heard to the end, whatever the other end says of it.
pub fn agree(a: &Report, b: &Report) {
    for (a, b) in [(a, b), (b, a)] {
        assert!(a.written <= a.fed.len());
        assert!(b.fed.starts_with(&a.heard), "heard {:?} of {:?}", a.heard, b.fed);
        if a.end.is_ok() {
            assert_eq!(a.heard.len(), b.fed.len(), "not all of what was said before the Close");
        }
        if a.clean && a.closed_first && !b.closed_first {
            assert!(b.heard.len() >= a.written, "{} written, {:?} heard", a.written, b.heard);
        }
    }
}

/// The error's type, with the variant and what tells it from others.
pub fn class(error: &Error) -> String {
    match error {
        Error::Io(error) => format!("Io({:?})", error.kind()),
        error => without_text(&format!("{error:?}")),
    }
}

/// The `Debug` form of an error without the text at its end.
fn without_text(shown: &str) -> String {
    match (shown.find(": \""), shown.rfind('"')) {
        (Some(from), Some(to)) => format!("{}{}", &shown[..from], &shown[to + 1..]),
        _ => shown.into(),
    }
}

// Who says and hears it.

pub trait Says {
    /// Receiving writes what was fed.
    const CORKED: bool;

    async fn ready(&mut self) -> Result<(), Error>;
    fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError>;
    fn feed_shared(&mut self, payload: Bytes) -> Result<Position, SendError>;
    fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError>;
    async fn ping(&mut self, payload: &[u8]) -> Result<(), Error>;
    async fn flush(&mut self) -> Result<(), Error>;
    /// Queues a Close, and sends it where that is a call of its own.
    async fn close(&mut self) -> Result<(), Error>;
    fn is_written(&mut self, position: Position) -> bool;
}

pub trait Hears {
    async fn hear(&mut self) -> Result<Option<OwnedMessage>, Error>;
    fn was_clean(&self) -> bool;
}

/// Both halves.
pub struct Halves<R, W>(pub R, pub W);

const GOODBYE: CloseFrame<'static> = CloseFrame::with_reason(CloseCode::NORMAL, "goodbye");

/// Calls again after `WouldBlock`, as one does with a stream that does not block: so often.
const AGAIN: usize = 300;

macro_rules! persist {
    ($call:expr) => {{
        let mut calls = 0;
        loop {
            match $call {
                Err(Error::WouldBlock) if calls < AGAIN => calls += 1,
                done => break done,
            }
        }
    }};
}

/// The calls of a sending half, for a whole WebSocket too, so that one test can use either.
pub trait WithSender {
    fn with_sender<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T;
    fn fed(&mut self) -> Position {
        self.with_sender(|tx| Sender::fed(tx))
    }
    fn is_written(&mut self, position: Position) -> bool {
        self.with_sender(|tx| Sender::is_written(tx, position))
    }
    fn buffered_amount(&mut self) -> usize {
        self.with_sender(|tx| Sender::buffered_amount(tx))
    }
}

impl<S> WithSender for on_tokio::WebSocket<S> {
    fn with_sender<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(self.sender_mut())
    }
}

impl<S> WithSender for blocking::WebSocket<S> {
    fn with_sender<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(self.sender_mut())
    }
}

#[cfg(feature = "futures")]
impl<S> WithSender
    for tickwire::futures_io::WebSocket<S, fn(std::time::Instant) -> async_io::Timer>
{
    fn with_sender<T>(&mut self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(self.sender_mut())
    }
}

macro_rules! says {
    ($([$($bounds:tt)*] $type:ty, $corked:literal:
        |$call:ident| $done:expr; $ws:ident => $close:expr;)*) => {$(
        impl<$($bounds)*> Says for $type {
            const CORKED: bool = $corked;

            async fn ready(&mut self) -> Result<(), Error> {
                persist!({ let $call = self.ready(); $done })
            }
            fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError> {
                self.feed(message)
            }
            fn feed_shared(&mut self, payload: Bytes) -> Result<Position, SendError> {
                self.feed(payload)
            }
            fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
                self.with_sender(|tx| tx.feed_chunk(chunk))
            }
            async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
                self.with_sender(|tx| tx.ping(payload))?;
                Says::flush(self).await
            }
            async fn flush(&mut self) -> Result<(), Error> {
                persist!({ let $call = self.flush(); $done })
            }
            async fn close(&mut self) -> Result<(), Error> {
                let $ws = self;
                persist!($close)
            }
            fn is_written(&mut self, position: Position) -> bool {
                self.with_sender(|tx| Sender::is_written(tx, position))
            }
        }
    )*};
}

says! {
    [S: AsyncRead + AsyncWrite + Unpin] on_tokio::WebSocket<S>, true:
        |call| call.await; ws => ws.sender_mut().close(GOODBYE).map_err(Error::from);
    [W: AsyncWrite + Unpin] on_tokio::Writer<W>, false:
        |call| call.await; ws => ws.close(GOODBYE).await;
    [S: blocking::Stream] blocking::WebSocket<S>, true:
        |call| call; ws => ws.sender_mut().close(GOODBYE).map_err(Error::from);
    [S: blocking::Stream] blocking::Writer<S>, false:
        |call| call; ws => ws.close(GOODBYE);
}

macro_rules! hears {
    ($([$($bounds:tt)*] $type:ty: |$call:ident| $done:expr;)*) => {$(
        impl<$($bounds)*> Hears for $type {
            async fn hear(&mut self) -> Result<Option<OwnedMessage>, Error> {
                persist!({ let $call = self.recv_owned(); $done })
            }
            fn was_clean(&self) -> bool {
                self.closed().is_some_and(|end| end.clean)
            }
        }
    )*};
}

hears! {
    [S: AsyncRead + AsyncWrite + Unpin] on_tokio::WebSocket<S>: |call| call.await;
    [R: AsyncRead + Unpin, W: AsyncWrite + Unpin] on_tokio::Reader<R, W>: |call| call.await;
    [S: blocking::Stream] blocking::WebSocket<S>: |call| call;
    [S: blocking::Stream] blocking::Reader<S>: |call| call;
}

impl<R, W: Says> Says for Halves<R, W> {
    const CORKED: bool = W::CORKED;

    async fn ready(&mut self) -> Result<(), Error> {
        self.1.ready().await
    }
    fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError> {
        self.1.feed(message)
    }
    fn feed_shared(&mut self, payload: Bytes) -> Result<Position, SendError> {
        self.1.feed_shared(payload)
    }
    fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.1.feed_chunk(chunk)
    }
    async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.1.ping(payload).await
    }
    async fn flush(&mut self) -> Result<(), Error> {
        self.1.flush().await
    }
    async fn close(&mut self) -> Result<(), Error> {
        self.1.close().await
    }
    fn is_written(&mut self, position: Position) -> bool {
        self.1.is_written(position)
    }
}

impl<R: Hears, W> Hears for Halves<R, W> {
    async fn hear(&mut self) -> Result<Option<OwnedMessage>, Error> {
        self.0.hear().await
    }
    fn was_clean(&self) -> bool {
        self.0.was_clean()
    }
}

/// The core's own, which does no I/O.
impl Says for &mut Sender {
    const CORKED: bool = true;

    async fn ready(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError> {
        Sender::feed(self, message)
    }
    fn feed_shared(&mut self, payload: Bytes) -> Result<Position, SendError> {
        Sender::feed(self, payload)
    }
    fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        Sender::feed_chunk(self, chunk)
    }
    async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(Sender::ping(self, payload)?)
    }
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(()) // what holds the core takes all
    }
    async fn close(&mut self) -> Result<(), Error> {
        Ok(Sender::close(self, GOODBYE)?)
    }
    fn is_written(&mut self, _: Position) -> bool {
        true
    }
}

/// What was fed, and where it ended.
#[derive(Default)]
pub struct Said {
    pub fed: Vec<OwnedMessage>,
    positions: Vec<Position>,
    /// How many a call has reported as written.
    flushed: usize,
    pub failed: Option<Error>,
    closed: bool,
}

impl Said {
    fn fed(&mut self, message: &OwnedMessage, position: Position) {
        self.fed.push(message.clone());
        self.positions.push(position);
    }

    async fn flush(&mut self, to: &mut impl Says) -> Result<(), Error> {
        to.flush().await?;
        self.flushed = self.fed.len();
        assert!(self.positions.iter().all(|&at| to.is_written(at)), "flushed and not written");
        Ok(())
    }

    /// Says one message, each in another way than the one before.
    pub async fn say(&mut self, to: &mut impl Says, message: &OwnedMessage) {
        if self.failed.is_none() {
            self.failed = self.try_say(to, message).await.err();
        }
    }

    async fn try_say<T: Says>(&mut self, to: &mut T, message: &OwnedMessage) -> Result<(), Error> {
        let i = self.fed.len();
        to.ready().await?;
        match i % 4 {
            0 => {
                let at = to.feed(message)?;
                self.fed(message, at);
                self.flush(to).await
            }
            // Leaves with the next one, but for the Ping, which overtakes it.
            1 => {
                let at = to.feed(message)?;
                self.fed(message, at);
                to.ping(&[i as u8]).await?;
                self.flushed = self.fed.len();
                Ok(())
            }
            2 => {
                let (kind, payload) = (message.as_message().kind(), message.as_bytes());
                let piece = payload.len() / 3 + 1;
                let last = payload.len().div_ceil(piece) - 1;
                for (k, data) in payload.chunks(piece).enumerate() {
                    to.ready().await?;
                    let at = to.feed_chunk(Chunk { kind, first: k == 0, data, last: k == last })?;
                    if k == last {
                        self.fed(message, at);
                    } else if k == 0 {
                        to.ping(b"between").await?;
                    }
                }
                self.flush(to).await
            }
            // Leaves with the next flush, or while something is received.
            _ => {
                let at = match message.as_message().kind() {
                    DataKind::Binary => to.feed_shared(message.clone().into())?,
                    DataKind::Text => to.feed(message)?,
                };
                self.fed(message, at);
                if T::CORKED { Ok(()) } else { self.flush(to).await }
            }
        }
    }

    pub async fn close(&mut self, to: &mut impl Says) {
        if self.failed.is_none() {
            self.failed = to.close().await.err();
            // Otherwise it was the peer who did, and was answered.
            self.closed = !matches!(self.failed, Some(Error::Send(SendError::Closed)));
        }
    }

    pub async fn say_all(&mut self, to: &mut impl Says, part: &Part) {
        let upto = part.closes_after.unwrap_or(part.says.len());
        for message in &part.says[..upto] {
            self.say(to, message).await;
        }
        if part.closes_after.is_some() {
            self.close(to).await;
        } else if self.failed.is_none() {
            self.failed = self.flush(to).await.err();
        }
    }

    pub fn report(
        self,
        to: &mut impl Says,
        heard: Vec<OwnedMessage>,
        end: Result<(), Error>,
        clean: bool,
    ) -> Report {
        // A failed flush may have written some.
        let taken = self.positions.iter().take_while(|&&at| to.is_written(at)).count();
        Report {
            written: taken.max(self.flushed),
            fed: self.fed,
            heard,
            unsaid: self.failed,
            end,
            clean,
            closed_first: self.closed,
            stillborn: false,
        }
    }
}

/// Hears all there is.
pub async fn hear_all(from: &mut impl Hears, heard: &mut Vec<OwnedMessage>) -> Result<(), Error> {
    while let Some(message) = from.hear().await? {
        heard.push(message);
    }
    Ok(())
}

/// One message there, one back; then the Close, and what the other says until its own.
pub async fn take_turns<T: Says + Hears>(ws: &mut T, part: &Part) -> Report {
    let (mut said, mut heard, mut end) = (Said::default(), vec![], None);
    for message in &part.says[..part.closes_after.unwrap_or(part.says.len())] {
        said.say(ws, message).await;
        if end.is_none() && heard.len() < part.hears {
            match ws.hear().await {
                Ok(Some(message)) => heard.push(message),
                Ok(None) => end = Some(Ok(())),
                Err(error) => end = Some(Err(error)),
            }
        }
    }
    if end.is_none() && part.closes_after.is_some() {
        said.close(ws).await;
    }
    let end = match end {
        Some(end) => end,
        None => hear_all(ws, &mut heard).await,
    };
    let clean = ws.was_clean();
    let report = said.report(ws, heard, end, clean);
    // Whatever is called now returns as well, and hears nothing more.
    assert!(!matches!(ws.hear().await, Ok(Some(_))));
    let _ = ws.flush().await;
    let _ = Says::ready(ws).await;
    report
}

/// Both at the same time.
pub async fn talk_over<R: Hears, W: Says>(ws: &mut Halves<R, W>, part: &Part) -> Report {
    let Halves(reader, writer) = ws;
    let (mut said, mut heard) = (Said::default(), vec![]);
    let ((), end) = tokio::join!(said.say_all(writer, part), hear_all(reader, &mut heard));
    let clean = reader.was_clean();
    said.report(writer, heard, end, clean)
}

/// The same in two threads.
pub fn talk_over_in_threads<S>(
    ws: Halves<blocking::Reader<S>, blocking::Writer<S>>,
    part: &Part,
) -> Report
where
    S: blocking::Stream + Send,
{
    let Halves(mut reader, mut writer) = ws;
    std::thread::scope(|scope| {
        let saying = scope.spawn(move || {
            let mut said = Said::default();
            at_once(said.say_all(&mut writer, part));
            (said, writer)
        });
        let mut heard = vec![];
        let end = at_once(hear_all(&mut reader, &mut heard));
        let clean = reader.closed().is_some_and(|end| end.clean);
        let (said, mut writer) = saying.join().unwrap();
        said.report(&mut writer, heard, end, clean)
    })
}

/// Runs a future that never waits.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}
