//! The examples `echo_server` and `client` as programs: the command lines, lines of output and exit
//! codes that other programs rely on. Needs the examples built, as a plain `cargo test` does.
#![cfg(all(unix, feature = "tokio"))]

use crate::support_program::{ADAPTERS, PATIENCE, Program, client, server};
use ::tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};
use tickwire::{
    CloseCode, CloseFrame, Config, Dial, Error, Message, OwnedMessage,
    handshake::client::Request,
    tokio::{MaybeTls, WebSocket, accept, connect},
};

/// What the client prints and how it exits, for a server of one connection.
fn client_against<F>(serve: F) -> (i32, Vec<String>, Vec<String>)
where
    F: FnOnce(TcpStream) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(stream);
    });
    let ended = client(&[&url], b"");
    server.join().unwrap();
    ended
}

/// Runs a future, not for ever.
fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("takes too long") })
}

async fn round_trip(ws: &mut WebSocket<MaybeTls>, message: Message<'_>) -> OwnedMessage {
    ws.feed(message).map(drop).unwrap();
    ws.recv_owned().await.unwrap().unwrap()
}

/// Sends a request and returns all that is answered.
fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_server_echoes_text_as_text_and_binary_as_binary() {
    for adapter in ADAPTERS {
        for threads in ["1", "3"] {
            let (_server, address) = server(adapter, &["--threads", threads]);
            wait(async {
                let config = Config { max_message: 64 << 20, ..Config::default() };
                for _ in 0..4 {
                    let mut ws = connect(&format!("ws://{address}/"), &config).await.unwrap();
                    let large = vec![7; 3 << 20]; // above every mark of buffers
                    for message in [
                        Message::Text("sch\u{f6}n"),
                        Message::Binary(b"\0\xff"),
                        Message::Text(""),
                        Message::Binary(&large),
                    ] {
                        let echo = round_trip(&mut ws, message).await;
                        assert!(echo.as_message() == message, "{echo:?}");
                    }
                    ws.close(CloseCode::NORMAL).await.unwrap();
                    assert_eq!(ws.closed().unwrap().code, 1000);
                }
            });
        }
    }
}

#[test]
fn the_server_tells_plain_http_what_it_is() {
    for adapter in ADAPTERS {
        let (_server, address) = server(adapter, &[]);
        let answer = http(&address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.contains(&format!("ws://{address}")), "{answer}");
        assert!(http(&address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
}

#[test]
fn the_server_refuses_other_origins_and_says_so_in_one_line() {
    for adapter in ADAPTERS {
        let origins = ["--origin", "https://a.example", "--origin", "http://b.example:8080"];
        let (server, address) = server(adapter, &origins);
        let url = format!("ws://{address}/");
        let ask = async |origin: &str| {
            let request = Request::new(&url).unwrap().origin(origin).unwrap();
            Dial::new(&request).connect(&Config::default()).await
        };
        wait(async {
            for good in ["https://a.example", "http://b.example:8080"] {
                ask(good).await.unwrap().close(None).await.unwrap();
            }
            for bad in ["http://a.example", "http://b.example", "https://a.example.net"] {
                match ask(bad).await.unwrap_err() {
                    Error::Refused(refusal) => assert_eq!(refusal.status, 403),
                    error => panic!("{error}"),
                }
            }
        });
        server.signal("-TERM");
        let (code, _, errors) = server.finish();
        assert_eq!((code, errors.len()), (0, 3), "{errors:?}");
        assert!(errors.iter().all(|line| line.ends_with(": origin is not allowed")), "{errors:?}");
    }
}

#[test]
fn the_server_chooses_the_subprotocol_it_likes_best() {
    for adapter in ADAPTERS {
        let (_server, address) = server(adapter, &["--subprotocol", "v2", "--subprotocol", "v1"]);
        for (offered, chosen) in
            [(&["v0", "v1", "v2"][..], Some("v2")), (&["v1"], Some("v1")), (&["v0"], None)]
        {
            let request = Request::new(&format!("ws://{address}/")).unwrap();
            let request = request.subprotocols(offered).unwrap();
            wait(async {
                let ws = Dial::new(&request).connect(&Config::default()).await.unwrap();
                assert_eq!(ws.connection().negotiated().subprotocol.as_deref(), chosen);
            });
        }
    }
}

#[test]
fn the_server_has_the_limits_it_was_given() {
    for adapter in ADAPTERS {
        let (_server, address) = server(adapter, &["--max-message", "100", "--max-frame", "50"]);
        for (len, code) in [(50, 1000), (51, 1009)] {
            wait(async {
                let url = format!("ws://{address}/");
                let mut ws = connect(&url, &Config::default()).await.unwrap();
                ws.send(&vec![0; len]).await.unwrap();
                let echo = ws.recv_owned().await.unwrap();
                assert_eq!(echo.map(|echo| echo.as_bytes().len()), (code == 1000).then_some(len));
                let _ = ws.close(CloseCode::NORMAL).await;
                assert_eq!(ws.closed().unwrap().code, code);
            });
        }
    }
}

#[test]
fn a_signal_closes_every_connection_with_1001() {
    for adapter in ADAPTERS {
        for signal in ["-TERM", "-INT"] {
            let (server, address) = server(adapter, &["--threads", "2"]);
            let silent = TcpStream::connect(&address).unwrap(); // says nothing at all
            wait(async {
                let mut peers = Vec::new();
                for _ in 0..6 {
                    let url = format!("ws://{address}/");
                    let mut ws = connect(&url, &Config::default()).await.unwrap();
                    let _ = round_trip(&mut ws, Message::Text("here")).await;
                    peers.push(ws);
                }
                server.signal(signal);
                for mut ws in peers {
                    assert!(ws.recv().await.unwrap().is_none());
                    assert_eq!(ws.closed().map(|end| (end.code, end.clean)), Some((1001, true)));
                }
            });
            let (code, _, errors) = server.finish();
            assert_eq!((code, errors), (0, vec![]));
            assert!(TcpStream::connect(&address).is_err());
            drop(silent);
        }
    }
}

#[test]
fn the_server_tells_at_the_end_what_each_thread_did_if_asked() {
    const CONNECTIONS: u64 = 40;
    const MESSAGES: u64 = 5; // of each
    // How many lines, and how they begin.
    for (adapter, threads, lines, who) in
        [("tokio", "2", 2, "thread "), ("tokio", "1", 1, "thread "), ("blocking", "2", 1, "all ")]
    {
        let (server, address) = server(adapter, &["--threads", threads, "--stats"]);
        wait(async {
            let mut peers = Vec::new();
            for _ in 0..CONNECTIONS {
                let url = format!("ws://{address}/");
                let mut ws = connect(&url, &Config::default()).await.unwrap();
                for _ in 0..MESSAGES {
                    let _ = round_trip(&mut ws, Message::Binary(&[7; 64])).await;
                }
                peers.push(ws);
            }
            server.signal("-TERM");
            for mut ws in peers {
                assert!(ws.recv().await.unwrap().is_none());
                assert_eq!(ws.closed().map(|end| (end.code, end.clean)), Some((1001, true)));
            }
        });
        let (code, out, errors) = server.finish();
        assert_eq!((code, out.len(), &errors[..]), (0, lines, &[][..]), "{out:?}");
        assert!(out.iter().all(|line| line.starts_with(who)), "{out:?}");
        let sum = |unit: &str| out.iter().map(|line| figure(line, unit)).sum::<f64>();
        assert_eq!(sum(" connections") as u64, CONNECTIONS, "{out:?}");
        // The system deals them out: 40 to one of two is as likely as 40 heads in a row.
        assert!(out.iter().all(|line| figure(line, " connections") > 0.0), "{out:?}");
        assert_eq!(sum(" messages") as u64, CONNECTIONS * MESSAGES, "{out:?}");
        if cfg!(target_os = "linux") {
            assert!(sum(" s of processor time") > 0.0, "{out:?}");
        }
    }
}

/// The number in front of `unit`.
fn figure(line: &str, unit: &str) -> f64 {
    let before = &line[..line.find(unit).expect(line)];
    before.rsplit(' ').next().unwrap().parse().expect(line)
}

#[test]
fn a_peer_that_does_not_answer_holds_the_server_for_some_seconds_only() {
    for adapter in ADAPTERS {
        let (server, address) = server(adapter, &[]);
        let ws = wait(connect(&format!("ws://{address}/"), &Config::default())).unwrap();
        server.signal("-TERM");
        assert_eq!(server.finish().0, 0);
        drop(ws);
    }
}

#[test]
fn a_wrong_command_line_of_the_server_is_one_line_that_says_what_was_expected() {
    for (args, says) in [
        (["--adapter", "zz"], "--adapter \"zz\": expected tokio or blocking"),
        (["--threads", "0"], "--threads \"0\": expected a number from 1 to 1024"),
        (["--max-message", "0"], "--max-message \"0\": expected a number from 1 to 4294967295"),
    ] {
        let (_, _, errors) = Program::start("echo_server", &args).finish();
        assert_eq!(errors, [format!("error: {says}; see --help")]);
    }
    let (code, out, errors) = Program::start("echo_server", &["--help"]).finish();
    assert_eq!((code, errors.len()), (0, 0));
    assert!(out.iter().any(|line| line.contains("--listen ADDR")));
}

#[test]
fn the_client_sends_lines_and_prints_what_comes_back_before_it_ends() {
    let (_server, address) = server("tokio", &["--subprotocol", "v1"]);
    let url = format!("ws://{address}/");
    let args = [&url, "--subprotocol", "v1", "--header", "X-A: b: c"];
    let input =
        "hi\n\n/binary c0 FFee\n/binary\n//usr/bin\n//\n///\nt\tb \u{202e}sch\u{f6}n\r\nlast";
    let (code, out, errors) = client(&args, input.as_bytes());
    let expected = [
        "subprotocol: v1",
        "hi",
        "",
        "binary: c0ffee",
        "binary: ",
        "/usr/bin",
        "/",
        "//",
        "t\\tb \\u{202e}sch\u{f6}n",
        "last",
        "closed: 1000 (clean)",
    ];
    assert_eq!((code, out, errors), (0, expected.map(String::from).to_vec(), vec![]));
}

#[test]
fn the_client_pings_and_closes_as_it_is_told() {
    let (_server, address) = server("tokio", &[]);
    let url = format!("ws://{address}/");
    let mut program = Program::start("client", &[&url]);
    program.write(b"/ping\n");
    let pong = program.line();
    let took = pong.strip_prefix("pong ").and_then(|rest| rest.strip_suffix(" ms"));
    assert!(took.expect(&pong).parse::<f64>().unwrap() < 5e3, "{pong}");
    program.write(b"/close 4000 bye\nnot sent\n");
    let ended = program.finish();
    assert_eq!(ended, (0, vec!["closed: 4000 (clean)".into()], vec![]));

    for (input, closed) in
        [("/close\n", "closed: 1005 (clean)"), ("/quit\nno\n", "closed: 1000 (clean)")]
    {
        let ended = client(&[&url], input.as_bytes());
        assert_eq!(ended, (0, vec![closed.into()], vec![]));
    }
}

#[test]
fn a_line_the_client_cannot_make_sense_of_is_skipped_and_the_exit_code_1() {
    let (_server, address) = server("tokio", &[]);
    let url = format!("ws://{address}/");
    let long = format!("/close 1000 {}\n", "x".repeat(124));
    let bad = ["/binary f\n", "/binary xx\n", "/close 1006\n", "/close bye\n", &long];
    let unknown = ["/foo\n", "/foo bar\n", "/\n", "/Ping\n", "/binary\tc0\n", "/usr/bin\n"];
    let bad = bad.into_iter().chain(unknown).map(str::as_bytes);
    for bad in bad.chain([&b"\xff\n"[..]]) {
        let (code, out, errors) = client(&[&url], &[bad, b"next\n"].concat());
        assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
        assert!(errors[0].starts_with("error: "), "{errors:?}");
        assert_eq!(out, ["next", "closed: 1000 (clean)"]);
    }
    let (_, _, errors) = client(&[&url], b"/foo bar\n");
    let says = "\"/foo\" is no command; for a text that begins with /, write //";
    assert_eq!(errors, [format!("error: {says}")]);
}

#[test]
fn a_wrong_command_line_of_the_client_is_one_line_and_exit_code_2() {
    let url = "ws://127.0.0.1:1/";
    for args in [
        &[][..],
        &["http://127.0.0.1/"],
        &["not a url"],
        &[url, "--nonsense"],
        &[url, "stray"],
        &[url, "--header"],
        &[url, "--header", "no colon"],
        &[url, "--header", "Host: elsewhere"],
        &[url, "--header", "Authorization: secret\r\nX: y"],
        &[url, "--subprotocol", "not a token"],
    ] {
        let (code, out, errors) = client(args, b"");
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
        assert!(errors[0].starts_with("error: ") && !errors[0].contains("secret"), "{errors:?}");
    }
    assert_eq!(client(&["--help"], b"").0, 0);
}

#[test]
fn a_failed_connection_is_one_line_of_the_client_and_exit_code_1() {
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, errors) = client(&[&format!("ws://{closed}")], b"hi\n");
    assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
    assert!(errors[0].starts_with(&format!("error: {closed}: ")), "{errors:?}");

    #[cfg(not(feature = "rustls"))]
    {
        let (code, _, errors) = client(&["wss://127.0.0.1:1"], b"hi\n");
        assert_eq!(code, 1);
        assert_eq!(errors, ["error: wss:// needs TLS: add --features rustls"]);
    }

    let (code, _, errors) = client_against(|mut stream| {
        read_head(&mut stream).unwrap();
        let body = "closed for\r\nlunch \x1b[31m";
        let head = "HTTP/1.1 503 No\r\nContent-Length:";
        write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
    });
    assert_eq!(code, 3);
    assert_eq!(errors, [r"error: server answered 503 No: closed for\r\nlunch \x1b[31m"]);

    let (code, _, errors) = client_against(|mut stream| {
        read_head(&mut stream).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });
    assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
}

#[test]
fn the_client_escapes_what_is_hostile_and_reports_an_end_without_a_close() {
    let (code, out, errors) = client_against(|stream| {
        serve(stream, async |mut ws| {
            ws.send("\x1b[2J\nclosed: 1000 (clean)").await.unwrap();
            // FIN, and what the client says is read, or it would become a reset.
            let (mut stream, _) = ws.into_parts();
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
    });
    assert_eq!(code, 1);
    assert_eq!(out, [r"\u{1b}[2J\nclosed: 1000 (clean)"]);
    assert_eq!(errors, ["error: stream ended without a closing handshake"]);

    let (code, out, errors) = client_against(|stream| {
        serve(stream, async |mut ws| {
            let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "so\nlong");
            ws.close(frame).await.unwrap();
        });
    });
    assert_eq!((code, out, errors), (0, vec![r"closed: 1001 so\nlong (clean)".into()], vec![]));
}

/// The server's end of one connection.
fn serve(stream: TcpStream, talk: impl AsyncFnOnce(WebSocket<tokio::net::TcpStream>)) {
    wait(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        talk(accept(stream, &Config::default()).await.unwrap()).await;
    });
}

fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(())
}

#[cfg(not(feature = "rustls"))]
#[test]
fn options_of_tls_name_the_feature_that_is_missing() {
    for (program, args) in [
        ("echo_server", &["--tls-cert", "c.pem", "--tls-key", "k.pem"][..]),
        ("client", &["wss://127.0.0.1:1", "--ca", "c.pem"]),
        ("client", &["wss://127.0.0.1:1", "--insecure"]),
    ] {
        let (code, out, errors) = Program::start(program, args).finish();
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
        assert!(errors[0].contains("add --features rustls"), "{errors:?}");
    }
}

#[cfg(feature = "rustls")]
mod over_tls {
    use super::{ADAPTERS, PATIENCE, Program, client};
    use crate::support::tls::{Authority, Raw, self_signed};
    use std::{fs, net::TcpStream, path::Path};

    /// Files of an authority and of a server that it vouches for.
    struct Files {
        authority: Authority,
        ca: String,
        cert: String,
        key: String,
    }

    /// Each test has its own.
    fn files(test: &str) -> Files {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        let pem =
            format!("no certificate, which is fine\n{}", pem("CERTIFICATE", &identity.chain[0]));
        Files {
            ca: file(test, "ca.pem", &authority.pem()),
            cert: file(test, "cert.pem", &pem),
            key: file(test, "key.pem", &identity.key.serialize_pem()),
            authority,
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

    /// A server, and where it says it is.
    fn server(adapter: &str, files: &Files) -> (Program, String) {
        let args = ["--listen", "127.0.0.1:0", "--adapter", adapter];
        let tls = ["--tls-cert", &files.cert, "--tls-key", &files.key];
        let program = Program::start("echo_server", &[&args[..], &tls].concat());
        let line = program.line();
        let url = line.strip_prefix("listening on ").expect(&line).to_string();
        assert!(url.starts_with("wss://127.0.0.1:"), "{line}");
        (program, url)
    }

    #[test]
    fn the_client_and_the_server_speak_wss() {
        let files = files("speak");
        for adapter in ADAPTERS {
            let (server, url) = server(adapter, &files);
            for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
                let args = [&url, "--ca", &files.ca];
                let (code, out, errors) = client(&args, b"sch\xc3\xb6n\n/binary c0ffee\n");
                assert_eq!((code, errors), (0, vec![]));
                let want = ["sch\u{f6}n", "binary: c0ffee", "closed: 1000 (clean)"];
                assert_eq!(out, want);
            }

            server.signal("-TERM");
            assert_eq!(server.finish(), (0, vec![], vec![]));
        }
    }

    #[test]
    fn the_client_tells_what_tls_agreed_on_if_asked() {
        let files = files("verbose");
        let (_server, url) = server("tokio", &files);
        let args = [&url, "--ca", &files.ca, "--verbose"];
        let (code, _, told) = client(&args, b"");
        assert_eq!(code, 0);
        let tls = told[2].strip_prefix("* TLS: ").expect(&told[2]);
        assert!(tls.contains(" ms, TLSv1_3 TLS13_"), "{told:?}");
    }

    /// The roots of the system, where they come from a file.
    #[cfg(not(target_vendor = "apple"))]
    #[test]
    fn the_client_trusts_whom_the_system_trusts() {
        let files = files("system");
        let (_server, url) = server("tokio", &files);
        let args = [&*url];
        let trusting = [("SSL_CERT_FILE", &*files.ca)];
        let mut program = Program::start_in("client", &args, &trusting);
        program.write(b"hi\n");
        let (code, out, errors) = program.finish();
        assert_eq!((code, errors), (0, vec![]));
        assert_eq!(out, ["hi", "closed: 1000 (clean)"]);

        let other = file("system", "other.pem", &Authority::new().pem());
        let doubting = [("SSL_CERT_FILE", &*other)];
        let (code, out, errors) = Program::start_in("client", &args, &doubting).finish();
        let at = url.strip_prefix("wss://").unwrap();
        let says = "certificate is self-signed, or of an authority that is not trusted here";
        assert_eq!((code, out), (1, vec![]));
        assert_eq!(errors, [format!("error: {at}: {says}")]);

        // A system without any.
        let empty = file("system", "empty.pem", "");
        let none = [("SSL_CERT_FILE", &*empty), ("SSL_CERT_DIR", "/nonexistent")];
        let (code, _, errors) = Program::start_in("client", &args, &none).finish();
        assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
        assert!(errors[0].contains("No CA certificates"), "{errors:?}");
    }

    #[test]
    fn insecure_takes_anybody_for_the_server_and_says_so() {
        let stranger = self_signed(&["elsewhere.example"], |_| {});
        let files = Files {
            authority: Authority::new(),
            ca: String::new(),
            cert: file("insecure", "cert.pem", &pem("CERTIFICATE", &stranger.chain[0])),
            key: file("insecure", "key.pem", &stranger.key.serialize_pem()),
        };
        let (_server, url) = server("blocking", &files);
        let args = [&url, "--insecure"];
        let (code, out, errors) = client(&args, b"hi\n");
        assert_eq!((code, out), (0, vec!["hi".into(), "closed: 1000 (clean)".into()]));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("warning: --insecure: whoever answers"), "{errors:?}");
    }

    #[test]
    fn a_browser_at_the_server_s_address_is_told_a_wss_url() {
        let files = files("browser");
        for adapter in ADAPTERS {
            let (_server, url) = server(adapter, &files);
            let tcp = TcpStream::connect(url.strip_prefix("wss://").unwrap()).unwrap();
            let mut config = (*files.authority.client()).clone();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let mut raw = Raw::client(tcp, config.into());
            raw.handshake().unwrap();
            assert_eq!(raw.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            raw.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let (answer, announced) = raw.hear_all();
            let answer = String::from_utf8(answer).unwrap();
            assert!(announced && answer.starts_with("HTTP/1.1 426 "), "{answer}");
            assert!(answer.contains(&url), "{answer}");
        }
    }

    #[test]
    fn a_plain_client_at_a_tls_server_is_turned_away() {
        let files = files("plain");
        for adapter in ADAPTERS {
            let (server, url) = server(adapter, &files);
            let (code, _, errors) = client(&[&url.replace("wss:", "ws:")], b"");
            assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
            let line = server.err.recv_timeout(PATIENCE).unwrap();
            assert!(line.contains("is not TLS"), "{line}");
            server.signal("-TERM");
            assert_eq!(server.finish(), (0, vec![], vec![]));
        }
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
            (&[ws, "--insecure"], "--insecure: the URL is not of wss"),
            (&[wss, "--insecure", "--ca", ca], "--insecure: trusts anybody"),
            (&[wss, "--ca", "/nowhere"], "--ca \"/nowhere\": "),
            (&[wss, "--ca", key], "no certificate in it"),
        ] {
            let (code, out, errors) = client(args, b"");
            assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
            assert!(errors[0].starts_with("error: ") && errors[0].contains(says), "{errors:?}");
        }
    }
}

/// The classics, `echo`, `push` and `chat`, on a free port.
fn classic(name: &str) -> (Program, String) {
    let program = Program::start(name, &["127.0.0.1:0"]);
    let line = program.line();
    let url = line.strip_prefix("listening on ").expect(&line).to_string();
    (program, url)
}

#[test]
fn the_classic_echo_sends_everything_back() {
    let (_program, url) = classic("echo");
    wait(async {
        let mut ws = connect(&url, &Config::default()).await.unwrap();
        for message in [Message::Text("hello"), Message::Binary(&[7; 70_000]), Message::Text("")] {
            assert_eq!(round_trip(&mut ws, message).await.as_message(), message);
        }
        ws.close(CloseCode::NORMAL).await.unwrap();
        assert!(ws.closed().unwrap().clean);
    });
}

#[test]
fn the_classic_push_tells_everybody_the_same_time() {
    let (_program, url) = classic("push");
    wait(async {
        let mut one = connect(&url, &Config::default()).await.unwrap();
        let mut other = connect(&url, &Config::default()).await.unwrap();
        // The other may have come a second later, and has not missed one since.
        let first = other.recv_owned().await.unwrap().unwrap();
        let text = first.as_message().as_text().unwrap().to_string();
        assert!(text.ends_with(" s since 1970"), "{text}");
        while one.recv_owned().await.unwrap().unwrap() != first {}
        while one.recv_owned().await.unwrap().unwrap() == first {} // a clock may be late, and repeat one
    });
}

#[test]
fn the_classic_chat_tells_who_said_what() {
    let (_program, url) = classic("chat");
    wait(async {
        let mut ada = connect(&url, &Config::default()).await.unwrap();
        ada.send("Ada").await.unwrap();
        assert_eq!(ada.recv().await.unwrap(), Some(Message::Text("Ada is here")));
        let mut bob = connect(&url, &Config::default()).await.unwrap();
        bob.send(" Bob ").await.unwrap();
        bob.send("hello").await.unwrap();
        for line in ["Bob is here", "Bob: hello"] {
            assert_eq!(ada.recv().await.unwrap(), Some(Message::Text(line)));
            assert_eq!(bob.recv().await.unwrap(), Some(Message::Text(line)));
        }
        bob.close(CloseCode::NORMAL).await.unwrap();
        assert_eq!(ada.recv().await.unwrap(), Some(Message::Text("Bob has left")));
        // Nobody without a name.
        let mut nobody = connect(&url, &Config::default()).await.unwrap();
        nobody.send(" ").await.unwrap();
        assert_eq!(nobody.recv().await.unwrap(), None);
        assert_eq!(nobody.closed().unwrap().code, 1003);
    });
}
