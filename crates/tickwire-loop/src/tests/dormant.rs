//! Which connections become dormant.
use super::Server;
use crate::{Settings, stage::Stage};
use tickwire::Config;

/// Returns whether each connection is dormant, in the order in which they opened.
fn dormant(server: &Server) -> Vec<bool> {
    let slots = &server.net.inner.slots;
    let stage = |handle| &slots.get(handle).unwrap().stage;
    server.opened.iter().map(|handle| matches!(stage(*handle), Stage::Dormant)).collect()
}

#[test]
fn the_connection_that_became_whole_first_becomes_dormant_first() {
    let settings = Settings { max_whole: 2, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    let mut first = server.peer();
    let mut second = server.peer();
    server.echoes(&mut first);
    assert_eq!(dormant(&server), [false, false]);
    let _third = server.peer();
    assert_eq!(dormant(&server), [true, false, false]);
    server.echoes(&mut second);
    assert_eq!(dormant(&server), [true, false, false]);
    server.echoes(&mut first);
    assert_eq!(dormant(&server), [false, true, false], "it is served, so it is whole");
}

#[test]
fn a_slot_is_in_the_queue_once_however_often_it_is_used_again() {
    let mut server = Server::new(Settings::default(), Config::default());
    for _ in 0..10 {
        drop(server.peer());
        server.until(|server| server.net.net().counts().open == 0);
    }
    assert_eq!(server.net.inner.queues.whole.len(), 1);
}

/// Each connection is active in turn. With `max_whole` = 1, the queue keeps only the connection
/// that became whole last.
#[test]
fn connections_that_were_whole_become_dormant_again_although_all_are_active() {
    for (max_whole, connections) in [(1, 6), (4, 12)] {
        let settings = Settings { max_whole, ..Settings::default() };
        let mut server = Server::new(settings, Config::default());
        let mut peers: Vec<_> = (0..connections).map(|_| server.peer()).collect();
        for _ in 0..20 {
            for peer in &mut peers {
                server.echoes(peer);
            }
            let count = dormant(&server).iter().filter(|dormant| **dormant).count();
            assert_eq!(count, connections - max_whole);
        }
    }
}
