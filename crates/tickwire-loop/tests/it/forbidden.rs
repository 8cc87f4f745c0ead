//! A way that the kernel forbids for a while, in a network namespace of its own.
use crate::common::chosen;
use std::{env, io::ErrorKind};
use testkit::{
    PATIENCE,
    namespaces::{ends_in_time, forbid, run_apart},
};
use tickwire::{Error, Retry};
use tickwire_loop::{Dial, End, Event, Loop, Settings};

const TEST: &str = "forbidden::a_way_that_is_forbidden_is_no_fault_of_the_program";
const INSIDE: &str = "TICKWIRE_FORBIDDEN";

#[test]
fn a_way_that_is_forbidden_is_no_fault_of_the_program() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    run_apart(TEST, &["--net"], |command| _ = command.env(INSIDE, ""));
}

fn inside() {
    ends_in_time();
    for (host, said) in forbid() {
        let (text, retry, kind) = failure(&format!("ws://{host}/"));
        assert_eq!(text, format!("{said}, dialing {host}:80"));
        assert_eq!((retry, kind), (Retry::BackOff, ErrorKind::HostUnreachable));
    }
    let (text, retry, kind) = failure("ws://[fe80::1]/");
    assert_eq!(text, "Invalid argument (os error 22), dialing [fe80::1]:80");
    assert_eq!((retry, kind), (Retry::Alarm, ErrorKind::InvalidInput));
}

fn failure(url: &str) -> (String, Retry, ErrorKind) {
    let mut net = Loop::new(chosen(Settings::default())).unwrap();
    net.net().dial(Dial::to(url).unwrap(), ()).unwrap();
    let mut failure = None;
    while failure.is_none() {
        net.turn(PATIENCE, |_, event| {
            let Event::Closed { end: End::Failed(error), .. } = event else { return };
            let Error::Io(io) = &error else { panic!("{error}") };
            failure = Some((error.to_string(), error.retry(), io.kind()));
        })
        .unwrap();
    }
    failure.unwrap()
}
