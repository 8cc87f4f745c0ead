//! The opening handshakes, as a server and as a client. In a task, `Pending` means that the stream
//! or the deadline will wake it. In `blocking` each poll waits by itself, and is `Pending` only if
//! the stream is non-blocking or cannot wait: nothing would then wake the future, so the adapter
//! drops it.
use super::{
    core::{Socket, Whole},
    io::{Output, Source, flush, read, shutdown, write_slices},
};
#[cfg(feature = "client")]
use crate::proto::entropy::system::SystemEntropy;
use crate::{
    error::Error,
    proto::{
        config::Config,
        connection::{Connection, closing::LINGER},
        error::RecvError,
        handshake::{
            HandshakeError, Progress, Reading,
            client::{self, Request},
            server::{self, Accept, Rejection, RequestHead},
        },
        pool::POOL,
        time::Time,
    },
};
use std::{
    boxed::Box,
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

impl<I: Source + Output> Socket<Whole, I> {
    #[inline]
    pub(crate) fn join(io: I, mut conn: Connection) -> Self {
        // A blocking thread keeps the buffers of its connection.
        if !I::WAITS {
            conn.set_memory(&POOL);
        }
        let vectored = io.is_write_vectored();
        Self::new(Whole::new(conn, vectored), io)
    }
}

/// Read the request, then accept or reject it.
#[derive(Debug)]
pub(crate) struct Incoming<I> {
    io: I,
    handshake: server::Handshake,
    write_timeout: Duration,
}

impl<I> Incoming<I> {
    #[inline(always)]
    pub(crate) fn new(io: I, config: &Config) -> Self {
        Self { io, handshake: server::Handshake::new(config), write_timeout: config.write_timeout }
    }

    pub(crate) fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    pub(crate) fn error(&self) -> Option<HandshakeError> {
        self.handshake.reading.outcome().and_then(Result::err)
    }
}

impl<I: Source + Output> Incoming<I> {
    pub(crate) fn accept_corked(self, accept: Accept<'_>) -> Result<Socket<Whole, I>, Error> {
        let Self { io, handshake, .. } = self;
        let conn = handshake.accept(accept)?;
        Ok(Socket::join(io, conn))
    }

    /// The outer error is the stream's. The inner one says that the request is bad, or not complete
    /// in time: the caller can still answer it. Do not poll again once ready: after success that
    /// would read on while the client waits for the response.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<(), HandshakeError>, Error>> {
        let Self { io, handshake, .. } = self;
        // Starts the deadline in the first poll, and changes nothing in later ones.
        let mut told = handshake.reading.handle_timeout(Time::ZERO);
        while told.is_ok() {
            ready!(poll_read(io, &mut handshake.reading, usize::MAX, cx))?;
            // Before the deadline's check, so that a complete request counts even if the deadline
            // has passed.
            told = match handshake.step() {
                Ok(Progress::Complete) => return Poll::Ready(Ok(Ok(()))),
                Ok(Progress::Partial) => handshake.reading.handle_timeout(io.now()),
                Err(error) => Err(error),
            };
        }
        Poll::Ready(Ok(told))
    }

    /// `write_timeout` bounds the whole response, because no other deadline runs; on an open
    /// connection, each byte gives time back.
    pub(crate) async fn answer(&mut self, rejection: Rejection) -> Result<(), Error> {
        // `elapsed` fails if the clock is before 1970: no Date.
        let response = self.handshake.reject(rejection.dated(std::time::UNIX_EPOCH.elapsed().ok()));
        let by = self.io.now() + self.write_timeout;
        let written = write_all(&mut self.io, &response, Some(by)).await?;
        if written { Ok(()) } else { Err(RecvError::WriteTimeout.into()) }
    }

    /// Shuts the stream down for writing, so that the peer sees the end of the response and can end
    /// its side, then discards input, for at most [`LINGER`]: the operating system sends RST if
    /// input is unread when the stream is dropped, and the peer might then lose the response.
    ///
    /// Other tasks run even if the peer floods: tokio's sockets yield once the task's budget is
    /// used up, and `futures_io` after `READS_A_TURN` reads. Under tokio, a stream that uses no
    /// budget and always has bytes may keep a thread of the runtime busy until [`LINGER`] is over.
    pub(crate) async fn linger(&mut self) {
        let io = &mut self.io;
        let end = io.now() + LINGER;
        let by = Some(end);
        let shut = within(io, by, |io, cx| shutdown(io, cx));
        let _ = shut.await; // if the shutdown takes until `end`, the loop below reads only once
        // Any length would do. On the heap, so that the future stays small.
        let mut sink = vec![0; 4 << 10];
        let drained = within(io, by, |io, cx| {
            loop {
                match ready!(read(io, &mut sink, cx)) {
                    // `within` checks the time only after a wait, of which there is none during a
                    // flood (`a_flood_keeps_no_rejection_longer_than_its_second`).
                    Ok(1..) if io.now() < end => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        drained.await;
    }
}

#[cfg(feature = "client")]
pub(crate) async fn client<I: Source + Output>(
    mut io: I,
    request: &Request,
    config: &Config,
) -> Result<Socket<Whole, I>, Error> {
    let mut handshake = client::Handshake::new(request, config, SystemEntropy::new()?);
    // Starts the deadline: before this, `poll_timeout` would return `ZERO`.
    handshake.reading.handle_timeout(Time::ZERO)?;
    let by = handshake.reading.poll_timeout();
    // A failed write ends the handshake. A refusal that may have arrived is not read, because the
    // stream's input need not have ended, and the read might wait until the deadline.
    write_all(&mut io, handshake.outgoing(), by).await?;
    // Before the first step, because `step` refuses a 101 while a part of the request is unsent
    // (`EarlyResponse`). If the deadline passed during the write, its check below returns the
    // error.
    handshake.advance(usize::MAX);
    loop {
        let told = match handshake.step() {
            Ok(Progress::Complete) => break,
            Ok(Progress::Partial) => handshake.reading.handle_timeout(io.now()),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            // `Some` only if the server answered with a status other than 101.
            let refused = handshake.into_refusal().map(|refusal| Error::Refused(Box::new(refusal)));
            return Err(refused.unwrap_or_else(|| error.into()));
        }
        match poll_fn(|cx| poll_read(&mut io, &mut handshake.reading, usize::MAX, cx)).await {
            // The response says more than the stream's error, so the next step ends the handshake
            // with that, and what has arrived of its body.
            Err(_) if handshake.response().is_some() => handshake.reading.end_of_stream(),
            read => read?,
        }
    }
    Ok(Socket::join(io, handshake.into_connection()?))
}

/// Reads once, or waits for the stream. `most` must not be 0, because a read of 0 bytes means the
/// end of the stream. Then call `step` and check the deadline.
///
/// Once the stream has ended, each call is ready at once, so `step` may return `Partial` only if
/// there are bytes to write: otherwise the caller's loop would spin until the deadline.
pub(crate) fn poll_read<I: Source + Output>(
    io: &mut I,
    to: &mut Reading,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let spare = to.spare_mut();
    let most = most.min(spare.len());
    match read(io, &mut spare[..most], cx) {
        Poll::Ready(Ok(0)) => to.end_of_stream(),
        Poll::Ready(Ok(n)) => to.commit(n),
        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        Poll::Pending => ready!(io.poll_wait(to.poll_timeout(), cx)),
    }
    Poll::Ready(Ok(()))
}

/// `false` if the flush is not done at the time `by`; a part of the bytes may then be written.
pub(crate) async fn write_all<I: Source + Output>(
    io: &mut I,
    mut bytes: &[u8],
    by: Option<Time>,
) -> io::Result<bool> {
    let written = within(io, by, |io, cx| {
        while !bytes.is_empty() {
            let n = ready!(write_slices(io, &[IoSlice::new(bytes)], cx))?;
            // Does not panic, even if a faulty stream returns more than `bytes.len()`.
            bytes = bytes.get(n..).unwrap_or_default();
        }
        flush(io, &mut 0, cx) // a handshake does not count unflushed bytes
    });
    Ok(written.await.transpose()?.is_some())
}

/// `None` if `poll` is not ready at the time `by`. Polls at least once, even after that, so that a
/// task that is woken late still finds what is ready.
///
/// `poll` must register the waker or, in a thread, note the event that `poll_wait` has to wait for,
/// before each wait of a thread, which clears the note.
async fn within<I: Source + Output, T>(
    io: &mut I,
    by: Option<Time>,
    mut poll: impl FnMut(&mut I, &mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = poll(io, cx) {
                return Poll::Ready(Some(done));
            }
            ready!(io.poll_wait(by, cx));
            if by.is_some_and(|by| by <= io.now()) {
                return Poll::Ready(None);
            }
        }
    })
    .await
}
