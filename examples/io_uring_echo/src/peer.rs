//! One peer: the opening handshake, then messages, then an orderly end. No I/O here: bytes in, and
//! what to do next out.
use std::{
    mem,
    time::{Duration, UNIX_EPOCH},
};
use tickwire::{
    Config, Connection, Ending, RecvError, Step, Time,
    handshake::{
        Progress,
        server::{Accept, Handshake, Rejection},
    },
};

/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(1);

pub struct Peer {
    stage: Stage,
    /// Received, and not yet looked at.
    held: Vec<u8>,
    /// The other end has shut its side, or is gone.
    pub shut: bool,
}

#[allow(clippy::large_enum_variant)] // the largest is the one that lasts
enum Stage {
    Opening(Handshake),
    Open(Connection),
    /// It was told why. Until when what it still sends is dropped.
    Refused(Time),
}

pub enum Next {
    /// Send what is outgoing, and advance if there is `more` to do.
    Send {
        more: bool,
    },
    /// Receive, until then at the latest.
    Receive(Option<Time>),
    /// Say this, which is short, shut the stream for writing, and advance.
    Reject(Vec<u8>),
    /// Shut the stream for writing, and advance.
    ShutDown,
    Over,
}

impl Peer {
    pub fn new(config: &Config) -> Self {
        let stage = Stage::Opening(Handshake::new(config));
        Self { stage, held: Vec::new(), shut: false }
    }

    pub fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.stage {
            Stage::Open(conn) => Some(conn),
            _ => None,
        }
    }

    /// Keeps bytes for later, while what goes out has to go first. How many it keeps.
    pub fn hold(&mut self, bytes: &[u8]) -> usize {
        self.held.extend_from_slice(bytes);
        self.held.len()
    }

    /// Does what can be done with the first `n` bytes of `input`, which is empty afterwards if the
    /// connection keeps it. Not while something is being sent.
    pub fn advance(&mut self, input: &mut Vec<u8>, n: usize, now: Time) -> Next {
        let held = mem::take(&mut self.held);
        let next = match &mut self.stage {
            Stage::Open(conn) if held.is_empty() => {
                if let Some(buffer) = conn.receiver_mut().lend_filled(mem::take(input), n) {
                    *input = buffer; // it had a part of a frame: they were copied to that
                }
                self.step(&mut &[][..], now)
            }
            stage => {
                let all = [&held[..], &input[..n]].concat();
                let mut rest = &all[..];
                if let Stage::Open(conn) = stage
                    && !conn.receiver().has_buffer()
                {
                    conn.receiver_mut().lend(mem::take(input));
                }
                let next = self.step(&mut rest, now);
                self.held.extend_from_slice(rest);
                next
            }
        };
        if let Stage::Open(conn) = &mut self.stage {
            let buffer = conn.receiver_mut().reclaim();
            if buffer.len() > input.len() {
                *input = buffer;
            }
        }
        next
    }

    fn step(&mut self, bytes: &mut &[u8], now: Time) -> Next {
        loop {
            match &mut self.stage {
                Stage::Opening(handshake) => match handshake.step() {
                    Ok(Progress::Complete) => {
                        if !self.accept() {
                            return Next::Over;
                        }
                    }
                    Ok(Progress::Partial) if !bytes.is_empty() => {
                        let n = copy(bytes, handshake.spare_mut());
                        handshake.commit(n);
                    }
                    Ok(Progress::Partial) if self.shut => handshake.end_of_stream(),
                    Ok(Progress::Partial) => match handshake.poll_timeout() {
                        Some(at) if at <= now => {
                            let _ = handshake.handle_timeout(now); // `step` repeats it
                        }
                        at => return Next::Receive(at),
                    },
                    Err(error) => {
                        let date = UNIX_EPOCH.elapsed().unwrap_or_default();
                        let refusal = handshake.reject(Rejection::from(error).date(date));
                        self.stage = Stage::Refused(now + LINGER);
                        return Next::Reject(refusal);
                    }
                },
                Stage::Open(conn) => {
                    if let Some(next) = serve(conn, bytes, self.shut, now) {
                        return next;
                    }
                }
                Stage::Refused(until) => {
                    *bytes = &[];
                    let over = self.shut || now >= *until;
                    return if over { Next::Over } else { Next::Receive(Some(*until)) };
                }
            }
        }
    }

    fn accept(&mut self) -> bool {
        let stage = mem::replace(&mut self.stage, Stage::Refused(Time::ZERO));
        if let Stage::Opening(handshake) = stage
            && let Ok(conn) = handshake.accept(Accept::default())
        {
            self.stage = Stage::Open(conn);
            return true;
        }
        false
    }
}

/// Answers what is here and takes in a piece of what came. `None`: there is more to do.
fn serve(conn: &mut Connection, bytes: &mut &[u8], shut: bool, now: Time) -> Option<Next> {
    match answer(conn) {
        Some(Ok(Step::NeedInput)) if !bytes.is_empty() => {
            let n = copy(bytes, conn.receiver_mut().spare_mut());
            conn.receiver_mut().commit(n);
            return None;
        }
        step if conn.sender().has_outgoing() => {
            let more = shut || !matches!(step, Some(Ok(Step::NeedInput)));
            return Some(Next::Send { more });
        }
        Some(Ok(Step::NeedInput)) if shut => {
            conn.receiver_mut().end_of_stream();
            return None;
        }
        Some(Ok(Step::Closed) | Err(_)) => match conn.ending() {
            Ending::Done => return Some(Next::Over),
            Ending::ShutDown => {
                conn.shut_down();
                return Some(Next::ShutDown);
            }
            Ending::Discard if shut => {
                conn.receiver_mut().end_of_stream();
                return None;
            }
            Ending::Discard | Ending::Flush => *bytes = &[],
        },
        _ => {}
    }
    match conn.poll_timeout() {
        Some(at) if at <= now => {
            let _ = conn.handle_timeout(now); // a Ping may be due, or `step` says what is up
            None
        }
        at => Some(Next::Receive(at)),
    }
}

/// Echoes what is here. `None`: some is left, for which there is no room now.
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

/// Takes as many bytes as there is room for.
fn copy(bytes: &mut &[u8], room: &mut [u8]) -> usize {
    let n = bytes.len().min(room.len());
    let (piece, rest) = bytes.split_at(n);
    room[..n].copy_from_slice(piece);
    *bytes = rest;
    n
}
