//! The recorded time of a read is the time when the read ended, not when it began.
use super::faults;
#[cfg(feature = "rustls")]
use super::placed::placed;
use crate::{Dial, Door, Event, Loop, Settings};
use std::time::Duration;
use tickwire::{Config, handshake::server::Accept};

/// How long each read takes.
const READ: Duration = Duration::from_millis(20);

/// Both ends are in one loop. Each end sends a message to the other.
fn check(door: Door, dial: impl FnOnce(u16) -> Dial) {
    let io_uring = std::env::var_os("TICKWIRE_IO_URING").is_some();
    let mut net = Loop::<()>::new(Settings { io_uring, ..Settings::default() }).unwrap();
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    net.net().dial(dial(address.port()), ()).unwrap();
    faults::slow("read", READ);
    let mut open = Vec::new();
    let mut seen = 0;
    while seen < 2 {
        net.turn(Duration::from_millis(2), |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            // A message that arrives with the handshake has no time of a read. So messages are sent
            // only after both ends are open.
            Event::Open(handle) => {
                open.push(handle);
                if let [one, other] = open[..] {
                    net.send(one, "stamped").unwrap();
                    net.send(other, "stamped").unwrap();
                }
            }
            Event::Message { receiver, .. } => {
                let began = net.inner.clock.now;
                let read_at = receiver.info().read_at.unwrap();
                assert!(read_at >= began + READ && read_at <= net.now());
                seen += 1;
            }
            Event::Closed { end, .. } => panic!("{end:?}"),
            _ => {}
        })
        .unwrap();
    }
}

fn config() -> Config {
    Config { stamp_reads: true, ..Config::default() }
}

#[test]
fn a_read_is_stamped_when_it_is_done() {
    check(Door::new(config()), |port| {
        Dial::to(&format!("ws://127.0.0.1:{port}/")).unwrap().config(config())
    });
}

#[cfg(feature = "rustls")]
#[test]
fn a_read_over_tls_is_stamped_when_it_is_done() {
    let (server, client) = super::tls_configs();
    check(Door::new(config()).tls(placed(server)), |port| {
        let to = format!("wss://localhost:{port}/");
        Dial::to(&to).unwrap().config(config()).tls(placed(client))
    });
}
