//! A name server that says the IPv4 address of a name at once, and of its IPv6 addresses nothing in
//! time: a dial that waits for less than the system's resolver fails, and a later one connects. In
//! namespaces of network and mounts of their own, over both adapters that dial.
use std::{io::ErrorKind, net::TcpListener, thread, time::Duration};
use testkit::namespaces::with_names;
use tickwire::{Config, Dial, Error, blocking, handshake::client::Request};

const TEST: &str = "names::a_name_whose_ipv6_answer_is_lost_connects_after_some_dials";

#[test]
fn a_name_whose_ipv6_answer_is_lost_connects_after_some_dials() {
    with_names(TEST, inside);
}

fn inside() {
    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| blocking::accept(stream.unwrap(), &Config::default()).map(drop));
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| by("blocking", in_a_thread, port));
        scope.spawn(|| by("tokio", in_a_task, port));
    });
}

fn by(adapter: &str, connect: fn(&Dial<'_>, &Config) -> Result<(), Error>, port: u16) {
    // Less than the resolver waits for an answer, and more than all others need, on a machine that
    // has time.
    let config = Config { handshake_timeout: Duration::from_millis(700), ..Config::default() };
    for kind in ["at-once", "servfail", "late", "never"] {
        let url = format!("ws://{kind}.{adapter}.test:{port}/");
        let request = Request::new(&url).unwrap();
        let dial = Dial::new(&request);
        let mut dials = 1;
        while let Err(error) = connect(&dial, &config) {
            let Error::Io(error) = error else { panic!("{kind}: {error}") };
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{kind}: {error}");
            dials += 1;
            assert!(dials < 100, "{kind} never connects");
        }
        println!("{adapter}: {kind} connects by dial {dials}");
        assert!(kind != "never" || dials > 1);
    }
}

fn in_a_thread(dial: &Dial<'_>, config: &Config) -> Result<(), Error> {
    dial.blocking_connect(config).map(drop)
}

fn in_a_task(dial: &Dial<'_>, config: &Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dial.connect(config)).map(drop)
}
