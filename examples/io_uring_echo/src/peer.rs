//! One peer: the opening handshake, then messages, then an orderly end. No I/O here: bytes in, and
//! what to do next out.
use crate::layer::{Layer, Out};
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
    tls::Session,
};

/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_secs(1);

pub struct Peer {
    stage: Stage,
    /// Received, and not yet looked at.
    held: Vec<u8>,
    layer: Layer,
}

#[allow(clippy::large_enum_variant)] // the largest is the one that lasts
enum Stage {
    Opening(Handshake),
    Open(Connection),
    /// It was told why. Until when what it still sends is dropped.
    Refused(Time),
}

pub enum Next {
    /// Send what is [outgoing](Peer::outgoing), and advance if there is `more` to do.
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
    pub fn new(config: &Config, tls: Option<Session>) -> Self {
        let stage = Stage::Opening(Handshake::new(config));
        Self { stage, held: Vec::new(), layer: Layer::new(tls) }
    }

    pub fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.stage {
            Stage::Open(conn) => Some(conn),
            _ => None,
        }
    }

    /// What is to be sent, if anything was ever.
    pub fn outgoing(&mut self) -> Option<Out<'_>> {
        let conn = match &mut self.stage {
            Stage::Open(conn) => Some(conn),
            _ => None,
        };
        self.layer.outgoing(conn)
    }

    /// Whether there is something.
    pub fn has_outgoing(&self) -> bool {
        let has = matches!(&self.stage, Stage::Open(conn) if conn.sender().has_outgoing());
        has || self.layer.has_outgoing()
    }

    /// The stream refused it.
    pub fn write_failed(&mut self) {
        if let Stage::Open(conn) = &mut self.stage {
            conn.write_failed();
        }
        self.layer.write_failed();
    }

    /// The other end has shut its side, or is gone.
    pub fn shut(&mut self) {
        self.layer.shut = true;
    }

    /// Keeps bytes for later, while what goes out has to go first. How many it keeps.
    pub fn hold(&mut self, bytes: &[u8]) -> usize {
        self.held.extend_from_slice(bytes);
        self.held.len()
    }

    /// Does what can be done with the first `n` bytes of `input`, which is empty afterwards if the
    /// connection keeps it. Not while something is being sent.
    pub fn advance(&mut self, input: &mut Vec<u8>, n: usize, now: Time) -> Next {
        let mut held = mem::take(&mut self.held);
        let next = match &mut self.stage {
            Stage::Open(conn) if held.is_empty() && !self.layer.is_tls() => {
                if let Some(buffer) = conn.receiver_mut().lend_filled(mem::take(input), n) {
                    *input = buffer; // it had a part of a frame: they were copied to that
                }
                self.step(&mut &[][..], now)
            }
            stage => {
                if held.is_empty() && matches!(stage, Stage::Open(_)) {
                    self.layer.put(&input[..n]);
                } else {
                    held.extend_from_slice(&input[..n]);
                }
                let mut rest = &held[..];
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
                    Ok(Progress::Partial) => match handshake.reading.poll_timeout() {
                        _ if take(&mut self.layer, bytes, handshake) => {}
                        _ if self.layer.shut => handshake.reading.end_of_stream(),
                        _ if self.layer.has_outgoing() => return Next::Send { more: true },
                        Some(at) if at <= now => {
                            let _ = handshake.reading.handle_timeout(now); // `step` repeats it
                        }
                        at => return Next::Receive(at),
                    },
                    Err(error) => {
                        let date = UNIX_EPOCH.elapsed().unwrap_or_default();
                        let refusal = handshake.reject(Rejection::from(error).date(date));
                        self.stage = Stage::Refused(now + LINGER);
                        return Next::Reject(self.layer.say_last(refusal));
                    }
                },
                Stage::Open(conn) => {
                    if let Some(next) = serve(conn, &mut self.layer, bytes, now) {
                        return next;
                    }
                }
                Stage::Refused(until) => {
                    *bytes = &[];
                    let over = self.layer.shut || now >= *until;
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

/// Takes a piece of what came. Whether there was any.
fn take(layer: &mut Layer, bytes: &mut &[u8], handshake: &mut Handshake) -> bool {
    let n = match layer.may_have(bytes) {
        true => layer.take(bytes, handshake.reading.spare_mut()),
        false => 0,
    };
    handshake.reading.commit(n);
    n > 0
}

/// Answers what is here and takes in a piece of what came. `None`: there is more to do.
fn serve(conn: &mut Connection, layer: &mut Layer, bytes: &mut &[u8], now: Time) -> Option<Next> {
    let step = answer(conn);
    if let Some(Ok(Step::NeedInput)) = step
        && layer.may_have(bytes)
    {
        let n = layer.take(bytes, conn.receiver_mut().spare_mut());
        conn.receiver_mut().commit(n);
        if n > 0 {
            return None;
        }
    }
    let shut = layer.shut;
    match step {
        step if conn.sender().has_outgoing() || layer.has_outgoing() => {
            if !layer.seal(conn) {
                return None;
            }
            let more = shut || !matches!(step, Some(Ok(Step::NeedInput)));
            return Some(Next::Send { more });
        }
        Some(Ok(Step::NeedInput)) if shut => {
            conn.receiver_mut().end_of_stream();
            return None;
        }
        Some(Ok(Step::Closed) | Err(_)) => match conn.ending() {
            Ending::Done => return Some(Next::Over),
            Ending::ShutDown if layer.close() => return Some(Next::Send { more: true }),
            Ending::ShutDown => {
                conn.shut_down();
                return Some(Next::ShutDown);
            }
            Ending::Discard if shut => {
                conn.receiver_mut().end_of_stream();
                return None;
            }
            Ending::Discard | Ending::Flush => layer.discard(bytes),
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
