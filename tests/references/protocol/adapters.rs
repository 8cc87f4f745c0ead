//! The adapters over a stream in memory, whole and split.
use super::table::{
    Got,
    calls::{self, closed, frame, heard, recv_error, send_error},
    pipe::Pipe,
};
use super::{AGREED, Chunk, End, Held, ROLES, Seen, inflate, made, table::is_answered};
use std::{
    io::{self, IoSlice, Read, Write},
    time::Duration,
};
use tickwire::{Connection, Error, SendError, Sender, Time};
use wsconform_cases::protocol::{Call, Event};

const HOUR: Duration = Duration::from_secs(3600);

/// The adapters have a `leave` of their own, which knows the time.
fn send(tx: &mut Sender, event: &Event, call: &Call, chunk: Chunk) -> Result<(), SendError> {
    calls::send(tx, Time::ZERO, event, call, chunk)
}

/// The calls of an adapter that differ in how they wait.
pub(super) trait Adapter {
    /// It is in two halves.
    const SPLIT: bool = false;
    /// None: it waits.
    fn next(&mut self) -> Option<Result<Option<Got>, Error>>;
    fn leave(&mut self, call: &Call) -> Option<Result<(), Error>>;
    fn fail(&mut self, call: &Call) -> Result<(), SendError>;
    fn send(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), SendError>;
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
    over: bool,
    told: bool,
}

impl<A> Piped<A> {
    pub(super) fn new(make: impl FnOnce(Pipe) -> A) -> Self {
        let pipe = Pipe::default();
        Self { adapter: make(pipe.clone()), pipe, over: false, told: false }
    }
}

impl<A: Adapter> End for Piped<A> {
    fn arrives(&mut self, bytes: &[u8]) {
        self.pipe.arrives(bytes);
    }

    fn ends(&mut self, reset: bool) {
        self.pipe.lock().end = Some(reset);
    }

    fn calls(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), &'static str> {
        let fails = event.kind == "write fails" && self.adapter.closed().is_none();
        self.pipe.lock().refuses |= fails;
        let result = match event.kind {
            "drop sending" | "drop receiving" => {
                self.adapter.drop_half(event);
                Ok(())
            }
            "fail" => self.adapter.fail(call),
            "leave" => match self.adapter.leave(call) {
                Some(Err(Error::Send(error))) => Err(error),
                _ => Ok(()),
            },
            _ => self.adapter.send(event, call, chunk),
        };
        if fails && result.is_err() {
            self.pipe.lock().refuses = false; // nothing was to be written
        }
        result.map_err(send_error)
    }

    fn settle(&mut self, seen: &mut Seen) {
        while !self.over {
            match self.adapter.next() {
                None => break,
                Some(Ok(Some(event))) => seen.delivered.push(event),
                Some(Ok(None) | Err(_)) => {
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
        let end = self.adapter.closed();
        seen.closed = end.as_ref().map(closed);
        if !self.told {
            seen.error = end.and_then(|end| end.error).map(recv_error);
            self.told = end.is_some();
        }
    }
}

/// Holds an adapter in both roles.
fn hold<A: Adapter>(name: &str, real_time: bool, make: impl Fn(Pipe, Connection) -> A + Sync) {
    for role in ROLES {
        for &agreed in AGREED {
            let held = Held { real_time, ..Held::new(name, (role, agreed), inflate) };
            let held = if A::SPLIT { Held { may: is_answered, ..held } } else { held };
            held.hold(|| Piped::new(|pipe| make(pipe, made(role, agreed))));
        }
    }
}

/// A half is None once it is dropped. Then its calls cannot be made: the table has them refused.
type Halves<R, W> = (Option<R>, Option<W>);

fn halves<R, W>((reader, writer): (R, W)) -> Halves<R, W> {
    (Some(reader), Some(writer))
}

/// The calls of the halves. `$waits` makes None of a call that has to wait.
macro_rules! halves {
    ($Reader:ty, $Writer:ty, $waits:ident) => {
        impl Adapter for Halves<$Reader, $Writer> {
            const SPLIT: bool = true;

            fn next(&mut self) -> Option<Result<Option<Got>, Error>> {
                let reader = self.0.as_mut()?;
                $waits(reader.recv_event()).map(|result| result.map(|event| event.map(heard)))
            }

            fn leave(&mut self, call: &Call) -> Option<Result<(), Error>> {
                match self {
                    (_, Some(writer)) => $waits(writer.leave(frame(call), HOUR)),
                    (Some(reader), None) => $waits(reader.leave(frame(call), HOUR)),
                    (None, None) => None,
                }
            }

            fn fail(&mut self, call: &Call) -> Result<(), SendError> {
                let reader = self.0.as_mut().ok_or(SendError::Closed)?;
                reader.fail(frame(call).unwrap())
            }

            fn send(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), SendError> {
                let writer = self.1.as_mut().ok_or(SendError::Closed)?;
                let sent = writer.with_sender(|tx| send(tx, event, call, chunk));
                let _ = $waits(writer.flush()); // the reader says more of a stream that is over
                sent
            }

            fn closed(&self) -> Option<tickwire::Closed<'_>> {
                self.0.as_ref()?.closed()
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
            Ok(())
        }
    }

    impl Stream for Pipe {
        fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            Pipe::read(self, to).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
        }

        fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            bufs.iter().map(|buf| Pipe::write(self, buf)).sum()
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

    impl Adapter for WebSocket<Pipe> {
        fn next(&mut self) -> Option<Result<Option<Got>, Error>> {
            unless_it_waits(self.recv_event().map(|event| event.map(heard)))
        }

        fn leave(&mut self, call: &Call) -> Option<Result<(), Error>> {
            unless_it_waits(WebSocket::leave(self, frame(call), HOUR))
        }

        fn fail(&mut self, call: &Call) -> Result<(), SendError> {
            WebSocket::fail(self, frame(call).unwrap())
        }

        fn send(&mut self, event: &Event, call: &Call, chunk: Chunk) -> Result<(), SendError> {
            send(self.sender_mut(), event, call, chunk)
        }

        fn closed(&self) -> Option<tickwire::Closed<'_>> {
            WebSocket::closed(self)
        }
    }

    halves!(Reader<Pipe>, Writer<Pipe>, unless_it_waits);

    #[test]
    fn blocking_is_the_table() {
        hold("blocking", true, WebSocket::from_parts);
    }

    #[test]
    fn blocking_in_halves_is_the_table() {
        hold("blocking, split", true, |pipe, conn| {
            halves(WebSocket::from_parts(pipe, conn).into_split().unwrap())
        });
    }
}

#[cfg(feature = "tokio")]
mod in_tasks {
    use super::*;
    use crate::support::polled::{Polled, polled};
    use std::{
        pin::pin,
        sync::LazyLock,
        task::{Context, Poll, Waker},
    };
    use tokio::{io::ReadBuf, runtime::Runtime};

    polled!(tokio: Pipe);
    #[cfg(feature = "futures")]
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

    macro_rules! adapter {
        ($whole:ty) => {
            impl Adapter for $whole {
                fn next(&mut self) -> Option<Result<Option<Got>, Error>> {
                    once(async { self.recv_event().await.map(|event| event.map(heard)) })
                }

                fn leave(&mut self, call: &Call) -> Option<Result<(), Error>> {
                    once(<$whole>::leave(self, frame(call), HOUR))
                }

                fn fail(&mut self, call: &Call) -> Result<(), SendError> {
                    <$whole>::fail(self, frame(call).unwrap())
                }

                fn send(
                    &mut self,
                    event: &Event,
                    call: &Call,
                    chunk: Chunk,
                ) -> Result<(), SendError> {
                    send(self.sender_mut(), event, call, chunk)
                }

                fn closed(&self) -> Option<tickwire::Closed<'_>> {
                    <$whole>::closed(self)
                }
            }
        };
    }

    #[cfg(feature = "in-place")]
    mod over_tls;

    mod on_tokio {
        use super::*;
        use tickwire::tokio::{Reader, WebSocket, Writer};

        adapter!(WebSocket<Pipe>);
        halves!(Reader<Pipe, Pipe>, Writer<Pipe>, once);

        #[test]
        fn tokio_is_the_table() {
            hold("tokio", false, WebSocket::from_parts);
        }

        #[test]
        fn tokio_in_halves_is_the_table() {
            hold("tokio, split", false, |pipe, conn| {
                let ws = WebSocket::from_parts(pipe, conn);
                halves(ws.into_split_with(|pipe| (pipe.clone(), pipe)))
            });
        }
    }

    #[cfg(feature = "futures")]
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

        adapter!(WebSocket<Pipe, Clock>);
        halves!(Reader<Pipe, Pipe, Clock>, Writer<Pipe, Clock>, once);

        fn joined(pipe: Pipe, conn: Connection) -> WebSocket<Pipe, Clock> {
            WebSocket::from_parts(pipe, Clock(Instant::now()), conn)
        }

        #[test]
        fn futures_io_is_the_table() {
            hold("futures-io", false, joined);
        }

        #[test]
        fn futures_io_in_halves_is_the_table() {
            hold("futures-io, split", false, |pipe, conn| {
                halves(joined(pipe, conn).into_split_with(|pipe| (pipe.clone(), pipe)))
            });
        }
    }
}
