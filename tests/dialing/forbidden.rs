//! A way that the kernel forbids for a while, and a program that asks for what cannot be, fail with
//! the same system errors, in a network namespace of their own. Only the program's is an alarm.
use std::{env, io::ErrorKind};
use testkit::namespaces::{ends_in_time, forbid, run_apart};
use tickwire::{Config, Dial, Error, Retry, blocking, handshake::client::Request};

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
        for error in failures(&format!("ws://{host}/")) {
            assert_eq!(error.to_string(), format!("{said}, dialing {host}:80"));
            assert_eq!((error.retry(), kind(&error)), (Retry::BackOff, ErrorKind::HostUnreachable));
            assert_eq!(error.retry_delay(), Some(std::time::Duration::ZERO));
        }
    }
    // What the program has to change.
    for error in failures("ws://[fe80::1]/") {
        assert_eq!(error.to_string(), "Invalid argument (os error 22), dialing [fe80::1]:80");
        assert_eq!((error.retry(), kind(&error)), (Retry::Alarm, ErrorKind::InvalidInput));
    }
}

/// By each adapter that dials.
fn failures(url: &str) -> [Error; 2] {
    let config = Config::default();
    let request = Request::new(url).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    [
        blocking::connect(url, &config).map(drop).unwrap_err(),
        runtime.block_on(Dial::new(&request).connect(&config)).map(drop).unwrap_err(),
    ]
}

fn kind(error: &Error) -> ErrorKind {
    let Error::Io(error) = error else { panic!("{error}") };
    error.kind()
}
