//! The example `round_trip` as a program. Needs the examples built, as a plain `cargo test` does.
#![cfg(all(unix, feature = "tokio"))]

use crate::support_program::{Program, server};
use std::{net::TcpListener, thread};
use tickwire::{CloseCode, Config, blocking::accept};

#[test]
fn round_trips_are_counted_and_timed_with_either_adapter() {
    let (_server, address) = server(&[]);
    for adapter in ["tokio", "blocking"] {
        for bytes in ["0", "70000"] {
            let url = format!("ws://{address}");
            let args = ["--adapter", adapter, "--bytes", bytes, "--seconds", "0.2"];
            let program = Program::start("round_trip", &[&[&*url], &args[..]].concat());
            let (status, out, err) = program.finish();
            assert_eq!((status, &err[..]), (0, &[][..]));
            let figures: Vec<f64> = out
                .iter()
                .flat_map(|line| line.split([' ', ',']))
                .filter_map(|word| word.parse().ok())
                .collect();
            let &[rate, p50, p99, p999] = &figures[..] else { panic!("{out:?}") };
            // Half of the round trips took the median or more.
            assert!(rate >= 1.0 && rate * p50 < 2.1e6, "{out:?}");
            assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{out:?}");
        }
    }
}

#[test]
fn a_server_that_says_something_else_or_goes_is_no_echo() {
    for adapter in ["tokio", "blocking"] {
        for answer in [Some(&b"other"[..]), None] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let stream = listener.accept().unwrap().0;
                let mut ws = accept(stream, &Config::default()).unwrap();
                assert_eq!(ws.recv().unwrap().unwrap().as_bytes().len(), 256);
                match answer {
                    Some(other) => ws.send(other).unwrap(),
                    None => ws.close(CloseCode::GOING_AWAY).unwrap(),
                }
            });
            let (status, out, err) =
                Program::start("round_trip", &[&url, "--adapter", adapter]).finish();
            assert_eq!((status, &out[..]), (1, &[][..]));
            assert!(err.iter().any(|line| line.contains("does not echo")), "{err:?}");
            server.join().unwrap();
        }
    }
}
