//! Connects over TLS with everything here that makes a configuration of its own, and asks another
//! crate for one of rustls. Arguments: a certificate for `localhost` that the platform trusts
//! (`SSL_CERT_FILE`), and its key.
use std::{error::Error, net::TcpListener, panic::catch_unwind, sync::Arc, thread};
use tickwire::{
    Config, Dial,
    blocking::{self, TlsStream},
    handshake::client::Request,
    tls::{
        self,
        rustls::{
            ClientConnection, ServerConfig,
            crypto::CryptoProvider,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        },
    },
};
use tickwire_loop::{Event, Loop, Settings};
use tickwire_tungstenite::tungstenite::{self, error::TlsError};

const RING: bool = cfg!(feature = "ring");
const AWS: bool = cfg!(feature = "aws-lc-rs");
const IN_PLACE: bool = cfg!(feature = "in-place");

/// The line that a program with two providers needs, and a program with a provider of its own.
fn line() -> Result<(), Arc<CryptoProvider>> {
    #[cfg(feature = "aws-lc-rs")]
    return tls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    #[cfg(feature = "graviola")]
    return rustls_graviola::default_provider().install_default();
    #[cfg(not(any(feature = "aws-lc-rs", feature = "graviola")))]
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (args.next(), args.next()) else {
        return Err("usage: providers CERTIFICATE KEY".into());
    };
    // Before any provider is the process's default.
    match tls::platform_config() {
        Ok(_) => assert!(RING, "made without a provider"),
        Err(error) => {
            assert!(!RING && lacks_provider(&error), "{error}");
            println!("platform_config: {error}");
            let listener = TcpListener::bind("127.0.0.1:0")?; // the facade dials first
            let url = format!("wss://localhost:{}/", listener.local_addr()?.port());
            let error = facade(&url).await.unwrap_err();
            assert!(matches!(
                error.downcast_ref(),
                Some(tungstenite::Error::Tls(TlsError::NoProvider))
            ));
            let request = Request::new("wss://localhost:1/")?;
            let error = Dial::new(&request).blocking_connect(&Config::default()).unwrap_err();
            assert!(matches!(error, tickwire::Error::Tls(error) if lacks_provider(&error)));
        }
    }
    assert!(CryptoProvider::get_default().is_none(), "tickwire has installed a default");
    #[cfg(feature = "ring")] // works before the line too
    everything(&certificate, &key, tls::rustls::crypto::ring::default_provider().into()).await?;
    // rustls chooses if one of its features is on, and panics otherwise.
    let chosen = catch_unwind(|| other::config().crypto_provider().clone());
    println!("another crate's builder() without the line: {}", outcome(&chosen));
    assert_eq!(chosen.is_ok(), RING != AWS);
    if chosen.is_err() {
        line().map_err(|_| "there was a default")?;
        let chosen = catch_unwind(|| other::config().crypto_provider().clone());
        println!("another crate's builder() with the line: {}", outcome(&chosen));
        assert!(chosen.is_ok());
    }
    let default = CryptoProvider::get_default().ok_or("no default")?.clone();
    everything(&certificate, &key, default).await?;
    keeps_its_keys()
}

/// Who holds the default configuration cannot make a session that hands over its keys; with the
/// word neither, because only tickwire has the configuration that does.
fn keeps_its_keys() -> Result<(), Box<dyn Error>> {
    let configs = [
        tls::platform_config()?,
        #[cfg(feature = "in-place")]
        tls::platform_config()?.in_place(),
    ];
    for config in configs {
        let session = ClientConnection::new(config.into(), "localhost".try_into()?)?;
        #[allow(deprecated)]
        let refused = session.dangerous_extract_secrets().err().ok_or("keys")?.to_string();
        assert!(refused.contains("disabled"), "{refused}");
    }
    Ok(())
}

/// Whether the text says what is missing, and both remedies.
fn lacks_provider(error: &tls::TlsError) -> bool {
    let text = error.to_string();
    ["no cryptographic provider", "`ring`", "`install_default`"].iter().all(|t| text.contains(t))
}

fn outcome<T, E>(chosen: &Result<T, E>) -> &'static str {
    if chosen.is_ok() { "works" } else { "panics" }
}

/// Connects to a server that has `provider`: by both adapters, the loop and the facade.
async fn everything(
    certificate: &str,
    key: &str,
    provider: Arc<CryptoProvider>,
) -> Result<(), Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    let server = tls::Server::from(server.with_single_cert(chain, key)?);
    #[cfg(feature = "in-place")]
    let server = server.in_place();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("wss://localhost:{}/", listener.local_addr()?.port());
    let serving = thread::spawn(move || {
        for _ in 0..4 {
            let stream = TlsStream::server(listener.accept().unwrap().0, server.clone()).unwrap();
            let mut ws = blocking::accept(stream, &Config::default()).unwrap();
            let io = ws.get_ref();
            assert_eq!(io.with_session(|session| session.in_place()), IN_PLACE);
            let group = io.with_session(|session| session.negotiated_key_exchange_group());
            assert!(RING || !AWS || group == Some(0x11ec), "no X25519MLKEM768: {group:x?}");
            while let Ok(Some(received)) = ws.recv_to_reply() {
                received.sender.feed(received.message).unwrap();
            }
        }
    });
    let config = Config::default();
    let mut ws = tickwire::tokio::connect(&url, &config).await?;
    ws.send("over tokio").await?;
    assert_eq!(ws.recv().await?.and_then(|message| message.as_text()), Some("over tokio"));
    // In place is said for a configuration, and nobody has said it for this one.
    assert!(ws.get_ref().session().is_some_and(|session| !session.in_place()));
    ws.close(None).await?;
    let mut ws = blocking::connect(&url, &config)?;
    ws.send("on a thread")?;
    assert_eq!(ws.recv()?.and_then(|message| message.as_text()), Some("on a thread"));
    ws.close(None)?;
    let mut net = Loop::<()>::new(Settings::default())?;
    net.net().dial(tickwire_loop::Dial::to(&url)?, ())?;
    let mut heard = None;
    net.run(|net, event| match event {
        Event::Open(handle) => drop(net.send(handle, "in the loop")),
        Event::Message { message, .. } => {
            heard = message.as_text().map(str::to_owned);
            net.shut_down(std::time::Duration::from_secs(9));
        }
        _ => {}
    })?;
    assert_eq!(heard.as_deref(), Some("in the loop"));
    facade(&url).await?;
    serving.join().map_err(|_| "the server failed")?;
    println!("connected by tokio, blocking, the loop and the facade");
    Ok(())
}

async fn facade(url: &str) -> Result<(), Box<dyn Error>> {
    let (mut socket, _) = tickwire_tungstenite::connect_async(url).await?;
    socket.close(None).await?;
    Ok(())
}
