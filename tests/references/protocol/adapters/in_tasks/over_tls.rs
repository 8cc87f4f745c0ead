//! tokio's adapter over TLS: the peer is a session of rustls.
use super::{super::super::pipe, *};
use crate::support::{placed::Placed, provider, tls::Authority};
use std::sync::Mutex;
use testkit::sampled;
use tickwire::{
    Role,
    tls::rustls::{
        self, ClientConnection, NamedGroup, ServerConnection,
        crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup},
        pki_types::ServerName,
    },
    tokio::{TlsStream, WebSocket},
};

/// The ciphertext of a pipe.
#[derive(Clone)]
struct Sealed(Pipe, Arc<Mutex<Far>>);

struct Far {
    tls: rustls::Connection,
    /// What was written and not flushed, if the stream holds that.
    held: Vec<u8>,
    /// What it has sealed.
    wire: Vec<u8>,
    end: Option<io::Result<()>>,
}

impl Sealed {
    /// The peer opens what it has got.
    fn opens(&self) {
        let Far { tls, held, .. } = &mut *self.1.lock().unwrap();
        let mut sealed = &held[..];
        while !sealed.is_empty() {
            tls.read_tls(&mut sealed).unwrap();
            tls.process_new_packets().unwrap();
            let mut plain = Vec::new();
            match tls.reader().read_to_end(&mut plain) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
                _ => self.0.lock().wire.append(&mut plain),
            }
        }
        held.clear();
    }
}

polled!(tokio: Sealed);
impl Polled for Sealed {
    fn poll_read(&mut self, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let flow = self.0.lock().flow;
        let Far { tls, wire, end, .. } = &mut *self.1.lock().unwrap();
        let mut plain = [0; 4096];
        while end.is_none()
            && let Some(read) = Pipe::read(&self.0, &mut plain)
        {
            match read {
                Ok(0) => {
                    tls.send_close_notify();
                    *end = Some(Ok(()));
                }
                // Two records in one read.
                Ok(n) if flow == Flow::Joined => {
                    plain[..n].chunks(1 + n / 2).for_each(|it| tls.writer().write_all(it).unwrap());
                }
                Ok(n) => tls.writer().write_all(&plain[..n]).unwrap(),
                Err(error) => *end = Some(Err(error)),
            }
        }
        while tls.wants_write() {
            tls.write_tls(wire).unwrap();
        }
        let few = flow == Flow::Reads;
        let n = if few { pipe::few(wire.len()) } else { wire.len() }.min(to.remaining());
        to.put_slice(&wire[..n]);
        wire.drain(..n);
        match end {
            None if n == 0 => Poll::Pending,
            Some(Err(error)) if n == 0 => Poll::Ready(Err(error.kind().into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, sealed: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(unless_it_waits(Pipe::write(&self.0, &[])))?;
        let flow = self.0.lock().flow;
        let n = if flow == Flow::Writes { pipe::few(sealed.len()) } else { sealed.len() };
        self.1.lock().unwrap().held.extend_from_slice(&sealed[..n]);
        if flow != Flow::Holds {
            self.opens();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waits = self.0.lock().waits;
        if waits && !self.1.lock().unwrap().held.is_empty() {
            return Poll::Pending;
        }
        self.opens();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.opens();
        let tls = &mut self.1.lock().unwrap().tls;
        assert!(tls.process_new_packets().unwrap().peer_has_closed(), "no close_notify");
        self.0.shut();
        Poll::Ready(Ok(()))
    }
}

/// The table says nothing of the handshake, so it costs a quarter of ring's: no key is agreed on,
/// and processors have instructions for the hash of the suite.
fn quick() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![&Known],
        ..provider::default_provider()
    }
}

/// An exchange of keys whose secret everybody knows.
#[derive(Debug)]
struct Known;

impl SupportedKxGroup for Known {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Known {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, rustls::Error> {
        Ok(SharedSecret::from(&[1; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[1; 32]
    }

    fn group(&self) -> NamedGroup {
        self.name()
    }
}

whole_of_task!(WebSocket<TlsStream<Sealed>>, &["TLS"]);

fn holds(name: &str, in_place: bool) {
    let authority = Authority::new();
    let mut server = authority.issue(&["localhost"]).server_by(quick());
    let mut client = authority.client_by(quick());
    server.enable_secret_extraction = in_place;
    client.enable_secret_extraction = in_place;
    let theirs = (Arc::new(server.clone()), Arc::new(client.clone()));
    let server = server.placed();
    let client = client.placed();
    hold((name, 6), USES, false, sampled(1, 101), |pipe, conn| {
        pipe.lock().sealed = true;
        let localhost = ServerName::try_from("localhost").unwrap();
        let far = |mut tls: rustls::Connection| {
            tls.set_buffer_limit(None);
            Sealed(
                pipe,
                Arc::new(Mutex::new(Far { tls, held: Vec::new(), wire: Vec::new(), end: None })),
            )
        };
        let mut stream = match conn.role() {
            Role::Server => {
                let tls = ClientConnection::new(theirs.1.clone(), localhost).unwrap();
                TlsStream::server(far(tls.into()), server.clone()).unwrap()
            }
            Role::Client => {
                let tls = ServerConnection::new(theirs.0.clone()).unwrap();
                TlsStream::client(far(tls.into()), localhost, client.clone()).unwrap()
            }
        };
        once(stream.handshake()).unwrap().unwrap();
        assert_eq!(stream.session().in_place(), in_place);
        Events(WebSocket::from_parts(stream, conn))
    });
}

#[test]
fn tokio_over_tls_is_the_table() {
    holds("tokio over TLS", false);
}

#[test]
fn tokio_over_tls_in_place_is_the_table() {
    holds("tokio over TLS, in place", true);
}
