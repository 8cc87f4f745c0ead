//! The example `client` as a program: what it counts, measures, shows and records, and its exit
//! codes. What it is besides, `echo.rs` has. Needs the examples built, as a plain
//! `cargo test` does.
#![cfg(all(unix, feature = "tokio"))]

use crate::support_program::{PATIENCE, Program, client, example, server};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, CloseFrame, Config,
    blocking::{WebSocket, accept},
};
use tickwire_tap::Recording;

/// What the client prints and how it exits, for a server of one connection.
fn client_against<F>(args: &[&str], serve: F) -> (i32, Vec<String>, Vec<String>)
where
    F: FnOnce(WebSocket<TcpStream>) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut ws = accept(stream, &Config::default()).unwrap();
        ws.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(ws);
    });
    let ended = client(&[&[&*url], args].concat(), b"");
    server.join().unwrap();
    ended
}

/// The payloads of all that comes until the client closes.
fn hear(ws: &mut WebSocket<TcpStream>) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    while let Some(message) = ws.recv().unwrap() {
        heard.push(message.as_bytes().to_vec());
    }
    heard
}

/// The number behind `name`.
fn figure(line: &str, name: &str) -> f64 {
    let rest = &line[line.find(name).expect(line) + name.len()..];
    let number = rest.trim_start().split([' ', ',', '/', ')']).next().unwrap();
    number.parse().expect(line)
}

#[test]
fn each_line_of_either_kind_goes_out_as_often_as_it_is_told() {
    let (_server, address) = server("tokio", &[]);
    let url = format!("ws://{address}/");
    let args = [&*url, "--send", "a", "--send", "/binary 01", "-"];
    let args = [&args[..], &["--count", "3"]].concat();
    let (code, out, errors) = client(&args, b"last\n");
    assert_eq!((code, errors), (0, vec![]));
    let messages = ["a", "a", "a", "binary: 01", "binary: 01", "binary: 01"];
    assert_eq!(out[..6], messages);
    assert_eq!(out[6..10], ["last", "last", "last", "closed: 1000 (clean)"]);
    assert_eq!(out.len(), 12, "{out:?}");
    assert_eq!((figure(&out[10], "sent"), figure(&out[10], "received")), (9.0, 9.0));
    let quantiles = ["min", "p50", "p90", "p99", "max"].map(|name| figure(&out[11], name));
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{out:?}");

    // Without `-` nothing is read.
    let (code, out, _) = client(&args[..3], b"never\n");
    assert_eq!((code, out), (0, vec!["a".into(), "closed: 1000 (clean)".into()]));
}

#[test]
fn messages_leave_no_faster_than_the_rate() {
    let (_server, address) = server("tokio", &[]);
    let url = format!("ws://{address}/");
    let began = Instant::now();
    let args = [&*url, "--send", "x", "--count", "21", "--rate", "100"];
    let (code, out, errors) = client(&[&args[..], &["--quiet"]].concat(), b"");
    // The last is due 20 intervals after the first.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!((code, out.len(), errors), (0, 3, vec![]), "{out:?}");
    assert_eq!(out[0], "closed: 1000 (clean)");
    // From the first to the last, late as that may be on a busy machine.
    let (seconds, rate) = (figure(&out[1], "sent 21 in"), figure(&out[1], "s ("));
    assert!(seconds >= 0.2 && (rate - 20.0 / seconds).abs() < 1.0, "{out:?}");
    assert!(out[1].contains(", received 21"), "{out:?}");
}

#[test]
fn take_closes_after_so_many_messages_and_shows_no_more() {
    let (code, out, errors) = client_against(&["--take", "3"], |mut ws| {
        for i in 0..10 {
            ws.feed(&*i.to_string()).unwrap();
        }
        ws.flush().unwrap();
        assert!(hear(&mut ws).is_empty());
        assert_eq!(ws.closed().unwrap().code, 1000);
    });
    assert_eq!((code, errors), (0, vec![]));
    assert_eq!(out, ["0", "1", "2", "closed: 1000 (clean)"]);
}

/// What the client does whose server gives back each message so much later, but `silence` never.
fn answering(delay: Duration, args: &[&str], input: &[u8]) -> (i32, Vec<String>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut ws = accept(listener.accept().unwrap().0, &Config::default()).unwrap();
        ws.set_read_timeout(Some(PATIENCE)).unwrap();
        while let Some(text) =
            ws.recv().unwrap().and_then(|message| message.as_text().map(str::to_owned))
        {
            thread::sleep(delay);
            if text != "silence" {
                ws.send(&*text).unwrap();
            }
        }
    });
    let ended = client(&[&[&*url], args].concat(), input);
    server.join().unwrap();
    ended
}

#[test]
fn after_a_pipe_it_waits_until_the_server_is_silent() {
    let late = Duration::from_millis(300);
    let args = [];
    let began = Instant::now();
    let (code, out, errors) = answering(late, &args, b"a\nb\n");
    assert_eq!((code, errors), (0, vec![]));
    assert_eq!(out, ["a", "b", "closed: 1000 (clean)"]);
    // From the last answer, which came two delays after the beginning.
    assert!(began.elapsed() >= 2 * late + Duration::from_secs(1));

    let args = ["--wait", "0.2"];
    let (code, out, errors) = answering(Duration::ZERO, &args, b"silence\n");
    assert_eq!((code, out), (0, vec!["closed: 1000 (clean)".into()]));
    assert_eq!(errors, ["warning: no answer came in 0.2 s: see --wait"]);

    // Nothing was asked.
    let (code, _, errors) = answering(Duration::ZERO, &[], b"");
    assert_eq!((code, errors), (0, vec![]));
}

#[test]
fn a_flood_that_is_not_echoed_is_counted_without_times() {
    let args = ["--send", "x", "--count", "2000", "--quiet"];
    let (code, out, errors) = client_against(&args, |mut ws| {
        ws.send("hello").unwrap();
        assert_eq!(hear(&mut ws).len(), 2000);
    });
    assert_eq!((code, out.len(), errors), (0, 2, vec![]), "{out:?}");
    assert_eq!((figure(&out[1], "sent"), figure(&out[1], "received")), (2000.0, 1.0));
}

#[test]
fn the_exit_code_says_how_the_peer_closed() {
    // With 5 where it was in order, but too early.
    for (code, status) in [(1000, 5), (1001, 5), (1008, 4), (1011, 4), (4000, 4)] {
        let frame = CloseFrame::with_reason(CloseCode::new(code).unwrap(), "so");
        let args = ["--take", "1"]; // it does not close by itself
        let ended = client_against(&args, move |mut ws| ws.close(frame).unwrap());
        assert_eq!(ended, (status, vec![format!("closed: {code} so (clean)")], vec![]));
    }
    let args = ["--take", "1"];
    let (status, out, _) = client_against(&args, |mut ws| ws.close(None).unwrap());
    assert_eq!((status, out), (5, vec!["closed: 1005 (clean)".into()]));
    // The answer to our own is no fault of the peer's.
    let args = ["--send", "/close 4001 x"];
    let ended = client_against(&args, |mut ws| {
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.closed().unwrap().code, 4001);
    });
    assert_eq!(ended, (0, vec!["closed: 4001 (clean)".into()], vec![]));
}

#[test]
fn verbose_tells_on_standard_error_how_long_each_step_took() {
    let (_server, address) = server("tokio", &["--subprotocol", "v1"]);
    let url = format!("ws://{address}/");
    // The Ping leaves before the message, and so its Pong is here before the echo.
    let args = [&*url, "--subprotocol", "v1", "-v", "--send", "hi"];
    let (code, out, told) = client(&[&args[..], &["--take", "1"]].concat(), b"");
    assert_eq!((code, out.len()), (0, 3), "{out:?}");
    assert!(told.iter().all(|line| line.starts_with("* ")), "{told:?}");
    assert!(told[0].starts_with(&format!("* {address} is {address}, ")), "{told:?}");
    assert!(figure(&told[1], "TCP:") >= 0.0 && told[1].ends_with(" ms"), "{told:?}");
    assert!(told[2].starts_with("* handshake: "), "{told:?}");
    assert!(told[2].contains(" ms, subprotocol v1, no extension"), "{told:?}");
    assert!(figure(&told[3], "* round trip:") >= 0.0, "{told:?}");
    if cfg!(feature = "counters") {
        assert!(told[4].starts_with("* sent: 1 messages, "), "{told:?}");
        assert!(told[5].starts_with("* received: 1 messages, "), "{told:?}");
    }
    assert!(told.last().unwrap().starts_with("* open for "), "{told:?}");
}

#[cfg(feature = "deflate")]
#[test]
fn deflate_is_offered_and_told_of() {
    let text = "tick ".repeat(1000);
    for (options, agreed) in [(&[][..], "no extension"), (&["--deflate"], "permessage-deflate")] {
        let (_server, address) = server("tokio", options);
        let url = format!("ws://{address}/");
        let args = [&*url, "--deflate", "--verbose", "--send", &*text];
        let (code, out, told) = client(&args, b"");
        assert_eq!((code, &*out[0]), (0, &*text));
        assert!(told[2].ends_with(agreed), "{told:?}");
        if cfg!(feature = "counters") {
            let sent = told.iter().find(|line| line.starts_with("* sent: ")).unwrap();
            assert_eq!(sent.contains("compressed to "), !options.is_empty(), "{sent}");
        }
    }
}

#[test]
fn a_dump_has_offsets_and_ascii_and_is_cut_unless_told_otherwise() {
    for (args, lines) in [(&[][..], 1 + 16 + 1), (&["--full"], 1 + 19)] {
        let args = [&["--take", "1", "--view", "dump"], args].concat();
        let (code, out, _) = client_against(&args, |mut ws| {
            let mut bytes = b"tick\0wire \x7f\xff~!0123456".to_vec();
            bytes.resize(300, b'.');
            ws.send(&bytes).unwrap();
            assert_eq!(ws.recv().unwrap(), None);
        });
        assert_eq!((code, out.len()), (0, lines + 1), "{out:?}");
        assert_eq!(out[0], "binary: 300 bytes");
        let row = "00000000  74 69 63 6b 00 77 69 72  65 20 7f ff 7e 21 30 31  |tick.wire ..~!01|";
        assert_eq!(out[1], row);
        let last = match lines {
            18 => ".. and 44 bytes more: --full".to_string(),
            _ => {
                let hex = [["2e"; 8].join(" "), ["2e"; 4].join(" ")].join("  ");
                format!("00000120  {hex:<50}|{}|", ".".repeat(12))
            }
        };
        assert_eq!(out[lines - 1], last);
    }
}

#[test]
fn colors_are_for_terminals_only_unless_told_otherwise() {
    let hello = |mut ws: WebSocket<TcpStream>| {
        ws.send("hi").unwrap();
        assert_eq!(ws.recv().unwrap(), None);
    };
    for (args, colored) in [
        (&["--take", "1"][..], false),
        (&["--take", "1", "--color", "never"], false),
        (&["--take", "1", "--color", "always"], true),
    ] {
        let (code, out, _) = client_against(args, hello);
        let message = if colored { "\x1b[36mhi\x1b[0m" } else { "hi" };
        assert_eq!((code, &*out[0]), (0, message), "{args:?}");
        assert_eq!(out[1].contains('\x1b'), colored, "{args:?}");
    }
}

/// As `client .. | head -1`.
#[test]
fn who_reads_no_more_of_what_is_printed_is_told_nothing() {
    let (_server, address) = server("tokio", &[]);
    let client = example("client");
    let mut child = Command::new(&client)
        .args([&*format!("ws://{address}")])
        .args(["--send", "hi", "--count", "100000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(1), &b""[..]), "{ended:?}");
}

/// `script` gives it a terminal.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_there_are_colors_but_for_no_color() {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: no script(1) here, which has a terminal");
        return;
    }
    let (_server, address) = server("tokio", &[]);
    let client = example("client");
    let run = |variables: &[(&str, &str)]| {
        let line = format!("'{}' ws://{address} --send '/binary 41'", client.display());
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &line, "/dev/null"]).env_remove("NO_COLOR");
        script.env("TERM", "xterm").envs(variables.iter().copied()).stdin(Stdio::null());
        let ended = script.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let out = run(&[]);
    assert!(out.contains("\x1b[90mbinary: 1 bytes\x1b[0m"), "{out:?}");
    assert!(out.contains("00000000\x1b[0m  \x1b[36m41 "), "{out:?}");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let out = run(&[plain]);
        assert!(out.contains("00000000  41 ") && !out.contains("\x1b["), "{plain:?}: {out:?}");
    }
}

#[test]
fn a_recording_is_for_the_owner_alone_and_can_be_replayed() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples_client.tap");
    let _ = fs::remove_file(&path);
    let (_server, address) = server("tokio", &[]);
    let url = format!("ws://{address}/");
    let file = path.to_str().unwrap();
    let args = [&*url, "--send", "hi", "--record", file];
    assert_eq!(client(&args, b"").0, 0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let recording = fs::read_to_string(&path).unwrap().parse::<Recording>().unwrap();
    let mut events = Vec::new();
    let end =
        recording.replay(&Config::default(), |_, event| events.push(format!("{event:?}"))).unwrap();
    assert_eq!(end.closed().map(|end| (end.code, end.error)), Some((1000, None)));
    assert!(!events.is_empty());

    let nowhere = [&*url, "--record", "/nowhere/at/all"];
    let (code, out, errors) = client(&nowhere, b"hi\n");
    assert_eq!((code, out.len(), errors.len()), (1, 0, 1), "{errors:?}");
    assert!(errors[0].starts_with("error: --record \"/nowhere/at/all\": "), "{errors:?}");
}

#[test]
fn take_ends_a_flood_of_our_own_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let large = format!("/binary {}", "00".repeat(1 << 16));
    let mut program =
        Program::start("client", &[&*url, "--take", "1", "--count", "100000", "--quiet"]);
    let stream = listener.accept().unwrap().0;
    let mut ws = accept(stream, &Config::default()).unwrap();
    ws.set_read_timeout(Some(PATIENCE)).unwrap();
    program.write(large.as_bytes());
    drop(program.child.stdin.take());
    assert_eq!(ws.recv().unwrap().map(|message| message.as_bytes().len()), Some(1 << 16));
    ws.send("enough").unwrap();
    // It stops soon, far from the count.
    let mut heard = 1;
    while let Some(message) = ws.recv().unwrap() {
        assert_eq!(message.as_bytes().len(), 1 << 16);
        heard += 1;
    }
    assert!(heard < 100_000, "{heard}");
    assert_eq!(ws.closed().unwrap().code, 1000);
    let (code, out, errors) = program.finish();
    assert_eq!((code, out.len(), errors), (0, 2, vec![]), "{out:?}");
}
