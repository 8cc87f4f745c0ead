//! The program, over loopback: a client that behaves, one that redials without a pause, `wss`, and
//! what the command line refuses.
#![cfg(all(feature = "server", unix))] // it ends the program by signals
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tickwire::{
    Config, Dial, Error, ProtocolError, RecvError,
    blocking::{MaybeTls, WebSocket},
    handshake::{HandshakeError, client::Request},
};

/// A hang is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

struct Program {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
    urls: Vec<String>,
}

impl Program {
    /// Starts the program, and waits until it listens.
    fn start(args: &[&str], addresses: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_badday"));
        command.args(args).args(["--listen", "127.0.0.1:0", "--json"]);
        command.args(["--seconds", &PATIENCE.as_secs().to_string()]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut urls = Vec::new();
        let mut line = String::new();
        while urls.len() < addresses {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "it has ended");
            if let Some((_, url)) = line.split_once("listening on ") {
                urls.push(url.trim().to_owned());
            }
        }
        Self { child, errors, urls }
    }

    /// Ends the day by SIGINT: the status and the report.
    fn end(self) -> (i32, Value) {
        self.end_by("-INT")
    }

    fn end_by(mut self, signal: &str) -> (i32, Value) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let status = self.child.wait().unwrap().code().unwrap();
        let report = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}{rest}"));
        (status, report)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn once(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_badday")).args(args).output().unwrap()
}

fn subscribed(url: &str) -> Result<WebSocket<MaybeTls>, Error> {
    let request = Request::new(&format!("{url}/ws"))?;
    let mut ws = Dial::new(&request).blocking_connect(&Config::trading())?;
    ws.send(r#"{"method":"SUBSCRIBE","params":["btcusdt@depth"],"id":1}"#)?;
    Ok(ws)
}

/// The number at which a snapshot ends.
fn snapshot(url: &str) -> u64 {
    let address = url.strip_prefix("ws://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /api/v3/depth?symbol=BTCUSDT HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    body["lastUpdateId"].as_u64().unwrap()
}

#[test]
fn a_client_that_is_back_at_once_passes() {
    let applied = std::env::temp_dir().join(format!("badday-{}", std::process::id()));
    let path = applied.to_str().unwrap();
    // The cut comes after half a second.
    let program =
        Program::start(&["--day", "five-a-second", "--speed", "1200", "--applied", path], 1);
    let began = Instant::now();
    let mut lines = fs::File::create_new(&applied).unwrap();
    let mut at = 0;
    let mut updates = 0;
    while updates < 12 {
        assert!(began.elapsed() < PATIENCE);
        let mut ws = subscribed(&program.urls[0]).unwrap();
        let mut fresh = true;
        while updates < 12
            && let Ok(Some(message)) = ws.recv()
        {
            let message: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
            let Some(last) = message["u"].as_u64() else { continue };
            let first = message["U"].as_u64().unwrap();
            if fresh || first > at + 1 {
                at = snapshot(&program.urls[0]);
                fresh = false;
                writeln!(lines, "BTCUSDT snapshot {at}").unwrap();
            }
            if last > at {
                let quantity = message["b"][2][1].as_str().unwrap();
                writeln!(lines, "BTCUSDT {first}-{last} {quantity}").unwrap();
                at = last;
                updates += 1;
            }
        }
    }
    let (status, report) = program.end();
    fs::remove_file(&applied).unwrap();
    assert_eq!(report["complaints"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(status, 0);
    assert_eq!(report["applied"]["updates"], 12);
    assert_eq!(report["applied"]["never"], Value::Array(Vec::new()));
    assert_eq!(report["delivered"]["never"], 0);
}

#[test]
fn a_client_that_redials_without_a_pause_is_banned() {
    let program = Program::start(&["--day", "binance-24h"], 1);
    let began = Instant::now();
    let request = Request::new(&format!("{}/ws", program.urls[0])).unwrap();
    loop {
        assert!(began.elapsed() < PATIENCE);
        match Dial::new(&request).blocking_connect(&Config::trading()) {
            Err(Error::Refused(refusal)) if refusal.status == 418 => break,
            Err(Error::Refused(refusal)) => assert_eq!(refusal.status, 429),
            opened => drop(opened.unwrap()),
        }
    }
    let (status, report) = program.end();
    assert_eq!(status, 1, "{report:#}");
    let why = report["banned"]["why"].as_str().unwrap();
    assert!(why.starts_with("came back "), "{why}");
}

#[test]
fn an_authority_of_its_own_is_written_for_wss_and_the_certificate_lapses() {
    let ca = std::env::temp_dir().join(format!("badday-{}.pem", std::process::id()));
    let day = ["--day", "lapsed-certificate", "--speed", "6000"];
    let args = [&day[..], &["--tls", "--ca", ca.to_str().unwrap()]].concat();
    let program = Program::start(&args, 1);
    let began = Instant::now();
    let url = program.urls[0].replace("127.0.0.1", "localhost");
    assert!(url.starts_with("wss://"));
    let config = tickwire::tls::platform_config_and_roots(&fs::read(&ca).unwrap()).unwrap();
    let request = Request::new(&format!("{url}/ws")).unwrap();
    loop {
        assert!(began.elapsed() < PATIENCE);
        match Dial::new(&request).tls(config.clone()).blocking_connect(&Config::trading()) {
            // Without a wait for the cut: it may come while the connection is still opening.
            Ok(ws) => drop(ws),
            Err(error) => {
                assert!(error.to_string().contains("expired"), "{error}");
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(5)); // far below the limit on attempts
    }
    fs::remove_file(&ca).unwrap();
    assert_eq!(program.end().0, 1, "it never subscribed");
}

#[test]
fn a_frozen_server_accepts_tcp_and_says_nothing() {
    let program = Program::start(&["--day", "frozen-server", "--speed", "6000"], 2);
    let began = Instant::now();
    let request = Request::new(&format!("{}/ws", program.urls[0])).unwrap();
    let config = Config { handshake_timeout: Duration::from_millis(200), ..Config::trading() };
    while Dial::new(&request).blocking_connect(&config).is_ok() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5)); // far below the limit on attempts
    }
    let mut ws = subscribed(&program.urls[1]).unwrap();
    assert!(ws.recv().unwrap().is_some());
    let (_, report) = program.end();
    assert!(report["dials"].as_u64().unwrap() >= 2);
}

/// Reads until the connection ends: why it did.
fn end_of(mut ws: WebSocket<MaybeTls>) -> Error {
    loop {
        match ws.recv() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{:?}", ws.closed()),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_text_that_is_not_utf8_is_on_the_wire() {
    // The bad text comes after two seconds.
    let program = Program::start(&["--day", "bad-text", "--speed", "43200"], 1);
    let error = end_of(subscribed(&program.urls[0]).unwrap());
    assert!(matches!(error, Error::Recv(RecvError::Protocol(ProtocolError::BadUtf8))), "{error:?}");
    assert!(subscribed(&program.urls[0]).unwrap().recv().unwrap().is_some());
}

#[test]
fn a_subprotocol_that_nobody_asked_for_is_on_the_wire() {
    let program = Program::start(&["--day", "one-refuses", "--speed", "600000"], 2);
    let began = Instant::now();
    let error = loop {
        assert!(began.elapsed() < PATIENCE);
        match subscribed(&program.urls[0]) {
            Ok(ws) => drop(ws),
            Err(error) => break error,
        }
    };
    let wrong = Error::Handshake(HandshakeError::UnexpectedSubprotocol);
    assert_eq!(error.to_string(), wrong.to_string());
    assert!(subscribed(&program.urls[1]).unwrap().recv().unwrap().is_some());
}

#[test]
fn the_other_certificates_are_on_the_wire() {
    let ca = std::env::temp_dir().join(format!("badday-other-{}.pem", std::process::id()));
    let day = ["--day", "one-certificate", "--speed", "600000"];
    let args = [&day[..], &["--tls", "--ca", ca.to_str().unwrap()]].concat();
    let program = Program::start(&args, 2);
    let began = Instant::now();
    let config = tickwire::tls::platform_config_and_roots(&fs::read(&ca).unwrap()).unwrap();
    let request = Request::new(&format!("{}/ws", program.urls[0])).unwrap();
    loop {
        assert!(began.elapsed() < PATIENCE);
        match Dial::new(&request).tls(config.clone()).blocking_connect(&Config::trading()) {
            Ok(ws) => drop(ws),
            Err(error) => {
                assert!(error.to_string().contains("exchange.test"), "{error}");
                break;
            }
        }
    }
    fs::remove_file(&ca).unwrap();
}

/// At this speed the first server restarts after two seconds, and is away for 20.
#[test]
fn nobody_listens_and_then_somebody_listens_again_at_the_same_port() {
    let program = Program::start(&["--day", "rolling-restarts", "--speed", "300"], 2);
    let began = Instant::now();
    let address = program.urls[0].strip_prefix("ws://").unwrap();
    let mut ws = subscribed(&program.urls[0]).unwrap();
    while let Ok(Some(_)) = ws.recv() {}
    assert_eq!(ws.closed().unwrap().code, 1012);
    let refused = loop {
        assert!(began.elapsed() < PATIENCE);
        if let Err(error) = TcpStream::connect(address) {
            break error;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Nobody else gets the port meanwhile.
    assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut ws = loop {
        assert!(began.elapsed() < PATIENCE);
        match subscribed(&program.urls[0]) {
            Ok(ws) => break ws,
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    assert!(ws.recv().unwrap().is_some());
    assert_eq!(program.end().1["connected"], 2);
}

#[test]
fn sigterm_ends_the_day_with_its_report() {
    let (status, report) = Program::start(&["--day", "close-1000"], 1).end_by("-TERM");
    assert_eq!((status, &report["day"]), (1, &"close-1000".into()));
}

#[test]
fn the_command_line_says_what_is_wrong() {
    for (args, what) in [
        (&["--dya"][..], "invalid option '--dya'"),
        (&[], "--day is missing"),
        (&["--day", "sunny"], "no day is called \"sunny\""),
        (&["--day", "lapsed-certificate"], "needs --tls"),
        (&["--day", "one-certificate"], "needs --tls"),
        (&["--day", "frozen-server", "--addresses", "no"], "invalid digit"),
        (&["--day", "close-1000", "--applied", "Cargo.toml"], "the file is not empty"),
        (&["--day", "close-1000", "--cert", "x"], "give --tls alone"),
        (&["--day", "close-1000", "--seconds", "-1"], "negative"),
        (&["--day", "close-1000", "--listen", "1.2.3.4:1"], "cannot listen at 1.2.3.4:1"),
        (
            &[
                "--day",
                "close-1000",
                "--seconds",
                "0",
                "--listen",
                "127.0.0.1:0",
                "--applied",
                "/no",
            ],
            "--applied /no",
        ),
    ] {
        let output = once(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(what), "{args:?}: {error}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    assert!(String::from_utf8_lossy(&once(&["--help"]).stdout).contains("--explain NAME"));
    let list = once(&["--list"]).stdout;
    assert_eq!(list.iter().filter(|&&byte| byte == b'\n').count(), badday::days::all().len());
    let explained = once(&["--explain", "binance-1008"]).stdout;
    assert!(String::from_utf8_lossy(&explained).contains("hummingbot/hummingbot#7044"));
}

#[test]
fn a_client_that_never_comes_has_failed() {
    let program = Program::start(&["--day", "half-open"], 1);
    let (status, report) = program.end();
    assert_eq!((status, &report["complaints"][0]), (1, &"it never subscribed".into()));
}

#[test]
fn the_day_ends_by_itself_after_the_seconds_given() {
    let output = once(&["--day", "half-open", "--seconds", "0.1", "--listen", "127.0.0.1:0"]);
    let report = String::from_utf8_lossy(&output.stdout);
    let seconds =
        report.strip_prefix("half-open, ").and_then(|rest| rest.split_once(" s at speed 1\n"));
    let (seconds, _) = seconds.unwrap_or_else(|| panic!("{report}"));
    assert!(seconds.parse::<f64>().unwrap() >= 0.1, "{report}"); // more on a busy machine
    assert!(report.ends_with("- it never subscribed\nfailed\n"), "{report}");
}
