//! Names that are dialed: shared lookups, and lookups without an answer.
use super::{Server, faults, server};
use crate::{Dial, Handle};
use std::{io::ErrorKind, time::Duration};
use tickwire::Config;

/// Dials a name, then runs a round. The lookup lasts until `release`, then fails. No name server is
/// asked.
fn dial_stuck(server: &mut Server, n: usize, limit: Duration) -> Handle {
    server.fault(format!("resolve stuck{n}").leak(), 0, ErrorKind::NotFound);
    let config = Config { handshake_timeout: limit, ..Config::default() };
    let dial = Dial::to(&format!("ws://stuck{n}/")).unwrap().config(config);
    let handle = server.net.net().dial(dial, ()).unwrap();
    server.round().unwrap();
    handle
}

#[test]
fn dials_of_a_name_share_its_lookup() {
    let mut server = server();
    faults::hold("resolve");
    (0..10).for_each(|_| server.dial_itself("localhost"));
    server.round().unwrap();
    faults::release();
    server.until(|server| server.opened.len() == 20);
    assert_eq!(server.made("resolve"), 1);
    server.dial_itself("localhost");
    server.until(|server| server.opened.len() == 22);
    assert_eq!(server.made("resolve"), 2);
}

/// As when the answer takes 15 s, because one of its packets is lost, and each dial waits for 3 s.
#[test]
fn a_name_is_found_by_the_dial_after_the_one_that_began_its_lookup() {
    let mut server = server();
    faults::hold("resolve");
    let late = |server: &mut Server| {
        let config = Config { handshake_timeout: Duration::ZERO, ..Config::default() };
        let url = format!("ws://localhost:{}/", server.address.port());
        server.net.net().dial(Dial::to(&url).unwrap().config(config), ()).unwrap();
        let ended = server.ends.len() + 1;
        server.until(|server| server.ends.len() == ended);
    };
    (0..3).for_each(|_| late(&mut server));
    assert_eq!(server.ends, ["failed: timed out, resolving localhost"; 3]);
    server.dial_itself("localhost");
    server.round().unwrap();
    faults::release();
    server.until(|server| server.opened.len() == 2);
    assert_eq!(server.made("resolve"), 1);
}

/// Attack A103: each dial of a stuck name is removed, and the name is dialed again at once.
#[test]
fn names_that_never_resolve_and_are_redialed_cost_other_names_nothing() {
    let mut server = server();
    faults::hold("resolve stuck");
    for _ in 0..5 {
        let dials: Vec<_> = (0..32).map(|n| dial_stuck(&mut server, n, Duration::MAX)).collect();
        assert!(dials.into_iter().all(|handle| server.net.net().remove(handle).is_some()));
    }
    server.dial_itself("localhost");
    server.until(|server| server.opened.len() == 2);
    server.until(|server| server.made("resolve") == 33);
    server.dial_itself("localhost");
    server.until(|server| server.opened.len() == 4);
    assert_eq!(server.made("resolve"), 34);
    faults::release();
}

#[test]
fn names_and_threads_are_bounded_and_a_dial_that_finds_no_room_fails() {
    let mut server = server();
    faults::hold("resolve stuck");
    let dials: Vec<_> = (0..1024).map(|n| dial_stuck(&mut server, n, Duration::MAX)).collect();
    dial_stuck(&mut server, 7, Duration::MAX); // a name that is looked up has room for more dials
    server.until(|server| server.made("resolve") == 64);
    server.dial_itself("localhost");
    server.until(|server| !server.ends.is_empty());
    assert_eq!(server.ends, ["failed: resource busy, resolving localhost"]);
    for handle in dials {
        server.net.net().remove(handle);
    }
    server.dial_itself("localhost"); // there is room again, and the next free thread is its
    faults::release();
    server.until(|server| server.opened.len() == 2);
    assert_eq!(server.made("resolve"), 65);
}

/// The thread of the lookup goes on only after the echoes. The loop's thread may not resolve names.
#[test]
fn a_slow_lookup_does_not_delay_other_connections() {
    let mut server = server();
    let mut peer = server.peer();
    faults::hold("resolve");
    server.dial_itself("localhost");
    for _ in 0..20 {
        server.echoes(&mut peer);
    }
    assert_eq!(server.opened.len(), 1);
    faults::release();
    server.until(|server| server.opened.len() == 3);
}

#[test]
fn an_address_keeps_the_zone_that_the_lookup_found() {
    let mut server = server();
    server.net.net().dial(Dial::to("ws://[fe80::1%251]:9/").unwrap(), ()).unwrap();
    server.until(|server| !server.ends.is_empty());
    assert!(server.ends[0].contains("[fe80::1%1]:9"), "{:?}", server.ends);
}
