//! Tests the example `client` as a program: what it sends, shows and records, and its exit codes.
//! These tests need the examples built; a plain `cargo test` builds them.
#![cfg(all(unix, feature = "deflate", feature = "rustls", feature = "tokio"))]

use crate::support_program::{Program, client, example, server};
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
};
use testkit::{PATIENCE, frames::read_head, threads::closed};
use tickwire::{
    CloseCode, CloseFrame, Config,
    blocking::{WebSocket, accept},
};
use tickwire_tap::Recording;

/// Runs the client against a server. Returns the exit code and the lines of both outputs.
fn against<F>(args: &[&str], input: &[u8], serve: F) -> (i32, Vec<String>, Vec<String>)
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
    let ended = client(&[&[&*url], args].concat(), input);
    server.join().unwrap();
    ended
}

/// As `against`, with a server that starts after the opening handshake.
fn client_against<F>(args: &[&str], serve: F) -> (i32, Vec<String>, Vec<String>)
where
    F: FnOnce(WebSocket<TcpStream>) + Send + 'static,
{
    against(args, b"", |stream| {
        let mut ws = accept(stream, &Config::default()).unwrap();
        ws.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(ws);
    })
}

#[test]
fn take_closes_after_so_many_messages_and_shows_no_more() {
    let (code, out, errors) = client_against(&["--take", "3"], |mut ws| {
        for i in 0..10 {
            ws.feed(&*i.to_string()).unwrap();
        }
        ws.flush().unwrap();
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.closed().unwrap().code, 1000);
    });
    assert_eq!((code, errors), (0, vec![]));
    assert_eq!(out, ["0", "1", "2", "closed: 1000 (clean)"]);
}

#[test]
fn the_exit_code_says_how_the_peer_closed() {
    // The exit code is 5 if the Close was in order, but came too early.
    for (code, status) in [(1000, 5), (1001, 5), (1008, 4), (1011, 4), (4000, 4)] {
        let frame = CloseFrame::with_reason(CloseCode::new(code).unwrap(), "so");
        let args = ["--take", "1"]; // so the client does not close by itself
        let ended = client_against(&args, move |mut ws| ws.close(frame).unwrap());
        assert_eq!(ended, (status, vec![format!("closed: {code} so (clean)")], vec![]));
    }
    let args = ["--take", "1"];
    let (status, out, _) = client_against(&args, |mut ws| ws.close(None).unwrap());
    assert_eq!((status, out), (5, vec!["closed: 1005 (clean)".into()]));
    // The answer to the client's own Close is no fault of the peer.
    let args = ["--send", "/close 4001 x"];
    let ended = client_against(&args, |mut ws| {
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.closed().unwrap().code, 4001);
    });
    assert_eq!(ended, (0, vec!["closed: 4001 (clean)".into()], vec![]));
}

/// Does what `client .. | head -1` does.
#[test]
fn who_reads_no_more_of_what_is_printed_is_told_nothing() {
    let (_server, address) = server(&[]);
    let mut child = Command::new(example("client"))
        .arg(format!("ws://{address}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"hi\n").unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(1), &b""[..]), "{ended:?}");
}

#[test]
fn deflate_is_offered_if_asked() {
    for (args, offered) in [(&[][..], false), (&["--deflate"], true)] {
        let (code, _, _) = against(args, b"", move |mut stream| {
            let head = read_head(&mut stream);
            assert_eq!(head.contains("permessage-deflate"), offered, "{head}");
            stream.shutdown(Shutdown::Both).unwrap();
        });
        assert_eq!(code, 1);
    }
}

#[test]
fn a_recording_is_for_the_owner_alone_and_can_be_replayed() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples_client.tap");
    let _ = fs::remove_file(&path);
    let (_server, address) = server(&[]);
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
    let (code, told, errors) = Program::start("replay", &[file]).finish();
    assert_eq!((code, errors.len()), (0, 0), "{errors:?}");
    for line in ["sent  text, 2 bytes: hi", "got   text, 2 bytes: hi", "with code 1000"] {
        assert!(told.iter().any(|told| told.ends_with(line)), "{line}: {told:?}");
    }

    let nowhere = [&*url, "--record", "/nowhere/at/all"];
    let (code, out, errors) = client(&nowhere, b"hi\n");
    assert_eq!((code, out.len(), errors.len()), (1, 0, 1), "{errors:?}");
    assert!(errors[0].starts_with("error: --record \"/nowhere/at/all\": "), "{errors:?}");
}

#[test]
fn the_client_sends_lines_and_prints_what_comes_back_before_it_ends() {
    let (_server, address) = server(&["--subprotocol", "v1"]);
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

    // The client sends the lines of the command line instead of the lines of standard input.
    let (code, out, _) = client(&[&*url, "--send", "a", "--send", "b"], b"c\n");
    assert_eq!((code, out), (0, ["a", "b", "closed: 1000 (clean)"].map(String::from).to_vec()));
}

#[test]
fn the_client_pings_and_closes_as_it_is_told() {
    let (_server, address) = server(&[]);
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
    let (_server, address) = server(&[]);
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
        &["http://127.0.0.1/"][..],
        &["not a url"],
        &[url, "--header", "no colon"],
        &[url, "--header", "Host: elsewhere"],
        &[url, "--header", "Authorization: secret\r\nX: y"],
        &[url, "--subprotocol", "not a token"],
        &[url, "--proxy", "ftp://127.0.0.1"],
        &[url, "--proxy", "http://127.0.0.1", "--record", "/nowhere/at/all"],
    ] {
        let (code, out, errors) = client(args, b"");
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{args:?} {errors:?}");
        assert!(errors[0].starts_with("error: ") && !errors[0].contains("secret"), "{errors:?}");
    }
}

#[test]
fn the_client_asks_its_proxy_for_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let head = read_head(&mut stream);
        assert!(head.starts_with("CONNECT example.com:80 "), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert_eq!(accept(stream, &Config::default()).unwrap().recv().unwrap(), None);
    });
    let ended = client(&["ws://example.com/", "--proxy", &proxy], b"");
    assert_eq!(ended, (0, vec!["closed: 1000 (clean)".into()], vec![]));
    server.join().unwrap();
}

#[test]
fn a_failed_connection_is_one_line_of_the_client_and_exit_code_1() {
    let (closed, _held) = closed();
    let (code, _, errors) = client(&[&format!("ws://{closed}")], b"hi\n");
    assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
    assert!(errors[0].starts_with("error: Connection refused"), "{errors:?}");
    assert!(errors[0].ends_with(&format!(", dialing {closed}")), "{errors:?}");

    let (_, _, errors) = client(&[&format!("ws://localhost:{}", closed.port())], b"hi\n");
    assert!(errors[0].starts_with(&format!("error: localhost:{}: ", closed.port())), "{errors:?}");

    let (code, _, errors) = against(&[], b"", |mut stream| {
        read_head(&mut stream);
        let body = "closed for\r\nlunch \x1b[31m";
        let head = "HTTP/1.1 503 No\r\nContent-Length:";
        write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
    });
    assert_eq!(code, 3);
    assert_eq!(errors, [r"error: server answered 503 No: closed for\r\nlunch \x1b[31m"]);

    let (code, _, errors) = against(&[], b"", |mut stream| {
        read_head(&mut stream);
        stream.shutdown(Shutdown::Both).unwrap();
    });
    assert_eq!((code, errors.len()), (1, 1), "{errors:?}");
}

#[test]
fn the_client_escapes_what_is_hostile_and_reports_an_end_without_a_close() {
    let (code, out, errors) = client_against(&[], |mut ws| {
        ws.send("\x1b[2J\nclosed: 1000 (clean)").unwrap();
        // Sends FIN, and reads what the client says. Unread bytes would turn the end into a reset.
        let (mut stream, _) = ws.into_parts();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(code, 1);
    assert_eq!(out, [r"\u{1b}[2J\nclosed: 1000 (clean)"]);
    assert_eq!(errors, ["error: stream ended without a closing handshake"]);

    let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "so\nlong");
    let ended = client_against(&[], move |mut ws| ws.close(frame).unwrap());
    assert_eq!(ended, (0, vec![r"closed: 1001 so\nlong (clean)".into()], vec![]));
}
