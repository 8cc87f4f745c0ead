//! A victim and its attacker, joined by a socket of this machine.
//!
//! The victim is a user of one of the adapters, on a thread of its own, which is new and does all
//! of its work (tokio's runtime is the kind with one thread). The allocator counts by thread, so
//! that neither the attacker nor a test that runs beside is counted. What the victim notes for the
//! test is not counted either. Buffers of the system are not heap.
use crate::support::{
    peer::hear,
    wire::{CLOSE, PONG, Seen, code_of, code_of_violation, masked, unmasked},
};
#[cfg(feature = "tokio")]
use std::rc::Rc;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use testkit::{
    alloc::{live, take_peak, uncounted},
    frames::read_head,
    threads::{spawn, tcp_pair},
};
#[cfg(feature = "tokio")]
use tickwire::tokio as on_tokio;
use tickwire::{
    Chunk, CloseFrame, Config, Connection, Error, Event, Message, Outbound, Received, RecvError,
    Role, Sender, blocking,
    handshake::{
        accept_key,
        client::Request,
        server::{self, Accept, Rejection},
    },
};

pub(crate) use crate::support::bounds::*;

pub(crate) use crate::support::blocking::{PATIENCE, patient};

/// The request of a client, as good as any.
pub(crate) const REQUEST: &str = "GET /feed HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";

/// What the victim uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapter {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
}

pub(crate) const ADAPTERS: &[Adapter] = &[
    Adapter::Blocking,
    #[cfg(feature = "tokio")]
    Adapter::Tokio,
];

impl Adapter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            #[cfg(feature = "tokio")]
            Self::Tokio => "tokio",
        }
    }
}

/// What a victim took of the heap, in bytes, beyond what it had before the first byte came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap {
    /// At most.
    pub(crate) peak: usize,
    /// When it was done, and had dropped the connection.
    pub(crate) kept: usize,
}

impl Heap {
    /// `what` is printed with the figures, for those who ask with `--nocapture`.
    #[track_caller]
    pub(crate) fn under(self, what: impl std::fmt::Display, bound: usize) {
        println!("{what}: at most {} of {bound} bytes", self.peak);
        assert!(self.peak <= bound, "{what}: {} bytes at most, not {bound}", self.peak);
    }
}

/// Has `defend` attacked by `attack`: what they return, and what the defence took of the heap.
///
/// The attacker's socket is closed when `attack` drops it.
#[track_caller]
pub(crate) fn duel<T: Send + 'static, U>(
    adapter: Adapter,
    defend: impl FnOnce(Door) -> T + Send + 'static,
    attack: impl FnOnce(TcpStream) -> U,
) -> (T, U, Heap) {
    let (foe, io) = tcp_pair();
    let (report, reported) = mpsc::channel();
    let victim = spawn(move || {
        let door = Door::new(adapter, io);
        // What was there before is not freed while it is counted.
        #[cfg(feature = "tokio")]
        let _runtime = door.runtime.clone();
        let before = live();
        take_peak();
        let made = defend(door);
        let (peak, kept) = (take_peak() - before, live() - before);
        let sizes = [peak, kept].map(|n| usize::try_from(n).unwrap_or(0));
        let _ = report.send((made, Heap { peak: sizes[0], kept: sizes[1] }));
    });
    let attacked = catch_unwind(AssertUnwindSafe(|| {
        foe.set_read_timeout(Some(PATIENCE)).unwrap();
        foe.set_write_timeout(Some(PATIENCE)).unwrap();
        attack(foe)
    }));
    let reported = reported.recv_timeout(PATIENCE);
    if let Err(mpsc::RecvTimeoutError::Disconnected) = reported {
        let panic = victim.join().expect_err("it reports unless it panics");
        resume_unwind(panic);
    }
    let attacked = attacked.unwrap_or_else(|panic| resume_unwind(panic));
    let (made, heap) = reported.expect("the victim hangs");
    (made, attacked, heap)
}

/// Where the attacker comes in: the victim's end of the socket, before any handshake.
pub(crate) struct Door {
    pub(crate) adapter: Adapter,
    pub(crate) io: TcpStream,
    #[cfg(feature = "tokio")]
    pub(crate) runtime: Rc<tokio::runtime::Runtime>,
}

impl Door {
    fn new(adapter: Adapter, io: TcpStream) -> Self {
        #[cfg(feature = "tokio")]
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            adapter,
            io,
            #[cfg(feature = "tokio")]
            runtime: Rc::new(runtime),
        }
    }

    /// Another one to the same victim, on the same runtime.
    pub(crate) fn beside(&self, io: TcpStream) -> Self {
        Self {
            adapter: self.adapter,
            io,
            #[cfg(feature = "tokio")]
            runtime: self.runtime.clone(),
        }
    }

    /// For what only one adapter has: its stream, and the runtime to use it on.
    #[cfg(feature = "tokio")]
    pub(crate) fn into_tokio(self) -> (tokio::net::TcpStream, Rc<tokio::runtime::Runtime>) {
        let Self { io, runtime, .. } = self;
        let io = runtime.block_on(async { asynchronous(io) });
        (io, runtime)
    }

    /// The opening handshake of a server that accepts whatever is legal.
    pub(crate) fn accept(self, config: &Config) -> Result<Ws, Error> {
        self.serve(config, |_| Ok(Accept::default()))
    }

    /// The opening handshake of a server that decides.
    pub(crate) fn serve(
        self,
        config: &Config,
        decide: impl FnOnce(&server::RequestHead<'_>) -> Result<Accept<'static>, Rejection>,
    ) -> Result<Ws, Error> {
        // A refusal ends like any other server's: with the error that says so, made up here.
        let refused = Error::Handshake(tickwire::handshake::HandshakeError::Incomplete);
        match self.adapter {
            Adapter::Blocking => {
                let incoming = blocking::Incoming::read(self.io, config)?;
                match decide(&incoming.request()) {
                    Ok(accept) => Ok(Ws::Blocking(incoming.accept(accept)?)),
                    Err(rejection) => incoming.reject(rejection).and(Err(refused)),
                }
            }
            #[cfg(feature = "tokio")]
            Adapter::Tokio => {
                let Self { io, runtime, .. } = self;
                let ws = runtime.block_on(async {
                    let incoming = on_tokio::Incoming::read(asynchronous(io), config).await?;
                    match decide(&incoming.request()) {
                        Ok(accept) => incoming.accept(accept).await,
                        Err(rejection) => incoming.reject(rejection).await.and(Err(refused)),
                    }
                })?;
                Ok(Ws::Tokio(ws, runtime))
            }
        }
    }

    /// The opening handshake of a client.
    pub(crate) fn connect(self, request: &Request, config: &Config) -> Result<Ws, Error> {
        match self.adapter {
            Adapter::Blocking => Ok(Ws::Blocking(blocking::client(self.io, request, config)?)),
            #[cfg(feature = "tokio")]
            Adapter::Tokio => {
                let Self { io, runtime, .. } = self;
                let ws = runtime.block_on(async {
                    on_tokio::client(asynchronous(io), request, config).await
                })?;
                Ok(Ws::Tokio(ws, runtime))
            }
        }
    }

    /// The opening handshake of either end, which goes well.
    pub(crate) fn open(self, role: Role, config: &Config) -> Ws {
        match role {
            Role::Server => self.accept(config).unwrap(),
            Role::Client => {
                self.connect(&Request::new("ws://example.com/feed").unwrap(), config).unwrap()
            }
        }
    }
}

#[cfg(feature = "tokio")]
pub(crate) fn asynchronous(io: TcpStream) -> tokio::net::TcpStream {
    io.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(io).unwrap()
}

/// A WebSocket of either adapter: every call waits.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Ws {
    Blocking(blocking::WebSocket<TcpStream>),
    #[cfg(feature = "tokio")]
    Tokio(on_tokio::WebSocket<tokio::net::TcpStream>, Rc<tokio::runtime::Runtime>),
}

/// The same call on either, awaited on the one.
macro_rules! either {
    ($this:expr, $ws:ident => $call:expr) => {
        match $this {
            Ws::Blocking($ws) => $call,
            #[cfg(feature = "tokio")]
            Ws::Tokio($ws, runtime) => runtime.block_on($call),
        }
    };
}

/// The same on either, which does not wait.
macro_rules! look {
    ($this:expr, $ws:ident => $call:expr) => {
        match $this {
            Ws::Blocking($ws) => $call,
            #[cfg(feature = "tokio")]
            Ws::Tokio($ws, _) => $call,
        }
    };
}

impl Ws {
    /// For what only one adapter has.
    pub(crate) fn into_blocking(self) -> blocking::WebSocket<TcpStream> {
        match self {
            Self::Blocking(ws) => ws,
            #[cfg(feature = "tokio")]
            Self::Tokio(..) => panic!("it is tokio's"),
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn into_tokio(
        self,
    ) -> (on_tokio::WebSocket<tokio::net::TcpStream>, Rc<tokio::runtime::Runtime>) {
        match self {
            Self::Tokio(ws, runtime) => (ws, runtime),
            Self::Blocking(_) => panic!("it is blocking"),
        }
    }

    pub(crate) fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        either!(self, ws => ws.recv_event())
    }

    pub(crate) fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
        either!(self, ws => ws.recv())
    }

    pub(crate) fn recv_to_reply(&mut self) -> Result<Option<Received<'_>>, Error> {
        either!(self, ws => ws.recv_to_reply())
    }

    pub(crate) fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        either!(self, ws => ws.recv_chunk())
    }

    pub(crate) fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        either!(self, ws => ws.send(message))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        either!(self, ws => ws.flush())
    }

    pub(crate) fn close<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        either!(self, ws => ws.close(frame))
    }

    pub(crate) fn sender(&mut self) -> &mut Sender {
        look!(self, ws => ws.sender_mut())
    }

    pub(crate) fn connection(&self) -> &Connection {
        look!(self, ws => ws.connection())
    }

    /// Receives to the end, telling `note` of each event; how it ended.
    pub(crate) fn watch(&mut self, mut note: impl FnMut(Event<'_>)) -> End {
        loop {
            match self.recv_event() {
                Ok(Some(event)) => note(event),
                other => return End::of(other.map(|_| ())),
            }
        }
    }

    pub(crate) fn narrow(&self) {
        match self {
            Self::Blocking(ws) => narrow(ws.get_ref()),
            #[cfg(feature = "tokio")]
            Self::Tokio(ws, _) => narrow(ws.get_ref()),
        }
    }

    /// Answers each message with itself, to the end.
    pub(crate) fn echo(&mut self) -> End {
        loop {
            match self.recv_to_reply() {
                // Closed: the end follows.
                Ok(Some(received)) => drop(received.sender.feed(received.message)),
                other => return End::of(other.map(|_| ())),
            }
        }
    }

    /// Receives to the end, and notes all.
    pub(crate) fn note(&mut self) -> Fate {
        let mut seen = Vec::new();
        let end = self.watch(|event| uncounted(|| seen.push(event.into())));
        let conn = self.connection();
        let (code, clean) = code_of(conn.closed());
        Fate { seen, end, code, clean }
    }
}

/// How receiving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Failed(RecvError),
    /// The stream failed.
    Io(ErrorKind),
}

impl End {
    #[track_caller]
    pub(crate) fn of(ended: Result<(), Error>) -> Self {
        match ended {
            Ok(()) => Self::Closed,
            Err(Error::Recv(error)) => Self::Failed(error),
            Err(Error::Io(error)) => Self::Io(error.kind()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

impl<E: Into<RecvError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What a victim that only receives knows when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Every event.
    pub(crate) seen: Vec<Seen>,
    pub(crate) end: End,
    /// The close code as other APIs number it.
    pub(crate) code: u16,
    pub(crate) clean: bool,
}

/// What became of an attack on a victim that only receives.
pub(crate) struct Story<U> {
    pub(crate) adapter: Adapter,
    pub(crate) fate: Fate,
    pub(crate) heap: Heap,
    /// What the attack returned.
    pub(crate) told: U,
}

/// Who is attacked, and what the opening handshake agrees on.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) role: Role,
    pub(crate) config: Config,
    /// Further lines of the attacker's half of the handshake, each with its end.
    pub(crate) lines: &'static str,
}

impl Scene {
    pub(crate) fn new(role: Role, config: &Config) -> Self {
        Self { role, config: config.clone(), lines: "" }
    }

    /// After a good handshake, the attacker does as it likes to a victim that does something; once
    /// over each adapter.
    #[track_caller]
    pub(crate) fn act<T: Send + 'static, U>(
        &self,
        defend: impl Fn(&mut Ws) -> T + Clone + Send + 'static,
        attack: impl Fn(&mut Foe) -> U,
    ) -> Vec<(Adapter, T, U, Heap)> {
        let one = |&adapter: &Adapter| {
            let (role, config, defend) = (self.role, self.config.clone(), defend.clone());
            let defend = move |door: Door| defend(&mut door.open(role, &config));
            let (made, told, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake_with(self.lines);
                attack(&mut foe)
            });
            (adapter, made, told, heap)
        };
        ADAPTERS.iter().map(one).collect()
    }

    /// The same, where the victim notes every event.
    #[track_caller]
    pub(crate) fn attack<U>(&self, attack: impl Fn(&mut Foe) -> U) -> Vec<Story<U>> {
        let acted = self.act(Ws::note, attack).into_iter();
        acted.map(|(adapter, fate, told, heap)| Story { adapter, fate, heap, told }).collect()
    }

    /// These bytes are a violation behind these events, and which: reported here, and answered
    /// there with one Close of this code behind what `before` calls for.
    #[track_caller]
    pub(crate) fn refuses(
        &self,
        wire: &[u8],
        before: &[Seen],
        code: u16,
        bound: usize,
    ) -> RecvError {
        let mut found = None;
        for Story { adapter, fate, heap, told } in self.attack(|foe| foe.say(wire)) {
            let who = format!("{adapter:?} {:?}", self.role);
            let End::Failed(error) = fate.end else { panic!("{who}: {:?} {told:?}", fate.end) };
            assert_eq!(fate.seen, before, "{who}");
            assert_eq!(
                error.close_code().map(tickwire::CloseCode::get),
                Some(code),
                "{who} {error}"
            );
            assert_eq!((fate.code, fate.clean), (1006, false), "{who}");
            let close = (CLOSE, code.to_be_bytes().to_vec());
            assert_eq!(told.last(), Some(&close), "{who}");
            assert_eq!(told.iter().filter(|(b0, _)| *b0 == CLOSE).count(), 1, "{who}");
            assert_eq!(*found.get_or_insert(error), error, "{who}");
            heap.under(format_args!("{who}: {error}"), bound);
        }
        found.expect("an adapter")
    }
}

/// After a good handshake, the attacker does as it likes to a victim that notes every event; once
/// over each adapter.
#[track_caller]
pub(crate) fn attack<U>(
    role: Role,
    config: &Config,
    attack: impl Fn(&mut Foe) -> U,
) -> Vec<Story<U>> {
    Scene::new(role, config).attack(attack)
}

/// These bytes, over each adapter, are this violation behind these events, and the peer is told.
#[track_caller]
pub(crate) fn fails(
    role: Role,
    config: &Config,
    wire: &[u8],
    before: &[Seen],
    error: impl Into<RecvError>,
    bound: usize,
) {
    let error = error.into();
    let code = code_of_violation(error);
    let found = Scene::new(role, config).refuses(wire, before, code, bound);
    assert_eq!(found, error, "{role:?}");
}

/// The attacker's end, in bytes.
pub(crate) struct Foe {
    /// The victim's.
    pub(crate) role: Role,
    pub(crate) io: TcpStream,
}

impl Foe {
    pub(crate) fn new(role: Role, io: TcpStream) -> Self {
        Self { role, io }
    }

    /// A good opening handshake, with nothing agreed on.
    pub(crate) fn shake(&mut self) {
        self.shake_with("");
    }

    /// A good opening handshake with further lines, each with its end.
    pub(crate) fn shake_with(&mut self, lines: &str) {
        self.shake_and(lines, b"");
    }

    /// The same, with the first frames in the same segment as our half of it.
    pub(crate) fn shake_and(&mut self, lines: &str, frames: &[u8]) {
        let head = if self.role == Role::Server {
            format!("{REQUEST}{lines}\r\n")
        } else {
            let accept = self.proof();
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
            )
        };
        self.wire([head.as_bytes(), frames].concat());
        if self.role == Role::Server {
            let head = self.head();
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        }
    }

    /// Reads a client's request, and gives what Sec-WebSocket-Accept has to say to it.
    pub(crate) fn proof(&mut self) -> String {
        let head = self.head();
        let key = head.split_once("Sec-WebSocket-Key: ").expect("a key").1;
        accept_key(key.split_once("\r\n").unwrap().0)
    }

    /// A head, and not a byte of what follows it.
    pub(crate) fn head(&mut self) -> String {
        let head = read_head(&mut self.io);
        assert!(head.ends_with("\r\n\r\n"), "not a whole head: {head:?}");
        head
    }

    /// A frame as this end sends it.
    pub(crate) fn frame(&self, b0: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
        match self.role {
            Role::Server => masked(b0, payload),
            Role::Client => unmasked(b0, payload),
        }
    }

    pub(crate) fn wire(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).unwrap();
    }

    /// These bytes so often, unless the victim has ended the connection; how often it took them.
    pub(crate) fn flood(&mut self, bytes: &[u8], times: usize) -> usize {
        (0..times).take_while(|_| self.io.write_all(bytes).is_ok()).count()
    }

    /// No more from here.
    pub(crate) fn end(&mut self) {
        let _ = self.io.shutdown(Shutdown::Write); // the victim may be gone
    }

    /// These bytes and the end, and all that the victim has to say to it.
    pub(crate) fn say(&mut self, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.flood(wire, 1);
        self.end();
        self.rest()
    }

    /// The next frame of the victim.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        hear(&mut self.io, self.role == Role::Client).expect("a frame")
    }

    /// All frames of the victim up to its end; the last one has to be whole.
    pub(crate) fn rest(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut wire = Vec::new();
        if let Err(error) = self.io.read_to_end(&mut wire) {
            // What it had to say came first; it does not read to the end of a flood.
            let reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
            assert!(reset, "{error}");
        }
        crate::support::wire::sent(&wire)
    }
}

/// Both ends of a socket of this machine, for what needs no adapter at one of them.
pub(crate) fn sockets() -> (TcpStream, TcpStream) {
    let (near, far) = tcp_pair();
    for io in [&near, &far] {
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        io.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// Has the system keep little of what is sent here: an end that waits for the other shows after a
/// hundred kilobytes, not after megabytes.
pub(crate) fn narrow<'s>(io: impl Into<socket2::SockRef<'s>>) {
    io.into().set_send_buffer_size(32 << 10).unwrap();
}

/// What an attacker that does not read does.
impl Foe {
    /// Sends until the victim takes no more; how much it took.
    pub(crate) fn until_blocked(&mut self, wire: &[u8]) -> usize {
        self.io.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut sent = 0;
        while sent < wire.len() {
            match self.io.write(&wire[sent..]) {
                Ok(n) => sent += n,
                Err(error) => {
                    let full = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(full, "{error}");
                    break;
                }
            }
        }
        self.io.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// How many Pongs came in all, of 125 bytes each; the last one may be cut.
    pub(crate) fn pongs(&mut self) -> usize {
        let mut wire = Vec::new();
        let _ = std::io::Read::read_to_end(&mut self.io, &mut wire); // a reset ends it as well
        let each = 2 + 125 + if self.role == Role::Client { 4 } else { 0 };
        assert!(wire.iter().step_by(each).all(|b0| *b0 == PONG));
        wire.len() / each
    }
}

/// Looks until it is so, and no longer than anything may take.
#[track_caller]
pub(crate) fn until(so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "it never is");
        thread::sleep(Duration::from_millis(1));
    }
}

/// All that comes before the end, however that comes.
pub(crate) fn rest(io: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match io.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
}
