//! The loop: submit what was asked for and wait; hand out what is complete; ask for more. Receiving
//! and accepting are asked for once for as long as they go well.
//!
//! While something is being sent, the kernel reads from the connection's own buffer, so nobody
//! touches the connection; what it receives meanwhile is kept beside it, up to a bound, and then
//! nothing more is received: that is the backpressure.
use crate::{
    peer::{Next, Peer},
    ring::{Buffers, Completion, Of, Ring},
};
use rustix::net::SendFlags;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io::{self, Write},
    mem::{self, ManuallyDrop},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, RawFd},
    sync::Arc,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Time,
    tls::{Session, rustls::ServerConfig},
};

/// So many bytes are sent by a call of their own, while they are in the processor's cache; fewer with
/// those of others, in one submission.
const LARGE: usize = 4 << 10;
/// What a peer that does not read may have sent before nothing more is received.
const MOST_HELD: usize = 64 << 10;
/// How long a peer may take none of what is being sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many connections may wait to be accepted, as far as the system allows. Those beyond try again after a
/// second; the standard library has room for 128.
const BACKLOG: i32 = 4096;
/// When to accept again where that failed.
const RETRY: Duration = Duration::from_millis(100);
/// The longest buffer that is kept for other connections to send from, and how many are.
const KEPT: usize = 64 << 10;
const MOST_KEPT: usize = 64;

const ENOBUFS: i32 = 105;
const ECANCELED: i32 = 125;

pub struct Server {
    ring: Ring,
    listener: TcpListener,
    peers: Peers,
}

struct Peers {
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<usize>,
    /// When to look at which peer, if nothing happens before; each is here once at most.
    deadlines: BTreeSet<(Time, usize)>,
    config: Config,
    /// For `wss`.
    tls: Option<Arc<ServerConfig>>,
    /// As of the last wait.
    now: Time,
    buffers: Buffers,
    /// Buffers to send from, for those that are at it. The last one given back is the first taken: it
    /// is still in the processor's cache.
    outputs: Vec<Vec<u8>>,
    /// A connection could not be accepted, for want of descriptors as a rule: when to try again.
    accept_at: Option<Time>,
}

/// A peer and what the kernel does for it. Neither goes before the kernel is done.
struct Slot {
    peer: Peer,
    stream: TcpStream,
    receiving: bool,
    stopping: bool,
    /// Since when. The connection must not be touched.
    sending: Option<Time>,
    /// When that is sent, there is something to do.
    more: bool,
    over: bool,
    /// As it is in `deadlines`.
    deadline: Option<Time>,
}

impl Server {
    /// For this thread to `run`: `wss` with a configuration of TLS, `ws` without.
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or this kernel has no io_uring for us.
    pub fn bind(
        addr: SocketAddr,
        config: Config,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let (ring, buffers) = Ring::new()?;
        let listener = TcpListener::bind(addr)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let peers = Peers {
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            config,
            tls,
            now: Time::ZERO,
            buffers,
            outputs: Vec::new(),
            accept_at: None,
        };
        Ok(Self { ring, listener, peers })
    }

    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the system fails.
    pub fn run(self) -> io::Error {
        // What the kernel may still read is not freed.
        match ManuallyDrop::new(self).serve() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn serve(&mut self) -> io::Result<Infallible> {
        let Self { ring, listener, peers } = self;
        let epoch = Instant::now();
        let (mut expected, mut batch) = (1, Vec::new());
        ring.accept(listener.as_raw_fd())?;
        loop {
            let deadline = peers.deadlines.first().map(|&(at, _)| at);
            let next = deadline.into_iter().chain(peers.accept_at).min();
            ring.wait(expected, next.map(|at| at - peers.now))?;
            peers.now = Time::new(epoch.elapsed());
            ring.complete(&mut batch);
            // As many as came now: a server with one busy connection waits for no other.
            expected = batch.iter().filter(|c| matches!(c.of, Of::Receive(_))).count().max(1);
            for completion in batch.drain(..) {
                peers.completed(ring, listener, completion)?;
            }
            peers.buffers.refill();
            if peers.accept_at.take_if(|at| *at <= peers.now).is_some() {
                ring.accept(listener.as_raw_fd())?;
            }
            while let Some(&(time, at)) = peers.deadlines.first()
                && time <= peers.now
            {
                peers.deadlines.pop_first();
                peers.expired(ring, at)?;
            }
        }
    }
}

impl Peers {
    fn completed(
        &mut self,
        ring: &mut Ring,
        listener: &TcpListener,
        mut completion: Completion,
    ) -> io::Result<()> {
        match completion.of {
            Of::Accept => {
                match &completion.result {
                    Ok(fd) => self.accepted(ring, *fd as RawFd)?,
                    Err(error) => eprintln!("accept: {error}"),
                }
                match &completion.result {
                    _ if completion.more => {}
                    Ok(_) => ring.accept(listener.as_raw_fd())?,
                    Err(_) => self.accept_at = Some(self.now + RETRY),
                }
                Ok(())
            }
            Of::Receive(at) => self.received(ring, at, &mut completion),
            Of::Send(at) => self.sent(ring, at, &completion.result),
            Of::Connect(_) | Of::Writable(_) => Ok(()), // not asked for here
            Of::Stop(at) => {
                // Nothing was stopped: what is received next asks for it again.
                if let (Some(slot), Err(_)) = (&mut self.slots[at], &completion.result) {
                    slot.stopping = false;
                }
                Ok(())
            }
        }
    }

    fn accepted(&mut self, ring: &mut Ring, fd: RawFd) -> io::Result<()> {
        // SAFETY: the kernel has just opened it for us, and told nobody else.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        let _ = stream.set_nodelay(true); // else replies wait for acknowledgements
        let tls = match self.tls.clone().map(Session::server).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                eprintln!("{error}");
                return Ok(());
            }
        };
        let slot = Slot {
            peer: Peer::new(&self.config, tls),
            stream,
            receiving: false,
            stopping: false,
            sending: None,
            more: false,
            over: false,
            deadline: None,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Err(error) = ring.register(at, slot.stream.as_raw_fd()) {
            eprintln!("register: {error}");
            self.free.push(at);
            return Ok(());
        }
        self.slots[at] = Some(Box::new(slot));
        self.turn(ring, at, 0, Vec::new())
    }

    fn received(
        &mut self,
        ring: &mut Ring,
        at: usize,
        completion: &mut Completion,
    ) -> io::Result<()> {
        let (buffer, n) = self.buffers.take(completion).unwrap_or_default();
        let Some(slot) = &mut self.slots[at] else {
            return Ok(()); // not before the last completion
        };
        slot.receiving = completion.more;
        slot.stopping &= completion.more;
        match &completion.result {
            Ok(1..) => {}
            Err(error) if matches!(error.raw_os_error(), Some(ENOBUFS | ECANCELED)) => {}
            _ => slot.peer.shut(),
        }
        if slot.sending.is_none() || slot.over {
            return self.turn(ring, at, n, buffer);
        }
        slot.more = true;
        let held = slot.peer.hold(&buffer[..n]);
        self.buffers.put(buffer);
        if held > MOST_HELD && completion.more && !mem::replace(&mut slot.stopping, true) {
            ring.stop_receiving(at)?;
        }
        Ok(())
    }

    fn sent(&mut self, ring: &mut Ring, at: usize, result: &io::Result<usize>) -> io::Result<()> {
        let Some(slot) = &mut self.slots[at] else {
            return Ok(());
        };
        slot.sending = None;
        let mut until = None;
        match (result, slot.peer.outgoing()) {
            (Ok(n @ 1..), Some(mut out)) => out.advance(*n),
            _ => {
                slot.peer.write_failed(); // what still comes may say why
                slot.more = true;
            }
        }
        slot.more |= slot.peer.has_outgoing();
        if let Some(conn) = slot.peer.connection() {
            keep(&mut self.outputs, conn.sender_mut().reclaim());
            until = conn.poll_timeout();
        }
        if slot.more {
            return self.turn(ring, at, 0, Vec::new());
        }
        until.into_iter().for_each(|until| self.arm(at, until));
        Ok(())
    }

    fn expired(&mut self, ring: &mut Ring, at: usize) -> io::Result<()> {
        let Some(slot) = &mut self.slots[at] else {
            return Ok(());
        };
        slot.deadline = None;
        match slot.sending {
            None => return self.turn(ring, at, 0, Vec::new()),
            Some(since) if self.now - since >= WRITE_TIMEOUT => {
                let _ = slot.stream.shutdown(Shutdown::Both); // so the send fails
            }
            Some(since) => {
                slot.more = true; // it may have been another deadline
                self.arm(at, since + WRITE_TIMEOUT);
            }
        }
        Ok(())
    }

    /// Does what can be done with the first `n` bytes of `input`, and asks the kernel for what comes
    /// next. Not while something is being sent.
    fn turn(&mut self, ring: &mut Ring, at: usize, n: usize, input: Vec<u8>) -> io::Result<()> {
        let mut input = if input.is_empty() { self.buffers.spare() } else { input };
        let turn = self.advance(ring, at, n, &mut input);
        self.buffers.put(input);
        turn
    }

    fn advance(
        &mut self,
        ring: &mut Ring,
        at: usize,
        mut n: usize,
        input: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Some(slot) = &mut self.slots[at] else {
            return Ok(());
        };
        while !slot.over {
            if let Some(conn) = slot.peer.connection()
                && !conn.sender().has_outgoing()
            {
                conn.sender_mut().lend(self.outputs.pop().unwrap_or_default());
            }
            let next = slot.peer.advance(input, mem::take(&mut n), self.now);
            if let Some(conn) = slot.peer.connection() {
                keep(&mut self.outputs, conn.sender_mut().reclaim()); // none, if something is in it
            }
            match next {
                Next::Send { more } => {
                    if let Some(mut out) = slot.peer.outgoing() {
                        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                        if out.chunk().len() >= LARGE
                            && let Ok(n @ 1..) = rustix::net::send(&slot.stream, out.chunk(), flags)
                        {
                            out.advance(n);
                            continue;
                        }
                        // SAFETY: they lie in buffers of the connection's sender, or of its session of TLS,
                        // which nobody touches or drops before `sending` is `None` again.
                        unsafe { ring.send(at, out.chunk())? };
                    }
                    slot.more = more || !slot.receiving;
                    slot.sending = Some(self.now);
                    let until = self.now + WRITE_TIMEOUT;
                    self.arm(at, until);
                    return Ok(());
                }
                Next::Receive(until) => {
                    if !mem::replace(&mut slot.receiving, true) {
                        ring.receive(at)?;
                    }
                    if let Some(until) = until {
                        self.arm(at, until);
                    }
                    return Ok(());
                }
                Next::Reject(text) => {
                    // The first that is written, and short: the system has room for it.
                    let _ = slot.stream.write(&text);
                    let _ = slot.stream.shutdown(Shutdown::Write);
                }
                Next::ShutDown => {
                    let _ = slot.stream.shutdown(Shutdown::Write);
                }
                Next::Over => {
                    slot.over = true;
                    let _ = slot.stream.shutdown(Shutdown::Both); // ends what is asked for
                }
            }
        }
        if !slot.receiving && slot.sending.is_none() {
            if let Some(armed) = slot.deadline {
                self.deadlines.remove(&(armed, at));
            }
            ring.forget(at)?;
            self.slots[at] = None;
            self.free.push(at);
        }
        Ok(())
    }

    /// A deadline that moves on stays where it is: looking early costs less than moving it.
    fn arm(&mut self, at: usize, until: Time) {
        if let Some(slot) = &mut self.slots[at]
            && slot.deadline.is_none_or(|armed| until < armed)
        {
            self.deadlines.insert((until, at));
            if let Some(armed) = slot.deadline.replace(until) {
                self.deadlines.remove(&(armed, at));
            }
        }
    }
}

fn keep(outputs: &mut Vec<Vec<u8>>, output: Vec<u8>) {
    if !output.is_empty() && output.len() <= KEPT && outputs.len() < MOST_KEPT {
        outputs.push(output);
    }
}
