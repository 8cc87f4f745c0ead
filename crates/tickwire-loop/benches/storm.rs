//! A storm of honest clients, with and without silent peers: how long until all are open.
//!
//! ```sh
//! ulimit -n 20000
//! cargo bench -p tickwire-loop --features rustls --bench storm
//! cargo bench -p tickwire-loop --bench storm -- ws 1024 300 5000   # one run of the table
//! ```
//!
//! With `--quick` there are 1,000 clients and 500 silent peers. `TICKWIRE_IO_URING=1` asks for
//! io_uring (feature `io-uring`).
//!
//! Each client has an address of its own. All of them arrive within a second. Over `ws` a client
//! sends half of its request when it has connected, and the rest after the time of the handshake.
//! Over `wss` it waits for this time between the server's first answer and its own. A client that
//! is refused, or is not open after 10 s, comes back with `Backoff`. A silent peer sends nothing,
//! and comes back at once when it is closed. The server, the clients and the silent peers are
//! processes of their own, because a process has descriptors for few connections.
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    env,
    error::Error,
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Counts, Door, Event, Loop, Settings};
use tickwire_parts::Backoff;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
/// As long as `Config::handshake_timeout` by default.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing but a hang takes as long.
const HANG: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    let quick = env::args().any(|arg| arg == "--quick");
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let args: Vec<&str> = args.iter().map(|arg| &**arg).collect();
    let (clients, silent) = if quick { (1_000, 500) } else { (10_000, 5_000) };
    match args[..] {
        ["server", places, scheme] => serve(places.parse()?, scheme),
        ["clients", to, scheme, time, number] => {
            Crowd::new(to.parse()?, scheme, Some(time.parse()?), number.parse()?)?.run()
        }
        ["silent", to, number] => Crowd::new(to.parse()?, "ws", None, number.parse()?)?.run(),
        [scheme, places, time, silent] => {
            storm(scheme, places.parse()?, time.parse()?, silent.parse()?, clients)
        }
        _ => {
            for places in [1024, 4096] {
                for time in [50, 300, 1000] {
                    storm("ws", places, time, 0, clients)?;
                    storm("ws", places, time, silent, clients)?;
                }
                if cfg!(feature = "rustls") {
                    storm("wss", places, 300, 0, clients)?;
                    storm("wss", places, 300, silent, clients)?;
                }
            }
            Ok(())
        }
    }
}

/// One line of the table.
fn storm(scheme: &str, places: usize, time: usize, silent: usize, clients: usize) -> Result<()> {
    let mut server = Process::start(&["server", &places.to_string(), scheme])?;
    let address = server.line()?;
    let peers = match silent {
        0 => None,
        silent => {
            let mut peers = Process::start(&["silent", &address, &silent.to_string()])?;
            peers.line()?; // all of them have come
            Some(peers)
        }
    };
    let (time, number) = (time.to_string(), clients.to_string());
    let took = Process::start(&["clients", &address, scheme, &time, &number])?.line()?;
    let goal = 1.0 + 2.0 * clients as f64 * time.parse::<f64>()? / 1000.0 / places as f64;
    let goal = if silent == 0 { goal } else { 1.0 + 3.0 * (goal - 1.0) };
    println!("{scheme}, {places} places, {time} ms, {silent} silent: {took}; goal {goal:.2} s");
    writeln!(server.stdin)?;
    println!("    {}", server.line()?);
    drop(peers);
    Ok(())
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: Box<dyn BufRead>,
}

impl Process {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("stdin")?;
        let stdout = Box::new(BufReader::new(child.stdout.take().ok_or("stdout")?));
        Ok(Self { child, stdin, stdout })
    }

    fn line(&mut self) -> Result<String> {
        let mut text = String::new();
        match self.stdout.read_line(&mut text)? {
            0 => Err("a process of the storm has ended".into()),
            _ => Ok(text.trim().to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(places: usize, scheme: &str) -> Result<()> {
    let io_uring = env::var_os("TICKWIRE_IO_URING").is_some();
    let settings = Settings { max_handshakes: places, io_uring, ..Settings::default() };
    let mut net = Loop::<()>::new(settings)?;
    let door = Door::new(Config::default());
    #[cfg(feature = "rustls")]
    let door = if scheme == "wss" { door.tls(tls::server()?) } else { door };
    let _ = scheme;
    println!("{}", net.net().listen(([127, 0, 0, 1], 0).into(), door)?);
    let waker = net.net().waker();
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        waker.wake()
    });
    net.run(|net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Woken => {
            let Counts { accepted, handshakes_failed, held, evicted, .. } = net.counts();
            println!(
                "accepted {accepted}, failed {handshakes_failed}, held {held}, evicted {evicted}"
            );
        }
        _ => {}
    })?;
    Ok(())
}

/// Many clients on one thread.
struct Crowd {
    to: SocketAddr,
    scheme: String,
    /// How long a client's handshake lasts. `None`: the clients are silent.
    time: Option<Duration>,
    poll: Poll,
    peers: Vec<Peer>,
    /// What is due for a peer, if it has not begun another attempt meanwhile.
    due: BinaryHeap<Reverse<(Instant, usize, u32, Due)>>,
    began: Instant,
    open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Connect,
    SayRest,
    GiveUp,
}

struct Peer {
    backoff: Backoff,
    stream: Option<TcpStream>,
    #[cfg(feature = "rustls")]
    tls: Option<Box<tickwire::tls::rustls::ClientConnection>>,
    attempt: u32,
    came: Instant,
    /// Whether it has begun its handshake.
    begun: bool,
    /// When it was open, from when it came first.
    open: Option<Duration>,
}

impl Crowd {
    fn new(to: SocketAddr, scheme: &str, time: Option<u64>, number: usize) -> Result<Self> {
        let began = Instant::now();
        let mut crowd = Self {
            to,
            scheme: scheme.to_owned(),
            time: time.map(Duration::from_millis),
            poll: Poll::new()?,
            peers: Vec::new(),
            due: BinaryHeap::new(),
            began,
            open: 0,
        };
        for at in 0..number {
            let mut backoff = Backoff::seeded(at as u64);
            backoff.first_delay = Duration::from_secs(1);
            let came = began + backoff.next().ok_or("a delay")?;
            crowd.due.push(Reverse((came, at, 0, Due::Connect)));
            crowd.peers.push(Peer {
                backoff,
                stream: None,
                #[cfg(feature = "rustls")]
                tls: None,
                attempt: 0,
                came,
                begun: false,
                open: None,
            });
        }
        Ok(crowd)
    }

    /// Runs until all are open. Silent peers come for ever.
    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut told = false;
        while self.time.is_none() || self.open < self.peers.len() {
            let now = Instant::now();
            if now > self.began + HANG {
                return Err(format!("{} of {} are open", self.open, self.peers.len()).into());
            }
            if self.time.is_none() && !told && now > self.began + Duration::from_secs(2) {
                println!("here");
                told = true;
            }
            while let Some(Reverse((at, peer, attempt, due))) = self.due.peek().copied()
                && at <= now
            {
                self.due.pop();
                if self.peers[peer].attempt == attempt && self.peers[peer].open.is_none() {
                    match due {
                        Due::Connect => self.connect(peer, now),
                        Due::SayRest => self.say(peer, &REQUEST[self.half()..]),
                        Due::GiveUp => self.come_back(peer, now),
                    }
                }
            }
            let next = self.due.peek().map(|Reverse((at, ..))| at.saturating_duration_since(now));
            self.poll.poll(&mut events, next.or(Some(Duration::from_millis(100))))?;
            for event in &events {
                self.ready(event.token().0)?;
            }
        }
        let mut times: Vec<_> = self.peers.iter().filter_map(|peer| peer.open).collect();
        times.sort_unstable();
        let attempts: usize = self.peers.iter().map(|peer| peer.attempt as usize).sum();
        let seconds = |at: usize| times[at].as_secs_f64();
        println!(
            "all {} open after {:.2} s (one: p50 {:.2} s, p99 {:.2} s), {attempts} attempts",
            times.len(),
            self.began.elapsed().as_secs_f64(),
            seconds(times.len() / 2),
            seconds(times.len() * 99 / 100),
        );
        Ok(())
    }

    /// How much of the request a client sends first. Over TLS, all of it comes at the end.
    fn half(&self) -> usize {
        if self.scheme == "wss" { 0 } else { REQUEST.len() / 2 }
    }

    fn connect(&mut self, at: usize, now: Instant) {
        let peer = &mut self.peers[at];
        (peer.attempt, peer.begun) = (peer.attempt + 1, false);
        match begin(self.to, at, self.time.is_none()) {
            Ok(mut stream) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                let _ = self.poll.registry().register(&mut stream, Token(at), both);
                peer.stream = Some(stream);
                if self.time.is_some() {
                    self.due.push(Reverse((now + PATIENCE, at, peer.attempt, Due::GiveUp)));
                }
            }
            Err(_) => self.come_back(at, now),
        }
    }

    fn come_back(&mut self, at: usize, now: Instant) {
        let peer = &mut self.peers[at];
        peer.stream = None;
        let delay = match self.time {
            Some(_) => peer.backoff.next().unwrap_or_default(),
            None => Duration::ZERO,
        };
        self.due.push(Reverse((now + delay, at, peer.attempt, Due::Connect)));
    }

    /// Goes on with a peer whose stream is ready.
    fn ready(&mut self, at: usize) -> Result<()> {
        let now = Instant::now();
        let half = self.half();
        let Some(stream) = &self.peers[at].stream else { return Ok(()) };
        if self.peers[at].open.is_some() {
            return Ok(());
        }
        if !self.peers[at].begun {
            match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                (Ok(None), Ok(_)) => {}
                _ => {
                    self.come_back(at, now);
                    return Ok(());
                }
            }
            self.peers[at].begun = true;
            if self.time.is_some() {
                self.begin_handshake(at)?;
                self.say(at, &REQUEST[..half]);
            }
            if let (Some(time), false) = (self.time, half == 0) {
                self.due.push(Reverse((now + time, at, self.peers[at].attempt, Due::SayRest)));
            }
        }
        let mut bytes = [0; 4096];
        match self.read(at, &mut bytes) {
            Ok(n) if bytes[..n].starts_with(b"HTTP/1.1 101 ") => {
                self.peers[at].open = Some(now - self.peers[at].came);
                self.open += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.come_back(at, now),
        }
        Ok(())
    }

    #[cfg(not(feature = "rustls"))]
    fn begin_handshake(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    #[cfg(not(feature = "rustls"))]
    fn say(&mut self, at: usize, bytes: &[u8]) {
        let _ = self.peers[at].stream.as_ref().map(|mut stream| stream.write(bytes));
    }

    #[cfg(not(feature = "rustls"))]
    fn read(&mut self, at: usize, to: &mut [u8]) -> io::Result<usize> {
        self.peers[at].stream.as_ref().map_or(Ok(0), |mut stream| io::Read::read(&mut stream, to))
    }
}

/// Begins to connect from an address of its own.
fn begin(to: SocketAddr, at: usize, silent: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = Ipv4Addr::new(127, 2 + u8::from(silent), (at / 250) as u8, 1 + (at % 250) as u8);
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into())?;
    socket.set_nonblocking(true)?;
    // A client that gives up resets its connection, so that no port is kept.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(115) => Err(error), // EINPROGRESS
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(feature = "rustls")]
#[path = "support/certified.rs"]
mod certified;

#[cfg(feature = "rustls")]
mod tls {
    use super::{Crowd, Due, Result};
    use std::{
        cmp::Reverse,
        io::{self, ErrorKind, Read, Write},
        sync::{Arc, OnceLock},
        time::Instant,
    };
    use tickwire::tls::rustls::{ClientConfig, ClientConnection, ServerConfig};

    pub(crate) fn server() -> Result<Arc<ServerConfig>> {
        crate::certified::server("storm")
    }

    fn client() -> Result<Arc<ClientConfig>> {
        static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let Some(config) = CONFIG.get() {
            return Ok(config.clone());
        }
        let mut config = crate::certified::client("storm")?;
        config.resumption = tickwire::tls::rustls::client::Resumption::disabled();
        Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
    }

    impl Crowd {
        pub(crate) fn begin_handshake(&mut self, at: usize) -> Result<()> {
            let peer = &mut self.peers[at];
            peer.tls = None;
            if self.scheme == "wss" {
                let mut tls = ClientConnection::new(client()?, "localhost".try_into()?)?;
                if let Some(stream) = &mut peer.stream {
                    let _ = tls.write_tls(stream); // an error is found by the next read
                }
                peer.tls = Some(Box::new(tls));
            }
            Ok(())
        }

        /// Sends bytes. An error is found by the next read.
        pub(crate) fn say(&mut self, at: usize, bytes: &[u8]) {
            let peer = &mut self.peers[at];
            let Some(stream) = &mut peer.stream else { return };
            let Some(tls) = &mut peer.tls else {
                let _ = stream.write(bytes);
                return;
            };
            if !bytes.is_empty() {
                let _ = tls.writer().write(bytes);
                while tls.wants_write() && tls.write_tls(stream).is_ok() {}
            }
        }

        /// Reads plaintext. Once the server has answered, the client's own answer is due later.
        pub(crate) fn read(&mut self, at: usize, to: &mut [u8]) -> io::Result<usize> {
            let peer = &mut self.peers[at];
            let Some(stream) = &mut peer.stream else { return Ok(0) };
            let Some(tls) = &mut peer.tls else { return stream.read(to) };
            loop {
                let before = tls.is_handshaking();
                match tls.reader().read(to) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read,
                }
                if tls.read_tls(stream)? == 0 {
                    return Ok(0);
                }
                tls.process_new_packets().map_err(|_| ErrorKind::InvalidData)?;
                if let (true, false, Some(time)) = (before, tls.is_handshaking(), self.time) {
                    self.due.push(Reverse((Instant::now() + time, at, peer.attempt, Due::SayRest)));
                }
            }
        }
    }
}
