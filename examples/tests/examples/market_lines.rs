//! The lines of the example `market_feed`: many feeds, numbered each by itself.
#![cfg(feature = "tokio")]

use crate::support_program::Program;
use std::{collections::BTreeMap, net::TcpStream, thread};
use tickwire::{
    CloseCode, Config,
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

/// What a connection carried.
struct Seen {
    /// Where the snapshot stands: 0 before the first tick.
    snapshot: Option<u64>,
    ticks: BTreeMap<u64, Vec<u8>>,
    /// The code of the Close, if there was one.
    close: Option<u16>,
}

/// A connection, until it is cut.
fn follow(url: &str, feed: usize) -> Seen {
    let mut ws = dial(url);
    ws.send(&*format!("subscribe {feed}")).expect("it reads");
    ws.send(&*format!("snapshot {feed}")).expect("it reads");
    let mut seen = Seen { snapshot: None, ticks: BTreeMap::new(), close: None };
    loop {
        match ws.recv() {
            Ok(Some(message)) => match heading(message.as_bytes()) {
                (2, sequence) => seen.snapshot = Some(sequence),
                (1, sequence) => {
                    let next = seen.ticks.last_key_value().map_or(sequence, |(last, _)| last + 1);
                    assert_eq!(sequence, next, "a line has no holes");
                    seen.ticks.insert(sequence, message.as_bytes().to_vec());
                }
                other => panic!("{other:?}"),
            },
            Ok(None) => {
                seen.close = ws.closed().map(|closed| closed.code);
                return seen;
            }
            Err(_) => return seen,
        }
    }
}

#[test]
fn both_lines_have_the_same_ticks_and_are_cut_by_a_close_and_by_a_reset_in_turn() {
    let (_server, lines) = start("--feeds 3 --rate 900 --cut-every 1");
    let ends = lines.map(|url| thread::spawn(move || [follow(&url, 1), follow(&url, 1)]));
    let [first, second] = ends.map(|end| end.join().expect("it ends"));
    for line in [&first, &second] {
        let mut ends = line.each_ref().map(|seen| seen.close);
        ends.sort();
        assert_eq!(ends, [None, Some(CloseCode::GOING_AWAY.get())]);
        for seen in line {
            let first = *seen.ticks.first_key_value().expect("there are ticks").0;
            let snapshot = seen.snapshot.expect("a snapshot");
            assert!(first <= snapshot + 1, "no hole behind the snapshot");
        }
    }
    let all = |line: [Seen; 2]| line.into_iter().flat_map(|seen| seen.ticks).collect();
    let [first, second]: [BTreeMap<u64, Vec<u8>>; 2] = [all(first), all(second)];
    let both: Vec<_> = first.keys().filter(|number| second.contains_key(number)).collect();
    assert!(both.len() > 300, "{}", both.len());
    assert!(both.iter().all(|&number| first[number] == second[number]));
    // Of the two connections of a line, in the time between them.
    let (begin, end) = (*both[0], **both.last().expect("there are some"));
    assert!((begin..end).all(|n| first.contains_key(&n) || second.contains_key(&n)));
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
