//! One line of a feed and its turns: dialed, shaken hands with, subscribed, read; and dialed again, as
//! `Backoff` has it.
//!
//! All that is about the protocol is the core's; here are the turns, the clock and the buffers.
use crate::{
    feed::{Feed, Foreign},
    stages::Stages,
    wire::{Poller, Wire},
};
use event_loop::socket::{Note, Socket, is_passing};
use std::{
    io, mem,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};
use tickwire::{
    Config, Connection, Error, RecvError, Step, SystemEntropy, Time,
    handshake::{
        Progress,
        client::{Handshake, Request},
    },
    tls::{Session, rustls::ClientConfig},
};
use tickwire_feed::Rotation;
use tickwire_parts::Backoff;

/// Reads in one turn: a feed that never stops sending must not keep the others waiting.
const READS: usize = 2;
/// Messages in one turn, likewise.
const MESSAGES: usize = 256;
/// A connection that brought messages for so long has been useful: delays start anew.
const PROVEN: Duration = Duration::from_millis(500);

/// What all lines use in turn.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) tls: Arc<ClientConfig>,
    epoch: Instant,
    /// The receive buffer and the send buffer: with the line that has its turn, else here.
    input: Vec<u8>,
    output: Vec<u8>,
    pub(crate) stages: Stages,
    /// The epoch, since that of Unix.
    unix: Duration,
}

/// Places for connections of a line: the one that is followed, the one that takes its place, one that is being closed.
pub(crate) const SEATS: usize = 3;

pub struct Line {
    pub(crate) feed: usize,
    request: Request,
    address: SocketAddr,
    backoff: Backoff,
    seats: [Seat; SEATS],
    /// Of the seats, those that are followed: another connection takes the place of one that is too old.
    rotation: Rotation<usize>,
    /// Not to be dialed before; `None`: it would end the same way.
    dials: Option<Time>,
    /// How many connections were opened.
    pub opened: u64,
    /// How many of them were closed because another had taken their place.
    pub replaced: u64,
    /// Why the last one ended, or could not be had.
    pub ended: Option<String>,
}

#[allow(clippy::large_enum_variant)] // the largest is the one that lasts
enum Seat {
    Free,
    Dialing(Socket<Wire>, Handshake),
    Open(Open),
}

struct Open {
    socket: Socket<Wire>,
    conn: Connection,
    /// None, while it is closed.
    line: Option<tickwire_feed::Line>,
    since: Time,
    /// When the bytes that are being stepped over arrived, as the kernel says, and were read.
    arrived: Option<Time>,
    read: Time,
    useful: bool,
}

/// How a line's turn ended.
pub(crate) enum Turn {
    /// It waits for its stream, or until then.
    Wait(Option<Time>),
    /// It has more to do.
    Again,
}

impl Turn {
    /// Of a line whose connections have had theirs.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wait(one), Self::Wait(other)) => Self::Wait(one.into_iter().chain(other).min()),
            _ => Self::Again,
        }
    }
}

/// How a connection ended.
enum End {
    Closed(u16),
    Failed(Error),
    /// By us: it is no feed.
    Foreign(Foreign),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Shared {
    pub(crate) fn new(config: Config, tls: Arc<ClientConfig>, stages: Stages) -> Self {
        let (input, output) = (Vec::new(), Vec::new()); // the first connection allocates them
        let (epoch, unix) = (Instant::now(), UNIX_EPOCH.elapsed().unwrap_or_default());
        Self { config, tls, epoch, input, output, stages, unix }
    }

    pub(crate) fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// The kernel's time since the Unix epoch, by our clock.
    fn by_our_clock(&self, time: Duration) -> Time {
        Time::new(time.saturating_sub(self.unix))
    }
}

impl Line {
    /// Resolves the name, once.
    pub(crate) fn new(
        feed: usize,
        url: &str,
        backoff: Backoff,
        rotation: Rotation<usize>,
    ) -> Result<Self, Error> {
        let request = Request::new(url)?;
        let target = request.target();
        let mut addresses = (target.host(), target.port()).to_socket_addrs()?;
        let address = addresses.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self {
            feed,
            request,
            address,
            backoff,
            seats: [const { Seat::Free }; SEATS],
            rotation,
            dials: Some(Time::ZERO),
            opened: 0,
            replaced: 0,
            ended: None,
        })
    }

    /// Which of the handler's feeds it is a line of.
    pub fn feed(&self) -> usize {
        self.feed
    }

    pub fn is_open(&self) -> bool {
        self.rotation.iter().next().is_some()
    }

    pub fn has_given_up(&self) -> bool {
        self.dials.is_none()
    }

    /// Takes note of what the system says of a connection.
    pub(crate) fn note(&mut self, seat: usize, note: Note) {
        match &mut self.seats[seat] {
            Seat::Dialing(socket, _) | Seat::Open(Open { socket, .. }) => socket.note(note),
            Seat::Free => {} // of a stream that is gone
        }
    }

    /// Does what can be done now. `at`: which line it is.
    pub(crate) fn turn(
        &mut self,
        at: usize,
        feed: &mut Feed,
        shared: &mut Shared,
        poller: &mut Poller,
    ) -> Turn {
        let mut turn = Turn::Wait(None);
        for seat in 0..SEATS {
            let id = at * SEATS + seat;
            let done = match &mut self.seats[seat] {
                Seat::Free => continue,
                Seat::Dialing(..) => self.open(seat, id, feed, shared),
                Seat::Open(open) => open.turn(id, feed, shared),
            };
            match done {
                Ok(done) => turn = turn.and(done),
                Err(end) => self.end(seat, id, end, feed, shared.now()),
            }
        }
        let seats = &self.seats;
        let in_sequence = |&seat: &usize| match &seats[seat] {
            Seat::Open(Open { line: Some(line), .. }) => feed.in_sequence(line),
            _ => false,
        };
        if let Some(seat) = self.rotation.retire(in_sequence) {
            self.retire(seat, at * SEATS + seat, feed, shared.now());
            turn = Turn::Again;
        }
        turn.and(self.dial_if_due(at, feed, shared, poller))
    }

    /// A connection in whose place another is.
    fn retire(&mut self, seat: usize, id: usize, feed: &mut Feed, now: Time) {
        self.replaced += 1;
        if let Seat::Open(open) = &mut self.seats[seat]
            && let Some(line) = open.line.take()
        {
            feed.close(line, id, now);
            let _ = open.conn.sender_mut().close(None); // what still comes is dropped
        }
    }

    fn dial_if_due(
        &mut self,
        at: usize,
        feed: &mut Feed,
        shared: &Shared,
        poller: &mut Poller,
    ) -> Turn {
        let due = match self.is_open() {
            true => self.rotation.poll_timeout(),
            false => Some(Time::ZERO),
        };
        let is_dialing = self.seats.iter().any(|seat| matches!(seat, Seat::Dialing(..)));
        let free = self.seats.iter().position(|seat| matches!(seat, Seat::Free));
        match (due.zip(self.dials), free) {
            (Some((due, dials)), Some(seat)) if !is_dialing => {
                let (due, id) = (due.max(dials), at * SEATS + seat);
                if due > shared.now() {
                    return Turn::Wait(Some(due));
                }
                if let Err(end) = self.dial(seat, id, shared, poller) {
                    self.end(seat, id, end, feed, shared.now());
                }
                Turn::Again // which starts its clock
            }
            _ => Turn::Wait(None),
        }
    }

    fn dial(
        &mut self,
        seat: usize,
        id: usize,
        shared: &Shared,
        poller: &mut Poller,
    ) -> Result<(), End> {
        let wire = poller.dial(id, self.address)?;
        let target = self.request.target();
        let tls = target.secure().then(|| Session::client(shared.tls.clone(), target));
        let tls = tls.transpose().map_err(|error| End::Failed(error.into()))?;
        let handshake = Handshake::new(&self.request, &shared.config, SystemEntropy::new()?);
        self.seats[seat] = Seat::Dialing(Socket::new(wire, tls, false), handshake);
        Ok(())
    }

    /// The opening handshake, that of TLS included.
    fn open(
        &mut self,
        seat: usize,
        id: usize,
        feed: &mut Feed,
        shared: &mut Shared,
    ) -> Result<Turn, End> {
        let Seat::Dialing(socket, handshake) = &mut self.seats[seat] else {
            return Ok(Turn::Again);
        };
        let failed = loop {
            match socket.say(handshake.outgoing()) {
                Ok(n) => handshake.advance(n),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
            match handshake.step() {
                Ok(Progress::Complete) => break None,
                Err(error) => break Some(error),
                Ok(Progress::Partial) if socket.is_readable() => {
                    match socket.read(handshake.reading.spare_mut()) {
                        Ok(0) => handshake.reading.end_of_stream(),
                        Ok(n) => handshake.reading.commit(n),
                        Err(error) if is_passing(&error) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(Progress::Partial) => match handshake.reading.poll_timeout() {
                    Some(at) if at <= shared.now() => {
                        let _ = handshake.reading.handle_timeout(shared.now()); // `step` repeats it
                    }
                    at => return Ok(Turn::Wait(at)),
                },
            }
        };
        let Seat::Dialing(socket, handshake) = mem::replace(&mut self.seats[seat], Seat::Free)
        else {
            return Ok(Turn::Again);
        };
        if let Some(error) = failed {
            return Err(End::Failed(match handshake.into_refusal() {
                Some(refusal) => Error::Refused(Box::new(refusal)),
                None => error.into(),
            }));
        }
        let conn = handshake.into_connection().map_err(|error| End::Failed(error.into()))?;
        let (line, since) = (Some(feed.open()), shared.now());
        let mut open =
            Open { socket, conn, line, since, arrived: None, read: since, useful: false };
        open.say("subscribe", feed); // before the snapshot, so that there is no hole in between
        self.seats[seat] = Seat::Open(open);
        self.opened += 1;
        if let Some(old) = self.rotation.opened(seat, since) {
            self.retire(old, id - seat + old, feed, since);
        }
        Ok(Turn::Again)
    }

    fn end(&mut self, seat: usize, id: usize, end: End, feed: &mut Feed, now: Time) {
        let _ = self.rotation.ended(|&ended| ended == seat);
        if let Seat::Open(open) = mem::replace(&mut self.seats[seat], Seat::Free) {
            if open.useful {
                self.backoff.reset();
            }
            let Some(line) = open.line else {
                return; // by us
            };
            feed.close(line, id, now);
        }
        let delay = match &end {
            End::Closed(code) => self.backoff.after_close(*code),
            End::Failed(error) => self.backoff.after_error(error.retry_delay()),
            End::Foreign(_) => None,
        };
        self.ended = Some(match end {
            End::Closed(code) => format!("closed with {code}"),
            End::Failed(error) => error.to_string(),
            End::Foreign(foreign) => foreign.to_string(),
        });
        self.dials = delay.map(|delay| now + delay);
    }
}

impl Open {
    /// Asks for something of the feed.
    fn say(&mut self, what: &str, feed: &Feed) {
        let _ = self.conn.sender_mut().feed(&*format!("{what} {}", feed.number())); // nobody listens if it is closed
    }

    fn turn(&mut self, at: usize, feed: &mut Feed, shared: &mut Shared) -> Result<Turn, End> {
        self.conn.sender_mut().lend(mem::take(&mut shared.output));
        if self.line.is_some() && feed.asks(at) {
            self.say("snapshot", feed);
        }
        let turn = self.serve(feed, shared);
        keep(&mut shared.input, self.conn.receiver_mut().reclaim());
        keep(&mut shared.output, self.conn.sender_mut().reclaim());
        turn
    }

    /// Takes in all there is, but for what other lines would have to wait for.
    fn serve(&mut self, feed: &mut Feed, shared: &mut Shared) -> Result<Turn, End> {
        for _ in 0..READS {
            let step = self.take(feed, shared)?;
            let Self { socket, conn, .. } = self;
            socket.write(conn);
            let reads = match step {
                None => return Ok(Turn::Again),
                Some(Ok(Step::Closed) | Err(_)) => match socket.end(conn) {
                    Some(reads) => reads,
                    None => return Err(self.end(step)),
                },
                Some(Ok(_)) => true,
            };
            if reads && socket.is_readable() {
                if !conn.receiver().has_buffer() {
                    conn.receiver_mut().lend(mem::take(&mut shared.input));
                }
                match socket.read(conn.receiver_mut().spare_mut()) {
                    Ok(0) => conn.receiver_mut().end_of_stream(),
                    Ok(n) => {
                        conn.receiver_mut().commit(n);
                        self.read = shared.now();
                        let arrived = self.socket.stream().arrived();
                        self.arrived = arrived.map(|at| shared.by_our_clock(at));
                    }
                    Err(error) if is_passing(&error) => {}
                    Err(error) if self.conn.closed().is_none() => return Err(error.into()),
                    Err(_) => return Err(self.end(step)),
                }
                continue;
            }
            match conn.poll_timeout() {
                // A Ping may be due now, or `step` has to say that time is up.
                Some(at) if at <= shared.now() => {
                    let _ = conn.handle_timeout(shared.now());
                }
                at => return Ok(Turn::Wait(at)),
            }
        }
        Ok(Turn::Again)
    }

    /// Hands the feed what was read. `None`: it has had its turn, and there is more.
    fn take(
        &mut self,
        feed: &mut Feed,
        shared: &mut Shared,
    ) -> Result<Option<Result<Step, RecvError>>, End> {
        for _ in 0..MESSAGES {
            match self.conn.step() {
                Ok(Step::Message) => {}
                Ok(Step::Ping | Step::Pong | Step::Close) => continue, // answered already
                step => return Ok(Some(step)),
            }
            let Some(message) = self.conn.receiver().message() else {
                continue;
            };
            let Some(line) = &self.line else {
                continue;
            };
            let begin = shared.now();
            let is_next = feed.take(line, message.as_bytes(), begin).map_err(End::Foreign)?;
            self.useful = begin - self.since > PROVEN;
            if is_next {
                let done = shared.now();
                shared.stages.record(self.arrived, self.read, begin, done);
            }
        }
        Ok(None)
    }

    /// How it ended, if it has.
    fn end(&self, step: Option<Result<Step, RecvError>>) -> End {
        match (step, self.conn.closed()) {
            (Some(Err(error)), _) => End::Failed(error.into()),
            (_, Some(closed)) => End::Closed(closed.code),
            (_, None) => End::Failed(RecvError::UnexpectedEof.into()),
        }
    }
}

/// Keeps a buffer for the next one, unless it is shorter than the one that is here: connections
/// bring a small one from their handshake.
fn keep(shared: &mut Vec<u8>, buffer: Vec<u8>) {
    if buffer.len() > shared.len() {
        *shared = buffer;
    }
}
