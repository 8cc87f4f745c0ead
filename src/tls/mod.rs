//! TLS by [`rustls`], for tokio, for threads and for loops of your own.
//!
#![doc = include_str!("../../docs/TLS.md")]
//!
//! ## In your own loop
//!
//! A [`Session`] stands between a stream and a [`Connection`](crate::Connection), or the opening
//! handshake of that connection. When [`next`](crate::Connection::next) asks for one of these
//! actions, use the session:
//!
//! - **Write**: pass the bytes to [`write`](Session::write).
//! - **Read**: call [`read`](Session::read). If the result is `None`, read the stream into
//!   [`spare_mut`](Session::spare_mut), call [`commit`](Session::commit), and call `read` again. If
//!   the result is `None` again, report the sign of life by
//!   [`heard_below`](crate::Receiver::heard_below). At the end of the stream, call
//!   [`end_of_stream`](Session::end_of_stream) instead of `commit`. If the stream would block,
//!   [report](crate::Connection::report) it.
//! - **Shut down**: call [`close`](Session::close), write the outgoing bytes, then shut the stream
//!   down for writing.
//! - **Over**: call [`answer_close`](Session::answer_close), and write as many outgoing bytes as
//!   the stream accepts at once.
//! - **After each of the first three actions**, write the [`outgoing`](Session::outgoing) bytes to
//!   the stream, and call [`advance`](Session::advance). Even after a read, TLS may have bytes of
//!   its own to send: handshake messages, tickets, alerts.
//!
//! The deadlines of the connection and of its opening handshake bound TLS as well, with one
//! exception. [`write_timeout`](crate::Config::write_timeout) runs only while the connection itself
//! has outgoing bytes, but the session may have outgoing bytes at other times. So set a limit of
//! your own on the time in which the stream accepts no bytes of the session, or use a heartbeat.
//! The connection counts bytes as written once the session has accepted them. The stream has all
//! these bytes once the session has no outgoing bytes.
//!
//! If [`Session::read`] fails, write the outgoing bytes (the alert), and call `end_of_stream` of
//! the connection's receiver. Keep the error yourself, because the receiver learns only that the
//! stream has ended.
//!
//! ```
//! use std::io;
//! use tickwire::{Connection, Event, Next, Report, Time, tls::Session};
//!
//! type Texts = io::Result<Vec<String>>;
//!
//! /// Runs one end until this end has to wait. Returns the texts that it received.
//! fn run(tls: &mut Session, conn: &mut Connection, far: &mut Session) -> Texts {
//!     let mut came = vec![];
//!     loop {
//!         match conn.next(Time::ZERO) {
//!             Next::Event(Event::Message(message), _) => {
//!                 came.extend(message.as_text().map(String::from));
//!             }
//!             Next::Event(..) => {}
//!             Next::Write(mut out) => match tls.write(&mut out)? {
//!                 0 => conn.report(Report::WriteBlocked), // the TLS handshake is not over yet
//!                 _ => {}
//!             },
//!             Next::Read(rx) => match tls.read(rx.spare_mut())? {
//!                 Some(0) => rx.end_of_stream(),
//!                 Some(n) => rx.commit(n),
//!                 // A loop would read its stream into `tls.spare_mut()` first.
//!                 None => conn.report(Report::ReadBlocked),
//!             },
//!             Next::ShutDown => {
//!                 tls.close();
//!                 conn.report(Report::ShutDown);
//!             }
//!             Next::Wait(_) | Next::Over(_) => return Ok(came),
//!         }
//!         while tls.has_outgoing() {
//!             let out = tls.outgoing(); // a loop would write these bytes to its stream
//!             let room = far.spare_mut();
//!             let n = out.len().min(room.len());
//!             room[..n].copy_from_slice(&out[..n]);
//!             far.commit(n);
//!             tls.advance(n);
//!         }
//!     }
//! }
//! # use tickwire::{Config, Entropy, Negotiated, url::Target};
//! # use tickwire::tls::rustls::{self, pki_types::PrivateKeyDer};
//! # struct Fixed;
//! # impl Entropy for Fixed {
//! #     fn fill(&mut self, dest: &mut [u8]) {
//! #         dest.fill(7)
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pair = rcgen::generate_simple_self_signed(["localhost".into()])?;
//! # let certificate = pair.cert.der().clone();
//! # let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der())?;
//! # let mut roots = rustls::RootCertStore::empty();
//! # roots.add(certificate.clone())?;
//! # let trusting = rustls::ClientConfig::builder().with_root_certificates(roots);
//! # let trusting = trusting.with_no_client_auth();
//! # let certified = rustls::ServerConfig::builder().with_no_client_auth();
//! # let certified = certified.with_single_cert(vec![certificate], key)?;
//!
//! let target: Target = "wss://localhost/".parse()?;
//! let mut near = Session::client(trusting, &target)?;
//! let mut far = Session::server(certified)?;
//! # let config = Config::default();
//! # let mut client = Connection::client(&config, Negotiated::default(), Fixed);
//! # let mut server = Connection::server(&config, Negotiated::default());
//! client.sender_mut().feed("over TLS")?;
//! let mut came = vec![];
//! while came.is_empty() {
//!     run(&mut near, &mut client, &mut far)?;
//!     came = run(&mut far, &mut server, &mut near)?;
//! }
//! assert_eq!(came, ["over TLS"]);
//! # Ok(())
//! # }
//! ```
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub(crate) mod layers;

#[cfg(feature = "client")]
pub use tickwire_tls::platform_config;
#[cfg(all(feature = "client", not(target_os = "android")))]
pub use tickwire_tls::platform_config_and_roots;
pub use tickwire_tls::{BadCertificate, Client, Server, Session, TlsError, rustls};

use crate::proto::url::Target;
use rustls::pki_types::{InvalidDnsNameError, ServerName};

#[cfg(all(feature = "client", any(feature = "blocking", feature = "tokio")))]
/// Never `None`: only in `off.rs`, for builds without TLS.
pub(crate) fn default_client() -> Result<Option<Client>, TlsError> {
    platform_config().map(Some)
}

/// The name for which the server's certificate must be valid: the host of the URL.
impl TryFrom<&Target> for ServerName<'static> {
    type Error = InvalidDnsNameError;

    fn try_from(target: &Target) -> Result<Self, Self::Error> {
        ServerName::try_from(target.server_name()).map(|name| name.to_owned())
    }
}
