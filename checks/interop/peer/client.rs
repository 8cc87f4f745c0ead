//! The client: checks of a server that has the paths of ours.
use crate::{
    Adapter, Result, config, say,
    server::close_frame,
    socket::{self, Ending, Socket, is_gone},
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Chunk, Config, DataKind, Error, Heartbeat, Message, RecvError, deflate::Direction,
    handshake::client::Request,
};

/// No check takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

const SIZES: [usize; 7] = [0, 1, 125, 126, 65535, 65536, 1 << 20];

#[derive(Clone)]
struct Server {
    adapter: Adapter,
    url: String,
}

type Check = fn(&Server) -> Result<()>;

const CHECKS: [(&str, Check); 15] = [
    ("echo", echo),
    ("extension", extension),
    ("compressed", compressed),
    ("order", order),
    ("count", count),
    ("fragments", fragments),
    ("frame-limit", frame_limit),
    ("close", we_close),
    ("closed", they_close),
    ("subprotocol", subprotocol),
    ("no-subprotocol", no_subprotocol),
    ("refused", refused),
    ("idle", idle),
    ("killed", killed),
    ("die", die),
];

/// Runs the checks named, and says of each how it went.
pub(crate) fn check(adapter: Adapter, url: &str, names: &[&str]) -> Result<bool> {
    let server = Server { adapter, url: url.trim_end_matches('/').to_string() };
    let mut all_passed = true;
    for &name in names {
        let found = CHECKS.iter().find(|(known, _)| *known == name);
        let (_, check) = *found.ok_or_else(|| format!("no check is named {name}"))?;
        let began = Instant::now();
        let outcome = bounded(server.clone(), check);
        let took = began.elapsed().as_millis();
        match outcome {
            Ok(()) => say(format_args!("ok   {adapter} client: {name} ({took} ms)")),
            Err(error) => {
                all_passed = false;
                say(format_args!("FAIL {adapter} client: {name} ({took} ms): {error}"));
            }
        }
    }
    Ok(all_passed)
}

/// Fails instead of hanging.
fn bounded(server: Server, check: Check) -> Result<()> {
    let (done, finished) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let checked = catch_unwind(AssertUnwindSafe(|| check(&server)));
        let _ = done.send(checked.unwrap_or_else(|_| Err("it panics".into())));
    })?;
    finished.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("it hangs".into()))
}

impl Server {
    fn request(&self, path: &str) -> Result<Request> {
        Ok(Request::new(&format!("{}{path}", self.url))?)
    }

    fn connect(&self, path: &str) -> Result<Box<dyn Socket>> {
        Ok(socket::connect(self.adapter, &self.request(path)?, &config())?)
    }
}

/// `Err` with both if they differ.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(format!("{what}: {got:?} instead of {expected:?}").into()),
    }
}

fn next(ws: &mut dyn Socket) -> Result<tickwire::OwnedMessage> {
    match ws.recv()? {
        Some(message) => Ok(message),
        None => Err(format!("closed by the peer: {}", ws.ending()).into()),
    }
}

fn next_text(ws: &mut dyn Socket) -> Result<String> {
    let message = next(ws)?;
    let text = message.as_message().as_text();
    Ok(text.ok_or("binary where a text was due")?.to_string())
}

/// Closes, as both ends of a healthy connection should manage to.
fn part(ws: &mut dyn Socket) -> Result<()> {
    ws.close(close_frame("1000"))?;
    same("the end", ws.ending(), Ending { clean: true, code: 1000, reason: ws.ending().reason })
}

/// permessage-deflate is agreed on if it was asked for.
fn extension(server: &Server) -> Result<()> {
    let mut ws = server.connect("/echo")?;
    let wanted = std::env::var("DEFLATE").is_ok_and(|wanted| !wanted.is_empty());
    same("permessage-deflate", ws.negotiated().deflate.is_some(), wanted)?;
    for i in 0..100 {
        let text = format!("message {i} of many that say {}", "the same ".repeat(i));
        ws.send(Message::Text(&text))?;
        same("the echo", next_text(&mut *ws)?, text)?;
    }
    part(&mut *ws)
}

/// permessage-deflate is agreed on as `AGREED` in the environment says: the messages of the server
/// and ours, each `alone` or with `takeover`, and the bits of its window; or `none`; or an error.
/// Then each of some messages comes back, and once more, when it may refer to the one before.
fn compressed(server: &Server) -> Result<()> {
    let wanted = std::env::var("AGREED")?;
    let mut ws = match server.connect("/echo") {
        Ok(ws) => ws,
        Err(error) => return same("the error", error.to_string(), wanted),
    };
    let shown = |messages: Direction| {
        let takeover = if messages.takeover { "takeover" } else { "alone" };
        format!("{takeover} {}", messages.window_bits)
    };
    let agreed = ws.negotiated().deflate.map_or_else(
        || "none".to_string(),
        |agreed| format!("{}, {}", shown(agreed.server), shown(agreed.client)),
    );
    same("what was agreed on", agreed, wanted)?;
    for size in [1, 1000, 100_000, 1 << 20] {
        // Digits that repeat nothing for long, and so refer back as far as the window allows.
        let numbers = (1_u64..).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44).to_string());
        let text: String =
            numbers.flat_map(|n| n.into_bytes()).map(char::from).take(size).collect();
        for _ in 0..2 {
            ws.send(Message::Text(&text))?;
            if next_text(&mut *ws)? != text {
                return Err(format!("a text of {size} bytes comes back changed").into());
            }
        }
    }
    part(&mut *ws)
}

fn echo(server: &Server) -> Result<()> {
    let mut ws = server.connect("/echo")?;
    for size in SIZES {
        // Of characters of two bytes, which frames and reads cut; one of one for an odd size.
        let text = "é".repeat(size / 2) + if size % 2 == 1 { "e" } else { "" };
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        for message in [Message::Text(&text), Message::Binary(&bytes)] {
            ws.send(message)?;
            if next(&mut *ws)?.as_message() != message {
                return Err(
                    format!("{:?} of {size} bytes comes back changed", message.kind()).into()
                );
            }
        }
    }
    part(&mut *ws)
}

/// Many at once, answered in order.
fn order(server: &Server) -> Result<()> {
    let mut ws = server.connect("/echo")?;
    for number in 0..1000 {
        ws.feed(Message::Text(&number.to_string()))?;
    }
    for number in 0..1000 {
        same("a message", next_text(&mut *ws)?, number.to_string())?;
    }
    part(&mut *ws)
}

/// Many from the peer, then its Close.
fn count(server: &Server) -> Result<()> {
    let mut ws = server.connect("/count")?;
    for number in 0..1000 {
        same("a message", next_text(&mut *ws)?, number.to_string())?;
    }
    same("what follows", ws.recv()?, None)?;
    same("the end", ws.ending(), Ending { clean: true, code: 1000, reason: String::new() })
}

fn fragments(server: &Server) -> Result<()> {
    let mut ws = server.connect("/echo")?;
    let text = "a text in pieces, cut in the middle of an é too";
    let (start, rest) = text.as_bytes().split_at(1);
    let (middle, end) = rest.split_at(rest.len() - 5); // behind the first byte of the é
    for (i, data) in [&[][..], start, middle, end].into_iter().enumerate() {
        ws.send_chunk(Chunk { kind: DataKind::Text, first: i == 0, data, last: i == 3 })?;
    }
    same("the echo", next_text(&mut *ws)?, text.to_string())?;
    part(&mut *ws)
}

/// A server that takes frames and messages of at most the lengths that the environment gives. Our
/// messages up to the second length come back, if we cut them; one that we do not cut does not.
fn frame_limit(server: &Server) -> Result<()> {
    let [frame, message] = ["FRAME_LIMIT", "MESSAGE_LIMIT"].map(std::env::var);
    let (frame, message): (usize, usize) = (frame?.parse()?, message?.parse()?);
    let cut = Config { max_frame_sent: Some(frame), ..config() };
    let request = server.request("/echo")?;
    let mut ws = socket::connect(server.adapter, &request, &cut)?;
    for size in [1, frame - 1, frame, frame + 1, 2 * frame + 1, message - 1, message] {
        // Of characters of two bytes, one of which a frame cuts; one of one for an odd size.
        let text = if size % 2 == 1 { "e" } else { "" }.to_string() + &"é".repeat(size / 2);
        for sent in [Message::Text(&text), Message::Binary(text.as_bytes())] {
            ws.send(sent)?;
            if next(&mut *ws)?.as_message() != sent {
                return Err(format!("{size} bytes come back changed").into());
            }
        }
    }
    part(&mut *ws)?;

    let mut ws = server.connect("/echo")?;
    // The server may end the stream before we have read its Close.
    let sent = ws.send(Message::Binary(&vec![0; frame + 1]));
    match sent.and_then(|()| ws.recv()) {
        Ok(None) => same("the code for a frame too long", ws.ending().code, 1009),
        other => Err(format!("a frame too long: {other:?}").into()),
    }
}

/// Our Close, answered.
fn we_close(server: &Server) -> Result<()> {
    for wish in ["1000", "1001 going away", "3001 fertig für heute", "4999"] {
        let mut ws = server.connect("/echo")?;
        ws.close(close_frame(wish))?;
        let Ending { clean, code, .. } = ws.ending();
        let asked = close_frame(wish).map_or(1005, |frame| frame.code.get());
        same(wish, (clean, code), (true, asked))?;
    }
    let mut ws = server.connect("/echo")?;
    ws.close(None)?;
    let Ending { clean, code, .. } = ws.ending();
    // With an empty body or, as some peers do, with 1000.
    same("without a code", (clean, code == 1005 || code == 1000), (true, true))
}

/// The peer's Close, answered.
fn they_close(server: &Server) -> Result<()> {
    for wish in ["1000 ", "1001 going away", "1011 it broke", "3001 fertig für heute", "4999 "] {
        let mut ws = server.connect("/close")?;
        ws.send(Message::Text(wish))?;
        same("what follows", ws.recv()?, None)?;
        let frame = close_frame(wish).ok_or("a wish that cannot be")?;
        let expected =
            Ending { clean: true, code: frame.code.get(), reason: frame.reason.to_string() };
        same(wish, ws.ending(), expected)?;
    }
    Ok(())
}

fn subprotocol(server: &Server) -> Result<()> {
    let request = server.request("/subprotocol")?.subprotocols(&["v9", "v1"])?;
    let mut ws = socket::connect(server.adapter, &request, &config())?;
    same("the subprotocol", ws.negotiated().subprotocol.as_deref(), Some("v1"))?;
    part(&mut *ws)
}

fn no_subprotocol(server: &Server) -> Result<()> {
    let request = server.request("/subprotocol")?.subprotocols(&["v9"])?;
    let mut ws = socket::connect(server.adapter, &request, &config())?;
    same("the subprotocol", ws.negotiated().subprotocol.as_deref(), None)?;
    part(&mut *ws)?;
    match socket::connect(server.adapter, &request.require_subprotocol()?, &config()) {
        Err(Error::Handshake(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("connected without the subprotocol that was required".into()),
    }
}

fn refused(server: &Server) -> Result<()> {
    match socket::connect(server.adapter, &server.request("/refuse")?, &config()) {
        Err(Error::Refused(refusal)) => same("the status", refusal.status, 403),
        Err(error) => Err(error.into()),
        Ok(_) => Err("connected".into()),
    }
}

/// Both ends ping.
fn idle(server: &Server) -> Result<()> {
    let heartbeat = Heartbeat::new(Duration::from_millis(100), Duration::from_secs(2));
    let config = Config { heartbeat: Some(heartbeat), ..config() };
    let mut ws = socket::connect(server.adapter, &server.request("/idle")?, &config)?;
    same("its sign of life", next_text(&mut *ws)?, "alive".to_string())?;
    part(&mut *ws)
}

/// Somebody kills the peer, or what is between, as soon as we say that we wait.
fn killed(server: &Server) -> Result<()> {
    let mut ws = server.connect("/echo")?;
    ws.send_chunk(Chunk { kind: DataKind::Binary, first: true, data: &[0; 1000], last: false })?;
    say("waiting to be cut off");
    names_the_end(&mut *ws)
}

/// The peer ends itself while it sends: at once, or while we do not listen.
fn die(server: &Server) -> Result<()> {
    let mut ws = server.connect("/die")?;
    thread::sleep(Duration::from_secs(1));
    names_the_end(&mut *ws)?;
    let request = server.request("/echo")?;
    let target = request.target();
    // What stands between may be there still, and says that nobody is behind it.
    let gone = is_gone(target.host(), target.port())?;
    match socket::connect(server.adapter, &request, &config()) {
        Err(Error::Io(error)) if gone => {
            same("how it is gone", error.kind(), io::ErrorKind::ConnectionRefused)
        }
        Err(Error::Refused(refusal)) if !gone => same("the status", refusal.status, 502),
        Err(error) => Err(error.into()),
        Ok(_) => Err("connected to somebody who is dead".into()),
    }
}

/// What we are told of a peer that vanished, each time we ask.
fn names_the_end(ws: &mut dyn Socket) -> Result<()> {
    let error = match ws.recv() {
        Err(error) => error,
        Ok(message) => return Err(format!("received {message:?}").into()),
    };
    say(format_args!("     {error}"));
    match &error {
        Error::Recv(RecvError::UnexpectedEof) => {}
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Error::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        _ => return Err(error.into()),
    }
    if ws.recv().is_ok() {
        return Err("it goes on after an error".into());
    }
    same("the end", ws.ending(), Ending { clean: false, code: 1006, reason: String::new() })
}
