//! A stream in memory, of which the table's peer has the other end.
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// A stream in memory. All handles are the same stream.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) input: Vec<u8>,
    pub(crate) read: usize,
    /// The peer's stream has ended; by a reset.
    pub(crate) end: Option<bool>,
    /// What was written, and that the stream was shut.
    pub(crate) wire: Vec<u8>,
    pub(crate) shut: bool,
    pub(crate) refuses: bool,
}

impl Pipe {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The end has dropped it.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// None: there is nothing to read.
    pub(crate) fn read(&self, to: &mut [u8]) -> Option<io::Result<usize>> {
        let mut state = self.lock();
        let left = &state.input[state.read..];
        if left.is_empty() {
            return state.end.map(|reset| match reset {
                true => Err(io::ErrorKind::ConnectionReset.into()),
                false => Ok(0),
            });
        }
        let n = left.len().min(to.len());
        to[..n].copy_from_slice(&left[..n]);
        state.read += n;
        Some(Ok(n))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.refuses {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.wire.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    pub(crate) fn shut(&self) {
        self.lock().shut = true;
    }

    pub(crate) fn arrives(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.input.clear();
        state.input.extend_from_slice(bytes);
        state.read = 0;
    }
}
