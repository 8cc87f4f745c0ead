//! What the handles of one stream share, and the right to write it.
use crate::{
    blocking::{
        Stream,
        io::{flush, write},
    },
    tls::Session,
};
use std::{
    io::{self, IoSlice},
    ops::DerefMut,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, atomic::AtomicUsize},
    task::Poll,
};
use tickwire_tls::{Below, Buffer};

pub(super) struct Shared {
    pub(super) input: Mutex<()>,
    output: Mutex<Output>,
    session: Mutex<Session>,
    /// How many streams share it: the last one sends close_notify.
    pub(super) handles: AtomicUsize,
}

/// Ciphertext to be written.
#[derive(Default)]
struct Output {
    bytes: Buffer,
    below: Below,
}

/// A panic, of which there should be none, leaves nothing here half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The call is to be made again.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Shared {
    pub(super) fn new(session: Session) -> Arc<Self> {
        Arc::new(Self {
            input: Mutex::new(()),
            output: Mutex::default(),
            session: Mutex::new(session),
            handles: AtomicUsize::new(1),
        })
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    /// Encrypts what there is room for, and writes as much of it as the stream takes. Nothing in a handshake.
    pub(super) fn write(
        self: &mut Arc<Self>,
        io: &mut impl Stream,
        from: &[IoSlice<'_>],
    ) -> io::Result<Option<usize>> {
        match Arc::get_mut(self) {
            Some(alone) => alone.unlocked().write(io, from),
            None => Right { output: lock(&self.output), session: &**self }.write(io, from),
        }
    }

    /// Writes and flushes everything.
    pub(super) fn flush(self: &mut Arc<Self>, io: &mut impl Stream) -> io::Result<()> {
        match Arc::get_mut(self) {
            Some(alone) => alone.unlocked().flush(io),
            None => Right { output: lock(&self.output), session: &**self }.flush(io),
        }
    }

    /// Writes and flushes everything, unless another thread is writing.
    pub(super) fn try_send(&self, io: &mut impl Stream) -> io::Result<()> {
        let output = match self.output.try_lock() {
            Ok(output) => output,
            Err(TryLockError::Poisoned(output)) => output.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        Right { output, session: self }.drain(io, true)
    }

    /// Where there is no other handle, which spares a send its five locks.
    fn unlocked(&mut self) -> Right<&mut Output, &mut Session> {
        Right {
            output: self.output.get_mut().unwrap_or_else(PoisonError::into_inner),
            session: self.session.get_mut().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// How the session is come by.
trait Way {
    fn session(&mut self) -> impl DerefMut<Target = Session>;
}

impl Way for &Shared {
    fn session(&mut self) -> impl DerefMut<Target = Session> {
        Shared::session(self)
    }
}

impl Way for &mut Session {
    fn session(&mut self) -> impl DerefMut<Target = Session> {
        &mut **self
    }
}

/// The right to write, and the way to what is to be written.
struct Right<O, W> {
    output: O,
    session: W,
}

impl<O: DerefMut<Target = Output>, W: Way> Right<O, W> {
    fn write(mut self, io: &mut impl Stream, from: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.output.below.check()?;
        self.output.send(io)?;
        let mut session = self.session.session();
        if session.is_handshaking() {
            session.may_write()?;
            return Ok(None);
        }
        let taken = session.write_slices(from)?;
        self.output.bytes = session.take_outgoing();
        drop(session);
        self.output.below.begin();
        self.drain(io, false).map(|()| Some(taken))
    }

    fn flush(mut self, io: &mut impl Stream) -> io::Result<()> {
        self.output.below.check()?;
        self.output.below.dirty = true; // a flush is passed on even if nothing was written here
        self.drain(io, true)
    }

    /// Writes everything, then, where `flushes` is set and the stream took any since the last flush,
    /// flushes it, and gives the right back. `WouldBlock` or `Interrupted`: something is left; without `flushes` that is for the flush.
    fn drain(self, io: &mut impl Stream, flushes: bool) -> io::Result<()> {
        let Self { mut output, session: mut way } = self;
        loop {
            if let Err(error) = output.send(io) {
                return match () {
                    () if flushes => Err(error),
                    () if is_passing(&error) => Ok(()),
                    () => output.below.fail(error),
                };
            }
            if flushes && output.below.dirty {
                output.flush(io)?;
            }
            let mut session = way.session();
            if !session.has_outgoing() {
                if !output.below.dirty {
                    session.flushed();
                }
                drop(output);
                return Ok(());
            }
            output.bytes = session.take_outgoing();
        }
    }
}

impl Output {
    fn send(&mut self, io: &mut impl Stream) -> io::Result<()> {
        while !self.bytes.is_empty() {
            match write(io, &[IoSlice::new(self.bytes.filled())]) {
                Poll::Ready(n) => self.bytes.consume(n?),
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
            }
            self.below.took();
        }
        self.bytes.shed();
        Ok(())
    }

    fn flush(&mut self, io: &mut impl Stream) -> io::Result<()> {
        match flush(io) {
            Poll::Ready(done) => done?,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        self.below.dirty = false;
        Ok(())
    }
}
