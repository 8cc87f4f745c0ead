//! Names that are dialed: shared lookups, and lookups without an answer.
use super::{Server, faults, server};
use crate::{Dial, Handle};
use std::{io::ErrorKind, time::Duration};
use tickwire::Config;

/// Dials a name, then runs a round. The lookup lasts until `release`, then fails. No name server is
/// asked.
fn dial_stuck(server: &mut Server, n: usize) -> Handle {
    server.fault(format!("resolve stuck{n}").leak(), 0, ErrorKind::NotFound);
    let config = Config { handshake_timeout: Duration::MAX, ..Config::default() };
    let dial = Dial::to(&format!("ws://stuck{n}/")).unwrap().config(config);
    let handle = server.net.net().dial(dial, ()).unwrap();
    server.round().unwrap();
    handle
}

fn lookups(server: &Server) -> usize {
    server.net.inner.resolver.lookups.len()
}

#[test]
fn dials_of_a_name_share_its_lookup() {
    let mut server = server();
    faults::hold("resolve");
    (0..10).for_each(|_| server.dial_itself("localhost"));
    server.round().unwrap();
    faults::release();
    server.until(|server| server.opened.len() == 20);
    assert_eq!((server.made("resolve localhost"), lookups(&server)), (1, 0));
    server.dial_itself("localhost");
    server.until(|server| server.opened.len() == 22);
    assert_eq!(server.made("resolve localhost"), 2);
}

/// Attack A103: each dial of a stuck name is removed, and the name is dialed again at once.
#[test]
fn names_that_never_resolve_and_are_redialed_cost_other_names_nothing() {
    let mut server = server();
    faults::hold("resolve stuck");
    for _ in 0..5 {
        let dials: Vec<_> = (0..32).map(|n| dial_stuck(&mut server, n)).collect();
        assert!(dials.into_iter().all(|handle| server.net.net().remove(handle).is_some()));
    }
    assert_eq!((server.made("spawn"), lookups(&server)), (32, 32));
    server.dial_itself("localhost");
    server.until(|server| server.opened.len() == 2);
    assert_eq!((server.made("spawn"), lookups(&server)), (33, 32));
    faults::release();
    server.until(|server| lookups(server) == 0);
}

#[test]
fn names_and_threads_are_bounded_and_a_lookup_that_has_not_begun_ends_with_its_dials() {
    let mut server = server();
    faults::hold("resolve stuck");
    let mut dials: Vec<_> = (0..1024).map(|n| dial_stuck(&mut server, n)).collect();
    dials.push(dial_stuck(&mut server, 7)); // a name in lookup accepts a further dial
    assert_eq!((server.made("spawn"), lookups(&server), server.ends.len()), (64, 1024, 0));
    server.dial_itself("localhost");
    server.until(|server| !server.ends.is_empty());
    assert_eq!(server.ends, ["failed: resource busy, resolving localhost"]);
    for handle in dials {
        server.net.net().remove(handle);
    }
    assert_eq!(lookups(&server), 64);
    faults::release();
    server.dial_itself("localhost");
    server.until(|server| (server.opened.len(), lookups(server)) == (2, 0));
}

#[test]
fn a_dial_that_found_no_room_for_its_name_fails_although_a_later_dial_of_the_name_finds_some() {
    let mut server = server();
    faults::hold("resolve stuck");
    let dials: Vec<_> = (0..1024).map(|n| dial_stuck(&mut server, n)).collect();
    server.dial_itself("localhost");
    server.net.net().remove(dials[1023]);
    server.dial_itself("localhost");
    server.until(|server| !server.ends.is_empty());
    assert_eq!(server.ends, ["failed: resource busy, resolving localhost"]);
    faults::release();
    server.until(|server| server.opened.len() == 2);
}

#[test]
fn a_lookup_has_a_deadline_of_its_own() {
    let mut server = server();
    faults::hold("resolve stuck");
    dial_stuck(&mut server, 1);
    assert_eq!(server.ends.len(), 0);
    server.net.inner.clock.epoch -= Duration::from_secs(31);
    server.until(|server| server.ends.len() == 1);
    dial_stuck(&mut server, 1); // nothing can end the call of the resolver
    server.until(|server| server.ends.len() == 2);
    assert_eq!(server.ends, ["failed: timed out, resolving stuck1"; 2]);
    assert_eq!((server.made("spawn"), lookups(&server)), (1, 1));
    faults::release();
    server.until(|server| lookups(server) == 0);
    dial_stuck(&mut server, 1);
    assert_eq!(server.made("spawn"), 2);
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
