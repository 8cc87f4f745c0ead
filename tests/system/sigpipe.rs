//! Writes to a peer that is gone, where SIGPIPE has its default action.
use std::{
    io::{self, IoSlice, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Instant,
};
use testkit::{
    PATIENCE,
    sigpipe::{each_is_killed, each_survives},
    threads::tcp_pair,
};
use tickwire::{
    Config, Connection, Error, Negotiated, Prepared, blocking, futures_io as smol,
    sigpipe_is_ignored, tokio as on_tokio,
};

/// A connection whose peer is gone. The first write to it succeeds, and is answered with a reset.
fn tcp() -> TcpStream {
    tcp_pair().0
}

fn unix() -> UnixStream {
    UnixStream::pair().unwrap().0
}

fn conn() -> Connection {
    Connection::server(&Config::default(), Negotiated::default())
}

/// So long that a write has several slices.
fn message() -> Prepared {
    Prepared::new(vec![7; 100_000])
}

/// Sends until that is an error.
fn until<E>(mut send: impl FnMut() -> Result<(), E>) -> E {
    let began = Instant::now();
    loop {
        if let Err(error) = send() {
            return error;
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => panic!("{other:?}"),
    }
}

fn on_a_thread(stream: impl blocking::Stream) -> io::Error {
    let mut ws = blocking::WebSocket::from_parts(stream, conn());
    io_error(until(|| ws.send(message())))
}

fn on_tokio<S>(make: impl FnOnce() -> S, split: bool) -> io::Error
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut ws = on_tokio::WebSocket::from_parts(make(), conn());
    io_error(match split {
        false => until(|| runtime.block_on(ws.send(message()))),
        true => {
            let (_reader, mut writer) = ws.into_split();
            until(|| runtime.block_on(writer.send(message())))
        }
    })
}

fn tokio_tcp() -> tokio::net::TcpStream {
    let tcp = tcp();
    tcp.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(tcp).unwrap()
}

fn tokio_unix() -> tokio::net::UnixStream {
    let unix = unix();
    unix.set_nonblocking(true).unwrap();
    tokio::net::UnixStream::from_std(unix).unwrap()
}

macro_rules! on_smol {
    ($stream:expr) => {
        || {
            let stream = async_io::Async::new($stream).unwrap();
            let mut ws = smol::WebSocket::from_parts(stream, async_io::Timer::at, conn());
            io_error(until(|| async_io::block_on(ws.send(message()))))
        }
    };
}

#[test]
fn no_adapter_raises_sigpipe() {
    each_survives(
        "sigpipe::no_adapter_raises_sigpipe",
        &[
            ("blocking, TCP", || on_a_thread(tcp())),
            ("blocking, Unix", || on_a_thread(unix())),
            ("blocking, without timeouts", || on_a_thread(blocking::WithoutTimeouts(tcp()))),
            ("tokio, TCP", || on_tokio(tokio_tcp, false)),
            ("tokio, TCP, split", || on_tokio(tokio_tcp, true)),
            ("tokio, Unix", || on_tokio(tokio_unix, false)),
            ("tokio, Unix, split", || on_tokio(tokio_unix, true)),
            ("futures-io, TCP", on_smol!(tcp())),
            ("futures-io, Unix", on_smol!(unix())),
        ],
    );
}

/// A vectored write of std, to a peer that is gone.
fn vectored(mut to: impl Write) -> io::Error {
    until(|| to.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")]).map(drop))
}

/// So the tests here can fail. And the question is answered truly: a child has the default action,
/// and a program whose `main` is Rust ignores the signal.
#[test]
fn a_vectored_write_alone_is_killed() {
    each_is_killed(
        "sigpipe::a_vectored_write_alone_is_killed",
        &[
            ("TCP", || vectored(tcp())),
            ("Unix", || vectored(unix())),
            ("after the question", || match sigpipe_is_ignored() {
                true => io::ErrorKind::BrokenPipe.into(),
                false => vectored(tcp()),
            }),
        ],
    );
    assert!(sigpipe_is_ignored());
}
