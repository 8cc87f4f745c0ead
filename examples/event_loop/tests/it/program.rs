//! The program itself.
use crate::support_program::Program;
use tickwire::{Config, Message, blocking::connect};

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
        // By the number of its threads: the kernel spreads connections as it likes.
        #[cfg(target_os = "linux")]
        {
            let threads = std::fs::read_dir(format!("/proc/{}/task", running.child.id()));
            assert!(threads.expect("it runs").count() >= 3);
        }
    }
}

#[test]
fn its_command_line_is_checked_and_explained() {
    let (code, help, _) = start(&["--help"]).finish();
    assert_eq!(code, 0);
    let help = help.join("\n");
    for option in ["--listen", "--tls-cert", "--tls-key", "--threads", "--io-uring"] {
        assert!(help.contains(option), "{option}");
    }
    for wrong in [&["--frobnicate"][..], &["--threads", "0"], &["--tls-cert", "a.pem"]] {
        assert_eq!(start(wrong).finish().0, 2, "{wrong:?}");
    }
}
