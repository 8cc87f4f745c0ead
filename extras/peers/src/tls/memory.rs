//! Clients over streams in memory, by each layer, and their other end.

use crate::placed::placed;
use std::io::{self, Read, Write};
use std::pin::pin;

use nexus_net::tls::{TlsCodec, TlsConfig};
use tickwire::handshake::client::Request;
use tickwire::tls::rustls::{ClientConnection, ServerConnection};
use tickwire::{blocking, tls, tokio as adapter};
use tokio_rustls::TlsConnector;

use super::bare::Keys;
use super::session::Session;
use super::{HOST, certificate, client, name, provider, server};
use crate::bridge::{AsAsync, AsStd};
use crate::mem::{self, Mem, try_now};

/// The other end of a client. Its work is not measured.
pub struct Far(ServerConnection);

impl Default for Far {
    fn default() -> Self {
        Far(ServerConnection::new(server(false)).expect("a server"))
    }
}

impl Far {
    /// Calls `client` and answers what it writes, until both are done.
    fn shake<T>(&mut self, mut client: impl FnMut() -> Option<T>) -> T {
        let mut done = None;
        loop {
            let ((), wire) = mem::record(|| done = done.take().or_else(&mut client));
            self.take(&wire);
            if let Some(done) = done.take_if(|_| !self.0.is_handshaking()) {
                return done;
            }
            let mut wire = Vec::new();
            self.give(&mut wire);
            if !wire.is_empty() {
                mem::fill(wire);
            }
        }
    }

    fn take(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.0.read_tls(&mut wire).expect("room");
            self.0.process_new_packets().expect("a client");
        }
    }

    fn give(&mut self, wire: &mut Vec<u8>) {
        while self.0.wants_write() {
            self.0.write_tls(wire).expect("a Vec takes all");
        }
    }

    /// Appends a record.
    pub fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        self.0.writer().write_all(plain).expect("room");
        self.give(wire);
    }

    /// What records hold.
    pub fn open(&mut self, wire: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        // As much as it surely keeps.
        for wire in wire.chunks(4096) {
            self.take(wire);
            let ended = self.0.reader().read_to_end(&mut plain);
            assert!(ended.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock));
        }
        plain
    }

    /// A client by tokio-rustls.
    pub fn tokio_rustls(&mut self) -> tokio_rustls::client::TlsStream<Mem> {
        let connector = TlsConnector::from(client(false));
        let mut connect = pin!(connector.connect(name(), Mem::filled()));
        self.shake(|| try_now(connect.as_mut())).expect("a handshake")
    }

    /// By tickwire, in place or through rustls.
    pub fn tickwire(&mut self, in_place: bool) -> adapter::TlsStream<Mem> {
        let config = client(in_place);
        let io = adapter::TlsStream::client(Mem::filled(), url().target(), placed(config));
        let mut io = io.expect("a name");
        self.shake(|| try_now(io.handshake())).expect("a handshake");
        assert!(io.session().in_place() == in_place);
        io
    }

    /// By tickwire's blocking stream, in place.
    pub fn blocking(&mut self) -> blocking::TlsStream<AsStd<Mem>> {
        let io = AsStd(Mem::filled());
        let io = blocking::TlsStream::client(io, url().target(), placed(client(true)));
        let mut io = io.expect("a name");
        self.shake(|| io.handshake().ok());
        io
    }

    /// The core by hand, in place.
    pub fn session(&mut self) -> Session {
        let tls = tls::Session::client(placed(client(true)), url().target()).expect("a name");
        let mut conn = Session::new(tls);
        self.shake(|| conn.shake());
        conn
    }

    /// By nexus-web's own stream.
    pub fn nexus(&mut self) -> AsAsync<nexus_net::tls::TlsStream<AsStd<Mem>>> {
        let config = TlsConfig::builder().skip_system_certs().tls13_only();
        let _ = provider().install_default(); // once, for all its sessions
        let config = config.add_root_cert(certificate()).build().expect("a configuration");
        let mut codec = TlsCodec::new(&config, HOST).expect("a name");
        let mut io = AsStd(Mem::filled());
        self.shake(|| {
            while codec.wants_write() {
                codec.write_tls_to(&mut io).expect("it takes all");
            }
            let _ = codec.read_tls_from(&mut io); // there is nothing to read at the end
            (!codec.is_handshaking() && !codec.wants_write()).then_some(())
        });
        AsAsync(nexus_net::tls::TlsStream::connect(io, codec).expect("it has shaken hands"))
    }

    /// What a client of rustls hands over.
    pub fn keys(&mut self) -> Keys {
        let mut io = AsStd(Mem::filled());
        let mut session = ClientConnection::new(client(true), name()).expect("a client");
        self.shake(|| session.complete_io(&mut io).ok().filter(|_| !session.is_handshaking()));
        #[allow(deprecated)] // it never updates its keys
        let secrets = session.dangerous_extract_secrets().expect("they were asked for");
        Keys::new(secrets)
    }
}

fn url() -> Request {
    Request::new(&format!("wss://{HOST}/")).expect("a URL")
}
