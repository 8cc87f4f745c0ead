//! The core alone: a session of TLS between a stream and a connection, as a loop of one's own has
//! them.
use super::talk::{Answer, PING, Say, Socket, goodbye};
use crate::{
    Result,
    socket::{Ending, ending},
};
use bytes::Buf;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};
use tickwire::{
    Config, Connection, OwnedEvent, Step, SystemEntropy,
    handshake::{
        Progress,
        client::{self, Request},
        server::{self, Accept},
    },
    tls::Session,
};

/// What stands between the core and the wire.
pub(super) struct Wire {
    pub(super) tls: Session,
    tcp: TcpStream,
}

impl Wire {
    pub(super) fn new(tls: Session, tcp: TcpStream) -> io::Result<Self> {
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { tls, tcp })
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.has_outgoing() {
            let n = self.tcp.write(self.tls.outgoing())?;
            self.tls.advance(n);
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.send()?;
        match self.tcp.read(self.tls.spare_mut())? {
            0 => self.tls.end_of_stream(),
            n => self.tls.commit(n),
        }
        Ok(())
    }

    /// The last that is sent.
    fn shut_down(&mut self) -> io::Result<()> {
        self.tls.close();
        self.send()?;
        self.tcp.shutdown(Shutdown::Write)
    }
}

pub(super) struct OwnLoop {
    pub(super) wire: Wire,
    conn: Connection,
}

pub(super) fn connect(mut wire: Wire, request: &Request) -> Result<OwnLoop> {
    let mut handshake = client::Handshake::new(request, &Config::default(), SystemEntropy::new()?);
    while handshake.step()? == Progress::Partial {
        let n = wire.tls.write(&mut handshake.outgoing())?;
        handshake.advance(n);
        wire.send()?;
        match wire.tls.read(handshake.reading.spare_mut())? {
            Some(0) => handshake.reading.end_of_stream(),
            Some(n) => handshake.reading.commit(n),
            None => wire.receive()?,
        }
    }
    Ok(OwnLoop { wire, conn: handshake.into_connection()? })
}

pub(super) fn accept(mut wire: Wire) -> Result<OwnLoop> {
    let mut handshake = server::Handshake::new(&Config::default());
    while handshake.step()? == Progress::Partial {
        match wire.tls.read(handshake.reading.spare_mut())? {
            Some(0) => handshake.reading.end_of_stream(),
            Some(n) => handshake.reading.commit(n),
            None => wire.receive()?,
        }
    }
    let mut this = OwnLoop { wire, conn: handshake.accept(Accept::default())? };
    this.flush()?;
    Ok(this)
}

impl OwnLoop {
    fn flush(&mut self) -> io::Result<()> {
        let mut out = self.conn.sender_mut().outgoing();
        while out.has_remaining() {
            self.wire.tls.write(&mut out)?;
            self.wire.send()?;
        }
        self.wire.send()
    }

    /// To the end of the stream.
    fn part(&mut self) -> io::Result<()> {
        let mut shut = false;
        loop {
            match self.conn.ending() {
                tickwire::Ending::Flush => self.flush()?,
                tickwire::Ending::ShutDown => {
                    self.conn.shut_down();
                    self.wire.shut_down()?;
                    shut = true;
                }
                // To the end that TLS announces: the peer may wait for ours before it ends TCP.
                tickwire::Ending::Discard => match self.wire.tls.read(&mut [0; 4096]) {
                    Ok(Some(0)) | Err(_) => self.conn.receiver_mut().end_of_stream(),
                    Ok(Some(_)) => {}
                    Ok(None) => self.wire.receive()?,
                },
                tickwire::Ending::Done if shut => return Ok(()),
                tickwire::Ending::Done => return self.wire.shut_down(),
            }
        }
    }
}

impl Socket for OwnLoop {
    fn next(&mut self) -> Answer<Option<OwnedEvent>> {
        loop {
            match self.conn.step()? {
                Step::NeedInput => self.flush()?,
                Step::Closed => return Ok(self.part().map(|()| None)?),
                _ => return Ok(self.conn.receiver().event().map(OwnedEvent::from)),
            }
            match self.wire.tls.read(self.conn.receiver_mut().spare_mut())? {
                Some(0) => self.conn.receiver_mut().end_of_stream(),
                Some(n) => self.conn.receiver_mut().commit(n),
                None => self.wire.receive()?,
            }
        }
    }

    fn say(&mut self, what: Say) -> Result<()> {
        let sender = self.conn.sender_mut();
        match what {
            Say::Message(message) => drop(sender.feed(message)?),
            Say::Close => sender.close(Some(goodbye()))?,
            Say::Ping => sender.ping(PING)?,
        }
        Ok(self.flush()?)
    }

    fn ending(&self) -> Ending {
        ending(self.conn.closed())
    }
}
