//! A read that brings the kernel's time of arrival along allocates nothing.
use crate::support::{
    blocking::{conn, ms, tcp_pair},
    wire::{BINARY, unmasked},
};
use std::{io::Write, thread};
use testkit::alloc::allocations;
use tickwire::{Config, Timestamped, blocking};

const ROUNDS: usize = 500;

/// Counts what rounds allocate once the kernel stamps; each says whether it did.
fn assert_none(mut round: impl FnMut() -> bool) {
    while !round() {
        thread::sleep(ms(1));
    }
    for _ in 0..100 {
        round();
    }
    let before = allocations();
    for _ in 0..ROUNDS {
        assert!(round());
    }
    assert_eq!(allocations() - before, 0);
}

#[test]
fn the_time_of_arrival_costs_no_allocation() {
    let config = Config { stamp_reads: true, ..Config::default() };
    let wire = unmasked(BINARY, [7; 64]);
    let (near, mut far) = tcp_pair();
    let near = Timestamped::new(near).unwrap();
    let mut ws = blocking::WebSocket::from_parts(near, conn(false, &config));
    assert_none(|| {
        far.write_all(&wire).unwrap();
        ws.recv_to_reply().unwrap().unwrap().info().arrived.is_some()
    });
}
