//! A connection of a case: writes, and reads with a time.
//!
//! A write also reads what comes meanwhile, so that it never waits for a peer that waits for us to
//! read; but no more than a peer that floods may take of our memory. TLS is over the bytes that were
//! read.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::End;

/// A peer that takes nothing of a write for so long does not read: the connection ends.
const WRITE: Duration = Duration::from_secs(20);

/// It ends, too, if a peer that reads a little now and then has not taken all after this time.
const LONGEST_WRITE: Duration = Duration::from_secs(60);

/// How much is read ahead during a write: the echo of the longest message comes back while that is
/// still going out.
const AHEAD: usize = 32 << 20;

/// How long to wait for a peer that neither takes nor sends anything.
const LOOK: Duration = Duration::from_micros(200);

/// What a read has brought.
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Ended(End),
    /// Nothing came in time.
    Nothing,
}

pub(crate) struct Stream {
    raw: Raw,
    tls: Option<rustls::Connection>,
    /// What was opened and not read yet. A session takes no more records above 16 KiB of it.
    plain: Vec<u8>,
    ended: Option<End>,
}

/// The bytes below TLS.
struct Raw {
    tcp: TcpStream,
    /// What came during a write.
    ahead: Vec<u8>,
    end: Option<End>,
}

impl Raw {
    /// Takes what the system has. Returns whether there was anything.
    fn pull(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        if self.end.is_some() || self.ahead.len() > AHEAD {
            return false;
        }
        match self.tcp.read(&mut buffer) {
            Ok(0) => self.end = Some(End::Fin),
            Ok(length) => self.ahead.extend(&buffer[..length]),
            Err(error) if is_early(&error) => return false,
            Err(_) => self.end = Some(End::Reset),
        }
        true
    }

    /// A socket that does not linger is reset when it is closed, so another one takes its place.
    #[cfg(unix)]
    fn reset(&mut self) {
        use rustix::net::{AddressFamily, SocketType, socket, sockopt};
        let now = Some(Duration::ZERO);
        if let Ok(nothing) = socket(AddressFamily::INET, SocketType::STREAM, None)
            && sockopt::set_socket_linger(&self.tcp, now).is_ok()
        {
            self.tcp = nothing.into();
        }
    }

    /// Waits at most `time` for bytes or the end.
    fn take(&mut self, time: Duration) -> Input {
        let until = Instant::now() + time;
        loop {
            if !self.ahead.is_empty() {
                return Input::Bytes(std::mem::take(&mut self.ahead));
            }
            if let Some(end) = self.end {
                return Input::Ended(end);
            }
            let left = until.saturating_duration_since(Instant::now());
            // The system takes 0 for ever.
            let left = left.max(Duration::from_millis(1));
            if self.tcp.set_read_timeout(Some(left)).is_err() {
                self.end = Some(End::Reset);
            }
            if !self.pull() && Instant::now() >= until {
                return Input::Nothing;
            }
        }
    }

    /// Writes all of the bytes, for at most so long, and reads what comes meanwhile.
    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        self.tcp.set_nonblocking(true)?;
        let mut stalls = Instant::now() + WRITE;
        let written = loop {
            if bytes.is_empty() {
                break Ok(());
            }
            if Instant::now() >= until.min(stalls) {
                break Err(io::ErrorKind::TimedOut.into());
            }
            match self.tcp.write(bytes) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    bytes = &bytes[length..];
                    stalls = Instant::now() + WRITE;
                }
                Err(error) if is_early(&error) => {
                    if !self.pull() {
                        thread::sleep(LOOK);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.tcp.set_nonblocking(false)?;
        written
    }
}

/// Whether it may succeed later. A signal interrupts a call, as a stop of the process does.
fn is_early(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let raw = Raw { tcp, ahead: Vec::new(), end: None };
        Ok(Stream { raw, tls: None, plain: Vec::new(), ended: None })
    }

    /// TLS, with the handshake done.
    pub(crate) fn with_tls(
        mut self,
        session: impl Into<rustls::Connection>,
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
            match self.raw.take(until.saturating_duration_since(Instant::now())) {
                Input::Bytes(bytes) => self.open(&bytes)?,
                Input::Ended(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Input::Nothing => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Writes all of the bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_until(bytes, Instant::now() + LONGEST_WRITE)
    }

    fn write_until(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        if self.tls.is_none() {
            return self.raw.write(bytes, until);
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
            let end = match self.raw.take(left) {
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
        let _ = self.raw.tcp.shutdown(Shutdown::Write);
    }

    /// Ends the connection as the death of a program does that has not read all.
    pub(crate) fn reset(&mut self) {
        #[cfg(unix)]
        self.raw.reset();
        self.close();
    }

    /// Ends both halves.
    pub(crate) fn close(&mut self) {
        let _ = self.raw.tcp.shutdown(Shutdown::Both); // the peer may have done it
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
            let mut records = Vec::new();
            tls.write_tls(&mut records)?;
            self.raw.write(&records, until)?;
        }
        Ok(())
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
    #[cfg(unix)]
    fn a_reset_is_no_end_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let mut stream = Stream::new(tcp).unwrap();
        stream.write(b"text").unwrap();
        stream.reset();
        let read = peer.read_to_end(&mut Vec::new());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

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
}
