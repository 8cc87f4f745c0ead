//! TLS against other programs. Each way in which this crate has it meets each of them, through a
//! relay that cuts the stream anywhere, in a conversation whose every byte is checked:
//!
//! | command | |
//! |---|---|
//! | `tls server DIRECTORY WHO [scripted]` | prints a port for each way; WHO has to come to each, once |
//! | `tls client DIRECTORY WHO [scripted] URL` | goes to WHO, who echoes, in each way |
//! | `tls openssl DIRECTORY` | lines of text with `s_server` and `s_client`, which update their keys |
//!
//! DIRECTORY has `cert.pem` and `key.pem`, for `localhost`. WHO is `scripted` where a script here
//! cuts its data into records of 1 byte to 16 KiB and has it announce its end; nginx and Chromium
//! do neither. A line, ok or FAIL, for each conversation.
mod openssl;
mod relay;
mod talk;

use self::{
    relay::{Relay, Seen},
    talk::{Agreed, Side},
};
use crate::{Adapter, Result, say};
use std::{
    fmt,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    path::PathBuf,
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};
use tickwire::{
    handshake::client::Request,
    tls::{
        Client, Server,
        rustls::{
            CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite,
            SupportedProtocolVersion, Tls13CipherSuite,
            crypto::{CipherSuiteCommon, CryptoProvider, ring},
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
            version::{TLS12, TLS13},
        },
    },
};

/// No conversation takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// How this crate does it.
#[derive(Clone, Copy)]
struct Way {
    by: Adapter,
    /// Of TLS 1.3; without one it is TLS 1.2.
    suite: Option<CipherSuite>,
    /// The configuration lets records be opened and sealed in place.
    extracts: bool,
    max_fragment_size: Option<usize>,
}

/// Each suite in place and through rustls, and TLS 1.2, by either adapter.
fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    let fragments = [None, Some(32), Some(1000)];
    for (i, by) in [Adapter::Tokio, Adapter::Blocking].into_iter().enumerate() {
        for (j, extracts) in [true, false].into_iter().enumerate() {
            for (k, suite) in SUITES.map(Some).into_iter().enumerate() {
                // Each suite, and who drives it, meets another.
                let max_fragment_size = fragments[(i + j + k) % fragments.len()];
                ways.push(Way { by, suite, extracts, max_fragment_size });
            }
        }
        ways.push(Way { by, suite: None, extracts: true, max_fragment_size: None });
    }
    ways
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by;
        let path = if self.in_place() { "in place" } else { "through rustls" };
        match self.suite.and_then(|suite| suite.as_str()) {
            Some(suite) => write!(f, "{by}, {suite}, {path}"),
            None => write!(f, "{by}, TLS 1.2, {path}"),
        }
    }
}

impl Way {
    fn in_place(&self) -> bool {
        self.extracts && self.suite.is_some()
    }

    fn version(&self) -> &'static SupportedProtocolVersion {
        if self.suite.is_some() { &TLS13 } else { &TLS12 }
    }

    /// How many records are sealed under one key. rustls asks for an answer to each of its
    /// KeyUpdates, and takes no more than 32 in a row, which may come while it sends the largest
    /// message.
    fn limit(&self) -> u64 {
        match self.max_fragment_size {
            Some(32) if !self.extracts => 2000,
            Some(_) if !self.extracts => 100,
            _ => 24,
        }
    }

    /// With this suite alone, and that limit.
    fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| match self.suite {
            Some(wanted) => suite.suite() == wanted,
            None => suite.tls13().is_none(),
        });
        for suite in &mut provider.cipher_suites {
            if let Some(tls13) = suite.tls13() {
                *suite = SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                    common: CipherSuiteCommon {
                        suite: tls13.common.suite,
                        hash_provider: tls13.common.hash_provider,
                        confidentiality_limit: self.limit(),
                    },
                    ..*tls13
                })));
            }
        }
        Arc::new(provider)
    }

    fn client(&self, files: &Files) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.cert)?)?;
        let mut config = ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[self.version()])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.max_fragment_size = self.max_fragment_size;
        let config = Client::from(config);
        Ok(if self.extracts { config.in_place() } else { config })
    }

    fn server(&self, files: &Files, tickets: usize) -> Result<Server> {
        let chain = vec![CertificateDer::from_pem_file(&files.cert)?];
        let mut config = ServerConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[self.version()])?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key)?)?;
        config.max_fragment_size = self.max_fragment_size;
        config.send_tls13_tickets = tickets;
        let config = Server::from(config);
        Ok(if self.extracts { config.in_place() } else { config })
    }

    /// What the records on the wire have to show.
    fn judge(&self, ours: &Seen, theirs: &Seen, scripted: bool) -> Result<String> {
        let tls13 = self.suite.is_some();
        let announced = theirs.is_announced(tls13);
        if !ours.is_announced(tls13) {
            return Err(format!("our end is not announced: {ours:?}").into());
        }
        if scripted && !(announced && ours.is_calm() && theirs.is_calm()) {
            return Err(format!("the end is not clean: {theirs:?}, {ours:?}").into());
        }
        // Of plaintext; what stands around it in TLS 1.2 depends on the suite.
        let overhead = if tls13 { 17 } else { 16 };
        let [ours_most, theirs_least, theirs_most] =
            [ours.longest, theirs.shortest, theirs.longest].map(|n| n.saturating_sub(overhead));
        if tls13 {
            // A fragment's size includes the header of a record. A flight of the handshake is one
            // as well.
            let most = self.max_fragment_size.map_or(1 << 14, |n| n - 5);
            if ours_most > most {
                return Err(
                    format!("a record of {ours_most} bytes where {most} are allowed").into()
                );
            }
            if ours.updates < 3 {
                return Err(format!("{} KeyUpdates of ours", ours.updates).into());
            }
            if scripted && (theirs_least, theirs_most) != (1, 1 << 14) {
                return Err(format!("records of {theirs_least} to {theirs_most} bytes").into());
            }
        }
        let end = if announced { "" } else { ", their end not announced" };
        Ok(format!(
            "{} records of theirs, {theirs_least} to {theirs_most} B; \
             {} of ours, to {ours_most} B, {} KeyUpdates{end}",
            theirs.records, ours.records, ours.updates
        ))
    }
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What the command says; the result is whether all went well.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let (what, directory, rest) = match words {
        [what, directory, rest @ ..] => (*what, PathBuf::from(directory), rest),
        _ => return Err("no directory".into()),
    };
    let files = Files { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    match (what, rest) {
        ("server", [who, rest @ ..]) => serve(&files, who, rest == ["scripted"]),
        ("client", [who, "scripted", url]) => visit(&files, who, true, url),
        ("client", [who, url]) => visit(&files, who, false, url),
        ("openssl", []) => openssl::run(&files),
        _ => Err("neither server, client nor openssl".into()),
    }
}

/// A line for a conversation.
fn tell(what: impl fmt::Display, outcome: Result<String>) -> bool {
    match &outcome {
        Ok(seen) => say(format_args!("ok   {what} ({seen})")),
        Err(error) => say(format_args!("FAIL {what}: {error}")),
    }
    outcome.is_ok()
}

/// Whether records take the path that they should.
fn check(way: &Way, agreed: Agreed) -> Result<()> {
    match agreed.in_place == way.in_place() {
        true => Ok(()),
        false => Err(format!("{agreed:?}").into()),
    }
}

/// A connection in each way, taken from whoever comes to its port.
struct Door {
    way: Way,
    listener: TcpListener,
    relay: Relay,
}

impl Door {
    fn open(way: Way, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let relay = Relay::to(listener.local_addr()?, seed)?;
        Ok(Self { way, listener, relay })
    }

    fn port(&self) -> u16 {
        self.relay.address.port()
    }

    fn serve(self, files: &Files, scripted: bool) -> Result<String> {
        let config = self.way.server(files, 2)?;
        let (tcp, _) = self.listener.accept()?;
        let (ws, agreed) = talk::open(self.way.by, tcp, Side::Server(config))?;
        check(&self.way, agreed)?;
        talk::echo(ws)?;
        let [theirs, ours] = self.relay.seen()?;
        self.way.judge(&ours, &theirs, scripted)
    }
}

fn serve(files: &Files, who: &str, scripted: bool) -> Result<bool> {
    let mut doors = Vec::new();
    for (way, seed) in ways().into_iter().zip(1..) {
        doors.push(Door::open(way, seed)?);
    }
    let ports: Vec<_> = doors.iter().map(|door| door.port().to_string()).collect();
    say(format_args!("listening on {}", ports.join(" ")));
    let (tx, served) = channel();
    thread::scope(|scope| {
        let mut missing: Vec<_> = doors.iter().map(|door| door.way.to_string()).collect();
        for door in doors {
            let tx = tx.clone();
            scope.spawn(move || tx.send((door.way.to_string(), door.serve(files, scripted))));
        }
        let mut good = true;
        while !missing.is_empty() {
            let Ok((way, outcome)) = served.recv_timeout(PATIENCE) else {
                say(format_args!("FAIL {who} does not come, or not to an end: {missing:?}"));
                say("done");
                std::process::exit(1);
            };
            missing.retain(|other| *other != way);
            good &= tell(format_args!("server of {who}: {way}"), outcome);
        }
        say("done");
        Ok(good)
    })
}

fn visit(files: &Files, who: &str, scripted: bool, url: &str) -> Result<bool> {
    let mut good = true;
    for (way, seed) in ways().into_iter().zip(100..) {
        let config = way.client(files)?;
        let visit = || visit_in(way, seed, config.clone(), url);
        let outcome = visit().and_then(|([ours, theirs], _)| way.judge(&ours, &theirs, scripted));
        good &= tell(format_args!("client of {who}: {way}"), outcome);
        if seed == 100 {
            // Its ticket, if it gave one that serves.
            let outcome = visit().and_then(|(_, resumed)| match resumed {
                true => Ok("by its ticket".into()),
                false => Err("a whole handshake".into()),
            });
            good &= tell(format_args!("client of {who}: {way}, resumed"), outcome);
        }
    }
    Ok(good)
}

/// What passed, of ours and of theirs, and whether the session was resumed.
fn visit_in(way: Way, seed: u64, config: Client, url: &str) -> Result<([Seen; 2], bool)> {
    let request = Request::new(url)?;
    let target = request.target();
    let mut all = (target.host(), target.port()).to_socket_addrs()?;
    let relay = Relay::to(all.find(SocketAddr::is_ipv4).ok_or("no such server")?, seed)?;
    let tcp = TcpStream::connect(relay.address)?;
    let (ws, agreed) = talk::open(way.by, tcp, Side::Client(&request, config))?;
    check(&way, agreed)?;
    talk::converse(ws)?;
    Ok((relay.seen()?, agreed.resumed))
}
