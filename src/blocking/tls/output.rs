//! The state that all handles of one stream share, and the right to write to the stream.
use crate::{
    blocking::stream::{Stream, in_vain},
    tls::Session,
};
use std::{
    io::{self, IoSlice},
    ops::DerefMut,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, atomic::AtomicUsize},
};
use tickwire_tls::{Below, Buffer};

pub(super) struct Shared {
    pub(super) input: Mutex<()>,
    output: Mutex<Output>,
    session: Mutex<Session>,
    /// The number of handles. When the last handle is dropped, it sends a close_notify if the
    /// session still owes one.
    pub(super) handles: AtomicUsize,
}

/// Ciphertext to be written.
#[derive(Default)]
struct Output {
    bytes: Buffer,
    below: Below,
}

/// Locks a mutex. Ignores poisoning, so that a panic in one handle does not make the other handles
/// panic too.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the call that failed with this error can be repeated.
pub(super) fn is_passing(error: &io::Error) -> bool {
    in_vain(error) || error.kind() == io::ErrorKind::Interrupted
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

    /// Whether the stream has refused to write or to flush ciphertext.
    pub(super) fn holds_output(&self) -> bool {
        let output = lock(&self.output);
        output.below.dirty || !output.bytes.is_empty()
    }

    /// Encrypts as many bytes of `from` as the session has room for, and writes until the stream
    /// refuses more. Returns the number of bytes encrypted, or `None` during the handshake.
    pub(super) fn write(
        self: &mut Arc<Self>,
        io: &mut impl Stream,
        from: &[IoSlice<'_>],
        waits: bool,
    ) -> io::Result<Option<usize>> {
        match Arc::get_mut(self) {
            Some(alone) => alone.unlocked(waits).write(io, from),
            None => self.locked(lock(&self.output), waits).write(io, from),
        }
    }

    /// Writes and flushes everything.
    pub(super) fn flush(self: &mut Arc<Self>, io: &mut impl Stream, waits: bool) -> io::Result<()> {
        match Arc::get_mut(self) {
            Some(alone) => alone.unlocked(waits).flush(io),
            None => self.locked(lock(&self.output), waits).flush(io),
        }
    }

    /// Writes and flushes everything, unless another thread is writing.
    pub(super) fn try_send(&self, io: &mut impl Stream, waits: bool) -> io::Result<()> {
        let output = match self.output.try_lock() {
            Ok(output) => output,
            Err(TryLockError::Poisoned(output)) => output.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.locked(output, waits).drain(io, true)
    }

    fn locked<'a>(
        &'a self,
        output: MutexGuard<'a, Output>,
        waits: bool,
    ) -> Right<MutexGuard<'a, Output>, &'a Self> {
        Right { output, session: self, waits }
    }

    /// Returns the right to write, without locks, which saves the five locks of a send. Only the
    /// single handle of a stream can call this, because other handles would share `self`.
    fn unlocked(&mut self, waits: bool) -> Right<&mut Output, &mut Session> {
        Right {
            waits,
            output: self.output.get_mut().unwrap_or_else(PoisonError::into_inner),
            session: self.session.get_mut().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Access to the session, with or without its lock.
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

/// The right to write, with the ciphertext and the session.
struct Right<O, W> {
    output: O,
    session: W,
    /// Whether to write to the stream below by `write` and `flush`, which may wait, or by
    /// `try_write` and `try_flush`.
    waits: bool,
}

impl<O: DerefMut<Target = Output>, W: Way> Right<O, W> {
    fn write(mut self, io: &mut impl Stream, from: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.output.below.check()?;
        self.output.send(io, self.waits)?;
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
        self.output.below.dirty = true; // flush the stream below even if nothing was written here
        self.drain(io, true)
    }

    /// Writes everything, then releases the right to write. With `flushes`, also flushes the stream
    /// below if `below.dirty` is set, and returns the stream's error if unwritten bytes remain.
    /// Without `flushes`, the result is `Ok` even if the stream refuses bytes, because the next
    /// flush writes them.
    fn drain(self, io: &mut impl Stream, flushes: bool) -> io::Result<()> {
        let Self { mut output, session: mut way, waits } = self;
        loop {
            if let Err(error) = output.send(io, waits) {
                return match () {
                    () if flushes => Err(error),
                    () if is_passing(&error) => Ok(()),
                    () => output.below.fail(error),
                };
            }
            if flushes && output.below.dirty {
                output.flush(io, waits)?;
            }
            let mut session = way.session();
            if !session.has_outgoing() {
                if !output.below.dirty {
                    session.flushed();
                }
                drop(output); // before `session`: the head of `tls.rs` says why
                return Ok(());
            }
            output.bytes = session.take_outgoing();
        }
    }
}

impl Output {
    fn send(&mut self, io: &mut impl Stream, waits: bool) -> io::Result<()> {
        while !self.bytes.is_empty() {
            let bytes = self.bytes.filled();
            let written = match waits {
                true => io.write(bytes),
                false => io.try_write(&[IoSlice::new(bytes)]),
            };
            match written {
                // A stream that buffers has room again once it is flushed.
                Err(error) if self.below.dirty && in_vain(&error) => {
                    self.flush(io, waits)?;
                    continue;
                }
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                written => self.bytes.consume(written?),
            }
            self.below.took();
        }
        self.bytes.shed();
        Ok(())
    }

    fn flush(&mut self, io: &mut impl Stream, waits: bool) -> io::Result<()> {
        if waits { io.flush() } else { io.try_flush() }?;
        self.below.dirty = false;
        Ok(())
    }
}
