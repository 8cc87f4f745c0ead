//! The back end over io_uring (Linux 6.1 and later).
//!
//! The kernel receives by itself, into buffers that it picks when bytes arrive. The filled buffers
//! wait here until the connection has its turn. Short output is copied. The call that waits sends
//! the copies of all connections together. Long output is sent at once.
//!
//! A socket has a place from its registration until the last completion of its requests. So a
//! closed stream keeps its descriptor until the kernel is done with it.
mod bytes;
mod filled;
mod ring;

use self::{
    filled::Filled,
    ring::{Completion, Of, Ring},
};
use crate::system::{Note, Token, fault, waker::Waker};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use std::{
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Arc,
    time::Duration,
};
use tickwire::Timestamped;

/// The most bytes of output that are copied. Longer output is sent at once, while it is in the
/// processor's cache: a copy would cost more than a system call.
const SHORT: usize = 4 << 10;
/// The most copies that may be under way. Above this number, short output is also sent at once.
const COPIES: usize = 256;
/// The most pieces that one call sends.
const PIECES: usize = 16;
/// Once more bytes than this wait in a place, the kernel has to stop receiving for it.
const MOST_FILLED: usize = 64 << 10;
/// The most times that closing a listener waits for the kernel, each time for at most 1 ms.
const CLOSE_WAITS: usize = 100;

/// Waits for all sockets, and makes the calls on them.
pub(crate) struct Uring {
    ring: Ring,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Notes from the waits of `stop_listening`, for the next `wait`.
    notes: Vec<Note>,
    batch: Vec<Completion>,
    /// Unused buffers to send from.
    outputs: Vec<Vec<u8>>,
    /// The number of buffers that are being sent from.
    copies: usize,
}

/// A TCP stream: the number of its place.
pub(crate) struct Stream(u32);

/// A listener.
pub(crate) struct Listener {
    at: u32,
    address: SocketAddr,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    /// What the waker writes to.
    Eventfd(#[expect(dead_code)] Arc<OwnedFd>),
    Listener(TcpListener),
    /// A socket in blocking mode, because in nonblocking mode the kernel would not wait for bytes.
    Plain(TcpStream),
    /// A stream whose reads also tell when the bytes arrived. The loop reads and writes it by
    /// direct calls, not through the ring.
    Stamped(Box<Timestamped<TcpStream>>),
}

/// A socket, and its requests to the kernel.
#[derive(Default)]
struct Place {
    token: Token,
    /// Owns `fd`.
    held: Held,
    fd: RawFd,
    /// A bit for each kind of request ([`Of`]), set while a request of this kind is under way.
    asked: u8,
    /// The number of requests under way. A closed place is free once this is zero.
    requests: u8,
    /// Whether the owner is gone.
    closed: bool,
    /// Whether receiving is being cancelled.
    stopping: bool,
    /// Whether a write was refused, so that a note is due when there is room.
    blocked: bool,
    /// Whether to shut the stream for writing after the send that is under way.
    shuts: bool,
    received: Filled,
    /// Set when nothing more will be received: 0 for the end of the stream, or the error code.
    end: Option<i32>,
    /// The error code of a send that failed.
    failed: Option<i32>,
}

impl Place {
    fn is_asked(&self, of: Of) -> bool {
        self.asked & 1 << of as u8 != 0
    }

    /// Counts a request of this kind. Returns the descriptor for the request.
    fn ask(&mut self, of: Of) -> RawFd {
        self.asked |= 1 << of as u8;
        self.requests += 1;
        #[cfg(test)] // the kernel refuses a request for this descriptor
        if fault(&format!("ask {of:?}")).is_err() {
            return -1;
        }
        self.fd
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        match &self.held {
            Held::Plain(tcp) => Ok(tcp),
            Held::Stamped(tcp) => Ok(tcp.get_ref()),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl Uring {
    /// # Errors
    ///
    /// If the kernel forbids io_uring to this process, or is too old.
    pub(crate) fn new() -> io::Result<(Self, Waker)> {
        let ring = Ring::new()?;
        fault("eventfd")?;
        let eventfd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut system = Self {
            ring,
            places: Vec::new(),
            free: Vec::new(),
            notes: Vec::new(),
            batch: Vec::new(),
            outputs: Vec::new(),
            copies: 0,
        };
        let at = system.take(Token::Waker, eventfd.as_raw_fd(), Held::Eventfd(eventfd.clone()));
        system.ask(at, Of::Wake);
        // Nobody reads this counter. It could overflow only after 2⁶⁴ calls.
        let end_wait = move || Ok(rustix::io::write(&eventfd, &1_u64.to_ne_bytes()).map(drop)?);
        Ok((system, Waker::new(end_wait)))
    }

    // Sockets.

    pub(crate) fn listen(&mut self, listener: TcpListener, token: Token) -> io::Result<Listener> {
        fault("listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let fd = listener.as_raw_fd();
        // The first `accept` asks the kernel. A request that waited for the first round would keep
        // the port of a listener that is closed before it.
        let at = self.take(token, fd, Held::Listener(listener));
        Ok(Listener { at, address })
    }

    pub(crate) fn accept(&mut self, from: &Listener) -> io::Result<(TcpStream, SocketAddr)> {
        fault("accept")?;
        // The ring only reports that connections wait. If it accepted them, none could stay in the
        // kernel's queue.
        let accepted = match &self.place(from.at)?.held {
            Held::Listener(listener) => listener.accept(),
            _ => Err(ErrorKind::NotConnected.into()),
        };
        if accepted.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.ask(from.at, Of::Readable);
        }
        accepted
    }

    /// Closes a listener. If the ring watches it, waits until the port is free, but at most
    /// 100 ms (`CLOSE_WAITS`).
    pub(crate) fn stop_listening(&mut self, listener: Listener) {
        let Some(place) = self.places.get_mut(listener.at as usize) else { return };
        place.closed = true;
        self.cancel(listener.at, Of::Readable);
        self.settle(listener.at);
        for _ in 0..CLOSE_WAITS {
            let held = self.places.get(listener.at as usize).map(|place| &place.held);
            if !matches!(held, Some(Held::Listener(_)))
                || self.ring.wait(Some(Duration::from_millis(1))).is_err()
            {
                break;
            }
            self.work_off();
        }
    }

    /// Registers an accepted stream. `stamps`: whether its reads tell the time of arrival.
    pub(crate) fn adopt(
        &mut self,
        stream: TcpStream,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        let at = self.register(stream, token, stamps)?;
        self.go_on(at);
        Ok(Stream(at))
    }

    fn register(&mut self, stream: TcpStream, token: Token, stamps: bool) -> io::Result<u32> {
        fault("adopt")?;
        stream.set_nodelay(true)?; // otherwise replies wait for acknowledgements
        stream.set_nonblocking(stamps)?;
        let fd = stream.as_raw_fd();
        let held = match stamps {
            true => Held::Stamped(Box::new(Timestamped::new(stream)?)),
            false => Held::Plain(stream),
        };
        Ok(self.take(token, fd, held))
    }

    /// Adds a stream that is connecting. A note reports when the result of
    /// [`is_connected`](Self::is_connected) has changed.
    pub(crate) fn adopt_connecting(
        &mut self,
        stream: TcpStream,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        let at = self.register(stream, token, stamps)?;
        self.ask(at, Of::Writable);
        Ok(Stream(at))
    }

    /// Whether a stream is connected; `false` while it is connecting.
    pub(crate) fn is_connected(&mut self, stream: &Stream) -> io::Result<bool> {
        fault("is_connected")?;
        let tcp = self.place(stream.0)?.tcp()?;
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => {
                self.go_on(stream.0);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                self.ask(stream.0, Of::Writable);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn peer_addr(&self, of: &Stream) -> io::Result<SocketAddr> {
        self.places.get(of.0 as usize).ok_or(ErrorKind::NotConnected)?.tcp()?.peer_addr()
    }

    // Waiting.

    /// Waits until a socket is ready, a thread wakes the loop, or `timeout` is over. Passes each
    /// change to `take`.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        take: &mut impl FnMut(Note),
    ) -> io::Result<()> {
        match fault("wait") {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            asked => asked?,
        }
        let timeout = if self.notes.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.ring.wait(timeout)?;
        self.work_off();
        self.notes.drain(..).for_each(take);
        Ok(())
    }

    /// Passes all written bytes on to the operating system now. Without this call, the next wait
    /// does that.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        self.ring.submit()
    }

    /// Whether a stream that accepted no more has accepted all bytes by now. A copy may be the only
    /// reason why it accepts no more; so the copies that wait are sent.
    pub(crate) fn accepts_again(&mut self, stream: &Stream) -> bool {
        let at = stream.0 as usize;
        let is_sending = |of: &Self| of.places.get(at).is_some_and(|of| of.is_asked(Of::Send));
        if !is_sending(self) || self.ring.has_sends() && self.ring.submit().is_err() {
            return false;
        }
        self.work_off(); // the next wait passes the notes on
        !is_sending(self)
    }

    /// Processes the completions that have arrived. Adds the changes to `notes`.
    fn work_off(&mut self) {
        let mut batch = mem::take(&mut self.batch);
        self.ring.complete(&mut batch);
        for done in batch.drain(..) {
            self.completed(done);
        }
        self.batch = batch;
    }

    fn completed(&mut self, mut done: Completion) {
        let at = done.at;
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if !done.more {
            place.requests -= 1;
            if done.of != Of::Cancel {
                place.asked &= !(1 << done.of as u8);
            }
        }
        let (mut readable, mut writable) = (false, false);
        match done.of {
            Of::Receive => {
                place.stopping &= done.more;
                readable = self.received(at, done.result, done.buffer.take());
            }
            Of::Send => writable = self.sent(at, done.result, done.buffer.take()),
            Of::Readable | Of::Wake => readable = true,
            Of::Writable => (place.blocked, writable) = (false, true),
            Of::Cancel if done.result.is_err() => place.stopping = false, // nothing was under way
            Of::Cancel => {}
        }
        self.ring.put(done.buffer);
        let Some(place) = self.places.get(at as usize) else { return };
        if !place.closed && (readable || writable) {
            let error = |code| io::Error::from_raw_os_error(code).kind();
            let (token, failed) = (place.token, place.failed.map(error));
            self.notes.push(Note { token, readable, writable, shut: false, failed });
        }
        if !done.more && matches!(done.of, Of::Receive | Of::Wake) {
            self.go_on(at);
        }
        self.settle(at);
    }

    // Places.

    fn take(&mut self, token: Token, fd: RawFd, held: Held) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        if let Some(place) = self.places.get_mut(at as usize) {
            *place = Place { token, held, fd, ..Place::default() };
        }
        at
    }

    fn place(&mut self, at: u32) -> io::Result<&mut Place> {
        self.places.get_mut(at as usize).ok_or(ErrorKind::NotConnected.into())
    }

    /// Frees a place that is closed, after its last completion.
    fn settle(&mut self, at: u32) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.closed && place.requests == 0 && !matches!(place.held, Held::Nothing) {
            place.held = Held::Nothing;
            self.free.push(at);
        }
    }

    /// Asks the kernel to receive, unless it does so already, the stream has ended, or enough bytes
    /// wait in the place.
    fn go_on(&mut self, at: u32) {
        let Some(place) = self.places.get(at as usize) else { return };
        if place.closed || place.end.is_some() || place.received.bytes() > MOST_FILLED {
            return;
        }
        match place.held {
            Held::Plain(_) => self.ask(at, Of::Receive),
            Held::Stamped(_) => self.ask(at, Of::Readable),
            Held::Eventfd(_) => self.ask(at, Of::Wake),
            Held::Listener(_) | Held::Nothing => {}
        }
    }

    /// Submits a request of the kind `of` for this place, unless one is under way already.
    fn ask(&mut self, at: u32, of: Of) {
        const IN: u32 = PollFlags::IN.bits() as u32 | PollFlags::RDHUP.bits() as u32;
        const OUT: u32 = PollFlags::OUT.bits() as u32;
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.is_asked(of) {
            return;
        }
        let fd = place.ask(of);
        match of {
            Of::Wake => self.ring.poll(at, of, fd, IN, true),
            Of::Readable => self.ring.poll(at, of, fd, IN, false),
            Of::Writable => self.ring.poll(at, of, fd, OUT, false),
            _ => self.ring.receive(at, fd),
        }
    }

    fn cancel(&mut self, at: u32, of: Of) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.is_asked(of) {
            place.requests += 1;
            self.ring.cancel(at, of);
        }
    }
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
