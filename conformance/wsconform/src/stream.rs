//! A connection of a case: blocking writes, and reads with a time.
//!
//! A thread of its own reads the socket ahead, so that a write never waits for a peer that waits for
//! us to read. It stops where a peer that floods would take our memory. TLS is on the side of the
//! caller, over the bytes that it has read.

use rustls::{ClientConnection, ServerConnection};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::End;

use crate::turns::lock;

/// A peer that takes nothing of a write for so long does not read: the connection ends.
const WRITE: Duration = Duration::from_secs(20);

/// It ends, too, if a peer that reads a little now and then has not taken all after this time.
const LONGEST_WRITE: Duration = Duration::from_secs(60);

/// How much is read ahead of the judge.
const AHEAD: usize = 256 << 10;

/// How much is read ahead during a write: the echo of the longest message comes back while that is
/// still going out.
const AHEAD_IN_WRITE: usize = 32 << 20;

/// What a read has brought.
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Ended(End),
    /// Nothing came in time.
    Nothing,
}

pub(crate) struct Stream {
    tcp: TcpStream,
    received: Arc<Received>,
    tls: Option<rustls::Connection>,
    /// What was opened and not read yet. A session takes no more records above 16 KiB of it.
    plain: Vec<u8>,
    ended: Option<End>,
}

/// What the reading thread has for the caller.
#[derive(Default)]
struct Received {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    end: Option<End>,
    /// How much is read ahead.
    most: usize,
    /// Nobody reads any more.
    is_closed: bool,
}

impl Received {
    fn change(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut lock(&self.pending));
        self.changed.notify_all();
    }

    /// Adds bytes once there is room. Returns whether there is somebody who reads.
    fn add(&self, bytes: &[u8]) -> bool {
        let is_full = |pending: &mut Pending| {
            pending.bytes.len() + bytes.len() > pending.most && !pending.is_closed
        };
        let waited = self.changed.wait_while(lock(&self.pending), is_full);
        let mut pending = waited.unwrap_or_else(PoisonError::into_inner);
        pending.bytes.extend(bytes);
        self.changed.notify_all();
        !pending.is_closed
    }

    /// Waits at most `time` for bytes or the end.
    fn take(&self, time: Duration) -> Input {
        let is_empty = |pending: &mut Pending| pending.bytes.is_empty() && pending.end.is_none();
        let waited = self.changed.wait_timeout_while(lock(&self.pending), time, is_empty);
        let mut pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        if pending.bytes.is_empty() {
            return pending.end.map_or(Input::Nothing, Input::Ended);
        }
        self.changed.notify_all();
        Input::Bytes(std::mem::take(&mut pending.bytes))
    }
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(WRITE))?;
        tcp.set_read_timeout(None)?;
        let mut reading = tcp.try_clone()?;
        let received = Arc::new(Received::default());
        received.change(|pending| pending.most = AHEAD);
        let shared = received.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            let end = loop {
                match reading.read(&mut buffer) {
                    Ok(0) => break End::Fin,
                    Ok(n) if shared.add(&buffer[..n]) => {}
                    Ok(_) => return,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break End::Reset,
                }
            };
            shared.change(|pending| pending.end = Some(end));
        });
        Ok(Stream { tcp, received, tls: None, plain: Vec::new(), ended: None })
    }

    /// TLS as a client, with the handshake done.
    pub(crate) fn with_client_tls(
        mut self,
        session: ClientConnection,
        within: Duration,
    ) -> io::Result<Self> {
        self.tls = Some(session.into());
        self.shake(within)?;
        Ok(self)
    }

    /// TLS as a server, with the handshake done.
    pub(crate) fn with_server_tls(
        mut self,
        session: ServerConnection,
        within: Duration,
    ) -> io::Result<Self> {
        self.tls = Some(session.into());
        self.shake(within)?;
        Ok(self)
    }

    fn shake(&mut self, within: Duration) -> io::Result<()> {
        let until = Instant::now() + within;
        loop {
            self.flush_tls(until)?;
            if self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking()) {
                return Ok(());
            }
            match self.received.take(until.saturating_duration_since(Instant::now())) {
                Input::Bytes(bytes) => self.open(&bytes)?,
                Input::Ended(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Input::Nothing => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Writes all of the bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received.change(|pending| pending.most = AHEAD_IN_WRITE);
        let written = self.write_until(bytes, Instant::now() + LONGEST_WRITE);
        self.received.change(|pending| pending.most = AHEAD);
        written
    }

    fn write_until(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        if self.tls.is_none() {
            return Until { to: &self.tcp, until }.write_all(bytes);
        }
        // In pieces, because a session keeps no more than some records.
        for piece in bytes.chunks(16 << 10) {
            if let Some(tls) = &mut self.tls {
                tls.writer().write_all(piece)?;
            }
            self.flush_tls(until)?;
        }
        Ok(())
    }

    /// Waits at most `time` for bytes or the end.
    pub(crate) fn read(&mut self, time: Duration) -> Input {
        if let Some(end) = self.ended {
            return Input::Ended(end);
        }
        let until = Instant::now() + time;
        loop {
            if let Some(plain) = self.plaintext() {
                return Input::Bytes(plain);
            }
            let left = until.saturating_duration_since(Instant::now());
            let end = match self.received.take(left) {
                Input::Bytes(bytes) if self.tls.is_none() => return Input::Bytes(bytes),
                Input::Bytes(bytes) => match self.open(&bytes) {
                    Ok(()) if self.flush_tls(Instant::now() + LONGEST_WRITE).is_ok() => continue,
                    _ => End::Reset,
                },
                Input::Ended(end) => end,
                Input::Nothing => return Input::Nothing,
            };
            self.ended = Some(end);
            return match self.plaintext() {
                Some(plain) => Input::Bytes(plain),
                None => Input::Ended(end),
            };
        }
    }

    /// Ends the writing half.
    pub(crate) fn shut_down(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush_tls(Instant::now() + LONGEST_WRITE); // the peer may be gone
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Ends both halves, and with them the reading thread.
    pub(crate) fn close(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Both); // the peer may have done it
        self.received.change(|pending| pending.is_closed = true);
    }

    fn open(&mut self, mut ciphertext: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while !ciphertext.is_empty() {
            tls.read_tls(&mut ciphertext)?;
            let plain =
                tls.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
            let from = self.plain.len();
            self.plain.resize(from + plain, 0);
            tls.reader().read_exact(&mut self.plain[from..])?;
        }
        Ok(())
    }

    fn plaintext(&mut self) -> Option<Vec<u8>> {
        (!self.plain.is_empty()).then(|| std::mem::take(&mut self.plain))
    }

    fn flush_tls(&mut self, until: Instant) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut Until { to: &self.tcp, until })?;
        }
        Ok(())
    }
}

/// Takes bytes until a time, though a signal interrupts it.
struct Until<W> {
    to: W,
    until: Instant,
}

impl<W: Write> Write for Until<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if Instant::now() >= self.until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.to.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_write_ends_at_its_time_though_the_peer_goes_on_reading() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let reads = thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
        let mut stream = Stream::new(tcp).unwrap();
        let written = stream.write_until(&vec![0; 16 << 20], Instant::now());
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(stream.write(b"text").is_ok());
        drop(stream);
        assert_eq!(reads.join().unwrap().unwrap(), 4);
    }

    /// As a stop of the process does to a write that has a timeout.
    #[test]
    fn a_write_that_is_interrupted_goes_on() {
        struct Interrupted(bool);
        impl Write for Interrupted {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 ^= true;
                match self.0 {
                    true => Err(io::ErrorKind::Interrupted.into()),
                    false => Ok(bytes.len()),
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let until = Instant::now() + LONGEST_WRITE;
        let mut to = Until { to: Interrupted(false), until };
        assert_eq!(to.write(b"text").unwrap(), 4); // by rustls, which does not try again
    }
}
