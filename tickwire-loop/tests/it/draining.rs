//! A loop behind its Close, while the peer reads slowly and goes on sending.
use crate::common::{LONG, REQUEST, Running, head, next, say};
#[cfg(feature = "rustls")]
use crate::tls::keys;
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::channel,
    thread,
    time::Duration,
};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{ClientConnection, StreamOwned};
use tickwire::{CloseCode, Config, RecvError, handshake::server::Accept};
use tickwire_loop::{Door, End, Event, Settings};

const LEN: usize = 150_000;
/// A message of `LEN` bytes and a Close with 1000.
const WIRE: usize = 10 + LEN + 4;

/// A stream with a small receive buffer.
fn narrow(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Opens a connection, and reads everything, slowly, with a Ping after each read. Returns how many
/// bytes came before the end of the stream.
fn read_slowly(mut io: impl Read + Write, pause: Duration) -> io::Result<usize> {
    io.write_all(REQUEST.as_bytes())?;
    assert!(head(&mut io).starts_with("HTTP/1.1 101 "));
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

/// `read` opens a connection to the door, and reads with pauses of this length.
fn all_is_read(
    door: impl Fn(Config) -> Door,
    read: impl Fn(TcpStream, Duration) -> io::Result<usize> + Clone + Send + 'static,
) {
    let mut close_timeout = Duration::from_millis(200);
    loop {
        assert!(close_timeout < LONG);
        let (tell, told) = channel();
        let door = door(Config { close_timeout, ..Config::default() });
        let server =
            Running::<()>::with(Settings::default(), door, move |net, event| match event {
                Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
                Event::Open(handle) => {
                    net.send(handle, vec![7; LEN]).unwrap();
                    net.close(handle, CloseCode::NORMAL);
                }
                Event::Closed { end: End::Closed(end), .. } => {
                    say(&tell, (end.error, end.unconfirmed))
                }
                Event::Closed { end, .. } => panic!("{end:?}"),
                _ => {}
            });
        let (far, read) = (narrow(server.address), read.clone());
        // It reads for longer than the timeout, and for less than twice that.
        let reading = thread::spawn(move || read(far, close_timeout / 20));
        let end = next(&told);
        match (reading.join().unwrap(), end) {
            // Pongs came too.
            (Ok(WIRE..), (Some(RecvError::CloseTimeout), false)) => return,
            // It was slower than that, or could not even be sent everything.
            (_, (Some(RecvError::CloseTimeout), true)) => close_timeout *= 2,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_slow_reader_that_pings_gets_all_that_the_loop_sent_before_its_close() {
    all_is_read(Door::new, read_slowly);
}

#[cfg(feature = "rustls")]
#[test]
fn over_tls_a_slow_reader_that_pings_gets_all_that_the_loop_sent_before_its_close() {
    let keys = keys(true);
    let client = keys.client.clone();
    all_is_read(
        |config| Door::new(config).tls(keys.server.clone()),
        move |far, pause| {
            let session = ClientConnection::new(client.clone(), "localhost".try_into().unwrap());
            read_slowly(StreamOwned::new(session.unwrap(), far), pause)
        },
    );
}
