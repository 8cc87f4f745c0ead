//! One wire through every carrier there is: the core, whole and byte by byte (as [`bytewise`] has
//! it), and both adapters, whole and split. All have to see, say and end the same; what that is, is
//! returned once.
//!
//! The test binary that includes this has `support` as well.

pub(crate) mod dial;
mod line;
pub(crate) mod serve;

use crate::support::{
    heads::{Reads, feed_head},
    wire::{
        Asked, Seen, WireFrame, arrive, bytewise, code_of, connection, current, drain, frames,
        read_once,
    },
};
#[allow(unused_imports)]
pub(crate) use dial::{ACCEPT, Dialed, KEY, SampleNonce, dial, dial_with};
pub(crate) use line::Line;
#[allow(unused_imports)]
pub(crate) use serve::{Served, serve, serve_with};
use tickwire::{
    Config, Connection, Ending, Report, Role, Step,
    handshake::{HandshakeError, Progress},
};

/// All that both ends of a connection can know of it once it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Every event, the end last.
    pub(crate) seen: Vec<Seen>,
    /// Every frame it sent, unmasked.
    pub(crate) sent: Vec<(u8, Vec<u8>)>,
    /// The close code as other APIs number it.
    pub(crate) code: u16,
    pub(crate) clean: bool,
    /// The stream was shut for writing before it was dropped.
    pub(crate) shut: bool,
}

/// What the peer's whole stream, which ends with `wire`, leads to.
#[track_caller]
pub(crate) fn run(role: Role, config: &Config, wire: &[u8]) -> Outcome {
    let whole = core(role, config, wire, &[]);
    let bytes = everywhere(wire.len());
    let mut others = vec![("core, byte by byte", core(role, config, wire, &bytes))];
    for most in [usize::MAX, 1] {
        others.extend(adapters(role, config, wire, most));
    }
    for (name, outcome) in others {
        assert_eq!(outcome, whole, "{role:?}, {name}: {}", shown(wire));
    }
    whole
}

/// The same through the core alone, with `wire` cut at these places: by the fine calls and by what
/// it says to do.
#[track_caller]
pub(crate) fn core(role: Role, config: &Config, wire: &[u8], cuts: &[usize]) -> Outcome {
    let fine = core_of(connection(role, config), wire, cuts);
    for stream in [Stream::Calm, Stream::Blocking] {
        let asked = asked_of(connection(role, config), wire, cuts, stream);
        assert_eq!(asked, fine, "{role:?}, {stream:?}, asked what to do: {}", shown(wire));
    }
    fine
}

/// How a stream takes and gives bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// As many as there are.
    Calm,
    /// It takes five at once and then blocks; before each piece it gives nothing once.
    Blocking,
}

/// Where a wire is cut that is read byte by byte.
pub(crate) fn everywhere(len: usize) -> Vec<usize> {
    let next = |at: &usize| Some(at + bytewise(*at, len - at)).filter(|at| *at < len);
    std::iter::successors(next(&0), next).collect()
}

/// `wire` cut at these places, without empty pieces.
fn cut<'a>(wire: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut from = 0;
    let pieces = cuts.iter().copied().chain([wire.len()]).map(move |to| {
        let piece = &wire[from..to];
        from = to;
        piece
    });
    pieces.filter(|piece| !piece.is_empty()).collect::<Vec<_>>().into_iter()
}

/// By a connection that says what to do.
fn asked_of(conn: Connection, wire: &[u8], cuts: &[usize], stream: Stream) -> Outcome {
    let mut end = Asked::new(conn);
    if stream == Stream::Blocking {
        (end.room, end.at_once) = (5, 3);
    }
    let mut pieces = cut(wire, cuts).chain([&[][..]]).map(<[u8]>::to_vec);
    if stream == Stream::Calm {
        end.inbox.extend(pieces.by_ref());
    }
    while let Some(wait) = end.run() {
        assert!(wait.readable || wait.writable, "nothing can happen: {wait:?}");
        if wait.writable {
            end.room = 5;
        } else {
            end.inbox.extend(pieces.next());
        }
    }
    let (code, clean) = code_of(end.conn.closed());
    let sent = unmasked(end.conn.role(), &end.outbox);
    Outcome { seen: end.seen, sent, code, clean, shut: end.shut }
}

pub(crate) fn core_of(mut conn: Connection, wire: &[u8], cuts: &[usize]) -> Outcome {
    let (mut seen, mut output) = (Vec::new(), Vec::new());
    let mut pieces = cut(wire, cuts);
    let mut piece: &[u8] = &[];
    loop {
        let step = conn.step();
        if !matches!(step, Ok(Step::Message | Step::Ping | Step::Pong | Step::Close)) {
            output.extend(drain(&mut conn));
        }
        match step {
            Ok(Step::NeedInput) => {
                if piece.is_empty() {
                    piece = pieces.next().unwrap_or_default();
                }
                match piece {
                    [] => conn.receiver_mut().end_of_stream(),
                    _ => piece = &piece[read_once(&mut conn, piece)..],
                }
            }
            Ok(Step::Closed) => {
                seen.push(Seen::Closed);
                break;
            }
            Ok(_) => seen.push(current(&mut conn)),
            Err(error) => {
                seen.push(Seen::Failed(error));
                break;
            }
        }
    }
    let mut shut = false;
    loop {
        match conn.ending() {
            Ending::Flush => output.extend(drain(&mut conn)),
            Ending::ShutDown => {
                conn.report(Report::ShutDown);
                shut = true;
            }
            Ending::Discard => {
                pieces.by_ref().for_each(|piece| arrive(&mut conn, piece));
                conn.receiver_mut().end_of_stream();
            }
            Ending::Done => break,
        }
    }
    let sent = unmasked(conn.role(), &output);
    let (code, clean) = code_of(conn.closed());
    Outcome { seen, sent, code, clean, shut }
}

/// Gives a handshake `wire`, cut at these places, then its end, until there is a verdict: this, and
/// what is left of the wire and its cuts.
fn read_head<'a, H: Reads>(
    handshake: &mut H,
    step: impl Fn(&mut H) -> Result<Progress, HandshakeError>,
    wire: &'a [u8],
    cuts: &[usize],
) -> (Result<(), HandshakeError>, &'a [u8], Vec<usize>) {
    let (mut from, mut cuts) = (0, cuts.iter().copied().chain([wire.len()]));
    let verdict = loop {
        match step(handshake) {
            Ok(Progress::Complete) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Progress::Partial) => {}
        }
        match cuts.next() {
            None => handshake.reading().end_of_stream(),
            Some(to) => {
                feed_head(handshake, &wire[from..to]);
                from = to;
            }
        }
    };
    (verdict, &wire[from..], cuts.map(|to| to - from).collect())
}

/// The frames of a wire, after a look at the mask of each (P021, P022).
pub(crate) fn unmasked(role: Role, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let open = |frame: WireFrame| {
        assert_eq!(frame.masked, role == Role::Client, "{frame:?}");
        (frame.b0, frame.payload)
    };
    frames(wire).into_iter().map(open).collect()
}

/// The start of a wire, for a message.
pub(crate) fn shown(wire: &[u8]) -> String {
    wire[..wire.len().min(200)].escape_ascii().to_string()
}

/// The same through the adapters, `most` bytes a read, with the name of each.
#[allow(unused_mut, unused_variables)]
pub(crate) fn adapters(
    role: Role,
    config: &Config,
    wire: &[u8],
    most: usize,
) -> Vec<(&'static str, Outcome)> {
    let mut outcomes: Vec<(&'static str, Outcome)> = Vec::new();
    #[cfg(feature = "blocking")]
    {
        let line = Line::new(wire, most).patient();
        let ws = tickwire::blocking::WebSocket::from_parts(line.clone(), connection(role, config));
        outcomes.push(("blocking", blocking(ws, &line)));
        let line = Line::new(wire, most).patient();
        let ws = tickwire::blocking::WebSocket::from_parts(line.clone(), connection(role, config));
        outcomes.push(("blocking, split", blocking_split(role, ws, &line)));
    }
    #[cfg(feature = "tokio")]
    {
        let line = Line::new(wire, most).patient();
        let ws = tickwire::tokio::WebSocket::from_parts(line.clone(), connection(role, config));
        outcomes.push(("tokio", block_on(on_tokio(ws, &line))));
        let line = Line::new(wire, most).patient();
        let ws = tickwire::tokio::WebSocket::from_parts(line.clone(), connection(role, config));
        outcomes.push(("tokio, split", block_on(on_tokio_split(role, ws, &line))));
    }
    outcomes
}

/// What an adapter's receiving call returned; whether it was the last.
#[cfg(feature = "blocking")]
fn note(
    seen: &mut Vec<Seen>,
    result: Result<Option<tickwire::Event<'_>>, tickwire::Error>,
) -> bool {
    let (event, over) = match result {
        Ok(Some(event)) => (event.into(), false),
        Ok(None) => (Seen::Closed, true),
        Err(tickwire::Error::Recv(error)) => (Seen::Failed(error), true),
        Err(tickwire::Error::WouldBlock) => return false,
        Err(other) => panic!("{other:?}"),
    };
    seen.push(event);
    over
}

/// An adapter's, whose first bytes are not frames but this many of a head.
#[cfg(feature = "blocking")]
fn outcome(
    role: Role,
    seen: Vec<Seen>,
    (code, clean): (u16, bool),
    line: &Line,
    head: usize,
) -> Outcome {
    let sent = unmasked(role, &line.output()[head..]);
    Outcome { seen, sent, code, clean, shut: line.is_shut() }
}

#[cfg(feature = "blocking")]
fn blocking(mut ws: tickwire::blocking::WebSocket<Line>, line: &Line) -> Outcome {
    let (mut seen, head) = (Vec::new(), line.output().len());
    while !note(&mut seen, ws.recv_event()) {}
    let (role, end) = (ws.connection().role(), code_of(ws.closed()));
    drop(ws);
    outcome(role, seen, end, line, head)
}

#[cfg(feature = "blocking")]
fn blocking_split(role: Role, ws: tickwire::blocking::WebSocket<Line>, line: &Line) -> Outcome {
    let (mut reader, writer) = ws.into_split().unwrap();
    let mut seen = Vec::new();
    while !note(&mut seen, reader.recv_event()) {}
    let end = code_of(reader.closed());
    drop((reader, writer));
    outcome(role, seen, end, line, 0)
}

#[cfg(feature = "tokio")]
async fn on_tokio(mut ws: tickwire::tokio::WebSocket<Line>, line: &Line) -> Outcome {
    let (mut seen, head) = (Vec::new(), line.output().len());
    while !note(&mut seen, ws.recv_event().await) {}
    let (role, end) = (ws.connection().role(), code_of(ws.closed()));
    drop(ws);
    outcome(role, seen, end, line, head)
}

#[cfg(feature = "tokio")]
async fn on_tokio_split(role: Role, ws: tickwire::tokio::WebSocket<Line>, line: &Line) -> Outcome {
    let (mut reader, writer) = ws.into_split();
    let mut seen = Vec::new();
    while !note(&mut seen, reader.recv_event().await) {}
    let end = code_of(reader.closed());
    drop((reader, writer));
    outcome(role, seen, end, line, 0)
}

/// All that was sent so far is a head.
#[track_caller]
fn sent_a_head(output: &[u8]) {
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    assert_eq!(output.len(), end + 4, "a head, and nothing behind it yet");
}

fn subprotocol(conn: &Connection) -> Option<String> {
    conn.negotiated().subprotocol.as_deref().map(str::to_owned)
}

/// On a runtime whose clock stands still unless nothing else is left to happen.
#[cfg(feature = "tokio")]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
    }
    // `dyn`, so that a runtime is compiled once for each output, and not for each future.
    let future: std::pin::Pin<&mut dyn Future<Output = F::Output>> = std::pin::pin!(future);
    RUNTIME.with(|runtime| runtime.block_on(future))
}
