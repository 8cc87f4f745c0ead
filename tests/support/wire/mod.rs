//! Shared by the tests: a wire builder, a naive wire reader, helpers for one connection, (in
//! `pair`) two of them joined by a byte link on a virtual clock, and (in `asked`) one that says
//! what to do.

mod asked;
mod pair;

#[allow(unused_imports)]
pub(crate) use asked::Asked;
use bytes::{Buf, Bytes};
#[allow(unused_imports)]
pub(crate) use pair::{End, Pair};
use std::{fmt::Write as _, time::Duration};
use testkit::Rng;
pub(crate) use testkit::{frames::*, sampled};
use tickwire::{
    Chunk, Closed, Config, Connection, DataKind, Entropy, Event, Heartbeat, Message, Negotiated,
    Outbound, OwnedMessage, Position, Prepared, ProtocolError, RecvError, Report, Role, Sender,
    Step, Time,
    handshake::server::{Handshake, Rejection},
};

/// The masking keys and the nonce of a client, the same ones in each run for the same seed.
pub(crate) struct Keys(Rng);

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }
}

impl Entropy for Keys {
    fn fill(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }
}

// How much of all there is a test tries.

/// To `step_by`: each one; under Miri, which takes thousands of times as long as the processor,
/// each `nth`.
pub(crate) const fn every(nth: usize) -> usize {
    if cfg!(miri) { nth } else { 1 }
}

/// How much, or how often; under Miri `few`.
pub(crate) const fn times(all: usize, few: usize) -> usize {
    if cfg!(miri) { few } else { all }
}

/// How many bytes the next read of a stream gives that is read byte by byte: one, but between the
/// first and the last 2 KiB, where frames and chunks hardly begin or end, with `TESTS=all` alone.
pub(crate) fn bytewise(read: usize, left: usize) -> usize {
    const ENDS: usize = 2 << 10;
    if read < ENDS || left <= ENDS { 1 } else { sampled(1, 61).min(left - ENDS) }
}

/// Each of these with each of those.
pub(crate) fn product<A: Clone, B>(
    these: impl IntoIterator<Item = A>,
    those: impl IntoIterator<Item = B, IntoIter: Clone>,
) -> impl Iterator<Item = (A, B)> {
    let those = those.into_iter();
    these.into_iter().flat_map(move |a| those.clone().map(move |b| (a.clone(), b)))
}

// The wire.

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// Bytes of a pattern that comes again after 64,256.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::from_iter(0..251).repeat(len.div_ceil(251));
    bytes.chunks_mut(251).zip((0..=255).cycle()).for_each(|(block, n)| block[0] = n);
    bytes.truncate(len);
    bytes
}

/// The masking key that `sender` uses in tests.
pub(crate) fn key_of(sender: Role) -> Option<[u8; 4]> {
    (sender == Role::Client).then_some(KEY)
}

pub(crate) fn role_of(server: bool) -> Role {
    if server { Role::Server } else { Role::Client }
}

pub(crate) fn peer(role: Role) -> Role {
    if role == Role::Client { Role::Server } else { Role::Client }
}

/// A frame as the peer of `role` sends it.
pub(crate) fn frame_to(role: Role, b0: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(b0, key_of(peer(role)), payload.as_ref())
}

/// A response has one Date, and that is of the last minute.
#[track_caller]
pub(crate) fn is_dated_now(response: &str) {
    let date = |head: &str| -> Vec<String> {
        head.lines().filter(|line| line.starts_with("Date: ")).map(str::to_string).collect()
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let of = |ago| {
        let rejection = Rejection::new(400).date(now - Duration::from_secs(ago));
        date(str::from_utf8(&Handshake::new(&Config::default()).reject(rejection)).unwrap())
    };
    let date = date(response);
    assert_eq!(date.len(), 1, "{response}");
    assert!((0..60).any(|ago| date == of(ago)), "{response}");
}

// Connections.

pub(crate) fn server(config: &Config) -> Connection {
    Connection::server(config, negotiated())
}

pub(crate) fn client(config: &Config) -> Connection {
    Connection::client(config, negotiated(), Keys::new(1))
}

/// What the connections made on this thread agreed on.
fn negotiated() -> Negotiated {
    #[cfg(feature = "deflate")]
    if let Some(agreed) = AGREED.get() {
        return agreed.into();
    }
    Negotiated::default()
}

#[cfg(feature = "deflate")]
std::thread_local! {
    static AGREED: std::cell::Cell<Option<tickwire::deflate::DeflateParams>> =
        const { std::cell::Cell::new(None) };
}

/// Runs `f` with connections that agreed on permessage-deflate.
#[cfg(feature = "deflate")]
pub(crate) fn agreeing<T>(agreed: tickwire::deflate::DeflateParams, f: impl FnOnce() -> T) -> T {
    let before = AGREED.replace(Some(agreed));
    let made = f();
    AGREED.set(before);
    made
}

pub(crate) fn connection(role: Role, config: &Config) -> Connection {
    match role {
        Role::Server => server(config),
        Role::Client => client(config),
    }
}

/// One of each role.
pub(crate) fn connections(config: &Config) -> [(Role, Connection); 2] {
    ROLES.map(|role| (role, connection(role, config)))
}

/// Default settings, but for Pings at this interval, each to be answered in this time.
pub(crate) fn with_heartbeat(interval: Duration, timeout: Duration) -> Config {
    Config { heartbeat: Some(Heartbeat::new(interval, timeout)), ..Config::default() }
}

/// The close code as other APIs number it, and whether both Closes have passed.
pub(crate) fn code_of(end: Option<Closed<'_>>) -> (u16, bool) {
    end.map_or((1006, false), |end| (end.code, end.clean))
}

/// The code of the Close that tells the peer of its violation (§7.4.1). By hand: one that is asked
/// of the error would be right whatever it is.
#[track_caller]
pub(crate) fn code_of_violation(error: RecvError) -> u16 {
    use ProtocolError::{BadDeflate, BadUtf8};
    match error {
        RecvError::Protocol(BadUtf8 | BadDeflate) => 1007,
        RecvError::Protocol(_) => 1002,
        RecvError::TooManyFragments { .. } => 1008,
        RecvError::MessageTooBig { .. } | RecvError::FrameTooBig { .. } => 1009,
        other => panic!("no violation: {other}"),
    }
}

/// Queues a message in each way there is; returns the last position, and how many bytes are queued.
pub(crate) fn feed_in_every_way(tx: &mut Sender) -> (Position, usize) {
    let chunk = |data, last: bool| Chunk { kind: DataKind::Text, first: !last, data, last };
    let before = tx.fed();
    for position in [
        tx.feed("fed"),
        tx.feed(Outbound::plain("plain")),
        tx.feed(Bytes::from_static(b"bytes")),
        tx.feed(Prepared::new("prepared")),
        tx.feed(OwnedMessage::from("owned")),
        tx.feed_chunk(chunk(b"pie", false)),
        tx.feed_chunk(chunk(b"ces", true)),
        tx.build(DataKind::Binary).and_then(|mut message| {
            message.zeroed(5).copy_from_slice(b"built");
            message.feed()
        }),
        tx.build(DataKind::Text).and_then(|mut message| {
            message.write_str("written").unwrap();
            message.feed()
        }),
        tx.feed_first("first"),
    ] {
        let position = position.unwrap();
        assert!(position != before && !tx.is_written(position));
    }
    let (fed, queued) = (tx.fed(), tx.buffered_amount());
    assert!(tx.has_room() && fed != before);
    (fed, queued)
}

/// The frames that these become, in the order in which they leave.
pub(crate) fn fed_in_every_way() -> [(u8, Vec<u8>); 10] {
    [
        (TEXT, "first"),
        (TEXT, "fed"),
        (TEXT, "plain"),
        (BINARY, "bytes"),
        (TEXT, "prepared"),
        (TEXT, "owned"),
        (TEXT_OPEN, "pie"),
        (CONT, "ces"),
        (BINARY, "built"),
        (TEXT, "written"),
    ]
    .map(|(b0, payload)| (b0, payload.into()))
}

/// What a connection reported, owned.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Chunk(DataKind, Vec<u8>, bool),
    Closed,
    Failed(RecvError),
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(s) => Message::Text(s).fmt(f),
            Self::Binary(b) => Message::Binary(b).fmt(f),
            Self::Ping(b) => write!(f, "Ping({})", b.escape_ascii()),
            Self::Pong(b) => write!(f, "Pong({})", b.escape_ascii()),
            Self::Close(c) => write!(f, "Close({c:?})"),
            Self::Chunk(kind, b, last) => {
                write!(f, "Chunk({kind:?}, {:?}, {last})", Message::Binary(b))
            }
            Self::Closed => f.write_str("Closed"),
            Self::Failed(e) => write!(f, "Failed({e:?})"),
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Self::Text(text.into()),
            Event::Message(Message::Binary(bytes)) => Self::Binary(bytes.into()),
            Event::Ping(payload) => Self::Ping(payload.into()),
            Event::Pong(payload) => Self::Pong(payload.into()),
            Event::Close(frame) => Self::Close(frame.map(|f| (f.code.get(), f.reason.to_owned()))),
        }
    }
}

pub(crate) fn text(s: &str) -> Seen {
    Seen::Text(s.into())
}

pub(crate) fn binary(b: impl AsRef<[u8]>) -> Seen {
    Seen::Binary(b.as_ref().into())
}

/// What the connection stopped at.
pub(crate) fn current(conn: &mut Connection) -> Seen {
    match conn.receiver().event() {
        Some(event) => event.into(),
        None => {
            let chunk = conn.receiver().chunk().expect("an event or a chunk");
            Seen::Chunk(chunk.kind, chunk.data.into(), chunk.last)
        }
    }
}

/// The next event: `None` when the input is used up.
pub(crate) fn next(conn: &mut Connection) -> Option<Seen> {
    let step = conn.step();
    seen_at(conn, step)
}

/// The next event with messages in chunks.
pub(crate) fn next_chunk(conn: &mut Connection) -> Option<Seen> {
    let step = conn.step_chunk();
    seen_at(conn, step)
}

fn seen_at(conn: &mut Connection, step: Result<Step, RecvError>) -> Option<Seen> {
    match step {
        Ok(Step::NeedInput) => None,
        Ok(Step::Closed) => Some(Seen::Closed),
        Ok(_) => Some(current(conn)),
        Err(error) => Some(Seen::Failed(error)),
    }
}

/// Everything up to where the input is used up, or the end.
pub(crate) fn events(conn: &mut Connection) -> Vec<Seen> {
    collect(conn, next)
}

/// The same with messages in chunks.
pub(crate) fn chunks(conn: &mut Connection) -> Vec<Seen> {
    collect(conn, next_chunk)
}

fn collect(conn: &mut Connection, next: fn(&mut Connection) -> Option<Seen>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(event) = next(conn) {
        let over = matches!(event, Seen::Closed | Seen::Failed(_));
        seen.push(event);
        if over {
            break;
        }
    }
    seen
}

/// Tells the time as a caller whose reads block: such a read decides about a peer that was silent.
pub(crate) fn tell_time(conn: &mut Connection, now: Time) -> Result<(), RecvError> {
    conn.handle_timeout(now)?;
    if conn.must_read() {
        conn.report(Report::ReadBlocked);
        conn.handle_timeout(now)?;
    }
    Ok(())
}

/// Tells the time whenever that is due, and then that it is `end`, as a caller that waits since
/// `from`.
pub(crate) fn wait(conn: &mut Connection, from: Time, end: Time) -> Result<(), RecvError> {
    let mut now = from;
    while let Some(due) = conn.poll_timeout().filter(|due| *due < end) {
        now = now.max(due);
        tell_time(conn, now)?;
    }
    tell_time(conn, end)
}

/// Puts bytes into the receive buffer, in one read if they fit; returns how many did.
pub(crate) fn read_once(conn: &mut Connection, wire: &[u8]) -> usize {
    let spare = conn.receiver_mut().spare_mut();
    let n = spare.len().min(wire.len());
    spare[..n].copy_from_slice(&wire[..n]);
    conn.receiver_mut().commit(n);
    n
}

/// Puts bytes into the receive buffer without looking at them.
pub(crate) fn arrive(conn: &mut Connection, mut wire: &[u8]) {
    while !wire.is_empty() {
        let n = read_once(conn, wire);
        wire = &wire[n..];
    }
}

/// Reads bytes as an adapter does, stepping after each read, and returns the events.
pub(crate) fn receive(conn: &mut Connection, mut wire: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !wire.is_empty() {
        let n = read_once(conn, wire);
        wire = &wire[n..];
        seen.extend(events(conn));
    }
    until_over(seen)
}

/// Cuts behind the first end: it is repeated by every step.
fn until_over(mut seen: Vec<Seen>) -> Vec<Seen> {
    let over = seen.iter().position(|e| matches!(e, Seen::Closed | Seen::Failed(_)));
    seen.truncate(over.map_or(seen.len(), |at| at + 1));
    seen
}

/// Takes `n` bytes of what is outgoing, a slice for each write, as an adapter does.
pub(crate) fn write(conn: &mut Connection, n: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < n {
        let mut out = conn.sender_mut().outgoing();
        if !out.has_remaining() {
            break;
        }
        let chunk = out.chunk();
        assert!(!chunk.is_empty(), "an empty chunk with bytes remaining");
        let k = chunk.len().min(n - taken.len());
        taken.extend_from_slice(&chunk[..k]);
        out.advance(k);
    }
    taken
}

/// Takes `n` bytes of what is outgoing in one look, over all its slices, as a vectored write does.
pub(crate) fn write_at_once(conn: &mut Connection, n: usize) -> Vec<u8> {
    let mut out = conn.sender_mut().outgoing();
    let mut taken = vec![0; n.min(out.remaining())];
    out.copy_to_slice(&mut taken);
    taken
}

/// Writes all that is outgoing.
pub(crate) fn drain(conn: &mut Connection) -> Vec<u8> {
    write(conn, usize::MAX)
}

/// What a connection sees and says when `wire` arrives cut before each place in `cuts`, under Miri
/// before some of them. What is outgoing is written after every event, so that the output does not
/// depend on the cuts.
pub(crate) fn transcript(
    role: Role,
    config: &Config,
    wire: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> (Vec<Seen>, Vec<u8>) {
    let mut conn = connection(role, config);
    let (mut seen, mut output, mut from) = (Vec::new(), Vec::new(), 0);
    for to in cuts.into_iter().step_by(every(13)).chain([wire.len()]) {
        let to = to.clamp(from, wire.len());
        let mut piece = &wire[from..to];
        from = to;
        loop {
            while let Some(event) = next(&mut conn) {
                output.extend(drain(&mut conn));
                let over = matches!(event, Seen::Closed | Seen::Failed(_));
                seen.push(event);
                if over {
                    break;
                }
            }
            if piece.is_empty() {
                break;
            }
            let n = read_once(&mut conn, piece);
            piece = &piece[n..];
        }
    }
    (until_over(seen), output)
}

/// Joins pieces into messages; events that are no pieces pass as they are.
pub(crate) fn join(seen: Vec<Seen>) -> Vec<Seen> {
    let (mut out, mut open) = (Vec::new(), Vec::new());
    for event in seen {
        match event {
            Seen::Chunk(kind, data, last) => {
                open.extend(data);
                if last {
                    let data = std::mem::take(&mut open);
                    out.push(match kind {
                        DataKind::Text => text(&String::from_utf8(data).unwrap()),
                        DataKind::Binary => binary(data),
                    });
                }
            }
            event => out.push(event),
        }
    }
    out
}
