//! TLS over the streams of a connector: the certificate is for the URL's host, wherever the
//! connector goes. And roots that are trusted beside the platform's, and the log of keys.
use crate::support::placed::placed;
use crate::support::{
    blocking::bounded,
    proxy::first,
    tls::{Authority, product, runtime, wait},
};
use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
};
use tickwire::{
    Config, Dial, Error,
    blocking::{self, TlsStream},
    handshake::client::Request,
    tls::{
        BadCertificate, platform_config_and_roots,
        rustls::{ClientConfig, KeyLog},
    },
};

#[test]
fn the_certificate_is_for_the_host_of_the_url() {
    bounded(|| {
        let authority = Authority::new();
        let names = [("feed.example", true), ("localhost", false)];
        for ((name, good), on_tokio) in product(names, [false, true]) {
            let tls = authority.issue(&[name]).server();
            let (address, serving) = first(move |stream| {
                let stream = TlsStream::server(stream, placed(tls)).unwrap();
                let Ok(mut ws) = blocking::accept(stream, &Config::default()) else { return };
                while let Ok(Some(_)) = ws.recv() {}
            });
            let request = Request::new("wss://feed.example/ticks").unwrap();
            let dial = Dial::new(&request).tls(placed(authority.client()));
            let config = Config::default();
            let done = if on_tokio {
                let runtime = runtime();
                let connect = |_| tokio::net::TcpStream::connect(address);
                wait(&runtime, async {
                    let mut ws = dial.connect_with(&config, connect).await?;
                    assert!(ws.get_ref().session().is_some());
                    ws.close(None).await
                })
            } else {
                let connect = |_: &_| TcpStream::connect(address);
                dial.blocking_connect_with(&config, connect).and_then(|mut ws| {
                    assert!(ws.get_ref().with_session(|_| ()).is_some());
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
    });
}

#[test]
fn roots_of_a_pem_text_are_trusted_beside_the_platforms() {
    bounded(|| {
        let (ours, another) = (Authority::new(), Authority::new());
        // As editors of Windows save it too.
        let plain = format!("An authority of ours\n\n{}", ours.pem());
        let (bom, lines) = (format!("\u{feff}{}", ours.pem()), plain.replace('\n', "\r\n"));
        let joined = format!("\u{feff}{}\u{feff}{}", another.pem(), ours.pem());
        for (issuer, pem, good) in [
            (&ours, &plain, true),
            (&ours, &joined, true),
            (&ours, &bom, true),
            (&ours, &lines, true),
            (&another, &plain, false),
        ] {
            let tls = issuer.issue(&["localhost"]).server();
            let (address, serving) = first(move |stream| {
                let stream = TlsStream::server(stream, placed(tls)).unwrap();
                let Ok(mut ws) = blocking::accept(stream, &Config::default()) else { return };
                while let Ok(Some(_)) = ws.recv() {}
            });
            let request = Request::new(&format!("wss://localhost:{}/", address.port())).unwrap();
            let trusted = platform_config_and_roots(pem.as_bytes()).unwrap();
            let done =
                Dial::new(&request).tls(placed(trusted)).blocking_connect(&Config::default());
            match done.and_then(|mut ws| {
                assert_eq!(ws.get_ref().with_session(|session| session.in_place()), Some(false));
                ws.close(None)
            }) {
                Err(Error::Tls(error)) if !good => {
                    assert_eq!(error.certificate(), Some(BadCertificate::NotTrusted));
                }
                done => assert!(good && done.is_ok(), "{done:?}"),
            }
            serving.join().unwrap();
        }
        let broken = |inside| {
            let label = "CERTIFICATE-----\n";
            format!("{}-----BEGIN {label}{inside}-----END {label}", ours.pem())
        };
        for (bad, says) in [
            (String::new(), "certificate is not acceptable: in the PEM text, no certificate"),
            ("no certificate".into(), "in the PEM text, no certificate"),
            (broken("!\n"), "in the PEM text, certificate 2: "),
            (broken("AAAA\n"), "in the PEM text, certificate 2: "),
        ] {
            let error = platform_config_and_roots(bad.as_bytes()).unwrap_err();
            assert!(error.certificate().is_some() && !error.is_retryable(), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    });
}

#[derive(Debug, Default)]
struct Labels(Mutex<Vec<String>>);

impl KeyLog for Labels {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        assert!(client_random.len() == 32 && !secret.is_empty());
        self.0.lock().unwrap().push(label.into());
    }
}

/// As the recipe "See what went over a connection" has it.
#[test]
fn the_keys_of_a_session_are_logged_if_the_configuration_of_the_platform_is_given_a_log() {
    bounded(|| {
        let ours = Authority::new();
        let (near, far) = (Arc::new(Labels::default()), Arc::new(Labels::default()));
        let log = far.clone();
        let tls = ours.issue(&["localhost"]).server_with(|config| config.key_log = log);
        let (address, serving) = first(move |stream| {
            let stream = TlsStream::server(stream, placed(tls)).unwrap();
            let mut ws = blocking::accept(stream, &Config::default()).unwrap();
            while let Ok(Some(_)) = ws.recv() {}
        });
        let trusted = platform_config_and_roots(ours.pem().as_bytes()).unwrap();
        let mut tls = Arc::<ClientConfig>::from(trusted);
        Arc::make_mut(&mut tls).key_log = near.clone();
        let request = Request::new(&format!("wss://localhost:{}/", address.port())).unwrap();
        let mut ws =
            Dial::new(&request).tls(placed(tls)).blocking_connect(&Config::default()).unwrap();
        assert_eq!(ws.get_ref().with_session(|session| session.in_place()), Some(false));
        ws.close(None).unwrap();
        serving.join().unwrap();
        for labels in [near, far] {
            let labels = labels.0.lock().unwrap();
            for label in ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"] {
                assert!(labels.iter().any(|logged| logged == label), "{labels:?}");
            }
        }
    });
}
