//! An extractor for [axum]: [`WebSocketUpgrade`]. The extractor checks the opening request and
//! gives a [`WebSocket`] to your code, over HTTP/1.1 and over HTTP/2's extended CONNECT (RFC 8441).
//!
//! ```
//! use axum::response::Response;
//! use tickwire_axum::{WebSocket, WebSocketUpgrade};
//!
//! async fn feed(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.protocols(["ticks.v2", "ticks.v1"]).on_upgrade(|ws| async move {
//!         if let Err(error) = echo(ws).await {
//!             eprintln!("{error}");
//!         }
//!     })
//! }
//!
//! async fn echo(mut ws: WebSocket) -> Result<(), tickwire::Error> {
//!     while let Some(received) = ws.recv_to_reply().await? {
//!         received.sender.feed(received.message)?;
//!     }
//!     Ok(())
//! }
//! # let _ = feed;
//! ```
//!
//! Route the handler with `any(feed)`, because WebSockets arrive as CONNECT over HTTP/2 and as GET
//! over HTTP/1.1. `cargo run -p http_server --bin axum` runs a complete program.
//!
//! A browser sends a user's cookies with the requests of any page, even a page of another site. So
//! if cookies identify users, check the Origin with [`WebSocketUpgrade::origins`]. A request
//! without an Origin passes this check, because no browser omits the Origin, and other programs can
//! send any Origin anyway. To refuse requests without an Origin too, use [`Origins::required`].
//!
//! The server has to do two things:
//!
//! - Switch off Nagle's algorithm, with `tap_io` of axum's `ListenerExt`. If you use an `Outbox` of
//!   [`tickwire-parts`] to replace old messages by new ones, also make the socket's send buffer
//!   small in `tap_io`, because the `Outbox` cannot replace messages that are in the send buffer
//!   already.
//! - For HTTP/2, announce extended CONNECT, with `enable_connect_protocol` of hyper's builders.
//!   `axum::serve` does this by itself if axum has the feature `http2`.
//!
//! This is a separate crate, because its API has types of axum-core 0.5 and hyper-util 0.1. If
//! these crates change incompatibly, only this crate has to change its API, not [`tickwire`].
//!
//! [`tickwire-parts`]: https://docs.rs/tickwire-parts/latest/tickwire_parts/index.html
//! [axum]: https://docs.rs/axum/0.8
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]
use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Version, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
};
use tickwire::{
    Config, Error,
    handshake::{
        HandshakeError, HeaderError,
        server::{Accept, Origins, Rejection, RequestHead},
    },
    tokio::WebSocket as Socket,
};
use tickwire_http::{Head, Upgrade};

/// A WebSocket on the stream that axum handed over.
pub type WebSocket = Socket<TokioIo<Upgraded>>;

/// An opening request that passed every check of RFC 6455 §4.2.1 or of RFC 8441.
///
/// If a handler takes a `WebSocketUpgrade`, axum answers bad requests with the right status, and
/// does not call the handler. If a handler takes an `Option<WebSocketUpgrade>`, the option is
/// `None` for a request that does not ask for a WebSocket.
#[must_use = "a WebSocketUpgrade that is dropped without on_upgrade gives the client no WebSocket"]
pub struct WebSocketUpgrade {
    upgrade: Upgrade,
    stream: OnUpgrade,
    version: Version,
    protocols: Vec<String>,
    accept: Accept<'static>,
    failed: Option<Failed>,
}

/// Nothing locks this mutex, which makes the extractor `Sync` even if the function is not.
type Failed = Mutex<Box<dyn FnOnce(Error) + Send>>;

impl WebSocketUpgrade {
    /// Sets limits, deadlines, heartbeat and compression, in place of those of [`Config::server`].
    /// `max_head`, `max_headers` and `handshake_timeout` have no effect: the request has arrived
    /// and was checked.
    pub fn config(mut self, config: &Config) -> Self {
        self.accept = self.accept.config(config.clone());
        self
    }

    /// Sets the subprotocols of this server, best first (RFC 6455 §4.2.2). The connection gets the
    /// first of these subprotocols that the client also offers, or no subprotocol if the client
    /// offers none of them. See [`negotiated`](tickwire::Connection::negotiated).
    pub fn protocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.protocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses, with 403, a request from a page whose origin is not in `allowed`. A request without
    /// an Origin header passes, unless `allowed` was made with [`required`](Origins::required).
    ///
    /// # Errors
    ///
    /// If the origin is not allowed. A handler that returns a `Result` can pass the error on with
    /// `?`, and axum sends it as the answer.
    pub fn origins(self, allowed: &Origins) -> Result<Self, WebSocketRejection> {
        match allowed.allows(&self.request()) {
            true => Ok(self),
            false => Err(self.reject(HandshakeError::OriginNotAllowed)),
        }
    }

    /// Adds a header to the response.
    ///
    /// # Errors
    ///
    /// As [`Accept::header`].
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        self.accept = self.accept.header(name, value)?;
        Ok(self)
    }

    /// The request, in the form of HTTP/1.1 even if it came over HTTP/2.
    pub fn request(&self) -> RequestHead<'_> {
        self.upgrade.request()
    }

    /// Sets a function that runs if the client is gone before axum hands over the stream. By
    /// default nothing runs.
    pub fn on_failed_upgrade(mut self, failed: impl FnOnce(Error) + Send + 'static) -> Self {
        self.failed = Some(Mutex::new(Box::new(failed)));
        self
    }

    /// A rejection of this request, for a reason of your own.
    pub fn reject(&self, rejection: impl Into<Rejection>) -> WebSocketRejection {
        WebSocketRejection { rejection: rejection.into(), version: self.version }
    }

    /// Accepts the request. Returns the response, and runs `serve` in a task of its own once axum
    /// has sent the response. axum's graceful shutdown does not wait for this task: the crate's
    /// README shows how to.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime. axum always calls a handler inside a runtime.
    pub fn on_upgrade<F, Fut>(self, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, stream, version, protocols, accept, failed } = self;
        let (response, connection) = match upgrade.accept(accept.subprotocols(&protocols)) {
            Ok(agreed) => agreed,
            Err(error) => {
                return WebSocketRejection { rejection: error.into(), version }.into_response();
            }
        };
        tokio::spawn(async move {
            match stream.await {
                Ok(stream) => {
                    serve(Socket::from_parts(TokioIo::new(stream), connection)).await;
                }
                Err(error) => {
                    if let Some(failed) = failed {
                        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
                        failed(Error::Io(io::Error::other(error)));
                    }
                }
            }
        });
        response.map(|()| Body::empty())
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("upgrade", &self.upgrade)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

/// The `:protocol` of an extended CONNECT over HTTP/2.
fn protocol(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str)
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebSocketRejection> {
        let version = parts.version;
        let reject = |rejection| WebSocketRejection { rejection, version };
        let config = Config::server();
        let upgrade = Upgrade::new(&*parts, protocol(parts), &config);
        let upgrade = upgrade.map_err(|error| reject(error.into()))?;
        let Some(stream) = parts.extensions.remove::<OnUpgrade>() else {
            return Err(reject(Rejection::new(500).body("this connection cannot be upgraded\n")));
        };
        Ok(Self {
            upgrade,
            stream,
            version,
            protocols: Vec::new(),
            accept: Accept::default(),
            failed: None,
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, WebSocketRejection> {
        if !Head::from(&*parts).is_upgrade(protocol(parts)) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

/// The HTTP answer to a request that gets no WebSocket.
#[derive(Debug)]
pub struct WebSocketRejection {
    rejection: Rejection,
    version: Version,
}

impl WebSocketRejection {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.rejection.status()
    }
}

impl fmt::Display for WebSocketRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opening handshake refused with status {}", self.status())
    }
}

impl std::error::Error for WebSocketRejection {}

impl IntoResponse for WebSocketRejection {
    fn into_response(self) -> Response {
        tickwire_http::rejection(self.rejection, self.version).map(Body::from)
    }
}

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::{Method, Request};
    use hyper::ext::Protocol;

    /// Extracts an `Option<WebSocketUpgrade>`. `Some` becomes 101, and an error becomes its status.
    fn optional(request: http::request::Builder) -> Option<u16> {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let extract = <WebSocketUpgrade as OptionalFromRequestParts<()>>::from_request_parts;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        match runtime.block_on(extract(&mut parts, &())) {
            Ok(upgrade) => upgrade.map(|_| 101),
            Err(rejection) => Some(rejection.status()),
        }
    }

    #[test]
    fn a_request_that_asks_for_no_websocket_is_none_as_an_option() {
        let get = || Request::get("/feed").header("Host", "a.example");
        let connect = || Request::connect("https://a.example/feed").version(Version::HTTP_2);
        let other = [
            get(),
            // `curl --http2` sends this request, and browsers and proxies may send it. RFC 9110
            // §7.8 allows a server to ignore the Upgrade.
            get().header("Upgrade", "h2c").header("Connection", "Upgrade, HTTP2-Settings"),
            get().header("Upgrade", "TLS/1.0, HTTP/2.0").header("Connection", "upgrade"),
            get().header("Upgrade", "websocket"),
            // In HTTP/1.0, Upgrade has no meaning (RFC 9110 §7.8).
            get()
                .version(Version::HTTP_10)
                .header("Upgrade", "websocket")
                .header("Connection", "upgrade"),
            Request::connect("a.example:443").version(Version::HTTP_11),
            connect(),
            connect().extension(Protocol::from_static("connect-udp")),
        ];
        for request in other {
            let shown = format!("{request:?}");
            assert_eq!(optional(request), None, "{shown}");
        }
    }

    #[test]
    fn a_request_for_a_websocket_is_refused_as_an_option_too() {
        let asks = |method| {
            let request =
                Request::builder().method(method).uri("/feed").header("Host", "a.example");
            request.header("Upgrade", "h2c, WebSocket").header("Connection", "upgrade")
        };
        let whole = |version| {
            let request = asks(Method::GET).header("Sec-WebSocket-Version", version);
            request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        };
        assert_eq!(optional(asks(Method::POST)), Some(405));
        assert_eq!(optional(whole("12")), Some(426));
        assert_eq!(optional(whole("13")), Some(500), "nothing here can be upgraded");
    }

    const fn both<T: Send + Sync>() {}
    const fn send<T: Send>() {}

    const _: () = {
        both::<WebSocketUpgrade>();
        both::<WebSocketRejection>();
        // A `WebSocket` is not `Sync`, because hyper's `Upgraded` is not. Its halves are `Sync`.
        send::<WebSocket>();
    };
}
