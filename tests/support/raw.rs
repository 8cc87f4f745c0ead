//! A peer over TLS of whom each byte is the test's. For these tests, and those of `tickwire-loop`.
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};
use testkit::PATIENCE;
use tickwire::tls::rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    pki_types::ServerName,
};

/// TLS over TCP, in the hand of a test; a write is a record.
pub struct Raw {
    pub tls: Connection,
    pub tcp: TcpStream,
}

impl Raw {
    pub fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Self {
        Self::new(tcp, ServerConnection::new(config).unwrap())
    }

    pub fn client(tcp: TcpStream, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self::new(tcp, ClientConnection::new(config, name).unwrap())
    }

    fn new(tcp: TcpStream, tls: impl Into<Connection>) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { tls: tls.into(), tcp }
    }

    pub fn handshake(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            match self.tls.complete_io(&mut self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => drop(done?),
            }
        }
        self.send()
    }

    /// Writes the records that there are.
    pub fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// These bytes as a record that is not written yet.
    pub fn record(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plain).unwrap();
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).unwrap();
        }
        wire
    }

    pub fn say(&mut self, plain: &[u8]) {
        let wire = self.record(plain);
        self.tcp.write_all(&wire).unwrap();
    }

    pub fn close_notify(&mut self) {
        self.tls.send_close_notify();
        self.send().unwrap();
    }

    /// No more bytes of any kind.
    pub fn end_tcp(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    pub fn hear(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All that comes, and whether TLS announced that it is all.
    pub fn hear_all(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let ended = self.read_to_end(&mut bytes);
        match ended {
            Ok(_) => (bytes, true),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                (bytes, false)
            }
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            match self.tls.read_tls(&mut self.tcp) {
                // io_uring raises signals in other threads.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => drop(read?),
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}
