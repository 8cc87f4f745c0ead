//! Signals that interrupt every call before its time has passed: they put off no deadline and no
//! timeout, and nothing is lost by them.
use crate::support::blocking::*;
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, Heartbeat, RecvError,
    blocking::{Interest, Stream, accept},
    handshake::HandshakeError,
};

/// A signal comes this often.
const SIGNAL: Duration = Duration::from_millis(5);

/// A thread's stream: its calls are interrupted if they wait for long.
#[derive(Debug)]
struct Signalled(TcpStream);

impl Read for Signalled {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.kind() {
            // On Windows the second.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::ErrorKind::Interrupted.into()
            }
            _ => error,
        })
    }
}

impl Write for Signalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Signalled {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(()) // a signal comes first
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Stream::shutdown(&mut self.0)
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(bufs)
    }

    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        let most = timeout.map_or(SIGNAL, |timeout| timeout.min(SIGNAL));
        self.0.wait(interest, Some(most))?;
        if timeout == Some(most) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

fn pair() -> (Signalled, TcpStream) {
    let (near, far) = tcp_pair();
    near.set_read_timeout(Some(SIGNAL)).unwrap();
    (Signalled(near), far)
}

#[test]
fn the_callers_timeouts_pass() {
    bounded(|| {
        let (io, _far) = pair();
        let mut ws = server(io, &patient());
        ws.set_read_timeout(Some(ms(100))).unwrap();
        ws.set_write_timeout(Some(ms(100))).unwrap();
        assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
        assert!(matches!(ws.recv_to_reply(), Err(Error::WouldBlock)));
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
        let mut ws = server(io, &Config { close_timeout: ms(100), ..patient() });
        assert!(matches!(ws.close(None), Err(Error::Recv(RecvError::CloseTimeout))));

        let (io, _far) = pair();
        let mut ws =
            server(io, &Config { heartbeat: Some(Heartbeat::new(ms(50), ms(100))), ..patient() });
        assert!(matches!(ws.recv(), Err(Error::Recv(RecvError::PongTimeout))));

        let (io, _far) = pair();
        let mut ws = server(io, &Config { write_timeout: ms(100), ..patient() });
        let sent = ws.send(vec![0; 32 << 20]);
        assert!(matches!(sent, Err(Error::Recv(RecvError::WriteTimeout))));

        let (io, _far) = pair();
        let ws = server(io, &Config { write_timeout: ms(100), ..patient() });
        let (_reader, mut writer) = ws.into_split().unwrap();
        let sent = writer.send(vec![0; 32 << 20]);
        assert!(matches!(sent, Err(Error::Recv(RecvError::WriteTimeout))));

        let (io, _far) = pair();
        let error = accept(io, &Config { handshake_timeout: ms(100), ..patient() }).unwrap_err();
        assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
    });
}

#[test]
fn a_call_that_waits_as_long_as_it_takes_goes_on() {
    bounded(|| {
        let (io, far) = pair();
        let echo = thread::spawn(move || {
            let mut ws = server(io, &patient());
            while let Some(received) = ws.recv_to_reply().unwrap() {
                thread::sleep(4 * SIGNAL);
                let _ = received.sender.feed(received.message).unwrap();
            }
        });
        let mut ws = client(far, &patient());
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
            let reads = [WouldBlock, Interrupted, then].map(Read1::Fail);
            let io = Scripted::new(reads.into_iter().chain([Read1::Bytes(masked(TEXT, b"a"))]));
            io.script().ready = true;
            let beat = Heartbeat::new(ms(60_000), ms(60_000));
            let mut ws = server(io, &Config { heartbeat: Some(beat), ..patient() });
            assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("a"));
        }
        // A stream that cannot wait would end the call.
        let reads = [Read1::Fail(Interrupted), Read1::Bytes(masked(TEXT, b"a"))];
        let io = Scripted::new(reads);
        io.script().wait_error = Some(io::ErrorKind::Unsupported);
        assert_eq!(server(io, &patient()).recv().unwrap().unwrap().as_text(), Some("a"));
        // So it is if that was a write.
        let reads = [Read1::Fail(WouldBlock), Read1::Bytes(masked(TEXT, b"a"))];
        let io = Scripted::new(reads);
        io.script().write_error = Some(Interrupted);
        io.script().ready = true;
        let mut ws = server(io.clone(), &patient());
        let _ = ws.feed("b").unwrap();
        assert_eq!(ws.recv().unwrap().unwrap().as_text(), Some("a"));
        io.script().write_error = None;
        ws.flush().unwrap();
        assert_eq!(io.script().written, unmasked(TEXT, b"b"));
    });
}

#[cfg(feature = "in-place")]
#[test]
fn tls_passes_them_on() {
    use crate::support::{placed::placed, tls::Authority};
    use tickwire::{blocking::TlsStream, handshake::client::Request};
    bounded(|| {
        let authority = Authority::new();
        let (tls, known) = (authority.server(), authority.client());
        // Nobody there.
        let (io, _far) = pair();
        let io = TlsStream::server(io, placed(tls.clone())).unwrap();
        let error = accept(io, &Config { handshake_timeout: ms(100), ..patient() }).unwrap_err();
        assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
        let (io, _far) = pair();
        let mut io = TlsStream::server(io, placed(tls.clone())).unwrap();
        io.set_read_timeout(Some(ms(100))).unwrap();
        assert_eq!(io.handshake().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // Someone slow, who reads on only so far.
        with_time_enough(|timeout| {
            let (io, far) = pair();
            let known = known.clone();
            let peer = thread::spawn(move || {
                thread::sleep(4 * SIGNAL);
                let request = Request::new("wss://localhost/").unwrap();
                let mut far = TlsStream::client(far, request.target(), placed(known)).unwrap();
                far.handshake().unwrap();
                let mut ws = client(far, &patient());
                thread::sleep(4 * SIGNAL);
                ws.send("slow").unwrap();
                let large = ws.recv().map(|got| got.unwrap().as_bytes().len());
                (ws, large)
            });
            let mut io = TlsStream::server(io, placed(tls.clone())).unwrap();
            io.handshake().unwrap();
            let mut ws = server(io, &Config { write_timeout: timeout, ..patient() });
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
