//! The recipe "Renew a certificate": a resolver whose certificate is exchanged under way.
use crate::support::{
    provider::default_provider,
    tls::{ADAPTERS, Adapter, Authority, Client, Identity, Server, is_in_place},
};
use std::{
    net::TcpListener,
    sync::{Arc, RwLock},
    thread,
};
use tickwire::{
    Config, Error,
    tls::rustls::{
        ServerConfig,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

#[derive(Debug)]
struct Renewed(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().ok()?.clone())
    }
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let (chain, key) = (identity.chain.clone(), identity.private());
    Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).unwrap())
}

#[test]
fn the_next_connection_has_the_new_certificate_and_the_old_one_lives() {
    let authorities = [Authority::new(), Authority::new()];
    let [old, new] = authorities.each_ref().map(|of| certified(&of.issue(&["localhost"])));
    for adapter in ADAPTERS {
        let current = Arc::new(Renewed(RwLock::new(old.clone())));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut tls = builder.with_cert_resolver(current.clone());
        tls.enable_secret_extraction = is_in_place();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        let connected = |trusted: &Authority| {
            thread::scope(|scope| {
                let accepting = scope.spawn(|| {
                    let stream = listener.accept().unwrap().0;
                    Server::accept(adapter, stream, &Config::default(), tls.clone())
                });
                let client =
                    Client::connect(Adapter::Blocking, &url, &Config::default(), trusted.client());
                (client, accepting.join().unwrap())
            })
        };
        let echoes = |client: &mut Client, server: &mut Server| {
            client.send("are you there?").unwrap();
            let heard = server.recv().unwrap().unwrap();
            server.send(heard.as_message()).unwrap();
            assert_eq!(client.recv().unwrap(), Some(heard));
        };
        let (client, server) = connected(&authorities[0]);
        let (mut first, mut first_server) = (client.unwrap(), server.unwrap());
        echoes(&mut first, &mut first_server);
        assert!(connected(&authorities[1]).0.is_err());

        *current.0.write().unwrap() = new.clone();
        let (client, server) = connected(&authorities[1]);
        echoes(&mut client.unwrap(), &mut server.unwrap());
        let (refused, _) = connected(&authorities[0]);
        let refused = refused.map(drop);
        assert!(matches!(&refused, Err(Error::Tls(error)) if error.is_about_certificate()));
        echoes(&mut first, &mut first_server);
    }
}

crate::by_rustls::once_more! {
    the_next_connection_has_the_new_certificate_and_the_old_one_lives
}
