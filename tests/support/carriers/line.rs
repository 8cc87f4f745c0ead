//! A stream in memory whose far end says what it has to say, and hangs up.
//!
//! If a read gives at most one byte ([`bytewise`]), so does a write take, and every other read is
//! interrupted or has to wait (P211).
use crate::support::wire::bytewise;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

/// Both handles of it are the same stream.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<State>>);

type Respond = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

#[derive(Default)]
struct State {
    input: Vec<u8>,
    /// How much of it was read.
    read: usize,
    /// The most that one read gives and one write takes.
    most: usize,
    /// The last read was put off.
    stalled: bool,
    /// How much the far end had heard when it last waited for more; `None`: it does not wait.
    heard: Option<usize>,
    /// Makes the input of a whole request, once it was written.
    respond: Option<Respond>,
    output: Vec<u8>,
    shut: bool,
}

impl State {
    fn left(&self) -> usize {
        self.input.len() - self.read
    }
}

impl Line {
    pub(crate) fn new(input: &[u8], most: usize) -> Self {
        let state = State { input: input.to_vec(), most, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The far end of a client: it hangs up after its response.
    pub(crate) fn responding(
        respond: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
        most: usize,
    ) -> Self {
        let state = State { respond: Some(Box::new(respond)), most, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn output(&self) -> Vec<u8> {
        self.lock().output.clone()
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.lock().shut
    }

    /// How much of the input was not read yet.
    pub(crate) fn left(&self) -> usize {
        self.lock().left()
    }

    fn stalls(&self) -> bool {
        let mut state = self.lock();
        state.stalled = state.most == 1 && !state.stalled;
        state.stalled
    }

    /// Before it hangs up the far end waits as long as it is being answered: however slowly an
    /// answer is written, it is not cut off. Meanwhile a read would block.
    pub(crate) fn patient(self) -> Self {
        self.lock().heard = Some(0);
        self
    }

    /// Whether the far end has said all, and waits: it heard something since it last did.
    fn listens(&self) -> bool {
        let mut state = self.lock();
        let heard = state.output.len();
        state.left() == 0
            && state.heard.as_mut().is_some_and(|before| std::mem::replace(before, heard) != heard)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn take(&self, to: &mut [u8]) -> usize {
        let mut state = self.lock();
        let left = state.left();
        let most = if state.most == 1 { bytewise(state.read, left) } else { state.most };
        let n = left.min(to.len()).min(most);
        to[..n].copy_from_slice(&state.input[state.read..][..n]);
        state.read += n;
        n
    }

    fn put(&self, from: &[u8]) -> usize {
        let mut state = self.lock();
        assert!(!state.shut, "a write after the shutdown");
        let n = from.len().min(state.most);
        let new = state.output.len().saturating_sub(3);
        state.output.extend(&from[..n]);
        if state.respond.is_some() && state.output[new..].windows(4).any(|w| w == b"\r\n\r\n") {
            // P093: nothing but the request, before it is answered.
            assert!(state.output.ends_with(b"\r\n\r\n"), "{}", state.output.escape_ascii());
            let respond = state.respond.take().unwrap();
            let response = respond(&state.output);
            state.input.extend(response);
        }
        n
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

#[cfg(feature = "blocking")]
mod blocking {
    use super::Line;
    use std::{
        io::{ErrorKind, Read, Result, Write},
        time::Duration,
    };

    impl Read for Line {
        fn read(&mut self, to: &mut [u8]) -> Result<usize> {
            if self.stalls() {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.listens() {
                return Err(ErrorKind::WouldBlock.into());
            }
            Ok(Self::take(self, to))
        }
    }

    impl Write for Line {
        fn write(&mut self, from: &[u8]) -> Result<usize> {
            Ok(Self::put(self, from))
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl tickwire::blocking::Stream for Line {
        crate::support::tries::tries!();
        crate::support::tries::cannot_wait!();
        fn set_read_timeout(&self, _: Option<Duration>) -> Result<()> {
            Ok(())
        }

        fn shutdown(&mut self) -> Result<()> {
            self.lock().shut = true;
            Ok(())
        }

        fn try_clone(&self) -> Result<Self> {
            Ok(self.clone())
        }
    }
}

#[cfg(feature = "tokio")]
mod asynchronous {
    use super::Line;
    use crate::support::polled::{Polled, polled};
    use std::{
        io::Result,
        task::{Context, Poll},
    };
    use tokio::io::ReadBuf;

    polled!(tokio: Line);
    impl Polled for Line {
        fn poll_read(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            if self.stalls() || self.listens() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = self.take(to.initialize_unfilled());
            to.advance(n);
            Poll::Ready(Ok(()))
        }
        fn poll_write(&mut self, _: &mut Context<'_>, from: &[u8]) -> Poll<Result<usize>> {
            Poll::Ready(Ok(self.put(from)))
        }
        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            self.lock().shut = true;
            Poll::Ready(Ok(()))
        }
    }
}
