//! Waiting by asking again and again: nothing is lost by it, and every deadline still holds.
use crate::support::blocking::*;
use crate::support::placed::placed;
use std::{
    cell::RefCell,
    io::{self, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Error, Event, Heartbeat, RecvError, Role,
    blocking::{self, Interest, Spin, Stream, WebSocket, WithoutTimeouts},
    handshake::{HandshakeError, client::Request},
};

/// A server that spins, and its peer.
fn spun(config: &Config) -> (WebSocket<Spin<TcpStream>>, Peer) {
    let (ws, peer) = served(config);
    (ws.into_spin().unwrap(), peer)
}

#[test]
fn an_echo_from_the_handshake_to_the_close() {
    bounded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut ws = blocking::accept(Spin::new(stream).unwrap(), &patient()).unwrap();
            while let Some(received) = ws.recv_to_reply().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
            assert!(ws.closed().unwrap().clean);
        });
        let mut ws = blocking::connect(&url, &patient()).unwrap().into_spin().unwrap();
        for len in [0, 1, 125, 126, 70_000, 3_000_000] {
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            // The large one fills both sockets, so that writes spin too; the server reads on.
            let _ = ws.feed(&message).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), message);
        }
        ws.close(CloseCode::NORMAL).unwrap();
        assert!(ws.closed().unwrap().clean);
        serving.join().unwrap();
    });
}

#[test]
fn a_client_over_a_stream_of_the_callers_spins_from_the_start() {
    bounded(|| {
        let (near, far) = tcp_pair();
        let serving = thread::spawn(move || {
            let mut ws = blocking::accept(far, &patient()).unwrap();
            ws.send("first").unwrap();
            assert!(ws.recv().unwrap().is_none());
        });
        let request = Request::new("ws://localhost/").unwrap();
        let mut ws = blocking::client(Spin::new(near).unwrap(), &request, &patient()).unwrap();
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("first"));
        ws.close(None).unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn both_halves_spin() {
    bounded(|| {
        let (ws, mut peer) = spun(&patient());
        let (mut reader, mut writer) = ws.into_split().unwrap();
        let reading = thread::spawn(move || {
            let mut seen = 0;
            while let Some(message) = reader.recv().unwrap() {
                seen += message.as_bytes().len();
            }
            seen
        });
        for round in 0..100 {
            peer.say(TEXT, b"in");
            writer.send("out").unwrap();
            assert_eq!(peer.next(), (TEXT, b"out".to_vec()), "{round}");
        }
        peer.say(CLOSE, b"");
        assert_eq!(peer.next(), (CLOSE, vec![]));
        peer.end();
        assert_eq!(reading.join().unwrap(), 200);
    });
}

#[test]
fn every_deadline_holds() {
    bounded(|| {
        let beat = Config { heartbeat: Some(Heartbeat::new(ms(20), ms(50))), ..patient() };
        let began = Instant::now();
        let (mut ws, mut peer) = spun(&beat);
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::PongTimeout))));
        took(began, ms(65));
        assert_eq!(peer.next().0, PING);

        let (mut ws, mut peer) = spun(&Config { frame_timeout: ms(50), ..patient() });
        peer.wire(&masked(TEXT, b"never whole")[..9]);
        let began = Instant::now();
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::FrameTimeout))));
        took(began, ms(50));

        with_time_enough(|timeout| {
            let began = Instant::now();
            let (mut ws, mut peer) = spun(&Config {
                data_timeout: Some(timeout),
                idle_message: Some((timeout / 2, "ping".into())),
                ..patient()
            });
            // It ends at our Close: we would wait for that, and spin, a second more.
            let reading = thread::spawn(move || {
                let first = peer.next();
                let mut last = first.clone();
                while last.0 != CLOSE {
                    last = peer.next();
                }
                peer.end();
                first
            });
            assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::DataTimeout))));
            took(began, timeout);
            // None is due any more where both times have passed at once.
            reading.join().unwrap() == (TEXT, b"ping".to_vec())
        });

        let (mut ws, _peer) = spun(&Config { close_timeout: ms(50), ..patient() });
        let began = Instant::now();
        assert!(matches!(ws.close(None), Err(Error::Recv(RecvError::CloseTimeout))));
        took(began, ms(50));

        let (mut ws, _peer) = spun(&Config { write_timeout: ms(50), ..patient() });
        let began = Instant::now();
        let flooded = ws.send(vec![0; 32 << 20]);
        assert!(matches!(flooded, Err(Error::Recv(RecvError::WriteTimeout))));
        took(began, ms(50));

        let (near, far) = tcp_pair();
        let refused = Peer::new(far, Role::Server);
        let ending = thread::spawn(move || {
            refused.looks();
            refused.end();
            refused
        });
        let began = Instant::now();
        let config = Config { handshake_timeout: ms(50), ..patient() };
        let error = blocking::accept(Spin::new(near).unwrap(), &config).unwrap_err();
        assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
        took(began, ms(50));
        drop(ending.join().unwrap());
    });
}

#[test]
fn the_callers_timeouts_hold_also_those_from_before() {
    bounded(|| {
        let (mut ws, mut peer) = served(&patient());
        ws.set_read_timeout(Some(ms(60))).unwrap();
        let mut ws = ws.into_spin().unwrap();
        for timeout in [ms(60), ms(5), Duration::from_micros(300)] {
            if timeout < ms(60) {
                ws.set_read_timeout(Some(timeout)).unwrap();
            }
            let began = Instant::now();
            assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
            took(began, timeout);
            peer.say(TEXT, b"still here");
            let text = loop {
                match ws.recv() {
                    Ok(message) => break message.unwrap().as_text().unwrap().to_owned(),
                    Err(Error::WouldBlock) => {}
                    Err(error) => panic!("{error:?}"),
                }
            };
            assert_eq!(text, "still here");
        }
        // And none at all.
        ws.set_read_timeout(None).unwrap();
        let sending = thread::spawn(move || {
            thread::sleep(ms(30));
            peer.say(TEXT, b"late");
        });
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("late"));
        sending.join().unwrap();
    });
}

/// TCP whose end would block for a while, as that of TLS over a full socket; `None`: for ever.
struct Reluctant(TcpStream, Option<Instant>);

impl Read for Reluctant {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Reluctant {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Reluctant {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(bufs)
    }
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.0.wait(interest, timeout)
    }
    fn shutdown(&mut self) -> io::Result<()> {
        match self.1 {
            Some(until) if Instant::now() >= until => Stream::shutdown(&mut self.0),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

#[test]
fn an_end_that_would_block_is_waited_for_within_the_deadlines() {
    bounded(|| {
        for until in [Some(Instant::now() + ms(100)), None] {
            let (near, far) = tcp_pair();
            // Where the stream ends at last, no deadline of the connection may come before.
            let close_timeout = if until.is_some() { PATIENCE } else { ms(100) };
            let ws = server(Reluctant(near, until), &Config { close_timeout, ..patient() });
            let (mut ws, mut peer) = (ws.into_spin().unwrap(), Peer::new(far, Role::Server));
            peer.say(CLOSE, b"");
            let reading = thread::spawn(move || {
                assert_eq!(peer.next(), (CLOSE, vec![]));
                if until.is_some() {
                    peer.at_end();
                    peer.end(); // for which we would spin a second more
                }
                peer
            });
            assert!(ws.recv().unwrap().is_none());
            assert!(ws.closed().unwrap().clean);
            drop(reading.join().unwrap());
        }
        // Also if nothing is written any more that would set a tick.
        let (near, far) = tcp_pair();
        let mut peer = Peer::new(far, Role::Server);
        let mut ws = server(Reluctant(near, None), &Config { close_timeout: ms(100), ..patient() });
        peer.say(CLOSE, b"");
        assert_eq!(ws.recv_event().unwrap(), Some(Event::Close(None)));
        ws.flush().unwrap();
        assert!(ws.into_spin().unwrap().recv().unwrap().is_none());
    });
}

/// Would block so many times before each byte.
struct Shy {
    shy: u32,
    left: u32,
    calls: u32,
}

impl Shy {
    fn call(&mut self) -> io::Result<usize> {
        self.calls += 1;
        if self.left > 0 {
            self.left -= 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.left = self.shy;
        Ok(1)
    }
}

impl Read for Shy {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.call()
    }
}

impl Write for Shy {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.call()
    }
    fn flush(&mut self) -> io::Result<()> {
        self.call().map(drop)
    }
}

impl Stream for Shy {
    crate::support::tries::tries!();
    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.call().map(drop)
    }
}

/// A read asks 64 times between two looks at the clock, everything else once.
#[test]
fn it_asks_so_often_and_no_more() {
    for shy in [0, 1, 63, 64, 65, 1_000] {
        let shy_stream = || Spin::new(Shy { shy, left: shy, calls: 0 }).unwrap();
        let mut io = shy_stream();
        for reads in 1..=(shy / 64) {
            assert_eq!(io.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(io.get_ref().calls, 64 * reads);
        }
        assert_eq!(io.read(&mut [0]).unwrap(), 1);
        assert_eq!(io.get_ref().calls, shy + 1);
        type Call = fn(&mut Spin<Shy>) -> io::Result<()>;
        let calls: [Call; 5] = [
            |io| io.write(&[0]).map(drop),
            |io| io.try_write(&[IoSlice::new(&[0])]).map(drop),
            |io| io.flush(),
            |io| io.try_flush(),
            |io| io.shutdown(),
        ];
        for call in calls {
            let mut io = shy_stream();
            assert_eq!(call(&mut io).is_ok(), shy == 0);
            assert_eq!(io.get_ref().calls, 1);
        }
    }
}

#[test]
fn streams_without_such_a_mode_say_so_and_others_come_back_from_it() {
    bounded(|| {
        let error = Spin::new(WithoutTimeouts(io::empty())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(Spin::new(Shy { shy: 0, left: 0, calls: 0 }).unwrap().into_inner().calls, 0);
        let (near, _far) = tcp_pair();
        let mut ws = server(near, &patient());
        ws.set_read_timeout(Some(ms(40))).unwrap();
        ws.set_write_timeout(Some(ms(40))).unwrap();
        let (io, _) = ws.into_spin().unwrap().into_parts();
        let mut near = io.into_inner();
        assert_eq!((near.read_timeout().unwrap(), near.write_timeout().unwrap()), (None, None));
        near.set_read_timeout(Some(ms(40))).unwrap();
        let began = Instant::now();
        assert!(near.read(&mut [0]).is_err());
        took(began, ms(30));
    });
}

#[cfg(feature = "in-place")]
#[test]
fn over_tls_it_spins_inside_and_outside() {
    use tickwire::{Dial, blocking::TlsStream};
    bounded(|| {
        let authority = crate::support::tls::Authority::new();
        let (tls, known) = (authority.server(), authority.client());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let io = TlsStream::server(Spin::new(stream).unwrap(), placed(tls)).unwrap();
            let mut ws = blocking::accept(io, &patient()).unwrap();
            while let Some(received) = ws.recv_to_reply().unwrap() {
                let _ = received.sender.feed(received.message).unwrap();
            }
            assert!(ws.closed().unwrap().clean);
        });
        let request = Request::new(&url).unwrap();
        let ws = Dial::new(&request).tls(placed(known)).blocking_connect(&patient()).unwrap();
        let mut ws = ws.into_spin().unwrap();
        for len in [0, 125, 70_000, 3_000_000] {
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let _ = ws.feed(&message).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), message);
        }
        ws.set_read_timeout(Some(ms(50))).unwrap();
        let began = Instant::now();
        assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
        took(began, ms(50));
        ws.set_read_timeout(None).unwrap();
        ws.close(CloseCode::NORMAL).unwrap();
        assert!(ws.closed().unwrap().clean);
        serving.join().unwrap();
    });
}

/// A stream that says what it was asked.
#[derive(Default)]
struct Odd {
    asked: RefCell<Vec<&'static str>>,
    vectored: bool,
}

impl Read for Odd {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Odd {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }
    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(from.iter().map(|from| from.len()).sum())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Odd {
    crate::support::tries::tries!();
    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.asked.borrow_mut().push(if yes { "nodelay" } else { "delay" });
        Ok(())
    }
    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn writes_vectored(&self) -> bool {
        self.vectored
    }
}

#[test]
fn a_stream_that_spins_does_what_the_stream_does() {
    bounded(|| {
        for vectored in [false, true] {
            let mut spin = Spin::new(Odd { vectored, ..Odd::default() }).unwrap();
            assert_eq!(spin.writes_vectored(), vectored);
            assert_eq!(spin.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            let from = [IoSlice::new(b"ab"), IoSlice::new(b"cd")];
            assert_eq!(spin.write_vectored(&from).unwrap(), 4);
            spin.set_nodelay(true).unwrap();
            assert_eq!(spin.into_inner().asked.into_inner(), ["nodelay"]);
        }
    });
}
