//! A loop behind its Close, while the peer reads slowly and goes on sending.
use crate::common::{REQUEST, next, read_head, telling};
#[cfg(feature = "rustls")]
use crate::placed::placed;
#[cfg(feature = "rustls")]
use crate::tls::keys;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use testkit::{
    PATIENCE,
    slow_reader::{LEN, WIRE, narrow},
};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{ClientConnection, StreamOwned};
use tickwire::{CloseCode, Config, RecvError};
use tickwire_loop::{Door, End, Event};

/// Opens a connection, and then reads slowly.
fn read_slowly(mut io: impl Read + Write, pause: Duration) -> io::Result<usize> {
    io.write_all(REQUEST.as_bytes())?;
    assert!(read_head(&mut io).starts_with("HTTP/1.1 101 "));
    testkit::slow_reader::read_slowly(io, pause)
}

/// `read` opens a connection to the door, and reads with pauses of this length.
fn all_is_read(
    door: impl Fn(Config) -> Door,
    read: impl Fn(TcpStream, Duration) -> io::Result<usize> + Clone + Send + 'static,
) {
    let mut close_timeout = Duration::from_millis(200);
    loop {
        assert!(close_timeout < PATIENCE);
        let door = door(Config { close_timeout, ..Config::default() });
        let (server, told) = telling::<(), _>(door, |net, event| match event {
            Event::Open(handle) => {
                net.send(handle, vec![7; LEN]).unwrap();
                net.close(handle, CloseCode::NORMAL);
                None
            }
            Event::Closed { end: End::Closed(end), .. } => Some((end.error, end.unconfirmed)),
            Event::Closed { end, .. } => panic!("{end:?}"),
            _ => None,
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
        |config| Door::new(config).tls(placed(keys.server.clone())),
        move |far, pause| {
            let session = ClientConnection::new(client.clone(), "localhost".try_into().unwrap());
            read_slowly(StreamOwned::new(session.unwrap(), far), pause)
        },
    );
}
