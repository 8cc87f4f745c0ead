//! The program itself.
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};
use tickwire::{Config, Message, blocking::connect};

/// It ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_event_loop"))
}

#[test]
fn threads_share_one_port_and_all_connections_are_served() {
    for more in [&[][..], &["--io-uring"]] {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--threads", "3"]).args(more);
        let mut running = Running(command.stdout(Stdio::piped()).spawn().expect("it starts"));
        let stdout = running.0.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let url = line.trim().strip_prefix("listening on ").expect("where");
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
            let threads = std::fs::read_dir(format!("/proc/{}/task", running.0.id()));
            assert!(threads.expect("it runs").count() >= 3);
        }
    }
}

#[test]
fn its_command_line_is_checked_and_explained() {
    let help = program().arg("--help").output().expect("it runs");
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for option in ["--listen", "--tls-cert", "--tls-key", "--threads", "--io-uring"] {
        assert!(help.contains(option), "{option}");
    }
    for wrong in [&["--frobnicate"][..], &["--threads", "0"], &["--tls-cert", "a.pem"]] {
        let ended = program().args(wrong).output().expect("it runs");
        assert_eq!(ended.status.code(), Some(2), "{wrong:?}");
    }
}
