//! A peer that reads slowly and goes on sending, behind our Close.
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// The length of the message that it gets.
pub const LEN: usize = 150_000;
/// A message of `LEN` bytes and a Close with 1000.
pub const WIRE: usize = 10 + LEN + 4;

/// A stream with a small receive buffer.
pub fn narrow(to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Reads everything, slowly, with a Ping after each read. Returns how many bytes came before the
/// end of the stream.
pub fn read_slowly(mut io: impl Read + Write, pause: Duration) -> io::Result<usize> {
    let (mut all, mut piece) = (0, vec![0; WIRE / 24]);
    loop {
        match io.read(&mut piece)? {
            0 => return Ok(all),
            n => all += n,
        }
        thread::sleep(pause);
        io.write_all(b"\x89\x80\0\0\0\0")?;
        io.flush()?;
    }
}
