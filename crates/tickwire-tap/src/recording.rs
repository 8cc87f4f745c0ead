use crate::TITLE;
#[cfg(doc)]
use crate::Tap;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Buf;
use std::{fmt, str::FromStr, time::Duration};
use tickwire::{
    Config, Connection, Entropy, Event, Role, Step, Time,
    handshake::{HandshakeError, Progress, Reading, client, server},
};

macro_rules! put {
    ($to:expr, $bytes:expr) => {
        let mut bytes: &[u8] = $bytes;
        while !bytes.is_empty() {
            let place = $to.spare_mut();
            let (now, later) = bytes.split_at(place.len().min(bytes.len()));
            place[..now.len()].copy_from_slice(now);
            $to.commit(now.len());
            bytes = later;
        }
    };
}

/// In bytes, of the recorded end's request or answer. A hostile recording could offer so many
/// subprotocols that comparing them takes for ever.
const MAX_HEAD: usize = 64 << 10;

/// The bytes that passed over a stream, in order.
///
/// A replay repeats all reads, with their times, so it gives every event that the recorded
/// connection gave. It may give more, because a recording does not contain the application's calls:
/// a replay also reports the messages that the recorded connection discarded after the application
/// had called `fail` or `close`. A replay sends nothing: neither the application's messages nor the
/// core's replies.
///
/// A recording does not say when the connection read the clock, so a replay has no deadlines. A
/// connection that a deadline has ended is still open at the end of its replay.
///
/// A recording does not say whether the application received whole messages or chunks, so a replay
/// gives whole messages. If the connection received in chunks
/// ([`step_chunk`](Connection::step_chunk)), raise the limits that do not apply to chunks:
/// `max_message` and `max_fragments`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recording {
    /// All reads and writes.
    pub passed: Vec<Passed>,
}

/// One line of a [`Recording`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// The time since the [`Tap`] was made.
    pub at: Time,
    /// `true` if the bytes were read from the stream, `false` if they were written to the stream.
    pub received: bool,
    /// The bytes; empty for the end of the stream.
    pub bytes: Vec<u8>,
}

/// Shows the number of bytes, but not the bytes.
impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.received { "<" } else { ">" };
        write!(f, "{:?} {direction} {} bytes", self.at - Time::ZERO, self.bytes.len())
    }
}

/// The text is not a recording.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("line {line} is not a line of a recording")]
pub struct BadRecording {
    /// The number of the invalid line, counted from 1.
    pub line: usize,
}

impl fmt::Debug for BadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BadRecording").field("line", &self.line).finish()?;
        write!(f, ": \"{self}\"")
    }
}

impl FromStr for Recording {
    type Err = BadRecording;

    /// Parses the recording of a [`Tap`]. A last line that was cut short is left out.
    ///
    /// # Errors
    ///
    /// [`BadRecording`] for the first invalid line.
    fn from_str(text: &str) -> Result<Self, BadRecording> {
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let mut lines = whole.lines().enumerate();
        if lines.next().is_none_or(|(_, title)| title != TITLE) {
            return Err(BadRecording { line: 1 });
        }
        let parsed = lines.map(|(i, line)| Passed::parse(line).ok_or(BadRecording { line: i + 1 }));
        Ok(Self { passed: parsed.collect::<Result<_, _>>()? })
    }
}

impl Recording {
    /// The role of the recorded end, if the recording begins with the opening handshake.
    pub fn role(&self) -> Option<Role> {
        let first = self.passed.first()?;
        // `GET ` has four bytes, but the first read or write may have fewer.
        match first.bytes.starts_with(b"GET ".get(..first.bytes.len().min(4))?) {
            true if first.bytes.is_empty() => None,
            true if first.received => Some(Role::Server),
            true => Some(Role::Client),
            false => None,
        }
    }

    /// Replays the whole recording, the opening handshake first, and passes each event to `see`.
    /// Returns the connection in its final state: [`Connection::closed`] tells how it ended.
    ///
    /// Pass the `config` of the recorded connection. Different limits change the result, and
    /// permessage-deflate is agreed on only if `config` has it.
    ///
    /// # Errors
    ///
    /// The error of the handshake. [`HandshakeError::Incomplete`] if the recording has no complete
    /// handshake, for example because the server rejected the request. If the tap was made after
    /// the handshake, use [`replay_into`](Self::replay_into).
    pub fn replay(
        &self,
        config: &Config,
        see: impl FnMut(Time, Event<'_>),
    ) -> Result<Connection, HandshakeError> {
        let (mut connection, rest) = match self.role() {
            Some(Role::Server) => self.replay_server(config)?,
            Some(Role::Client) => self.replay_client(config)?,
            None => return Err(HandshakeError::Incomplete),
        };
        replay(&mut connection, rest, see);
        Ok(connection)
    }

    /// Replays the whole recording into a connection whose handshake is done, and passes each event
    /// to `see`.
    pub fn replay_into(&self, connection: &mut Connection, see: impl FnMut(Time, Event<'_>)) {
        replay(connection, &self.passed, see);
    }

    fn replay_server(&self, config: &Config) -> Result<(Connection, &[Passed]), HandshakeError> {
        let mut handshake = server::Handshake::new(config);
        let rest = self.read_head(&mut handshake, |it| &mut it.reading, |it| it.step())?;
        let answer = self.head();
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return Err(HandshakeError::Incomplete);
        }
        let chosen: Vec<&str> = named(&answer, PROTOCOL).collect();
        Ok((handshake.accept(server::Accept::default().subprotocols(chosen))?, rest))
    }

    fn replay_client(&self, config: &Config) -> Result<(Connection, &[Passed]), HandshakeError> {
        let head = self.head();
        let request = asked(&head).ok_or(HandshakeError::Incomplete)?;
        let nonce = Nonce(named(&head, KEY).next().and_then(|key| STANDARD.decode(key).ok()));
        let mut handshake = client::Handshake::new(&request, config, nonce);
        let all = handshake.outgoing().len();
        handshake.advance(all);
        let rest = self.read_head(&mut handshake, |it| &mut it.reading, |it| it.step())?;
        Ok((handshake.into_connection()?, rest))
    }

    /// Hands it recorded input until it is complete, and returns the rest.
    fn read_head<H>(
        &self,
        handshake: &mut H,
        reading: fn(&mut H) -> &mut Reading,
        step: fn(&mut H) -> Result<Progress, HandshakeError>,
    ) -> Result<&[Passed], HandshakeError> {
        for (i, passed) in self.passed.iter().enumerate().filter(|(_, passed)| passed.received) {
            match passed.bytes.is_empty() {
                true => reading(handshake).end_of_stream(),
                false => {
                    put!(reading(handshake), &passed.bytes);
                }
            }
            if let Progress::Complete = step(handshake)? {
                return Ok(self.passed.get(i + 1..).unwrap_or_default());
            }
        }
        Err(HandshakeError::Incomplete)
    }

    /// What the recorded end has written first. Incomplete if the recording ends inside it, or if
    /// it is longer than `MAX_HEAD`.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for passed in self.passed.iter().filter(|passed| !passed.received) {
            let from = head.len().saturating_sub(3); // the end of a head may lie in two writes
            let room = MAX_HEAD.saturating_sub(head.len()).min(passed.bytes.len());
            head.extend_from_slice(passed.bytes.get(..room).unwrap_or_default());
            let new = head.get(from..).unwrap_or_default();
            if let Some(end) = new.windows(4).position(|four| four == b"\r\n\r\n") {
                head.truncate(from + end + 4);
                break;
            }
            if head.len() == MAX_HEAD {
                break;
            }
        }
        head
    }
}

const KEY: &str = "Sec-WebSocket-Key";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

fn asked(head: &[u8]) -> Option<client::Request> {
    let line = str::from_utf8(head.split(|&b| b == b'\r').next()?).ok()?;
    let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let host = named(head, "Host").next()?;
    let request = client::Request::new(&format!("ws://{host}{target}")).ok()?;
    let offered = named(head, PROTOCOL).flat_map(|names| names.split(',').map(str::trim));
    let offered: Vec<&str> = offered.collect();
    request.subprotocols(offered).ok()
}

/// The values of all header lines with this name, except lines that are not UTF-8.
fn named<'h>(head: &'h [u8], name: &'static str) -> impl Iterator<Item = &'h str> {
    head.split(|&b| b == b'\n').filter_map(move |line| {
        let (known, value) = str::from_utf8(line).ok()?.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The handshake's call gets the recorded nonce. Later ones are for masking keys, and get zeros,
/// because a replay sends nothing.
struct Nonce(Option<Vec<u8>>);

impl Entropy for Nonce {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(0);
        if let Some(nonce) = self.0.take().filter(|nonce| nonce.len() == dest.len()) {
            dest.copy_from_slice(&nonce);
        }
    }
}

fn replay(connection: &mut Connection, passed: &[Passed], mut see: impl FnMut(Time, Event<'_>)) {
    let mut now = Time::ZERO;
    step(connection, now, &mut see); // the handshake's last read may have brought frames too
    for passed in passed {
        now = passed.at;
        match passed.bytes.is_empty() {
            _ if !passed.received => {}
            true => connection.receiver_mut().end_of_stream(),
            false => {
                put!(connection.receiver_mut(), &passed.bytes);
                // `now` is the time of this read.
                connection.receiver_mut().set_read(Some(now), None);
            }
        }
        step(connection, now, &mut see);
    }
}

/// Drops the core's replies.
fn step(connection: &mut Connection, now: Time, see: &mut impl FnMut(Time, Event<'_>)) {
    loop {
        match connection.step() {
            Ok(Step::NeedInput | Step::Closed) | Err(_) => break,
            Ok(_) => {
                if let Some(event) = connection.receiver().event() {
                    see(now, event);
                }
            }
        }
    }
    let mut outgoing = connection.sender_mut().outgoing();
    let all = outgoing.remaining();
    outgoing.advance(all);
}

impl Passed {
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (seconds, micros) = at.split_once('.')?;
        // `parse` below would also accept a plus sign.
        if micros.len() != 6 || !at.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        let at = Duration::new(seconds.parse().ok()?, micros.parse::<u32>().ok()? * 1_000);
        let (direction, hex) = rest.split_once(' ')?;
        let received = match direction {
            "<" => true,
            ">" => false,
            _ => return None,
        };
        let bytes = match hex {
            "end" => Vec::new(),
            hex => from_hex(hex).filter(|bytes| !bytes.is_empty())?,
        };
        Some(Self { at: Time::new(at), received, bytes })
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    pairs.iter().map(|&[high, low]| Some((16 * digit(high)? + digit(low)?) as u8)).collect()
}
