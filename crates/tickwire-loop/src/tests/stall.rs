//! The loop's thread was late: deadlines have passed, but the bytes have arrived for which the
//! deadlines wait. The loop has to read these bytes first. But a flood must not put off a deadline.
use super::{HELLO, REQUEST, Server};
use crate::{Dial, Settings, inner::Inner};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{CloseCode, Config, Heartbeat};

const TIMEOUT: Duration = Duration::from_secs(60);
const PING: &[u8] = b"\x89\x80\0\0\0\0";
/// The header of a message of 60,000 bytes.
const LONG_HEADER: &[u8] = b"\x82\xfe\xea\x60\0\0\0\0";

/// With this configuration, each deadline passes in a stall of twice `TIMEOUT`.
fn config() -> Config {
    Config {
        data_timeout: Some(TIMEOUT),
        frame_timeout: TIMEOUT,
        close_timeout: TIMEOUT,
        handshake_timeout: TIMEOUT,
        ..Config::default()
    }
}

/// Each turn of this server reads once.
fn server(config: Config) -> Server {
    let limits = Settings { turn_bytes: 1, max_per_address: usize::MAX, ..Settings::default() };
    Server::new(Settings { max_handshakes: usize::MAX, ..limits }, config)
}

impl Server {
    /// Moves the clock, as if no round had run for twice `TIMEOUT`.
    fn stall(&mut self) {
        self.net.inner.clock.epoch -= 2 * TIMEOUT;
    }

    /// The next wait reports nothing, as if other connections had filled its list.
    fn next_wait_reports_nothing(&mut self) {
        self.fault("wait", 0, ErrorKind::Interrupted);
    }

    fn gets_hello_behind_pongs(&mut self, peer: &mut TcpStream) {
        peer.set_nonblocking(true).unwrap();
        let mut read = Vec::new();
        self.until(|server| {
            assert_eq!(server.ends, [""; 0]);
            let _ = peer.read_to_end(&mut read); // ends with `WouldBlock`
            read.ends_with(b"\x82\x05hello")
        });
    }
}

#[test]
fn data_may_lie_behind_more_pings_than_a_turn_delivers() {
    let mut server = server(config());
    let mut peer = server.peer();
    peer.write_all(&PING.repeat(10_000)).unwrap();
    peer.write_all(HELLO).unwrap();
    server.stall();
    server.gets_hello_behind_pongs(&mut peer);
}

#[test]
fn the_rest_of_a_frame_may_be_longer_than_a_turn_reads() {
    let mut server = server(config());
    let mut peer = server.peer();
    peer.write_all(LONG_HEADER).unwrap();
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    peer.write_all(&[b'a'; 60_000]).unwrap();
    server.stall();
    server.reads(&mut peer, 60_004);
}

#[test]
fn bytes_may_have_arrived_that_no_note_has_reported() {
    let heartbeat = Some(Heartbeat::new(TIMEOUT / 4, TIMEOUT / 4));
    for config in [config(), Config { heartbeat, ..Config::default() }] {
        let pings = config.heartbeat.is_some();
        let mut server = server(config);
        let mut peer = server.peer();
        if pings {
            let writes = server.made("write");
            server.until(|server| {
                server.net.inner.clock.epoch -= TIMEOUT / 100;
                server.made("write") > writes
            });
            let mut head = [0; 2];
            peer.read_exact(&mut head).unwrap();
            assert_eq!(head[0], 0x89, "a Ping");
            peer.read_exact(&mut vec![0; head[1].into()]).unwrap();
        }
        peer.write_all(HELLO).unwrap();
        server.stall();
        server.next_wait_reports_nothing();
        server.reads(&mut peer, 7);
    }
}

/// The loop can count the unread bytes of only one of the two peers.
#[test]
fn a_deadline_passes_although_the_unread_bytes_cannot_be_counted() {
    let mut server = server(config());
    let mut uncounted = server.peer();
    let mut counted = server.peer();
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    for peer in [&mut uncounted, &mut counted] {
        peer.write_all(HELLO).unwrap();
    }
    server.stall();
    server.next_wait_reports_nothing();
    server.fault("unread", 0, ErrorKind::OutOfMemory);
    server.until(|server| !server.ends.is_empty());
    assert_eq!(server.ends, ["closed: Some(DataTimeout)"]);
    server.ends.clear();
    let echoed = |peer: &mut TcpStream| {
        peer.set_nonblocking(true).unwrap();
        peer.read(&mut [0; 7]).is_ok_and(|n| n == 7)
    };
    server.until(|_| echoed(&mut counted) || echoed(&mut uncounted));
    assert_eq!(server.net.net().counts().open, 1);
}

/// There are more connections than one wait can report, and more than io_uring has buffers.
#[test]
fn each_of_many_connections_is_read_before_its_deadline_is_checked() {
    let mut server = server(config());
    let mut peers: Vec<_> = (0..1100).map(|_| server.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.write_all(HELLO).unwrap());
    server.stall();
    for peer in &mut peers {
        server.reads(peer, 7);
    }
}

#[test]
fn a_request_may_have_arrived_that_no_note_has_reported() {
    let mut server = server(config());
    let mut peer = TcpStream::connect(server.address).unwrap();
    server.until(|server| server.net.net().counts().accepted_now == 1);
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    peer.write_all(REQUEST).unwrap();
    server.stall();
    server.next_wait_reports_nothing();
    server.reads(&mut peer, 129);
    assert_eq!(server.opened.len(), 1);
}

#[test]
fn a_response_may_have_arrived_that_no_note_has_reported() {
    let mut server = server(config());
    let far = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = format!("ws://{}/", far.local_addr().unwrap());
    let dial = Dial::to(&to).unwrap().config(config());
    server.net.net().dial(dial, ()).unwrap();
    far.set_nonblocking(true).unwrap();
    let mut accepted = None;
    server.until(|_| {
        accepted = far.accept().ok();
        accepted.is_some()
    });
    let (mut peer, _) = accepted.unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut request = Vec::new();
    server.until(|_| {
        let _ = peer.read_to_end(&mut request); // ends with `WouldBlock`
        request.ends_with(b"\r\n\r\n")
    });
    // The response is a refusal, because a refusal needs no `Sec-WebSocket-Accept`.
    peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    server.stall();
    server.next_wait_reports_nothing();
    server.until(|server| !server.ends.is_empty());
    assert!(server.ends[0].contains("404"), "{:?}", server.ends);
}

/// In each round, the peer writes more than one turn reads. The loop's clock moves by a second or
/// two.
fn ends_in_a_flood(server: &mut Server, peer: &mut TcpStream, flood: &[u8]) -> String {
    let mut sent = 0;
    peer.set_nonblocking(true).unwrap();
    server.until(|server| {
        server.net.inner.clock.epoch -= TIMEOUT / 50;
        let n = peer.write(&flood[sent..]).unwrap_or_default(); // 0 if it would block or has ended
        sent = (sent + n) % flood.len();
        let _ = peer.read(&mut [0; 1 << 16]);
        !server.ends.is_empty()
    });
    server.ends.remove(0)
}

#[test]
fn a_flood_of_pings_puts_off_neither_the_deadline_on_data_nor_that_of_closing() {
    let pings = PING.repeat(300);
    let mut server = server(config());
    let mut peer = server.peer();
    assert!(ends_in_a_flood(&mut server, &mut peer, &pings).contains("DataTimeout"));

    let mut peer = server.peer();
    let handle = *server.opened.last().unwrap();
    server.net.net().close(handle, CloseCode::NORMAL);
    assert!(ends_in_a_flood(&mut server, &mut peer, &pings).contains("CloseTimeout"));
}

#[test]
fn a_frame_that_goes_on_too_slowly_does_not_put_off_its_deadline() {
    let mut server = server(Config { max_message: usize::MAX, ..config() });
    let mut peer = server.peer();
    peer.write_all(b"\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0").unwrap(); // 1 TiB
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    // This is half of the lowest rate at which a frame has to arrive.
    assert!(ends_in_a_flood(&mut server, &mut peer, &[0; 10_000]).contains("FrameTimeout"));
}

/// A read ends before an urgent byte, so no `Note` follows for the bytes after it. The server's
/// window has no room for the next urgent byte, so this byte is only announced. From then on,
/// FIONREAD counts the bytes after the first urgent byte.
#[test]
fn urgent_bytes_do_not_put_off_a_deadline() {
    let mut server = server(config());
    let peer = server.peer();
    let handle = server.opened[0];
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    let socket = socket2::SockRef::from(&peer);
    socket.set_send_buffer_size(400_000).unwrap();
    socket.send(PING).unwrap();
    socket.send_out_of_band(b"!").unwrap();
    assert_eq!(socket.send(&PING.repeat(25_000)).unwrap(), 150_000);
    thread::sleep(Duration::from_millis(100)); // the window is full
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    socket.send_out_of_band(b"!").unwrap();
    let Inner { slots, system, .. } = &mut server.net.inner;
    let stream = &slots.get(handle).unwrap().wire.as_ref().unwrap().stream;
    // This waits for unread bytes, but for 2 s at most: io_uring may have read everything.
    (0..200).take_while(|_| system.unread(stream) == 0).for_each(|_| {
        thread::sleep(Duration::from_millis(10));
    });
    server.stall();
    server.until(|server| !server.ends.is_empty());
    assert!(server.ends[0].contains("DataTimeout"), "{:?}", server.ends);
}

/// The loop checks for silence even before `data_timeout` passes. Here this check has to wait for
/// many Pings. Meanwhile the data arrives, before the deadline.
#[test]
fn data_may_arrive_while_an_earlier_deadline_waits_for_other_bytes() {
    let mut server = server(config());
    let mut peer = server.peer();
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    peer.write_all(&PING.repeat(10_000)).unwrap();
    server.net.inner.clock.epoch -= TIMEOUT / 4;
    assert!(server.round().unwrap());
    peer.write_all(&PING.repeat(10_000)).unwrap();
    peer.write_all(HELLO).unwrap();
    server.stall();
    server.gets_hello_behind_pongs(&mut peer);
}
