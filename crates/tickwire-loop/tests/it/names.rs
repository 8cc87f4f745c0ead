//! A name server that never says anything of a name's IPv6 addresses, in namespaces of network and
//! mounts of their own: a dial that waits for less than the system's resolver fails, and a later
//! one connects.
use crate::common::chosen;
use std::{net::TcpListener, thread, time::Duration};
use testkit::{PATIENCE, namespaces::with_names};
use tickwire::{Config, blocking};
use tickwire_loop::{Dial, End, Event, Loop, Settings};

const TEST: &str = "names::a_name_whose_ipv6_answer_is_lost_connects_after_some_dials";

#[test]
fn a_name_whose_ipv6_answer_is_lost_connects_after_some_dials() {
    with_names(TEST, inside);
}

fn inside() {
    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let url = format!("ws://never.loop.test:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| blocking::accept(stream.unwrap(), &Config::default()).map(drop));
        }
    });
    let mut net = Loop::new(chosen(Settings::default())).unwrap();
    // The resolver waits for a second and more.
    let config = Config { handshake_timeout: Duration::from_millis(700), ..Config::default() };
    let mut failures = Vec::new();
    let mut is_open = false;
    while !is_open {
        assert!(failures.len() < 100, "it never connects");
        let before = failures.len();
        net.net().dial(Dial::to(&url).unwrap().config(config.clone()), ()).unwrap();
        while !is_open && failures.len() == before {
            net.turn(PATIENCE, |_, event| match event {
                Event::Open(_) => is_open = true,
                Event::Closed { end: End::Failed(error), .. } => failures.push(error.to_string()),
                _ => {}
            })
            .unwrap();
        }
    }
    println!("connects by dial {}", failures.len() + 1);
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|error| error == "timed out, resolving never.loop.test"));
}
