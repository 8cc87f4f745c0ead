//! The adapters over a stream in memory, whole and split.
use super::{
    AGREED, Chunk, End, Held, ROLES, Seen,
    calls::{self, borrowed, closed, error, frame, heard, message, piece, whole},
    made_with,
    pipe::{Flow, Pipe, flow},
    sized,
};
use std::{
    io::{self, IoSlice, Read, Write},
    time::Duration,
};
use testkit::{
    sampled,
    table::{
        is_answered,
        returns::{Form, PROFILES, Profile, Receives, Sends, Value, by, in_halves, waiting},
    },
};
use tickwire::{Connection, Error, SendError, Sender, Time};
use wsconform_cases::protocol::{Call, Event};

const HOUR: Duration = Duration::from_secs(3600);

/// What a call returned. None: it waits.
type Returned<T> = Option<Result<T, Error>>;

/// The calls of an adapter.
pub(super) trait Adapter {
    /// By which names `carriers.txt` knows it.
    const ROWS: &'static [&'static str];
    const IN_HALVES: bool;
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
    /// All that was fed has been written, and nothing was dropped.
    fn is_written(&mut self) -> bool;
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
    /// It made that call since the last look.
    begins: bool,
    /// How often the sink has refused what the `Sender` then took.
    sink_refused: usize,
    /// Messages were fed since the last look.
    has_fed: bool,
    takes_over: bool,
    /// How many receiving calls were made.
    calls: usize,
    over: bool,
}

impl<A> Piped<A> {
    pub(super) fn new(flow: Flow, takes_over: bool, make: impl FnOnce(Pipe) -> A) -> Self {
        let pipe = Pipe::new(flow);
        let adapter = make(pipe.clone());
        pipe.lock().waits = true;
        Self {
            adapter,
            pipe,
            waits: None,
            begins: false,
            sink_refused: 0,
            has_fed: false,
            takes_over,
            calls: 0,
            over: false,
        }
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
                self.sink_refused += usize::from(matches!(sent, Some(Ok(()))));
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
            self.begins = true;
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
            _ if unwritten && !self.may_wait() => Some(Err(Error::WouldBlock)),
            returned => returned,
        }
    }

    /// The stream may take nothing now; TLS over one that holds takes only so much.
    fn may_wait(&self) -> bool {
        let pipe = self.pipe.lock();
        pipe.flow == Flow::Late || (pipe.flow == Flow::Holds && pipe.sealed)
    }

    /// Makes the calls that wait, and those that receive.
    fn polled(&mut self, profile: Profile, seen: &mut Seen) {
        while let Some((leaves, call)) = &self.waits {
            let returned =
                if *leaves { self.adapter.leave(call) } else { self.adapter.close(call) };
            let Some(returned) = returned else { break };
            // The call of a half returns once its frame is written, as it does at once elsewhere.
            if !(self.begins && A::IN_HALVES && returned.is_ok()) {
                seen.values.push(Value::Returned(returned.map_err(|failed| error(&failed))));
            }
            self.waits = None;
        }
        while !self.over && self.waits.is_none() {
            self.calls += 1;
            let by = match profile.receives {
                Receives::Poll if !A::IN_HALVES && self.calls.is_multiple_of(2) => Receives::Room,
                by => by,
            };
            match self.adapter.next(by) {
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
        let feeds = event.kind.starts_with("send") || event.kind.starts_with("chunk");
        let result = self.call(event, call, chunk, profile).unwrap_or(Ok(()));
        if fails && matches!(result, Err(Error::Send(_))) {
            self.pipe.lock().refuses = false; // nothing was to be written
        }
        let is_data = !["send Ping", "send Pong"].contains(&event.kind);
        self.has_fed |= feeds && is_data && result.is_ok();
        result.map_err(|failed| error(&failed))
    }

    fn is_cut(&self) -> bool {
        self.pipe.lock().flow == Flow::Reads
    }

    fn is_joined(&self) -> bool {
        self.pipe.lock().flow == Flow::Joined
    }

    fn is_late(&self) -> bool {
        self.pipe.lock().flow == Flow::Late
    }

    fn takes_over(&self) -> [bool; 2] {
        [true, self.takes_over]
    }

    fn refuses(&mut self) {
        self.pipe.lock().refuses = true;
    }

    fn settle(&mut self, profile: Profile, seen: &mut Seen) {
        for _ in 0..std::mem::take(&mut self.sink_refused) {
            seen.values.push(Value::Returned(Err("closed")));
        }
        let has_fed = std::mem::take(&mut self.has_fed);
        if [Flow::Late, Flow::Holds].contains(&self.pipe.lock().flow) {
            self.polled(profile, seen);
            seen.early = Some(self.adapter.closed().as_ref().map(closed));
            if has_fed && self.adapter.is_written() {
                seen.values.push(Value::Returned(Err("written before it has left")));
            }
            self.pipe.lock().waits = false;
            let _ = self.adapter.with_sender(|_| Ok(())); // the half that writes is called again
        }
        self.polled(profile, seen);
        self.begins = false;
        self.pipe.lock().waits = true;
        if has_fed && !self.adapter.is_written() {
            seen.values.push(Value::Returned(Err("not written")));
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

/// Holds an adapter in both roles. The three adapters share the words of `cargo test`.
fn hold<A: Adapter + 'static>(
    (name, carrier): (&str, usize),
    profiles: [Profile; 8],
    real_time: bool,
    turns: usize,
    make: impl Fn(Pipe, Connection) -> A + Sync,
) {
    for role in ROLES {
        for &agreed in AGREED {
            let held = Held::new(name, profiles, (role, agreed));
            let turns = (carrier / 2 % turns, turns);
            let held = Held { real_time, carrier, turns, changes: !A::IN_HALVES, ..held };
            let held = match A::ROWS {
                ["halves"] => Held { may: is_answered, rows: A::ROWS, ..held },
                [] => Held { rows: &["joined"], ..held },
                rows => Held { rows, ..held },
            };
            held.hold(|number| {
                let (conn, takes_over) = made_with(number, role, agreed, sized(number));
                Piped::new(flow(number), takes_over, |pipe| make(pipe, conn))
            });
        }
    }
}

/// A half is None once it is dropped. Then its calls cannot be made: the table has them refused.
type Halves<R, W> = (Option<R>, Option<W>);

/// What a receiving call that has a name returns. `$waits` makes None of a call that has to wait,
/// `$others` makes the calls that not all have.
macro_rules! receive {
    ($from:expr, $by:expr, $waits:ident, $others:expr) => {
        match $by {
            Receives::Recv => $waits($from.recv()).map(|got| got.map(|it| it.map(whole))),
            Receives::Owned => {
                $waits($from.recv_owned()).map(|got| got.map(|it| it.map(|it| whole((&it).into()))))
            }
            Receives::WithInfo => $waits($from.recv_with_info())
                .map(|got| got.map(|it| it.map(|(message, _)| whole(message)))),
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
            const IN_HALVES: bool = true;

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

            fn is_written(&mut self) -> bool {
                let Some(writer) = &self.1 else { return true };
                let writer = writer.seen();
                let fed = writer.fed();
                let reader = self.0.as_ref().map(|reader| reader.seen());
                writer.is_written(fed)
                    && reader.is_none_or(|reader| reader.is_written(fed))
                    && writer.dropped() == 0
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

/// The calls of a whole one, which has these rows.
macro_rules! whole {
    ($Whole:ty, $rows:expr, $waits:ident, $read:expr, $write:expr, $sink:expr) => {
        impl Adapter for $Whole {
            const ROWS: &'static [&'static str] = $rows;
            const IN_HALVES: bool = false;

            fn next(&mut self, by: Receives) -> Returned<Option<Value>> {
                receive!(self.inner(), by, $waits, |by| match by {
                    Receives::ToReply => $waits(self.inner().recv_to_reply())
                        .map(|got| got.map(|it| it.map(|received| whole(received.message)))),
                    by => $read(self, by),
                })
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

            fn is_written(&mut self) -> bool {
                let sender = self.seen().sender();
                sender.is_written(sender.fed()) && sender.dropped() == 0
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
                let n = Pipe::write(self, buf)?; // either it takes none of them now, or all
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

    whole!(WebSocket<Pipe>, &[], unless_it_waits, none, no, no);
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
        hold(("blocking", 0), USES, true, sampled(1, 3), WebSocket::from_parts);
    }

    #[test]
    fn blocking_in_halves_is_the_table() {
        hold(("blocking, split", 1), in_halves(USES), true, sampled(1, 9), |pipe, conn| {
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
        mem::ManuallyDrop,
        pin::{Pin, pin},
        sync::{
            Arc, LazyLock,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        task::{Context, Poll, Wake, Waker},
    };
    use tickwire::{Events, OwnedCloseFrame, OwnedEvent, OwnedMessage, tokio::MessageOrRoom};
    use tokio::{
        io::ReadBuf,
        runtime::{EnterGuard, Runtime},
    };

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
            unless_it_waits(Pipe::write(self, bytes))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            unless_it_waits(Pipe::flush(self))
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut();
            Poll::Ready(Ok(()))
        }
    }

    fn unless_it_waits<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    /// Its clock stands still.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    });

    /// Whether the task is to be polled again.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    /// What polls on a thread, inside of the runtime from then on.
    struct Task {
        woken: Arc<Woken>,
        waker: Waker,
        _inside: ManuallyDrop<EnterGuard<'static>>,
    }

    thread_local! {
        static TASK: Task = {
            let woken = Arc::new(Woken::default());
            let waker = woken.clone().into();
            Task { woken, waker, _inside: ManuallyDrop::new(RUNTIME.enter()) }
        };
    }

    /// Polls until it waits for somebody else: an adapter yields after many reads.
    fn until_it_waits<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        TASK.with(|Task { woken, waker, .. }| {
            loop {
                woken.0.store(false, Relaxed);
                match poll(&mut Context::from_waker(waker)) {
                    Poll::Ready(value) => break Some(value),
                    Poll::Pending if woken.0.load(Relaxed) => {}
                    Poll::Pending => break None,
                }
            }
        })
    }

    fn once<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        until_it_waits(|cx| future.as_mut().poll(cx))
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

    /// What one of the streams gives.
    fn streamed<T>(
        mut stream: Pin<&mut impl Stream<Item = Result<T, Error>>>,
        value: fn(&T) -> Value,
    ) -> Returned<Option<Value>> {
        match until_it_waits(|cx| stream.as_mut().poll_next(cx))? {
            None => Some(Ok(None)),
            Some(item) => Some(item.map(|item| Some(value(&item)))),
        }
    }

    /// `poll_recv`, and the streams. `$room` is there for those that have `recv_or_room`.
    macro_rules! read {
        ($Type:ty $(, $room:ident)?) => {
            |from: &mut Events<$Type>, by: Receives| {
                match by {
                    $(Receives::Room => $room!(from.0),)?
                    Receives::Poll => until_it_waits(|cx| {
                        from.0.poll_recv(cx).map_ok(|message| message.map(whole))
                    }),
                    Receives::Stream => streamed(Pin::new(&mut from.0), |it| whole(it.into())),
                    _ => streamed(Pin::new(from), |it| Value::Got(heard(it.into()))),
                }
            }
        };
    }

    /// A message, once there may be room.
    macro_rules! room {
        ($from:expr) => {{
            let mut had_room = false;
            loop {
                break match once($from.recv_or_room(1)) {
                    None => None,
                    Some(Ok(MessageOrRoom::Room)) => {
                        assert!(!had_room && !$from.sender().has_outgoing(), "there is none");
                        had_room = true;
                        continue; // which waits: there was room before
                    }
                    Some(Ok(MessageOrRoom::Closed)) => Some(Ok(None)),
                    Some(Ok(MessageOrRoom::Message(message))) => Some(Ok(Some(whole(message)))),
                    Some(Err(failed)) => Some(Err(failed)),
                };
            }
        }};
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
        ($Whole:ty, $rows:expr) => {
            whole!(
                Events<$Whole>,
                $rows,
                once,
                read!($Whole, room),
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

        whole_of_task!(WebSocket<Pipe>, &[]);
        halves_of_task!(Reader<Pipe, Pipe>, Writer<Pipe>);

        #[test]
        fn tokio_is_the_table() {
            hold(("tokio", 2), USES, false, sampled(1, 3), |pipe, conn| {
                Events(WebSocket::from_parts(pipe, conn))
            });
        }

        #[test]
        fn tokio_in_halves_is_the_table() {
            hold(("tokio, split", 3), in_halves(USES), false, sampled(1, 9), |pipe, conn| {
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

        whole_of_task!(WebSocket<Pipe, Clock>, &[]);
        halves_of_task!(Reader<Pipe, Pipe, Clock>, Writer<Pipe, Clock>);

        fn joined(pipe: Pipe, conn: Connection) -> WebSocket<Pipe, Clock> {
            WebSocket::from_parts(pipe, Clock(Instant::now()), conn)
        }

        #[test]
        fn futures_io_is_the_table() {
            hold(("futures-io", 4), USES, false, sampled(1, 3), |pipe, conn| {
                Events(joined(pipe, conn))
            });
        }

        #[test]
        fn futures_io_in_halves_is_the_table() {
            hold(("futures-io, split", 5), in_halves(USES), false, sampled(1, 9), |pipe, conn| {
                let ws = joined(pipe, conn);
                let (reader, writer) = ws.into_split_with(|pipe| (pipe.clone(), pipe));
                (Some(Events(reader)), Some(Events(writer)))
            });
        }
    }
}
