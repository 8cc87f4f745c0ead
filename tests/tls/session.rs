//! A session alone, with the core on top and no I/O: bytes are carried from one end to the other by
//! hand.
use crate::support::placed::placed;
use crate::support::tls::{Authority, is_in_place};
use crate::support::wire::bytes;
use bytes::Buf;
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};
use testkit::Rng;
use tickwire::{
    CloseCode, Config, Connection, Ending, Error, OwnedMessage, Report, Step, SystemEntropy,
    handshake::{
        Progress,
        client::{self, Request},
        server::{self, Accept},
    },
    tls::{
        BadCertificate, Session,
        rustls::{self, ClientConfig, ClientConnection, ServerConfig, version::TLS12},
    },
};

// The two ends.

/// Bytes under way in one direction.
#[derive(Default)]
struct Wire {
    bytes: VecDeque<u8>,
    ended: bool,
    /// The most that a read gives, and a write takes.
    cut: usize,
}

/// As `Session::read`.
fn read(tls: &mut [Session], wire: &mut Wire, to: &mut [u8]) -> io::Result<Option<usize>> {
    let Some((first, below)) = tls.split_first_mut() else {
        let n = wire.bytes.len().min(wire.cut).min(to.len());
        wire.bytes.read_exact(&mut to[..n]).unwrap();
        return Ok((n > 0 || wire.ended).then_some(n));
    };
    loop {
        if let Some(n) = first.read(to)? {
            return Ok(Some(n));
        }
        match read(below, wire, first.spare_mut())? {
            Some(0) => first.end_of_stream(),
            Some(n) => first.commit(n),
            None => {
                first.commit(0);
                return Ok(None);
            }
        }
    }
}

/// As `Session::write`, and on to the wire.
fn write(tls: &mut [Session], wire: &mut Wire, from: &mut impl Buf) -> io::Result<usize> {
    let Some((first, below)) = tls.split_first_mut() else {
        let n = from.chunk().len().min(wire.cut);
        wire.bytes.extend(&from.chunk()[..n]);
        from.advance(n);
        return Ok(n);
    };
    let taken = first.write(from)?;
    flush(first, below, wire)?;
    Ok(taken)
}

/// All ciphertext of this session.
fn flush(session: &mut Session, below: &mut [Session], wire: &mut Wire) -> io::Result<()> {
    loop {
        match write(below, wire, &mut session.outgoing())? {
            0 => return Ok(()),
            n => session.advance(n),
        }
    }
}

#[allow(clippy::large_enum_variant)]
enum Stage {
    Dialing(client::Handshake),
    Accepting(server::Handshake),
    Open(Connection),
}

/// The core over sessions of TLS, of which the last one is next to the wire.
struct End {
    stage: Option<Stage>,
    tls: Vec<Session>,
    came: Vec<OwnedMessage>,
    echoes: bool,
    shut: bool,
}

impl End {
    fn client(tls: Vec<Session>) -> Self {
        let request = Request::new("wss://localhost/").unwrap();
        let entropy = SystemEntropy::new().unwrap();
        let stage = Stage::Dialing(client::Handshake::new(&request, &Config::default(), entropy));
        Self { stage: Some(stage), tls, came: vec![], echoes: false, shut: false }
    }

    fn server(tls: Vec<Session>) -> Self {
        let stage = Stage::Accepting(server::Handshake::new(&Config::default()));
        Self { stage: Some(stage), tls, came: vec![], echoes: true, shut: false }
    }

    fn conn(&mut self) -> &mut Connection {
        match &mut self.stage {
            Some(Stage::Open(conn)) => conn,
            _ => panic!("the opening handshake is not done"),
        }
    }

    /// One turn. Whether it read or wrote anything.
    fn turn(&mut self, from: &mut Wire, to: &mut Wire) -> io::Result<bool> {
        let before = (from.bytes.len(), to.bytes.len());
        let Self { stage, tls, .. } = self;
        let read = match stage.take().unwrap() {
            Stage::Dialing(mut handshake) => {
                let n = write(tls, to, &mut handshake.outgoing())?;
                handshake.advance(n);
                let n = read(tls, from, handshake.reading.spare_mut())?;
                handshake.reading.commit(n.unwrap_or(0));
                *stage = Some(match handshake.step().unwrap() {
                    Progress::Complete => Stage::Open(handshake.into_connection().unwrap()),
                    Progress::Partial => Stage::Dialing(handshake),
                });
                n
            }
            Stage::Accepting(mut handshake) => {
                let n = read(tls, from, handshake.reading.spare_mut())?;
                handshake.reading.commit(n.unwrap_or(0));
                *stage = Some(match handshake.step().unwrap() {
                    Progress::Complete => Stage::Open(handshake.accept(Accept::default()).unwrap()),
                    Progress::Partial => Stage::Accepting(handshake),
                });
                write(tls, to, &mut &[][..])?;
                n
            }
            Stage::Open(mut conn) => {
                let n = read(tls, from, conn.receiver_mut().spare_mut())?;
                match n {
                    Some(0) => conn.receiver_mut().end_of_stream(),
                    Some(n) => conn.receiver_mut().commit(n),
                    None => {}
                }
                self.step(&mut conn);
                while write(&mut self.tls, to, &mut conn.sender_mut().outgoing())? > 0 {}
                if conn.ending() == Ending::ShutDown {
                    conn.report(Report::ShutDown);
                    self.shut_down(to)?;
                }
                let over = conn.ending() == Ending::Done;
                self.stage = Some(Stage::Open(conn));
                n.filter(|n| *n > 0 || !over)
            }
        };
        Ok(read.is_some() || (from.bytes.len(), to.bytes.len()) != before)
    }

    fn step(&mut self, conn: &mut Connection) {
        loop {
            match conn.step() {
                Ok(Step::Message) => {
                    let (rx, tx) = conn.split_mut();
                    if self.echoes {
                        tx.feed(rx.message().unwrap()).unwrap();
                    }
                    self.came.push(rx.take_message().unwrap());
                }
                Ok(Step::NeedInput | Step::Closed) => return,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Announces the end in each session, the outermost one last, and ends the stream.
    fn shut_down(&mut self, to: &mut Wire) -> io::Result<()> {
        let mut tls = &mut self.tls[..];
        while let Some((first, below)) = tls.split_first_mut() {
            first.close();
            first.close(); // once
            flush(first, below, to)?;
            tls = below;
        }
        to.ended = true;
        self.shut = true;
        Ok(())
    }
}

struct Pair {
    client: End,
    server: End,
    up: Wire,
    down: Wire,
}

impl Pair {
    fn new(client: Vec<Session>, server: Vec<Session>, cut: usize) -> Self {
        let wire = || Wire { cut, ..Wire::default() };
        let (client, server) = (End::client(client), End::server(server));
        Self { client, server, up: wire(), down: wire() }
    }

    /// Both, until neither has anything to do.
    fn run(&mut self) {
        let Self { client, server, up, down } = self;
        let mut quiet = 0; // a turn that ends a handshake is quiet
        while quiet < 3 {
            let busy = client.turn(down, up).unwrap() | server.turn(up, down).unwrap();
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }

    /// Messages there and back, and an end in order.
    fn converse(&mut self, lengths: &[usize]) {
        self.run();
        let all: Vec<OwnedMessage> = lengths.iter().map(|&len| bytes(len).into()).collect();
        for message in &all {
            self.client.conn().sender_mut().feed(message.as_message()).unwrap();
            self.run();
        }
        for _ in 0..100 {
            self.client.conn().sender_mut().feed("many").unwrap();
        }
        self.run();
        for end in [&mut self.client, &mut self.server] {
            assert!(end.came[..all.len()] == all[..]);
            let many = &end.came[all.len()..];
            assert!(
                many.len() == 100
                    && many.iter().all(|text| text.as_message().as_text() == Some("many"))
            );
        }
        self.client.conn().sender_mut().close(CloseCode::NORMAL).unwrap();
        self.run();
        for end in [&mut self.client, &mut self.server] {
            assert!(end.shut && end.conn().ending() == Ending::Done);
            assert!(end.conn().closed().unwrap().clean);
        }
    }
}

// Configurations.

fn configs() -> (ClientConfig, ServerConfig) {
    let authority = Authority::new();
    (authority.client().as_ref().clone(), authority.server().as_ref().clone())
}

fn by_tls_1_2() -> (ClientConfig, ServerConfig) {
    let authority = Authority::new();
    let builder = ClientConfig::builder_with_protocol_versions(&[&TLS12]);
    let mut client = builder.with_root_certificates(authority.roots()).with_no_client_auth();
    client.enable_secret_extraction = is_in_place();
    (client, authority.server().as_ref().clone())
}

fn sessions((client, server): (ClientConfig, ServerConfig)) -> (Session, Session) {
    let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let client = Session::client(placed(Arc::new(client)), &target).unwrap();
    (client, Session::server(placed(Arc::new(server))).unwrap())
}

/// All that each has to say to the other, until both have nothing more. The first failure of each.
fn settle(one: &mut Session, other: &mut Session) -> [Option<io::Error>; 2] {
    let mut failures = [None, None];
    for _ in 0..10 {
        carry(one, other);
        failures[1] = failures[1].take().or(other.read(&mut [0; 1]).err());
        carry(other, one);
        failures[0] = failures[0].take().or(one.read(&mut [0; 1]).err());
    }
    failures
}

fn carry(from: &mut Session, to: &mut Session) {
    let wire = taken(from);
    give(to, &wire);
}

pub(super) fn taken(session: &mut Session) -> Vec<u8> {
    let wire = session.outgoing().to_vec();
    session.advance(wire.len());
    assert!(!session.has_outgoing() && session.outgoing().is_empty());
    wire
}

pub(super) fn give(session: &mut Session, mut wire: &[u8]) {
    while !wire.is_empty() {
        let n = wire.read(session.spare_mut()).unwrap();
        session.commit(n);
    }
}

/// After the handshake.
fn agreed() -> (Session, Session) {
    let (mut client, mut server) = sessions(configs());
    assert!(client.is_handshaking() && server.is_handshaking());
    assert!(settle(&mut client, &mut server).iter().all(Option::is_none));
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert!(client.in_place() == is_in_place() && server.in_place() == is_in_place());
    (client, server)
}

fn say(session: &mut Session, plain: &[u8]) -> Vec<u8> {
    let mut left = plain;
    assert_eq!(session.write(&mut left).unwrap(), plain.len());
    assert!(left.is_empty());
    taken(session)
}

/// All plaintext that there is, read by read, and what comes then.
fn hear(session: &mut Session, room: usize) -> (Vec<u8>, io::Result<Option<usize>>) {
    let (mut all, mut to) = (vec![], vec![0; room]);
    loop {
        match session.read(&mut to) {
            Ok(Some(n @ 1..)) => all.extend_from_slice(&to[..n]),
            last => return (all, last),
        }
    }
}

/// The failure behind so much plaintext, which is the same for ever, and stops writing.
fn failure(session: &mut Session, before: &[u8]) -> io::Error {
    let (plain, last) = hear(session, 100);
    assert_eq!(plain, before);
    let error = last.unwrap_err();
    for _ in 0..2 {
        let again = session.read(&mut [0; 100]).unwrap_err();
        assert_eq!((again.kind(), again.to_string()), (error.kind(), error.to_string()));
    }
    error
}

fn rustls_error(error: io::Error) -> rustls::Error {
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    error.downcast().unwrap()
}

// Conversations.

#[test]
fn rustls_is_at_hand_where_it_has_the_records() {
    let (client, server) = agreed();
    for session in [client, server] {
        assert_eq!(session.connection().is_some(), !is_in_place());
    }
}

#[test]
fn the_core_alone_converses_over_tls_under_any_cut() {
    for cut in [1, 2, 3, 5, 7, 19, 22, 1000, 16_401, usize::MAX] {
        let (client, server) = sessions(configs());
        let mut pair = Pair::new(vec![client], vec![server], cut);
        let long = if cut < 100 { 1000 } else { 300_000 };
        pair.converse(&[0, 1, 125, 126, 65, 16_383.min(long), 16_384.min(long), long]);
    }
}

#[test]
fn it_does_whichever_end_opens_in_place_and_by_tls_1_2() {
    for (near, far) in [(true, false), (false, true), (true, true), (false, false)] {
        let (mut client, mut server) = configs();
        client.enable_secret_extraction = near;
        server.enable_secret_extraction = far;
        let (client, server) = sessions((client, server));
        let mut pair = Pair::new(vec![client], vec![server], 1000);
        pair.converse(&[1, 5000, 300_000]);
        assert_eq!((pair.client.tls[0].in_place(), pair.server.tls[0].in_place()), (near, far));

        let (mut client, mut server) = by_tls_1_2();
        client.enable_secret_extraction = near;
        server.enable_secret_extraction = far;
        let (client, server) = sessions((client, server));
        let mut pair = Pair::new(vec![client], vec![server], 1000);
        pair.converse(&[1, 5000, 300_000]);
        assert!(!pair.client.tls[0].in_place() && !pair.server.tls[0].in_place());
        assert_eq!(
            pair.client.tls[0].protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_2.into())
        );
    }
}

/// As docs/TLS.md says: `placed` of these tests takes rustls' flag for the word, the crate does not.
#[test]
fn rustls_flag_alone_opens_nothing_in_place() {
    let (mut client, mut server) = configs();
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let mut client = Session::client(client, &target).unwrap();
    let mut server = Session::server(server).unwrap();
    assert!(settle(&mut client, &mut server).iter().all(Option::is_none));
    assert!(!client.is_handshaking() && !client.in_place() && !server.in_place());
}

/// In rustls' unbuffered connection, early data that nobody reads would stop the handshake.
#[test]
fn a_server_that_accepts_early_data_leaves_its_records_to_rustls_and_drops_that_data() {
    let (mut client, mut server) = configs();
    (client.enable_early_data, server.max_early_data_size) = (true, 1000);
    let (client, server) = (Arc::new(client), Arc::new(server));
    for resumes in [false, true] {
        let mut near =
            ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
        assert_eq!(near.early_data().is_some(), resumes);
        if let Some(mut early) = near.early_data() {
            early.write_all(b"early").unwrap();
        }
        let (mut near, mut far) =
            (Session::new(near), Session::server(placed(server.clone())).unwrap());
        for _ in 0..3 {
            carry(&mut near, &mut far);
            assert_eq!(far.read(&mut [0; 9]).unwrap(), None);
            carry(&mut far, &mut near);
            assert_eq!(near.read(&mut [0; 9]).unwrap(), None);
        }
        let Some(rustls::Connection::Client(client)) = near.connection() else { panic!() };
        assert_eq!(client.is_early_data_accepted(), resumes);
        assert!(!far.is_handshaking() && !far.in_place() && far.connection().is_some());
        let wire = say(&mut near, b"after it");
        give(&mut far, &wire);
        assert_eq!(hear(&mut far, 100).0, b"after it");
    }
}

#[test]
fn sessions_stack() {
    for cut in [1, 1000, usize::MAX] {
        let (inner, outer) = (sessions(configs()), sessions(configs()));
        let (client, server) = (vec![inner.0, outer.0], vec![inner.1, outer.1]);
        Pair::new(client, server, cut).converse(&[1, 1000, if cut == 1 { 2 } else { 200_000 }]);
    }
}

// Limits.

#[test]
fn nothing_is_taken_before_the_handshake_is_over_and_no_more_than_may_wait_after_it() {
    let (mut client, mut server) = sessions(configs());
    let plain = bytes(1 << 20);
    for session in [&mut client, &mut server] {
        let mut from = &plain[..];
        assert!(matches!(session.write(&mut from), Ok(0)) && from.len() == plain.len());
    }
    settle(&mut client, &mut server);
    let (mut from, mut back) = (&plain[..], vec![]);
    while !from.is_empty() {
        let mut waits = 0;
        while client.write(&mut from).unwrap() > 0 {
            waits = client.outgoing().len();
        }
        assert!(waits < 140_000, "{waits} bytes wait");
        carry(&mut client, &mut server);
        let (more, last) = hear(&mut server, 5000);
        assert!(!more.is_empty() && matches!(last, Ok(None)));
        back.extend(more);
    }
    assert!(back == plain);
}

#[test]
fn of_several_slices_no_more_is_taken_than_may_wait() {
    let plain = bytes(160_000);
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| &plain[i * 40_000..][..40_000]);
    for configs in [configs(), by_tls_1_2()] {
        let (mut client, mut server) = sessions(configs);
        settle(&mut client, &mut server);
        let (mut from, mut back) = (Buf::chain(Buf::chain(a, b), Buf::chain(c, d)), vec![]);
        while from.has_remaining() {
            assert!((1..=64 << 10).contains(&client.write(&mut from).unwrap()));
            carry(&mut client, &mut server);
            back.extend(hear(&mut server, 5000).0);
        }
        assert!(back == plain);
    }
}

#[test]
fn bytes_that_are_committed_before_the_others_are_read_wait() {
    let (mut client, mut server) = agreed();
    let plain = bytes(200_000);
    for part in plain.chunks(10_000) {
        let wire = say(&mut client, part);
        give(&mut server, &wire);
    }
    client.close();
    carry(&mut client, &mut server);
    for room in [1, 7, 5000] {
        let mut to = vec![0; room];
        assert!(matches!(server.read(&mut to), Ok(Some(n)) if n == room));
        assert!(matches!(server.read(&mut []), Ok(Some(0))), "no room is not the end");
    }
    let (rest, last) = hear(&mut server, 3000);
    assert!(rest == plain[5008..] && matches!(last, Ok(Some(0))));
}

/// One end, with what it has sent and received.
struct Any {
    tls: Session,
    sent: Vec<u8>,
    came: Vec<u8>,
}

impl Any {
    /// A call, whichever.
    fn act(&mut self, to: &mut Self, rng: &mut Rng) {
        match rng.below(8) {
            0 => self.say(rng.below(20_000)),
            1 | 2 => self.send(to, rng.below(2)),
            3 => self.send(to, rng.below(20_000)),
            4 | 5 => self.hear(rng.below(20_000)),
            6 => {
                let n = self.tls.outgoing().len() + self.tls.spare_mut().len();
                assert!(n >= 4096);
            }
            _ => self.tls.commit(0),
        }
    }

    fn say(&mut self, len: usize) {
        let plain = bytes(self.sent.len() + len).split_off(self.sent.len());
        let taken = self.tls.write(&mut &plain[..]).unwrap();
        self.sent.extend_from_slice(&plain[..taken]);
    }

    fn send(&mut self, to: &mut Self, most: usize) {
        let out = self.tls.outgoing();
        let n = (&out[..most.min(out.len())]).read(to.tls.spare_mut()).unwrap();
        to.tls.commit(n);
        self.tls.advance(n);
    }

    fn hear(&mut self, room: usize) {
        let mut to = vec![0; room + 1];
        let n = self.tls.read(&mut to).unwrap().unwrap_or(0);
        self.came.extend_from_slice(&to[..n]);
    }
}

#[test]
fn calls_in_any_order_lose_nothing_and_double_nothing() {
    for seed in 1..=12u64 {
        let mut rng = Rng::new(seed);
        let any = |tls| Any { tls, sent: vec![], came: vec![] };
        let (client, server) = sessions(configs());
        let (mut client, mut server) = (any(client), any(server));
        for _ in 0..400 {
            client.act(&mut server, &mut rng);
            server.act(&mut client, &mut rng);
        }
        client.tls.close();
        server.tls.close();
        while client.tls.has_outgoing() || server.tls.has_outgoing() {
            client.send(&mut server, 30_000);
            server.hear(30_000);
            server.send(&mut client, 30_000);
            client.hear(30_000);
        }
        for end in [&mut client, &mut server] {
            let (rest, last) = hear(&mut end.tls, 30_000);
            end.came.extend(rest);
            assert!(matches!(last, Ok(Some(0))));
        }
        assert!(client.came == server.sent && server.came == client.sent, "seed {seed}");
        for one in [&mut client, &mut server] {
            one.tls.end_of_stream();
            assert!(matches!(one.tls.read(&mut [0]), Ok(Some(0))), "seed {seed}");
        }
    }
}

#[test]
#[should_panic(expected = "committed more than was spare")]
fn more_than_there_is_room_for_cannot_be_committed() {
    let (_, mut server) = sessions(configs());
    let room = server.spare_mut().len();
    server.commit(room + 1);
}

#[test]
#[should_panic(expected = "advanced beyond what is outgoing")]
fn more_than_is_outgoing_cannot_be_advanced() {
    let (mut client, _) = sessions(configs());
    let out = client.outgoing().len();
    client.advance(out + 1);
}

// Ends.

#[test]
fn a_certificate_that_is_not_trusted_fails_both_ends_and_the_alert_says_why() {
    let (client, _) = configs();
    let (_, server) = configs();
    let (mut client, mut server) = sessions((client, server));
    let [near, far] = settle(&mut client, &mut server);
    let Error::Tls(error) = Error::from(near.unwrap()) else { panic!("not TLS") };
    assert_eq!(error.certificate(), Some(BadCertificate::NotTrusted));
    let far = rustls_error(far.unwrap());
    assert!(matches!(far, rustls::Error::AlertReceived(_)), "{far}");
    for session in [&mut client, &mut server] {
        let mut from = &b"secret"[..];
        let error = session.write(&mut from).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidData && from == b"secret");
        failure(session, b"");
        session.close();
        assert!(!session.has_outgoing(), "our alert was the last");
    }
}

#[test]
fn bytes_that_are_not_tls_are_refused_with_an_alert() {
    let (_, mut server) = sessions(configs());
    give(&mut server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let error = rustls_error(failure(&mut server, b""));
    assert!(matches!(error, rustls::Error::InvalidMessage(_)), "{error}");
    assert_eq!(taken(&mut server)[..3], [21, 3, 3]);
}

#[test]
fn a_close_notify_ends_one_side_and_what_is_behind_it_is_ignored() {
    let (mut client, mut server) = agreed();
    let last = say(&mut client, b"last");
    client.close();
    client.close(); // once
    let mut from = &b"late"[..];
    let error = client.write(&mut from).unwrap_err();
    assert!(error.kind() == ErrorKind::BrokenPipe && from == b"late");
    let end = taken(&mut client);
    give(&mut server, &[&last[..], &end[..], b"whatever"].concat());
    let (plain, ended) = hear(&mut server, 3);
    assert!(plain == b"last" && matches!(ended, Ok(Some(0))));
    give(&mut server, b"and more");
    server.end_of_stream();
    assert!(matches!(server.read(&mut [0; 10]), Ok(Some(0))) && server.check().is_ok());
    // The other side goes on.
    let answer = say(&mut server, b"answer");
    server.close();
    give(&mut client, &answer);
    carry(&mut server, &mut client);
    let (plain, ended) = hear(&mut client, 100);
    assert!(plain == b"answer" && matches!(ended, Ok(Some(0))));
}

#[test]
fn a_bad_record_behind_both_ways_to_close_is_an_error() {
    for configs in [configs(), by_tls_1_2()] {
        let (mut client, mut server) = sessions(configs);
        settle(&mut client, &mut server);
        for session in [&mut client, &mut server] {
            session.close();
            taken(session);
            give(session, &[&[23, 3, 3, 0, 20][..], &bytes(20)].concat());
            failure(session, b"");
        }
    }
}

crate::by_rustls::once_more! {
    rustls_is_at_hand_where_it_has_the_records
    the_core_alone_converses_over_tls_under_any_cut
    it_does_whichever_end_opens_in_place_and_by_tls_1_2
    rustls_flag_alone_opens_nothing_in_place
    a_server_that_accepts_early_data_leaves_its_records_to_rustls_and_drops_that_data
    sessions_stack
    nothing_is_taken_before_the_handshake_is_over_and_no_more_than_may_wait_after_it
    of_several_slices_no_more_is_taken_than_may_wait
    bytes_that_are_committed_before_the_others_are_read_wait
    calls_in_any_order_lose_nothing_and_double_nothing
    #[should_panic(expected = "committed more than was spare")]
    more_than_there_is_room_for_cannot_be_committed
    #[should_panic(expected = "advanced beyond what is outgoing")]
    more_than_is_outgoing_cannot_be_advanced
    a_certificate_that_is_not_trusted_fails_both_ends_and_the_alert_says_why
    bytes_that_are_not_tls_are_refused_with_an_alert
    a_close_notify_ends_one_side_and_what_is_behind_it_is_ignored
    a_bad_record_behind_both_ways_to_close_is_an_error
}
