//! TLS by [`rustls`], for tokio, for threads and for loops of your own. This module has a session
//! without I/O, a configuration with the platform's roots for clients, and errors that say what is
//! wrong.
//!
//! The TLS streams are `tokio::TlsStream` and `blocking::TlsStream`. For a `wss` URL, `connect`
//! puts a TLS stream around TCP. A server passes its TLS stream to `accept`: one of these two
//! types, or any other TLS stream. An event loop of your own calls the [`Session`].
//!
//! A [`Client`] or a [`Server`] is a configuration. Types of rustls 0.23, which is re-exported
//! here, appear only in conversions from and to rustls' configurations, errors and connections. So
//! another version of rustls can be added without a breaking change of this crate.
//!
//! # The cryptographic provider
//!
//! The feature `rustls` brings no cryptography. A configuration made by this crate uses the
//! process's [default provider](rustls::crypto::CryptoProvider::install_default). Without a default
//! provider, the configuration uses ring, if the feature `ring` is on. (To build ring, you need
//! only a C compiler.) If there is neither a default provider nor ring, making a configuration
//! fails with an error that says so. This crate never installs a default, because only a program
//! can choose for all its crates.
//!
//! A program chooses its provider by one line at the start of `main`. Instead of `ring`, the line
//! may name a provider from another crate, or `aws_lc_rs` if the program enables rustls' feature
//! `aws-lc-rs`:
//!
//! ```no_run
//! # use tickwire::tls::rustls;
//! rustls::crypto::ring::default_provider().install_default().expect("no other default");
//! ```
//!
//! The line is also needed if the crates of the program enable two providers of rustls: without the
//! line, rustls' own `builder()` then panics in each crate that calls it. So enable `ring` only if
//! no other crate of the program enables a provider. (If only one provider is enabled, the first
//! call of `builder()` makes it the default. Do not rely on this, because this crate may look
//! for a default before that call.) A library should enable `rustls` alone, so that its users can
//! choose; its tests may have a provider as a dev-dependency.
//!
//! # Records in place
//!
//! With TLS 1.3, this crate itself opens and seals the records in place ([`Session::in_place`]) if
//! the configuration sets the flag `enable_secret_extraction`. [`platform_config`] sets this flag.
//! With ring, and with any provider that has QUIC, opening and sealing in place needs no
//! allocation. Each end sets the flag for itself. The flag has three costs. First, any code of this
//! process that makes a rustls session with the configuration can ask for the session's keys.
//! Second, [`Session::connection`] is `None`, even with TLS 1.2, so there are no exporters. Third,
//! a session that is closed during its handshake sends no close_notify. To see whether records are
//! opened in place, call `in_place` after the handshake and before a split. The session is
//! `ws.get_ref().tls()` after `connect`, and `ws.get_ref().session()` over a `TlsStream`.
//!
//! Without the flag, or with TLS 1.2, rustls handles the records: it opens and seals them. rustls
//! also handles the records in three more cases: with a provider that does not hand over its keys,
//! on a server that accepts early data, and for a session made elsewhere (`TlsStream::new`). In all
//! these cases each record costs one more allocation and two more copies.
//!
//! A client's waiting TLS stream holds about 3.5 KiB of heap, or 8 KiB if rustls handles the
//! records (`benches/tls.rs`). TLS adds 2.7 KiB of resident memory to a server's idle connection
//! under tokio, or 7.8 KiB if rustls handles the records (`benches/RESULTS.md`). A session that has
//! received only a part of a record holds more: the buffer of 32 KiB that ciphertext is read into,
//! or up to 16 KiB if rustls handles the records. A thread that waits in `blocking` holds this
//! buffer of 32 KiB even if nothing has arrived.
//!
//! A panic of rustls, or of code that rustls calls (such as the provider or a certificate
//! verifier), ends only the connection that called rustls. Then [`TlsError::is_panic`] of the
//! connection's error is `true`. But with `panic = "abort"` the process ends. Debug builds of
//! rustls 0.23 panic if a bad record arrives after our close_notify. `docs/TLS-AUDIT.md` in the
//! repository has more about panics. The same page lists the rules of the record layer, and the
//! place of each rule in the code.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")] {
//! use std::sync::Arc;
//! use tickwire::tls::rustls::{
//!     ClientConfig, RootCertStore,
//!     pki_types::{CertificateDer, pem::PemObject},
//! };
//! use tickwire::{Config, Dial, handshake::client::Request};
//!
//! # async fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
//! // Trust an authority of your own. By default `connect` trusts the platform's authorities.
//! let mut roots = RootCertStore::empty();
//! for certificate in CertificateDer::pem_file_iter("authority.pem")? {
//!     roots.add(certificate?)?;
//! }
//! let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! tls.enable_secret_extraction = true; // records in place
//! let request = Request::new("wss://feed.internal/ticks")?;
//! let mut ws = Dial::new(&request).tls(Arc::new(tls)).connect(&Config::default()).await?;
//! assert!(ws.get_ref().tls().is_some_and(|session| session.in_place()));
//! # ws.send("subscribe").await?;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # In your own loop
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
//! - **After each of the three actions**, write the [`outgoing`](Session::outgoing) bytes to the
//!   stream, and call [`advance`](Session::advance). Even after a read, TLS may have bytes of its
//!   own to send: handshake messages, tickets, alerts.
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
//! # use tickwire::{Config, Negotiated, SystemEntropy, url::Target};
//! # use tickwire::tls::rustls::{self, pki_types::PrivateKeyDer};
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
//! # let entropy = SystemEntropy::new()?;
//! # let mut client = Connection::client(&config, Negotiated::default(), entropy);
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
pub(crate) mod layers;

#[cfg(not(target_os = "android"))]
pub use tickwire_tls::platform_config_and_roots;
pub use tickwire_tls::{
    BadCertificate, Client, Server, Session, TlsError, platform_config, rustls,
};

use crate::proto::url::Target;
use rustls::pki_types::{InvalidDnsNameError, ServerName};

/// Returns the default configuration of a client. This is never `None`: only the function in
/// `off.rs`, for builds without TLS, returns `None`.
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
