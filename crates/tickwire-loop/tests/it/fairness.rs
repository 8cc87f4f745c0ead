//! No connection keeps the others waiting.
use crate::common::{REQUEST, chosen, echo, frame, listening, read_head};
use rustix::io::ioctl_fionread;
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    mem,
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Loop, Net, Settings};

/// An honest peer is served within this number of rounds after its bytes have arrived, whatever the
/// others do. Over io_uring, a round may have no buffer left for them.
const ROUNDS: usize = 20;
/// The system's, at each end of a connection, for what goes to the peer. Linux doubles it.
const BUFFER: usize = 64 << 10;
const MS: Duration = Duration::from_millis(1);

/// An echo server that the test turns by hand, so that it counts the rounds.
pub(crate) struct ByHand {
    net: Loop<usize>,
    listener: TcpListener,
    door: Door,
    honest: Vec<Ends>,
    rounds: usize,
    /// Of each connection, in the order of opening: the delivered messages, and their bytes.
    delivered: Vec<(usize, usize)>,
}

/// Both ends of a connection. The loop has the far one, too.
struct Ends {
    near: TcpStream,
    far: TcpStream,
}

impl Ends {
    /// Writes, and waits until it has arrived. A busy system may take long for that.
    fn write(&mut self, bytes: &[u8]) {
        self.near.write_all(bytes).unwrap();
        let began = Instant::now();
        while ioctl_fionread(&self.far).unwrap() < bytes.len() as u64 {
            assert!(began.elapsed() < PATIENCE, "it does not arrive");
            thread::yield_now();
        }
    }
}

impl ByHand {
    /// The first connection is that of an honest peer.
    pub(crate) fn new(config: Config) -> Self {
        let net = Loop::new(chosen(Settings::default())).unwrap();
        let (listener, door) = (TcpListener::bind("127.0.0.1:0").unwrap(), Door::new(config));
        let (rounds, delivered) = (0, vec![]);
        let mut server = Self { net, listener, door, honest: vec![], rounds, delivered };
        let honest = server.open_ends();
        server.honest.push(honest);
        server
    }

    pub(crate) fn net(&mut self) -> Net<'_, usize> {
        self.net.net()
    }

    /// Returns how many bytes wait in the connections to be written.
    fn unwritten(&mut self) -> usize {
        let mut net = self.net.net();
        let all: Vec<_> = net.handles().collect();
        let amount = |handle| Some(net.connection(handle)?.sender().buffered_amount());
        all.into_iter().filter_map(amount).sum()
    }

    /// Makes one round, in which no connection gets more than its share.
    pub(crate) fn round(&mut self) {
        let delivered = &mut self.delivered;
        let handle = |net: &mut Net<'_, usize>, event: Event<'_, usize>| {
            let (from, len) = match event {
                Event::Request { answer, .. } => {
                    answer.accept(Accept::default(), delivered.len());
                    return delivered.push((0, 0));
                }
                Event::Message { from, message, .. } => {
                    let _ = net.send(from, message);
                    (from, message.as_bytes().len())
                }
                Event::Control { from, .. } => (from, 0),
                _ => return,
            };
            let (messages, bytes) = &mut delivered[*net.value(from).unwrap()];
            (*messages, *bytes) = (*messages + 1, *bytes + len);
        };
        self.net.turn(MS, handle).unwrap();
        self.rounds += 1;
        let Settings { turn_messages, turn_bytes, .. } = Settings::default();
        for &(messages, bytes) in &self.delivered {
            assert!(messages <= self.rounds * turn_messages as usize, "{messages}");
            assert!(bytes <= self.rounds * 2 * turn_bytes, "{bytes} in {}", self.rounds);
        }
    }

    fn connect(&mut self) -> Ends {
        // Buffers that grow by themselves could take all Pongs for a peer that reads nothing.
        let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        near.set_recv_buffer_size(BUFFER).unwrap();
        near.connect(&self.listener.local_addr().unwrap().into()).unwrap();
        let near = TcpStream::from(near);
        let far = self.listener.accept().unwrap().0;
        SockRef::from(&far).set_send_buffer_size(BUFFER).unwrap();
        self.net.net().adopt(far.try_clone().unwrap(), &self.door).unwrap();
        Ends { near, far }
    }

    fn open(&mut self) -> TcpStream {
        self.open_ends().near
    }

    /// Opens a connection, within the rounds that it may take.
    fn open_ends(&mut self) -> Ends {
        let mut ends = self.connect();
        ends.write(REQUEST.as_bytes());
        let before = self.delivered.len();
        (0..ROUNDS).for_each(|_| {
            if self.delivered.len() == before {
                self.round()
            }
        });
        assert_eq!(self.delivered.len(), before + 1);
        ends.near.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(read_head(&mut ends.near).starts_with("HTTP/1.1 101 "));
        ends.near.set_nonblocking(true).unwrap();
        ends
    }

    /// The honest peer has an echo, while before each round `others` do what they do.
    pub(crate) fn echo(&mut self, mut others: impl FnMut()) {
        others();
        let payload = self.rounds.to_be_bytes();
        self.honest[0].write(&frame(&payload));
        let (before, began) = (self.delivered[0].0, self.rounds);
        while self.delivered[0].0 == before {
            assert!(self.rounds < began + ROUNDS, "it is not delivered within {ROUNDS} rounds");
            others();
            self.round();
        }
        let (mut back, began) = ([0; 10], Instant::now());
        let n = loop {
            match self.honest[0].near.read(&mut back) {
                Ok(n) => break n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(began.elapsed() < PATIENCE, "the echo was not written in the same round");
            thread::yield_now();
        };
        assert_eq!(back[2..n], payload);
    }

    /// The honest peer has its echoes, and each flood goes on all the time.
    fn echoes(&mut self, floods: &mut [Flood]) {
        let before = self.delivered.clone();
        for _ in 0..50 {
            self.echo(|| floods.iter_mut().for_each(Flood::press));
        }
        // The system may take a while to let a peer write again whose bytes were read.
        let began = Instant::now();
        while floods.iter().any(|flood| self.delivered[flood.at].0 <= before[flood.at].0) {
            assert!(began.elapsed() < PATIENCE, "no flood");
            self.echo(|| floods.iter_mut().for_each(Flood::press));
        }
    }
}

/// A peer that writes as much as the system takes.
struct Flood {
    stream: TcpStream,
    /// Its place in `delivered`.
    at: usize,
    what: Vec<u8>,
    /// How much of `what` is written. At its end it begins again, if it `repeats`.
    written: usize,
    repeats: bool,
    /// What it has read, unless it `reads` nothing.
    read: Vec<u8>,
    reads: bool,
}

impl Flood {
    fn new(server: &mut ByHand, what: Vec<u8>) -> Self {
        let (stream, at) = (server.open(), server.delivered.len() - 1);
        Self { stream, at, what, written: 0, repeats: true, read: vec![], reads: true }
    }

    fn press(&mut self) {
        while let Some(rest @ [_, ..]) = self.what.get(self.written..)
            && let Ok(n) = self.stream.write(rest)
        {
            self.written += n;
            if self.repeats {
                self.written %= self.what.len();
            }
        }
        if self.reads {
            let _ = self.stream.read_to_end(&mut self.read); // until it would block
        }
    }
}

#[test]
fn a_flood_of_small_messages_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let flood = Flood::new(&mut server, frame(b"!").repeat(10_000));
    server.echoes(&mut [flood]);
}

#[test]
fn a_flood_of_large_messages_or_of_pings_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let large = Flood::new(&mut server, frame(&vec![1; 1 << 20]));
    let pings = Flood::new(&mut server, b"\x89\x80\0\0\0\0".repeat(10_000));
    server.echoes(&mut [large, pings]);
}

/// A21: nothing is kept of a Pong, and nothing answers it.
#[test]
fn a_flood_of_pongs_gets_no_reply_and_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let mut pongs = [Flood::new(&mut server, b"\x8a\x82\0\0\0\0no".repeat(10_000))];
    server.echoes(&mut pongs);
    assert_eq!(pongs[0].read, b"");
    (0..ROUNDS).for_each(|_| server.round()); // the honest peer's last echo is written
    assert_eq!(server.unwritten(), 0);
}

/// A22: a million Pings between two fragments.
#[test]
fn control_frames_between_two_fragments_keep_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let pings = b"\x89\x80\0\0\0\0".repeat(1_000_000);
    let what = [b"\x02\x81\0\0\0\0a", &*pings, b"\x80\x81\0\0\0\0b"].concat();
    let mut flood = Flood { repeats: false, ..Flood::new(&mut server, what) };
    while !flood.read.ends_with(b"\x82\x02ab") {
        server.echo(|| flood.press());
    }
    assert_eq!(server.delivered[flood.at], (1_000_001, 2));
}

/// Many Pings, each as long as it may be.
pub(crate) fn long_pings() -> Vec<u8> {
    [&b"\x89\xfd\0\0\0\0"[..], &[7; 125]].concat().repeat(1000)
}

/// A20: the Pongs for a peer that reads nothing do not fill the memory, however many it asks for.
#[test]
fn pings_of_a_peer_that_reads_nothing_queue_few_pongs() {
    let mut server = ByHand::new(Config { write_timeout: PATIENCE, ..Config::default() });
    let flood = Flood::new(&mut server, long_pings());
    let mut flood = Flood { reads: false, ..flood };
    let mut pings = 0;
    let mut grew = Instant::now();
    // The Pongs fill the system's buffers many times over. Over io_uring some are always on their
    // way to them.
    let enough = 100 * BUFFER / 127;
    while pings < enough || server.unwritten() == 0 {
        (0..10).for_each(|_| server.echo(|| flood.press()));
        // 16 and the newest are being written, and as many wait.
        assert!(server.unwritten() <= 2 * 17 * 127, "{}", server.unwritten());
        let before = mem::replace(&mut pings, server.delivered[flood.at].0);
        assert!(pings < 10 * enough, "the system takes all of them");
        // Linux may drop all that comes for a full buffer, acknowledgements too: then no Ping
        // leaves any more.
        if pings > before {
            grew = Instant::now();
        } else if grew.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    assert!(pings > 0, "no flood");
}

/// A23: the echoes of empty messages wait for a peer that reads nothing, and then its messages do.
#[test]
fn empty_messages_of_a_peer_that_reads_nothing_are_not_read_without_bound() {
    let config = Config { high_water: 4 << 10, write_timeout: PATIENCE, ..Config::default() };
    let mut server = ByHand::new(config);
    let flood = Flood::new(&mut server, b"\x82\x80\0\0\0\0".repeat(10_000));
    let mut flood = Flood { reads: false, ..flood };
    let mut read = (0, 0);
    loop {
        (0..50).for_each(|_| server.echo(|| flood.press()));
        assert!(server.unwritten() < 8 << 10, "{}", server.unwritten());
        assert!(read.0 < 10_000_000, "it is read without bound");
        if mem::replace(&mut read, server.delivered[flood.at]) == server.delivered[flood.at] {
            break;
        }
    }
    assert!(read.0 > 0, "no flood");
}

/// A loop that the test turns by hand, and a peer of it.
fn loop_and_peer(settings: Settings) -> (Loop<()>, TcpStream) {
    let (net, address) = listening(settings, Door::new(Config::default()));
    (net, TcpStream::connect(address).unwrap())
}

/// Makes one turn. Accepts requests, and returns the number of messages delivered, each of which
/// takes this time.
fn turn(net: &mut Loop<()>, time: Duration) -> u32 {
    let mut delivered = 0;
    net.turn(MS, |_, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { .. } => {
            thread::sleep(time);
            delivered += 1;
        }
        _ => {}
    })
    .unwrap();
    delivered
}

/// Makes turns until `rest` messages are delivered, of which no turn may deliver more than `most`.
/// Returns the number of turns that delivered any.
fn each_turn_delivers(most: u32, mut rest: u32, net: &mut Loop<()>, time: Duration) -> u32 {
    let mut turns = 0;
    while rest > 0 {
        let delivered = turn(net, time);
        assert!(delivered <= most, "{delivered}");
        rest -= delivered;
        turns += u32::from(delivered > 0);
    }
    turns
}

/// One turn delivers no more than its share, though more was read with it.
#[test]
fn a_turn_delivers_its_share_of_messages() {
    let settings = Settings { turn_messages: 10, ..Settings::default() };
    let (mut net, mut one) = loop_and_peer(settings);
    one.write_all(&[REQUEST.as_bytes(), &frame(b"a").repeat(1000)].concat()).unwrap();
    let turns = each_turn_delivers(10, 1000, &mut net, Duration::ZERO);
    assert!(turns >= 100, "{turns}");
}

/// The removed connection was due to have a turn, and this turn goes to the next connection in its
/// slot. If that connection got a turn of its own, too, it would have two shares in each round.
#[test]
fn a_connection_in_the_slot_of_a_removed_one_gets_one_share_of_messages_in_a_round() {
    let settings = Settings { turn_messages: 10, ..Settings::default() };
    let mut net = Loop::new(chosen(settings)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    one.write_all(&[REQUEST.as_bytes(), &frame(b"a").repeat(100)].concat()).unwrap();
    let dialed = net.net().dial(Dial::to("ws://127.0.0.1:1/").unwrap(), ()).unwrap();
    assert_eq!(net.net().remove(dialed), Some(()));
    net.net().adopt(listener.accept().unwrap().0, &Door::new(Config::default())).unwrap();
    each_turn_delivers(10, 100, &mut net, Duration::ZERO);
}

/// One turn reads no more than its share, though more is there. Its last read may exceed it.
#[test]
fn a_turn_reads_its_share_of_bytes() {
    let settings = Settings { turn_messages: u32::MAX, turn_bytes: 1, ..Settings::default() };
    let (mut net, mut one) = loop_and_peer(settings);
    // The system holds all of it.
    one.write_all(&[REQUEST.as_bytes(), &frame(&[7; 1000]).repeat(100)].concat()).unwrap();
    each_turn_delivers(40, 100, &mut net, Duration::ZERO);
}

/// Long messages make reads grow, but not the share of a turn: 64 KiB, a read of 16 KiB that may
/// exceed it, and the part of a message that was there before.
#[test]
fn a_turn_reads_its_share_however_long_reads_have_grown() {
    const MESSAGES: u32 = 1000;
    let (mut net, mut one) = loop_and_peer(Settings::default());
    let flood = thread::spawn(move || {
        one.write_all(REQUEST.as_bytes()).unwrap();
        one.write_all(&frame(&[7; 4 << 10]).repeat(MESSAGES as usize)).unwrap();
        one
    });
    let turns = each_turn_delivers(20, MESSAGES, &mut net, Duration::ZERO);
    assert!(turns >= MESSAGES / 20, "{turns}");
    drop(flood.join().unwrap());
}

/// Each counts as 5 messages: it may be short as it was sent, and long once it is inflated.
#[test]
fn long_messages_use_up_the_share_of_a_turn() {
    let settings = Settings { turn_messages: 10, turn_bytes: usize::MAX, ..Settings::default() };
    let (mut net, mut one) = loop_and_peer(settings);
    one.write_all(&[REQUEST.as_bytes(), &frame(&[7; 20_000]).repeat(10)].concat()).unwrap();
    each_turn_delivers(2, 10, &mut net, Duration::ZERO);
}

/// The time counts from the first read on, so the turn may read twice.
#[test]
fn a_turn_that_takes_long_reads_no_more() {
    let (mut net, mut one) = loop_and_peer(Settings::default());
    one.write_all(&[REQUEST.as_bytes(), &frame(&[7; 1000]).repeat(60)].concat()).unwrap();
    each_turn_delivers(40, 60, &mut net, MS);
}

/// A turn takes 1 ms here, so one of them is enough. Then the loop looks at those that are ready.
#[test]
fn a_round_gives_few_turns_to_those_that_used_up_their_share() {
    const PEERS: usize = 20;
    let (mut net, one) = loop_and_peer(Settings { turn_messages: 1, ..Settings::default() });
    let address = one.peer_addr().unwrap();
    let bytes = [REQUEST.as_bytes(), &frame(b"a").repeat(10)].concat();
    let _peers = [(); PEERS].map(|()| {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(&bytes).unwrap();
        peer
    });
    let mut all = 0;
    while net.net().counts().open < PEERS {
        all += turn(&mut net, Duration::ZERO);
    }
    each_turn_delivers(2, 10 * PEERS as u32 - all, &mut net, MS);
}

#[test]
fn a_connection_that_is_ready_only_now_comes_before_one_that_used_up_its_share() {
    let (mut net, mut one) = loop_and_peer(Settings { turn_messages: 1, ..Settings::default() });
    let address = one.peer_addr().unwrap();
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(REQUEST.as_bytes()).unwrap();
    while net.net().counts().open < 1 {
        turn(&mut net, Duration::ZERO);
    }
    one.write_all(&[REQUEST.as_bytes(), &frame(b"flood").repeat(5)].concat()).unwrap();
    while turn(&mut net, Duration::ZERO) == 0 {}
    other.write_all(&frame(b"a")).unwrap();
    let mut delivered = Vec::new();
    while !delivered.contains(&1) {
        let each = net.turn(MS, |_, event| {
            if let Event::Message { message, .. } = event {
                delivered.push(message.as_bytes().len());
            }
        });
        each.unwrap();
    }
    assert_eq!(delivered[0], 1);
}

#[test]
fn a_peer_that_does_not_read_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config { write_timeout: PATIENCE, ..Config::default() });
    let flood = Flood::new(&mut server, frame(&vec![1; 60_000]));
    let mut stalled = Flood { reads: false, ..flood };
    // Until the echo, which is not read, stops the server from reading.
    while server.net().counts().queued < 1 << 20 {
        server.echo(|| stalled.press());
    }
    for _ in 0..50 {
        server.echo(|| stalled.press());
    }
    assert!(stalled.stream.read(&mut [0; 1000]).is_ok_and(|n| n > 0)); // it is not gone
}

#[test]
fn a_slow_handshake_keeps_nobody_waiting() {
    let mut server = ByHand::new(Config::default());
    let mut slow = server.connect();
    for byte in &REQUEST.as_bytes()[..30] {
        slow.near.write_all(&[*byte]).unwrap();
        server.echo(|| {});
        server.open();
    }
    assert_eq!(server.net().counts().handshakes_now, 1);
}

/// A thread that writes without end, and one that reads the replies.
fn flood(stream: TcpStream, what: Vec<u8>) -> TcpStream {
    let (mut write, mut read) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    thread::spawn(move || while write.write_all(&what).is_ok() {});
    thread::spawn(move || while read.read(&mut [0; 1 << 16]).is_ok_and(|n| n > 0) {});
    stream
}

/// A deadline comes though input never pauses.
#[test]
fn a_flood_of_pings_does_not_put_off_the_deadline_on_data() {
    let data_timeout = Some(Duration::from_millis(50));
    let close_timeout = Duration::from_millis(50);
    let door = Door::new(Config { data_timeout, close_timeout, ..Config::default() });
    let server = echo(Settings::default(), Config::default()).narrow(door);
    // Short ones: the loop must be slower than its peer.
    let flooding = flood(server.raw_open(), b"\x89\x80\0\0\0\0".repeat(10_000));
    server.wait_for(|counts| counts.accepted == 1 && counts.open == 0);
    drop(flooding);
}
