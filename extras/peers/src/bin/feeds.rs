//! Many feeds over `wss`, one thread: processor time of the client for each message.
//! `tickwire-loop`, over epoll and over io_uring, and boomnet's client in a loop over mio, on the
//! same server and ticks (the exchange of `feed_handler`), with the same look at each message.
//! Handshakes are not counted.
//!
//! `--feeds=200 --rate=20000 --ms=500 --rounds=21`; `--pace=bursts` for all feeds at once.

use std::hint::black_box;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tickwire::tls;

use boomnet::service::select::Selectable;
use boomnet::stream::mio::{IntoMioStream, MioStream};
use boomnet::stream::tcp;
use boomnet::stream::tls::{IntoTlsStream, TlsConfigExt, TlsStream};
use boomnet::ws::{IntoWebsocket, Websocket, WebsocketFrame};
use market_feed::lines::{Exchange, Pace, Plan};
use mio::{Events, Interest, Poll, Token};
use tickwire_loop::{Dial, Event, Loop, Settings};
use tickwire_peers::proc::{CLIENT_CORE, SERVER_CORE, Server, pin, serving, thread_time};
use tickwire_peers::table::Table;
use tickwire_peers::tls::client;
use tickwire_peers::{option, rotated};

const TICKWIRE: &str = "tickwire";
const URING: &str = "tickwire, io_uring";
const BOOMNET: &str = "boomnet";
/// The longest wait of a round.
const BEAT: Duration = Duration::from_millis(1);

/// A client of many feeds.
trait Client {
    /// Waits, and takes in what has come: the number of its feed, and the message.
    fn turn(&mut self, see: impl FnMut(usize, &[u8]));
    /// Whether all feeds are subscribed to.
    fn is_open(&self) -> bool;
}

/// The value of a connection is the number of its feed.
struct Tickwire {
    net: Loop<usize>,
    opening: usize,
}

impl Tickwire {
    /// `None` where the kernel refuses io_uring.
    fn dial(port: u16, feeds: usize, io_uring: bool) -> Option<Self> {
        let settings = Settings { io_uring, ..Settings::default() };
        let mut net = Loop::new(settings).expect("a descriptor");
        if net.net().uses_io_uring() != io_uring {
            return None;
        }
        let dial = Dial::to(&format!("wss://localhost:{port}/")).expect("a URL");
        let dial = dial
            .addresses([SocketAddr::from(([127, 0, 0, 1], port))])
            .tls(tls::Client::from(client(true)).in_place());
        for feed in 0..feeds {
            net.net().dial(dial.clone(), feed).expect("it can be dialed");
        }
        Some(Self { net, opening: feeds })
    }
}

impl Client for Tickwire {
    fn turn(&mut self, mut see: impl FnMut(usize, &[u8])) {
        let Self { net, opening } = self;
        let turn = net.turn(BEAT, |net, event| match event {
            Event::Message { from, message, .. } => {
                let feed = net.value(from).expect("it is there");
                see(*feed, message.as_bytes());
            }
            Event::Open(handle) => {
                let feed = *net.value(handle).expect("it is there");
                net.send(handle, &*format!("subscribe {feed}")).expect("it is open");
                *opening -= 1;
            }
            Event::Closed { end, .. } => panic!("{end:?}"),
            _ => {}
        });
        turn.expect("the system can wait");
    }

    fn is_open(&self) -> bool {
        self.opening == 0
    }
}

/// Its streams and its client as they are. Its own service polls without a wait, all endpoints each
/// time: this loop is in its favour.
struct Boomnet {
    poll: Poll,
    events: Events,
    all: Vec<Endpoint>,
}

struct Endpoint {
    ws: Websocket<TlsStream<MioStream>>,
    subscribes: bool,
    /// It writes one record with each read, and of a message it makes five.
    reads: u8,
}

impl Boomnet {
    fn dial(port: u16, feeds: usize) -> Self {
        let poll = Poll::new().expect("a descriptor");
        let dial = |feed| {
            let tcp = tcp::TcpStream::try_from(("localhost", port)).expect("it listens");
            let tls = tcp
                .into_mio_stream()
                .into_tls_stream_with_config(|c| c.with_no_cert_verification());
            let mut ws = tls.expect("a name").into_websocket("/");
            let both = Interest::READABLE | Interest::WRITABLE;
            let registered = poll.registry().register(&mut ws, Token(feed), both);
            registered.expect("a descriptor");
            Endpoint { ws, subscribes: false, reads: 0 }
        };
        let all = (0..feeds).map(dial).collect();
        Self { poll, events: Events::with_capacity(1024), all }
    }
}

impl Client for Boomnet {
    fn turn(&mut self, mut see: impl FnMut(usize, &[u8])) {
        let Self { poll, events, all } = self;
        match poll.poll(events, Some(BEAT)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {} // a signal came
            waited => waited.expect("the system can wait"),
        }
        for event in events.iter() {
            let Token(feed) = event.token();
            all[feed].note(event.is_readable(), event.is_writable());
            if all[feed].is_open() {
                all[feed].take(|message| see(feed, message));
            }
        }
        let opening = all.iter_mut().enumerate().filter(|(_, endpoint)| !endpoint.is_open());
        opening.for_each(|(feed, endpoint)| endpoint.open(feed));
    }

    fn is_open(&self) -> bool {
        self.all.iter().all(Endpoint::is_open)
    }
}

impl Endpoint {
    fn is_open(&self) -> bool {
        self.reads >= 10
    }

    fn note(&mut self, readable: bool, writable: bool) {
        if writable && self.ws.connected().expect("it listens") {
            self.ws.make_writable().expect("it is connected");
        }
        if readable {
            self.ws.make_readable().expect("it is connected");
        }
    }

    /// Goes on with the handshakes, at least every millisecond.
    fn open(&mut self, feed: usize) {
        if !self.subscribes {
            // It keeps it until its handshake is done.
            let subscribe = format!("subscribe {feed}");
            self.ws.send_text(true, Some(subscribe.as_bytes())).expect("it is kept");
            self.subscribes = true;
        }
        // It writes where it reads, and reads nothing where the system has not said that there is
        // something.
        self.ws.make_readable().expect("it is connected");
        for frame in self.ws.read_batch().expect("it is accepted") {
            frame.expect("a good feed");
        }
        self.reads += u8::from(self.ws.handshake_complete());
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
fn run(mut client: impl Client, feeds: usize, time: Duration) -> f64 {
    let patience = Instant::now() + Duration::from_secs(20);
    while !client.is_open() {
        assert!(Instant::now() < patience, "not all feeds open");
        client.turn(|_, _| {});
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
        client.turn(|feed, message| {
            let sequence = u64::from_le_bytes(message[8..16].try_into().expect("its length"));
            assert!(newest[feed] == 0 || sequence == newest[feed] + 1, "none is lost");
            newest[feed] = black_box(sequence);
            count += 1;
        });
    }
    let took = thread_time() - began.expect("it has begun");
    let silent = newest.iter().filter(|&&newest| newest == 0).count();
    assert!(silent == 0, "{silent} feeds are silent");
    took.as_nanos() as f64 / count as f64
}

fn serve(feeds: usize, rate: u32, pace: &str) {
    pin(SERVER_CORE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a listener");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let pace = if pace == "bursts" { Pace::Bursts } else { Pace::Even };
    let late = Duration::ZERO;
    let plan = Plan { feeds, lines: 1, rate, pace, late, cut_every: None, life: None };
    // With the certificate of all rows here.
    let tls = tls::Server::from(tickwire_peers::tls::server(true)).in_place();
    let exchange = Exchange::new(plan, tls);
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
            let ns = match *name {
                BOOMNET => run(Boomnet::dial(server.port(), feeds), feeds, time),
                name => match Tickwire::dial(server.port(), feeds, name == URING) {
                    Some(client) => run(client, feeds, time),
                    None => {
                        eprintln!("{name}: NOT RUN: the kernel refuses io_uring");
                        continue;
                    }
                },
            };
            table.add(name, "receive", ns);
        }
    }
    table.print(BOOMNET);
    table.print_ratios(BOOMNET);
}
