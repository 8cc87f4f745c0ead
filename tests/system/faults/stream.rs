//! A stream in memory that does something wrong at its n-th operation, or from there on. The peer
//! is behind it, and reacts at once, so that each conversation takes the same operations again.
use crate::{
    faults::peer::Peer,
    support::polled::{Polled, polled},
};
use std::{
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
use tickwire::blocking;
use tokio::io::ReadBuf;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    // Once; then all is as it was.
    Interrupt,
    /// Nothing now, but at once when asked again.
    Wait,
    /// A byte.
    Short,
    /// All but a byte.
    AllButOne,
    Fail(ErrorKind),
    // From then on.
    /// Few bytes at a time, and nothing every other time.
    Trickle,
    /// What is written waits for a flush, which has to be asked for twice; or for room.
    Buffer,
    FailForEver(ErrorKind),
    /// The peer's side ends.
    Eof,
    /// Both sides end.
    Cut,
    /// Writes take nothing, and say so.
    WriteZero,
    BlockReads,
    BlockWrites,
    BlockBoth,
}

impl Fault {
    pub const ALL: [Self; 21] = [
        Self::Interrupt,
        Self::Wait,
        Self::Short,
        Self::AllButOne,
        Self::Trickle,
        Self::Buffer,
        Self::Fail(ErrorKind::ConnectionReset),
        Self::Fail(ErrorKind::ConnectionAborted),
        Self::Fail(ErrorKind::TimedOut),
        Self::Fail(ErrorKind::UnexpectedEof),
        Self::Fail(ErrorKind::InvalidData),
        Self::Fail(ErrorKind::Other),
        Self::FailForEver(ErrorKind::ConnectionReset),
        Self::FailForEver(ErrorKind::BrokenPipe),
        Self::FailForEver(ErrorKind::NotConnected),
        Self::Eof,
        Self::Cut,
        Self::WriteZero,
        Self::BlockReads,
        Self::BlockWrites,
        Self::BlockBoth,
    ];

    pub fn blocks(self) -> bool {
        matches!(self, Self::BlockReads | Self::BlockWrites | Self::BlockBoth)
    }

    /// The stream still does all it is asked for, in its own time.
    pub fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::None
                | Self::Interrupt
                | Self::Wait
                | Self::Short
                | Self::AllButOne
                | Self::Trickle
                | Self::Buffer
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// What an operation is to do.
enum Then {
    /// Move no more than this.
    Go(usize),
    Fail(ErrorKind),
    /// Not now; asked again, at once.
    Wait,
    /// Never.
    Block,
    /// Nothing more is read; what is written goes nowhere.
    End,
}

pub struct State {
    pub peer: Peer,
    fault: Fault,
    /// At which operation.
    when: usize,
    /// The last read, and the last write, had to wait.
    waited: [bool; 2],
    pub ops: usize,
    /// What was read, as it was on the wire.
    pub read: Vec<u8>,
    /// What was written and not flushed.
    buffer: Vec<u8>,
    /// We have shut it.
    pub shut: bool,
    /// A write has failed: nothing may follow. (TLS may try its goodbye.)
    failed: bool,
    tls: bool,
    wakers: Vec<Waker>,
    /// In `blocking`, blocks for as long as it was told to, as a socket does, instead of not at
    /// all.
    sleeps: bool,
    /// The last call that was refused is not to be refused again: a wait for it ends at once.
    ready: bool,
    read_timeout: Option<Duration>,
}

/// What nobody needs, unless a call is made again and again without an end.
const TOO_MANY: usize = 20_000;
/// The most that is read or written at once, where nothing is wrong.
const MOST: usize = 1400;

/// What a stream holds that buffers: less than a message, and than a record.
const BUFFER: usize = 1000;

/// The longest a `blocking` stream is to wait at a time, with deadlines as here.
const LONGEST: Duration = Duration::from_secs(1);

impl State {
    fn op(&mut self, op: Op) -> Then {
        let n = self.ops;
        self.ops += 1;
        assert!(n < TOO_MANY, "operations without an end");
        let (now, since) = (n == self.when, n >= self.when);
        let moves = matches!(op, Op::Read | Op::Write);
        match self.fault {
            Fault::Interrupt if now => Then::Fail(ErrorKind::Interrupted),
            Fault::Wait if now => Then::Wait,
            Fault::Short if now => Then::Go(1),
            Fault::AllButOne if now => Then::Go(usize::MAX),
            Fault::Fail(kind) if now => Then::Fail(kind),
            Fault::Trickle if since && moves => {
                let waited = &mut self.waited[usize::from(op == Op::Write)];
                *waited = !*waited;
                if *waited { Then::Wait } else { Then::Go(61) }
            }
            Fault::FailForEver(kind) if since => Then::Fail(kind),
            Fault::Eof if since && op == Op::Read => Then::End,
            Fault::Cut if since && op == Op::Read => Then::End,
            Fault::Cut if since => Then::Fail(ErrorKind::BrokenPipe),
            Fault::WriteZero if since && op == Op::Write => Then::End,
            Fault::BlockReads if since && op == Op::Read => Then::Block,
            Fault::BlockWrites if since && op == Op::Write => Then::Block,
            Fault::BlockBoth if since && moves => Then::Block,
            _ => Then::Go(MOST),
        }
    }

    /// `most` of these; `usize::MAX` stands for all but one.
    fn limit(len: usize, most: usize) -> usize {
        if most == usize::MAX { len.min(MOST).saturating_sub(1).max(1) } else { len.min(most) }
    }

    fn read(&mut self, buf: &mut [u8]) -> Done<usize> {
        assert!(!buf.is_empty(), "a read that would look like the end");
        let most = match self.op(Op::Read) {
            Then::Go(most) => most,
            Then::Fail(kind) => return Err(Blocked::Failed(kind)),
            Then::Wait => return Err(Blocked::Once),
            Then::Block => return Ok(None),
            Then::End => return Ok(Some(0)),
        };
        let n = Self::limit(self.peer.wire.len().min(buf.len()), most).min(self.peer.wire.len());
        if n == 0 && !self.peer.shut {
            return Ok(None);
        }
        self.peer.wire.read_exact(&mut buf[..n]).unwrap();
        self.read.extend_from_slice(&buf[..n]);
        Ok(Some(n))
    }

    fn write(&mut self, buf: &[u8]) -> Done<usize> {
        assert!(!buf.is_empty(), "a write that would look like a failure");
        assert!(!self.shut, "a write after the shutdown");
        assert!(!self.failed || self.tls, "a write after one that failed");
        let most = match self.op(Op::Write) {
            Then::Go(most) => most,
            Then::Fail(kind) => {
                // In `blocking` the second is what a timeout looks like that was set.
                self.failed = !matches!(kind, ErrorKind::Interrupted | ErrorKind::TimedOut);
                return Err(Blocked::Failed(kind));
            }
            Then::Wait => return Err(Blocked::Once),
            Then::Block => return Ok(None),
            Then::End => {
                self.failed = true;
                return Ok(Some(0));
            }
        };
        let mut n = Self::limit(buf.len(), most);
        if self.fault == Fault::Buffer && self.ops > self.when {
            n = n.min(BUFFER - self.buffer.len());
            self.buffer.extend(&buf[..n]);
            return if n == 0 { Err(Blocked::Once) } else { Ok(Some(n)) };
        }
        self.pass_on(&buf[..n]);
        Ok(Some(n))
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        self.peer.take(bytes);
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn flush(&mut self) -> Done<()> {
        self.minor(Op::Flush)?;
        if self.buffer.is_empty() {
            return Ok(Some(()));
        }
        let waited = &mut self.waited[1];
        *waited = !*waited;
        if *waited {
            return Err(Blocked::Once);
        }
        let bytes = mem::take(&mut self.buffer);
        self.pass_on(&bytes);
        Ok(Some(()))
    }

    fn shutdown(&mut self) -> Done<()> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        self.minor(Op::Shutdown)?;
        self.shut = true;
        self.peer.hang_up();
        self.wakers.drain(..).for_each(Waker::wake);
        Ok(Some(()))
    }

    fn minor(&mut self, op: Op) -> Done<()> {
        match self.op(op) {
            Then::Go(_) | Then::End | Then::Block => Ok(Some(())),
            Then::Fail(kind) => Err(Blocked::Failed(kind)),
            Then::Wait => Err(Blocked::Once),
        }
    }
}

/// `None`: there is nothing yet, or no room.
type Done<T> = Result<Option<T>, Blocked>;

enum Blocked {
    Once,
    Failed(ErrorKind),
}

/// All handles are the same stream.
#[derive(Clone)]
pub struct Io(Arc<Mutex<State>>);

impl Io {
    pub fn new(peer: Peer, tls: bool, fault: Fault, when: usize, sleeps: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            peer,
            fault,
            when,
            waited: [false; 2],
            ops: 0,
            read: vec![],
            buffer: vec![],
            shut: false,
            failed: false,
            tls,
            wakers: vec![],
            sleeps,
            ready: false,
            read_timeout: None,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn poll<T>(
        &self,
        cx: &Context<'_>,
        op: impl FnOnce(&mut State) -> Done<T>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.state();
        match op(&mut state) {
            Ok(Some(done)) => Poll::Ready(Ok(done)),
            Ok(None) => {
                state.wakers.push(cx.waker().clone());
                Poll::Pending
            }
            Err(Blocked::Once) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(Blocked::Failed(kind)) => Poll::Ready(Err(kind.into())),
        }
    }

    fn now<T>(&self, op: impl FnOnce(&mut State) -> Done<T>) -> io::Result<T> {
        let mut state = self.state();
        match op(&mut state) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(ErrorKind::WouldBlock.into()),
            Err(Blocked::Once) => {
                state.ready = true;
                Err(ErrorKind::WouldBlock.into())
            }
            Err(Blocked::Failed(kind)) => {
                state.ready = matches!(kind, ErrorKind::TimedOut | ErrorKind::Interrupted);
                Err(kind.into())
            }
        }
    }

    /// A call of a thread that waits. Whether the stream is ready, as far as that is known.
    fn sleep(&self, timeout: Option<Duration>) -> bool {
        let mut state = self.state();
        if mem::take(&mut state.ready) {
            return true;
        }
        if state.sleeps {
            drop(state);
            let timeout = timeout.expect("a call that would never return");
            assert!(timeout <= LONGEST, "nothing comes, and nobody looks at the clock");
            thread::sleep(timeout);
        }
        false
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Io")
    }
}

polled!(tokio: Io);
impl Polled for Io {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.poll(cx, |state| state.read(buf.initialize_unfilled()));
        read.map_ok(|n| buf.advance(n))
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |state| state.write(buf))
    }
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |state| state.write(&joined(bufs)))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, State::flush)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, State::shutdown)
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.now(|state| state.read(buf));
            let would_block = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
            let timeout = self.state().read_timeout;
            match read {
                Err(error) if would_block(&error) => {
                    if !self.sleep(timeout) {
                        return Err(error);
                    }
                }
                read => return read,
            }
        }
    }
}

impl Write for Io {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.now(|state| state.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&joined(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.now(State::flush)
    }
}

impl blocking::Stream for Io {
    fn try_write(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        self.write_vectored(bufs)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.state().read_timeout = timeout;
        Ok(())
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.now(|state| state.read(buf))
    }

    fn wait(&self, _: blocking::Interest, timeout: Option<Duration>) -> io::Result<()> {
        if !self.state().sleeps && timeout != Some(Duration::ZERO) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.sleep(timeout);
        Ok(())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.now(State::shutdown)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn writes_vectored(&self) -> bool {
        true
    }
}

fn joined(bufs: &[IoSlice<'_>]) -> Vec<u8> {
    bufs.iter().map(|buf| &**buf).collect::<Vec<_>>().concat()
}
