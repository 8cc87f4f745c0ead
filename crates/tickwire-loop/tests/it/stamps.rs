//! The kernel's time of arrival.
use crate::common::listening;
use crate::placed::placed;
use std::{
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};
use testkit::PATIENCE;
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Handle, Settings};

/// Both ends are in one loop. Each sends messages to the other until both have had a stamped one.
fn both_ends_get_the_time_of_arrival(door: Door, dial: impl FnOnce(u16) -> Dial) {
    let (mut net, address) = listening::<()>(Settings::default(), door.timestamps(true));
    net.net().dial(dial(address.port()).timestamps(true), ()).unwrap();
    let (began, before) = (Instant::now(), UNIX_EPOCH.elapsed().unwrap());
    let (mut open, mut stamped) = (Vec::<Handle>::new(), Vec::<Handle>::new());
    // The kernel begins to stamp some milliseconds after the first socket of the machine asked.
    while stamped.len() < 2 {
        assert!(began.elapsed() < PATIENCE, "no time of arrival: {stamped:?} of {open:?}");
        net.turn(Duration::from_millis(1), |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => open.push(handle),
            Event::Message { from, receiver, .. } => {
                let info = receiver.info();
                assert!(info.read_at.unwrap() <= net.now());
                if let Some(arrived) = info.arrived
                    && !stamped.contains(&from)
                {
                    assert!(arrived.software + Duration::from_secs(1) > before);
                    stamped.push(from);
                }
            }
            Event::Closed { end, .. } => panic!("{end:?}"),
            _ => {}
        })
        .unwrap();
        if let [one, other] = open[..] {
            net.net().send(one, "stamped").unwrap();
            net.net().send(other, "stamped").unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn config() -> Config {
    Config { stamp_reads: true, ..Config::default() }
}

#[test]
fn a_message_tells_when_it_arrived_and_when_it_was_read() {
    both_ends_get_the_time_of_arrival(Door::new(config()), |port| {
        Dial::to(&format!("ws://127.0.0.1:{port}/")).unwrap().config(config())
    });
}

#[cfg(feature = "rustls")]
#[test]
fn a_message_over_wss_tells_when_it_arrived() {
    let keys = crate::tls::keys(false);
    both_ends_get_the_time_of_arrival(Door::new(config()).tls(placed(keys.server)), |port| {
        let dial = Dial::to(&format!("wss://localhost:{port}/")).unwrap();
        dial.config(config()).tls(placed(keys.client))
    });
}
