//! The limit on the bytes that all connections together have received and not delivered.
use crate::common::{REQUEST, frame, listening};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{Config, RecvError, handshake::server::Accept};
use tickwire_loop::{Counts, Door, End, Event, Loop, Settings};

const MIB: usize = 1 << 20;

/// A client with bytes to write. It reads and drops what comes.
struct Client {
    tcp: TcpStream,
    bytes: Arc<[u8]>,
    written: usize,
    /// The last bytes that came.
    last: Vec<u8>,
}

struct Server {
    net: Loop<()>,
    address: SocketAddr,
    clients: Vec<Client>,
    /// Whether only the first client writes and reads.
    measures: bool,
    /// The lengths of the messages.
    messages: Vec<usize>,
    /// The ends by a 1013 of ours, and the other ends.
    ends: [usize; 2],
}

impl Server {
    fn new(settings: Settings, config: Config) -> Self {
        let (net, address) = listening(settings, Door::new(config));
        Self { net, address, clients: vec![], measures: false, messages: vec![], ends: [0; 2] }
    }

    /// Adds a client that sends its request and these bytes.
    fn client(&mut self, bytes: &[u8]) {
        self.client_of(&[REQUEST.as_bytes(), bytes].concat().into());
    }

    fn client_of(&mut self, bytes: &Arc<[u8]>) {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        self.clients.push(Client { tcp, bytes: bytes.clone(), written: 0, last: vec![] });
    }

    fn turn(&mut self) -> Counts {
        let pumped = if self.measures { 1 } else { self.clients.len() };
        for Client { tcp, bytes, written, last } in self.clients.iter_mut().take(pumped) {
            if let Ok(n) = tcp.write(&bytes[*written..]) {
                *written += n;
            }
            let mut bytes = [0; 1000];
            match tcp.read(&mut bytes) {
                Ok(0) => {}
                Ok(n) => *last = bytes[..n].to_vec(),
                Err(error) => assert!(error.kind() == ErrorKind::WouldBlock, "{error}"),
            }
        }
        let (messages, ends) = (&mut self.messages, &mut self.ends);
        let turned = self.net.turn(Duration::from_millis(1), |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { from, message, .. } => {
                messages.push(message.as_bytes().len());
                if message.as_bytes().len() == 1 {
                    net.send(from, message).unwrap();
                }
            }
            Event::Closed { end: End::Closed(closed), .. } => {
                let ours = matches!(closed.error, Some(RecvError::Failed { .. }));
                ends[usize::from(!ours)] += 1;
                assert!(!ours || closed.sent_code == 1013);
            }
            Event::Closed { .. } => ends[1] += 1,
            _ => {}
        });
        turned.unwrap();
        self.net.net().counts()
    }

    fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self, Counts) -> bool) {
        let began = Instant::now();
        loop {
            let counts = self.turn();
            if is(self, counts) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "does not come: {what}: {counts:?}");
        }
    }
}

/// Each may have more than the limit in the end, so they go on one after the other.
#[test]
fn a105_long_messages_of_many_honest_peers_all_arrive_within_the_limit() {
    let mut server =
        Server::new(Settings { max_received: 8 * MIB, ..Settings::default() }, Config::default());
    for _ in 0..32 {
        server.client(&frame(&vec![7; MIB]));
    }
    let mut most = 0;
    server.until("32 messages", |server, counts| {
        most = most.max(counts.received);
        server.messages.len() == 32
    });
    assert!(most > 5 * MIB && most < 8 * MIB, "{most}");
    assert_eq!((server.net.net().counts().over_received, server.ends), (0, [0; 2]));
    server.until("nothing is held", |_, counts| counts.received == 0);
}

/// Half messages on many connections: the memory stays within a tenth of the limit, and an honest
/// peer is served as before. With `TESTS=all`, 1,024 of 16 MiB each under the default limit.
#[test]
fn a105_half_messages_on_all_connections_stay_within_a_tenth_of_the_limit() {
    let (n, limit) = testkit::sampled((1024, 256 * MIB), (64, 16 * MIB));
    let settings = Settings { max_received: limit, max_per_address: 2000, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    let long = frame(&vec![7; limit / 16]);
    let half: Arc<[u8]> = [REQUEST.as_bytes(), &long[..long.len() - 9]].concat().into();
    let (mut most, mut times) = (0, [vec![], vec![]]);
    server.client(&[]);
    server.until("an open connection", |_, counts| counts.open == 1);
    for (at, times) in times.iter_mut().enumerate() {
        if at == 1 {
            (0..n).for_each(|_| server.client_of(&half));
            server.until("the limit", |_, counts| counts.received > limit / 16 * 11);
        }
        server.measures = true;
        for round in 0..100 {
            let began = Instant::now();
            let honest = &mut server.clients[0];
            (honest.bytes, honest.written) = (frame(&[round]).into(), 0);
            server.until("an echo", |server, counts| {
                most = most.max(counts.received);
                server.clients[0].last.ends_with(&[round])
            });
            times.push(began.elapsed());
        }
        server.measures = false;
        times.sort_unstable();
    }
    assert!(most <= limit / 10 * 11 + MIB, "{most}");
    eprintln!(
        "{most} B held; p50, p99 before and with half messages: {:?}",
        times.map(|of| [of[50], of[99]])
    );
}

#[test]
fn a105_half_messages_are_given_up_at_their_deadline_and_no_short_message_waits() {
    let config = Config { frame_timeout: Duration::from_secs(1), ..Config::default() };
    let mut server = Server::new(Settings { max_received: 8 * MIB, ..Settings::default() }, config);
    let long = frame(&vec![7; 12 * MIB]);
    for _ in 0..20 {
        server.client(&long[..11 * MIB]);
    }
    let mut most = 0;
    server.until("the limit", |_, counts| {
        most = most.max(counts.received);
        counts.received > 5 * MIB
    });
    server.client(&[frame(&vec![1; 40_000]), frame(b"a")].concat());
    server.until("an echo", |server, counts| {
        most = most.max(counts.received);
        server.clients[20].last.ends_with(b"a")
    });
    server.until("the ends", |server, counts| {
        most = most.max(counts.received);
        server.ends[0] + server.ends[1] == 20
    });
    assert!(most < 35 * MIB, "{most}");
    let counts = server.net.net().counts();
    assert!(counts.over_received > 0 && counts.received == 0, "{counts:?}");
}

#[test]
fn a105_a_part_behind_a_whole_message_takes_no_more_than_a_read() {
    const LONG: usize = 100 << 10;
    let settings = Settings { max_received: MIB, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    let long = frame(&vec![7; LONG]);
    let bytes = [&long[..], &long[..20 << 10]].concat();
    for _ in 0..50 {
        server.client(&bytes);
    }
    let mut most = 0;
    server.until("the whole messages", |server, counts| {
        most = most.max(counts.received);
        server.messages.len() == 50
    });
    let bound = MIB / 16 * 11 + 2 * long.len() + 50 * (17 << 10);
    assert!(most <= bound, "{most} > {bound}");
}
