//! TLS on [`rustls`], for tokio, blocking and loops of your own: one session without I/O, the
//! platform's roots for clients, and errors that say what is wrong.
//!
//! The streams are `tokio::TlsStream` and `blocking::TlsStream`; `connect` puts one around TCP
//! where a URL says `wss`. A server takes either, or any other TLS stream, through its `accept`. An
//! event loop of your own calls the [`Session`].
//!
//! The types of rustls in this API are those of rustls 0.23, which is re-exported here; moving to
//! another version is a breaking change of this crate. Cryptography is the application's [default
//! provider](rustls::crypto::CryptoProvider::install_default) if it has installed one, else ring,
//! which needs only a C compiler to build. In a configuration of your own rustls chooses: where
//! another crate has switched on a second provider, install a default, or `builder()` panics.
//!
//! With TLS 1.3, and a configuration that has `enable_secret_extraction` set as [`platform_config`]
//! does, records are opened where they lie and sealed where they are built ([`Session::in_place`]):
//! with ring, and any provider that has QUIC, without an allocation. Each end sets the flag for
//! itself. It lets code of this process that makes a session of rustls with the configuration ask
//! for its keys. What it takes: [`Session::connection`] is `None`, with TLS 1.2 too, so there are
//! no exporters; a session that is closed during its handshake says nothing. Whether records are in
//! place tells, after the handshake, `ws.get_ref().tls()` of what `connect` returns, and
//! `ws.get_ref().session()` over a `TlsStream`; ask before a split.
//!
//! Without the flag, with TLS 1.2, a provider that keeps its keys, a server that takes early data,
//! or a session made elsewhere (`TlsStream::new`), rustls opens and seals, with an allocation and
//! two copies more for each record. A session that waits holds some 3.5 KiB of the heap, through
//! rustls some 8 KiB (`benches/tls.rs`), and up to 16 KiB more while it has part of a record; a
//! thread that waits in `blocking` also holds the 32 KiB that it reads to. Debug builds of rustls
//! 0.23 panic at a bad record behind our close_notify; that is caught ([`Session::close`]).
//! `docs/TLS.md` in the repository has the rules of the record layer, and whose code does what.
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
//! // An authority of your own; `connect` trusts what the platform trusts.
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
//! A [`Session`] stands between a stream and a [`Connection`](crate::Connection), or its opening
//! handshake. It does what [`next`](crate::Connection::next) asks for:
//!
//! - **Write**: [`write`](Session::write) it to the session.
//! - **Read**: [`read`](Session::read) from the session; where that gives `None`, read the stream
//!   into [`spare_mut`](Session::spare_mut) and [`commit`](Session::commit), or say that it
//!   [ended](Session::end_of_stream), and read again.
//! - **Shut down**: [`close`](Session::close), then shut the stream.
//! - Behind each, write what is [`outgoing`](Session::outgoing) to the stream, and
//!   [`advance`](Session::advance). There is something whatever the connection says: handshakes,
//!   tickets, alerts.
//!
//! The deadlines of the connection and of its opening handshake, which is there from the start,
//! hold for TLS as well, but for [`write_timeout`](crate::Config::write_timeout): that runs while
//! the connection itself has something outgoing. So bound the time for which the stream takes
//! nothing of what is outgoing in the session, or have a heartbeat. The connection counts as
//! written what the session took; the stream has it once nothing is outgoing in the session. Where
//! [`Session::read`] fails, keep its error, write what is outgoing (the alert), and call
//! `end_of_stream` of the connection's receiver, which only learns that the stream has ended.
//!
//! ```
//! use std::io;
//! use tickwire::{Connection, Event, Next, Time, tls::Session};
//!
//! /// Runs one end until it waits; returns the texts that came.
//! fn run(tls: &mut Session, conn: &mut Connection, far: &mut Session) -> io::Result<Vec<String>> {
//!     let mut came = vec![];
//!     loop {
//!         match conn.next(Time::ZERO) {
//!             Next::Event(Event::Message(message), _) => came.extend(message.as_text().map(String::from)),
//!             Next::Event(..) => {}
//!             Next::Write(mut out) => match tls.write(&mut out)? {
//!                 0 => conn.write_blocked(), // TLS is not agreed on yet
//!                 _ => {}
//!             },
//!             Next::Read(rx) => match tls.read(rx.spare_mut())? {
//!                 Some(0) => rx.end_of_stream(),
//!                 Some(n) => rx.commit(n),
//!                 None => conn.read_blocked(), // a loop would read its stream into `tls.spare_mut()` first
//!             },
//!             Next::ShutDown => {
//!                 tls.close();
//!                 conn.shut_down();
//!             }
//!             Next::Wait(_) | Next::Over(_) => return Ok(came),
//!         }
//!         while tls.has_outgoing() {
//!             let out = tls.outgoing(); // a loop would write it to its stream
//!             let room = far.spare_mut();
//!             let n = out.len().min(room.len());
//!             room[..n].copy_from_slice(&out[..n]);
//!             far.commit(n);
//!             tls.advance(n);
//!         }
//!     }
//! }
//! # use tickwire::{Config, Negotiated, SystemEntropy, tls::rustls::{self, pki_types::PrivateKeyDer}, url::Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pair = rcgen::generate_simple_self_signed(["localhost".into()])?;
//! # let certificate = pair.cert.der().clone();
//! # let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der())?;
//! # let mut roots = rustls::RootCertStore::empty();
//! # roots.add(certificate.clone())?;
//! # let trusting = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! # let certified = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
//!
//! let target: Target = "wss://localhost/".parse()?;
//! let mut near = Session::client(trusting.into(), &target)?;
//! let mut far = Session::server(certified.into())?;
//! # let (config, entropy) = (Config::default(), SystemEntropy::new()?);
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
pub(crate) mod blocking;
pub(crate) mod maybe;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

pub use tickwire_tls::{BadCertificate, Session, TlsError, platform_config, rustls};

use crate::proto::url::Target;
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use std::sync::Arc;

/// What a client needs to speak TLS.
pub(crate) type Client = Arc<ClientConfig>;

/// The configuration by default.
pub(crate) fn default_client() -> Result<Option<Client>, TlsError> {
    platform_config().map(Some)
}

/// The name that the server's certificate has to be for: the host of the URL.
impl TryFrom<&Target> for ServerName<'static> {
    type Error = InvalidDnsNameError;

    fn try_from(target: &Target) -> Result<Self, Self::Error> {
        ServerName::try_from(target.server_name()).map(|name| name.to_owned())
    }
}
