//! A stream in memory, of which the table's peer has the other end.
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use testkit::table::returns::{PROFILES, STREAMS};

/// How a stream takes and gives bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    #[default]
    Whole,
    /// A few bytes a read, and a few a write.
    Reads,
    Writes,
    /// It holds what it took until it is flushed, as TLS and buffered streams do.
    Holds,
    /// Frames that follow each other come in one read.
    Joined,
    /// It takes nothing until what follows each other has been called, or has arrived.
    Late,
}

/// How the stream of the word of this number flows.
pub(crate) fn flow(number: usize) -> Flow {
    let flows: [_; STREAMS] =
        [Flow::Whole, Flow::Reads, Flow::Writes, Flow::Holds, Flow::Joined, Flow::Late];
    flows[number / PROFILES % STREAMS]
}

/// How many of so many bytes a stream moves that moves a few; the middle of a long frame at once.
pub(crate) fn few(len: usize) -> usize {
    if len > 1024 { len - 512 } else { len.min(3) }
}

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
    pub(crate) flow: Flow,
    /// A late stream takes nothing now, and one that holds lets nothing go.
    pub(crate) waits: bool,
    /// What is written is sealed before it comes here.
    pub(crate) sealed: bool,
    held: Vec<u8>,
}

impl Pipe {
    pub(crate) fn new(flow: Flow) -> Self {
        Self(Arc::new(Mutex::new(State { flow, ..State::default() })))
    }

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
        let most = if state.flow == Flow::Reads { few(left.len()) } else { left.len() };
        let n = most.min(to.len());
        to[..n].copy_from_slice(&left[..n]);
        state.read += n;
        Some(Ok(n))
    }

    /// `WouldBlock`: it takes nothing now.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.refuses {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.waits && state.flow == Flow::Late {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = if state.flow == Flow::Writes { few(bytes.len()) } else { bytes.len() };
        let State { flow, held, wire, .. } = &mut *state;
        if *flow == Flow::Holds { held } else { wire }.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// `WouldBlock`: it lets nothing go now.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.refuses && !state.held.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.waits && !state.held.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let State { held, wire, .. } = &mut *state;
        wire.append(held);
        Ok(())
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
