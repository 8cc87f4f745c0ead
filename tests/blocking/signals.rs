//! Signals that interrupt every call before its time has passed: they put off no deadline and no timeout, and nothing
//! is lost by them.
use crate::support::blocking::*;
use std::{
    cell::Cell,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, Heartbeat, RecvError,
    blocking::{Stream, accept},
    handshake::HandshakeError,
};

/// A signal comes this often.
const SIGNAL: Duration = Duration::from_millis(5);

/// A thread's stream, and the timeouts that it set: its calls are interrupted if they wait for long.
#[derive(Debug)]
struct Signalled {
    io: TcpStream,
    reads: Cell<Option<Duration>>,
    writes: Cell<Option<Duration>>,
}

impl Signalled {
    fn new(io: TcpStream) -> Self {
        io.set_read_timeout(Some(SIGNAL)).unwrap();
        io.set_write_timeout(Some(SIGNAL)).unwrap();
        Self { io, reads: Cell::default(), writes: Cell::default() }
    }
}

/// What a call comes to that waited until the signal.
fn interrupted<T>(done: io::Result<T>, timeout: &Cell<Option<Duration>>) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => match timeout.get() {
            Some(timeout) if timeout <= SIGNAL => Err(error),
            _ => Err(io::ErrorKind::Interrupted.into()),
        },
        done => done,
    }
}

impl Read for Signalled {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        interrupted(self.io.read(buf), &self.reads)
    }
}

impl Write for Signalled {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        interrupted(self.io.write(buf), &self.writes)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        interrupted(self.io.write_vectored(bufs), &self.writes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Signalled {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.reads.set(timeout);
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.writes.set(timeout);
        Ok(())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown(std::net::Shutdown::Write)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            io: self.io.try_clone()?,
            reads: self.reads.clone(),
            writes: self.writes.clone(),
        })
    }
}

fn pair() -> (Signalled, TcpStream) {
    let (near, far) = tcp_pair();
    (Signalled::new(near), far)
}

fn config() -> Config {
    patient()
}

#[test]
fn the_callers_timeouts_pass() {
    bounded(|| {
        let (io, _far) = pair();
        let mut ws = server(io, &config());
        ws.set_read_timeout(Some(ms(100))).unwrap();
        ws.set_write_timeout(Some(ms(100))).unwrap();
        assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
        assert!(matches!(ws.recv_with(), Err(Error::WouldBlock)));
        assert!(matches!(ws.send(vec![0; 32 << 20]), Err(Error::WouldBlock)));
        let (mut reader, mut writer) = ws.into_split().unwrap();
        assert!(matches!(writer.flush(), Err(Error::WouldBlock)));
        assert!(matches!(reader.recv(), Err(Error::WouldBlock)));
    });
}

#[test]
fn every_deadline_passes() {
    bounded(|| {
        let (io, _far) = pair();
        let mut ws = server(io, &config().close_timeout(ms(100)));
        assert!(matches!(ws.close(None), Err(Error::Recv(RecvError::CloseTimeout))));

        let (io, _far) = pair();
        let mut ws = server(io, &config().heartbeat(Heartbeat::new(ms(50), ms(100))));
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::PongTimeout))));

        let (io, _far) = pair();
        let mut ws = server(io, &config().write_timeout(ms(100)));
        let sent = ws.send(vec![0; 32 << 20]);
        assert!(matches!(sent, Err(Error::Recv(RecvError::WriteTimeout))));

        let (io, _far) = pair();
        let ws = server(io, &config().write_timeout(ms(100)));
        let (_reader, mut writer) = ws.into_split().unwrap();
        let sent = writer.send(vec![0; 32 << 20]);
        assert!(matches!(sent, Err(Error::Recv(RecvError::WriteTimeout))));

        let (io, _far) = pair();
        let error = accept(io, &config().handshake_timeout(ms(100))).unwrap_err();
        assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
    });
}

#[test]
fn a_call_that_waits_as_long_as_it_takes_goes_on() {
    bounded(|| {
        let (io, far) = pair();
        let echo = thread::spawn(move || {
            let mut ws = server(io, &config());
            while let Some(received) = ws.recv_with().unwrap() {
                thread::sleep(4 * SIGNAL);
                let _ = received.sender.feed(received.message).unwrap();
            }
        });
        let mut ws = client(far, &config());
        let large = vec![7; 8 << 20];
        for _ in 0..2 {
            thread::sleep(4 * SIGNAL);
            ws.send(&large).unwrap();
            thread::sleep(4 * SIGNAL);
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes(), large);
        }
        ws.close(CloseCode::NORMAL).unwrap();
        echo.join().unwrap();
    });
}

#[test]
fn an_interruption_is_not_taken_for_a_stream_that_does_not_block() {
    use io::ErrorKind::{Interrupted, WouldBlock};
    bounded(|| {
        for then in [Interrupted, WouldBlock] {
            // A tick that ends early is the first each time: the call before it was interrupted.
            let reads = [WouldBlock, Interrupted, then].map(Read1::Fail);
            let io = Scripted::new(reads.into_iter().chain([Read1::Bytes(masked(TEXT, b"a"))]));
            let beat = Heartbeat::new(ms(60_000), ms(60_000));
            let mut ws = server(io, &config().heartbeat(beat));
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("a"));
        }
        // So it is if that was a write.
        let reads = [Read1::Fail(WouldBlock), Read1::Bytes(masked(TEXT, b"a"))];
        let io = Scripted::new(reads);
        io.script().write_error = Some(Interrupted);
        let mut ws = server(io.clone(), &config());
        let _ = ws.feed("b").unwrap();
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("a"));
        io.script().write_error = None;
        ws.flush().unwrap();
        assert_eq!(io.script().written, plain(TEXT, b"b"));
    });
}

#[cfg(feature = "rustls")]
#[test]
fn tls_passes_them_on() {
    use crate::support::tls::Authority;
    use tickwire::{blocking::TlsStream, handshake::client::Request};
    bounded(|| {
        let authority = Authority::new();
        let (tls, known) = (authority.server(), authority.client());
        // Nobody there.
        let (io, _far) = pair();
        let io = TlsStream::server(io, tls.clone()).unwrap();
        let error = accept(io, &config().handshake_timeout(ms(100))).unwrap_err();
        assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
        let (io, _far) = pair();
        let mut io = TlsStream::server(io, tls.clone()).unwrap();
        io.set_read_timeout(Some(ms(100))).unwrap();
        assert_eq!(io.handshake().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // Someone slow, who reads on only so far.
        with_time_enough(|timeout| {
            let (io, far) = pair();
            let known = known.clone();
            let peer = thread::spawn(move || {
                thread::sleep(4 * SIGNAL);
                let request = Request::new("wss://localhost/").unwrap();
                let mut far = TlsStream::client(far, request.target(), known).unwrap();
                far.handshake().unwrap();
                let mut ws = client(far, &config());
                thread::sleep(4 * SIGNAL);
                ws.send("slow").unwrap();
                let large = ws.recv().map(|got| got.unwrap().as_bytes().len());
                (ws, large)
            });
            let mut io = TlsStream::server(io, tls.clone()).unwrap();
            io.handshake().unwrap();
            let mut ws = server(io, &config().write_timeout(timeout));
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("slow"));
            match ws.send(vec![0; 8 << 20]) {
                Err(Error::Recv(RecvError::WriteTimeout)) => {
                    drop(ws);
                    let _ = peer.join();
                    return false;
                }
                sent => sent.unwrap(),
            }
            let (_peer, large) = peer.join().unwrap();
            assert_eq!(large.unwrap(), 8 << 20);
            ws.set_read_timeout(Some(ms(100))).unwrap();
            assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
            let sent = ws.send(vec![0; 32 << 20]);
            assert!(matches!(sent, Err(Error::Recv(RecvError::WriteTimeout))));
            true
        });
    });
}
