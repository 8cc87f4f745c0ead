//! A session over TCP.
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};
use tickwire_tls::Session;

pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Session,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream, tls: Session) -> Self {
        Self { tcp, tls }
    }

    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.check().map_err(|error| self.last(error))?;
            self.flush()?;
            self.fill()?;
            self.tls.read(&mut []).map_err(|error| self.last(error))?;
        }
        self.flush()
    }

    pub(crate) fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.tls.read(to).map_err(|error| self.last(error))?;
            self.flush()?;
            match read {
                Some(n) => return Ok(n),
                None => self.fill()?,
            }
        }
    }

    pub(crate) fn write(&mut self, mut from: &[u8]) -> io::Result<()> {
        while !from.is_empty() {
            self.tls.write(&mut from)?;
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.tls.close();
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.has_outgoing() {
            let n = self.tcp.write(self.tls.outgoing())?;
            self.tls.advance(n);
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        match self.tcp.read(self.tls.spare_mut())? {
            0 => self.tls.end_of_stream(),
            n => self.tls.commit(n),
        }
        Ok(())
    }

    /// Sends the alert, and lets the runner read it: an unread byte would reset the connection.
    fn last(&mut self, error: io::Error) -> io::Error {
        let sent = self.flush().and_then(|()| self.tcp.shutdown(Shutdown::Write));
        let _ = sent.and_then(|()| io::copy(&mut self.tcp, &mut io::sink()));
        error
    }
}
