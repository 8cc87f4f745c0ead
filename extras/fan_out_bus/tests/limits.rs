//! How many connections the server accepts. It needs no broker: the server listens first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "../../../examples/tests/examples/support_program.rs"]
mod program;

use program::Program;
use std::time::Instant;
use testkit::PATIENCE;
use tickwire::{
    Config,
    blocking::{MaybeTls, WebSocket, connect},
};

/// A server with these limits, and its address.
fn server(limits: &[&str]) -> (Program, String) {
    let args = [&["--bus", "redis://127.0.0.1:1", "--listen", "127.0.0.1:0"], limits].concat();
    let program = Program::start_at(env!("CARGO_BIN_EXE_fan_out_bus").as_ref(), &args);
    let url = program.line().strip_prefix("listening on ").unwrap().to_owned();
    (program, url)
}

fn subscriber(url: &str) -> Option<WebSocket<MaybeTls>> {
    connect(url, &Config::default()).ok()
}

#[test]
fn one_more_than_the_limit_is_refused_until_another_has_left() {
    for limits in [["--max-connections", "2"], ["--max-per-address", "2"]] {
        let (_program, url) = server(&limits);
        let [first, second] = [(); 2].map(|()| subscriber(&url).expect("a place"));
        assert!(subscriber(&url).is_none(), "{limits:?}");
        drop(first);
        let until = Instant::now() + PATIENCE;
        while subscriber(&url).is_none() {
            assert!(Instant::now() < until, "{limits:?}: the place stays taken");
        }
        drop(second);
    }
}
