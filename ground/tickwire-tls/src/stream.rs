//! A session over a stream. The functions of this module do the work of a TLS stream. Tasks and
//! threads can use them: a task's [`Carrier`] returns `Pending` where a thread's `Carrier` may
//! wait.
//!
//! The stream below the session is never called while [`Carrier::with`] lends the state. So a
//! thread holds the lock of the state only during `with`, and not while it waits for the stream.
//! Before I/O, a thread takes what it needs out of the state: ciphertext to write, or a buffer to
//! read into. A reader may have ciphertext to send while another thread writes. The reader does not
//! wait for the writing thread. Otherwise both might wait for ever: the writing thread until the
//! peer reads, and the peer until the reader reads. The writing thread sends the reader's
//! ciphertext too, because it stops only when nothing is outgoing.
use crate::{Session, beside};
pub use crate::{
    beside::{forget, heard, held},
    buffer::Buffer,
};
use std::{
    io::{self, IoSlice},
    mem,
    task::{Poll, ready},
};

/// A limit for reads that must not block their thread: the most ciphertext, in bytes, that one read
/// decrypts without finding data. After more bytes the read ends, so that other tasks run and
/// deadlines are checked. Otherwise a peer could keep the read busy for ever with records without
/// data. One handshake message never reaches the limit: even the longest handshake message, in full
/// records, is shorter than this limit.
pub const BARREN: usize = 128 << 10;

/// The state of a TLS stream.
pub struct Tls {
    /// The session.
    pub session: Session,
    /// A thread has taken the outgoing ciphertext, and writes it.
    writing: bool,
    /// A call has taken the session's input buffer, and reads into it.
    reading: bool,
    /// The stream below needs a flush: it has taken ciphertext, or `flush` was called.
    dirty: bool,
    /// How many that may flush handshake messages are under way.
    flushing: usize,
    /// The stream below has taken ciphertext of the current write.
    taken: bool,
    /// Of a write that nevertheless returned success: see [`write`]. The next write, flush or close
    /// returns it.
    failed: Option<io::Error>,
}

/// What a call of a TLS stream works with: the state, the stream below, and a way to wait.
pub trait Carrier {
    /// Lends the state to `work`, which does no I/O.
    fn with<T>(&mut self, work: impl FnOnce(&mut Tls) -> T) -> T;

    /// Reads the stream once. `Pending`: the stream has no bytes, or a signal interrupted the call.
    fn poll_read(&mut self, room: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes outgoing ciphertext to the stream once, and passes the number of bytes written to
    /// [`Tls::wrote`]. Returns the result of `wrote`. `Pending`: the stream refuses bytes now, a
    /// signal interrupted the call, or another call writes.
    fn poll_write(&mut self) -> Poll<io::Result<bool>>;

    /// Flushes the stream. `Pending`: as for [`poll_write`](Self::poll_write).
    fn poll_flush(&mut self) -> Poll<io::Result<()>>;

    /// Calls [`send`] for a caller that does not write data. `last`: the caller ends after this
    /// call, so `send` must not wait: it sends only what the stream accepts at once. `Pending`: the
    /// stream has refused bytes, and the caller must not read before the stream has accepted them.
    fn send_aside(&mut self, last: bool) -> Poll<()>;

    /// Asks whether a call may go on, although it has read `read` bytes and found no data.
    /// `Pending`: the call ends here. The caller may repeat the call at once.
    fn go_on(&mut self, read: usize) -> Poll<()>;
}

/// Reads plaintext. Returns 0 after the peer's close_notify, and if `to` is empty. `Pending`: the
/// stream has no bytes, `send_aside` or `go_on` was `Pending`, or another call reads. If this call
/// has read ciphertext nevertheless, [`heard`] says so.
pub fn read(on: &mut impl Carrier, to: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut barren = 0;
    loop {
        match on.with(|tls| tls.session.read_on(to)) {
            Ok(Some(n)) => return Poll::Ready(Ok(n)),
            Ok(None) => match fill(on, barren) {
                Poll::Ready(read) => barren += read?,
                Poll::Pending => {
                    if barren > 0 {
                        beside::leave_heard();
                    }
                    return Poll::Pending;
                }
            },
            Err(error) => return failed(on, error),
        }
    }
}

/// Completes the handshake, but does not send the last handshake messages of this end. These
/// messages leave together with the first data.
pub fn handshake(on: &mut impl Carrier) -> Poll<io::Result<()>> {
    let mut read = 0;
    loop {
        match on.with(|tls| tls.session.is_handshaking().then(|| tls.session.check())) {
            None => return Poll::Ready(Ok(())),
            Some(Ok(())) => read += ready!(fill(on, read))?,
            Some(Err(error)) => return failed(on, error),
        }
    }
}

#[cold]
fn failed<T>(on: &mut impl Carrier, error: io::Error) -> Poll<io::Result<T>> {
    let _ = on.send_aside(true);
    Poll::Ready(Err(error))
}

/// Reads the stream once. During the handshake, first sends the ciphertext that the peer may be
/// waiting for, unless another thread is writing, which then sends it too. `read` is how much the
/// caller has read before.
fn fill(on: &mut impl Carrier, read: usize) -> Poll<io::Result<usize>> {
    ready!(on.go_on(read));
    if on.with(|tls| tls.session.is_opening() && !tls.writing) {
        ready!(on.send_aside(false));
    }
    // Taken last, because it would be lost if a call above returned `Pending`.
    let Some(mut wire) = on.with(Tls::take_input) else { return Poll::Pending };
    let done = on.poll_read(wire.room());
    on.with(|tls| tls.restore_input(wire, &done));
    done
}

/// Seals as many bytes as the session has room for, and writes ciphertext until the stream refuses
/// more. The next write or flush writes the rest of the ciphertext. Returns the number of bytes
/// sealed. `Pending`: nothing was sealed, because the stream refuses earlier ciphertext, the
/// handshake is under way, or another call writes.
///
/// # Errors
///
/// The errors of the session and of the stream. If the stream fails after it took a part of the
/// records, the data may still arrive. So this write succeeds, and the next write, flush or close
/// fails.
#[inline]
pub fn write(on: &mut impl Carrier, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    loop {
        match on.with(|tls| tls.seal(from))? {
            Sealed::Data(taken) => {
                if let Poll::Ready(Err(error)) = drain(on) {
                    on.with(|tls| tls.fail(error))?;
                }
                return Poll::Ready(Ok(taken));
            }
            Sealed::Later => ready!(drain(on))?,
            Sealed::Handshaking => ready!(handshake(on))?,
        }
    }
}

/// Writes and flushes everything. Flushes the stream below even if nothing was written here,
/// because that stream may hold bytes that somebody else wrote. `Pending`: as for [`send`], and
/// [`held`] says how much is left.
pub fn flush(on: &mut impl Carrier) -> Poll<io::Result<()>> {
    // `with` once only, because under the adapter `blocking` each call takes the lock.
    let due = on.with(|tls| {
        tls.dirty = true;
        tls.check().map(|()| (!tls.is_outgoing()).then(|| tls.take_dirty()))
    })?;
    let done = match due {
        Some(due) => flush_below(on, due),
        None => send(on),
    };
    if done.is_pending()
        && let Some(bytes) = on.with(|tls| tls.held())
    {
        beside::leave_held(bytes);
    }
    done
}

/// Sends a close_notify, and flushes everything. The caller then shuts the stream below.
pub fn close(on: &mut impl Carrier) -> Poll<io::Result<()>> {
    on.with(|tls| {
        tls.session.close(); // only the first call has an effect
        tls.check()
    })?;
    send(on)
}

/// Call this when the TLS stream is dropped. Sends what [`Session::answer_close`] queues, and waits
/// for nothing, because the peer may never read.
pub fn part(on: &mut impl Carrier) {
    if on.with(|tls| tls.session.answer_close()) {
        let _ = on.send_aside(true);
    }
}

/// Writes everything, and flushes the stream below if that stream took ciphertext since its last
/// flush. `Pending`: the stream refuses bytes, or another call writes.
pub fn send(on: &mut impl Carrier) -> Poll<io::Result<()>> {
    if on.with(|tls| tls.is_outgoing()) {
        ready!(drain(on))?;
    }
    let due = on.with(Tls::take_dirty);
    flush_below(on, due)
}

#[inline]
fn drain(on: &mut impl Carrier) -> Poll<io::Result<()>> {
    loop {
        match on.poll_write() {
            Poll::Ready(Ok(true)) => {}
            // A stream that buffers has room again after a flush. But if another thread is writing,
            // we must not wait for the stream: that thread flushes when necessary.
            Poll::Pending if on.with(|tls| tls.dirty && !tls.writing) => {
                let due = on.with(Tls::take_dirty);
                ready!(flush_below(on, due))?;
            }
            done => return done.map_ok(drop),
        }
    }
}

/// Takes the results of [`Tls::take_dirty`]. If the flush waits or fails, `dirty` is set again.
///
/// Another thread may meanwhile add output, or flush the handshake's last bytes: so the handshake
/// counts as flushed only if no output is left and no other flush of it is under way.
#[inline]
fn flush_below(on: &mut impl Carrier, (dirty, opening): (bool, bool)) -> Poll<io::Result<()>> {
    let done = if dirty { on.poll_flush() } else { Poll::Ready(Ok(())) };
    let flushed = matches!(done, Poll::Ready(Ok(())));
    if opening || !flushed {
        on.with(|tls| {
            tls.flushing -= usize::from(dirty && opening);
            tls.dirty |= dirty && !flushed;
            if tls.flushing == 0 && !tls.has_output() {
                tls.session.flushed();
            }
        });
    }
    done
}

enum Sealed {
    Data(usize),
    /// Earlier ciphertext has to be written first.
    Later,
    Handshaking,
}

impl Tls {
    /// A stream's state before its first call.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            writing: false,
            reading: false,
            dirty: false,
            flushing: 0,
            taken: false,
            failed: None,
        }
    }

    /// Whether some ciphertext is still unwritten or unflushed.
    pub fn has_output(&self) -> bool {
        self.is_outgoing() || self.dirty
    }

    /// In bytes. `None` while another thread has taken them to write.
    fn held(&self) -> Option<usize> {
        (!self.writing).then(|| self.session.out.len())
    }

    #[inline]
    fn is_outgoing(&self) -> bool {
        self.session.has_outgoing() || self.writing
    }

    /// Clears `dirty`; the second result is whether a part of the handshake is still to be done,
    /// written or flushed. Call this before the flush, because another thread may write during it.
    #[inline]
    fn take_dirty(&mut self) -> (bool, bool) {
        let dirty = mem::take(&mut self.dirty);
        let opening = self.session.is_opening();
        self.flushing += usize::from(dirty && opening);
        (dirty, opening)
    }

    #[inline]
    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    #[inline]
    fn seal(&mut self, from: &[IoSlice<'_>]) -> io::Result<Sealed> {
        self.check()?;
        let session = &mut self.session;
        if session.is_opening() {
            // The last messages of the handshake leave together with the first data. If another
            // thread is writing them, it writes the data too: see `restore_output`.
            if session.is_handshaking() {
                return session.may_write().map(|()| Sealed::Handshaking);
            }
        } else if session.has_outgoing() || self.writing {
            // Nothing is sealed, so that the caller keeps the data if the stream refuses bytes.
            return Ok(Sealed::Later);
        }
        self.taken = false;
        match session.write_slices(from)? {
            // The handshake's messages are outgoing, so there is no room for data.
            0 if session.has_outgoing() => Ok(Sealed::Later),
            taken => Ok(Sealed::Data(taken)),
        }
    }

    /// The stream has failed in a write. If it has taken a part of the write's records, the data
    /// may still arrive, so the write succeeds, and `check` returns the error to the next call.
    #[cold]
    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        if !self.taken {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }

    /// Reports that the stream accepted `len` ciphertext bytes. Returns whether more is outgoing.
    #[inline]
    pub fn wrote(&mut self, len: usize) -> io::Result<bool> {
        if len == 0 {
            return Err(io::ErrorKind::WriteZero.into()); // otherwise `drain` would never end
        }
        self.session.advance(len);
        self.dirty = true;
        self.taken = true;
        Ok(self.session.has_outgoing())
    }

    /// Lends the outgoing ciphertext to a thread that writes. `Pending`: another thread writes.
    #[inline]
    pub fn lend_output(&mut self) -> Poll<Buffer> {
        if self.writing {
            return Poll::Pending;
        }
        // A thread that gets no bytes does not call `restore_output`.
        self.writing = self.session.has_outgoing();
        Poll::Ready(mem::take(&mut self.session.out))
    }

    /// Takes the lent ciphertext back. Call [`wrote`](Self::wrote) afterwards. Ciphertext that
    /// another thread has added meanwhile is appended, and the writing thread writes it too.
    #[inline]
    pub fn restore_output(&mut self, mut bytes: Buffer) {
        self.writing = false;
        if self.session.has_outgoing() {
            bytes.push(self.session.out.filled());
        }
        self.session.out = bytes;
    }

    fn take_input(&mut self) -> Option<Buffer> {
        (!mem::replace(&mut self.reading, true)).then(|| mem::take(&mut self.session.input))
    }

    /// No other call has read into `input` meanwhile, because `reading` was set: it is empty,
    /// unless a panic of rustls has moved decrypted data there.
    fn restore_input(&mut self, wire: Buffer, done: &Poll<io::Result<usize>>) {
        self.reading = false;
        let left = mem::replace(&mut self.session.input, wire);
        match done {
            // After the panic, `left` holds plaintext to deliver, and nobody can decrypt `wire`.
            _ if !left.is_empty() => self.session.input = left,
            // Dropping the session gives the buffer back to the pool.
            Poll::Ready(Ok(0)) => self.session.end_of_stream(),
            Poll::Ready(Ok(len)) => self.session.commit(*len),
            _ => self.session.commit(0), // this gives the buffer back to the pool
        }
    }
}
