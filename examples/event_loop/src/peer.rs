//! One peer and its turns: the opening handshake, then messages, then an orderly end.
//!
//! All that is about the protocol is the core's; here are the turns, the clock and the buffers. The stream, plain or
//! under TLS, is in `socket.rs`.
use crate::socket::{Socket, is_passing};
use mio::{event::Event, net::TcpStream};
use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};
use tickwire::{
    Config, Connection, RecvError, Step, Time,
    handshake::{
        Progress,
        server::{Accept, Handshake, Rejection},
    },
    tls::{Session, TlsError, rustls::ServerConfig},
};

/// Reads in one turn: a peer that never stops sending must not keep the others waiting.
const READS: usize = 16;
/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// What all peers use in turn.
pub struct Shared {
    config: Config,
    /// For `wss`.
    tls: Option<Arc<ServerConfig>>,
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
    pub fn new(config: Config, tls: Option<Arc<ServerConfig>>) -> Self {
        let (input, output) = (Vec::new(), Vec::new()); // the first connection allocates them
        Self { config, tls, epoch: Instant::now(), input, output }
    }

    pub fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}

impl Peer {
    /// # Errors
    ///
    /// For a configuration of TLS that cannot be.
    pub fn new(stream: TcpStream, shared: &Shared) -> Result<Self, TlsError> {
        let tls = shared.tls.clone().map(Session::server).transpose()?;
        let socket = Socket::new(stream, tls, true);
        let stage = Stage::Opening(Handshake::new(&shared.config));
        Ok(Self { socket, stage, deadline: None })
    }

    /// Takes note of what the system says.
    pub fn note(&mut self, event: &Event) {
        self.socket.note(event);
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
            Stage::Refused(until) => drain(socket, *until, shared.now()),
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
                Ok(Progress::Partial) if socket.is_readable() => {
                    match socket.read(handshake.reading.spare_mut()) {
                        Ok(0) => handshake.reading.end_of_stream(),
                        Ok(n) => handshake.reading.commit(n),
                        Err(error) if is_passing(&error) => {}
                        Err(_) => return Turn::Over,
                    }
                }
                Ok(Progress::Partial) => match handshake.reading.poll_timeout() {
                    Some(at) if at <= shared.now() => {
                        let _ = handshake.reading.handle_timeout(shared.now()); // `step` repeats it
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
            Some(text) => socket.say_last(&text),
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
            Some(Ok(Step::Closed) | Err(_)) => match socket.end(conn) {
                Some(reads) => reads,
                None => return Turn::Over,
            },
            Some(Ok(_)) => room,
            None if room => continue,
            None => false,
        };
        if reads && socket.is_readable() {
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

/// Reads and drops what a refused peer still sends.
fn drain(socket: &mut Socket, until: Time, now: Time) -> Turn {
    for _ in 0..READS {
        match socket.discard() {
            Ok(0) => return Turn::Over,
            Ok(_) => {}
            Err(error) if !is_passing(&error) => return Turn::Over,
            Err(_) if now >= until => return Turn::Over,
            Err(_) => return Turn::Wait(Some(until)),
        }
    }
    Turn::Again
}

/// Keeps a buffer for the next one, unless it is shorter than the one that is here: connections
/// bring a small one from their handshake.
fn keep(shared: &mut Vec<u8>, buffer: Vec<u8>) {
    if buffer.len() > shared.len() {
        *shared = buffer;
    }
}
