//! The same by io_uring: the kernel receives into buffers that it picks when bytes arrive, and many lines' bytes
//! come by one system call. What is sent is little, and sent at once.
//!
//! What arrived is kept beside each stream, up to a bound, until its line has its turn.
use event_loop::socket::Note;
use io_uring_echo::ring::{Buffers, Completion, Of, Ring};
use rustix::net::SendFlags;
use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsRawFd, RawFd},
    rc::Rc,
    time::Duration,
};

/// What a line may have received and not taken before nothing more is received for it.
const MOST_HELD: usize = 64 << 10;

const ENOBUFS: i32 = 105;
const ECANCELED: i32 = 125;

pub struct Uring {
    ring: Ring,
    buffers: Buffers,
    /// By what the ring calls a peer; `free` are those in between that are gone.
    streams: Vec<Option<Rc<RefCell<Received>>>>,
    free: Vec<usize>,
    /// Those that nothing is asked of the kernel for.
    idle: Vec<usize>,
    /// Those whose stream takes no more for now, as they say.
    full: Rc<RefCell<Vec<usize>>>,
    batch: Vec<Completion>,
    expected: usize,
}

/// What came for a stream.
struct Received {
    token: usize,
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    /// Nothing comes any more, or why.
    end: Option<Option<io::Error>>,
    /// How many requests of it are with the kernel.
    asked: usize,
    stopping: bool,
}

/// A stream whose bytes the ring receives.
pub struct Ringed {
    tcp: TcpStream,
    at: usize,
    received: Rc<RefCell<Received>>,
    full: Rc<RefCell<Vec<usize>>>,
}

impl Uring {
    /// # Errors
    ///
    /// If this kernel has no io_uring for us.
    pub(crate) fn new() -> io::Result<Self> {
        let (ring, buffers) = Ring::new()?;
        Ok(Self {
            ring,
            buffers,
            streams: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            full: Rc::default(),
            batch: Vec::new(),
            expected: 1,
        })
    }

    pub(crate) fn dial(&mut self, token: usize, to: SocketAddr) -> io::Result<Ringed> {
        let domain = socket2::Domain::for_address(to);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        let tcp = TcpStream::from(socket);
        let at = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        if let Err(error) = self.connect(at, tcp.as_raw_fd(), to) {
            self.free.push(at);
            return Err(error);
        }
        let received =
            Received { token, bytes: Vec::new(), read: 0, end: None, asked: 1, stopping: false };
        let received = Rc::new(RefCell::new(received));
        self.streams[at] = Some(received.clone());
        Ok(Ringed { tcp, at, received, full: self.full.clone() })
    }

    fn connect(&mut self, at: usize, tcp: RawFd, to: SocketAddr) -> io::Result<()> {
        self.ring.register(at, tcp)?;
        self.ring.connect(at, to)
    }

    /// Waits, for `most` at most, and says which connections can go on.
    pub(crate) fn wait(
        &mut self,
        most: Duration,
        noted: &mut Vec<(usize, Note)>,
    ) -> io::Result<()> {
        for at in mem::take(&mut *self.full.borrow_mut()) {
            if let Some(stream) = &self.streams[at] {
                stream.borrow_mut().asked += 1;
                self.ring.writable(at)?;
            }
        }
        for at in mem::take(&mut self.idle) {
            self.go_on(at)?;
        }
        self.ring.wait(self.expected, Some(most))?;
        let mut batch = mem::take(&mut self.batch);
        self.ring.complete(&mut batch);
        // As many as came now: one busy line waits for no other.
        self.expected = batch.iter().filter(|c| matches!(c.of, Of::Receive(_))).count().max(1);
        for completion in batch.drain(..) {
            self.completed(completion, noted)?;
        }
        self.batch = batch;
        self.buffers.refill();
        Ok(())
    }

    fn completed(
        &mut self,
        mut completion: Completion,
        noted: &mut Vec<(usize, Note)>,
    ) -> io::Result<()> {
        let buffer = self.buffers.take(&mut completion);
        let (Of::Connect(at) | Of::Receive(at) | Of::Writable(at) | Of::Stop(at)) = completion.of
        else {
            return Ok(()); // not asked for here
        };
        if let Some(stream) = &self.streams[at] {
            let dropped = Rc::strong_count(stream) == 1; // its token may be another's by now
            let mut stream = stream.borrow_mut();
            let told = stream.completed(&completion, buffer.as_ref().map(|(b, n)| &b[..*n]));
            if !dropped {
                noted.push((stream.token, told));
            }
            if stream.has_enough() && completion.more && !mem::replace(&mut stream.stopping, true) {
                self.ring.stop_receiving(at)?;
            }
            let goes_on = completion.more || matches!(completion.of, Of::Stop(_));
            stream.asked -= usize::from(!goes_on);
        }
        if let Some((buffer, _)) = buffer {
            self.buffers.put(buffer);
        }
        self.go_on(at)
    }

    /// Receives, unless that is under way, or its line has enough; and forgets a stream that is gone.
    fn go_on(&mut self, at: usize) -> io::Result<()> {
        let Some(stream) = &self.streams[at] else {
            return Ok(());
        };
        let is_gone = Rc::strong_count(stream) == 1;
        let mut received = stream.borrow_mut();
        match received.asked {
            0 if is_gone => {
                drop(received);
                self.streams[at] = None;
                self.free.push(at);
                self.ring.forget(at)
            }
            0 if received.end.is_some() || received.has_enough() => {
                self.idle.push(at);
                Ok(())
            }
            0 => {
                received.asked = 1;
                self.ring.receive(at)
            }
            _ => Ok(()),
        }
    }
}

impl Received {
    fn has_enough(&self) -> bool {
        self.bytes.len() - self.read > MOST_HELD
    }

    /// What its line is told.
    fn completed(&mut self, completion: &Completion, bytes: Option<&[u8]>) -> Note {
        let mut note = Note::default();
        match (completion.of, &completion.result) {
            (Of::Connect(_) | Of::Writable(_), Ok(_)) => note.writable = true,
            (Of::Receive(_), Ok(1..)) => {
                if self.read == self.bytes.len() || self.read > MOST_HELD {
                    self.bytes.drain(..mem::take(&mut self.read));
                }
                self.bytes.extend_from_slice(bytes.unwrap_or_default());
                note.readable = true;
            }
            (Of::Receive(_), Ok(0)) => self.end = Some(None),
            (Of::Receive(_), Err(error))
                if matches!(error.raw_os_error(), Some(ENOBUFS | ECANCELED)) => {}
            (Of::Stop(_), Ok(_)) => {}
            (Of::Stop(_), Err(_)) => self.stopping = false, // nothing was stopped
            (_, Err(error)) => {
                self.end = Some(error.raw_os_error().map(io::Error::from_raw_os_error))
            }
            _ => {}
        }
        if matches!(completion.of, Of::Receive(_)) && !completion.more {
            self.stopping = false;
        }
        note.shut = self.end.is_some();
        note
    }
}

impl Ringed {
    pub(crate) fn shut_down(&self) {
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}

impl Drop for Ringed {
    fn drop(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Both); // ends what is asked for; then its place is free
    }
}

impl Read for Ringed {
    /// Less than there is room for is all there is.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let received = &mut *self.received.borrow_mut();
        let left = &received.bytes[received.read..];
        if !left.is_empty() {
            let n = left.len().min(to.len());
            to[..n].copy_from_slice(&left[..n]);
            received.read += n;
            return Ok(n);
        }
        match &mut received.end {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(error) => error.take().map_or(Ok(0), Err),
        }
    }
}

impl Write for Ringed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let sent = rustix::net::send(&self.tcp, from, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        sent.map_err(|error| {
            let error = io::Error::from(error);
            if error.kind() == ErrorKind::WouldBlock {
                self.full.borrow_mut().push(self.at);
            }
            error
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
