//! The program, over `ws` and `wss`, epoll and io_uring. `tickwire-loop` has the tests of the loop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "../../tests/examples/support_program.rs"]
mod support_program;

use std::{fs, path::Path};
use support_program::Program;
use tickwire::{
    CloseCode, Config, Dial, Message, blocking::connect, handshake::client::Request,
    tls::platform_config_and_roots,
};

fn start(args: &[&str]) -> Program {
    Program::start_at(env!("CARGO_BIN_EXE_event_loop").as_ref(), args)
}

#[test]
fn threads_share_one_port_and_all_connections_are_served() {
    for more in [&[][..], &["--io-uring"]] {
        let running = start(&[&["--listen", "127.0.0.1:0", "--threads", "3"], more].concat());
        let line = running.line();
        let url = line.strip_prefix("listening on ").expect("where");
        let connect = |_| connect(url, &Config::default()).expect("it is accepted");
        let mut all: Vec<_> = (0..100).map(connect).collect();
        for ws in &mut all {
            ws.send("to any of them").expect("it reads");
            let back = ws.recv().expect("it answers");
            assert_eq!(back, Some(Message::Text("to any of them")));
        }
        // Counts the threads, because the kernel may give all connections to one of them.
        #[cfg(target_os = "linux")]
        {
            let threads = fs::read_dir(format!("/proc/{}/task", running.child.id()));
            assert!(threads.expect("it runs").count() >= 3);
        }
    }
}

#[test]
fn it_speaks_wss_with_the_certificate_it_was_given() {
    let identity = testkit::tls::Identity::self_signed(&["127.0.0.1"]);
    let file = |name: &str, text: &str| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cert = file("cert.pem", identity.pem());
    let key = file("key.pem", &identity.key.serialize_pem());
    let tls = ["--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let running = start(&tls);
    let line = running.line();
    let request = Request::new(line.strip_prefix("listening on ").expect("where")).unwrap();
    let tls = platform_config_and_roots(identity.pem().as_bytes()).unwrap();
    let dial = Dial::new(&request).tls(tls);
    let mut ws = dial.blocking_connect(&Config::default()).expect("it is accepted");
    ws.send("Zoë").unwrap();
    assert_eq!(ws.recv().unwrap(), Some(Message::Text("Zoë")));
    ws.close(CloseCode::NORMAL).unwrap();
    assert!(ws.closed().is_some_and(|closed| closed.code == 1000 && closed.clean));
}

#[test]
fn scale_prints_a_row_for_each_number_of_threads() {
    let (code, out, err) = start(&["--scale", "1"]).finish();
    assert_eq!((code, out.len()), (0, 2), "{out:?} {err:?}");
    let figures: Vec<f64> = out[1].split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let expected = if cfg!(target_os = "linux") { 3 } else { 2 };
    assert!(figures.len() == expected && figures.iter().all(|&it| it > 0.0), "{out:?}");
}

#[test]
fn a_wrong_command_line_is_refused() {
    for wrong in [&["--threads", "0"][..], &["--tls-cert", "a.pem"], &["--scale", "0"]] {
        assert_eq!(start(wrong).finish().0, 2, "{wrong:?}");
    }
}
