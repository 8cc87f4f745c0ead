//! The kernel's time of arrival of what a message was read from: over TCP, under TLS, by halves of
//! a split; none over other streams. The server's messages say when they were sent, by the same
//! clock.
use crate::support::placed::placed;
use crate::support::{
    blocking::*,
    wire::{TEXT, unmasked},
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, IoSliceMut, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tickwire::{
    Config, Dial, Info, Step, Timestamped,
    blocking::{self, Spin, Stream},
    handshake::client::Request,
    url::Target,
};

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn config() -> Config {
    Config { stamp_reads: true, ..Config::default() }
}

/// Serves one connection: each message it receives asks for so many, which leave in one write, each
/// with the time before that.
fn serve_over<S: Stream>(stream: S) {
    let mut ws = blocking::accept(stream, &Config::default()).unwrap();
    while let Some(received) = ws.recv_to_reply().unwrap() {
        let count: u32 = received.message.as_text().unwrap().parse().unwrap();
        for _ in 0..count {
            let _ = received.sender.feed(now().as_nanos().to_string().as_str()).unwrap();
        }
    }
}

fn serve() -> (std::net::SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve_over(listener.accept().unwrap().0)))
}

fn request() -> Request {
    Request::new("ws://localhost/").unwrap()
}

/// A connector.
fn stamped(to: &Target) -> io::Result<Timestamped<TcpStream>> {
    Timestamped::new(TcpStream::connect((to.host(), to.port()))?)
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    stamped: u32,
    last: Duration,
}

impl Seen {
    /// Each stamp lies between the times that the sender and the receiver read, and none before the
    /// last one. Messages of one read have one.
    fn check(&mut self, message: &str, info: Info) {
        let Some(arrived) = info.arrived else {
            // The kernel may not have begun.
            assert_eq!(self.stamped, 0, "a read without a stamp");
            return;
        };
        let sent = Duration::from_nanos(message.parse().unwrap());
        assert!(
            arrived.software >= sent,
            "arrived {:?} before it was sent",
            sent - arrived.software
        );
        assert!(arrived.software <= now());
        assert_eq!(arrived.hardware, None, "of the loopback");
        match info.ahead {
            0 => assert!(arrived.software > self.last),
            _ => assert_eq!(arrived.software, self.last),
        }
        self.last = arrived.software;
        self.stamped += 1;
    }

    /// Two messages are asked for at a time.
    fn enough(&self) -> bool {
        self.stamped >= 20
    }
}

/// The kernel begins to stamp a while after the first socket of the machine has asked.
fn wait_on(began: Instant) {
    assert!(began.elapsed() < PATIENCE, "nothing is stamped");
    thread::sleep(ms(10));
}

/// Asks and receives until it has seen enough.
macro_rules! converse {
    ($ws:expr) => {
        converse!($ws.send("2").unwrap(), {
            let received = $ws.recv_to_reply().unwrap().unwrap();
            (received.message, received.info())
        })
    };
    ($ask:expr, $next:expr) => {{
        let (mut seen, began) = (Seen::default(), Instant::now());
        while !seen.enough() {
            $ask;
            for ahead in 0..2 {
                let (message, info) = $next;
                assert_eq!(info.ahead, ahead);
                seen.check(message.as_text().unwrap(), info);
            }
            if seen.stamped == 0 {
                wait_on(began);
            }
        }
    }};
}

/// The same, where nothing is to be stamped.
macro_rules! unstamped {
    ($ws:expr) => {{
        for _ in 0..3 {
            $ws.send("1").unwrap();
            let received = $ws.recv_to_reply().unwrap().unwrap();
            assert_eq!(received.info().arrived, None);
        }
    }};
}

#[test]
fn each_message_has_the_time_at_which_its_read_arrived() {
    bounded(|| {
        let (address, serving) = serve();
        let tcp = Timestamped::new(TcpStream::connect(address).unwrap()).unwrap();
        let mut ws = blocking::client(tcp, &request(), &config()).unwrap();
        converse!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn who_spins_has_it_too_inside_and_outside() {
    bounded(|| {
        let (address, serving) = serve();
        let tcp =
            Spin::new(Timestamped::new(TcpStream::connect(address).unwrap()).unwrap()).unwrap();
        let mut ws = blocking::client(tcp, &request(), &config()).unwrap();
        converse!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
        let (address, serving) = serve();
        let tcp = Timestamped::new(TcpStream::connect(address).unwrap()).unwrap();
        let mut ws = blocking::client(tcp, &request(), &config()).unwrap().into_spin().unwrap();
        converse!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn halves_in_two_threads_have_it() {
    bounded(|| {
        let (address, serving) = serve();
        let tcp = Timestamped::new(TcpStream::connect(address).unwrap()).unwrap();
        let ws = blocking::client(tcp, &request(), &config()).unwrap();
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let (ask, asked) = std::sync::mpsc::channel();
        let writing = thread::spawn(move || {
            for () in asked {
                writer.send("2").unwrap();
            }
            writer.close(None).unwrap();
        });
        converse!(ask.send(()).unwrap(), reader.recv_with_info().unwrap().unwrap());
        drop(ask);
        while reader.recv().unwrap().is_some() {}
        writing.join().unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn a_dialed_stream_has_it_if_the_connector_asks_for_it() {
    bounded(|| {
        let (address, serving) = serve();
        let request = Request::new(&format!("ws://{address}")).unwrap();
        let dial = Dial::new(&request);
        let mut ws = dial.blocking_connect_with(&config(), stamped).unwrap();
        converse!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
        let (address, serving) = serve();
        let request = Request::new(&format!("ws://{address}")).unwrap();
        let mut ws = Dial::new(&request).blocking_connect(&config()).unwrap();
        unstamped!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn a_stamped_stream_is_set_as_the_one_in_it() {
    bounded(|| {
        let (near, _far) = tcp_pair();
        let mut stamped = Timestamped::new(near).unwrap();
        for nodelay in [true, false] {
            stamped.set_nodelay(nodelay).unwrap();
            assert_eq!(stamped.get_ref().nodelay().unwrap(), nodelay);
        }
        let second = Some(Duration::from_secs(1));
        stamped.set_read_timeout(second).unwrap();
        assert_eq!(stamped.get_ref().read_timeout().unwrap(), second);
        assert!(stamped.writes_vectored());
        stamped.set_read_timeout(None).unwrap();
        assert_eq!(stamped.try_read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    });
}

/// Not even where another connection of the thread has just been stamped.
#[test]
fn there_is_none_over_other_streams_or_where_nobody_asked() {
    bounded(|| {
        let (near, mut far) = tcp_pair();
        let mut stamped = Timestamped::new(near).unwrap();
        while stamped.arrived().is_none() {
            far.write_all(b"read by hand, so that nobody takes the stamp").unwrap();
            assert_ne!(stamped.read(&mut [0; 64]).unwrap(), 0);
        }
        let (near, far) = UnixStream::pair().unwrap();
        let serving = thread::spawn(move || serve_over(far));
        let mut ws = blocking::client(near, &request(), &config()).unwrap();
        unstamped!(ws);
        ws.close(None).unwrap();
        serving.join().unwrap();
        for (stamped, config) in [(true, Config::default()), (false, config())] {
            let (address, serving) = serve();
            let tcp = TcpStream::connect(address).unwrap();
            if stamped {
                let mut ws =
                    blocking::client(Timestamped::new(tcp).unwrap(), &request(), &config).unwrap();
                unstamped!(ws);
                ws.close(None).unwrap();
            } else {
                let mut ws = blocking::client(tcp, &request(), &config).unwrap();
                unstamped!(ws);
                ws.close(None).unwrap();
            }
            serving.join().unwrap();
        }
    });
}

/// Of a read that takes bytes of two segments, the time is that of the second; and as an event loop
/// has it.
#[test]
fn the_time_is_that_of_the_last_segment_of_a_read() {
    bounded(|| {
        let (near, mut far) = tcp_pair();
        let mut near = Timestamped::new(near).unwrap();
        let mut buf = [0; 64];
        let began = Instant::now();
        loop {
            far.write_all(b"warm").unwrap();
            assert_ne!(near.read(&mut buf).unwrap(), 0);
            if near.arrived().is_some() {
                break;
            }
            wait_on(began);
        }
        let come = |near: &Timestamped<TcpStream>, n| {
            while near.get_ref().peek(&mut [0; 64]).unwrap() < n {}
            now()
        };
        let first = now();
        far.write_all(b"first").unwrap();
        come(&near, 5);
        let second = now();
        far.write_all(b"second").unwrap();
        let both = come(&near, 11);
        thread::sleep(ms(30));
        assert_eq!(near.read(&mut buf[..3]).unwrap(), 3);
        let part = near.arrived().unwrap().software;
        assert!(first <= part, "{first:?} {part:?}");
        assert_eq!(near.read(&mut buf).unwrap(), 8);
        let rest = near.arrived().unwrap().software;
        assert!(second <= rest && rest <= both, "{second:?} {rest:?} {both:?}");
        drop(far);
        assert_eq!(near.read(&mut buf).unwrap(), 0);
        assert_eq!(near.arrived(), None);
    });
}

#[test]
fn an_event_loop_of_ones_own_hands_it_on() {
    bounded(|| {
        let (near, mut far) = tcp_pair();
        near.set_nonblocking(true).unwrap();
        let (mut near, mut conn) =
            (Timestamped::new(near).unwrap(), conn(false, &Config::default()));
        let (mut seen, began) = (Seen::default(), Instant::now());
        while !seen.enough() {
            let sent = now().as_nanos().to_string();
            far.write_all(&unmasked(TEXT, &sent)).unwrap();
            while conn.step().unwrap() != Step::Message {
                match near.read(conn.receiver_mut().spare_mut()) {
                    Ok(n) => {
                        conn.receiver_mut().set_read(None, near.arrived());
                        conn.receiver_mut().commit(n);
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            seen.check(&sent, conn.receiver().info());
            if seen.stamped == 0 {
                wait_on(began);
            }
        }
    });
}

/// Every segment that the loopback delivered with these bytes in it: when, by the kernel.
fn captured(socket: &Socket, bytes: &[u8]) -> Vec<Duration> {
    let mut found = Vec::new();
    #[repr(align(16))]
    struct Control([u8; 128]);
    let (mut buf, mut control) = ([0; 2048], Control([0; 128]));
    loop {
        let slices = &mut [IoSliceMut::new(&mut buf)];
        let control = Some(&mut control.0[..]);
        let Ok(read) = recvmsg::<()>(socket.as_raw_fd(), slices, control, MsgFlags::MSG_DONTWAIT)
        else {
            return found;
        };
        let stamp = read.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        let n = read.bytes;
        if buf[..n].windows(bytes.len()).any(|window| window == bytes) {
            found.extend(stamp);
        }
    }
}

/// A packet socket on the loopback has each segment twice, sent and received, with the time at
/// which the kernel handed it over.
#[test]
fn the_time_is_that_of_a_packet_capture() {
    const ALL: i32 = 0x0003_u16.to_be() as i32; // ETH_P_ALL
    let capture = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL)));
    let capture = match capture {
        Ok(capture) => capture,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Not `println`: libtest hides what a test that passes prints.
            let _ = writeln!(io::stderr(), "NOT RUN: a packet capture needs CAP_NET_RAW: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    setsockopt(&capture, sockopt::ReceiveTimestampns, &true).unwrap();
    capture.set_recv_buffer_size(4 << 20).unwrap();
    bounded(move || {
        let (near, mut far) = tcp_pair();
        let mut near = Timestamped::new(near).unwrap();
        let (mut offs, began) = (Vec::new(), Instant::now());
        for round in 0.. {
            if offs.len() == 100 {
                break;
            }
            let bytes = format!("{round} of {:?}, by {}", now(), std::process::id());
            far.write_all(bytes.as_bytes()).unwrap();
            let n = near.read(&mut [0; 256]).unwrap();
            assert_eq!(n, bytes.len());
            let Some(arrived) = near.arrived() else {
                assert!(offs.is_empty(), "a read without a stamp");
                wait_on(began);
                continue;
            };
            let captured = captured(&capture, bytes.as_bytes());
            let Some(&first) = captured.iter().min().filter(|_| captured.len() >= 2) else {
                wait_on(began); // what others send has filled the capture's buffer
                continue;
            };
            assert!(first <= arrived.software, "{arrived:?}, captured {captured:?}");
            let off = captured.iter().map(|at| at.abs_diff(arrived.software)).min();
            offs.extend(off);
        }
        offs.sort();
        let (median, most) = (offs[offs.len() / 2], offs[offs.len() - 1]);
        println!("{} stamps are off the capture's by {median:?}, {most:?} at most", offs.len());
        assert!(median < Duration::from_micros(20) && most < ms(100));
    });
}

#[cfg(feature = "in-place")]
mod under_tls {
    use super::*;
    use crate::support::tls::Authority;
    use tickwire::tls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

    fn serve(authority: &Authority) -> (std::net::SocketAddr, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, tls) = (listener.local_addr().unwrap(), authority.server());
        let serving = thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            serve_over(blocking::TlsStream::server(tcp, placed(tls)).unwrap());
        });
        (address, serving)
    }

    /// By this crate's streams, and by another's.
    #[test]
    fn over_tls_it_is_the_time_of_the_read_that_completed_the_record() {
        bounded(|| {
            let authority = Authority::new();
            let (address, serving) = serve(&authority);
            let url = format!("wss://localhost:{}", address.port());
            let request = Request::new(&url).unwrap();
            let dial = Dial::new(&request).tls(placed(authority.client()));
            let mut ws = dial.blocking_connect_with(&config(), stamped).unwrap();
            converse!(ws);
            ws.close(None).unwrap();
            serving.join().unwrap();
            let (address, serving) = serve(&authority);
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(authority.client(), name).unwrap();
            let tcp = Timestamped::new(TcpStream::connect(address).unwrap()).unwrap();
            let stream = blocking::WithoutTimeouts(StreamOwned::new(session, tcp));
            let mut ws = blocking::client(stream, &request, &config()).unwrap();
            converse!(ws);
            ws.close(None).unwrap();
            serving.join().unwrap();
        });
    }
}
