//! TLS panics inside rustls, or would have: only its connection ends.
use crate::common::{Running, echo_at, frame, next, open, telling};
use crate::placed::placed;
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};
use testkit::tls::Identity;
use tickwire::{
    Config,
    tls::rustls::{
        SupportedProtocolVersion,
        version::{TLS12, TLS13},
    },
};
use tickwire_loop::{Dial, Door, Event, Settings};

#[allow(dead_code)]
#[path = "../../../../tests/support/fuse.rs"]
mod fuse;
#[allow(dead_code)]
#[path = "../../../../tests/support/hostile.rs"]
mod hostile;
#[allow(unused_imports)]
#[path = "../../../../tests/support/provider.rs"]
mod provider;

use hostile::Hostile;

type Version = &'static SupportedProtocolVersion;

fn localhost() -> Identity {
    Identity::self_signed(&["localhost"])
}

/// An echo server, whose provider panics when its fuse is lit.
fn echo(identity: &Identity, version: Version, in_place: bool) -> Running<()> {
    let mut tls = fuse::server(version, identity.chain.clone(), identity.private());
    tls.enable_secret_extraction = in_place;
    echo_at(Settings::default(), Door::new(Config::default()).tls(placed(Arc::new(tls))))
}

/// A peer of a server, whose handshake of TLS is done.
struct Peer {
    tls: Hostile,
    tcp: TcpStream,
    heard: Vec<u8>,
}

impl Peer {
    fn connect(identity: &Identity, version: Version, to: &Running<()>) -> Self {
        let mut tcp = to.raw();
        let mut tls = Hostile::client(version, identity.roots());
        tls.handshake(&mut tcp).unwrap();
        Self { tls, tcp, heard: vec![] }
    }

    /// Behind the opening handshake too.
    fn open(identity: &Identity, version: Version, to: &Running<()>) -> Self {
        open(Self::connect(identity, version, to))
    }

    fn is_echoed(&mut self) {
        self.write_all(&frame(b"abc")).unwrap();
        let mut back = [0; 5];
        self.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"\x82\x03abc");
    }
}

impl Read for Peer {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.heard.is_empty() {
            self.heard = self.tls.hear_from(&mut self.tcp)?;
        }
        let n = (&self.heard[..]).read(to)?;
        self.heard.drain(..n);
        Ok(n)
    }
}

impl Write for Peer {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.tls.say(from);
        self.tcp.write_all(&self.tls.all())?;
        Ok(from.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// TLS 1.3 and 1.2, in place (or by rustls' unbuffered connection) and through rustls.
fn kinds() -> impl Iterator<Item = (Version, bool)> {
    [(&TLS13, true), (&TLS13, false), (&TLS12, true), (&TLS12, false)].into_iter()
}

/// A101. Empty records of each type, and all that rustls holds, a byte more, a close_notify, and
/// bytes that are no records: in one write.
fn attack(peer: &mut Hostile, kind: u8) -> Vec<u8> {
    let mut wire = peer.record(true, kind, b"");
    peer.say(&[b'x'; (16 << 10) + 1]);
    peer.close_notify();
    wire.extend(peer.all());
    wire.extend([0; 5000]);
    wire
}

#[test]
fn empty_records_around_a_close_notify_end_their_connection_alone() {
    let identity = localhost();
    for (version, in_place) in kinds() {
        let server = echo(&identity, version, in_place);
        let mut good = Peer::open(&identity, version, &server);
        for (kind, upgraded) in
            [20, 21, 22, 23].into_iter().flat_map(|kind| [(kind, false), (kind, true)])
        {
            let mut bad = match upgraded {
                true => Peer::open(&identity, version, &server),
                false => Peer::connect(&identity, version, &server),
            };
            let wire = attack(&mut bad.tls, kind);
            let _ = bad.tcp.write_all(&wire);
            let _ = bad.tcp.read_to_end(&mut Vec::new());
            good.is_echoed();
        }
        server.wait_for(|counts| counts.accepted_now == 1);
    }
}

#[test]
fn a_server_s_empty_records_end_the_connection_that_was_dialed_alone() {
    let identity = localhost();
    for (version, in_place) in kinds() {
        let server = echo(&identity, version, in_place);
        let (client, told) = telling(Door::new(Config::default()), |net, event| match event {
            Event::Open(handle) => {
                net.send(handle, "hello").unwrap();
                None
            }
            Event::Message { message, .. } => Some(format!("{message:?}")),
            Event::Closed { end, .. } => Some(format!("{end:?}")),
            _ => None,
        });
        let mut tls = fuse::client(version, identity.roots());
        tls.enable_secret_extraction = in_place;
        let tls = Arc::new(tls);
        for kind in [20, 21, 22, 23] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let bad =
                Dial::to(&format!("wss://localhost:{}/", listener.local_addr().unwrap().port()));
            let bad = bad.unwrap().tls(placed(tls.clone()));
            let mut peer = Hostile::server(version, identity.chain.clone(), identity.private());
            let hostile = thread::spawn(move || {
                let (mut tcp, _) = listener.accept().unwrap();
                peer.handshake(&mut tcp).unwrap();
                let wire = attack(&mut peer, kind);
                let _ = tcp.write_all(&wire);
                let _ = tcp.read_to_end(&mut Vec::new());
            });
            client.call(move |net| net.dial(bad, 1).map(drop).unwrap());
            let end = next(&told);
            assert!(end.starts_with("Failed(") && !end.contains("panicked"), "{end}");
            hostile.join().unwrap();
        }
        let good = Dial::to(&format!("wss://localhost:{}/", server.address.port())).unwrap();
        let good = good.tls(placed(tls));
        client.call(move |net| net.dial(good, 2).map(drop).unwrap());
        assert_eq!(next(&told), "Text(\"hello\")");
    }
}

#[test]
fn a_panic_inside_rustls_ends_its_connection_alone() {
    let identity = localhost();
    for (version, in_place) in kinds() {
        let server = echo(&identity, version, in_place);
        let light = |left: Option<usize>| server.call(move |_| fuse::light(left));
        light(None);
        let mut good = Peer::open(&identity, version, &server);
        let mut bad = Peer::open(&identity, version, &server);
        light(Some(1));
        bad.write_all(&frame(b"never delivered")).unwrap();
        assert!(bad.read(&mut [0; 10]).is_err());
        server.wait_for(|counts| counts.open == 1);

        for left in 1..=5 {
            // In the handshake.
            light(Some(left));
            let mut tcp = server.raw();
            let mut tls = Hostile::client(version, identity.roots());
            assert!(tls.handshake(&mut tcp).is_err());
            server.wait_for(|counts| counts.accepted_now == 1);
        }
        light(None);
        good.is_echoed();
        Peer::open(&identity, version, &server).is_echoed();
    }
}
