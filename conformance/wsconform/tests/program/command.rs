//! `server URL -- COMMAND`: the suite runs what it tests.

use super::*;
use std::collections::BTreeMap;
use wsconform_cases::find;

/// Not a test: the command of the tests below. It dies of a request of HTTP/1.0, with
/// `WSCONFORM_ANSWERS` a moment after its answer, with `WSCONFORM_FRAGILE` of its sixth connection,
/// with `WSCONFORM_CROWD` of so many that are open at one time, or with `WSCONFORM_PAIR` of a text
/// while there are two.
#[test]
fn command_process() {
    let Ok(address) = std::env::var("WSCONFORM_AT") else { return };
    let [is_fragile, answers, is_pair] =
        ["WSCONFORM_FRAGILE", "WSCONFORM_ANSWERS", "WSCONFORM_PAIR"]
            .map(|name| std::env::var(name).is_ok());
    let crowd = std::env::var("WSCONFORM_CROWD").map_or(u32::MAX, |crowd| crowd.parse().unwrap());
    let open = Arc::new(AtomicU32::new(0));
    let talking = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind(address).unwrap();
    for (number, tcp) in listener.incoming().enumerate() {
        let open = open.clone();
        let talking = talking.clone();
        if open.fetch_add(1, Ordering::SeqCst) + 1 >= crowd {
            std::process::exit(3);
        }
        thread::spawn(move || {
            let mut tcp = tcp.unwrap();
            if asks(&tcp, "HTTP/1.0") || (is_fragile && number > 6) {
                if answers {
                    tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
                    thread::sleep(Duration::from_millis(50));
                }
                eprintln!("\x1b[1;31mwhat\x1b[0m came\0before\n\n  at a place\nlast words\n");
                std::process::exit(3);
            }
            let mut is_first = true;
            play_and_look(tcp, next_model(Role::Server, ""), |bytes| {
                // The suite also connects to see whether somebody listens.
                if std::mem::take(&mut is_first) {
                    talking.fetch_add(1, Ordering::SeqCst);
                } else if is_pair && bytes[0] & 0x7f == 1 && talking.load(Ordering::SeqCst) == 2 {
                    std::process::exit(3);
                }
            });
            open.fetch_sub(1, Ordering::SeqCst);
            talking.fetch_sub(u32::from(!is_first), Ordering::SeqCst);
        });
    }
}

const CASES: [&str; 6] = ["--case", "HS-00", "--case", "HS-01", "--case", "F-20"];

/// The suite on the command above, which is started by these words.
fn suite(address: &str, arguments: &[&str], start: &[&str]) -> Command {
    of_command("server", address, arguments, start)
}

/// `server` or `learn` of the command above.
pub(super) fn of_command(mode: &str, address: &str, arguments: &[&str], start: &[&str]) -> Command {
    let mut command = program();
    command.args([mode, &format!("ws://{address}/")]).args(arguments);
    command.arg("--").args(start).args(["env", &format!("WSCONFORM_AT={address}")]);
    let this = std::env::current_exe().unwrap();
    command.arg(this).args(["--exact", "command::command_process", "--nocapture"]);
    command
}

pub(super) fn is_free(address: &str) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn the_case_of_which_the_server_dies_fails_and_the_others_are_judged() {
    for jobs in ["1", "8"] {
        let address = free_address().to_string();
        let json = file(&format!("dies-{jobs}.json"));
        let cases = [&CASES[..], &["--json", &json, "--jobs", jobs]].concat();
        let output = suite(&address, &cases, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(is_free(&address));
        let report = report_of(&json);
        assert_eq!(report.stopped, None);
        let verdicts: BTreeMap<&str, &Verdict> =
            report.rows.iter().map(|row| (&*row.case, &row.verdict)).collect();
        let is_fatal = |verdict: &Verdict| match verdict {
            Verdict::Fail { why, evidence, .. } => {
                let last = "what came\u{fffd}before\n\n  at a place\nlast words";
                why == "the server dies of it (exit status: 3: what came\u{fffd}before / last words)"
                    && evidence.ends_with(last)
            }
            _ => false,
        };
        let fatal: Vec<&&str> = verdicts
            .iter()
            .filter(|(_, verdict)| is_fatal(verdict))
            .map(|(case, _)| case)
            .collect();
        assert_eq!(fatal, [&"HS-014"], "{}", text(&output));
        // The rest is as of a server that lives.
        let json = file(&format!("lives-{jobs}.json"));
        let url = serve("");
        program().args(["server", &url, "--json", &json]).args(CASES).output().unwrap();
        for row in report_of(&json).rows.iter().filter(|row| row.case != "HS-014") {
            assert_eq!(discriminant(verdicts[&*row.case]), discriminant(&row.verdict), "{row:?}");
        }
    }
}

/// With a third connection open it would not.
#[test]
fn a_server_that_dies_while_two_connections_are_open_fails() {
    let address = free_address().to_string();
    let json = file("pair.json");
    let cases = ["--case", "F-20", "--case", "T-23", "--json", &json];
    let output = suite(&address, &cases, &["env", "WSCONFORM_PAIR=1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let is_fatal = |row: &&Row| match &row.verdict {
        Verdict::Fail { why, .. } => why.starts_with("the server dies of it (exit status: 3"),
        _ => false,
    };
    let rows = report_of(&json).rows;
    let fatal: Vec<&str> = rows.iter().filter(is_fatal).map(|row| &*row.case).collect();
    assert!(!fatal.is_empty(), "{}", text(&output));
    assert!(fatal.iter().all(|case| find(case).unwrap().is_of_two()), "{fatal:?}");
}

/// The run could be over by then.
#[test]
fn a_case_that_is_answered_before_the_server_dies_of_it_fails() {
    let address = free_address().to_string();
    let answers = ["env", "WSCONFORM_ANSWERS=1"];
    let output = suite(&address, &["--case", "HS-014"], &answers).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("HS-014 HTTP/1.0: the server dies of it"), "{}", text(&output));
}

#[test]
fn a_server_that_dies_all_the_time_is_not_started_for_ever() {
    let address = free_address().to_string();
    let output = suite(&address, &[], &["env", "WSCONFORM_FRAGILE=1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("the command has died 50 times"), "{}", text(&output));
    assert!(text(&output).contains(" cases were not run"), "{}", text(&output));
    assert!(is_free(&address));
}

#[test]
fn a_command_that_does_not_serve_is_named() {
    let taken = free_address().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = listener.local_addr().unwrap().to_string();
    for (address, start, why) in [
        (&taken, &["/no/such/server"][..], "/no/such/server: "),
        (
            &taken,
            &["sh", "-c", "echo no port; exit 7"],
            "before it listened (exit status: 7: no port)",
        ),
        (&taken, &["sh", "-c", "exec sleep 1000"], "the command does not listen within 1 s"),
        (&served, &["sleep", "1000"], &format!("something listens at {served} before")),
    ] {
        let url = format!("ws://{address}/");
        let mut command = program();
        let output = command.args(["server", &url, "--wait", "1", "--"]).args(start).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{start:?}");
        assert!(text(&output).contains(why), "{start:?}: {}", text(&output));
    }
}

/// What it has started ends with it: after a run, and at an interrupt.
#[test]
#[cfg(unix)]
fn nothing_of_the_command_is_left() {
    let is_there = |id: &str| {
        let mut look = Command::new("kill");
        look.args(["-0", id.trim()]).stderr(Stdio::null()).status().unwrap().success()
    };
    for interrupts in [false, true] {
        let address = free_address().to_string();
        let ids = file(&format!("ids-{interrupts}"));
        let script = format!("sleep 1000 & echo $! >{ids}; \"$@\"; exit");
        let mut suite =
            suite(&address, &["--case", "F-202", "--hex"], &["sh", "-c", &script, "sh"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
        let mut shown = BufReader::new(suite.stdout.take().unwrap()).lines();
        assert!(shown.next().unwrap().unwrap().starts_with("F-202 sent"));
        let id = std::fs::read_to_string(&ids).unwrap();
        if interrupts {
            signal(&suite, "-INT");
        }
        shown.for_each(drop);
        let code = suite.wait().unwrap().code();
        assert!(code == Some(0) || interrupts, "{code:?}");
        let until = Instant::now() + Duration::from_secs(20);
        while is_there(&id) || !is_free(&address) {
            assert!(Instant::now() < until, "{id}, {address}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
