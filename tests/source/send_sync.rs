//! Every public type can be sent to another thread and looked at from one, so that a future which
//! holds one over an `.await` can be spawned. The compiler checks it; the only test here is that no
//! type was left out.

const fn both<T: Send + Sync>() {}
const fn send<T: Send>() {}
const fn is_sync<T: Sync>(_: &T) {}

#[allow(dead_code)]
mod core_types {
    use super::both;
    use tickwire::{frame::*, handshake::*, mask::*, url::*, *};
    use tickwire_parts::{Backoff, Outbox, OutboxCounts, Overflow, PushError};

    const _: () = {
        // The core.
        both::<Connection>();
        both::<Dormant>();
        both::<Receiver>();
        both::<Sender>();
        both::<Outgoing<'_>>();
        both::<MessageWriter<'_>>();
        both::<Next<'_>>();
        both::<Step>();
        both::<Text>();
        both::<Wait>();
        both::<Ending>();
        both::<ReadyState>();
        both::<Position>();
        both::<RoundTrip>();
        both::<Config>();
        both::<Heartbeat>();
        both::<Negotiated>();
        both::<Role>();
        both::<Time>();
        both::<SystemEntropy>();
        both::<Box<dyn Entropy + Send + Sync>>();
        // Messages and frames.
        both::<Message<'_>>();
        both::<OwnedMessage>();
        both::<DataKind>();
        both::<Event<'_>>();
        both::<OwnedEvent>();
        both::<Chunk<'_>>();
        both::<Info>();
        both::<Arrival>();
        both::<Prepared>();
        both::<CloseCode>();
        both::<CloseFrame<'_>>();
        both::<OwnedCloseFrame>();
        both::<OpCode>();
        both::<Header>();
        both::<Masker>();
        // Beside the core.
        both::<Backoff>();
        both::<Outbox>();
        both::<Outbound<'_>>();
        both::<OutboxCounts>();
        both::<Overflow>();
        // The handshake.
        both::<Target>();
        both::<client::Request>();
        both::<client::Handshake>();
        both::<client::ResponseHead<'_>>();
        both::<client::Refusal>();
        both::<server::RequestHead<'_>>();
        both::<server::Handshake>();
        both::<server::Accept<'_>>();
        both::<server::Rejection>();
        both::<server::Origins>();
        both::<Reading>();
        both::<Progress>();
        both::<Headers<'_>>();
        // Errors.
        both::<Error>();
        both::<Closed<'_>>();
        both::<Dial<'_>>();
        #[cfg(feature = "futures")]
        both::<Events<tickwire::tokio::WebSocket<::tokio::net::TcpStream>>>();
        both::<RecvError>();
        both::<SendError>();
        both::<ProtocolError>();
        both::<HandshakeError>();
        both::<HeaderError>();
        both::<PushError>();
        both::<UrlError>();
    };

    #[cfg(feature = "counters")]
    const _: () = {
        both::<Traffic>();
    };

    #[cfg(feature = "deflate")]
    const _: () = {
        both::<deflate::Deflate>();
        both::<deflate::DeflateParams>();
        both::<deflate::Direction>();
    };

    #[cfg(feature = "std")]
    const _: () = both::<Received<'_, &mut Sender>>();

    #[cfg(feature = "std")]
    const _: () = both::<Proxy>();

    #[cfg(feature = "stamps")]
    const _: () = both::<Timestamped<std::net::TcpStream>>();

    #[cfg(feature = "rustls")]
    const _: () = {
        both::<tls::TlsError>();
        both::<tls::BadCertificate>();
        both::<tls::Client>();
        both::<tls::Server>();
        both::<tls::Session>();
    };
}

#[allow(dead_code)]
mod blocking_adapter {
    use super::{both, is_sync, send};
    use std::{cell::Cell, net::TcpStream};
    use tickwire::blocking::*;

    const _: () = {
        both::<Interest>();
        both::<Incoming<TcpStream>>();
        both::<WebSocket<TcpStream>>();
        both::<WithoutTimeouts<TcpStream>>();
        both::<WebSocket<MaybeTls>>();
        both::<Reader<TcpStream>>();
        both::<Writer<TcpStream>>();
        both::<MaybeTls>();
        both::<Spin<TcpStream>>();
        both::<WebSocket<Spin<TcpStream>>>();
        // What a half is depends on the stream alone.
        send::<Reader<Cell<u8>>>();
        send::<Writer<Cell<u8>>>();
    };

    // Not `Send`: it is a lock, to be given back where it was taken.
    fn guard(writer: &mut Writer<TcpStream>) {
        is_sync(&writer.sender());
    }

    #[cfg(feature = "rustls")]
    const _: () = {
        both::<TlsStream>();
        both::<WebSocket<TlsStream>>();
        both::<Reader<TlsStream>>();
        both::<Writer<TlsStream>>();
    };
}

#[cfg(feature = "tokio")]
#[allow(dead_code)]
mod tokio_adapter {
    use super::{both, is_sync};
    use tickwire::tokio::*;
    use tokio::net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    };

    const _: () = {
        both::<Incoming<TcpStream>>();
        both::<WebSocket<TcpStream>>();
        both::<WebSocket<MaybeTls>>();
        both::<Reader<OwnedReadHalf, OwnedWriteHalf>>();
        both::<Writer<OwnedWriteHalf>>();
        both::<MessageOrRoom<'_>>();
        both::<MaybeTls>();
    };

    // Not `Send`: it is a lock, to be given back where it was taken.
    fn guard(writer: &mut Writer<OwnedWriteHalf>) {
        is_sync(&writer.sender());
    }

    #[cfg(feature = "rustls")]
    const _: () = {
        both::<TlsStream<TcpStream>>();
        both::<WebSocket<TlsStream<TcpStream>>>();
    };

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
    use super::{both, is_sync};
    use async_net::TcpStream;
    use std::time::Instant;
    use tickwire::futures_io::*;

    type Timer = fn(Instant) -> async_io::Timer;

    const _: () = {
        both::<Incoming<TcpStream, Timer>>();
        both::<WebSocket<TcpStream, Timer>>();
        both::<Reader<ReadHalf<TcpStream>, WriteHalf<TcpStream>, Timer>>();
        both::<MessageOrRoom<'_>>();
        both::<ReadHalf<TcpStream>>();
        both::<WriteHalf<TcpStream>>();
        both::<Writer<WriteHalf<TcpStream>, Timer>>();
    };

    // Not `Send`: it is a lock, to be given back where it was taken.
    fn guard(writer: &mut Writer<WriteHalf<TcpStream>, Timer>) {
        is_sync(&writer.sender());
    }
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
        let mut asked = section
            .split("both::<")
            .flat_map(|part| part.split("send::<"))
            .flat_map(|part| part.split("sync::<"));
        assert!(
            asked
                .any(|ask| path.ends_with(&format!("::{}", ask.split(['<', '>']).next().unwrap()))),
            "{path} is not asked whether it is Send and Sync"
        );
        types += 1;
    }
    assert!(types > 60, "{types} types in the listing");
}
