//! Peers that stall, leave or flood at the worst moment; what the application does meanwhile; time,
//! memory and what is logged.
use crate::{
    harness::{ADAPTERS, Adapter, Door, End, Foe, Heap, REQUEST, SMALL, Ws, attack, duel, sockets},
    opening::{ask, dial, head, request, serve, serve_if},
    support::wire::{
        BINARY, CLOSE, CONT, CONT_OPEN, Len, PING, PONG, ROLES, Seen, TEXT, TEXT_OPEN, close_body,
        connection, connections, drain, feed, head as frame_head, key_of, masked, peer, product,
        sent, text, to,
    },
};
use std::{
    fs,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Connection, Event, Heartbeat, Message, Negotiated, ReadyState, RecvError,
    Role, SendError, Step, SystemEntropy, Time, blocking,
    handshake::{HandshakeError, client::Request, server::Rejection},
};

/// A patience of the victim's that the test waits for.
const SOON: Duration = Duration::from_millis(400);

// A77.

/// Bytes that leave a reader in the middle of something, in every state of its parser.
fn cliffhangers(role: Role) -> Vec<Vec<u8>> {
    let key = key_of(peer(role));
    let tangle = [
        to(role, PING, [7; 125]),
        to(role, TEXT_OPEN, "\u{20ac}"),
        to(role, CONT_OPEN, ""),
        to(role, PONG, ""),
        to(role, CONT_OPEN, [0xe2]),
        to(role, PING, ""),
    ];
    let starts = [
        vec![0x82],
        frame_head(BINARY, key, Len::Medium(200))[..3].to_vec(),
        frame_head(BINARY, key, Len::Long(70_000))[..9].to_vec(),
        frame_head(BINARY, key, Len::Long(70_000)),
        to(role, PING, [7; 125])[..60].to_vec(),
        to(role, CLOSE, close_body(1000, "bye"))[..4].to_vec(),
    ];
    let behind_tangle = |start: &Vec<u8>| match start[0] {
        BINARY => [&tangle.concat(), &to(role, CONT, [0x82, 0xac])[..3]].concat(),
        _ => [&tangle.concat()[..], start].concat(),
    };
    let mut all = starts.to_vec();
    all.extend(starts.iter().map(behind_tangle));
    all
}

/// A stream that counts how often it is looked at.
struct Watched {
    io: TcpStream,
    looks: Arc<AtomicUsize>,
}

impl Watched {
    fn look(&self) -> &TcpStream {
        self.looks.fetch_add(1, Relaxed);
        &self.io
    }
}

impl Read for Watched {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.look().read(to)
    }
}

impl Write for Watched {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.look().write(from)
    }
    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.look().write_vectored(from)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for Watched {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }
    fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.looks.fetch_add(1, Relaxed);
        self.io.try_read(to)
    }
    fn try_write(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.looks.fetch_add(1, Relaxed);
        self.io.try_write(from)
    }
    fn wait(&self, interest: blocking::Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.io.wait(interest, timeout)
    }
}

fn conn(role: Role, config: &Config) -> Connection {
    match role {
        Role::Server => Connection::server(config, Negotiated::default()),
        Role::Client => {
            Connection::client(config, Negotiated::default(), SystemEntropy::new().unwrap())
        }
    }
}

/// An echo to the end: how it ended, and how often the busiest of its calls looked at the stream,
/// or was polled.
fn looked(door: Door, role: Role, config: &Config) -> (End, usize) {
    let (mut most, conn) = (0, conn(role, config));
    match door.adapter {
        Adapter::Blocking => {
            let looks = Arc::new(AtomicUsize::new(0));
            let io = Watched { io: door.io, looks: looks.clone() };
            let mut ws = blocking::WebSocket::from_parts(io, conn);
            let end = loop {
                let received = ws.recv_to_reply();
                most = most.max(looks.swap(0, Relaxed));
                match received {
                    Ok(Some(received)) => drop(received.sender.feed(received.message)),
                    ended => break End::of(ended.map(|_| ())),
                }
            };
            (end, most)
        }
        #[cfg(feature = "tokio")]
        Adapter::Tokio => {
            let (io, runtime) = door.into_tokio();
            runtime.block_on(async {
                let mut ws = tickwire::tokio::WebSocket::from_parts(io, conn);
                let end = loop {
                    let mut polls = 0;
                    let mut receiving = ws.recv_to_reply();
                    let received = std::future::poll_fn(|cx| {
                        polls += 1;
                        std::pin::Pin::new(&mut receiving).poll(cx)
                    });
                    let received = received.await;
                    most = most.max(polls);
                    match received {
                        Ok(Some(received)) => drop(received.sender.feed(received.message)),
                        ended => break End::of(ended.map(|_| ())),
                    }
                };
                (end, most)
            })
        }
    }
}

#[test]
fn a77_a_reader_whose_data_is_never_whole_sleeps() {
    // All at once: each takes the victim's patience.
    thread::scope(|scope| {
        for role in ROLES {
            for (wire, &adapter) in product(cliffhangers(role), ADAPTERS) {
                let wire = wire.clone();
                scope.spawn(move || hangs(adapter, role, &wire));
            }
        }
    });
}

fn hangs(adapter: Adapter, role: Role, wire: &[u8]) {
    const PIECES: usize = 20;
    let config = Config { frame_timeout: SOON, ..Config::default() };
    let victim = move |door| looked(door, role, &config);
    let ((end, most), (), heap) = duel(adapter, victim, |mut foe| {
        for piece in wire.chunks(wire.len().div_ceil(PIECES)) {
            let _ = foe.write_all(piece); // the time may be over before the last
        }
        // And no more. The victim hangs up by itself.
        let _ = foe.read_to_end(&mut Vec::new());
    });
    let what = format!("{adapter:?} {role:?} {:.60}", wire.escape_ascii());
    assert_eq!(end, End::Failed(RecvError::FrameTimeout), "{what}");
    // One for each piece, one for each answer, and for the time that passes.
    assert!(most <= 2 * PIECES + 20, "{what}: {most}");
    heap.under(what, SMALL);
}

#[test]
fn a77_a_reader_that_has_no_room_for_replies_sleeps() {
    thread::scope(|scope| {
        for (role, &adapter) in product(ROLES, ADAPTERS) {
            scope.spawn(move || gorges(adapter, role));
        }
    });
}

fn gorges(adapter: Adapter, role: Role) {
    let high_water = 64 << 10;
    let config = Config { high_water, write_timeout: SOON, ..Config::default() };
    let victim = move |door| looked(door, role, &config);
    let ((end, most), (), heap) = duel(adapter, victim, |foe| {
        // Asks without end, and reads no answer.
        let mut foe = Foe::new(role, foe);
        let burst = foe.frame(BINARY, [1; 1024]).repeat(16);
        foe.flood(&burst, usize::MAX);
    });
    let what = format!("{adapter:?} {role:?}");
    assert_eq!(end, End::Failed(RecvError::WriteTimeout), "{what}");
    assert!(most <= 100, "{what}: {most}");
    heap.under(what, 2 * (high_water + (64 << 10)) + SMALL); // and the cork
}

#[test]
fn a77_each_turn_of_the_core_s_loop_takes_input_or_asks_for_more() {
    for role in ROLES {
        for wire in cliffhangers(role) {
            let mut conn = connection(role, &Config::default());
            for &byte in &wire {
                conn.receiver_mut().spare_mut()[0] = byte; // never without room
                conn.receiver_mut().commit(1);
                // An event for each frame that is whole, and then always the same: more is needed.
                let mut events = 0;
                while conn.step().unwrap() != Step::NeedInput {
                    events += 1;
                }
                assert!(events <= 1, "one byte ends one frame at most");
                for _ in 0..3 {
                    assert_eq!(conn.step(), Ok(Step::NeedInput));
                }
            }
        }
    }
}

// A78.

/// First byte and payload of each frame.
type Said = Vec<(u8, Vec<u8>)>;

/// A server whose handler does this at the second of ten messages that come in one segment; what it
/// says to that, and what the heap says. The peer says goodbye at the end.
fn at_the_second<T: Send + 'static>(
    handler: impl Fn(&mut Ws) -> T + Clone + Send + 'static,
) -> Vec<(T, Said, Heap)> {
    let mut wire: Vec<u8> = (0..10).flat_map(|i| masked(TEXT, [b'0' + i])).collect();
    wire.extend(masked(CLOSE, close_body(1000, "")));
    let one = |&adapter: &Adapter| {
        let handler = handler.clone();
        let defend = move |door: Door| {
            let mut ws = door.accept(&Config::default()).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Text("0")));
            let made = handler(&mut ws);
            drop(ws);
            made
        };
        duel(adapter, defend, |io| {
            let mut foe = Foe::new(Role::Server, io);
            foe.shake();
            foe.say(&wire)
        })
    };
    ADAPTERS.iter().map(one).collect()
}

/// What a handler that has replied to `1` by one more message leaves behind, and the peer's Close.
#[track_caller]
fn is_gone(heap: Heap) {
    heap.under("a handler", SMALL);
    // tokio's pool keeps a buffer for the next connection of the thread.
    assert!(heap.kept <= SMALL, "{heap:?}");
}

#[test]
fn a78_a_handler_may_close_inside_an_event() {
    let tries = at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        let _ = received.sender.feed(received.message).unwrap();
        received.sender.close(CloseCode::GOING_AWAY).unwrap();
        // The message is alive, and nothing can follow the Close.
        assert_eq!(
            (received.message, received.sender.feed(received.message)),
            (Message::Text("1"), Err(SendError::Closed))
        );
        assert!(ws.recv_to_reply().unwrap().is_none(), "to the rest there is no reply");
        ws.connection().closed().is_some_and(|end| end.clean)
    });
    for (clean, said, heap) in tries {
        assert!(clean);
        assert_eq!(said, [(TEXT, b"1".to_vec()), (CLOSE, close_body(1001, ""))]);
        is_gone(heap);
    }
}

#[test]
fn a78_a_handler_may_abort_inside_an_event() {
    for (end, said, heap) in at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        let _ = received.sender.feed(received.message).unwrap();
        received.sender.abort(CloseCode::POLICY_VIOLATION).unwrap();
        assert_eq!(received.sender.feed("late"), Err(SendError::Closed));
        ws.watch(|_| ())
    }) {
        assert_eq!(end, End::Closed);
        assert_eq!(said, [(CLOSE, close_body(1008, ""))], "what was unsent is dropped");
        is_gone(heap);
    }
}

#[test]
fn a78_a_handler_may_drop_the_connection_inside_an_event() {
    for ((), said, heap) in at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        assert_eq!(received.message, Message::Text("1"));
        let _ = received.sender.feed(received.message).unwrap();
    }) {
        assert!(said.is_empty(), "what was fed and not flushed is gone: {said:?}");
        is_gone(heap);
    }
}

#[test]
fn a78_a_handler_may_replace_the_connection_inside_an_event() {
    // By itself taken apart and put together, after each message; none is lost.
    let tries = at_the_second(|ws| {
        let mut seen: Vec<u8> = Vec::new();
        loop {
            match ws.recv_to_reply().unwrap() {
                None => return seen,
                Some(received) => {
                    seen.extend(received.message.as_bytes());
                    let _ = received.sender.feed(received.message).unwrap();
                }
            }
            replace(ws);
        }
    });
    for (seen, said, heap) in tries {
        assert_eq!(seen, b"123456789");
        let echoed = (b'1'..=b'9').map(|digit| (TEXT, vec![digit]));
        let said_all: Vec<_> = echoed.chain([(CLOSE, close_body(1000, ""))]).collect();
        assert_eq!(said, said_all);
        is_gone(heap);
    }
}

/// Takes a WebSocket apart, and makes another of the parts.
fn replace(ws: &mut Ws) {
    let (io, _far) = sockets();
    match ws {
        Ws::Blocking(ws) => {
            let other = blocking::WebSocket::from_parts(io, conn(Role::Server, &Config::default()));
            let (io, conn) = std::mem::replace(ws, other).into_parts();
            *ws = blocking::WebSocket::from_parts(io, conn);
        }
        #[cfg(feature = "tokio")]
        Ws::Tokio(ws, runtime) => {
            let entered = runtime.enter();
            io.set_nonblocking(true).unwrap();
            let io = tokio::net::TcpStream::from_std(io).unwrap();
            let conn = conn(Role::Server, &Config::default());
            let other = tickwire::tokio::WebSocket::from_parts(io, conn);
            let (io, conn) = std::mem::replace(ws, other).into_parts();
            *ws = tickwire::tokio::WebSocket::from_parts(io, conn);
            drop(entered);
        }
    }
}

// A84, A85.

/// Characters that a terminal obeys, that break a line, and that turn the text around.
const HOSTILE: &str = "\x1b[2J\x1b]0;x\x07\r\nFAKE 200 OK\t\u{85}\u{2028}\u{202e}\u{feff}\u{9b}31m";

/// Can be written to a log: one line, of no more than this, without a character that is obeyed.
#[track_caller]
fn is_loggable(shown: &str, len: usize) {
    let obeyed = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(c);
    assert!(!shown.contains(obeyed), "{shown:?}");
    assert!(shown.len() <= len, "{} bytes: {shown:?}", shown.len());
}

#[test]
fn a84_hostile_messages_and_reasons_are_escaped_and_cut_in_a_log() {
    let long = HOSTILE.repeat(1000);
    let reason: String = HOSTILE.chars().take(60).collect();
    for role in ROLES {
        let wire = [
            to(role, TEXT, &long),
            to(role, BINARY, &long),
            to(role, PING, &HOSTILE.as_bytes()[..30]),
            to(role, PONG, &HOSTILE.as_bytes()[..30]),
            to(role, CLOSE, close_body(4000, &reason)),
        ]
        .concat();
        for &adapter in ADAPTERS {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &Config::default());
                let mut shown = Vec::new();
                let end = ws.watch(|event| {
                    shown.push(format!("{event:?}"));
                    if let Event::Message(message) = event {
                        shown.push(format!("{message:?} {:?}", message.to_owned()));
                    }
                });
                shown.push(format!("{:?}", ws.connection().closed()));
                (end, shown)
            };
            let ((end, shown), _, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                foe.say(&wire)
            });
            assert_eq!((end, shown.len()), (End::Closed, 5 + 2 + 1));
            shown.iter().for_each(|line| is_loggable(line, 4096));
            assert!(shown[0].starts_with("Message(Text(\"\\u{1b}[2J"), "{}", shown[0]);
            // Messages as they came, and their owned copies.
            heap.under(format_args!("{adapter:?} {role:?}"), 8 * long.len() + SMALL);
        }
    }
}

#[test]
fn a84_hostile_heads_are_escaped_and_cut_in_a_log() {
    // Not that they get far: control characters are refused. What does get through is opaque.
    let opaque: String = HOSTILE.chars().filter(|c| !c.is_ascii_control()).collect();
    let long = opaque.repeat(500);
    let path = format!("GET /%1b[2J{}?s3cret HTTP/1.1", "p".repeat(4000));
    let lines: Vec<String> = (0..90).map(|i| format!("{}{i}: {opaque}", "N".repeat(80))).collect();
    let mut wire = format!("{path}\r\nCookie: s3cret\r\nX: {long}\r\n{}\r\n", lines.join("\r\n"));
    wire.push_str(REQUEST.split_once("\r\n").unwrap().1);
    wire.push_str("\r\n");
    let (told, heard) = std::sync::mpsc::channel();
    let decide = move |request: &tickwire::handshake::server::RequestHead<'_>| {
        let _ = told.send(format!("{request:?} {:?}", request.headers()));
        Err(Rejection::new(403))
    };
    for tried in serve_if(&Config::default(), decide, |foe| ask(foe, wire.as_bytes())) {
        tried.told.is_last(403);
        let shown = heard.recv().unwrap();
        is_loggable(&shown, 8192);
        assert!(shown.contains("Cookie") && !shown.contains("s3cret"), "{shown}");
        tried.heap.under(format_args!("{:?}", tried.adapter), head(wire.len()) + (64 << 10));
    }
    for wire in [request(&[&format!("X: {HOSTILE}")]), HOSTILE.as_bytes().to_vec()] {
        for tried in serve(&Config::default(), |foe| ask(foe, &wire)) {
            assert!(tried.verdict.is_err());
            is_loggable(&tried.shown, 200);
            assert!(tried.told.text.bytes().all(|b| b == b'\r' || b == b'\n' || b >= b' '));
            tried.heap.under(format_args!("{:?}", tried.adapter), head(wire.len()));
        }
    }
    // And what a server says to a client: status, reason, and how its body begins.
    let ours = Request::new("ws://user:s3cret@example.com/feed?s3cret").unwrap();
    is_loggable(&format!("{ours:?}").replace("/feed?s3cret", ""), 400);
    let body = HOSTILE.repeat(50);
    for tried in dial(&ours, &Config::default(), |foe| {
        foe.proof();
        let head = format!("HTTP/1.1 403 {long}\r\nSet-Cookie: s3cret\r\nX: {long}\r\n");
        foe.wire(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        foe.end();
    }) {
        assert_eq!(tried.verdict, Err(HandshakeError::Refused { status: 403 }));
        is_loggable(&tried.shown, 2000);
        assert!(tried.shown.contains("403") && !tried.shown.contains("s3cret"), "{}", tried.shown);
        tried.heap.under(format_args!("{:?}", tried.adapter), 2 * head(2 * long.len()));
    }
}

#[test]
fn a85_a_text_frame_cut_inside_a_character_can_be_shown() {
    let said = "a\u{e9}\u{20ac}\u{1f600}".repeat(20);
    for role in ROLES {
        let wire = [to(role, TEXT, &said), to(role, CLOSE, "")].concat();
        for &adapter in ADAPTERS {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &Config::default());
                let (mut seen, mut inside) = (Vec::new(), 0);
                while let Some(chunk) = ws.recv_chunk().unwrap() {
                    let shown = format!("{chunk:?}");
                    assert!(shown.is_ascii(), "{shown}");
                    inside += usize::from(str::from_utf8(chunk.data).is_err());
                    seen.extend_from_slice(chunk.data);
                }
                (String::from_utf8(seen).unwrap(), inside)
            };
            let ((seen, inside), _, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                for byte in &wire {
                    foe.wire([*byte]);
                }
                foe.end();
                foe.rest()
            });
            assert_eq!(seen, said);
            println!("{inside} chunks cut inside a character");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
        // However it is cut: through the core, where no socket joins the pieces again.
        for cut in 1..wire.len() {
            let mut conn = connection(role, &Config::default());
            let mut seen = Vec::new();
            for piece in [&wire[..cut], &wire[cut..]] {
                feed(&mut conn, piece);
                while !matches!(conn.step_chunk(), Ok(Step::NeedInput | Step::Closed)) {
                    let Some(chunk) = conn.receiver().chunk() else { continue }; // the Close
                    assert!(format!("{chunk:?}").is_ascii());
                    seen.extend_from_slice(chunk.data);
                }
            }
            assert_eq!(seen, said.as_bytes(), "{cut}");
        }
    }
}

// A86.

#[test]
fn a86_waits_beyond_all_time_never_end_and_wrap_nowhere() {
    let forever = [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::MAX / 3];
    for wait in forever {
        let config = Config {
            handshake_timeout: wait,
            close_timeout: wait,
            frame_timeout: wait,
            write_timeout: wait,
            heartbeat: Some(Heartbeat::new(wait, wait)),
            ..Config::default()
        };
        for role in ROLES {
            for story in attack(role, &config, |foe| {
                foe.wire(foe.frame(PING, "?"));
                assert_eq!(foe.next(), (PONG, b"?".to_vec()));
                // A frame in pieces, during which deadlines are armed.
                let frame = foe.frame(TEXT, "in time");
                for byte in frame {
                    foe.wire([byte]);
                }
                foe.say(&to(role, CLOSE, close_body(1000, "")))
            }) {
                let ping = Seen::Ping(b"?".to_vec());
                let close = Seen::Close(Some((1000, String::new())));
                assert_eq!(story.fate.seen, [ping, text("in time"), close], "{wait:?}");
                assert_eq!((story.fate.end, story.fate.clean), (End::Closed, true));
                assert_eq!(story.told, [(CLOSE, close_body(1000, ""))]);
                story.heap.under(format_args!("{:?} {role:?}", story.adapter), SMALL);
            }
        }
    }
}

#[test]
fn a86_a_clock_that_jumps_ends_what_is_due_and_no_more() {
    let at = |seconds| Time::new(Duration::from_secs(seconds));
    let beat = Heartbeat::new(Duration::from_secs(20), Duration::from_secs(20));
    for (role, mut conn) in connections(&Config { heartbeat: Some(beat), ..Config::default() }) {
        // A machine that slept for longer than it ran, again and again: it asks whether the peer is
        // still there, and believes the answer.
        let mut pings = 0;
        let sleeps = (1..=40).map(|i| Time::new(Duration::MAX / 41 * i));
        for now in [at(0)].into_iter().chain(sleeps) {
            conn.handle_timeout(now).unwrap();
            for (b0, payload) in sent(&drain(&mut conn)) {
                assert_eq!(b0, PING);
                feed(&mut conn, &to(role, PONG, payload));
                assert_eq!(conn.step(), Ok(Step::Pong));
                pings += 1;
            }
            assert_eq!(conn.step(), Ok(Step::NeedInput));
        }
        assert!((2..=20).contains(&pings), "{pings}");
        assert_eq!(conn.ready_state(), ReadyState::Open);
        // At the end of time nothing is ever due again.
        for _ in 0..20 {
            conn.handle_timeout(Time::new(Duration::MAX)).unwrap();
        }

        // One that goes backwards, which it must not: nothing wraps, nothing is due early.
        let mut conn = connection(role, &Config { heartbeat: Some(beat), ..Config::default() });
        let mut latest = at(0);
        for now in [at(1000), at(0), at(1001), at(5), Time::ZERO, at(1010)] {
            conn.handle_timeout(now).unwrap();
            assert!(drain(&mut conn).is_empty(), "nothing is due");
            latest = latest.max(now);
            assert!(conn.poll_timeout().is_some_and(|next| next > latest));
        }
    }
    assert_eq!(Time::new(Duration::MAX) + Duration::MAX, Time::new(Duration::MAX));
    assert_eq!(at(1) - at(2), Duration::ZERO);
}

#[test]
fn a86_a_clock_that_somebody_can_set_is_read_for_the_date_of_a_refusal_alone() {
    fn look(folder: &Path, files: &mut usize, reads: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, files, reads);
            } else {
                let source = fs::read_to_string(&path).unwrap();
                let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                let reading =
                    code.filter(|line| line.contains("SystemTime") || line.contains("UNIX_EPOCH"));
                reads.extend(reading.map(str::to_string));
                *files += 1;
            }
        }
    }
    let (mut files, mut reads) = (0, Vec::new());
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files, &mut reads);
    assert!(files > 30, "{files}");
    // In `Incoming::answer`; a wrong clock makes a wrong header, and nothing else.
    let dated = "let response = \
                 self.handshake.reject(rejection.dated(std::time::UNIX_EPOCH.elapsed().ok()));";
    assert_eq!(reads, [dated]);
}
