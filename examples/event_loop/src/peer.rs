//! One peer and its turns: the opening handshake, then messages, then an orderly end.
//!
//! Events are edges: readiness is told once, so a peer remembers what it has not used up yet. All
//! that is about the protocol is the core's; here are the stream, the clock and the buffers.
use bytes::Buf;
use mio::{event::Event, net::TcpStream};
use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::Shutdown,
    time::{Duration, Instant, UNIX_EPOCH},
};
use tickwire::{
    Config, Connection, Ending, RecvError, Step, Time,
    handshake::{
        Progress,
        server::{Accept, Handshake, Rejection},
    },
};

/// Reads in one turn: a peer that never stops sending must not keep the others waiting.
const READS: usize = 16;
/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// What all peers use in turn.
pub struct Shared {
    config: Config,
    epoch: Instant,
    /// The receive buffer and the send buffer: with whoever has its turn, else here.
    input: Vec<u8>,
    output: Vec<u8>,
}

pub struct Peer {
    socket: Socket,
    stage: Stage,
    /// What the loop has armed for it.
    pub deadline: Option<Time>,
}

struct Socket {
    stream: TcpStream,
    /// The system said so, and no read has found the end of it.
    readable: bool,
    /// It takes bytes, as far as is known. Not tried before the system says so: what its buffers
    /// grow by is no sign of a peer that reads.
    writable: bool,
    /// The peer's end is shut: nothing will be told again.
    shut: bool,
}

#[allow(clippy::large_enum_variant)] // the largest is the one that lasts
enum Stage {
    Opening(Handshake),
    Open(Connection),
    /// It was told why. Until when what it still sends is read and dropped.
    Refused(Time),
}

/// How a peer's turn ended.
pub enum Turn {
    /// It waits for its stream, or until then.
    Wait(Option<Time>),
    /// It has more to do.
    Again,
    Over,
}

impl Shared {
    pub fn new(config: Config) -> Self {
        let (input, output) = (Vec::new(), Vec::new()); // the first connection allocates them
        Self { config, epoch: Instant::now(), input, output }
    }

    pub fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}

impl Peer {
    pub fn new(stream: TcpStream, shared: &Shared) -> Self {
        let socket = Socket { stream, readable: false, writable: true, shut: false };
        let stage = Stage::Opening(Handshake::new(&shared.config));
        Self { socket, stage, deadline: None }
    }

    /// Takes note of what the system says.
    pub fn note(&mut self, event: &Event) {
        let shut = event.is_read_closed() || event.is_error();
        self.socket.shut |= shut;
        self.socket.readable |= shut || event.is_readable();
        self.socket.writable |= shut || event.is_writable();
    }

    /// Does what can be done now.
    pub fn turn(&mut self, shared: &mut Shared) -> Turn {
        let Self { socket, stage, .. } = self;
        match stage {
            Stage::Opening(_) => self.open(shared),
            Stage::Open(conn) => {
                conn.sender_mut().lend(mem::take(&mut shared.output));
                let turn = serve(conn, socket, shared);
                keep(&mut shared.input, conn.receiver_mut().reclaim());
                keep(&mut shared.output, conn.sender_mut().reclaim());
                turn
            }
            Stage::Refused(until) => socket.drain(*until, shared.now()),
        }
    }

    /// The opening handshake.
    fn open(&mut self, shared: &mut Shared) -> Turn {
        let Self { socket, stage, .. } = self;
        let Stage::Opening(handshake) = stage else {
            return Turn::Over;
        };
        let refusal = loop {
            match handshake.step() {
                Ok(Progress::Complete) => break None,
                Err(error) => {
                    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
                    break Some(handshake.reject(Rejection::from(error).date(now)));
                }
                Ok(Progress::Partial) if socket.readable => {
                    match socket.read(handshake.spare_mut()) {
                        Ok(0) => handshake.end_of_stream(),
                        Ok(n) => handshake.commit(n),
                        Err(error) if is_passing(&error) => {}
                        Err(_) => return Turn::Over,
                    }
                }
                Ok(Progress::Partial) => match handshake.poll_timeout() {
                    Some(at) if at <= shared.now() => {
                        let _ = handshake.handle_timeout(shared.now()); // `step` repeats it
                    }
                    at => return Turn::Wait(at),
                },
            }
        };
        let refused = Stage::Refused(shared.now() + LINGER);
        let Stage::Opening(handshake) = mem::replace(stage, refused) else {
            return Turn::Over;
        };
        match refusal {
            // Which targets, origins and users are welcome would be asked here.
            None => match handshake.accept(Accept::default()) {
                Ok(conn) => *stage = Stage::Open(conn),
                Err(_) => return Turn::Over, // not after `Ok(true)`
            },
            Some(text) => {
                // Short, and the first that is written: the system has room for it.
                let _ = socket.stream.write(&text);
                let _ = socket.stream.shutdown(Shutdown::Write);
            }
        }
        self.turn(shared)
    }
}

/// Answers all there is, in one write for each read, until the stream has no more or takes no more.
fn serve(conn: &mut Connection, socket: &mut Socket, shared: &mut Shared) -> Turn {
    for _ in 0..READS {
        let step = answer(conn);
        socket.write(conn);
        // A peer that does not take its replies is not read from either.
        let room = conn.sender().has_room();
        conn.set_paused(!room);
        let reads = match step {
            Some(Ok(Step::Closed) | Err(_)) => match conn.ending() {
                Ending::Flush => false,
                Ending::ShutDown => {
                    let _ = socket.stream.shutdown(Shutdown::Write);
                    conn.shut_down();
                    continue;
                }
                Ending::Discard => true,
                Ending::Done => return Turn::Over,
            },
            Some(Ok(_)) => room,
            None if room => continue,
            None => false,
        };
        if reads && socket.readable {
            if !conn.receiver().has_buffer() {
                conn.receiver_mut().lend(mem::take(&mut shared.input));
            }
            match socket.read(conn.receiver_mut().spare_mut()) {
                Ok(0) => conn.receiver_mut().end_of_stream(),
                Ok(n) => conn.receiver_mut().commit(n),
                Err(error) if is_passing(&error) => {}
                Err(_) => return Turn::Over,
            }
            continue;
        }
        match conn.poll_timeout() {
            // A Ping may be due now, or `step` has to say that time is up.
            Some(at) if at <= shared.now() => {
                let _ = conn.handle_timeout(shared.now());
            }
            at => return Turn::Wait(at),
        }
    }
    Turn::Again
}

/// Echoes what was read. `None`: some is left, for which there is no room now.
fn answer(conn: &mut Connection) -> Option<Result<Step, RecvError>> {
    while conn.sender().has_room() {
        match conn.step() {
            Ok(Step::Message) => {
                let (rx, tx) = conn.split_mut();
                if let Some(message) = rx.message() {
                    let _ = tx.feed(message); // there is room; nobody listens if it is closed
                }
            }
            Ok(Step::Ping | Step::Pong | Step::Close) => {} // answered already
            step => return Some(step),
        }
    }
    None
}

impl Socket {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(to);
        match &read {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Less than was asked for was all there is, and the next will be told.
            Ok(n) if *n == to.len() || self.shut => {}
            _ => self.readable = false,
        }
        read
    }

    /// Writes what is there to be written, until the stream would wait.
    fn write(&mut self, conn: &mut Connection) {
        while self.writable && conn.sender().has_outgoing() {
            let mut out = conn.sender_mut().outgoing();
            match self.stream.write(out.chunk()) {
                Ok(n @ 1..) => out.advance(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => {
                    self.writable = false;
                    conn.write_blocked();
                }
                _ => conn.write_failed(), // what can still be read may say why
            }
        }
    }

    fn drain(&mut self, until: Time, now: Time) -> Turn {
        let mut sink = [0; 4096];
        for _ in 0..READS {
            match self.readable.then(|| self.read(&mut sink)) {
                Some(Ok(0)) => return Turn::Over,
                Some(Ok(_)) => {}
                Some(Err(error)) if !is_passing(&error) => return Turn::Over,
                _ if now >= until => return Turn::Over,
                None => return Turn::Wait(Some(until)),
                Some(Err(_)) => {}
            }
        }
        Turn::Again
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Keeps a buffer for the next one, unless it is shorter than the one that is here: connections
/// bring a small one from their handshake.
fn keep(shared: &mut Vec<u8>, buffer: Vec<u8>) {
    if buffer.len() > shared.len() {
        *shared = buffer;
    }
}
