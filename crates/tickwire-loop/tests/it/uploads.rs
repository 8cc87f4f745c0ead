//! Uploads by honest peers, while half messages of other peers fill the memory that the limit on
//! received bytes allows: over `ws` and `wss`, with turns of one read and of several.
#[cfg(feature = "rustls")]
use crate::placed::placed;
use crate::{
    common::{REQUEST, frame, listening},
    tls::{Keys, keys},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{
    Config,
    handshake::server::Accept,
    tls::rustls::{ClientConnection, pki_types::ServerName},
};
use tickwire_loop::{Counts, Door, Event, Handle, Loop, Settings};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const MS: Duration = Duration::from_millis(1);
/// An honest peer on a slow line sends 16 KiB in this time.
const PAUSE: Duration = Duration::from_millis(5);

/// A client. It reads what comes, and keeps the last bytes.
struct Peer {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    bytes: Vec<u8>,
    written: usize,
    /// The number of bytes that a slow peer may have written, and since when.
    due: Option<(usize, Instant)>,
    last: Vec<u8>,
}

impl Peer {
    fn pump(&mut self) {
        let Self { tcp, tls, bytes, written, due, last } = self;
        if let Some((due, since)) = due
            && since.elapsed() >= PAUSE
        {
            (*due, *since) = (bytes.len().min(*due + 16 * KIB), Instant::now());
        }
        let due = due.map_or(bytes.len(), |(due, _)| due);
        let mut read = [0; 1000];
        let n = match tls {
            None => {
                *written += tcp.write(&bytes[*written..due]).unwrap_or_default();
                tcp.read(&mut read)
            }
            Some(tls) => {
                if !tls.wants_write() {
                    *written += tls.writer().write(&bytes[*written..due]).unwrap();
                }
                while tls.wants_write() && tls.write_tls(tcp).is_ok() {}
                let read_tls = tls.read_tls(tcp);
                read_tls.and_then(|_| {
                    tls.process_new_packets().unwrap();
                    tls.reader().read(&mut read)
                })
            }
        };
        match n {
            Ok(n) if n > 0 => *last = read[..n].to_vec(),
            Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
            _ => {}
        }
    }
}

struct Server {
    net: Loop<()>,
    address: SocketAddr,
    keys: Option<Keys>,
    peers: Vec<Peer>,
    opened: Vec<Handle>,
    /// The sender and the length of each message.
    messages: Vec<(Handle, usize)>,
    ended: Vec<Handle>,
    /// The most bytes that were held.
    most: usize,
}

impl Server {
    fn new(settings: Settings, config: Config, tls: bool) -> Self {
        let keys = tls.then(|| keys(true));
        let mut door = Door::new(config);
        if let Some(keys) = &keys {
            door = door.tls(placed(keys.server.clone()));
        }
        let (net, address) = listening(settings, door);
        let (peers, opened, messages, ended) = (vec![], vec![], vec![], vec![]);
        Self { net, address, keys, peers, opened, messages, ended, most: 0 }
    }

    /// Opens a connection whose peer sends these bytes. A slow peer first sends `due` of them.
    fn peer(&mut self, bytes: &[u8], due: Option<usize>) -> Handle {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = self.keys.as_ref().map(|keys| {
            let name = ServerName::try_from("localhost").unwrap();
            Box::new(ClientConnection::new(keys.client.clone(), name).unwrap())
        });
        let bytes = [REQUEST.as_bytes(), bytes].concat();
        let due = due.map(|due| (REQUEST.len() + due, Instant::now()));
        self.peers.push(Peer { tcp, tls, bytes, written: 0, due, last: vec![] });
        let n = self.peers.len();
        self.until("an open connection", |server, _| server.opened.len() == n);
        self.opened[n - 1]
    }

    fn round(&mut self) -> Counts {
        self.peers.iter_mut().for_each(Peer::pump);
        let Self { net, opened, messages, ended, .. } = self;
        let turned = net.turn(MS, |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => opened.push(handle),
            Event::Message { from, message, .. } => {
                messages.push((from, message.as_bytes().len()));
                if message.as_bytes().len() <= 1000 {
                    net.send(from, message).unwrap();
                }
            }
            Event::Closed { handle, .. } => ended.push(handle),
            _ => {}
        });
        turned.unwrap();
        let counts = self.net.net().counts();
        self.most = self.most.max(counts.received);
        counts
    }

    fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self, Counts) -> bool) {
        let began = Instant::now();
        loop {
            let counts = self.round();
            if is(self, counts) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "does not come: {what}: {counts:?}");
        }
    }

    /// Waits until a long message of this connection has arrived. No connection may have been given
    /// up by then.
    fn until_arrived(&mut self, from: Handle, len: usize) {
        self.until("the upload", |server, counts| {
            assert_eq!((counts.over_received, server.ended.len()), (0, 0), "{counts:?}");
            server.messages.contains(&(from, len))
        });
    }
}

/// Runs a test over `ws` and `wss`, with turns of one read and of several.
fn each(test: impl Fn(bool, usize)) {
    for tls in [false, true] {
        for turn_bytes in [1, 64 * KIB] {
            test(tls, turn_bytes);
        }
    }
}

/// The first frame of a message that does not end. The time for a message is longer than the time
/// for a frame.
fn first_frame(len: usize) -> Vec<u8> {
    let mut frame = frame(&vec![7; len]);
    frame[0] = 0x02;
    frame
}

/// It is stopped after many of the others, because it sends slowly.
#[test]
fn a105_the_message_that_began_first_arrives_while_half_messages_hold_the_memory() {
    each(|tls, turn_bytes| {
        let limit = 16 * MIB;
        let settings = Settings { max_received: limit, turn_bytes, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        let long = frame(&vec![7; MIB]);
        let honest = server.peer(&long[..64 * KIB], None);
        for _ in 0..64 {
            server.peer(&long[..long.len() - 9], None);
        }
        server.until("the limit", |_, counts| counts.received > limit / 8 * 5);
        server.peers[0].bytes = [REQUEST.as_bytes(), &long].concat();
        server.peers[0].due = Some((server.peers[0].written, Instant::now()));
        server.until_arrived(honest, MIB);
        assert!(server.most <= limit / 10 * 11 + MIB, "{}", server.most);
    });
}

/// The message that began first does not go on, and its peer sends nothing.
#[test]
fn a105_half_messages_do_not_stop_an_upload_though_one_of_them_began_before_it() {
    each(|tls, turn_bytes| {
        let settings = Settings { max_received: 4 * MIB, turn_bytes, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        server.peer(&frame(&[7; 500])[..100], None);
        let (long, half) = (frame(&vec![7; 2 * MIB]), frame(&vec![7; MIB]));
        let honest = server.peer(&long, Some(MIB));
        for _ in 0..24 {
            server.peer(&half[..half.len() - 9], None);
        }
        server.until_arrived(honest, 2 * MIB);
    });
}

/// A long upload is the first of the stopped ones, and goes on as the short one does.
#[test]
fn a105_an_upload_below_the_fair_share_goes_on_while_half_messages_hold_the_memory() {
    each(|tls, turn_bytes| {
        let settings = Settings { max_received: 8 * MIB, turn_bytes, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        let (long, short) = (frame(&vec![7; 2 * MIB]), frame(&vec![7; 128 * KIB]));
        let first = server.peer(&long[..600 * KIB], None);
        let honest = server.peer(&[], None);
        for _ in 0..13 {
            server.peer(&first_frame(330 * KIB), None);
        }
        server.until("half of the limit", |_, counts| counts.received > 4 * MIB);
        for (peer, bytes) in server.peers.iter_mut().zip([&long, &short]) {
            peer.bytes = [REQUEST.as_bytes(), bytes].concat();
            peer.due = Some((peer.written, Instant::now()));
        }
        server.until_arrived(honest, 128 * KIB);
        assert!(server.net.net().counts().received > 4 * MIB);
        assert!(!server.messages.contains(&(first, 2 * MIB)), "{:?}", server.messages);
    });
}

#[test]
fn a105_short_messages_are_echoed_during_a_flood_of_half_messages() {
    each(|tls, turn_bytes| {
        let limit = 256 * KIB;
        let settings = Settings { max_received: limit, turn_bytes, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        let honest = server.peer(&[], None);
        while server.most <= limit {
            server.peer(&first_frame(13 * KIB), None);
        }
        for n in 1..=100 {
            if n % 4 == 0 {
                server.peer(&first_frame(13 * KIB), None);
            }
            server.peers[0].bytes.extend(frame(&[n; 600]));
            server.until("an echo", |server, _| server.peers[0].last.ends_with(&[n; 600]));
        }
        assert!(!server.ended.contains(&honest) && server.most > limit);
    });
}

/// Long messages before have made the reads of most connections as long as they get, and left long
/// buffers to the others.
#[test]
fn a105_reads_that_have_grown_stay_within_the_limit_too() {
    const PEERS: usize = 100;
    const LONG_MESSAGES: usize = 16;
    for tls in [false, true] {
        let limit = 2 * MIB;
        let settings = Settings { max_received: limit, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        for _ in 0..PEERS {
            server.peer(&[], None);
        }
        let whole = frame(&vec![7; 16 * KIB]);
        let grown = PEERS - PEERS / 4;
        for peer in &mut server.peers[..grown] {
            (0..LONG_MESSAGES).for_each(|_| peer.bytes.extend(&whole));
        }
        let messages = grown * LONG_MESSAGES;
        server.until("messages", |server, _| server.messages.len() == messages);
        server.most = 0;
        let long = frame(&vec![7; 70_000]);
        let half = long.len() - 2000;
        server.peers.iter_mut().for_each(|peer| peer.bytes.extend(&long[..half]));
        let mut rounds = 0;
        server.until("the limit, and then nothing more", |_, counts| {
            rounds += usize::from(counts.received > limit / 16 * 11);
            rounds > 100
        });
        // A buffer of io_uring has 17 KiB.
        let read = 17 * KIB + if tls { 32 * KIB } else { 0 };
        let promised = limit / 16 * 11 + 2 * long.len() + PEERS * read;
        assert!(server.most <= promised, "{tls}: {} of {promised}", server.most);
        // All of them arrive in the end, one after the other.
        server.peers.iter_mut().for_each(|peer| peer.bytes.extend(&long[half..]));
        server.until("the rest", |server, _| server.messages.len() == messages + PEERS);
    }
}

/// Alone, a connection is never stopped for longer than it takes to become the first: neither one
/// whose reads have grown, nor one whose message is longer than the limit.
#[test]
fn a105_a_connection_alone_uploads_more_than_the_limit() {
    each(|tls, turn_bytes| {
        let settings = Settings { max_received: 256 * KIB, turn_bytes, ..Settings::default() };
        let mut server = Server::new(settings, Config::default(), tls);
        let upload = [&frame(&[7; 16 * KIB]).repeat(16)[..], &frame(&vec![7; MIB])].concat();
        let honest = server.peer(&upload, None);
        server.until_arrived(honest, MIB);
    });
}
