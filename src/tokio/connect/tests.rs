//! A name of several addresses, by both adapters that dial: given by hand, since names are the
//! system's.
#![allow(clippy::unwrap_used)]
use super::*;
use ::tokio::runtime::Builder;
use std::{
    format,
    net::{TcpListener, TcpStream},
    string::ToString,
    time::Duration,
};

const HERE: &str = "127.0.0.1:0";

/// An address that answers nothing: its backlog is full for as long as this lives.
fn silent() -> (SocketAddr, impl Sized) {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(HERE.parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting: Vec<_> = core::iter::from_fn(connect).collect();
    (address, (listener, waiting, runtime))
}

/// What each adapter comes to: the address that it has reached.
fn dialed(addresses: &[SocketAddr], time: Duration) -> [Result<SocketAddr, Error>; 2] {
    let request = Request::new("ws://several.example/").unwrap();
    let dial = Dial::new(&request);
    let found = || dial.addresses(dial.target(), Ok(addresses.iter().copied())).unwrap();
    let by = std::time::Instant::now().checked_add(time);
    let blocking = dial.blocking_tcp_to_any(found(), by);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let tokio = runtime.block_on(async {
        let by = Instant::now().checked_add(time);
        dial.tcp_to_any(found(), by).await
    });
    [blocking.map(|tcp| tcp.peer_addr().unwrap()), tokio.map(|tcp| tcp.peer_addr().unwrap())]
}

#[test]
fn an_address_that_does_not_answer_has_its_share_of_the_time() {
    let (silent, _held) = silent();
    let listener = TcpListener::bind(HERE).unwrap();
    let open = listener.local_addr().unwrap();
    let closed = TcpListener::bind(HERE).unwrap().local_addr().unwrap();
    for reached in dialed(&[silent, closed, open], Duration::from_secs(3)) {
        assert_eq!(reached.unwrap(), open);
    }
    // The last error, with the address.
    for refused in dialed(&[closed], Duration::from_secs(10)) {
        let error = refused.unwrap_err().to_string();
        assert!(error.ends_with(&format!(", dialing {closed}")), "{error}");
    }
    for late in dialed(&[silent, silent], Duration::from_secs(2)) {
        is_late(late.unwrap_err(), &format!(", dialing {silent}"));
    }
    for nowhere in dialed(&[], Duration::from_secs(10)) {
        let error = nowhere.unwrap_err().to_string();
        assert!(error.ends_with(", resolving several.example:80"), "{error}");
    }
}

#[test]
fn each_address_has_its_share_of_the_time_that_is_left() {
    let request = Request::new("ws://several.example/").unwrap();
    let dial = Dial::new(&request);
    let address: SocketAddr = HERE.parse().unwrap();
    let all = || dial.addresses(dial.target(), Ok([address; 3].into_iter())).unwrap();
    let mut limited = all();
    let ms = Duration::from_millis;
    for (rest, share) in
        [(ms(6_000), ms(2_000)), (ms(5_000), ms(2_500)), (Duration::new(0, 1), ms(1))]
    {
        assert_eq!(limited.next(Some(rest)).unwrap(), (address, Some(share)));
    }
    assert!(limited.next(Some(ms(1))).is_err() && all().next(Some(Duration::ZERO)).is_err());
    assert_eq!(all().next(None).unwrap(), (address, None));
}

/// It says that TCP was not connected in time, what took too long, and of which address or name.
#[track_caller]
fn is_late(error: Error, doing: &str) {
    let text = error.to_string();
    assert!(matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut), "{text}");
    assert!(text.ends_with(doing), "{text}");
}

#[test]
fn a_lookup_that_takes_all_of_the_time_names_what_was_looked_up() {
    let config = Config { handshake_timeout: Duration::ZERO, ..Config::default() };
    let request = Request::new("ws://localhost/").unwrap();
    let dial = Dial::new(&request);
    is_late(dial.blocking_connect(&config).map(drop).unwrap_err(), ", resolving localhost:80");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    is_late(
        runtime.block_on(dial.connect(&config)).map(drop).unwrap_err(),
        ", resolving localhost:80",
    );
}
