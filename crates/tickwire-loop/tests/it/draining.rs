//! A loop behind its Close, while the peer reads slowly and goes on sending, or has sent more than
//! was read.
use crate::common::{REQUEST, echo, frame, next, read_head, telling};
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
    frames::{BINARY, CLOSE, close_body, sent, unmasked},
    slow_reader::{LEN, WIRE, narrow},
};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{ClientConnection, StreamOwned};
use tickwire::{CloseCode, Config, RecvError};
use tickwire_loop::{Door, End, Event, Settings};

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

/// The rest lies unread in the socket when the loop ends its stream. Closed then, the socket would
/// send a reset, which on some systems takes the Close away from the peer. Here it shows afterwards,
/// as an error of the peer's socket, which stays open.
#[test]
fn a_peer_that_has_sent_more_than_the_refused_frame_gets_the_close_and_no_reset() {
    let server = echo(Settings::default(), Config { max_read: 1000, ..Config::default() });
    let refused = unmasked(BINARY, [1]);
    let mut raw = server.raw_with([REQUEST.as_bytes(), &refused, &frame(&[7; 60_000])].concat());
    assert!(read_head(&mut raw).starts_with("HTTP/1.1 101 "));
    let mut wire = Vec::new();
    raw.read_to_end(&mut wire).unwrap();
    assert_eq!(sent(&wire), [(CLOSE, close_body(1002, ""))]);
    server.wait_for(|counts| counts.accepted_now == 0);
    assert!(raw.take_error().unwrap().is_none());
}
