//! Every public type can be sent to another thread and looked at from one, so that a future which
//! holds one over an `.await` can be spawned. The compiler checks it; the only test here is that no
//! type was left out.

const fn both<T: Send + Sync>() {}
const fn send<T: Send>() {}

/// A row of types, each asked by one of the functions above.
macro_rules! all {
    ($ask:ident: $($of:ty),+ $(,)?) => {
        const _: () = { $($ask::<$of>();)+ };
    };
}

#[allow(dead_code)]
mod core_types {
    use super::both;
    use tickwire::{frame::*, handshake::*, mask::*, url::*, *};
    use tickwire_parts::{Backoff, Outbox, OutboxCounts, Overflow, PushError};

    // The core.
    all!(both: Connection, Dormant, Receiver, Sender, Outgoing<'_>, MessageWriter<'_>, Next<'_>);
    all!(both: Step, Text, Wait, Ending, ReadyState, Report, Position, RoundTrip);
    all!(both: Config, Heartbeat);
    all!(both: Retry);
    all!(both: Negotiated, Role, Time, SystemEntropy, Box<dyn Entropy + Send + Sync>);
    // Messages and frames.
    all!(both: Message<'_>, OwnedMessage, DataKind, Event<'_>, OwnedEvent, Chunk<'_>, Info);
    all!(both: Arrival, Prepared, CloseCode, CloseFrame<'_>, OwnedCloseFrame, OpCode, Header, Masker);
    // Beside the core.
    all!(both: Backoff, Outbox, Outbound<'_>, OutboxCounts, Overflow);
    // The handshake.
    all!(both: Target, Reading, Progress, Headers<'_>);
    all!(both: client::Request, client::Handshake, client::Refusal);
    all!(both: server::RequestHead<'_>, server::Handshake, server::Accept<'_>, server::Rejection);
    all!(both: server::Origins);
    // Errors.
    all!(both: Error, Closed<'_>, Dial<'_>, RecvError, SendError, ProtocolError, HandshakeError);
    all!(both: HeaderError, InvalidCloseCode, PushError, UrlError);

    #[cfg(feature = "counters")]
    all!(both: Counters);
    #[cfg(feature = "deflate")]
    all!(both: deflate::Deflate, deflate::DeflateParams, deflate::Direction);
    #[cfg(all(feature = "futures", feature = "tokio"))]
    all!(both: Events<tickwire::tokio::WebSocket<::tokio::net::TcpStream>>);
    #[cfg(feature = "blocking")]
    all!(both: Received<'_>, Proxy);
    #[cfg(feature = "stamps")]
    all!(both: Timestamped<std::net::TcpStream>);
    #[cfg(feature = "rustls")]
    all!(both: tls::TlsError, tls::BadCertificate, tls::Client, tls::Server, tls::Session);
}

#[allow(dead_code)]
mod blocking_adapter {
    use super::{both, send};
    use std::{cell::Cell, net::TcpStream};
    use tickwire::blocking::*;

    all!(both: Interest, Incoming<TcpStream>, WebSocket<TcpStream>, WithoutTimeouts<TcpStream>);
    all!(both: WebSocket<MaybeTls>, Reader<TcpStream>, Writer<TcpStream>, MaybeTls);
    all!(both: Spin<TcpStream>, WebSocket<Spin<TcpStream>>);
    #[cfg(feature = "rustls")]
    all!(both: TlsStream, WebSocket<TlsStream>, Reader<TlsStream>, Writer<TlsStream>);
    // What a half is depends on the stream alone.
    all!(send: Reader<Cell<u8>>, Writer<Cell<u8>>);
}

#[cfg(feature = "tokio")]
#[allow(dead_code)]
mod tokio_adapter {
    use super::both;
    use tickwire::tokio::*;
    use tokio::net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    };

    all!(both: Incoming<TcpStream>, WebSocket<TcpStream>, WebSocket<MaybeTls>, MaybeTls);
    all!(both: Reader<OwnedReadHalf, OwnedWriteHalf>, Writer<OwnedWriteHalf>, MessageOrRoom<'_>);
    #[cfg(feature = "rustls")]
    all!(both: TlsStream<TcpStream>, WebSocket<TlsStream<TcpStream>>);

    /// The shape of a session: other work of its own between two messages, by `&self`.
    struct Session {
        ws: WebSocket<TcpStream>,
        seen: usize,
    }

    impl Session {
        async fn persist(&self) {
            tokio::task::yield_now().await;
            println!("{}", self.seen);
        }

        async fn run(mut self) {
            while let Ok(Some(_)) = self.ws.recv().await {
                self.seen += 1;
                self.persist().await;
            }
        }
    }

    fn a_session_can_be_spawned(session: Session) {
        drop(tokio::spawn(session.run()));
    }
}

#[cfg(feature = "futures")]
#[allow(dead_code)]
mod futures_io_adapter {
    use super::both;
    use async_net::TcpStream;
    use std::time::Instant;
    use tickwire::futures_io::*;

    type Timer = fn(Instant) -> async_io::Timer;

    all!(both: Incoming<TcpStream, Timer>, WebSocket<TcpStream, Timer>, MessageOrRoom<'_>);
    all!(both: Reader<TcpStream, TcpStream, Timer>, Writer<TcpStream, Timer>);
}

/// The names of all public types stand above, as the listing of the public API has them.
#[test]
fn no_public_type_is_left_out() {
    let root = env!("CARGO_MANIFEST_DIR");
    let listing = std::fs::read_to_string(format!("{root}/docs/PUBLIC-API.txt")).unwrap();
    let (core, rest) = include_str!("send_sync.rs").split_once("mod blocking_adapter").unwrap();
    let (blocking, rest) = rest.split_once("mod tokio_adapter").unwrap();
    let (tokio, futures_io) = rest.split_once("mod futures_io_adapter").unwrap();
    let mut types = 0;
    for line in listing.lines() {
        let line = line.strip_prefix("#[non_exhaustive] ").unwrap_or(line);
        let Some(path) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum ")) else {
            continue;
        };
        let path = path.split(['<', '(']).next().unwrap();
        let section = match path.split("::").nth(1) {
            Some("blocking") => blocking,
            Some("tokio" | "drive") => tokio,
            Some("futures_io") => futures_io,
            _ => core,
        };
        let rows = section.split("all!(").skip(1).filter_map(|row| row.split(");").next());
        let mut asked = rows.flat_map(|row| row.split(|c: char| !c.is_alphanumeric()));
        assert!(
            asked.any(|name| path.ends_with(&format!("::{name}"))),
            "{path} is not asked whether it is Send and Sync"
        );
        types += 1;
    }
    assert!(types > 60, "{types} types in the listing");
}
