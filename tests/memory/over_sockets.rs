//! What is left of many connections, whatever their ends, over sockets of this machine.
use crate::{harness::*, support::wire::*};
use std::{io::Read, thread, time::Duration};
use testkit::{
    again,
    alloc::{live, uncounted},
};
use tickwire::{CloseCode, Config, Message, Role};

/// How one connection is opened and how it ends, played by both sides.
#[derive(Clone, Copy, Debug)]
enum Way {
    Clean,
    PeerCloses,
    Abort,
    Vanish,
    Violation,
    CloseTimeout,
    Refused,
    NoRequest,
}

const WAYS: [Way; 8] = [
    Way::Clean,
    Way::PeerCloses,
    Way::Abort,
    Way::Vanish,
    Way::Violation,
    Way::CloseTimeout,
    Way::Refused,
    Way::NoRequest,
];

impl Way {
    fn defend(self, door: Door, config: &Config) {
        let mut ws = match door.accept(config) {
            Ok(ws) => ws,
            Err(error) => {
                assert!(matches!(self, Self::Refused | Self::NoRequest), "{self:?}: {error}");
                return;
            }
        };
        let _ = match self {
            Self::Clean | Self::CloseTimeout => ws.close(CloseCode::NORMAL),
            Self::Abort => {
                let _ = ws.sender().feed(Message::Binary(&[1; 5000]));
                ws.sender().abort(CloseCode::GOING_AWAY).unwrap();
                ws.flush()
            }
            _ => ws.recv_event().map(|_| ()).and_then(|()| ws.recv_event().map(|_| ())),
        };
    }

    fn attack(self, io: std::net::TcpStream) {
        let mut foe = Foe::new(Role::Server, io);
        match self {
            Self::Refused => foe.wire("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            Self::NoRequest => foe.wire("GET / HTT"),
            _ => foe.shake(),
        }
        match self {
            Self::Clean => {
                foe.next();
                foe.flood(&masked(CLOSE, ""), 1);
            }
            Self::PeerCloses => drop(foe.flood(&masked(CLOSE, close_body(1001, "")), 1)),
            Self::Violation => drop(foe.flood(&masked(0x83, "x"), 1)),
            Self::CloseTimeout => {
                let _ = foe.io.read_to_end(&mut Vec::new());
            }
            Self::Vanish => return,
            Self::Abort | Self::Refused | Self::NoRequest => {}
        }
        foe.end();
        let _ = foe.io.read_to_end(&mut Vec::new());
    }
}

/// How many files this process has open.
fn open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

// A33
/// 10⁵ of them would use up the ports of this machine; `checks/soak` is for that.
#[test]
fn memory_and_descriptors_return_to_where_they_were_whatever_the_end() {
    const NAME: &str =
        "over_sockets::memory_and_descriptors_return_to_where_they_were_whatever_the_end";
    if std::env::var_os("TICKWIRE_ALONE").is_none() {
        // In a process of its own, since the tests beside open files as well.
        let mut alone = again(NAME);
        let output = alone.env("TICKWIRE_ALONE", "1").arg("--test-threads=1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    // What one of them leaves shows.
    const MANY: usize = 50;
    let config = Config { close_timeout: Duration::from_millis(5), ..patient() };
    for (&adapter, way) in product(ADAPTERS, WAYS) {
        let turn = move |config: &Config, door: &Door, times: usize| {
            for _ in 0..times {
                let (near, far) = uncounted(sockets);
                let foe = uncounted(|| thread::spawn(move || way.attack(far)));
                way.defend(door.beside(near), config);
                uncounted(|| foe.join().unwrap());
            }
        };
        let config = config.clone();
        let defend = move |door: Door| {
            turn(&config, &door, 20);
            let before = (open_files(), live());
            turn(&config, &door, MANY);
            // What the attackers' threads held goes a moment after they were joined.
            let mut files = open_files();
            for _ in 0..500 {
                if files <= before.0 {
                    break;
                }
                uncounted(|| thread::sleep(Duration::from_millis(10)));
                files = open_files();
            }
            (before, (files, live()))
        };
        let ((before, after), (), heap) = duel(adapter, defend, drop);
        let files = (before.0, after.0);
        assert!(after.0 <= before.0, "{adapter:?} {way:?}: descriptors {files:?}");
        let more = after.1 - before.1;
        assert!(more <= 0, "{adapter:?} {way:?}: {more} bytes for {MANY} connections");
        heap.under(format_args!("{adapter:?} {way:?}"), 2 * SMALL);
    }
}
