//! Dialing a name that has several addresses, by both adapters that dial. The tests pass the
//! addresses themselves, because they cannot choose what the operating system's resolver returns.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::proto::config::Config;
use ::tokio::{runtime::Builder, time::sleep};
use std::{
    io::{Read, Write},
    net::TcpListener,
    os::fd::AsRawFd,
    string::ToString,
    sync::Mutex,
    time::Instant,
};

use testkit::{
    PATIENCE,
    names::resolver,
    tasks::silent,
    threads::{bounded, closed, spawn},
};

const HERE: &str = "127.0.0.1:0";

fn request() -> Request {
    Request::new("ws://several.example/").unwrap()
}

/// Dials with each adapter. Returns the address that each adapter has reached.
fn dialed(addresses: &[SocketAddr], limit: Duration) -> [io::Result<SocketAddr>; 2] {
    let request = request();
    let dial = Dial::new(&request);
    let attempts = || dial.attempts(dial.target(), Ok(addresses.to_vec()), limit).unwrap();
    let blocking = dial.blocking_tcp_to_any(attempts(), Instant::now());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let tokio = runtime
        .block_on(async { dial.tcp_to_any(attempts(), ::tokio::time::Instant::now()).await });
    [
        blocking.and_then(|tcp| {
            assert!(tcp.nodelay()?);
            tcp.peer_addr()
        }),
        tokio.and_then(|tcp| tcp.peer_addr()),
    ]
}

#[test]
fn a_silent_address_costs_its_head_start_and_a_closed_one_nothing() {
    let (silent, _full) = silent();
    let listener = TcpListener::bind(HERE).unwrap();
    let open = listener.local_addr().unwrap();
    let (closed, _held) = closed();
    for reached in dialed(&[silent, closed, open], Duration::from_secs(30)) {
        assert_eq!(reached.unwrap(), open);
    }
    for reached in dialed(&[closed, open, silent], Duration::MAX) {
        assert_eq!(reached.unwrap(), open);
    }
}

#[test]
fn the_error_names_each_address_and_why_it_failed() {
    let (silent, _full) = silent();
    let (closed, _held) = closed();
    for refused in dialed(&[closed], Duration::from_secs(30)) {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(error.to_string(), format!("{source}, dialing {closed}"));
    }
    for late in dialed(&[silent, closed], Duration::from_secs(1)) {
        let error = late.unwrap_err();
        is_late(&error, &format!("; timed out, dialing {silent}"));
        let text = error.to_string();
        assert!(text.contains(&format!("refused (os error 111), dialing {closed};")), "{text}");
    }
    for nowhere in dialed(&[], Duration::from_secs(30)) {
        let error = nowhere.unwrap_err().to_string();
        assert!(error.ends_with(", resolving several.example:80"), "{error}");
    }
}

/// The hook fails, which is for a person to mend, before or behind an address that refused, which
/// passes.
#[test]
fn of_several_failures_the_one_that_passes_gives_the_kind_and_the_source() {
    let ends = [closed(), closed()];
    let found = ends.each_ref().map(|(address, _)| *address);
    let request = request();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for (wrong, kind) in [
        ([0, 1], io::ErrorKind::PermissionDenied),
        ([1, 2], io::ErrorKind::ConnectionRefused),
        ([0, 2], io::ErrorKind::ConnectionRefused),
    ] {
        let count = Mutex::new(0..);
        let dial = Dial::new(&request).prepare(|_| {
            match wrong.contains(&count.lock().unwrap().next().unwrap()) {
                true => Err(io::ErrorKind::PermissionDenied.into()),
                false => Ok(()),
            }
        });
        let attempts = || dial.attempts(dial.target(), Ok(found.to_vec()), Duration::MAX).unwrap();
        let blocking = dial.blocking_tcp_to_any(attempts(), Instant::now()).unwrap_err();
        *count.lock().unwrap() = 0..;
        let tokio = dial.tcp_to_any(attempts(), ::tokio::time::Instant::now());
        for error in [blocking, runtime.block_on(tokio).unwrap_err()] {
            assert_eq!(error.kind(), kind, "{error}");
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), kind);
            assert!(found.iter().all(|to| error.to_string().contains(&format!("dialing {to}"))));
        }
    }
}

#[test]
fn attempts_that_are_late_are_named_and_no_other_begins() {
    let request = request();
    let dial = Dial::new(&request).attempt_delay(Duration::from_secs(4));
    let [one, other] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| text.parse().unwrap());
    let s = Duration::from_secs;
    let mut attempts = dial.attempts(dial.target(), Ok(vec![one, other]), s(3)).unwrap();
    assert_eq!(attempts.next(s(0)).unwrap(), Step::Connect(one));
    // The limit of 3 s passes before the delay of 4 s, so the second attempt does not begin.
    assert_eq!(attempts.next(s(1)).unwrap(), Step::Wait(Some(s(3))));
    let error = attempts.next(s(3)).unwrap_err();
    assert_eq!(error.to_string(), format!("timed out, dialing {one}"));
}

/// Checks that the error is a timeout, and that its text ends with `doing`: what took too long, and
/// for which address or name.
#[track_caller]
fn is_late(error: &io::Error, doing: &str) {
    let text = error.to_string();
    assert!(error.kind() == io::ErrorKind::TimedOut && text.ends_with(doing), "{text}");
}

#[test]
fn a_lookup_that_takes_all_of_the_time_names_what_was_looked_up() {
    let config = Config { handshake_timeout: Duration::ZERO, ..Config::default() };
    let request = Request::new("ws://localhost/").unwrap();
    let dial = Dial::new(&request);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for late in [
        dial.blocking_connect(&config).map(drop).unwrap_err(),
        runtime.block_on(dial.connect(&config)).map(drop).unwrap_err(),
    ] {
        let Error::Io(error) = late else { panic!("{late}") };
        is_late(&error, ", resolving localhost:80");
    }
}

#[test]
fn a_connect_that_is_dropped_in_the_middle_closes_its_attempts() {
    let (silent, _held) = silent();
    let target = |fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let begun = Mutex::new(Vec::new());
    let request = request();
    let dial = Dial::new(&request).attempt_delay(Duration::ZERO).prepare(|socket| {
        begun.lock().unwrap().push(target(socket.as_raw_fd().to_string()));
        Ok(())
    });
    let other = SocketAddr::new([127, 0, 0, 2].into(), silent.port());
    let attempts = dial.attempts(dial.target(), Ok(vec![silent, other]), Duration::MAX);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let race = dial.tcp_to_any(attempts.unwrap(), ::tokio::time::Instant::now());
        let reached = async {
            while begun.lock().unwrap().len() < 2 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        ::tokio::select! {
            biased;
            () = reached => {}
            _ = race => {}
        }
    });
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open: Vec<_> = open.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    let begun = begun.lock().unwrap();
    assert!(begun.len() == 2 && !begun.iter().any(|socket| open.contains(socket)));
}

const ADAPTERS: [fn(&Dial<'_>, &Config) -> Error; 2] = [
    |dial, config| dial.blocking_connect(config).map(drop).unwrap_err(),
    |dial, config| {
        // Its end must not wait for the thread of the lookup.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(dial.connect(config)).map(drop).unwrap_err()
    },
];

/// As when the answer takes 15 s, because one of its packets is lost, and each dial waits for 3 s.
#[test]
fn a_name_is_found_by_the_dial_after_the_one_that_began_its_lookup() {
    bounded(|| {
        let listener = TcpListener::bind(HERE).unwrap();
        let server = listener.local_addr().unwrap();
        spawn(move || {
            while let Ok((mut tcp, _)) = listener.accept() {
                let _ = tcp.read(&mut [0; 1024]).unwrap(); // or its end would be a reset
                tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let (resolve, asked) = resolver();
        let lookups = Box::leak(Box::new(Lookups::new(resolve, || Duration::ZERO)));
        let request = Request::new(&format!("ws://feed.test:{}/", server.port())).unwrap();
        let mut dial = Dial::new(&request);
        dial.lookups = lookups;
        let limited = |handshake_timeout| Config { handshake_timeout, ..Config::default() };
        for first in ADAPTERS {
            for second in ADAPTERS {
                let Error::Io(late) = first(&dial, &limited(Duration::ZERO)) else { panic!() };
                is_late(&late, &format!(", resolving feed.test:{}", server.port()));
                let question = asked.next();
                assert_eq!(question.host, "feed.test");
                question.answer(Ok(vec![server]));
                let connected = second(&dial, &limited(PATIENCE));
                assert!(matches!(connected, Error::Refused(_)), "{connected}");
                assert_eq!(asked.made().len(), 0);
            }
        }
    });
}

#[test]
fn a_failed_lookup_names_what_was_looked_up_and_its_error_is_the_source() {
    let resolve = |_: &str| Err(io::Error::other("no such name"));
    let lookups = Box::leak(Box::new(Lookups::new(resolve, || Duration::ZERO)));
    let request = request();
    let mut dial = Dial::new(&request);
    dial.lookups = lookups;
    for connect in ADAPTERS {
        let Error::Io(error) = connect(&dial, &Config::default()) else { panic!() };
        assert_eq!(error.to_string(), "no such name, resolving several.example:80");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "no such name");
        assert_eq!(error.kind(), source.downcast_ref::<io::Error>().unwrap().kind());
    }
}
