//! The program itself, and a client of the blocking adapter.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};
use tickwire::{CloseCode, Config, Message, blocking, handshake::client::Request};

/// Ended with the test, by its id.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_echoes() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smol_echo"));
    let mut program =
        Program(command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it starts"));
    let mut line = String::new();
    let output = program.0.stdout.as_mut().expect("it is piped");
    BufReader::new(output).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap();
    let stream = std::net::TcpStream::connect(url.strip_prefix("ws://").unwrap()).unwrap();
    let mut ws = blocking::client(stream, &Request::new(url).unwrap(), &Config::default()).unwrap();
    for message in ["one", "two"] {
        ws.send(message).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text(message)));
    }
    ws.close(CloseCode::NORMAL).unwrap();
    assert!(ws.closed().unwrap().clean);
}
