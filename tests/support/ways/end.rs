//! One end of a connection, whoever drives it, whole or split: each call waits as long as it takes.
use crate::{
    support::{talk::WithSender as _, wire::Seen},
    ways::line::{How, Line},
};
use async_io::{Async, Timer};
use futures_util::{
    AsyncReadExt,
    io::{ReadHalf, WriteHalf},
};
use std::{
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    sync::LazyLock,
    time::{Duration, Instant},
};
use tickwire::{
    Chunk, CloseFrame, Config, Connection, DataKind, Error, Event, Info, Message, OwnedMessage,
    Position, RecvError, RoundTrip, SendError, blocking, futures_io as smol,
    handshake::{
        HandshakeError,
        client::Request,
        server::{Accept, Rejection},
    },
    tokio as on_tokio,
};
use tokio::runtime::Runtime;

type Received = Result<Option<Seen>, Error>;

fn event(event: Option<Event<'_>>) -> Option<Seen> {
    event.map(Seen::from)
}

fn message(message: Option<Message<'_>>) -> Option<Seen> {
    event(message.map(Event::Message))
}

fn owned(message: Option<OwnedMessage>) -> Option<Seen> {
    message.map(|message| Event::Message(Message::from(&message)).into())
}

/// A call of the half that sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Ready,
    Flush,
    Close,
    Leave(Duration),
}

macro_rules! make {
    ($call:ident of $tx:expr, $run:ident) => {
        match $call {
            Call::Ready => $run!($tx.ready()),
            Call::Flush => $run!($tx.flush()),
            Call::Close => $run!($tx.close(None)),
            Call::Leave(within) => $run!($tx.leave(None, within)),
        }
    };
}

pub(crate) trait End: Sized {
    /// What was fed leaves while this end receives.
    const WHOLE: bool;

    // How it comes about.
    fn join(io: UnixStream, how: How, conn: Connection) -> Self;
    fn accept(io: UnixStream, how: How, config: &Config) -> Result<Self, Error>;
    fn client(io: UnixStream, how: How, request: &Request, config: &Config) -> Result<Self, Error>;
    /// The status, and the header X-Region.
    fn accept_with(io: UnixStream, config: &Config, accept: Accept<'_>) -> Result<Self, Error>;
    fn accept_corked(io: UnixStream, config: &Config) -> Result<Self, Error>;
    fn reject(io: UnixStream, config: &Config, rejection: Rejection) -> Result<(), Error>;
    /// Answers with this what `read_any` says is not a good request.
    fn answer(io: UnixStream, config: &Config, with: Rejection) -> Result<HandshakeError, Error>;

    // Receiving.
    fn recv(&mut self) -> Received;
    fn recv_owned(&mut self) -> Received;
    fn recv_info(&mut self) -> Result<Option<(Seen, Info)>, Error>;
    fn event(&mut self) -> Received;
    fn chunk(&mut self) -> Received;
    /// Gives up after this long: `None`.
    fn recv_for(&mut self, limit: Duration) -> Option<Received>;
    /// Answers each message with itself, to the end.
    fn echo(&mut self) -> Result<(), Error>;

    // Sending.
    fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError>;
    fn feed_bytes(&mut self, payload: bytes::Bytes) -> Result<Position, SendError>;
    fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError>;
    fn flush(&mut self) -> Result<(), Error>;
    fn flush_for(&mut self, limit: Duration) -> Option<Result<(), Error>>;
    fn ready(&mut self) -> Result<(), Error>;
    fn ready_for(&mut self, limit: Duration) -> Option<Result<(), Error>>;
    fn send(&mut self, message: &OwnedMessage) -> Result<(), Error>;
    fn ping(&mut self, payload: &[u8]) -> Result<(), Error>;
    fn measure_rtt(&mut self) -> Result<(), Error>;
    /// Closes and receives to the end.
    fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error>;
    fn feed_close(&mut self) -> Result<(), SendError>;
    /// `leave` of the half that receives.
    fn leave(&mut self, frame: CloseFrame<'_>, within: Duration) -> Result<(), Error>;
    /// `leave` of the half that sends.
    fn leave_sending(&mut self, frame: CloseFrame<'_>, within: Duration) -> Result<(), Error>;
    /// `leave` of the half that receives, while the other half waits in `call`: what that returns.
    fn leave_beside(&mut self, call: Call, within: Duration) -> Result<(), Error>;
    fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError>;
    /// Sends all this, and receives as many messages meanwhile.
    fn both(&mut self, out: &[OwnedMessage], count: usize) -> Result<Vec<Seen>, Error>;

    // What is known.
    fn fed(&mut self) -> Position;
    fn is_written(&mut self, position: Position) -> bool;
    fn buffered_amount(&mut self) -> usize;
    fn was_clean(&self) -> bool;
    fn close_code(&self) -> u16;
    fn sent_code(&self) -> u16;
    fn close_frame(&self) -> Option<(u16, String)>;
    fn closed_by(&self) -> Option<RecvError>;
    /// The message that the end cut off.
    fn cut(&self) -> Option<DataKind>;
    fn rtt(&mut self) -> Option<RoundTrip>;
}

// How a call is run, and given up.

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

/// A runtime is compiled once for each `T`, and not for each future.
fn wait_on_tokio<T>(future: Pin<&mut dyn Future<Output = T>>) -> T {
    RUNTIME.block_on(future)
}

fn wait_on_smol<T>(future: Pin<&mut dyn Future<Output = T>>) -> T {
    async_io::block_on(future)
}

macro_rules! run_tokio {
    ($call:expr) => {
        wait_on_tokio(pin!($call.into_future()))
    };
}

macro_rules! run_smol {
    ($call:expr) => {
        wait_on_smol(pin!($call.into_future()))
    };
}

macro_rules! run_thread {
    ($call:expr) => {
        $call
    };
}

macro_rules! within_tokio {
    ($limit:ident, $ws:expr, $setter:ident, $call:ident) => {
        wait_on_tokio(pin!(async { tokio::time::timeout($limit, $ws.$call()).await.ok() }))
    };
}

macro_rules! within_smol {
    ($limit:ident, $ws:expr, $setter:ident, $call:ident) => {
        wait_on_smol(pin!(async {
            let (call, timer) = (pin!($ws.$call()), Timer::after($limit));
            match futures_util::future::select(call, timer).await {
                futures_util::future::Either::Left((done, _)) => Some(done),
                futures_util::future::Either::Right(_) => None,
            }
        }))
    };
}

macro_rules! within_thread {
    ($limit:ident, $ws:expr, $setter:ident, $call:ident) => {{
        $ws.$setter(Some($limit)).unwrap();
        let done = $ws.$call();
        $ws.$setter(None).unwrap();
        match done {
            Err(Error::WouldBlock) => None,
            done => Some(done),
        }
    }};
}

// How a message is answered, and what both halves do at the same time.

macro_rules! echo_whole {
    ($this:ident, $run:ident) => {
        while let Some(received) = $run!($this.0.recv_to_reply())? {
            let _ = received.sender.feed(received.message)?;
        }
    };
}

macro_rules! echo_split {
    ($this:ident, $run:ident) => {
        while let Some(message) = $run!($this.0.recv_owned())? {
            $run!($this.1.send(&message))?;
        }
    };
}

macro_rules! both_whole {
    ($this:ident, $run:ident, $out:ident, $count:ident) => {{
        for message in $out {
            let _ = $this.0.feed(message)?;
        }
        let mut got = vec![];
        while got.len() < $count {
            got.extend($this.recv()?);
        }
        $run!($this.0.flush())?;
        Ok(got)
    }};
}

macro_rules! both_split {
    ($this:ident, $run:ident, $out:ident, $count:ident) => {{
        let Self(reader, writer) = $this;
        std::thread::scope(|scope| {
            let say =
                scope.spawn(|| $out.iter().try_for_each(|message| $run!(writer.send(message))));
            let mut got = vec![];
            while got.len() < $count {
                got.extend(owned($run!(reader.recv_owned())?));
            }
            say.join().unwrap().and(Ok(got))
        })
    }};
}

// How one half leaves while the other waits.

macro_rules! beside_whole {
    ($this:ident, $run:ident, $call:ident, $within:ident) => {{
        $run!($this.0.leave(None, $within))?;
        make!($call of $this.0, $run)
    }};
}

macro_rules! beside_split {
    ($this:ident, $run:ident, $call:ident, $within:ident) => {{
        let Self(reader, writer) = $this;
        std::thread::scope(|scope| {
            // Most likely, the writer waits before the reader leaves, or leaves after it.
            let pause = Duration::from_millis(20);
            let waits = scope.spawn(move || {
                if let Call::Leave(_) = $call {
                    std::thread::sleep(2 * pause);
                }
                make!($call of writer, $run)
            });
            std::thread::sleep(pause);
            $run!(reader.leave(None, $within))?;
            waits.join().unwrap()
        })
    }};
}

macro_rules! end {
    (
        $name:ident($($part:ty),+): $adapter:ident::WebSocket<$($of:ty),+>, $whole:literal,
        split: |$ws:ident| $shape:expr, sender: $tx:tt, stream: |$io:ident| $stream:expr,
        timers: [$($timers:expr)?], $run:ident, $within:ident, $echo:ident, $both:ident,
        $beside:ident
    ) => {
        pub(crate) struct $name($($part),+);

        impl $name {
            fn new($ws: $adapter::WebSocket<$($of),+>) -> Self {
                $shape
            }
        }

        impl End for $name {
            const WHOLE: bool = $whole;

            fn join($io: UnixStream, how: How, conn: Connection) -> Self {
                let io = Line::new($stream, how);
                Self::new($adapter::WebSocket::from_parts(io, $($timers,)? conn))
            }
            fn accept($io: UnixStream, how: How, config: &Config) -> Result<Self, Error> {
                let io = Line::new($stream, how);
                $run!($adapter::accept(io, $($timers,)? config)).map(Self::new)
            }
            fn client(
                $io: UnixStream,
                how: How,
                request: &Request,
                config: &Config,
            ) -> Result<Self, Error> {
                let io = Line::new($stream, how);
                $run!($adapter::client(io, $($timers,)? request, config)).map(Self::new)
            }
            fn accept_with(
                $io: UnixStream,
                config: &Config,
                accept: Accept<'_>,
            ) -> Result<Self, Error> {
                let io = Line::new($stream, How::PLAIN);
                let incoming = $run!($adapter::Incoming::read(io, $($timers,)? config))?;
                $run!(incoming.accept(accept)).map(Self::new)
            }
            fn accept_corked($io: UnixStream, config: &Config) -> Result<Self, Error> {
                let io = Line::new($stream, How::PLAIN);
                let incoming = $run!($adapter::Incoming::read(io, $($timers,)? config))?;
                incoming.accept_corked(Accept::default()).map(Self::new)
            }
            fn reject($io: UnixStream, config: &Config, rejection: Rejection) -> Result<(), Error> {
                let io = Line::new($stream, How::PLAIN);
                let incoming = $run!($adapter::Incoming::read(io, $($timers,)? config))?;
                $run!(incoming.reject(rejection))
            }
            fn answer(
                $io: UnixStream,
                config: &Config,
                with: Rejection,
            ) -> Result<HandshakeError, Error> {
                let io = Line::new($stream, How::PLAIN);
                let incoming = $run!($adapter::Incoming::read_any(io, $($timers,)? config))?;
                let error = incoming.error().unwrap();
                $run!(incoming.reject(with))?;
                Ok(error)
            }

            fn recv(&mut self) -> Received {
                Ok(message($run!(self.0.recv())?))
            }
            fn recv_owned(&mut self) -> Received {
                Ok(owned($run!(self.0.recv_owned())?))
            }
            fn recv_info(&mut self) -> Result<Option<(Seen, Info)>, Error> {
                let got = $run!(self.0.recv_with_info())?;
                Ok(got.map(|(message, info)| (Event::Message(message).into(), info)))
            }
            fn event(&mut self) -> Received {
                Ok(event($run!(self.0.recv_event())?))
            }
            fn chunk(&mut self) -> Received {
                let chunk = $run!(self.0.recv_chunk())?;
                Ok(chunk.map(|chunk| Seen::Chunk(chunk.kind, chunk.data.into(), chunk.last)))
            }
            fn recv_for(&mut self, limit: Duration) -> Option<Received> {
                let done = $within!(limit, self.0, set_read_timeout, recv_owned);
                done.map(|done| done.map(owned))
            }
            fn echo(&mut self) -> Result<(), Error> {
                $echo!(self, $run);
                Ok(())
            }

            fn feed(&mut self, message: &OwnedMessage) -> Result<Position, SendError> {
                self.$tx.feed(message)
            }
            fn feed_bytes(&mut self, payload: bytes::Bytes) -> Result<Position, SendError> {
                self.$tx.feed(payload)
            }
            fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
                self.$tx.with_sender(|tx| tx.feed_chunk(chunk))
            }
            fn flush(&mut self) -> Result<(), Error> {
                $run!(self.$tx.flush())
            }
            fn flush_for(&mut self, limit: Duration) -> Option<Result<(), Error>> {
                $within!(limit, self.$tx, set_write_timeout, flush)
            }
            fn ready(&mut self) -> Result<(), Error> {
                $run!(self.$tx.ready())
            }
            fn ready_for(&mut self, limit: Duration) -> Option<Result<(), Error>> {
                $within!(limit, self.$tx, set_write_timeout, ready)
            }
            fn send(&mut self, message: &OwnedMessage) -> Result<(), Error> {
                $run!(self.$tx.send(message))
            }
            fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
                self.$tx.with_sender(|tx| tx.ping(payload))?;
                self.flush()
            }
            fn measure_rtt(&mut self) -> Result<(), Error> {
                self.$tx.measure_rtt()?;
                self.flush()
            }
            fn feed_close(&mut self) -> Result<(), SendError> {
                self.$tx.with_sender(|tx| tx.close(None))
            }
            fn leave(&mut self, frame: CloseFrame<'_>, within: Duration) -> Result<(), Error> {
                $run!(self.0.leave(frame, within))
            }
            fn leave_sending(
                &mut self,
                frame: CloseFrame<'_>,
                within: Duration,
            ) -> Result<(), Error> {
                $run!(self.$tx.leave(frame, within))
            }
            fn leave_beside(&mut self, call: Call, within: Duration) -> Result<(), Error> {
                $beside!(self, $run, call, within)
            }
            fn close(&mut self, frame: CloseFrame<'_>) -> Result<(), Error> {
                $run!(self.$tx.close(frame))?;
                while self.recv()?.is_some() {}
                Ok(())
            }
            fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError> {
                self.0.fail(frame)
            }
            fn both(&mut self, out: &[OwnedMessage], count: usize) -> Result<Vec<Seen>, Error> {
                $both!(self, $run, out, count)
            }

            fn fed(&mut self) -> Position {
                self.$tx.with_sender(|tx| tx.fed())
            }
            fn is_written(&mut self, position: Position) -> bool {
                self.$tx.is_written(position)
            }
            fn buffered_amount(&mut self) -> usize {
                self.$tx.buffered_amount()
            }
            fn was_clean(&self) -> bool {
                self.0.closed().is_some_and(|end| end.clean)
            }
            fn close_code(&self) -> u16 {
                self.0.closed().map_or(1006, |end| end.code)
            }
            fn sent_code(&self) -> u16 {
                self.0.closed().map_or(1006, |end| end.sent_code)
            }
            fn close_frame(&self) -> Option<(u16, String)> {
                self.0.closed().map(|end| (end.code, end.reason.into()))
            }
            fn closed_by(&self) -> Option<RecvError> {
                self.0.closed().and_then(|end| end.error)
            }
            fn cut(&self) -> Option<DataKind> {
                self.0.closed().and_then(|end| end.cut)
            }
            fn rtt(&mut self) -> Option<RoundTrip> {
                self.$tx.with_sender(|tx| tx.rtt())
            }
        }
    };
}

type OnTokio = Line<tokio::net::UnixStream>;
type OnSmol = Line<async_net::unix::UnixStream>;
type OnThreads = Line<UnixStream>;
pub(crate) type Timers = fn(Instant) -> Timer;

pub(crate) fn of_tokio(io: UnixStream) -> tokio::net::UnixStream {
    let _here = RUNTIME.enter();
    io.set_nonblocking(true).unwrap();
    tokio::net::UnixStream::from_std(io).unwrap()
}

pub(crate) fn of_smol(io: UnixStream) -> async_net::unix::UnixStream {
    Async::new(io).unwrap().into()
}

end! {
    Tokio(on_tokio::WebSocket<OnTokio>): on_tokio::WebSocket<OnTokio>, true,
    split: |ws| Self(ws), sender: 0, stream: |io| of_tokio(io), timers: [],
    run_tokio, within_tokio, echo_whole, both_whole, beside_whole
}

end! {
    TokioSplit(
        on_tokio::Reader<tokio::io::ReadHalf<OnTokio>, tokio::io::WriteHalf<OnTokio>>,
        on_tokio::Writer<tokio::io::WriteHalf<OnTokio>>
    ): on_tokio::WebSocket<OnTokio>, false,
    split: |ws| {
        let (reader, writer) = ws.into_split();
        Self(reader, writer)
    },
    sender: 1, stream: |io| of_tokio(io), timers: [],
    run_tokio, within_tokio, echo_split, both_split, beside_split
}

end! {
    FuturesIo(smol::WebSocket<OnSmol, Timers>): smol::WebSocket<OnSmol, Timers>, true,
    split: |ws| Self(ws), sender: 0, stream: |io| of_smol(io),
    timers: [Timer::at as Timers], run_smol, within_smol, echo_whole, both_whole, beside_whole
}

end! {
    FuturesIoSplit(
        smol::Reader<ReadHalf<OnSmol>, WriteHalf<OnSmol>, Timers>,
        smol::Writer<WriteHalf<OnSmol>, Timers>
    ): smol::WebSocket<OnSmol, Timers>, false,
    split: |ws| {
        let (reader, writer) = ws.into_split_with(AsyncReadExt::split);
        Self(reader, writer)
    },
    sender: 1, stream: |io| of_smol(io),
    timers: [Timer::at as Timers], run_smol, within_smol, echo_split, both_split, beside_split
}

end! {
    Blocking(blocking::WebSocket<OnThreads>): blocking::WebSocket<OnThreads>, true,
    split: |ws| Self(ws), sender: 0, stream: |io| io, timers: [],
    run_thread, within_thread, echo_whole, both_whole, beside_whole
}

end! {
    BlockingSplit(blocking::Reader<OnThreads>, blocking::Writer<OnThreads>):
        blocking::WebSocket<OnThreads>, false,
    split: |ws| {
        let (reader, writer) = ws.into_split().unwrap();
        Self(reader, writer)
    },
    sender: 1, stream: |io| io, timers: [],
    run_thread, within_thread, echo_split, both_split, beside_split
}
