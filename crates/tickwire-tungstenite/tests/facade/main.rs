//! tungstenite's API over tickwire, as a program uses it.
#![cfg(feature = "connect")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::result_large_err)]

mod blocking;
#[cfg(feature = "deflate")]
mod deflate;
mod errors;
mod handshake;
mod heads;
mod hostile;
#[cfg(target_os = "linux")]
mod names;
mod protocol;
#[cfg(unix)]
mod shim;
#[cfg(target_os = "linux")]
mod sigpipe;
mod tasks;
#[cfg(feature = "__rustls-tls")]
mod tls;

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

/// A stream of canned bytes, of which each read gives at most `at_once`; it would block behind
/// them.
#[derive(Debug, Default)]
struct Canned {
    input: Vec<u8>,
    at_once: usize,
    /// What was written.
    output: Vec<u8>,
    /// Whether writing would block.
    full: bool,
    /// Whether the stream ends behind the input.
    ends: bool,
    /// Whether it is reset there.
    resets: bool,
}

impl Canned {
    fn new(input: &[u8]) -> Self {
        Self { input: input.to_vec(), at_once: usize::MAX, ..Self::default() }
    }
}

impl Read for Canned {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = to.len().min(self.input.len()).min(self.at_once);
        match n {
            0 if self.resets => return Err(io::ErrorKind::ConnectionReset.into()),
            0 if !self.ends => return Err(io::ErrorKind::WouldBlock.into()),
            _ => {}
        }
        to[..n].copy_from_slice(&self.input[..n]);
        self.input.drain(..n);
        Ok(n)
    }
}

impl Write for Canned {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.output.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `serve` with the next connection to the address returned.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/feed", listener.local_addr().unwrap());
    (url, thread::spawn(move || serve(listener.accept().unwrap().0)))
}
