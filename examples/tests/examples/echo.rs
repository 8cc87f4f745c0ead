//! Tests the examples `echo_server`, `round_trip` and `echo` as programs: the lines of output and
//! exit codes that other programs rely on. A plain `cargo test` builds the examples first.
#![cfg(all(unix, feature = "deflate", feature = "rustls", feature = "tokio"))]

use crate::support_program::{Program, http, server};
use std::{
    net::{TcpListener, TcpStream},
    thread,
};
use tickwire::{
    CloseCode, Config, Message, OwnedMessage,
    blocking::accept,
    tokio::{MaybeTls, WebSocket, connect},
};

/// Runs a future, with a limit on its time.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Runtime::new().unwrap().block_on(testkit::tasks::bounded(future))
}

async fn round_trip(ws: &mut WebSocket<MaybeTls>, message: Message<'_>) -> OwnedMessage {
    ws.feed(message).map(drop).unwrap();
    ws.recv_owned().await.unwrap().unwrap()
}

/// An echo server, its options, and the signal that stops it.
type Echo = (&'static str, &'static [&'static str], &'static str);

const ECHOES: [Echo; 3] = [
    ("echo", &["127.0.0.1:0"], "-TERM"),
    ("echo_server", &["--listen", "127.0.0.1:0"], "-INT"),
    ("echo_server", &["--listen", "127.0.0.1:0", "--threads", "3"], "-TERM"),
];

#[test]
fn text_comes_back_as_text_and_binary_as_binary_until_a_signal_closes_with_1001() {
    for (name, args, signal) in ECHOES {
        let server = Program::start(name, args);
        let line = server.line();
        let url = line.strip_prefix("listening on ").expect(&line);
        let address = url.strip_prefix("ws://").expect(url).trim_end_matches('/');
        // One that says nothing at all, for which `echo` waits some seconds.
        let silent = (name != "echo").then(|| TcpStream::connect(address).unwrap());
        wait(async {
            let config = Config { max_message: 64 << 20, ..Config::default() };
            let large = vec![7; 3 << 20]; // longer than every limit of a buffer
            let mut stay = Vec::new();
            for n in 0..4 {
                let mut ws = connect(url, &config).await.unwrap();
                for message in [
                    Message::Text("sch\u{f6}n"),
                    Message::Binary(b"\0\xff"),
                    Message::Text(""),
                    Message::Binary(&large),
                ] {
                    let echo = round_trip(&mut ws, message).await;
                    assert!(echo.as_message() == message, "{name}: {echo:?}");
                }
                if n % 2 == 0 {
                    ws.close(CloseCode::NORMAL).await.unwrap();
                    assert_eq!(ws.closed().map(|end| (end.code, end.clean)), Some((1000, true)));
                } else {
                    stay.push(ws);
                }
            }
            server.signal(signal);
            for mut ws in stay {
                assert_eq!(ws.recv().await.unwrap(), None);
                assert_eq!(ws.closed().map(|end| (end.code, end.clean)), Some((1001, true)));
            }
        });
        assert_eq!(server.finish(), (0, vec![], vec![]), "{name}");
        assert!(TcpStream::connect(address).is_err());
        drop(silent);
    }
}

#[test]
fn the_server_tells_plain_http_what_it_is() {
    let (_server, address) = server(&[]);
    let answer = http(&address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains(&format!("ws://{address}")), "{answer}");
    assert!(http(&address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_server_agrees_to_deflate_if_it_is_told_to() {
    let config = Config { deflate: Some(Default::default()), ..Config::default() };
    for (args, agrees) in [(&[][..], false), (&["--deflate"], true)] {
        let (_server, address) = server(args);
        wait(async {
            let mut ws = connect(&format!("ws://{address}/"), &config).await.unwrap();
            assert_eq!(ws.connection().negotiated().deflate.is_some(), agrees);
            let text = "tick ".repeat(1000);
            assert_eq!(round_trip(&mut ws, Message::Text(&text)).await.as_bytes(), text.as_bytes());
        });
    }
}

#[test]
fn a_peer_that_does_not_answer_holds_the_server_for_some_seconds_only() {
    let (server, address) = server(&[]);
    let ws = wait(connect(&format!("ws://{address}/"), &Config::default())).unwrap();
    server.signal("-TERM");
    assert_eq!(server.finish().0, 0);
    drop(ws);
}

mod over_tls {
    use crate::{
        support::tls::{Authority, self_signed},
        support_program::{Program, client},
    };
    use std::{fs, path::Path};

    /// The files of a certificate authority, and of a server that it vouches for.
    struct Files {
        ca: String,
        cert: String,
        key: String,
    }

    /// Makes the files. Each test has its own files.
    fn files(test: &str) -> Files {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        let pem =
            format!("no certificate, which is fine\n{}", pem("CERTIFICATE", &identity.chain[0]));
        Files {
            ca: file(test, "ca.pem", &authority.pem()),
            cert: file(test, "cert.pem", &pem),
            key: file(test, "key.pem", &identity.key.serialize_pem()),
        }
    }

    fn file(test: &str, name: &str, text: &str) -> String {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{name}"));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// A server, and its URL.
    fn server(files: &Files) -> (Program, String) {
        let tls = ["--tls-cert", &files.cert, "--tls-key", &files.key];
        let (program, address) = crate::support_program::server(&tls);
        (program, format!("wss://{address}"))
    }

    #[test]
    fn the_client_and_the_server_speak_wss() {
        let files = files("speak");
        let (server, url) = server(&files);
        for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
            let (code, out, errors) =
                client(&[&url, "--ca", &files.ca], b"sch\xc3\xb6n\n/binary c0ffee\n");
            let want = ["sch\u{f6}n", "binary: c0ffee", "closed: 1000 (clean)"];
            assert_eq!((code, out, errors), (0, want.map(String::from).to_vec(), vec![]));
        }
        server.signal("-TERM");
        assert_eq!(server.finish(), (0, vec![], vec![]));
    }

    /// On these systems, the system's roots come from a file.
    #[cfg(not(target_vendor = "apple"))]
    #[test]
    fn the_client_trusts_whom_the_system_trusts() {
        let files = files("system");
        let (_server, url) = server(&files);
        let args = [&*url];
        // Broken roots and dead links beside the good root do no harm.
        let good = fs::read_to_string(&files.ca).unwrap();
        let broken = |inside| pem("CERTIFICATE", b"").replace("\n-----END", inside);
        let among = broken("!\n-----END") + &broken("\nAAAA\n-----END") + &good;
        let among = file("system", "among.pem", &among.replace('\n', "\r\n"));
        let folder = Path::new(&files.ca).with_file_name("system-roots");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/nonexistent", folder.join("dead.pem")).unwrap();
        fs::write(folder.join("empty.pem"), "").unwrap();
        fs::copy(&files.ca, folder.join("good.pem")).unwrap();
        let marked = file("system", "marked.pem", &format!("\u{feff}{good}"));
        let other = file("system", "other.pem", &Authority::new().pem());
        for trusting in [
            ("SSL_CERT_FILE", &*files.ca),
            ("SSL_CERT_FILE", &*marked),
            ("SSL_CERT_FILE", &*among),
            ("SSL_CERT_DIR", folder.to_str().unwrap()),
        ] {
            for args in [&args[..], &[&*url, "--ca", &*other]] {
                let mut program = Program::start_in("client", args, &[trusting]);
                program.write(b"hi\n");
                let (code, out, errors) = program.finish();
                assert_eq!((code, errors), (0, vec![]), "{trusting:?} {args:?}");
                assert_eq!(out, ["hi", "closed: 1000 (clean)"]);
            }
        }

        let doubting = [("SSL_CERT_FILE", &*other)];
        let (code, out, errors) = Program::start_in("client", &args, &doubting).finish();
        let at = url.strip_prefix("wss://").unwrap();
        let says = "certificate is self-signed, or of an authority that is not trusted here: trust \
                    its authority, for example with `platform_config_and_roots`; here, by --ca FILE";
        assert_eq!((code, out), (1, vec![]));
        assert_eq!(errors, [format!("error: {at}: {says}")]);

        // A system without any root.
        let empty = file("system", "empty.pem", "");
        let none = [("SSL_CERT_FILE", &*empty), ("SSL_CERT_DIR", "/nonexistent")];
        let (code, _, errors) = Program::start_in("client", &args, &none).finish();
        assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
        assert!(errors[0].contains("No CA certificates"), "{errors:?}");
        assert!(errors[0].contains(&*empty) && errors[0].contains("SSL_CERT_FILE"), "{errors:?}");
    }

    #[test]
    fn wrong_options_of_tls_are_one_line_and_exit_code_2() {
        let files = files("options");
        let other = file("options", "other.pem", &self_signed(&["x"], |_| {}).key.serialize_pem());
        let Files { ca, cert, key, .. } = &files;
        for (args, says) in [
            (&["--tls-cert", &**cert][..], "--tls-cert: needs --tls-key"),
            (&["--tls-key", key], "--tls-key: needs --tls-cert"),
            (&["--tls-cert", "/nowhere", "--tls-key", key], "--tls-cert \"/nowhere\": "),
            (&["--tls-cert", cert, "--tls-key", "/nowhere"], "--tls-key \"/nowhere\": "),
            (&["--tls-cert", key, "--tls-key", key], "no certificate in it"),
            (&["--tls-cert", cert, "--tls-key", cert], "--tls-key"),
            (&["--tls-cert", cert, "--tls-key", &other], "--tls-cert"),
        ] {
            let (code, out, errors) = Program::start("echo_server", args).finish();
            assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
            assert!(errors[0].starts_with("error: ") && errors[0].contains(says), "{errors:?}");
        }
        let (ws, wss) = ("ws://127.0.0.1:1", "wss://127.0.0.1:1");
        for (args, says) in [
            (&[ws, "--ca", ca][..], "--ca: the URL is not of wss"),
            (&[wss, "--ca", "/nowhere"], "--ca \"/nowhere\": "),
            (&[wss, "--ca", key], "no certificate"),
        ] {
            let (code, out, errors) = client(args, b"");
            assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
            assert!(errors[0].starts_with("error: ") && errors[0].contains(says), "{errors:?}");
        }
    }
}

#[test]
fn round_trips_are_counted_and_timed() {
    let (_server, address) = server(&[]);
    for bytes in ["0", "70000"] {
        let args = [&*format!("ws://{address}"), "--bytes", bytes, "--seconds", "0.2"];
        let (status, out, err) = Program::start("round_trip", &args).finish();
        assert_eq!((status, &err[..]), (0, &[][..]));
        let figures: Vec<f64> = out
            .iter()
            .flat_map(|line| line.split([' ', ',']))
            .filter_map(|word| word.parse().ok())
            .collect();
        let &[rate, p50, p99, p999] = &figures[..] else { panic!("{out:?}") };
        // Half of the round trips took the median or more.
        assert!(rate >= 1.0 && rate * p50 < 2.1e6, "{out:?}");
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{out:?}");
    }
}

#[test]
fn a_server_that_says_something_else_or_goes_is_no_echo() {
    for answer in [Some(&b"other"[..]), None] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            let mut ws = accept(stream, &Config::default()).unwrap();
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes().len(), 256);
            match answer {
                Some(other) => ws.send(other).unwrap(),
                None => ws.close(CloseCode::GOING_AWAY).unwrap(),
            }
        });
        let (status, out, err) = Program::start("round_trip", &[&url]).finish();
        assert_eq!((status, &out[..]), (1, &[][..]));
        assert!(err.iter().any(|line| line.contains("does not echo")), "{err:?}");
        server.join().unwrap();
    }
}
