//! Makes a stream of its own, and forgets a call that the deadlines depend on.
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    time::Duration,
};
use tickwire::blocking::{Interest, Stream};

struct Wrapped(TcpStream);

impl Read for Wrapped {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wrapped {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Wrapped {
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(bufs)
    }
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.0.wait(interest, timeout)
    }
}

fn main() {}
