//! Streams over io_uring (Linux 6.1 and later). The ring also reports when mio's poll has an event,
//! so one wait serves both. Listeners and wakers stay with mio, and so do streams that are
//! connecting or tell the time of arrival.
//!
//! The kernel receives by itself, into buffers that it picks when bytes arrive, and which wait here
//! until the connection has its turn. Short output is copied, and the next wait sends the copies of
//! all connections together; long output is sent at once.
//!
//! A stream keeps its place, and its descriptor stays open, until the kernel has completed the last
//! of its requests, even if the loop closes it earlier.
mod bytes;
mod filled;
mod ring;

use self::{
    filled::Filled,
    ring::{Completion, Of, Ring},
};
use crate::system::{Note, Token, fault};
use std::{
    io::{self, ErrorKind},
    mem,
    net::TcpStream,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

/// Output of more bytes than this is sent at once, while it is in the processor's cache: a copy
/// would cost more than a system call.
const SHORT: usize = 4 << 10;
/// How many copies may be under way: 1 MiB in all. Beyond that, short output is also sent at once.
const COPIES: usize = 256;
/// How many slices one call sends.
const PIECES: usize = 16;
/// With this many unread bytes in a place, the kernel has to stop receiving for it.
const MOST_FILLED: usize = 64 << 10;
/// POLLIN of poll(2).
const IN: u32 = 1;
/// POLLOUT.
const OUT: u32 = 4;

pub(crate) struct Uring {
    ring: Ring,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Places that became readable (the first `bool`) or writable (the second), until the loop
    /// takes their notes.
    ready: Vec<(u32, bool, bool)>,
    /// Empty outside of `work_off`, and kept for its memory.
    batch: Vec<Completion>,
    /// Unused, to send from.
    outputs: Vec<Vec<u8>>,
    /// Buffers whose bytes are being sent.
    copies: usize,
    /// The kernel is asked to report the next event of mio's poll.
    polls: bool,
    /// The kernel has reported one.
    polled: bool,
}

/// The number of its place.
pub(crate) struct Stream(u32);

/// A stream, with its requests to the kernel.
#[derive(Default)]
struct Place {
    token: Token,
    /// In blocking mode: in nonblocking mode the kernel would not wait for bytes. `None` if the
    /// place is free.
    tcp: Option<TcpStream>,
    /// A bit for each kind of request ([`Of`]) that is under way.
    asked: u8,
    /// Under way. A closed place is free once this is zero.
    requests: u8,
    /// The owner is gone.
    closed: bool,
    /// Receiving is being cancelled.
    stopping: bool,
    /// A write or a shutdown was refused, so a `Note` is due when there is room.
    blocked: bool,
    /// The next write asks the stream, although the kernel has not reported room: see `can_ask`.
    asks: bool,
    /// The stream is shut for writing after the send that is under way.
    shuts: bool,
    received: Filled,
    /// Once nothing more will be received: 0 at the stream's end, otherwise an error code.
    end: Option<i32>,
    /// The error code of a send that failed.
    failed: Option<i32>,
}

impl Place {
    fn is_asked(&self, of: Of) -> bool {
        self.asked & 1 << of as u8 != 0
    }

    fn ask(&mut self, of: Of) -> RawFd {
        self.asked |= 1 << of as u8;
        self.requests += 1;
        self.tcp.as_ref().map_or(-1, |tcp| descriptor(tcp, of))
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        self.tcp.as_ref().ok_or(ErrorKind::NotConnected.into())
    }
}

fn descriptor(of: &impl AsRawFd, _kind: Of) -> RawFd {
    #[cfg(test)] // the kernel refuses a request for this descriptor
    if fault(&format!("ask {_kind:?}")).is_err() {
        return -1;
    }
    of.as_raw_fd()
}

impl Uring {
    /// # Errors
    ///
    /// If the kernel forbids io_uring to this process, or is too old.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new()?,
            places: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            batch: Vec::new(),
            outputs: Vec::new(),
            copies: 0,
            polls: false,
            polled: false,
        })
    }

    pub(crate) fn adopt(&mut self, stream: TcpStream, token: Token) -> Stream {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        // All fields, because an earlier stream may have had the place.
        if let Some(place) = self.places.get_mut(at as usize) {
            *place = Place { token, tcp: Some(stream), ..Place::default() };
        }
        self.go_on(at); // begins to receive
        Stream(at)
    }

    // Waiting.

    pub(crate) fn wait(
        &mut self,
        poll: &impl AsRawFd,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        match fault("wait") {
            // Only a test's fault is `Interrupted` here: `Ring::wait` ignores signals.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            asked => asked?,
        }
        // The kernel checks mio's `poll` when it takes this request, so it also reports events that
        // an earlier wait of mio has left there.
        if !mem::replace(&mut self.polls, true) {
            self.ring.poll(0, Of::Poll, descriptor(poll, Of::Poll), IN);
        }
        // If there are notes already, the wait must not block.
        let timeout = if self.ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.ring.wait(timeout)?;
        self.work_off();
        Ok(mem::take(&mut self.polled))
    }

    /// Made only now, because a stream may have been closed since it became ready, and the next
    /// connection may have the slot.
    pub(super) fn notes(&mut self) -> impl Iterator<Item = Note> {
        let Self { places, ready, .. } = self;
        ready.drain(..).filter_map(|(at, readable, writable)| {
            let place = places.get(at as usize).filter(|place| !place.closed)?;
            let failed = place.failed.map(|code| io::Error::from_raw_os_error(code).kind());
            // Only mio uses `shut`: here, a read finds the end in `Place::end`.
            Some(Note { token: place.token, readable, writable, shut: false, failed })
        })
    }

    pub(crate) fn submit(&mut self) -> io::Result<()> {
        self.ring.submit()
    }

    /// Submits the copies that wait, because an unsent one may be the only reason why the stream
    /// refuses bytes.
    pub(crate) fn accepts_again(&mut self, stream: &Stream) -> bool {
        let sends = self.places.get(stream.0 as usize).is_some_and(|of| of.is_asked(Of::Send));
        // If this fails, the copies stay queued: the next wait submits them, or reports the error.
        if sends && self.ring.has_sends() && self.ring.submit().is_err() {
            return false;
        }
        self.work_off(); // the next wait passes on each `Note`
        // An earlier call, for another stream, may have processed the completion of this stream's
        // send.
        self.writable(stream.0, false).is_ok()
    }

    /// Whether a write that no `Note` announced may succeed: the kernel reports room, and goes on
    /// with a send, only once about a third of the send buffer is free. A send that is under way is
    /// cancelled here, and so begins again: a second one might overtake it.
    pub(crate) fn can_ask(&mut self, stream: &Stream) -> bool {
        let Ok(place) = self.place(stream.0) else { return false };
        if place.is_asked(Of::Send) {
            self.cancel(stream.0, Of::Send);
            return false;
        }
        place.asks = true;
        true
    }

    fn work_off(&mut self) {
        // Taken out, because `completed` borrows all of `self`.
        let mut batch = mem::take(&mut self.batch);
        self.ring.complete(&mut batch);
        for done in batch.drain(..) {
            match done.of {
                Of::Poll => {
                    self.polls = false;
                    self.polled = true;
                }
                _ => self.completed(done),
            }
        }
        self.batch = batch;
    }

    fn completed(&mut self, done: Completion) {
        let at = done.at;
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if !done.more {
            place.requests -= 1;
            // `asked` has no bit for a `Cancel`.
            if done.of != Of::Cancel {
                place.asked &= !(1 << done.of as u8);
            }
        }
        let mut readable = false;
        let mut writable = false;
        match done.of {
            Of::Receive => {
                place.stopping &= done.more; // the last completion ends the stopping too
                readable = self.received(at, done.result, done.buffer);
            }
            Of::Send => writable = self.sent(at, done.result, done.buffer),
            // Even on failure: the next refused write makes another request.
            Of::Writable => {
                place.blocked = false;
                writable = true;
            }
            Of::Cancel if done.result.is_err() => place.stopping = false, // nothing to cancel
            Of::Cancel | Of::Poll => {}
        }
        if readable || writable {
            self.ready.push((at, readable, writable));
        }
        if !done.more && done.of == Of::Receive {
            self.go_on(at); // for example, if no buffer was free, the kernel has stopped receiving
        }
        self.settle(at);
    }

    // Places.

    fn place(&mut self, at: u32) -> io::Result<&mut Place> {
        self.places.get_mut(at as usize).ok_or(ErrorKind::NotConnected.into())
    }

    fn settle(&mut self, at: u32) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.closed && place.requests == 0 && place.tcp.take().is_some() {
            self.free.push(at); // only once, because `tcp` is gone now
        }
    }

    /// Unless the kernel is receiving already, the stream has ended, or enough bytes wait in the
    /// place.
    fn go_on(&mut self, at: u32) {
        let Some(place) = self.places.get(at as usize) else { return };
        if !place.closed && place.end.is_none() && place.received.bytes() <= MOST_FILLED {
            self.ask(at, Of::Receive);
        }
    }

    fn ask(&mut self, at: u32, of: Of) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.is_asked(of) {
            return; // two requests of a kind would share a bit of `asked`
        }
        let fd = place.ask(of);
        match of {
            Of::Writable => self.ring.poll(at, of, fd, OUT),
            _ => self.ring.receive(at, fd),
        }
    }

    fn cancel(&mut self, at: u32, of: Of) {
        let Some(place) = self.places.get_mut(at as usize) else { return };
        if place.is_asked(of) {
            place.requests += 1; // `asked` has no bit for a `Cancel`
            self.ring.cancel(at, of);
        }
    }
}
