//! Servers that are good as long as one connection is open, or that take few.

use super::{command::of_command, *};
use support::Message;
use wsconform_cases::judge::frame::Header;

/// What all connections of a server share.
#[derive(Default)]
struct Shared {
    open: AtomicU32,
    /// The open message of all connections.
    message: Mutex<Option<Message>>,
    /// What the last connection was to get.
    output: Mutex<Vec<u8>>,
}

/// A server of which `act` spoils what comes of a read, as soon as a second connection is open.
fn serve_together(act: fn(&Shared, &mut Model, &[u8])) -> String {
    serve_beside(|open| open > 1, act)
}

/// The same, while so many connections are open.
fn serve_beside(spoils: fn(u32) -> bool, act: fn(&Shared, &mut Model, &[u8])) -> String {
    let shared = Arc::new(Shared::default());
    serve_with(move |mut tcp| {
        shared.open.fetch_add(1, Ordering::SeqCst);
        let mut model = next_model(Role::Server, "no-deflate");
        let mut buffer = vec![0; 64 << 10];
        while !model.ended
            && let Ok(length @ 1..) = tcp.read(&mut buffer)
        {
            match spoils(shared.open.load(Ordering::SeqCst)) {
                false => model.read(&buffer[..length]),
                true => act(&shared, &mut model, &buffer[..length]),
            }
            if tcp.write_all(&std::mem::take(&mut model.output)).is_err() {
                break;
            }
        }
        if shared.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            *shared.message.lock().unwrap() = None;
        }
    })
}

/// The report of a run that fails.
fn failed(name: &str, url: &str, arguments: &[&str]) -> Report {
    let json = file(&format!("together-{name}.json"));
    let output = program()
        .args(["server", url, "--json", &json, "--except", "T-103"])
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    report_of(&json)
}

fn verdict<'r>(report: &'r Report, case: &str) -> &'r Verdict {
    let row = report.rows.iter().find(|row| row.case == case);
    &row.unwrap_or_else(|| panic!("no row of {case}")).verdict
}

fn fails(report: &Report, case: &str) -> bool {
    matches!(verdict(report, case), Verdict::Fail { .. })
}

#[test]
fn one_buffer_for_all_connections_fails() {
    let url = serve_together(|shared, model, bytes| {
        let mut message = shared.message.lock().unwrap();
        model.swap_message(&mut message);
        model.read(bytes);
        model.swap_message(&mut message);
    });
    let report = failed("buffer", &url, &["--case", "T-23"]);
    for case in ["T-230", "T-231"] {
        assert!(fails(&report, case), "{case}: {:?}", verdict(&report, case));
    }
}

/// Doubles the first message of what is sent, unless that is a marker. Returns whether there was one.
fn sends_twice(output: &mut Vec<u8>) -> bool {
    let Some((header, start)) = Header::read(output) else { return false };
    let end = start + header.length as usize;
    let is_message =
        matches!(output[0], 0x81 | 0x82) && !output[start..end].starts_with(b"wsconform");
    if is_message {
        output.splice(..0, output[..end].to_vec());
    }
    is_message
}

/// Neither alone nor beside many.
#[test]
fn what_only_two_connections_show_fails() {
    let url = serve_beside(
        |open| open == 2,
        |_, model, bytes| {
            model.read(bytes);
            sends_twice(&mut model.output);
        },
    );
    let report = failed("pair", &url, &["--case", "F-20", "--case", "T-23"]);
    let pairs: Vec<&Row> = report.rows.iter().filter(|row| row.case.starts_with("T-")).collect();
    assert!(pairs.iter().any(|row| fails(&report, &row.case)), "{pairs:?}");
}

/// Alone it does not come again, and needs not.
#[test]
fn what_another_connection_has_sent_fails_at_once() {
    let url = serve_together(|shared, model, bytes| {
        model.read(bytes);
        // A marker's echo alone is given away.
        if model.output.windows(10).any(|part| part == b"wsconform ") {
            std::mem::swap(&mut *shared.output.lock().unwrap(), &mut model.output);
        }
    });
    let report = failed("marker", &url, &["--case", "F-2", "--case", "U-2"]);
    let is_of_another = |row: &&Row| match &row.verdict {
        Verdict::Fail { why, .. } => why.starts_with("what another connection has sent"),
        _ => false,
    };
    assert!(report.rows.iter().any(|row| is_of_another(&row)), "{:?}", report.rows);
}

#[test]
fn what_a_connection_leaves_behind_fails_the_next() {
    let left = Arc::new(Mutex::new(None));
    let url = serve_with(move |mut tcp| {
        let mut model = next_model(Role::Server, "");
        let mut buffer = vec![0; 64 << 10];
        let mut is_first = true;
        while !model.ended
            && let Ok(length @ 1..) = tcp.read(&mut buffer)
        {
            model.read(&buffer[..length]);
            if tcp.write_all(&std::mem::take(&mut model.output)).is_err() {
                break;
            }
            if std::mem::take(&mut is_first) {
                model.swap_message(&mut left.lock().unwrap());
            }
        }
        // A connection of the run before, which ends late, takes nothing away.
        let mut message = None;
        model.swap_message(&mut message);
        if message.is_some() {
            *left.lock().unwrap() = message;
        }
    });
    let report = failed("left", &url, &["--case", "T-238"]);
    assert!(fails(&report, "T-238"));
}

/// It shows in whatever comes next, so each of that passes alone.
#[test]
fn what_one_case_leaves_behind_fails_the_next() {
    let left = Mutex::new(false);
    let url = serve_with(move |mut tcp| {
        let mut model = next_model(Role::Server, "no-deflate");
        let mut buffer = vec![0; 64 << 10];
        while !model.ended
            && let Ok(length @ 1..) = tcp.read(&mut buffer)
        {
            let leaves = buffer[0] == 0x83;
            model.read(&buffer[..length]);
            let mut left = left.lock().unwrap();
            if *left && sends_twice(&mut model.output) {
                *left = false;
            }
            *left |= leaves;
            drop(left);
            if tcp.write_all(&std::mem::take(&mut model.output)).is_err() {
                break;
            }
        }
    });
    // Whoever is the last of the others, behind it comes the case of two connections.
    let cases = ["F-202", "F-203", "F-207", "F-208", "F-21", "T-232"].map(|case| ["--case", case]);
    let report = failed("behind", &url, &[cases.as_flattened(), &["--jobs", "2"]].concat());
    let is_behind = |row: &&Row| match &row.verdict {
        Verdict::Fail { why, .. } => why.starts_with("each time behind a connection of F-203: "),
        _ => false,
    };
    assert!(report.rows.iter().any(|row| is_behind(&row)), "{:?}", report.rows);
}

#[test]
fn a_process_that_dies_beside_connections_fails() {
    let address = free_address().to_string();
    let json = file("crowd.json");
    let output = of_command(
        "server",
        &address,
        &["--case", "F-2", "--json", &json],
        &["env", "WSCONFORM_CROWD=7"],
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report = report_of(&json);
    let Verdict::Fail { why, .. } = verdict(&report, "PROCESS") else { panic!("it lives") };
    assert!(why.contains("when 8 plain connections were opened (exit status: 3"), "{why}");
    let open = report.rows.iter().filter(|row| !matches!(row.verdict, Verdict::Pass));
    assert!(open.count() < 10, "{}", text(&output));
}

/// Nothing was compared there, which is no result, unless somebody says that it need not echo.
#[test]
fn an_echo_in_another_order_or_none_is_no_result() {
    for flaw in ["binary-later", "no-echo"] {
        let url = serve(flaw);
        for (arguments, code) in [
            (&["--case", "F-205", "--case", "F-211"][..], 2),
            (&["--case", "F-205"], 0),
            (&["--case", "F-205", "--case", "F-211", "--no-echo"], 0),
        ] {
            let output = program().args(["server", &url]).args(arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{flaw}: {}", text(&output));
            let names_it = String::from_utf8_lossy(&output.stderr).contains("--no-echo");
            assert_eq!(names_it, code == 2, "{flaw}: {}", text(&output));
        }
    }
}

/// It serves so many connections at one time. The others are refused, or wait in the queue.
fn serve_few(most: u32, refuses: bool) -> String {
    let open = AtomicU32::new(0);
    serve_with(move |mut tcp| {
        loop {
            let others = open.fetch_add(1, Ordering::SeqCst);
            if others < most {
                play(tcp, next_model(Role::Server, ""));
                open.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            open.fetch_sub(1, Ordering::SeqCst);
            if refuses {
                let _ = tcp.read(&mut [0; 4096]);
                let _ = tcp.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    })
}

#[test]
fn a_server_that_takes_few_connections_is_tested_whole() {
    for (most, refuses) in [(12, true), (3, true), (2, false)] {
        let json = file(&format!("few-{most}.json"));
        let output = few(most, refuses, &["--json", &json]);
        assert_eq!(output.status.code(), Some(0), "{most}: {}", text(&output));
        let busy = |row: &&Row| format!("{:?}", row.verdict).contains("503");
        assert_eq!(report_of(&json).rows.iter().find(busy), None);
    }
}

/// What the suite says of a server that takes so many connections.
fn few(most: u32, refuses: bool, arguments: &[&str]) -> Output {
    let cases = ["HS-0", "HS-1", "F-2", "T-23", "D-4"].map(|case| ["--case", case]);
    let url = serve_few(most, refuses);
    let mut run = program();
    run.args(["server", &url]).args(cases.as_flattened()).args(arguments).output().unwrap()
}

/// One at a time may be a choice, and may be a lock that is held too long.
#[test]
fn a_server_that_takes_one_connection_is_tested_but_for_cases_of_two() {
    for refuses in [true, false] {
        let json = file(&format!("one-{refuses}.json"));
        let output = few(1, refuses, &["--json", &json]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let why = "need two connections, and the target takes one at a time: --except D-497 ";
        assert!(text(&output).contains(why), "{}", text(&output));
        let rows = report_of(&json).rows;
        let is_judged = |row: &&Row| {
            matches!(row.verdict, Verdict::Pass | Verdict::Note { .. } | Verdict::Skip { .. })
        };
        assert_eq!(rows.iter().find(|row| !is_judged(row)), None);
        let pairs = wsconform_cases::cases().iter().filter(|case| case.is_of_two());
        let except: Vec<&str> = pairs.flat_map(|case| ["--except", &*case.id]).collect();
        let output = few(1, refuses, &except);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}

/// RFC 6455 5.5.2 has us answer its Pings.
#[test]
fn a_server_that_wants_pongs_gets_them() {
    let pongs = Arc::new(AtomicU32::new(0));
    let count = pongs.clone();
    let url = serve_with(move |mut tcp| {
        let mut model = next_model(Role::Server, "");
        let mut buffer = vec![0; 64 << 10];
        tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while !model.ended {
            match tcp.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    count.fetch_add(u32::from(buffer[..2] == [0x8a, 0x85]), Ordering::SeqCst);
                    model.read(&buffer[..length]);
                }
                Err(_) => model.output.extend(b"\x89\x05alive"),
            }
            if tcp.write_all(&std::mem::take(&mut model.output)).is_err() {
                break;
            }
        }
    });
    let output = program().args(["server", &url, "--case", "F-20"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // The probe listens for a second to whoever speaks by himself.
    assert!(pongs.load(Ordering::SeqCst) > 3);
}
