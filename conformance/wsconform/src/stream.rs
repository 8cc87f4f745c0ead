//! A connection of a case: blocking writes, and reads with a time.
//!
//! A thread of its own reads the socket into a channel, so that a write never waits for a peer that
//! waits for us to read. TLS is on the side of the caller, over the bytes of that channel.

use rustls::{ClientConnection, ServerConnection};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};
use wsconform_cases::End;

/// A write that takes longer ends the connection: the peer does not read.
const WRITE: Duration = Duration::from_secs(20);

/// What a read has brought.
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Ended(End),
    /// Nothing came in time.
    Nothing,
}

pub(crate) struct Stream {
    tcp: TcpStream,
    received: Receiver<Input>,
    tls: Option<rustls::Connection>,
    /// What was opened and not read yet. A session takes no more records above 16 KiB of it.
    plain: Vec<u8>,
    ended: Option<End>,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(WRITE))?;
        tcp.set_read_timeout(None)?;
        let mut reading = tcp.try_clone()?;
        let (send, received) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let input = match reading.read(&mut buffer) {
                    Ok(0) => Input::Ended(End::Fin),
                    Ok(n) => Input::Bytes(buffer[..n].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => Input::Ended(End::Reset),
                };
                let last = matches!(input, Input::Ended(_));
                if send.send(input).is_err() || last {
                    return;
                }
            }
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
            self.flush_tls()?;
            if self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking()) {
                return Ok(());
            }
            match self.received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Input::Bytes(bytes)) => self.open(&bytes)?,
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Writes all of the bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.tls.is_none() {
            return self.tcp.write_all(bytes);
        }
        // In pieces, because a session keeps no more than some records.
        for piece in bytes.chunks(16 << 10) {
            if let Some(tls) = &mut self.tls {
                tls.writer().write_all(piece)?;
            }
            self.flush_tls()?;
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
            let end = match self.received.recv_timeout(left) {
                Ok(Input::Bytes(bytes)) if self.tls.is_none() => return Input::Bytes(bytes),
                Ok(Input::Bytes(bytes)) => match self.open(&bytes) {
                    Ok(()) if self.flush_tls().is_ok() => continue,
                    _ => End::Reset,
                },
                Ok(Input::Ended(end)) => end,
                Ok(Input::Nothing) | Err(RecvTimeoutError::Timeout) => return Input::Nothing,
                Err(RecvTimeoutError::Disconnected) => End::Fin,
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
        let _ = self.flush_tls(); // the peer may be gone
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Ends both halves, and with them the reading thread.
    pub(crate) fn close(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Both); // the peer may have done it
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

    fn flush_tls(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}
