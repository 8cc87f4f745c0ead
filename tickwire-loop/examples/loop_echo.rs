//! An echo server on one thread: `ws`, or `wss` with a certificate.
//!
//! ```text
//! cargo run --release -p tickwire-loop --example loop_echo -- 127.0.0.1:9001
//! cargo run --release -p tickwire-loop --features rustls --example loop_echo -- 127.0.0.1:9001 C.pem K.pem
//! ```
//!
//! With the feature `io-uring` it runs over io_uring, if the kernel allows.
use std::{env, error::Error};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event, Loop, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (address, door, scheme) = match &args[..] {
        [address] => (address, Door::new(Config::default()), "ws"),
        [address, certificate, key] => (address, secure(certificate, key)?, "wss"),
        _ => return Err("usage: echo ADDRESS:PORT [CERTIFICATE KEY]".into()),
    };
    let settings = Settings { io_uring: cfg!(feature = "io-uring"), ..Settings::default() };
    let mut net = Loop::<()>::new(settings)?;
    let address = net.net().listen(address.parse()?, door)?;
    let over = if net.net().uses_io_uring() { "io_uring" } else { "mio" };
    println!("over {over}, listening on {scheme}://{address}");
    net.run(|net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    })?;
    Ok(())
}

#[cfg(feature = "rustls")]
fn secure(certificate: &str, key: &str) -> Result<Door, Box<dyn Error>> {
    use std::sync::Arc;
    use tickwire::tls::rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };

    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls.enable_secret_extraction = true; // records in place
    Ok(Door::new(Config::default()).tls(Arc::new(tls)))
}

#[cfg(not(feature = "rustls"))]
fn secure(_: &str, _: &str) -> Result<Door, Box<dyn Error>> {
    Err("wss needs the feature rustls".into())
}
