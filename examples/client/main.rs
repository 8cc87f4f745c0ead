//! A WebSocket client for the terminal and for scripts: lines go out, what arrives is printed.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! printf 'hi\n/binary c0ffee\n' | cargo run --release --example client -- ws://127.0.0.1:9001
//! ```
//!
//! Sending and receiving wait for different things, so each has half of the connection. When there
//! are no more lines the client closes, and ends once the peer has closed too: everything that was
//! answered before that is printed. `--help` says the rest.
//!
//! The connection is in `connection.rs`, what becomes of its events in `session.rs`; the command
//! line in `options.rs`, the lines in `input.rs`, the printing in `print.rs`, trust
//! in `tls.rs`.
mod connection;
mod input;
mod options;
mod print;
mod session;
mod tls;

use options::Options;
use print::complain;
use session::Refused;
use std::{error, process::ExitCode};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

fn main() -> ExitCode {
    let options = Options::read();
    match connection::talk(&options) {
        Ok(0) if input::had_bad_lines() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(error) if print::is_unread(&*error) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(if error.is::<Refused>() { 3 } else { 1 })
        }
    }
}
