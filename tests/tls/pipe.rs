//! A stream in memory with the peer's end in the caller's hand: for these tests, and for fuzzing.
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone, Default)]
pub(crate) struct Pipe(pub(crate) Rc<RefCell<Ends>>);

type Amid = dyn FnOnce() -> io::Result<()>;

#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) to_us: VecDeque<u8>,
    pub(crate) from_us: Vec<u8>,
    /// The most that a read gives.
    pub(crate) most: Option<usize>,
    /// The most that a write takes, every other time; it takes nothing at the others.
    pub(crate) takes: Option<usize>,
    turn: bool,
    pub(crate) ended: bool,
    /// Writes fail.
    pub(crate) broken: bool,
    /// What happens in each read of a task.
    pub(crate) read: Option<Box<dyn FnMut()>>,
    /// A call of a thread, and what happens in its middle the next time.
    pub(crate) amid: Option<(&'static str, Box<Amid>)>,
}

impl Pipe {
    pub(crate) fn put(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_us.extend(bytes);
    }

    pub(crate) fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().from_us)
    }

    pub(crate) fn amid(&self, call: &'static str, then: impl FnOnce() -> io::Result<()> + 'static) {
        self.0.borrow_mut().amid = Some((call, Box::new(then)));
    }

    fn called(&self, call: &str) -> io::Result<()> {
        let due = self.0.borrow_mut().amid.take_if(|due| due.0 == call);
        due.map_or(Ok(()), |(_, then)| then())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        if let Some(read) = &mut ends.read {
            read();
        }
        let n = ends.to_us.len().min(buf.remaining()).min(ends.most.unwrap_or(usize::MAX));
        if n == 0 && !ends.ended {
            return Poll::Pending;
        }
        let bytes: Vec<u8> = ends.to_us.drain(..n).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.0.borrow_mut();
        if ends.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(ends.takes.unwrap_or(usize::MAX));
        ends.turn = !ends.turn;
        if ends.takes.is_some() && ends.turn {
            return Poll::Pending;
        }
        ends.from_us.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// For a stream that does not block.
impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.called("read")?;
        match self.0.borrow_mut().to_us.read(buf)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.called("write")?;
        self.0.borrow_mut().from_us.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.called("flush")
    }
}
