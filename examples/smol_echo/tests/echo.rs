//! The program itself, and a client of the blocking adapter.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/examples/support_program.rs"]
mod program;

use program::Program;
use tickwire::{CloseCode, Config, Message, blocking, handshake::client::Request};

#[test]
fn the_example_echoes() {
    let program = Program::start_at(env!("CARGO_BIN_EXE_smol_echo").as_ref(), &["127.0.0.1:0"]);
    let line = program.line();
    let url = line.strip_prefix("listening on ").unwrap();
    let stream = std::net::TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    let mut ws = blocking::client(stream, &Request::new(url).unwrap(), &Config::default()).unwrap();
    for message in ["one", "two"] {
        ws.send(message).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text(message)));
    }
    ws.close(CloseCode::NORMAL).unwrap();
    assert!(ws.closed().unwrap().clean);
}
