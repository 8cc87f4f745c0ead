//! Records without content, of each type, before each record of a conversation: from before the
//! handshake to behind the close_notify. The session goes on, ends or fails, and rustls never
//! panics.
use crate::support::placed::placed;
use crate::support::{
    hostile::Hostile,
    tls::{Authority, Identity, product},
    wire::sampled,
};
use std::{io::ErrorKind, sync::Arc};
use tickwire::{
    Role,
    tls::{
        Session, TlsError,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
            version::{TLS12, TLS13},
        },
    },
};

const KINDS: [u8; 4] = [20, 21, 22, 23];

/// The lengths of the records of data that the peer says. Without the last one, they are what
/// rustls may hold.
const DATA: [usize; 4] = [1, 2, (16 << 10) - 3, 1];

const LATE: usize = usize::MAX;

/// When the peer has nothing more to say.
const LAST: usize = 8;

/// Our end of a conversation.
struct Ours {
    version: &'static SupportedProtocolVersion,
    role: Role,
    /// How many bytes of ciphertext come at once: with `LATE`, all those behind the handshake,
    /// before we read any.
    most: usize,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    roots: RootCertStore,
    /// The peer's, as a server.
    identity: Identity,
}

/// How a conversation went.
#[derive(Debug)]
struct Outcome {
    /// How many records the peer has said, without those that were slipped in.
    records: usize,
    heard: usize,
    /// The end of reading: in order, an error, or none.
    end: Option<Result<(), TlsError>>,
}

impl Ours {
    fn new(version: &'static SupportedProtocolVersion, role: Role, in_place: bool) -> Self {
        let authority = Authority::new();
        let (mut client, mut server) =
            ((*authority.client()).clone(), (*authority.server()).clone());
        client.enable_secret_extraction = in_place;
        server.enable_secret_extraction = in_place;
        let (client, server) = (client.into(), server.into());
        let (roots, identity) = (authority.roots(), authority.issue(&["localhost"]));
        Self { version, role, most: 4096, client, server, roots, identity }
    }

    fn meet(&self) -> (Session, Hostile) {
        match self.role {
            Role::Client => {
                let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
                let chain = &self.identity.chain;
                let peer = Hostile::server(self.version, chain.clone(), self.identity.private());
                (Session::client(placed(self.client.clone()), &target).unwrap(), peer)
            }
            Role::Server => {
                let peer = Hostile::client(self.version, self.roots.clone());
                (Session::server(placed(self.server.clone())).unwrap(), peer)
            }
        }
    }

    /// A conversation in which `slip` says what comes before each of the peer's records, and we
    /// close before the record of this number.
    fn converse(
        &self,
        close_at: Option<usize>,
        mut slip: impl FnMut(usize, &mut Hostile) -> Vec<u8>,
    ) -> Outcome {
        let (mut tls, mut peer) = self.meet();
        let mut outcome = Outcome { records: 0, heard: 0, end: None };
        let (mut steps, mut late) = (0, vec![]);
        for _ in 0..100 {
            let wire = tls.outgoing().to_vec();
            tls.advance(wire.len());
            peer.hear(&wire);
            if !peer.has_more() && !peer.is_handshaking() {
                steps += 1;
                match steps {
                    1..=4 => {
                        peer.say(&vec![b'x'; DATA[steps - 1]]);
                        if steps == 1 {
                            peer.update_key();
                        }
                    }
                    5 => peer.say_record(21, &[1, 90]), // user_canceled, a warning
                    6 => peer.close_notify(),
                    7 => peer.say_plainly(vec![0; 5000]),
                    _ => {}
                }
            }
            if close_at == Some(outcome.records) {
                tls.close();
            }
            if peer.has_more() || steps == LAST {
                late.extend(slip(outcome.records, &mut peer));
            }
            if let Some(record) = peer.next() {
                late.extend(record);
                outcome.records += 1;
            }
            if self.most != LATE || steps == 0 || steps == LAST {
                outcome.deliver(&mut tls, &std::mem::take(&mut late), self.most);
            }
            let _ = tls.write(&mut &b"an answer"[..]);
            if steps == LAST {
                break;
            }
        }
        outcome.check(&mut tls, close_at.is_some());
        outcome
    }
}

impl Outcome {
    /// Gives ciphertext to the session, and reads all that comes of it.
    fn deliver(&mut self, tls: &mut Session, wire: &[u8], most: usize) {
        for wire in wire.chunks(most.min(4096)) {
            tls.spare_mut()[..wire.len()].copy_from_slice(wire);
            tls.commit(wire.len());
            if most != LATE {
                self.read(tls);
            }
        }
        self.read(tls);
    }

    fn read(&mut self, tls: &mut Session) {
        let mut to = [0; 1000];
        while self.end.is_none() {
            match tls.read(&mut to) {
                Ok(Some(0)) => self.end = Some(Ok(())),
                Ok(Some(n)) => {
                    assert!(to[..n].iter().all(|&byte| byte == b'x'));
                    self.heard += n;
                }
                Ok(None) => break,
                Err(error) => self.end = Some(Err(TlsError::inside(&error).unwrap())),
            }
        }
    }

    /// What must hold of any conversation.
    fn check(&self, tls: &mut Session, closed: bool) {
        match &self.end {
            None => assert!(tls.read(&mut [0]).unwrap().is_none()),
            Some(Ok(())) => {
                assert_eq!(self.heard, DATA.iter().sum::<usize>());
                assert_eq!(tls.read(&mut [0]).unwrap(), Some(0));
            }
            Some(Err(error)) => {
                // A bad record behind our close_notify, in debug builds of rustls.
                let second_alert = closed && error.to_string().contains("!self.sent_fatal_alert");
                assert!(!error.is_panic() || second_alert, "{error}");
                let again = tls.read(&mut [0]).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::InvalidData);
                assert_eq!(TlsError::inside(&again).unwrap().to_string(), error.to_string());
                assert!(tls.write(&mut &b"late"[..]).is_err());
            }
        }
        tls.close();
        tls.end_of_stream();
        assert_eq!(tls.read(&mut [0]).is_ok(), matches!(self.end, Some(Ok(()))));
    }
}

/// Every type, sealed and not, before every record. There is one, while we read late; and one, or
/// more than are allowed in a row, while we close at some record. Every third conversation is held,
/// with another one first in each test; with `TESTS=all`, each.
fn each_is_survived(version: &'static SupportedProtocolVersion, role: Role, in_place: bool) {
    let mut ours = Ours::new(version, role, in_place);
    let plain = ours.converse(None, |_, _| vec![]);
    assert!(matches!(plain.end, Some(Ok(()))), "{plain:?}");
    let nth = sampled(1, 3);
    let first = usize::from(version == &TLS13) + usize::from(role == Role::Server);
    let (mut run, mut held, mut failed) = (0, 0, 0);
    for (at, kind) in product(0..=plain.records, KINDS) {
        for sealed in [false, true] {
            for (count, most, closes) in
                [(1, LATE, false), [(1, 100, true), (33, LATE, true)][run / 2 % 2]]
            {
                run += 1;
                if (run + first) % nth > 0 {
                    continue;
                }
                held += 1;
                ours.most = most;
                let close_at = closes.then_some(run / 3 % (plain.records + 1));
                let outcome = ours.converse(close_at, |number, peer| match number == at {
                    true => (0..count).flat_map(|_| peer.record(sealed, kind, &[])).collect(),
                    false => vec![],
                });
                failed += usize::from(matches!(outcome.end, Some(Err(_))));
            }
        }
    }
    assert!(run > 150 && failed > held / 4 && failed < held, "{failed} of {held}");
}

#[test]
fn empty_records_panic_no_server_in_place() {
    each_is_survived(&TLS13, Role::Server, true);
}

#[test]
fn empty_records_panic_no_server_through_rustls() {
    each_is_survived(&TLS13, Role::Server, false);
}

#[test]
fn empty_records_panic_no_client_in_place() {
    each_is_survived(&TLS13, Role::Client, true);
}

#[test]
fn empty_records_panic_no_client_through_rustls() {
    each_is_survived(&TLS13, Role::Client, false);
}

#[test]
fn empty_records_panic_no_server_of_tls_1_2() {
    each_is_survived(&TLS12, Role::Server, false);
}

#[test]
fn empty_records_panic_no_client_of_tls_1_2() {
    each_is_survived(&TLS12, Role::Client, false);
}

/// By rustls' unbuffered connection.
#[test]
fn empty_records_panic_no_server_of_tls_1_2_that_may_take_the_keys() {
    each_is_survived(&TLS12, Role::Server, true);
}

#[test]
fn empty_records_panic_no_client_of_tls_1_2_that_may_take_the_keys() {
    each_is_survived(&TLS12, Role::Client, true);
}
