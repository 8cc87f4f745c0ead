//! TLS over the streams of a connector: the certificate is for the URL's host, wherever the
//! connector goes. And roots that are trusted beside the platform's.
use crate::support::{
    blocking::bounded,
    proxy::first,
    tls::{Authority, runtime, wait},
};
use std::net::TcpStream;
use tickwire::{
    Config, Dial, Error,
    blocking::{self, TlsStream},
    handshake::client::Request,
    tls::{BadCertificate, platform_config_and_roots},
};

#[test]
fn the_certificate_is_for_the_host_of_the_url() {
    bounded(|| {
        let authority = Authority::new();
        for (name, good) in [("feed.example", true), ("localhost", false)] {
            for on_tokio in [false, true] {
                let tls = authority.issue(&[name]).server();
                let (address, serving) = first(move |stream| {
                    let stream = TlsStream::server(stream, tls).unwrap();
                    let Ok(mut ws) = blocking::accept(stream, &Config::default()) else { return };
                    while let Ok(Some(_)) = ws.recv() {}
                });
                let request = Request::new("wss://feed.example/ticks").unwrap();
                let dial = Dial::new(&request).tls(authority.client());
                let config = Config::default();
                let done = if on_tokio {
                    let runtime = runtime();
                    let connect = |_| tokio::net::TcpStream::connect(address);
                    wait(&runtime, async {
                        let mut ws = dial.connect_with(&config, connect).await?;
                        assert!(ws.get_ref().tls().is_some());
                        ws.close(None).await
                    })
                } else {
                    let connect = |_: &_| TcpStream::connect(address);
                    dial.blocking_connect_with(&config, connect).and_then(|mut ws| {
                        assert!(ws.get_ref().tls().is_some());
                        ws.close(None)
                    })
                };
                serving.join().unwrap();
                match done {
                    Err(Error::Tls(error)) if !good => {
                        assert_eq!(error.certificate(), Some(BadCertificate::WrongName));
                    }
                    done => assert!(good && done.is_ok(), "{done:?}"),
                }
            }
        }
    });
}

#[test]
fn roots_of_a_pem_text_are_trusted_beside_the_platforms() {
    bounded(|| {
        let (ours, another) = (Authority::new(), Authority::new());
        for (issuer, good) in [(&ours, true), (&another, false)] {
            let tls = issuer.issue(&["localhost"]).server();
            let (address, serving) = first(move |stream| {
                let stream = TlsStream::server(stream, tls).unwrap();
                let Ok(mut ws) = blocking::accept(stream, &Config::default()) else { return };
                while let Ok(Some(_)) = ws.recv() {}
            });
            let request = Request::new(&format!("wss://localhost:{}/", address.port())).unwrap();
            let trusted = platform_config_and_roots(ours.pem().as_bytes()).unwrap();
            let done = Dial::new(&request).tls(trusted).blocking_connect(&Config::default());
            match done.and_then(|mut ws| {
                assert!(ws.get_ref().tls().is_some_and(|session| session.in_place()));
                ws.close(None)
            }) {
                Err(Error::Tls(error)) if !good => {
                    assert_eq!(error.certificate(), Some(BadCertificate::NotTrusted));
                }
                done => assert!(good && done.is_ok(), "{done:?}"),
            }
            serving.join().unwrap();
        }
        for bad in
            ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
        {
            let error = platform_config_and_roots(bad.as_bytes()).unwrap_err();
            assert!(error.certificate().is_some() && !error.is_retryable(), "{error}");
        }
    });
}
