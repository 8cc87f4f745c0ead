//! The lines of the example `market_feed`: many feeds, numbered each by itself. `feed_handler` has the
//! tests of how they are cut.
#![cfg(feature = "tokio")]

use crate::support_program::Program;
use std::net::TcpStream;
use tickwire::{
    Config,
    blocking::{WebSocket, client},
    handshake::client::Request,
};

/// A server, and where its two lines are.
fn start(args: &str) -> (Program, [String; 2]) {
    let args: Vec<_> = ["--lines", "2"].into_iter().chain(args.split_whitespace()).collect();
    let program = Program::start("market_feed", &args);
    let lines = [0, 1].map(|line| {
        let told = program.line();
        let url = told.strip_prefix(&format!("line {line} listening on ")).expect(&told);
        url.to_owned()
    });
    (program, lines)
}

fn dial(url: &str) -> WebSocket<TcpStream> {
    let tcp = TcpStream::connect(url.trim_start_matches("ws://")).expect("it listens");
    tcp.set_read_timeout(Some(crate::support_program::PATIENCE)).expect("a stream");
    client(tcp, &Request::new(url).expect("a URL"), &Config::default()).expect("it is accepted")
}

/// Kind and sequence of a message.
fn heading(message: &[u8]) -> (u8, u64) {
    (message[0], u64::from_le_bytes(message[8..16].try_into().expect("its length")))
}

#[test]
fn each_feed_is_numbered_by_itself_and_a_snapshot_may_be_asked_for_alone() {
    let (_server, lines) = start("--feeds 2 --rate 1000");
    let mut ws = dial(&lines[0]);
    for feed in ["snapshot 0", "snapshot 1"] {
        ws.send(feed).expect("it reads");
        let message = ws.recv().expect("it answers").expect("it is open");
        assert_eq!(heading(message.as_bytes()).0, 2);
    }
    for said in ["snapshot 2", "subscribe -1", "subscribe", "hello 1", ""] {
        let mut ws = dial(&lines[1]);
        ws.send(said).expect("it reads");
        assert_eq!(ws.recv().expect("it closes"), None, "{said}");
        assert_eq!(ws.closed().map(|closed| closed.code), Some(1008), "{said}");
    }
}

#[cfg(feature = "rustls")]
#[test]
fn a_line_over_tls_is_trusted_by_the_certificate_that_is_printed() {
    use std::sync::Arc;
    use tickwire::{
        Dial, Error,
        tls::rustls::{
            ClientConfig, RootCertStore,
            pki_types::{CertificateDer, pem::PemObject},
        },
    };
    let (server, lines) = start("--tls --feeds 2");
    let mut pem = String::new();
    while !pem.contains("-----END CERTIFICATE-----") {
        pem += &server.line();
        pem.push('\n');
    }
    let dial = |roots| {
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let request = Request::new(&lines[1]).expect("a URL");
        Dial::new(&request).tls(Arc::new(tls)).blocking_connect(&Config::default())
    };
    assert!(matches!(dial(RootCertStore::empty()), Err(Error::Tls(_))));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a PEM")).expect("a root");
    let mut ws = dial(roots).expect("it is trusted");
    ws.send("snapshot 1").expect("it reads");
    assert_eq!(heading(ws.recv().expect("it answers").expect("it is open").as_bytes()).0, 2);
}

#[test]
fn options_of_lines_are_not_ignored() {
    for args in [
        "--feeds 3",
        "--tls",
        "--cut-every 1",
        "--life 1",
        "--silence 1",
        "--lines 0",
        "--lines 2 --clients 3",
        "--lines 2 --pace slow",
        "--lines 2 --tls-cert c.pem",
    ] {
        let args: Vec<_> = args.split_whitespace().collect();
        let (code, out, errors) = Program::start("market_feed", &args).finish();
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?}: {errors:?}");
    }
}
