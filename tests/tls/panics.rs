//! rustls panics, or a part of its configuration does. The session fails with an error that says
//! so, and never calls rustls again; the program and its other connections go on.
use super::{pipe::Pipe, session};
use crate::support::placed::placed;
use crate::support::{
    blocking::patient,
    fuse,
    hostile::Hostile,
    tls::{ADAPTERS, Adapter, Authority, Identity, Ws, async_tcp, runtime, tcp_pair},
    wire::{TEXT, connection, frame_to},
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tickwire::{
    Error, Role,
    blocking::{self, Interest, Stream},
    tls::{
        Session, TlsError,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
            version::{TLS12, TLS13},
        },
    },
    tokio as on_tokio,
};

/// Our end's configurations and the peer's.
struct Ends {
    version: &'static SupportedProtocolVersion,
    role: Role,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    roots: RootCertStore,
    identity: Identity,
}

/// TLS 1.3 in place and through rustls; TLS 1.2 by rustls' unbuffered connection and by the
/// buffered one; in both roles.
fn all() -> impl Iterator<Item = (Ends, bool)> {
    let kinds = [(&TLS13, true), (&TLS13, false), (&TLS12, true), (&TLS12, false)];
    kinds.into_iter().flat_map(|(version, extracts)| {
        [Role::Client, Role::Server].map(|role| (Ends::new(version, role, extracts), extracts))
    })
}

impl Ends {
    fn new(version: &'static SupportedProtocolVersion, role: Role, extracts: bool) -> Self {
        let authority = Authority::new();
        let (roots, identity) = (authority.roots(), authority.issue(&["localhost"]));
        let mut client = fuse::client(version, roots.clone());
        let mut server = fuse::server(version, identity.chain.clone(), identity.private());
        client.enable_secret_extraction = extracts;
        server.enable_secret_extraction = extracts;
        Self { version, role, client: client.into(), server: server.into(), roots, identity }
    }

    fn session(&self) -> Result<Session, TlsError> {
        let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
        match self.role {
            Role::Client => Session::client(placed(self.client.clone()), &target),
            Role::Server => Session::server(placed(self.server.clone())),
        }
    }

    fn peer(&self) -> Hostile {
        let chain = &self.identity.chain;
        match self.role {
            Role::Client => Hostile::server(self.version, chain.clone(), self.identity.private()),
            Role::Server => Hostile::client(self.version, self.roots.clone()),
        }
    }

    /// Both, behind their handshake.
    fn agreed(&self) -> (Session, Hostile) {
        fuse::light(None);
        let (mut tls, mut peer) = (self.session().unwrap(), self.peer());
        while tls.is_handshaking() || peer.is_handshaking() || peer.has_more() {
            peer.hear(&session::taken(&mut tls));
            session::give(&mut tls, &peer.all());
            assert_eq!(tls.read(&mut [0]).unwrap(), None);
        }
        peer.hear(&session::taken(&mut tls));
        (tls, peer)
    }
}

fn is_panic(error: &io::Error) -> bool {
    TlsError::inside(error).is_some_and(|error| error.is_panic())
}

/// A session whose rustls has panicked.
fn assert_failed(tls: &mut Session, peer: &mut Hostile, ended: bool) {
    let calls = fuse::calls();
    for _ in 0..2 {
        match tls.read(&mut [0; 10]) {
            Ok(Some(0)) if ended => {}
            other => assert!(is_panic(&other.unwrap_err())),
        }
        assert!(is_panic(&tls.write(&mut &b"more"[..]).unwrap_err()));
        assert!(is_panic(&tls.check().unwrap_err()));
        session::give(tls, &peer.record(true, 23, b"more"));
        tls.close();
        tls.end_of_stream();
        tls.flushed();
        assert!(!tls.answer_close() && !tls.in_place() && tls.connection().is_none());
        assert_eq!((tls.protocol_version(), tls.server_name()), (None, None));
        session::taken(tls);
        assert!(!tls.has_outgoing());
    }
    assert_eq!(fuse::calls(), calls, "a failed session has called rustls");
}

/// A conversation in which the call of this number panics. Returns whether there was one.
fn converse(ends: &Ends, number: usize) -> bool {
    fuse::light(number);
    let mut tls = match ends.session() {
        Ok(tls) => tls,
        Err(error) => {
            assert!(error.is_panic() && error.to_string().contains("the fuse has burnt"));
            return true;
        }
    };
    let mut peer = ends.peer();
    let (mut steps, mut said, mut heard, mut ended) = (0, vec![], vec![], false);
    let (mut written, mut answered) = (0, 0);
    while steps < 6 && !fuse::is_burnt() {
        answered += peer.hear(&session::taken(&mut tls)).len();
        if !peer.has_more() && !peer.is_handshaking() {
            steps += 1;
            match steps {
                1 | 3 => (0..3u8).for_each(|n| peer.say(&vec![n; 20_000])),
                2 => peer.update_key(),
                4 => peer.close_notify(),
                5 => tls.close(),
                _ => {}
            }
            if matches!(steps, 1 | 3) {
                (0..3u8).for_each(|n| said.extend_from_slice(&[n; 20_000]));
            }
        }
        session::give(&mut tls, &peer.all());
        let mut to = [0; 1000];
        while let Ok(Some(n)) = tls.read(&mut to) {
            heard.extend_from_slice(&to[..n]);
            if n == 0 {
                ended = true;
                break;
            }
        }
        written += tls.write(&mut &[b'y'; 20_000][..]).unwrap_or(0);
    }
    answered += peer.hear(&session::taken(&mut tls)).len();
    assert!(said.starts_with(&heard) && answered >= written, "{answered} of {written}");
    if fuse::is_burnt() {
        assert_failed(&mut tls, &mut peer, ended);
    } else {
        assert!(heard == said && ended && answered == written && written >= 80_000);
    }
    fuse::is_burnt()
}

#[test]
fn a_panic_at_any_call_is_an_error_of_its_session_alone() {
    for (ends, _) in all() {
        let panics = (1..).take_while(|&number| converse(&ends, number)).count();
        assert!(panics > 30, "only {panics} calls");
    }
}

#[test]
fn data_that_the_session_itself_held_at_a_panic_is_read_first() {
    for (ends, extracts) in all() {
        // A panic at the third record.
        let (mut tls, mut peer) = ends.agreed();
        (1..=4u8).for_each(|n| peer.say(&[n; 10]));
        fuse::light(3);
        session::give(&mut tls, &peer.all());
        let mut to = [0; 100];
        let read = tls.read(&mut to);
        match extracts {
            true => assert_eq!(&to[..read.unwrap().unwrap()], [[1; 10], [2; 10]].as_flattened()),
            false => assert!(is_panic(&read.unwrap_err())), // rustls held it
        }
        assert_failed(&mut tls, &mut peer, false);

        // A panic of a write, before all is read.
        let (mut tls, mut peer) = ends.agreed();
        peer.say(&[1; 10]);
        session::give(&mut tls, &peer.all());
        assert_eq!(tls.read(&mut to[..4]).unwrap(), Some(4));
        fuse::light(1);
        assert!(is_panic(&tls.write(&mut &b"lost"[..]).unwrap_err()));
        peer.say(&[2; 10]);
        session::give(&mut tls, &peer.all());
        if extracts {
            assert_eq!(tls.read(&mut to).unwrap(), Some(6));
        }
        assert_failed(&mut tls, &mut peer, false);
    }
}

/// Our connection over a socket, and what has its peer say a text.
fn open(adapter: Adapter, ends: &Ends) -> (Ours, mpsc::Sender<&'static str>) {
    let (tcp, mut far) = tcp_pair();
    let (say, said) = mpsc::channel::<&str>();
    let (mut peer, role) = (ends.peer(), ends.role);
    thread::spawn(move || {
        let shaken = peer.handshake(&mut far);
        for text in said.iter().take_while(|_| shaken.is_ok()) {
            peer.say(&frame_to(role, TEXT, text));
            let _ = far.write_all(&peer.all());
        }
    });
    (Ours::new(adapter, ends, tcp), say)
}

type Ours = Ws<on_tokio::TlsStream<tokio::net::TcpStream>, blocking::TlsStream<TcpStream>>;

impl Ours {
    fn new(adapter: Adapter, ends: &Ends, tcp: TcpStream) -> Self {
        let (client, server) = (ends.client.clone(), ends.server.clone());
        let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
        let conn = connection(ends.role, &patient());
        match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let io = async_tcp(&runtime, tcp);
                let io = match ends.role {
                    Role::Client => on_tokio::TlsStream::client(io, &target, placed(client)),
                    Role::Server => on_tokio::TlsStream::server(io, placed(server)),
                };
                Self::Tokio(on_tokio::WebSocket::from_parts(io.unwrap(), conn), runtime)
            }
            Adapter::Blocking => {
                let io = match ends.role {
                    Role::Client => blocking::TlsStream::client(tcp, &target, placed(client)),
                    Role::Server => blocking::TlsStream::server(tcp, placed(server)),
                };
                Self::Blocking(blocking::WebSocket::from_parts(io.unwrap(), conn))
            }
        }
    }

    fn hears(&mut self, text: &str) {
        assert_eq!(self.recv().unwrap().unwrap().as_message().as_text(), Some(text));
    }

    fn panics(&mut self) {
        match self.recv() {
            Err(Error::Tls(error)) => assert!(error.is_panic(), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(self.send("lost").is_err());
    }
}

#[test]
fn a_connection_whose_rustls_panics_ends_and_others_of_the_thread_go_on() {
    for (ends, _) in all() {
        for adapter in ADAPTERS {
            fuse::light(None);
            let (mut good, say_good) = open(adapter, &ends);
            let (mut bad, say_bad) = open(adapter, &ends);
            for (ours, say) in [(&mut good, &say_good), (&mut bad, &say_bad)] {
                say.send("one").unwrap();
                ours.hears("one");
            }
            fuse::light(1);
            say_bad.send("two").unwrap();
            bad.panics();

            fuse::light(None);
            let (mut bad, _say) = open(adapter, &ends);
            fuse::light(5); // in the handshake
            bad.panics();

            fuse::light(None);
            say_good.send("two").unwrap();
            good.hears("two");
        }
    }
}

// Two handles of a stream: one is called in the middle of a call of the other.

/// A server's, after its handshake, whose last messages are unwritten.
fn handles() -> ([blocking::TlsStream<Pipe>; 2], Pipe, Hostile) {
    fuse::light(None);
    let ends = Ends::new(&TLS12, Role::Server, true);
    let (pipe, mut peer) = (Pipe::default(), ends.peer());
    let mut tls = blocking::TlsStream::server(pipe.clone(), placed(ends.server.clone())).unwrap();
    while tls.with_session(|tls| tls.is_handshaking()) {
        tls.try_flush().unwrap();
        peer.hear(&pipe.taken());
        pipe.put(&peer.all());
        pipe.amid("write", || Err(io::ErrorKind::WouldBlock.into()));
        tls.try_read(&mut [0]).unwrap_err();
    }
    let other = tls.try_clone().unwrap();
    ([tls, other], pipe, peer)
}

#[test]
fn a_read_that_waits_for_another_handle_has_its_timeout() {
    let ([mut tls, mut other], pipe, _) = handles();
    other.set_read_timeout(Some(std::time::Duration::from_secs(9))).unwrap();
    pipe.amid("read", move || other.read(&mut [0]).map(drop));
    assert_eq!(tls.try_read(&mut [0]).unwrap_err().to_string(), "waits Some(9s)");
}

#[test]
fn a_failed_flush_of_the_handshake_is_repeated_though_another_handle_read_meanwhile() {
    let ([mut tls, mut other], pipe, _) = handles();
    pipe.amid("flush", move || other.try_read(&mut [0]).map(drop));
    tls.try_read(&mut [0]).unwrap_err();
    pipe.amid("flush", || Ok(()));
    tls.try_read(&mut [0]).unwrap_err();
    assert!(pipe.0.borrow().amid.is_none());
}

/// The server's Finished comes last, so nothing is written or flushed after it.
#[test]
fn the_handshake_of_a_client_that_only_reads_ends() {
    fuse::light(None);
    let ends = Ends::new(&TLS12, Role::Client, true);
    let (pipe, mut peer) = (Pipe::default(), ends.peer());
    let (name, config) = ("localhost", ends.client.clone());
    let mut tls = blocking::TlsStream::client(pipe.clone(), name, placed(config)).unwrap();
    for _ in 0..4 {
        tls.try_read(&mut [0]).unwrap_err();
        peer.hear(&pipe.taken());
        pipe.put(&peer.all());
    }
    assert!(tls.with_session(|tls| !tls.is_handshaking() && !tls.is_opening()));
}

#[test]
fn a_panic_while_another_handle_reads_loses_no_data() {
    let ([mut tls, mut other], pipe, mut peer) = handles();
    let below = pipe.clone();
    let read = move || {
        peer.hear(&below.taken());
        peer.say(&[1; 10]);
        below.put(&peer.all());
        assert_eq!(other.try_read(&mut [0; 4])?, 4);
        let io = below.clone();
        let write = move || {
            fuse::light(1);
            assert!(is_panic(&other.try_write(&[io::IoSlice::new(b"lost")]).unwrap_err()));
            io.put(b"ciphertext");
            Ok(())
        };
        below.amid("read", write);
        Ok(())
    };
    pipe.amid("flush", read);
    let mut heard = [0; 10];
    assert_eq!((tls.try_read(&mut heard).unwrap(), heard), (6, [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]));
}

/// Here, because fuzzing has no use for it.
impl Stream for Pipe {
    crate::support::tries::tries!();
    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        Err(io::Error::other(format!("waits {timeout:?}")))
    }
    fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}
