//! A stream that does not block, plain or under TLS.
//!
//! Events are edges: readiness is told once, so a socket remembers what it has not used up yet.
use bytes::Buf;
use mio::{event::Event, net::TcpStream};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
};
use tickwire::{Connection, Ending, tls::Session};

pub struct Socket<S = TcpStream> {
    tcp: Tcp<S>,
    tls: Option<Box<Session>>,
    /// There may be plaintext that was not read yet.
    holds: bool,
}

struct Tcp<S> {
    stream: S,
    /// The system said so, and no read has found the end of it.
    readable: bool,
    /// It takes bytes, as far as is known. Not tried before the system says so: what its buffers
    /// grow by is no sign of a peer that reads.
    writable: bool,
    /// A write has failed for good.
    broken: bool,
    /// The peer's end is shut: nothing will be told again.
    shut: bool,
}

/// TCP, or what reads and writes it.
pub trait Stream: Read + Write {
    /// For writing.
    fn shut_down(&self);
}

impl Stream for TcpStream {
    fn shut_down(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// What the system says of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Note {
    pub readable: bool,
    pub writable: bool,
    /// Nothing will be told again.
    pub shut: bool,
}

impl From<&Event> for Note {
    fn from(event: &Event) -> Self {
        let shut = event.is_read_closed() || event.is_error();
        Self { readable: event.is_readable(), writable: event.is_writable(), shut }
    }
}

impl<S: Stream> Socket<S> {
    /// `connected`: it takes bytes already; one that is being dialed does when the system says so.
    pub fn new(stream: S, tls: Option<Session>, connected: bool) -> Self {
        let tcp = Tcp { stream, readable: false, writable: connected, broken: false, shut: false };
        Self { tcp, tls: tls.map(Box::new), holds: false }
    }

    pub fn stream(&self) -> &S {
        &self.tcp.stream
    }

    pub fn note(&mut self, note: impl Into<Note>) {
        let Note { readable, writable, shut } = note.into();
        self.tcp.shut |= shut;
        self.tcp.readable |= shut || readable;
        self.tcp.writable |= shut || writable;
        if let Some(tls) = &mut self.tls {
            let _ = self.tcp.send(tls); // what it had to say when the stream took nothing
        }
    }

    #[inline]
    pub fn is_readable(&self) -> bool {
        self.tcp.readable || self.holds
    }

    /// As a stream that does not block.
    #[inline]
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.tls {
            None => self.tcp.read(to),
            Some(_) => self.open(to),
        }
    }

    /// Plaintext. The handshake of TLS takes place here.
    fn open(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Self { tcp, tls: Some(tls), holds } = self else {
            return Ok(0);
        };
        loop {
            let read = tls.read(to);
            let _ = tcp.send(tls); // the handshake's messages, or why it failed
            *holds = matches!(read, Ok(Some(_)));
            if let Some(n) = read? {
                return Ok(n);
            }
            if !tcp.readable {
                return Err(ErrorKind::WouldBlock.into());
            }
            match tcp.read(tls.spare_mut()) {
                Ok(0) => tls.end_of_stream(),
                Ok(n) => tls.commit(n),
                Err(error) => {
                    tls.commit(0);
                    return Err(error);
                }
            }
        }
    }

    /// Writes what is there to be written, until the stream would wait.
    #[inline]
    pub fn write(&mut self, conn: &mut Connection) {
        let Self { tcp, tls, .. } = self;
        while tcp.writable {
            let wrote = match tls {
                Some(tls) if tls.has_outgoing() => tcp.send(tls),
                _ if !conn.sender().has_outgoing() => return,
                // Only what can be written is sealed, so that the rest keeps its order and its limit.
                Some(tls) => tls.write(&mut conn.sender_mut().outgoing()).map(drop),
                None => {
                    let mut out = conn.sender_mut().outgoing();
                    tcp.write(out.chunk()).map(|n| out.advance(n))
                }
            };
            match wrote {
                Err(error) if !is_passing(&error) => return conn.write_failed(), // what can still be read may say why
                _ => {}
            }
        }
        if tcp.broken {
            conn.write_failed(); // at an event
        } else {
            conn.write_blocked(); // also where ciphertext is in front of what it has
        }
    }

    /// Shuts it for writing, behind all that was written. Whether it could: TLS may have to wait with its last words.
    fn shut_down(&mut self) -> bool {
        if let Self { tcp, tls: Some(tls), .. } = self {
            tls.close();
            if tcp.send(tls).is_err_and(|error| is_passing(&error)) {
                return false;
            }
            (self.tls, self.holds) = (None, false); // what comes now is dropped
        }
        self.tcp.stream.shut_down();
        true
    }

    /// Does what a connection that is over wants done. Whether what still comes is to be read and dropped; `None`: all
    /// is done.
    pub fn end(&mut self, conn: &mut Connection) -> Option<bool> {
        if conn.ending() == Ending::ShutDown && self.shut_down() {
            conn.shut_down();
        }
        match conn.ending() {
            Ending::Flush | Ending::ShutDown => Some(false), // TLS has something to say before that
            Ending::Discard => Some(true),
            Ending::Done => None,
        }
    }

    /// Bytes of an opening handshake: returns how many were taken, which is none before TLS has shaken hands.
    pub fn say(&mut self, text: &[u8]) -> io::Result<usize> {
        let Self { tcp, tls, .. } = self;
        match tls {
            None => tcp.write(text),
            Some(tls) => {
                let n = tls.write(&mut &text[..])?;
                let _ = tcp.send(tls); // what is left of it is sent at an event
                Ok(n)
            }
        }
    }

    /// Short, and the first that is written: the system has room for it.
    pub fn say_last(&mut self, text: &[u8]) {
        let _ = self.say(text);
        self.shut_down();
    }

    /// Reads and drops what comes, as it comes.
    pub fn discard(&mut self) -> io::Result<usize> {
        self.tcp.read(&mut [0; 4096])
    }
}

impl<S: Stream> Tcp<S> {
    #[inline]
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.readable {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.stream.read(to);
        match &read {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Less than was asked for was all there is, and the next will be told.
            Ok(n) if *n == to.len() || self.shut => {}
            _ => self.readable = false,
        }
        read
    }

    #[inline]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        match self.stream.write(from) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) => {
                self.writable = false;
                self.broken = error.kind() != ErrorKind::WouldBlock;
                Err(error)
            }
            wrote => wrote,
        }
    }

    /// All ciphertext that there is.
    fn send(&mut self, tls: &mut Session) -> io::Result<()> {
        while tls.has_outgoing() {
            let n = self.write(tls.outgoing())?;
            tls.advance(n);
        }
        Ok(())
    }
}

pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
