//! A session of TLS without I/O: what its records cost, and what it holds while it waits.
use crate::support::placed::placed;
use crate::support::tls::Authority;
use std::io::Read;
use testkit::alloc::{allocations, live};
use tickwire::tls::{
    Client, Server, Session,
    rustls::{ClientConfig, ServerConfig},
};

fn carry(from: &mut Session, to: &mut Session) {
    while from.has_outgoing() {
        let n = from.outgoing().read(to.spare_mut()).unwrap();
        to.commit(n);
        from.advance(n);
    }
}

/// Reads all that has come, as a loop does before it waits.
fn drain(session: &mut Session) -> usize {
    let (mut to, mut all) = ([0; 1000], 0);
    while let Some(n) = session.read(&mut to).unwrap() {
        all += n;
    }
    all
}

pub(crate) type Configs = (Client, Server);

pub(crate) fn configs() -> Configs {
    let authority = Authority::new();
    (placed(authority.client()), placed(authority.server()))
}

/// Both ends after the handshake, and the tickets of TLS.
fn agreed((client, server): &Configs) -> (Session, Session) {
    let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let mut client = Session::client(client.clone(), &target).unwrap();
    let mut server = Session::server(server.clone()).unwrap();
    for _ in 0..4 {
        carry(&mut client, &mut server);
        assert_eq!(drain(&mut server), 0);
        carry(&mut server, &mut client);
        assert_eq!(drain(&mut client), 0);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

fn echo(client: &mut Session, server: &mut Session, len: usize) {
    say(client, server, len);
    say(server, client, len);
}

fn say(from: &mut Session, to: &mut Session, len: usize) {
    let plain = &[7; 16 << 10][..len];
    assert_eq!(from.write(&mut &plain[..]).unwrap(), len);
    carry(from, to);
    assert_eq!(drain(to), len);
}

#[test]
fn records_cost_no_allocation() {
    let (mut client, mut server) = agreed(&configs());
    for len in [1, 64, 1000, 16 << 10] {
        echo(&mut client, &mut server, len);
        let before = allocations();
        (0..100).for_each(|_| echo(&mut client, &mut server, len));
        assert_eq!(allocations() - before, 0, "{len} bytes");
    }
}

#[test]
fn a_session_that_waits_holds_no_buffers() {
    let configs = configs();
    let mut all: Vec<_> = (0..4).map(|_| agreed(&configs)).collect();
    all.iter_mut().for_each(|(client, server)| echo(client, server, 16 << 10));
    for asks in [false, true] {
        let before = live();
        let more = Vec::from_iter((0..20).map(|_| {
            let (mut client, mut server) = agreed(&configs);
            echo(&mut client, &mut server, 16 << 10);
            if asks {
                // The stream, which has nothing.
                assert!(server.spare_mut().len() >= 16 << 10);
                server.commit(0);
            }
            (client, server)
        }));
        let each = (live() - before) / 20;
        assert!(each < 12 << 10, "two ends hold {each} bytes");
        drop(more);
    }
}

#[test]
fn a_client_hello_that_is_not_whole_is_held_once() {
    // 60,000 bytes of 65,535, in records.
    let hello = [&[1, 0, 0xff, 0xfb][..], &[0; 60_000 - 4]].concat();
    let records = hello.chunks(1 << 14).flat_map(|part| {
        let [hi, lo] = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1, hi, lo][..], part].concat()
    });
    let records: Vec<u8> = records.collect();
    let server = Authority::new().server();
    for in_place in [true, false] {
        let mut server = ServerConfig::clone(&server);
        server.enable_secret_extraction = in_place;
        let server = placed(server);
        let half = || {
            let mut session = Session::server(server.clone()).unwrap();
            let mut wire = &records[..];
            while !wire.is_empty() {
                let n = wire.read(session.spare_mut()).unwrap();
                session.commit(n);
                assert_eq!(drain(&mut session), 0);
            }
            session
        };
        // It stays, so that no other gets its buffer from the thread's pool.
        let first = half();
        let before = live();
        let all = Vec::from_iter((0..10).map(|_| half()));
        let each = (live() - before) / 10;
        let limits = told("60,000 bytes of a longer ClientHello");
        assert_eq!(each >> 10, limits[usize::from(in_place)], "{each} bytes");
        drop((first, all));
    }
}

/// What each of ten sessions holds more once `fill` has had it and its peer, on a thread without
/// spare buffers.
fn filled(configs: Configs, of_client: bool, fill: fn(&mut Session, &mut Session)) -> i64 {
    let measured = std::thread::spawn(move || {
        let mut pairs = Vec::from_iter((0..20).map(|_| agreed(&configs)));
        let mut each = 0;
        for ten in pairs.chunks_mut(10) {
            let before = live(); // the first ten get what the handshakes have left over
            for (client, server) in ten {
                if of_client { fill(client, server) } else { fill(server, client) }
            }
            each = (live() - before) / 10;
        }
        each
    });
    measured.join().unwrap()
}

fn part_of_a_record(to: &mut Session, from: &mut Session) {
    assert_eq!(from.write(&mut &[7; 16 << 10][..]).unwrap(), 16 << 10);
    let wire = from.outgoing().to_vec();
    from.advance(wire.len());
    let mut wire = &wire[..wire.len() - 1];
    while !wire.is_empty() {
        let n = wire.read(to.spare_mut()).unwrap();
        to.commit(n);
        assert_eq!(drain(to), 0);
    }
}

fn waiting_ciphertext(from: &mut Session, _: &mut Session) {
    while from.outgoing().len() < (64 << 10) - 1000 {
        from.write(&mut &[7; 900][..]).unwrap();
    }
    while from.write(&mut &[7; 100_000][..]).unwrap() > 0 {}
}

/// The table below "TLS" in docs/LIMITS.md, in KiB: through rustls, then in place.
fn told(row: &str) -> [i64; 2] {
    let page = include_str!("../../docs/LIMITS.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {row}"))).expect(row);
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    [1, 2].map(|column| cells[column].strip_suffix(" KiB").unwrap().parse().unwrap())
}

#[test]
fn a_part_of_a_record_and_waiting_ciphertext_hold_what_limits_says() {
    let authority = Authority::new();
    let parts = told("a record of 16 KiB that lacks its last byte");
    let waiting = told("ciphertext that the peer does not read");
    for (in_place, part, waiting) in [(false, parts[0], waiting[0]), (true, parts[1], waiting[1])] {
        let mut client = ClientConfig::clone(&authority.client());
        let mut server = ServerConfig::clone(&authority.server());
        client.enable_secret_extraction = in_place;
        server.enable_secret_extraction = in_place;
        let configs: Configs = (placed(client), placed(server));
        for of_client in [false, true] {
            assert_eq!(filled(configs.clone(), of_client, part_of_a_record) >> 10, part);
            assert_eq!(filled(configs.clone(), of_client, waiting_ciphertext) >> 10, waiting);
            let asked = filled(configs.clone(), of_client, |to, _| {
                let _ = to.spare_mut();
            });
            assert_eq!(asked >> 10, 32);
        }
    }
    let page = include_str!("../../docs/TLS.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let says = format!("a record holds {} KiB more, or {} KiB in place", parts[0], parts[1]);
    assert!(page.contains(&says), "docs/TLS.md does not say: {says}");
    assert!(page.contains("holds a buffer of 32 KiB even if nothing has arrived"));
}
