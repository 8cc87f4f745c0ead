//! The adapters over a stream in memory, whole and split.
use super::table::{
    calls::{self, borrowed, closed, error, frame, heard, message, piece, whole},
    is_answered,
    pipe::{FLOWS, Flow, Pipe},
    returns::{Form, PROFILES, Profile, Receives, Sends, Value, by, waiting},
};
use super::{AGREED, Chunk, End, Held, ROLES, Seen, inflate, made_with, sized};
use std::{
    io::{self, IoSlice, Read, Write},
    time::Duration,
};
use testkit::sampled;
use tickwire::{Connection, Error, SendError, Sender, Time};
use wsconform_cases::protocol::{Call, Event};

const HOUR: Duration = Duration::from_secs(3600);

/// What a call returned. None: it waits.
type Returned<T> = Option<Result<T, Error>>;

/// The calls of an adapter.
pub(super) trait Adapter {
    /// By which names `carriers.txt` knows it.
    const ROWS: &'static [&'static str];
    fn next(&mut self, by: Receives) -> Returned<Option<Value>>;
    /// The calls of the `Sender`, and what makes them leave.
    fn with_sender(
        &mut self,
        call: impl FnOnce(&mut Sender) -> Result<(), SendError>,
    ) -> Returned<()>;
    fn send(&mut self, call: &Call, by: Sends) -> Returned<()>;
    /// A Ping, Pong or Close by the `Sink` of `Events`.
    fn sink(&mut self, _: &Event, _: &Call) -> Returned<()> {
        unreachable!("it has no sink")
    }
    fn close(&mut self, call: &Call) -> Returned<()>;
    fn leave(&mut self, call: &Call) -> Returned<()>;
    fn fail(&mut self, call: &Call) -> Result<(), SendError>;
    fn closed(&self) -> Option<tickwire::Closed<'_>>;
    /// Drops one of its halves.
    fn drop_half(&mut self, _: &Event) {
        unreachable!("it is whole");
    }
}

/// An adapter over a pipe.
pub(super) struct Piped<A> {
    adapter: A,
    pipe: Pipe,
    /// The application goes on with this call, a `close` or `leave`.
    waits: Option<(bool, Call)>,
    /// The sink has refused what the `Sender` then took.
    sink_refused: bool,
    over: bool,
}

impl<A> Piped<A> {
    pub(super) fn new(flow: Flow, make: impl FnOnce(Pipe) -> A) -> Self {
        let pipe = Pipe::new(flow);
        Self { adapter: make(pipe.clone()), pipe, waits: None, sink_refused: false, over: false }
    }
}

impl<A: Adapter> Piped<A> {
    fn call(&mut self, event: &Event, call: &Call, chunk: Chunk, profile: Profile) -> Returned<()> {
        let sends = profile.sends;
        let closes = ["close", "close 1010", "close too long"].contains(&event.kind);
        let of_sender = matches!(sends, Sends::Sender(_)) || event.name == "abort";
        match event.kind {
            "drop sending" | "drop receiving" => {
                self.adapter.drop_half(event);
                Some(Ok(()))
            }
            "fail" => Some(self.adapter.fail(call).map_err(Error::from)),
            "leave" => self.wait(true, call, profile),
            "send" if !of_sender => {
                let sent = self.adapter.send(call, sends);
                self.written(sent)
            }
            "send Ping" | "send Pong" | "control too long" | "write fails"
                if sends == Sends::Events =>
            {
                let sunk = self.adapter.sink(event, call);
                if !matches!(sunk, Some(Err(Error::Send(SendError::Closed)))) {
                    return self.written(sunk);
                }
                // Behind our Close only the `Sender` takes control frames.
                let sent = self.adapter.with_sender(|tx| {
                    calls::send(tx, Time::ZERO, event, call, chunk, Form::Borrowed)
                });
                self.sink_refused = matches!(sent, Some(Ok(())));
                sent
            }
            _ if closes && !of_sender && sends == Sends::Events => {
                let sunk = self.adapter.sink(event, call);
                self.written(sunk)
            }
            _ if closes && !of_sender => self.wait(false, call, profile),
            _ => self
                .adapter
                .with_sender(|tx| calls::send(tx, Time::ZERO, event, call, chunk, Form::Borrowed)),
        }
    }

    fn wait(&mut self, leaves: bool, call: &Call, profile: Profile) -> Returned<()> {
        let returned = if leaves { self.adapter.leave(call) } else { self.adapter.close(call) };
        if returned.is_none() && profile.waits {
            self.waits = Some((leaves, call.clone()));
        }
        self.written(returned)
    }

    /// What this call has returned, if it has written what it queued: a receiving call writes too,
    /// and would hide that it has not.
    fn written(&mut self, returned: Returned<()>) -> Returned<()> {
        let mut unwritten = false;
        let _ = self.adapter.with_sender(|tx| {
            unwritten = tx.has_outgoing();
            Ok(())
        });
        match returned {
            Some(Err(failed)) => Some(Err(failed)),
            _ if unwritten => Some(Err(Error::WouldBlock)),
            returned => returned,
        }
    }
}

impl<A: Adapter> End for Piped<A> {
    fn arrives(&mut self, bytes: &[u8]) {
        self.pipe.arrives(bytes);
    }

    fn ends(&mut self, reset: bool) {
        self.pipe.lock().end = Some(reset);
    }

    fn calls(
        &mut self,
        event: &Event,
        call: &Call,
        chunk: Chunk,
        profile: Profile,
    ) -> Result<(), &'static str> {
        self.waits = None;
        let fails = event.kind == "write fails" && self.adapter.closed().is_none();
        self.pipe.lock().refuses |= fails;
        let result = self.call(event, call, chunk, profile).unwrap_or(Ok(()));
        if fails && matches!(result, Err(Error::Send(_))) {
            self.pipe.lock().refuses = false; // nothing was to be written
        }
        result.map_err(|failed| error(&failed))
    }

    fn is_cut(&self) -> bool {
        self.pipe.lock().flow == Flow::Reads
    }

    fn is_joined(&self) -> bool {
        self.pipe.lock().flow == Flow::Joined
    }

    fn refuses(&mut self) {
        self.pipe.lock().refuses = true;
    }

    fn settle(&mut self, profile: Profile, seen: &mut Seen) {
        if std::mem::take(&mut self.sink_refused) {
            seen.values.push(Value::Returned(Err("closed")));
        }
        while let Some((leaves, call)) = &self.waits {
            let returned =
                if *leaves { self.adapter.leave(call) } else { self.adapter.close(call) };
            let Some(returned) = returned else { break };
            seen.values.push(Value::Returned(returned.map_err(|failed| error(&failed))));
            self.waits = None;
        }
        while !self.over && self.waits.is_none() {
            match self.adapter.next(profile.receives) {
                None => break,
                Some(Ok(Some(value))) => seen.values.push(value),
                Some(end) => {
                    let end = end.map(drop).map_err(|failed| error(&failed));
                    seen.values.push(Value::Over(end));
                    self.over = true;
                    seen.dropped = true;
                }
            }
        }
        if !self.over && self.pipe.is_dropped() {
            self.over = true;
            seen.dropped = true;
        }
        let mut state = self.pipe.lock();
        seen.wire.append(&mut state.wire);
        seen.fin = std::mem::take(&mut state.shut);
        seen.closed = self.adapter.closed().as_ref().map(closed);
    }
}

/// Holds an adapter in both roles.
fn hold<A: Adapter>(
    (name, carrier): (&str, usize),
    profiles: [Profile; 8],
    real_time: bool,
    turns: usize,
    make: impl Fn(Pipe, Connection) -> A + Sync,
) {
    for role in ROLES {
        for &agreed in AGREED {
            let held = Held::new(name, profiles, (role, agreed), inflate);
            let held =
                Held { real_time, carrier, turns: (0, turns), changes: A::ROWS.is_empty(), ..held };
            let held = match A::ROWS {
                // The three adapters share the words of `cargo test`.
                ["halves"] => Held {
                    may: is_answered,
                    rows: A::ROWS,
                    turns: (carrier / 2 % turns, turns),
                    ..held
                },
                _ if turns == 1 => Held { rows: &["joined"], ..held },
                _ => held,
            };
            held.hold(|number| {
                let conn = made_with(role, agreed, sized(number));
                Piped::new(FLOWS[number / PROFILES % FLOWS.len()], |pipe| make(pipe, conn))
            });
        }
    }
}

/// A half is None once it is dropped. Then its calls cannot be made: the table has them refused.
type Halves<R, W> = (Option<R>, Option<W>);

/// What a receiving call that has a name returns. `$waits` makes None of a call that has to wait,
/// `$others` makes the calls of a task.
macro_rules! receive {
    ($from:expr, $by:expr, $waits:ident, $others:expr) => {
        match $by {
            Receives::Recv => $waits($from.recv()).map(|got| got.map(|it| it.map(whole))),
            Receives::Owned => {
                $waits($from.recv_owned()).map(|got| got.map(|it| it.map(|it| whole((&it).into()))))
            }
            Receives::ToReply => $waits($from.recv_to_reply())
                .map(|got| got.map(|it| it.map(|received| whole(received.message)))),
            Receives::Chunk => $waits($from.recv_chunk()).map(|got| got.map(|it| it.map(piece))),
            Receives::Event => $waits($from.recv_event())
                .map(|got| got.map(|it| it.map(|event| Value::Got(heard(event))))),
            by => $others(by),
        }
    };
}

/// What sends a message. `$others` has the sinks of a task.
macro_rules! deliver {
    ($to:expr, $call:expr, $by:expr, $waits:ident, $others:expr) => {
        match $by {
            Sends::Send(form) => $waits($to.send(message($call, form))),
            Sends::Feed | Sends::Ready => {
                let behind_ready = $by == Sends::Ready;
                let form = if behind_ready { Form::Owned } else { Form::Borrowed };
                let ready = if behind_ready { $waits($to.ready()) } else { Some(Ok(())) };
                match ready {
                    Some(Ok(())) => match $to.feed(message($call, form)) {
                        Ok(_) => $waits($to.flush()),
                        Err(refused) => Some(Err(refused.into())),
                    },
                    other => other,
                }
            }
            by => $others(by),
        }
    };
}

/// The calls of the halves.
macro_rules! halves {
    ($Reader:ty, $Writer:ty, $waits:ident, $read:expr, $write:expr, $sink:expr) => {
        impl Adapter for Halves<$Reader, $Writer> {
            const ROWS: &'static [&'static str] = &["halves"];

            fn next(&mut self, by: Receives) -> Returned<Option<Value>> {
                let reader = self.0.as_mut()?;
                receive!(reader.inner(), by, $waits, |by| $read(reader, by))
            }

            fn with_sender(
                &mut self,
                call: impl FnOnce(&mut Sender) -> Result<(), SendError>,
            ) -> Returned<()> {
                let Some(writer) = &mut self.1 else { return Some(Err(SendError::Closed.into())) };
                let sent = writer.inner().with_sender(call);
                let _ = $waits(writer.inner().flush()); // `send` and `sink` look at what it returns
                Some(sent.map_err(Error::from))
            }

            fn send(&mut self, call: &Call, by: Sends) -> Returned<()> {
                let Some(writer) = &mut self.1 else { return Some(Err(SendError::Closed.into())) };
                deliver!(writer.inner(), call, by, $waits, |_| $write(writer, call, by))
            }

            fn sink(&mut self, event: &Event, call: &Call) -> Returned<()> {
                let Some(writer) = &mut self.1 else { return Some(Err(SendError::Closed.into())) };
                $sink(writer, event, call)
            }

            fn close(&mut self, call: &Call) -> Returned<()> {
                let Some(writer) = &mut self.1 else { return Some(Err(SendError::Closed.into())) };
                $waits(writer.inner().close(frame(call)))
            }

            fn leave(&mut self, call: &Call) -> Returned<()> {
                match self {
                    (_, Some(writer)) => $waits(writer.inner().leave(frame(call), HOUR)),
                    (Some(reader), None) => $waits(reader.inner().leave(frame(call), HOUR)),
                    (None, None) => Some(Ok(())),
                }
            }

            fn fail(&mut self, call: &Call) -> Result<(), SendError> {
                let reader = self.0.as_mut().ok_or(SendError::Closed)?;
                reader.inner().fail(frame(call).unwrap())
            }

            fn closed(&self) -> Option<tickwire::Closed<'_>> {
                self.0.as_ref()?.seen().closed()
            }

            fn drop_half(&mut self, event: &Event) {
                match event.kind {
                    "drop sending" => self.1 = None,
                    _ => self.0 = None,
                }
            }
        }
    };
}

/// The calls of a whole one.
macro_rules! whole {
    ($Whole:ty, $waits:ident, $read:expr, $write:expr, $sink:expr) => {
        impl Adapter for $Whole {
            const ROWS: &'static [&'static str] = &[];

            fn next(&mut self, by: Receives) -> Returned<Option<Value>> {
                receive!(self.inner(), by, $waits, |by| $read(self, by))
            }

            fn with_sender(
                &mut self,
                call: impl FnOnce(&mut Sender) -> Result<(), SendError>,
            ) -> Returned<()> {
                Some(call(self.inner().sender_mut()).map_err(Error::from))
            }

            fn send(&mut self, call: &Call, by: Sends) -> Returned<()> {
                deliver!(self.inner(), call, by, $waits, |_| $write(self, call, by))
            }

            fn sink(&mut self, event: &Event, call: &Call) -> Returned<()> {
                $sink(self, event, call)
            }

            fn close(&mut self, call: &Call) -> Returned<()> {
                $waits(self.inner().close(frame(call)))
            }

            fn leave(&mut self, call: &Call) -> Returned<()> {
                $waits(self.inner().leave(frame(call), HOUR))
            }

            fn fail(&mut self, call: &Call) -> Result<(), SendError> {
                self.inner().fail(frame(call).unwrap())
            }

            fn closed(&self) -> Option<tickwire::Closed<'_>> {
                self.seen().closed()
            }
        }
    };
}

/// What an adapter is inside of what the test needs of it.
trait Inner {
    type Adapter;
    fn inner(&mut self) -> &mut Self::Adapter;
    fn seen(&self) -> &Self::Adapter;
}

mod on_threads {
    use super::*;
    use tickwire::blocking::{Interest, Reader, Stream, WebSocket, Writer};

    impl Read for Pipe {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.try_read(to)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Pipe::write(self, bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Pipe::flush(self)
        }
    }

    impl Stream for Pipe {
        fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            Pipe::read(self, to).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
        }

        fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut taken = 0;
            for buf in bufs {
                let n = Pipe::write(self, buf)?;
                taken += n;
                if n < buf.len() {
                    break;
                }
            }
            Ok(taken)
        }

        fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
            match timeout {
                Some(Duration::ZERO) => Ok(()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            }
        }

        fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }

        fn shutdown(&mut self) -> io::Result<()> {
            self.shut();
            Ok(())
        }

        fn try_clone(&self) -> io::Result<Self> {
            Ok(self.clone())
        }
    }

    fn unless_it_waits<T>(result: Result<T, Error>) -> Option<Result<T, Error>> {
        (!matches!(result, Err(Error::WouldBlock))).then_some(result)
    }

    /// No call of a thread is that of a task.
    macro_rules! plain {
        ($($Type:ty)*) => {
            $(impl Inner for $Type {
                type Adapter = Self;

                fn inner(&mut self) -> &mut Self {
                    self
                }

                fn seen(&self) -> &Self {
                    self
                }
            })*
        };
    }
    plain!(WebSocket<Pipe> Reader<Pipe> Writer<Pipe>);

    fn no<A, B, C>(_: A, _: B, _: C) -> Returned<()> {
        unreachable!("no thread has this call")
    }

    fn none<A>(_: A, _: Receives) -> Returned<Option<Value>> {
        unreachable!("no thread has this call")
    }

    whole!(WebSocket<Pipe>, unless_it_waits, none, no, no);
    halves!(Reader<Pipe>, Writer<Pipe>, unless_it_waits, none, no, no);

    const USES: [Profile; PROFILES] = [
        by(Receives::Recv, Sends::Send(Form::Borrowed)),
        waiting(Receives::Event, Sends::Sender(Form::Borrowed)),
        by(Receives::Owned, Sends::Feed),
        waiting(Receives::ToReply, Sends::Send(Form::Prepared)),
        waiting(Receives::Chunk, Sends::Send(Form::Borrowed)),
        by(Receives::Recv, Sends::Ready),
        waiting(Receives::Event, Sends::Feed),
        by(Receives::Owned, Sends::Sender(Form::Borrowed)),
    ];

    #[test]
    fn blocking_is_the_table() {
        hold(("blocking", 0), USES, true, 1, WebSocket::from_parts);
    }

    #[test]
    fn blocking_in_halves_is_the_table() {
        hold(("blocking, split", 1), USES, true, sampled(1, 3), |pipe, conn| {
            let (reader, writer) = WebSocket::from_parts(pipe, conn).into_split().unwrap();
            (Some(reader), Some(writer))
        });
    }
}

// Two of the profiles are the streams and sinks of `futures`.
#[cfg(all(feature = "tokio", feature = "futures"))]
mod in_tasks {
    use super::*;
    use crate::support::polled::{Polled, polled};
    use futures_core::Stream;
    use futures_sink::Sink;
    use std::{
        future::poll_fn,
        pin::{Pin, pin},
        sync::LazyLock,
        task::{Context, Poll, Waker},
    };
    use tickwire::{Events, OwnedCloseFrame, OwnedEvent, OwnedMessage};
    use tokio::{io::ReadBuf, runtime::Runtime};

    polled!(tokio: Pipe);
    polled!(futures: Pipe);
    impl Polled for Pipe {
        fn poll_read(&mut self, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match Pipe::read(self, to.initialize_unfilled()) {
                None => Poll::Pending,
                Some(result) => Poll::Ready(result.map(|n| to.advance(n))),
            }
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Pipe::write(self, bytes))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Pipe::flush(self))
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut();
            Poll::Ready(Ok(()))
        }
    }

    /// Its clock stands still.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    });

    /// Polls it once.
    fn once<T>(future: impl Future<Output = T>) -> Option<T> {
        let _inside = RUNTIME.enter();
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    impl<S> Inner for Events<S> {
        type Adapter = S;

        fn inner(&mut self) -> &mut S {
            &mut self.0
        }

        fn seen(&self) -> &S {
            &self.0
        }
    }

    /// A poll of one of the streams.
    fn polled<T>(
        poll: Poll<Option<Result<T, Error>>>,
        value: fn(&T) -> Value,
    ) -> Returned<Option<Value>> {
        match poll {
            Poll::Pending => None,
            Poll::Ready(None) => Some(Ok(None)),
            Poll::Ready(Some(item)) => Some(item.map(|item| Some(value(&item)))),
        }
    }

    /// `poll_recv`, and the streams.
    macro_rules! read {
        ($Type:ty) => {
            |from: &mut Events<$Type>, by: Receives| {
                let _inside = RUNTIME.enter();
                let cx = &mut Context::from_waker(Waker::noop());
                match by {
                    Receives::Poll => match from.0.poll_recv(cx) {
                        Poll::Pending => None,
                        Poll::Ready(got) => Some(got.map(|message| message.map(whole))),
                    },
                    Receives::Stream => {
                        polled(Pin::new(&mut from.0).poll_next(cx), |it| whole(it.into()))
                    }
                    _ => polled(Pin::new(from).poll_next(cx), |it| Value::Got(heard(it.into()))),
                }
            }
        };
    }

    /// An item through a sink.
    fn sunk<T>(mut sink: impl Sink<T, Error = Error> + Unpin, item: T) -> Returned<()> {
        once(async move {
            poll_fn(|cx| Pin::new(&mut sink).poll_ready(cx)).await?;
            Pin::new(&mut sink).start_send(item)?;
            poll_fn(|cx| Pin::new(&mut sink).poll_flush(cx)).await
        })
    }

    fn owned(call: &Call) -> OwnedMessage {
        borrowed(call).into_owned()
    }

    fn control(event: &Event, call: &Call) -> OwnedEvent {
        let payload = call.payload.clone().into();
        match event.kind {
            "send Pong" => OwnedEvent::Pong(payload),
            "send Ping" | "control too long" | "write fails" => OwnedEvent::Ping(payload),
            _ => OwnedEvent::Close(frame(call).map(OwnedCloseFrame::from)),
        }
    }

    macro_rules! whole_of_task {
        ($Whole:ty) => {
            whole!(
                Events<$Whole>,
                once,
                read!($Whole),
                |to: &mut Events<_>, call: &Call, by| match by {
                    Sends::Sink => sunk(&mut to.0, owned(call)),
                    _ => sunk(to, OwnedEvent::Message(owned(call))),
                },
                |to: &mut Events<_>, event: &Event, call: &Call| sunk(to, control(event, call))
            );
        };
    }

    macro_rules! halves_of_task {
        ($Reader:ty, $Writer:ty) => {
            halves!(
                Events<$Reader>,
                Events<$Writer>,
                once,
                read!($Reader),
                |to: &mut Events<_>, call: &Call, by| match by {
                    Sends::Sink => sunk(&mut to.0, owned(call)),
                    _ => sunk(to, OwnedEvent::Message(owned(call))),
                },
                |to: &mut Events<_>, event: &Event, call: &Call| sunk(to, control(event, call))
            );
        };
    }

    const USES: [Profile; PROFILES] = [
        by(Receives::Recv, Sends::Send(Form::Borrowed)),
        waiting(Receives::Event, Sends::Sender(Form::Borrowed)),
        by(Receives::Owned, Sends::Feed),
        waiting(Receives::ToReply, Sends::Send(Form::Prepared)),
        waiting(Receives::Chunk, Sends::Send(Form::Borrowed)),
        by(Receives::Stream, Sends::Sink),
        waiting(Receives::Events, Sends::Events),
        by(Receives::Poll, Sends::Ready),
    ];

    #[cfg(feature = "in-place")]
    mod over_tls;

    mod on_tokio {
        use super::*;
        use tickwire::tokio::{Reader, WebSocket, Writer};

        whole_of_task!(WebSocket<Pipe>);
        halves_of_task!(Reader<Pipe, Pipe>, Writer<Pipe>);

        #[test]
        fn tokio_is_the_table() {
            hold(("tokio", 2), USES, false, 1, |pipe, conn| {
                Events(WebSocket::from_parts(pipe, conn))
            });
        }

        #[test]
        fn tokio_in_halves_is_the_table() {
            hold(("tokio, split", 3), USES, false, sampled(1, 3), |pipe, conn| {
                let ws = WebSocket::from_parts(pipe, conn);
                let (reader, writer) = ws.into_split_with(|pipe| (pipe.clone(), pipe));
                (Some(Events(reader)), Some(Events(writer)))
            });
        }
    }

    mod on_futures_io {
        use super::*;
        use std::time::Instant;
        use tickwire::futures_io::{Reader, Timers, WebSocket, Writer};

        /// It stands still.
        #[derive(Clone)]
        struct Clock(Instant);

        impl Timers for Clock {
            type Sleep = std::future::Pending<()>;

            fn at(&self, _: Instant) -> Self::Sleep {
                std::future::pending()
            }

            fn now(&self) -> Instant {
                self.0
            }
        }

        whole_of_task!(WebSocket<Pipe, Clock>);
        halves_of_task!(Reader<Pipe, Pipe, Clock>, Writer<Pipe, Clock>);

        fn joined(pipe: Pipe, conn: Connection) -> WebSocket<Pipe, Clock> {
            WebSocket::from_parts(pipe, Clock(Instant::now()), conn)
        }

        #[test]
        fn futures_io_is_the_table() {
            hold(("futures-io", 4), USES, false, 1, |pipe, conn| Events(joined(pipe, conn)));
        }

        #[test]
        fn futures_io_in_halves_is_the_table() {
            hold(("futures-io, split", 5), USES, false, sampled(1, 3), |pipe, conn| {
                let ws = joined(pipe, conn);
                let (reader, writer) = ws.into_split_with(|pipe| (pipe.clone(), pipe));
                (Some(Events(reader)), Some(Events(writer)))
            });
        }
    }
}
