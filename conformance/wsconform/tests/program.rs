//! The program against a small correct peer, and against peers with one flaw each.

#[path = "program/admission.rs"]
mod admission;
#[path = "program/command.rs"]
mod command;
#[path = "program/learn.rs"]
mod learn;
#[path = "program/outputs.rs"]
mod outputs;
#[path = "../../cases/tests/support/mod.rs"]
mod support;
#[path = "program/together.rs"]
mod together;

use std::{
    io::{BufRead, BufReader, Read, Write},
    mem::{ManuallyDrop, discriminant},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{Flaw, Model};
use wsconform_cases::{
    Role, Verdict,
    report::{Report, Row},
};

/// Numbers the connections of this process: a client draws its key from that.
static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wsconform"))
}

/// Plays the model over a socket until either end has ended.
fn play(tcp: TcpStream, model: Model) {
    play_slowly(tcp, model, Duration::ZERO);
}

/// The same with a pause before each write.
fn play_slowly(tcp: TcpStream, model: Model, pause: Duration) {
    play_and_weigh(tcp, model, pause, |_| {});
}

/// Plays the model, and shows what is read.
fn play_and_look(tcp: TcpStream, model: Model, look: impl FnMut(&[u8])) {
    play_in_full(tcp, model, Duration::ZERO, |_| {}, look);
}

/// Plays the model with a pause before each write, and tells how many bytes it holds behind each
/// read.
fn play_and_weigh(tcp: TcpStream, model: Model, pause: Duration, weigh: impl FnMut(u64)) {
    play_in_full(tcp, model, pause, weigh, |_| {});
}

fn play_in_full(
    mut tcp: TcpStream,
    mut model: Model,
    pause: Duration,
    mut weigh: impl FnMut(u64),
    mut look: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        weigh(model.held());
        if !model.output.is_empty() {
            thread::sleep(pause);
        }
        let output = std::mem::take(&mut model.output);
        if tcp.write_all(&output).is_err() {
            return;
        }
        if model.ended {
            let _ = tcp.shutdown(Shutdown::Write); // the suite may be gone
        }
        match tcp.read(&mut buffer) {
            Ok(0) if !model.ended => model.end(),
            Ok(0) | Err(_) => return,
            Ok(n) => {
                look(&buffer[..n]);
                model.read(&buffer[..n]);
            }
        }
    }
}

fn next_model(role: Role, flaw: Flaw) -> Model {
    Model::new(role, flaw, CONNECTIONS.fetch_add(1, Ordering::Relaxed))
}

/// A server that sends `start`, and then `again` for as long as anybody reads; what comes is thrown
/// away.
fn serve_for_ever(start: &'static [u8], again: &'static [u8], pause: Duration) -> String {
    serve_with(move |mut tcp| {
        let mut reading = tcp.try_clone().unwrap();
        thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
        let size = if pause.is_zero() { 64 << 10 } else { 1 };
        let many = again.repeat(size / again.len() + 1);
        let mut sent = tcp.write_all(start);
        while sent.is_ok() {
            sent = tcp.write_all(&many);
            thread::sleep(pause);
        }
    })
}

/// A server of models, for as long as the test runs. Returns its URL.
fn serve(flaw: Flaw) -> String {
    serve_slowly(flaw, Duration::ZERO)
}

fn serve_slowly(flaw: Flaw, pause: Duration) -> String {
    serve_with(move |tcp| play_slowly(tcp, next_model(Role::Server, flaw), pause))
}

/// A server that does this with each connection, in a thread of its own.
fn serve_with(act: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let act = Arc::new(act);
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let act = act.clone();
            thread::spawn(move || act(tcp.unwrap()));
        }
    });
    url
}

/// Whether the request that a connection begins with has this in its first line.
fn asks(tcp: &TcpStream, start: &str) -> bool {
    let mut head = [0; 256];
    let length = tcp.peek(&mut head).unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..length]);
    head.lines().next().unwrap_or_default().contains(start)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An address at which nobody listens. Nobody gets it by chance either: a socket is bound to it for as
/// long as this process lives, which leaves it to a listener that asks for it by number.
#[cfg(unix)]
fn free_address() -> SocketAddr {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let bound = ManuallyDrop::new(TcpListener::from(socket));
    bound.local_addr().unwrap()
}

#[cfg(not(unix))]
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn file(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{}-{name}", std::process::id())).display().to_string()
}

/// Whatever a server sends without end, the program needs less than 512 MB for it.
#[test]
#[cfg(target_os = "linux")]
fn a_hostile_server_gets_a_verdict() {
    const OPEN: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (start, again, code) in [
        (&b""[..], &b"HTTP/1.1 103 x\r\n\r\n"[..], 2),
        (b"", b"garbage", 2),
        (b"HTTP/1.1 101 Switching Protocols\r\n", b"X: y\r\n", 2),
        (OPEN, b"\x81\x01x", 1),
        (OPEN, b"\x89\x00", 1),
        (OPEN, b"\x8a\x01x", 1),
        (OPEN, b"\x01\x00\x80\x00", 1),
    ] {
        let url = serve_for_ever(start, again, Duration::ZERO);
        let limited = "ulimit -v 524288; exec \"$0\" server \"$1\" --case C-00";
        let wsconform = env!("CARGO_BIN_EXE_wsconform");
        let output = Command::new("sh").args(["-c", limited, wsconform, &url]).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{again:?}: {text}");
        assert!(text.contains("no answer"), "{again:?}: {text}");
    }
}

/// With as many connections as it likes, and less to say it with.
#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_address_space_is_no_end() {
    let json = file("limited.json");
    let url = serve("any-mask");
    let limited = "ulimit -v 524288; exec \"$0\" server \"$1\" --case F-0 --case F-2 --json \"$2\"";
    let wsconform = env!("CARGO_BIN_EXE_wsconform");
    let output = Command::new("sh").args(["-c", limited, wsconform, &url, &json]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(report_of(&json).rows.len() > 100);
}

/// It leaves a connection with as many plain texts, too.
#[test]
fn a_server_that_leaves_by_itself_is_untested() {
    let json = file("leaves.json");
    let url = serve("leaves-after-3");
    let output = program()
        .args(["server", &url, "--case", "T-003", "--case", "F-205", "--json", &json])
        .output()
        .unwrap();
    let report = report_of(&json);
    let verdict = |id: &str| &report.rows.iter().find(|row| row.case == id).unwrap().verdict;
    assert!(matches!(verdict("T-003"), Verdict::Untested { .. }), "{}", text(&output));
    assert_eq!(verdict("F-205"), &Verdict::Pass, "{}", text(&output));
}

/// The server holds at most 64 MiB meanwhile, all connections together.
#[test]
fn a_good_server_fails_nothing_and_the_report_can_be_read_again() {
    let json = file("good.json");
    let held = Arc::new(Mutex::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let peak = most.clone();
    let url = serve_with(move |tcp| {
        let mut mine = 0;
        let mut weigh = |bytes| {
            let mut held = held.lock().unwrap();
            *held += bytes;
            *held -= mine;
            mine = bytes;
            most.fetch_max(*held, Ordering::Relaxed);
        };
        play_and_weigh(tcp, next_model(Role::Server, ""), Duration::ZERO, &mut weigh);
        weigh(0);
    });
    let output = program().args(["server", &url, "--json", &json]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let peak = peak.load(Ordering::Relaxed);
    // The frames of the largest case, and of small ones beside it.
    assert!((64 << 20..=65 << 20).contains(&peak), "{peak} bytes");
    let report = report_of(&json);
    assert!(report.peer.echoes());
    assert!(report.rows.iter().any(|row| row.verdict == Verdict::Pass));
    assert!(report.rows.iter().all(|row| !matches!(row.verdict, Verdict::Fail { .. })));
    let page = program().args(["html", &json]).output().unwrap();
    assert!(text(&page).contains("<h2>Frames</h2>"));
}

#[test]
fn a_server_with_a_flaw_fails_and_an_expected_failure_is_none() {
    let url = serve("http-1.0");
    let json = file("flaw.json");
    let http = ["--group", "http"];
    let output = program().args(["server", &url, "--json", &json]).args(http).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report = report_of(&json);
    let failed = report.rows.iter().filter(|row| matches!(row.verdict, Verdict::Fail { .. }));
    let lines: Vec<String> = failed.map(|row| format!("fail {} server\n", row.case)).collect();
    assert!(!lines.is_empty());

    let expect = file("expect");
    std::fs::write(&expect, format!("edition 1\n{}", lines.concat())).unwrap();
    let mut again = program();
    again.args(["server", &url, "--expect", &expect]).args(http);
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(" known"), "{}", text(&output));
}

fn report_of(json: &str) -> Report {
    Report::from_json(&std::fs::read_to_string(json).unwrap()).unwrap()
}

/// The answers to HTTP/1.0, in the order of the connections.
fn http_1_0(answers: &'static [Flaw]) -> (Verdict, usize) {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let url = serve_with(move |tcp| {
        let mut flaw = "";
        if asks(&tcp, "HTTP/1.0") {
            let mut asked = asked.lock().unwrap();
            flaw = answers[*asked];
            *asked += 1;
        }
        play(tcp, next_model(Role::Server, flaw));
    });
    let json = file(&format!("repeats-{}.json", answers.len()));
    let run = program().args(["server", &url, "--case", "HS-014", "--json", &json]).output();
    // What is unsteady has no verdict.
    assert_eq!(run.unwrap().status.code(), Some(if answers.len() == 4 { 1 } else { 2 }));
    let count = *count.lock().unwrap();
    (report_of(&json).rows[0].verdict.clone(), count)
}

#[test]
fn a_failure_comes_three_times_more() {
    let (verdict, asked) = http_1_0(&["http-1.0"; 4]);
    assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
    assert_eq!(asked, 4);
}

#[test]
fn a_failure_that_does_not_come_again_is_none() {
    let (verdict, asked) = http_1_0(&["http-1.0", "http-1.0", ""]);
    assert!(
        matches!(&verdict, Verdict::Unsteady { why } if why.contains("but not in run 2 alone")),
        "{verdict:?}"
    );
    assert_eq!(asked, 3);
}

/// The verdict on a server that checks no mask, if it is busy for so many connections behind the
/// first of the case; and how many connections there were.
fn unmasked_beside_busy(probes: usize, busy: usize) -> (Verdict, usize) {
    let count = Arc::new(AtomicU32::new(0));
    let all = count.clone();
    let url = serve_with(move |mut tcp| {
        let number = count.fetch_add(1, Ordering::Relaxed) as usize;
        if number <= probes || number > probes + busy {
            return play(tcp, next_model(Role::Server, "any-mask"));
        }
        let _ = tcp.read(&mut [0; 4096]);
        tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let json = file(&format!("busy-{busy}.json"));
    let run = program().args(["server", &url, "--case", "F-201", "--json", &json]).output();
    let untested = u8::from(busy > 4) + 1;
    assert_eq!(run.unwrap().status.code(), Some(untested.into()));
    let verdict = report_of(&json).rows[0].verdict.clone();
    (verdict, all.load(Ordering::Relaxed) as usize)
}

#[test]
fn a_repeat_without_a_connection_says_nothing() {
    let (verdict, connections) = unmasked_beside_busy(0, 0);
    assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
    let probes = connections - 4 - 1; // the last asks whether the server is still there
    let (verdict, connections) = unmasked_beside_busy(probes, 2);
    assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
    assert_eq!(connections, probes + 7);
    let (verdict, _) = unmasked_beside_busy(probes, 1_000_000);
    assert!(matches!(verdict, Verdict::Untested { .. }), "{verdict:?}");
}

/// A server that answers nothing to HS-167, so that no run of that is soon over.
#[cfg(unix)]
fn serve_quietly(flaw: Flaw) -> String {
    serve_with(move |tcp| {
        let mut head = [0; 1024];
        let length = tcp.peek(&mut head).unwrap_or(0);
        match String::from_utf8_lossy(&head[..length]).contains("Extensions: a;") {
            true => says_nothing(tcp),
            false => play(tcp, next_model(Role::Server, flaw)),
        }
    })
}

/// Waits for the second line on standard error.
#[cfg(unix)]
fn probe_is_over(said: &mut impl BufRead) {
    said.read_line(&mut String::new()).unwrap();
    said.read_line(&mut String::new()).unwrap();
}

/// Runs the program with `--hex` until so many cases are over, interrupts it, and returns what it
/// said on standard output.
#[cfg(unix)]
fn interrupted(name: &str, arguments: &[&str], cases: usize) -> (Vec<String>, Report) {
    let json = file(&format!("interrupted-{name}.json"));
    let mut suite = program()
        .args(arguments)
        .args(["--json", &json])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(suite.stdout.take().unwrap()).lines();
    let mut before: Vec<String> = Vec::new();
    for _ in 0..cases {
        before.extend(
            shown
                .by_ref()
                .map(Result::unwrap)
                .take_while(|line| line.trim_start_matches(['#', ' ']) != "received"),
        );
    }
    signal(&suite, if cases == 1 { "-INT" } else { "-TERM" });
    let shown: Vec<String> = before.into_iter().chain(shown.map(Result::unwrap)).collect();
    assert_eq!(suite.wait().unwrap().code(), Some(2), "{shown:?}");
    let mut said = String::new();
    suite.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("wsconform: interrupted"), "{said}");
    let report = report_of(&json);
    let stop = report.stopped.as_ref().unwrap();
    assert!(stop.why.starts_with("interrupted"), "{stop:?}");
    (shown, report)
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_has_a_report() {
    let cases = ["--case", "F-20", "--case", "HS-167", "--hex"];
    let url = serve_quietly("");
    let (shown, report) = interrupted("text", &[&["server", &url][..], &cases].concat(), 1);
    assert!(report.rows.iter().any(|row| row.verdict == Verdict::Pass), "{report:?}");
    assert!(shown.iter().any(|line| line.contains("interrupted.")), "{shown:?}");
}

/// What has failed once is no failure yet, and no note beside which a run looks clean.
#[test]
#[cfg(unix)]
fn a_failure_before_an_interrupt_is_untested() {
    let url = serve_quietly("any-mask");
    let cases = ["--case", "F-20", "--case", "HS-167", "--hex"];
    let (_, report) = interrupted("failing", &[&["server", &url][..], &cases].concat(), 9);
    let why = "failed once, and the run ended before it came again: ";
    let has_failed =
        |row: &&Row| matches!(&row.verdict, Verdict::Untested { why: it } if it.starts_with(why));
    let row = report.rows.iter().find(has_failed).unwrap();
    let has_bytes = row.remarks.iter().any(|remark| remark.contains("received"));
    assert!(has_bytes, "{row:?}");
    assert!(report.rows.iter().all(|row| !matches!(row.verdict, Verdict::Fail { .. })));
}

/// From the first connection on: in the probe, and beside a command that does not connect.
#[test]
#[cfg(unix)]
fn a_run_is_interrupted_wherever_it_is() {
    let (asks, asked) = std::sync::mpsc::channel();
    let asks = Mutex::new(asks);
    let url = serve_with(move |tcp| {
        asks.lock().unwrap().send(()).unwrap();
        says_nothing(tcp);
    });
    let started = file("started");
    let touch = format!("echo $$ >{started}; echo {{url}}; exec sleep 1000");
    for arguments in [&["server", &url][..], &["client", "--", "sh", "-c", &touch]] {
        let json = file(&format!("early-{}.json", arguments[0]));
        let mut suite = program()
            .args([arguments[0], "--json", &json])
            .args(&arguments[1..])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        match arguments[0] {
            "server" => asked.recv().unwrap(),
            _ => while std::fs::read_to_string(&started).unwrap_or_default().is_empty() {},
        }
        signal(&suite, "-INT");
        let mut shown = String::new();
        suite.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
        assert_eq!(suite.wait().unwrap().code(), Some(2), "{shown}");
        let report = report_of(&json);
        assert_eq!(report.rows, []);
        let all = report.stopped.unwrap().not_run.len();
        assert!(all > 500 && shown.contains(&format!("interrupted. {all} cases were not run: ")));
    }
    // The command is not left behind.
    let id = std::fs::read_to_string(&started).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut look = Command::new("kill");
    look.args(["-0", id.trim()]).stderr(Stdio::null());
    while look.status().unwrap().success() {
        assert!(Instant::now() < until, "{id}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_round_has_a_report() {
    let json = file("interrupted-round.json");
    let mut suite = Listening::start(&["--case", "C-00", "--json", &json]);
    suite.ask_for_cases_and_die(1..=8);
    // The model is gone before the suite has seen that.
    (7..=8).for_each(|number| while !suite.has_passed(number) {});
    signal(&suite.process, "-INT");
    let report: Vec<String> = suite.lines.by_ref().map(Result::unwrap).collect();
    let (_, code, said) = suite.end();
    assert_eq!(code, Some(2), "{report:?} {said}");
    assert!(said.contains("interrupted: model did not ask for"), "{said}");
    assert_eq!(report_of(&json).rows.len(), 2);

    // Between two rounds there is nothing to interrupt.
    let chosen = ["--case", "C-001"];
    let mut suite = Listening::start(&[&chosen[..], &["--keep", "--json", &json]].concat());
    suite.ask_for_cases(1..=count(&chosen));
    assert!(suite.lines.by_ref().any(|line| line.unwrap().starts_with("1 pass")));
    signal(&suite.process, "-TERM");
    let (_, code, said) = suite.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report_of(&json).stopped, None);
}

/// Nobody reads what is printed, so the first interrupt cannot be answered.
#[test]
#[cfg(unix)]
fn the_second_interrupt_ends_at_once() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let fills = thread::spawn(move || while full.write(b".").is_ok() && tell.send(()).is_ok() {});
    while told.recv_timeout(Duration::from_secs(1)).is_ok() {}
    let url = serve("");
    let mut suite = program()
        .args(["server", &url, "--hex", "--case", "F-"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(suite.stderr.take().unwrap());
    probe_is_over(&mut said);
    let until = Instant::now() + Duration::from_secs(60);
    let mut interrupts = 0;
    // Two that come at once are one.
    while suite.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it goes on");
        signal(&suite, "-INT");
        interrupts += 1;
        thread::sleep(Duration::from_millis(300));
    }
    assert!(interrupts > 1, "the first interrupt ended it");
    assert_eq!(suite.wait().unwrap().code(), Some(2));
    drop(reader);
    fills.join().unwrap();
}

/// Not a test: a server that dies of a request of HTTP/1.0, as a process of its own.
#[test]
fn server_process() {
    if std::env::var("WSCONFORM_SERVES").is_err() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    println!("at ws://{address}/");
    let dies = Arc::new(AtomicBool::new(false));
    for tcp in listener.incoming() {
        if dies.load(Ordering::SeqCst) {
            break;
        }
        let dies = dies.clone();
        thread::spawn(move || {
            let tcp = tcp.unwrap();
            if asks(&tcp, "HTTP/1.0") {
                dies.store(true, Ordering::SeqCst);
                let _ = TcpStream::connect(address); // wakes the listener
                return thread::park();
            }
            play(tcp, next_model(Role::Server, "two-hosts"));
        });
    }
    // The listener goes first: no connection opens behind the one that is the reason.
    drop(listener);
    std::process::exit(0);
}

struct DyingServer {
    process: Child,
    url: String,
}

impl DyingServer {
    fn start() -> DyingServer {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server_process", "--nocapture"])
            .env("WSCONFORM_SERVES", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| Some(line.split_once("at ")?.1.to_owned())).unwrap();
        DyingServer { process, url }
    }
}

impl Drop for DyingServer {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have died
        self.process.wait().unwrap();
    }
}

#[test]
fn a_server_that_dies_gets_a_report() {
    let json = file("death.json");
    let run = |more: &[&str]| {
        let server = DyingServer::start();
        let mut command = program();
        command.args(["server", &server.url, "--json", &json, "--case", "HS-0", "--case", "F-20"]);
        command.args(more).output().unwrap()
    };
    let output = run(&["--jobs", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let report = report_of(&json);
    assert_eq!(report.stopped.unwrap().behind, ["HS-014"]);
    // What came before it is judged; its own answer says nothing.
    assert!(report.rows.iter().any(|row| row.verdict == Verdict::Pass));
    let last = report.rows.last().unwrap();
    assert_eq!(last.case, "HS-014");
    assert!(matches!(last.verdict, Verdict::Untested { .. }), "{last:?}");
    assert!(
        text(&output).contains("the target fell silent: no connection to"),
        "{}",
        text(&output)
    );

    let output = run(&["--except", "HS-014"]);
    assert_ne!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(report_of(&json).stopped, None);
}

/// A server of which `act` serves the connections behind the first so many.
fn serve_then(
    many: u32,
    act: impl Fn(TcpStream, u32) + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let all = count.clone();
    let url = serve_with(move |tcp| match count.fetch_add(1, Ordering::SeqCst) {
        number if number < many => play(tcp, next_model(Role::Server, "")),
        number => act(tcp, number - many),
    });
    (url, all)
}

/// How many connections a good server sees before the first case of these.
fn probes(cases: &[&str]) -> u32 {
    let json = file(&format!("probes-{}.json", cases.len()));
    let (url, count) = serve_then(u32::MAX, |_, _| {});
    let output = program().args(["server", &url, "--json", &json]).args(cases).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // Behind each case there is a last look at the server.
    count.load(Ordering::SeqCst) - report_of(&json).rows.len() as u32 - 1
}

fn says_nothing(tcp: TcpStream) {
    thread::park();
    drop(tcp);
}

/// Cases to which silence is an answer, and others.
const SILENT: [&str; 10] =
    ["--case", "HS-167", "--case", "HS-071", "--case", "F-39", "--case", "C-266", "--case", "F-20"];

/// What became of a target that changes behind the probe and so many cases.
fn changed(name: &str, url: &str, arguments: &[&str]) -> (Report, String) {
    let json = file(&format!("changed-{name}.json"));
    let output = program()
        .args(["server", url, "--json", &json])
        .args(SILENT)
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output));
    (report_of(&json), text(&output))
}

fn is_untested(row: &Row) -> bool {
    matches!(row.verdict, Verdict::Untested { .. })
}

/// Wherever it happens, and however many cases are beside each other: nothing passes by silence.
#[test]
fn a_server_that_falls_silent_gets_a_report() {
    thread::scope(|scope| {
        for jobs in ["1", "8"] {
            let probes = probes(&[&SILENT[..], &["--jobs", jobs]].concat());
            for answered in [0, 1, 7] {
                scope.spawn(move || {
                    let (url, _) = serve_then(probes + answered, |tcp, _| says_nothing(tcp));
                    let name = format!("silent-{answered}-{jobs}");
                    let (report, text) = changed(&name, &url, &["--jobs", jobs]);
                    assert!(text.contains("the target fell silent: no answer to the"), "{text}");
                    let judged = report.rows.iter().filter(|row| !is_untested(row)).count();
                    assert!(judged <= answered as usize, "{:?}", report.rows);
                    assert!(report.rows.iter().any(is_untested), "{:?}", report.rows);
                    assert!(!report.stopped.unwrap().behind.is_empty());
                });
            }
        }
    });
}

/// What stands between us and a server that is gone may end each connection, or refuse it.
#[test]
fn a_server_that_is_gone_behind_a_proxy_gets_a_report() {
    let many = probes(&SILENT) + 3;
    let (url, _) = serve_then(many, |tcp, _| drop(tcp));
    let (report, text) = changed("proxy-ends", &url, &[]);
    assert!(text.contains("the target fell silent: "), "{text}");
    assert!(report.rows.iter().filter(|row| !is_untested(row)).count() <= 3, "{:?}", report.rows);

    let (url, _) = serve_then(many, |mut tcp, _| {
        let _ = tcp.read(&mut [0; 4096]);
        tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let (report, text) = changed("proxy-refuses", &url, &[]);
    let why = "the target opens no connection any more: the server refuses with status 502";
    assert!(text.contains(why), "{text}");
    assert!(report.rows.iter().filter(|row| row.verdict == Verdict::Pass).count() <= 3);
}

#[cfg(unix)]
fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
#[cfg(unix)]
fn a_server_that_is_stopped_gets_a_report() {
    let stopped = |lines| {
        let json = file(&format!("stopped-{lines}.json"));
        let server = DyingServer::start();
        let mut suite = program()
            .args(["server", &server.url, "--json", &json, "--hex"])
            .args(["--case", "HS-0", "--case", "F-", "--case", "C-"])
            .args(["--except", "HS-014"]) // it dies of that
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(suite.stderr.take().unwrap());
        probe_is_over(&mut said);
        let mut shown = BufReader::new(suite.stdout.take().unwrap()).lines();
        for _ in 0..lines {
            shown.next().unwrap().unwrap();
        }
        signal(&server.process, "-STOP");
        let shown: Vec<String> = shown.map(Result::unwrap).collect();
        assert_eq!(suite.wait().unwrap().code(), Some(2), "{shown:?}");
        signal(&server.process, "-CONT"); // so that it can be ended
        let report = report_of(&json);
        assert!(report.rows.iter().any(is_untested), "{shown:?}");
        assert!(report.rows.iter().all(|row| !matches!(row.verdict, Verdict::Fail { .. })));
        let end = shown.iter().any(|line| line.starts_with("the target fell silent: no "));
        assert!(end, "{shown:?}");
    };
    thread::scope(|scope| {
        for lines in [0, 40] {
            scope.spawn(move || stopped(lines));
        }
    });
}

/// A machine that is busy for a while is no server that is gone.
#[test]
fn who_gets_no_answer_beside_others_is_asked_alone() {
    let (url, _) = serve_then(probes(&SILENT), |tcp, number| match number {
        0..6 => says_nothing(tcp),
        _ => play(tcp, next_model(Role::Server, "")),
    });
    let json = file("alone.json");
    let mut run = program();
    let output = run.args(["server", &url, "--json", &json]).args(SILENT).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let rows = report_of(&json).rows;
    assert!(rows.len() > 10);
    let is_judged = |row: &Row| matches!(row.verdict, Verdict::Pass | Verdict::Note { .. });
    assert!(rows.iter().all(is_judged), "{rows:?}");
}

/// To a live server that answers nothing here: where it may refuse, it has.
#[test]
fn silence_of_a_live_server_is_its_answer() {
    let plain = AtomicU32::new(0);
    let url = serve_with(move |tcp| {
        let mut head = [0; 1024];
        let length = tcp.peek(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]);
        let is_plain = head.contains("Extensions: permessage-deflate\r\n");
        // The first of them is the probe's.
        let is_late = is_plain && plain.fetch_add(1, Ordering::SeqCst) > 0;
        if is_late || ["a;", "server_max_window_bits=9"].iter().any(|offer| head.contains(offer)) {
            return says_nothing(tcp);
        }
        play(tcp, next_model(Role::Server, ""));
    });
    let json = file("quiet.json");
    let cases = ["--case", "HS-167", "--case", "D-24", "--case", "F-202"];
    let mut run = program();
    let output = run.args(["server", &url, "--json", &json]).args(cases).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains(" cases are untested or unsteady: --jobs 1"),
        "{}",
        text(&output)
    );
    let rows = report_of(&json).rows;
    let find = |case: &str| rows.iter().find(|row| row.case == case).unwrap();
    assert_eq!(find("HS-167").verdict, Verdict::Pass);
    assert_eq!(find("F-202").verdict, Verdict::Pass);
    let Verdict::Note { why } = &find("D-246").verdict else { panic!("{rows:?}") };
    assert!(
        why.contains("it is offered \"permessage-deflate; server_max_window_bits=9\""),
        "{why}"
    );
    let untested: Vec<&Row> = rows.iter().filter(|row| is_untested(row)).collect();
    assert!(!untested.is_empty(), "{rows:?}");
    assert!(
        text(&output).contains("\nUntested, though the target is there\n"),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains(&format!(", {} untested\n", untested.len())));
}

/// Before a failure could be repeated, it is none.
#[test]
fn a_failure_before_the_death_is_untested() {
    let json = file("death-before.json");
    let cases = ["--case", "HS-014", "--case", "HS-013", "--case", "HS-042"];
    let server = DyingServer::start();
    let output =
        program().args(["server", &server.url, "--json", &json]).args(cases).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let report = report_of(&json);
    let is_judged = |row: &Row| matches!(row.verdict, Verdict::Fail { .. } | Verdict::Note { .. });
    assert!(!report.rows.iter().any(is_judged), "{report:?}");
}

/// The rows of the cases whose numbers start with `start`.
fn slow_rows(url: &str, name: &str, start: &str) -> Vec<Row> {
    let json = file(&format!("slow-{name}.json"));
    let output =
        program().args(["server", url, "--json", &json, "--case", start, "--jobs", "64"]).output();
    let output = output.unwrap();
    assert_ne!(output.status.code(), Some(2), "{}", text(&output));
    let report = report_of(&json);
    std::fs::remove_file(&json).unwrap();
    assert!(!report.rows.is_empty());
    report.rows
}

/// Each verdict comes again. `TESTS=all` tries all cases in 20 runs at 200 ms, not `few` in two.
/// Returns how many fail.
fn verdicts_are_equal(flaw: Flaw, few: &str) -> usize {
    let all = std::env::var("TESTS").is_ok_and(|tests| tests == "all");
    let (runs, start, pause) = if all { (20, "", 200) } else { (2, few, 20) };
    let url = serve_slowly(flaw, Duration::from_millis(pause));
    let first = slow_rows(&url, flaw, start);
    for run in 1..runs {
        let again = slow_rows(&url, flaw, start);
        assert_eq!(again.len(), first.len());
        for (one, other) in first.iter().zip(&again) {
            let is_equal = discriminant(&one.verdict) == discriminant(&other.verdict);
            assert!(is_equal && one.case == other.case, "run {run}: {one:?}, then {other:?}");
        }
    }
    first.iter().filter(|row| matches!(row.verdict, Verdict::Fail { .. })).count()
}

/// For longer than an answer is waited for nobody gets one, as on a busy machine. Those that wait in
/// the middle of a case run again.
#[test]
fn a_server_that_stands_still_for_seconds_fails_nothing() {
    const PROBES_AND_CROWDS: u32 = 320;
    let connections = AtomicU32::new(0);
    let running = Mutex::new(());
    let url = serve_with(move |tcp| {
        let stops = connections.fetch_add(1, Ordering::Relaxed) == PROBES_AND_CROWDS;
        let mut reads = 0;
        play_and_look(tcp, next_model(Role::Server, ""), |_| {
            let _running = running.lock().unwrap();
            reads += 1;
            if stops && reads == 2 {
                thread::sleep(Duration::from_secs(4));
            }
        });
    });
    let arguments = ["--group", "utf8", "--group", "close"];
    let output = program().args(["server", &url]).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn verdicts_on_a_slow_good_server_are_equal() {
    assert_eq!(verdicts_are_equal("", "U-30"), 0);
}

#[test]
fn verdicts_on_a_slow_bad_server_are_equal() {
    verdicts_are_equal("late-utf8", "U-30");
}

/// It fails cases of handshakes, frames and Close, and sees some violations late.
#[test]
fn verdicts_on_a_slow_server_of_many_flaws_are_equal() {
    let flaws = "http-1.0+two-hosts+no-versions+drops-125+data-after-close+late-utf8";
    assert!(verdicts_are_equal(flaws, "HS-31") > 5);
}

/// What was judged by then stands there.
#[test]
fn a_run_ends_within_its_time() {
    let json = file("within.json");
    let url = serve_slowly("", Duration::from_millis(200));
    let output = program()
        .args(["server", &url, "--json", &json, "--within", "5", "--case", "F-", "--jobs", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let report = report_of(&json);
    let stop = report.stopped.unwrap();
    assert_eq!(stop.why, "it has taken 5 s: --within gives it more");
    assert!(stop.behind.is_empty() && !stop.not_run.is_empty(), "{stop:?}");
    let failed = report.rows.iter().find(|row| matches!(row.verdict, Verdict::Fail { .. }));
    assert_eq!(failed, None);
}

#[test]
fn one_case_runs_alone_and_shows_its_bytes() {
    let output = program().args(["server", &serve(""), "--case", "F-202", "--hex"]).output();
    let output = text(&output.unwrap());
    assert!(output.contains("F-202 sent     474554202f"), "{output}"); // `GET /`
    assert!(output.contains("F-202 received 485454502f312e3120313031"), "{output}");
    assert!(!output.contains("F-201"), "{output}");
}

#[test]
fn a_section_can_be_chosen() {
    let list = |section| text(&program().args(["--list", "--section", section]).output().unwrap());
    let lines = list("RFC 6455 5.5");
    assert!(
        lines.contains("F-205 R edition 1 ") && lines.contains("C-001 R edition 1 "),
        "{lines}"
    );
    assert!(lines.lines().all(|line| line.contains(" RFC 6455 5.5")), "{lines}");
    assert!(list("RFC 6455 5.").contains("no case is of section RFC 6455 5."));
}

/// README's recipe: the bytes that were sent bring the same answer.
#[test]
fn the_bytes_can_be_replayed_by_hand() {
    let url = serve("");
    let output = program().args(["server", &url, "--case", "F-202", "--hex"]).output().unwrap();
    let output = text(&output);
    let bytes = |which: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        wsconform_cases::vectors::hex(line).unwrap()
    };
    let address = url.trim_start_matches("ws://").trim_end_matches('/');
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(&bytes("F-202 sent     ")).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    let before = bytes("F-202 received ");
    assert_eq!(answer[..before.len()], before);
}

/// Not a test: the command of the tests below, which finds the URL in its environment. With a folder
/// there it says in it that it has started; behind the starts of the probe it connects only once three
/// have.
#[test]
fn client_process() {
    let Ok(url) = std::env::var("WSCONFORM_URL") else { return };
    if let Ok(folder) = std::env::var("WSCONFORM_STARTS") {
        let probes: usize = std::env::var("WSCONFORM_PROBES").unwrap().parse().unwrap();
        std::fs::write(format!("{folder}/{}", std::process::id()), "").unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while starts(&folder) > probes && starts(&folder) < probes + 3 {
            assert!(Instant::now() < until, "no others start beside this one");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let address = url.trim_start_matches("ws://localhost:").trim_end_matches('/');
    let tcp = TcpStream::connect(("127.0.0.1", address.parse().unwrap())).unwrap();
    if let Ok(folder) = std::env::var("WSCONFORM_HANGS") {
        std::fs::write(format!("{folder}/{}", std::process::id()), "").unwrap();
        if starts(&folder) > 8 {
            return says_nothing(tcp);
        }
    }
    let model = Model::new(Role::Client, "", std::process::id());
    play(tcp, model);
}

#[test]
fn a_command_that_falls_silent_gets_a_report() {
    let this = std::env::current_exe().unwrap().display().to_string();
    let json = file("hangs.json");
    let folder = file("hangs");
    std::fs::create_dir_all(&folder).unwrap();
    let output = program()
        .args(["client", "--json", &json, "--case", "F-20", "--case", "F-39", "--case", "HC-00"])
        .args(["--", "env", "WSCONFORM_URL={url}", &format!("WSCONFORM_HANGS={folder}")])
        .args([&this, "--exact", "client_process"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("the target fell silent: no answer"), "{}", text(&output));
    let rows = report_of(&json).rows;
    assert!(rows.iter().filter(|row| !is_untested(row)).count() <= 8, "{rows:?}");
    assert!(rows.iter().any(is_untested));
}

fn starts(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// A command that only starts takes no turn from one that talks.
#[test]
fn more_commands_start_than_talk() {
    let this = std::env::current_exe().unwrap().display().to_string();
    let run = |name: &str, cases: &str, probes: usize| {
        let folder = file(name);
        std::fs::create_dir_all(&folder).unwrap();
        let output = program()
            .args(["client", "--jobs", "2", "--case", cases, "--", "env", "WSCONFORM_URL={url}"])
            .arg(format!("WSCONFORM_STARTS={folder}"))
            .arg(format!("WSCONFORM_PROBES={probes}"))
            .args([&this, "--exact", "client_process"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        starts(&folder)
    };
    // Behind the probe and the case one more start asks whether the client is still there.
    let probes = run("starts-1", "F-205", 1000) - 2;
    run("starts-2", "F-20", probes);
}

#[test]
fn a_good_client_fails_nothing() {
    let this = std::env::current_exe().unwrap().display().to_string();
    let output = program()
        .args(["client", "--case", "HC-0", "--case", "F-2", "--case", "C-00", "--case", "D-2"])
        .args(["--", "env", "WSCONFORM_URL={url}", &this, "--exact", "client_process"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// `wsconform client --listen`, and the lines that it prints.
struct Listening {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
}

impl Listening {
    fn start(arguments: &[&str]) -> Listening {
        let mut process = program()
            .args(["client", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ws://").unwrap().to_owned();
        Listening { process, lines, address }
    }

    /// A connection without a request. While it is there, no driver is missed, however slow this
    /// machine is.
    fn hold(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// What a driver for the Autobahn TestSuite does.
    fn ask(&self, target: &str) {
        let tcp = TcpStream::connect(&self.address).unwrap();
        let mut model = next_model(Role::Client, "");
        let request = String::from_utf8(std::mem::take(&mut model.output)).unwrap();
        model.output = request.replacen("GET / ", &format!("GET {target} "), 1).into_bytes();
        play(tcp, model);
    }

    /// Whether the suite has judged this case of the model, and passed it.
    fn has_passed(&self, number: usize) -> bool {
        let mut tcp = self.hold();
        let request = String::from_utf8(next_model(Role::Client, "").output).unwrap();
        let target = format!("GET /getCaseStatus?case={number}&agent=model ");
        tcp.write_all(request.replacen("GET / ", &target, 1).as_bytes()).unwrap();
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while !said.contains(&b'}') {
            let length = tcp.read(&mut buffer).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&said));
            said.extend(&buffer[..length]);
        }
        String::from_utf8_lossy(&said).contains("\"OK\"")
    }

    fn ask_for_cases(&self, numbers: std::ops::RangeInclusive<usize>) {
        self.ask_for_cases_and_die(numbers);
        self.ask("/updateReports?agent=model");
    }

    fn ask_for_cases_and_die(&self, numbers: std::ops::RangeInclusive<usize>) {
        let _hold = self.hold();
        for number in numbers {
            self.ask(&format!("/runCase?case={number}&agent=model"));
        }
    }

    /// The other lines, the exit code, and what was said on standard error.
    fn end(mut self) -> (Vec<String>, Option<i32>, String) {
        let report = self.lines.by_ref().map(Result::unwrap).collect();
        let code = self.process.wait().unwrap().code();
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (report, code, said)
    }
}

/// How many numbers a driver has to ask for: six of the probe, and these cases.
fn count(arguments: &[&str]) -> usize {
    text(&program().arg("--list").args(arguments).output().unwrap()).lines().count() + 6
}

#[test]
fn a_client_that_asks_for_its_cases_gets_them_and_a_report() {
    let chosen = ["--case", "C-", "--case", "D-2"];
    let suite = Listening::start(&chosen);
    suite.ask("/getCaseCount");
    suite.ask("/getCaseStatus?case=7&agent=model");
    suite.ask_for_cases(1..=count(&chosen));
    let (report, code, said) = suite.end();
    assert_eq!(code, Some(0), "{report:?} {said}");
    assert_eq!(report[0], "model (client)");
    assert!(report.last().unwrap().contains(" 0 fail"), "{report:?}");
}

#[test]
fn a_client_that_does_not_ask_for_all_is_told() {
    let chosen = ["--case", "C-00"];
    let all = count(&chosen);
    let suite = Listening::start(&chosen);
    suite.ask_for_cases(1..=1);
    let (report, code, said) = suite.end();
    assert_eq!(code, Some(2), "{report:?}");
    let missing = format!("model: {} of {all} cases were never asked for", all - 1);
    assert!(said.contains(&missing), "{said}");

    // By the same client under no name.
    let suite = Listening::start(&chosen);
    suite.ask("/runCase?case=1&agent=model");
    suite.ask("/updateReports");
    let (_, code, said) = suite.end();
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("client: {all} of {all} cases")), "{said}");
}

/// A driver that dies in the middle: what it has asked for is judged, and the rest has a name.
#[test]
fn a_driver_that_dies_is_not_waited_for() {
    let chosen = ["--case", "C-00", "--idle", "1"];
    let all = count(&chosen[..2]);
    let suite = Listening::start(&chosen);
    suite.ask_for_cases_and_die(1..=7);
    let (report, code, said) = suite.end();
    assert_eq!(code, Some(2), "{report:?}");
    assert!(report.last().unwrap().starts_with("1 pass, 0 fail"), "{report:?}");
    let missing = format!(
        "no connection within 1 s: model did not ask for {} of {all} cases, from number 8 (C-002) on",
        all - 7
    );
    assert!(said.contains(&missing), "{said}");
}

/// A client that hangs where silence would do.
#[test]
fn the_last_silence_of_a_driver_is_no_pass() {
    let json = file("hanging.json");
    let suite = Listening::start(&["--case", "F-390", "--idle", "1", "--json", &json]);
    suite.ask_for_cases_and_die(1..=6);
    let mut tcp = suite.hold();
    let request = String::from_utf8(next_model(Role::Client, "").output).unwrap();
    let request = request.replacen("GET / ", "GET /runCase?case=7&agent=model ", 1);
    tcp.write_all(request.as_bytes()).unwrap();
    tcp.read_to_end(&mut Vec::new()).unwrap();
    drop(tcp);
    let (report, code, _) = suite.end();
    assert_eq!(code, Some(2), "{report:?}");
    let end = |line: &String| line.ends_with("not for /updateReports, behind F-390.");
    assert!(report.iter().any(end), "{report:?}");
    assert!(report_of(&json).rows.iter().all(is_untested), "{report:?}");
}

#[test]
fn a_driver_that_dies_before_its_first_case_or_its_report_is_not_waited_for() {
    let suite = Listening::start(&["--case", "C-001", "--idle", "1"]);
    suite.ask("/getCaseCount");
    let (_, code, said) = suite.end();
    assert_eq!(code, Some(2));
    assert!(said.contains("no connection within 1 s: nobody asked for a case"), "{said}");

    let suite = Listening::start(&["--case", "C-001", "--idle", "1"]);
    suite.ask_for_cases_and_die(1..=7);
    let (report, code, said) = suite.end();
    assert_eq!(code, Some(2), "{report:?}");
    assert!(said.contains("model asked for all cases, but not for /updateReports"), "{said}");
}

/// With `--keep` the next driver has a round of its own.
#[test]
fn a_driver_that_dies_takes_nothing_from_the_next() {
    let json = file("next.json");
    let chosen = ["--case", "C-00"];
    let all = count(&chosen);
    let mut suite =
        Listening::start(&[&chosen[..], &["--idle", "1", "--keep", "--json", &json]].concat());
    let rows = |suite: &mut Listening| {
        let last = |line: &String| line.contains(" pass, 0 fail");
        assert!(suite.lines.by_ref().map(Result::unwrap).any(|line| last(&line)));
        report_of(&json).rows.len()
    };
    let hold = suite.hold();
    suite.ask("/runCase?case=1&agent=model");
    suite.ask("/runCase?case=7&agent=model");
    drop(hold);
    assert_eq!(rows(&mut suite), 1);
    let _hold = suite.hold();
    suite.ask_for_cases(1..=all);
    assert_eq!(rows(&mut suite), all - 6);
    suite.process.kill().unwrap();
    suite.process.wait().unwrap();
}

#[test]
fn each_round_has_a_report_of_its_own() {
    let json = file("rounds.json");
    let chosen = ["--case", "C-00"];
    let all = count(&chosen);
    let mut suite = Listening::start(&[&chosen[..], &["--keep", "--json", &json]].concat());
    let mut rounds = Vec::new();
    for asked in [all, all, 7] {
        suite.ask_for_cases(1..=asked);
        let last = |line: &String| line.ends_with(" skipped") || line.contains(" pass, 0 fail");
        let report: Vec<String> =
            suite.lines.by_ref().map(Result::unwrap).take_while(|line| !last(line)).collect();
        assert!(!report.is_empty());
        let mut rows = report_of(&json).rows;
        rows.iter_mut().for_each(|row| row.millis = 0);
        rounds.push(rows);
    }
    assert_eq!(rounds[0].len(), all - 6);
    assert_eq!(rounds[0], rounds[1]);
    assert_eq!(rounds[2][..], rounds[0][..1]);
    // A case that is asked for twice in a round has one row.
    suite.ask("/runCase?case=7&agent=model");
    suite.ask_for_cases(7..=7);
    suite.process.kill().unwrap();
    suite.process.wait().unwrap();
}

/// What cannot work is said before somebody waits for it.
#[test]
fn outputs_are_checked_before_the_first_connection() {
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    let url = serve_with(move |tcp| {
        count.fetch_add(1, Ordering::Relaxed);
        play(tcp, next_model(Role::Server, ""));
    });
    let expect = |name: &str, text: &str| {
        let path = file(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let short = expect("short", "edition 1\nfail C-266\n");
    let unknown = expect("unknown", "fail Q-1 server\n");
    let newer = expect("newer", "edition 99\n");
    let read_only = std::env::temp_dir().display().to_string();
    for (arguments, why) in [
        (vec!["--expect", "/no/such/file"], "/no/such/file"),
        (
            vec!["--expect", &short],
            "line 2: not understood: fail C-266; write: fail CASE server|client",
        ),
        (vec!["--expect", &unknown], "line 1: no case Q-1 for a server"),
        (vec!["--expect", &newer], "line 1: edition 99 is not known: this suite has"),
        (vec!["--json", "/no/such/folder/it.json"], "/no/such/folder/it.json"),
        (vec!["--html", &read_only], &read_only),
        (vec!["--case", "Q-1"], "no case begins with Q-1: see --list"),
        (vec!["--case", "F-201", "--except", "Q-1"], "no case begins with Q-1: see --list"),
        (vec!["--case", "HC-0"], "no case that was chosen tests a server"),
        (vec!["--case", "F-201", "--except", "F-"], "no case that was chosen tests a server"),
        (vec!["--jobs", "0"], "--jobs 0: it takes 1 to 64"),
        (vec!["--keep"], "--keep does nothing for server"),
        (vec!["--idle", "9"], "--idle does nothing for server"),
        (vec!["--handshake"], "--handshake does nothing for server"),
        (vec!["--cert", "it", "--key", "it"], "--cert does nothing for server"),
    ] {
        let output = program().args(["server", &url]).args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(why), "{arguments:?}: {}", text(&output));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 0);

    // If the run comes to nothing, there is no report: neither a new nor an old one.
    let json = file("stale.json");
    let gone = free_address();
    let nobody = format!("ws://{gone}/");
    for more in [&[][..], &["--expect", "/no/such/file"]] {
        let run = || program().args(["server", &nobody, "--json", &json]).args(more).output();
        assert_eq!(run().unwrap().status.code(), Some(2));
        assert!(!std::path::Path::new(&json).exists());
        std::fs::write(&json, "of last week").unwrap();
        assert_eq!(run().unwrap().status.code(), Some(2));
        assert_eq!(std::fs::read_to_string(&json).unwrap(), "");
        std::fs::remove_file(&json).unwrap();
    }
}

/// CI starts the server in the background.
#[test]
fn a_server_that_does_not_listen_yet_is_waited_for() {
    let address = free_address();
    let url = format!("ws://{address}/");
    let mut suite = program()
        .args(["server", &url, "--wait", "100", "--case", "F-202"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1200)); // more than one connection tries by itself
    assert!(suite.try_wait().unwrap().is_none());
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            thread::spawn(move || play(tcp.unwrap(), next_model(Role::Server, "")));
        }
    });
    assert_eq!(suite.wait().unwrap().code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_report_that_cannot_be_written_is_printed() {
    let arguments = ["--case", "F-201", "--json", "/dev/full"];
    let output = program().args(["server", &serve("")]).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("1 pass, 0 fail"), "{}", text(&output));
    assert!(text(&output).contains("/dev/full: "), "{}", text(&output));
}

/// As `head` does.
#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let url = serve("");
    for arguments in [&["--list"][..], &["server", &url, "--case", "F-201", "--hex"]] {
        let mut running = program()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(running.stdout.take());
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(!text(&output).contains("panicked"), "{}", text(&output));
    }
}

#[test]
fn what_cannot_be_done_is_said_and_is_2() {
    let gone = free_address();
    for (arguments, why) in [
        (vec!["server", "http://localhost/"], "is no URL of the form ws://"),
        (vec!["server", &format!("ws://{gone}/")], "no connection to"),
        (vec!["client", "--", "/no/such/program", "{url}"], "/no/such/program"),
        (vec!["client", "--", "true", "{url}"], "did not connect"),
        (vec!["client", "--", "true"], "no {url} in the command"),
        (vec!["client", "--listen", "127.0.0.1:0", "--case", "HC-0"], "they need --handshake"),
        (vec!["--list", "--case", "Q-1"], "no case begins with Q-1: see --list"),
        (vec!["--explain", "Z-9"], "there is no case Z-9"),
        (vec!["--group", "frame"], "no group frame: handshake, http, frames, close, utf8, deflate"),
        (vec!["--list", "F-201"], "--list takes no word more: [\"F-201\"]"),
        (vec!["--list", "--json", "x"], "--json does nothing for --list"),
        (vec!["--explain", "F-201", "F-202"], "--explain CASE takes no word more: [\"F-202\"]"),
        (vec!["--explain", "F-201", "--hex"], "--hex does nothing for --explain"),
        (vec!["html", "a.json", "--name", "x"], "--name does nothing for html"),
        (vec!["client", "--idle", "9", "--", "{url}"], "--idle does nothing for client -- COMMAND"),
        (vec!["client", "--ca", "x", "--", "{url}"], "--ca does nothing for client -- COMMAND"),
        (vec!["client", "--cert", "x", "--", "{url}"], "--cert without --key: TLS takes both"),
        (vec!["client", "--key", "x", "--", "{url}"], "--key without --cert: TLS takes both"),
        (vec!["client", "--listen", "x", "--wait", "9"], "--wait does nothing for client --listen"),
        (vec!["client", "--listen", "x", "--jobs", "9"], "--jobs does nothing for client --listen"),
        (vec!["client", "--listen", "x", "--idle", "0"], "--idle 0: it takes at least 1"),
        (vec![], "a command is missing"),
        (vec!["frobnicate"], "frobnicate is no command"),
        (vec!["server"], "server: its URL is missing"),
        (vec!["server", "ws://a/", "ws://b/"], "server takes one URL, not"),
        (
            vec!["html", "a.json", "--", "x"],
            "a command stands behind server URL or learn URL: [\"x\"]",
        ),
        (vec!["client"], "-- COMMAND or --listen is missing"),
        (vec!["server", "ws://a/", "--listen", "x"], "--listen is for client and learn alone"),
        (vec!["html"], "html: no REPORT.json"),
        (vec!["html", "Cargo.toml"], "Cargo.toml is no report: "),
        (vec!["--list", "--seed", "x"], "--seed x: it takes a number"),
        (vec!["server", "ws://nowhere.invalid/"], "no address of nowhere.invalid: "),
        (vec!["html", "/no/such/file"], "/no/such/file"),
    ] {
        let output = program().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(why), "{arguments:?}: {}", text(&output));
    }
    let help = program().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    let page = program().args(["--explain", "f-201"]).output().unwrap();
    assert!(text(&page).contains("RFC 6455 5.1"));
}
