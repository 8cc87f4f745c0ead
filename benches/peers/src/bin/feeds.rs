//! Many feeds over `wss`, one thread: processor time of the client for each message, tickwire's core and
//! boomnet's client, in the same loop over mio, on the same server and ticks (`market_feed --lines`), with
//! the same look at each message; and tickwire's with io_uring in place of mio. Handshakes are not counted.
//!
//! `--feeds=200 --rate=20000 --ms=500 --rounds=21`; `--pace=bursts` for all feeds at once.

use std::hint::black_box;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use boomnet::service::select::Selectable;
use boomnet::stream::mio::{IntoMioStream, MioStream};
use boomnet::stream::tcp;
use boomnet::stream::tls::{IntoTlsStream, TlsConfigExt, TlsStream};
use boomnet::ws::{IntoWebsocket, Websocket, WebsocketFrame};
use event_loop::socket::{self, Note, Socket, Stream};
use feed_handler::wire::{Poller, Wire};
use market_feed::lines::{Exchange, Pace, Plan};
use mio::net::TcpStream;
use mio::{Interest, Token};
use tickwire::handshake::Progress;
use tickwire::handshake::client::{Handshake, Request};
use tickwire::tls::Session;
use tickwire::{Config, Connection, Step, SystemEntropy};
use tickwire_peers::proc::{CLIENT_CORE, SERVER_CORE, Server, pin, serving, thread_time};
use tickwire_peers::table::Table;
use tickwire_peers::tls::client;
use tickwire_peers::{option, rotated};

const TICKWIRE: &str = "tickwire";
const URING: &str = "tickwire, io_uring";
const BOOMNET: &str = "boomnet";

/// A connection to a feed, over a stream that never blocks.
trait Feed: Sized {
    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self;
    /// Takes note of what the system says.
    fn note(&mut self, note: Note);
    /// Goes on with the handshakes, at least every millisecond. Whether they are done, and the feed is subscribed to.
    fn open(&mut self, feed: usize) -> bool;
    /// Takes in what has come.
    fn take(&mut self, see: impl FnMut(&[u8]));
}

/// The core by hand, as the example `feed_handler` has it.
struct Tickwire<S> {
    socket: Socket<S>,
    stage: Stage,
}

/// What it reads and writes: mio's stream as it is, since nobody else here asks when bytes arrived; or the ring's.
trait Dialed: Stream + Sized {
    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self;
}

impl Dialed for TcpStream {
    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self {
        let Poller::Mio(poll, _) = poller else { panic!("it is mio's") };
        let mut tcp = Self::connect(([127, 0, 0, 1], port).into()).expect("it listens");
        tcp.set_nodelay(true).expect("it is TCP");
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut tcp, Token(token), both).expect("a descriptor");
        tcp
    }
}

impl Dialed for Wire {
    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self {
        poller.dial(token, ([127, 0, 0, 1], port).into()).expect("it listens")
    }
}

#[allow(clippy::large_enum_variant)] // the largest is the one that lasts
enum Stage {
    Opening(Handshake),
    Open(Connection),
    Gone,
}

impl<S: Dialed> Feed for Tickwire<S> {
    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self {
        let request = Request::new(&format!("wss://localhost:{port}/")).expect("a URL");
        let tls = Session::client(client(true), request.target()).expect("a name");
        let entropy = SystemEntropy::new().expect("the system has it");
        let handshake = Handshake::new(&request, &Config::default(), entropy);
        Self {
            socket: Socket::new(S::dial(port, poller, token), Some(tls), false),
            stage: Stage::Opening(handshake),
        }
    }

    fn note(&mut self, note: Note) {
        self.socket.note(note);
    }

    fn open(&mut self, feed: usize) -> bool {
        let Self { socket, stage } = self;
        let Stage::Opening(handshake) = stage else { return true };
        loop {
            if let Ok(n) = socket.say(handshake.outgoing()) {
                handshake.advance(n);
            }
            if handshake.step().expect("it is accepted") == Progress::Complete {
                break;
            }
            if !socket.is_readable() {
                return false;
            }
            match socket.read(handshake.reading.spare_mut()) {
                Ok(n) => handshake.reading.commit(n),
                Err(error) => assert!(socket::is_passing(&error), "{error}"),
            }
        }
        if let Stage::Opening(handshake) = std::mem::replace(stage, Stage::Gone) {
            let mut conn = handshake.into_connection().expect("it is complete");
            let _ = conn.sender_mut().feed(&*format!("subscribe {feed}")).expect("it is open");
            socket.write(&mut conn);
            *stage = Stage::Open(conn);
        }
        true
    }

    fn take(&mut self, mut see: impl FnMut(&[u8])) {
        let Self { socket, stage } = self;
        let Stage::Open(conn) = stage else { return };
        loop {
            match conn.step().expect("a good feed") {
                Step::Message => {
                    if let Some(message) = conn.receiver().message() {
                        see(message.as_bytes());
                    }
                    continue;
                }
                Step::NeedInput => {}
                _ => continue,
            }
            if conn.sender().has_outgoing() {
                socket.write(conn);
            }
            if !socket.is_readable() {
                return;
            }
            match socket.read(conn.receiver_mut().spare_mut()) {
                Ok(n) => conn.receiver_mut().commit(n),
                Err(error) => assert!(socket::is_passing(&error), "{error}"),
            }
        }
    }
}

/// Its streams and its client as they are. Its own service polls without a wait, all endpoints each time:
/// this loop is in its favour.
struct Boomnet {
    ws: Websocket<TlsStream<MioStream>>,
    subscribes: bool,
    /// It writes one record with each read, and of a message it makes five.
    reads: u8,
}

impl Feed for Boomnet {
    fn note(&mut self, note: Note) {
        if note.writable && self.ws.connected().expect("it listens") {
            self.ws.make_writable().expect("it is connected");
        }
        if note.readable {
            self.ws.make_readable().expect("it is connected");
        }
    }

    fn dial(port: u16, poller: &mut Poller, token: usize) -> Self {
        let Poller::Mio(poll, _) = poller else { panic!("it is mio's") };
        let tcp = tcp::TcpStream::try_from(("localhost", port)).expect("it listens");
        let tls =
            tcp.into_mio_stream().into_tls_stream_with_config(|c| c.with_no_cert_verification());
        let mut ws = tls.expect("a name").into_websocket("/");
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = poll.registry().register(&mut ws, Token(token), both);
        registered.expect("a descriptor");
        Self { ws, subscribes: false, reads: 0 }
    }

    fn open(&mut self, feed: usize) -> bool {
        if !self.subscribes {
            // It keeps it until its handshake is done.
            let subscribe = format!("subscribe {feed}");
            self.ws.send_text(true, Some(subscribe.as_bytes())).expect("it is kept");
            self.subscribes = true;
        }
        // It writes where it reads, and reads nothing where the system has not said that there is something.
        self.ws.make_readable().expect("it is connected");
        for frame in self.ws.read_batch().expect("it is accepted") {
            frame.expect("a good feed");
        }
        self.reads += u8::from(self.ws.handshake_complete());
        self.reads == 10
    }

    fn take(&mut self, mut see: impl FnMut(&[u8])) {
        loop {
            let mut frames = 0;
            for frame in self.ws.read_batch().expect("a good feed") {
                if let WebsocketFrame::Binary(true, message) = frame.expect("a good feed") {
                    see(message);
                }
                frames += 1;
            }
            if frames == 0 {
                return;
            }
        }
    }
}

/// Nanoseconds of this thread for each message.
fn run<F: Feed>(mut poller: Poller, port: u16, feeds: usize, time: Duration) -> f64 {
    let mut noted = Vec::new();
    let mut all: Vec<_> = (0..feeds).map(|feed| F::dial(port, &mut poller, feed)).collect();
    let mut wait = |noted: &mut Vec<(usize, Note)>| {
        noted.clear();
        poller.wait(Duration::from_millis(1), noted).expect("the system can wait");
    };
    let mut open = vec![false; feeds];
    let patience = Instant::now() + Duration::from_secs(20);
    while !open.iter().all(|&open| open) {
        assert!(Instant::now() < patience, "not all feeds open");
        wait(&mut noted);
        for &(at, note) in &noted {
            all[at].note(note);
            if open[at] {
                all[at].take(|_| {});
            }
        }
        for (at, feed) in all.iter_mut().enumerate() {
            open[at] = open[at] || feed.open(at);
        }
    }
    let mut newest = vec![0; feeds];
    let (mut count, mut began) = (0_u64, None);
    let warm = Instant::now() + Duration::from_millis(200);
    let mut until = warm + time;
    while Instant::now() < until {
        if began.is_none() && Instant::now() >= warm {
            (count, began) = (0, Some(thread_time()));
            until = Instant::now() + time;
        }
        wait(&mut noted);
        for &(at, note) in &noted {
            all[at].note(note);
            all[at].take(|message| {
                let sequence = u64::from_le_bytes(message[8..16].try_into().expect("its length"));
                assert!(newest[at] == 0 || sequence == newest[at] + 1, "none is lost");
                newest[at] = black_box(sequence);
                count += 1;
            });
        }
    }
    let took = thread_time() - began.expect("it has begun");
    let silent = newest.iter().filter(|&&newest| newest == 0).count();
    assert!(silent == 0, "{silent} feeds of {} are silent", std::any::type_name::<F>());
    took.as_nanos() as f64 / count as f64
}

fn serve(feeds: usize, rate: u32, pace: &str) {
    pin(SERVER_CORE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a listener");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let pace = if pace == "bursts" { Pace::Bursts } else { Pace::Even };
    let late = Duration::ZERO;
    let plan =
        Plan { feeds, lines: 1, rate, pace, late, cut_every: None, life: None, silence: None };
    let tls = tickwire_peers::tls::server(true); // with the certificate of all rows here
    let exchange = Exchange::new(plan, Some(tls.into()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    panic!("{}", runtime.expect("a runtime").block_on(exchange.serve(vec![listener])));
}

fn main() {
    if let Some(args) = serving() {
        let [feeds, rate, pace] = &args[..] else { panic!("{args:?}") };
        return serve(feeds.parse().expect("a number"), rate.parse().expect("a number"), pace);
    }
    pin(CLIENT_CORE);
    tickwire_peers::proc::raise_descriptors();
    let (feeds, rate) = (option("feeds", 200), option("rate", 20_000_u32));
    let pace = option("pace", "even".to_owned());
    let time = Duration::from_millis(option("ms", 500));
    let server = Server::start(&[&feeds.to_string(), &rate.to_string(), &pace]);
    let title = format!("{feeds} feeds over wss, {rate} messages a second, {pace}");
    let mut table = Table::new(&format!("{title}: ns of the client per message (× {BOOMNET})"));
    for round in 0..option("rounds", 21) {
        for name in rotated(&[TICKWIRE, URING, BOOMNET], round) {
            let poller = match Poller::new(*name == URING) {
                Ok(poller) => poller,
                Err(error) => {
                    eprintln!("{name}: NOT RUN: {error}");
                    continue;
                }
            };
            let ns = match *name {
                BOOMNET => run::<Boomnet>(poller, server.port(), feeds, time),
                URING => run::<Tickwire<Wire>>(poller, server.port(), feeds, time),
                _ => run::<Tickwire<TcpStream>>(poller, server.port(), feeds, time),
            };
            table.add(name, "receive", ns);
        }
    }
    table.print(BOOMNET);
    table.print_ratios(BOOMNET);
}
