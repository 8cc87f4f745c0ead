//! A stream in memory that allocates nothing itself: it gives messages without end, and would block
//! after each; it takes what there is room for. For both adapters.
use std::{
    io::{self, IoSlice, Read, Write},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tickwire::blocking;

/// Handles of one stream.
#[derive(Clone, Debug)]
pub struct Endless(Arc<Mutex<State>>);

#[derive(Debug)]
pub struct State {
    /// Each is given whole before a read would block; then the next one.
    pub wires: Vec<Vec<u8>>,
    /// The one under way, and how much of it was given.
    pub turn: usize,
    pub at: usize,
    /// Nothing more of it is given, once.
    dry: bool,
    /// How many bytes are taken before a write would block.
    pub room: usize,
    /// How many were taken.
    pub taken: usize,
    /// The first that were, as many as there is capacity for.
    pub written: Vec<u8>,
}

impl Endless {
    pub fn new(wires: Vec<Vec<u8>>) -> Self {
        let (room, written) = (usize::MAX, Vec::new());
        Self(Arc::new(Mutex::new(State {
            wires,
            turn: 0,
            at: 0,
            dry: false,
            room,
            taken: 0,
            written,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// `None`: it would block.
    fn give(&mut self, to: &mut [u8]) -> Option<usize> {
        if std::mem::take(&mut self.dry) {
            return None;
        }
        let wire = self.wires.get(self.turn)?;
        let n = to.len().min(wire.len() - self.at);
        to[..n].copy_from_slice(&wire[self.at..self.at + n]);
        self.at += n;
        if self.at == wire.len() {
            self.at = 0;
            self.turn = (self.turn + 1) % self.wires.len();
            self.dry = true;
        }
        Some(n)
    }

    /// `None`: it would block.
    fn take(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let mut n = 0;
        for slice in slices {
            let some = &slice[..slice.len().min(self.room)];
            self.room -= if self.room == usize::MAX { 0 } else { some.len() };
            let kept = some.len().min(self.written.capacity() - self.written.len());
            self.written.extend_from_slice(&some[..kept]);
            n += some.len();
        }
        self.taken += n;
        (n > 0).then_some(n)
    }
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.state().give(to).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.state().take(slices).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for Endless {
    crate::support::tries::tries!();
    crate::support::tries::cannot_wait!();
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
    fn writes_vectored(&self) -> bool {
        true
    }
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::Endless;
    use crate::support::polled::{Polled, polled};
    use std::{
        io::{self, IoSlice},
        task::{Context, Poll},
    };
    use tokio::io::ReadBuf;

    /// Whoever polls polls again: nobody is woken.
    fn ready<T>(done: Option<T>) -> Poll<io::Result<T>> {
        done.map_or(Poll::Pending, |done| Poll::Ready(Ok(done)))
    }

    polled!(tokio: Endless);
    impl Polled for Endless {
        fn poll_read(
            &mut self,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let given = self.state().give(buf.initialize_unfilled());
            ready(given.map(|n| buf.advance(n)))
        }
        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            ready(self.state().take(&[IoSlice::new(bytes)]))
        }
        fn poll_write_vectored(
            &mut self,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            ready(self.state().take(slices))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
    }
}
