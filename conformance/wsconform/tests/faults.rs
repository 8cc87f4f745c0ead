//! The judge is judged: the faults of `FAULTS.md`, each in a peer that is otherwise in order. The
//! peer was written from the RFCs by somebody who had not seen a case.

#[path = "faulty/deflate.rs"]
mod deflate;
#[path = "faulty/http.rs"]
mod http;
#[path = "faulty/peer.rs"]
mod peer;

use peer::{Peer, Side};
use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
};
use wsconform_cases::{Action, Case, End, Env, Probe, Role, Session, Verdict, cases, find};

const TABLE: &str = include_str!("../../FAULTS.md");

/// What a first look for a fault leaves out: these cases hold, or announce, too much for a run of
/// each fault.
const LIGHT: u64 = 256 << 10;

/// A row of the table: a fault in a role, and what came of it.
struct Row<'a> {
    fault: &'a str,
    role: Role,
    kind: &'a str,
    sentence: &'a str,
    /// `fail F-001`, `note F-001` or `missed`.
    result: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    for line in TABLE.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[fault, _, _, roles, kind, sentence, ref results @ ..] = &cells[..] else { continue };
        let results = results.first().map_or_else(Vec::new, |cell| cell.split(", ").collect());
        for (place, letter) in roles.split(", ").enumerate() {
            let role = match letter {
                "S" => Role::Server,
                "C" => Role::Client,
                _ => continue,
            };
            let result = results.get(place).copied().unwrap_or_default();
            rows.push(Row { fault, role, kind, sentence, result });
        }
    }
    rows
}

fn peer(role: Role, fault: &str, host: &str, resource: &str) -> Peer {
    let side = if role == Role::Server { Side::Server } else { Side::Client };
    Peer::new(side, fault, host, resource)
}

/// Runs a session against a peer, in memory: what one action sends is what one read gets.
fn drive(session: &mut Session, peer: &mut Peer) {
    let mut told = false;
    loop {
        match session.next_action() {
            Action::Send(bytes) => peer.read(&bytes),
            Action::Shutdown | Action::Reset => peer.eof(),
            Action::Turn => {} // the other connection is left out
            Action::Pause(_) => {
                let output = std::mem::take(&mut peer.output);
                session.received(&output);
            }
            Action::Receive(_) => {
                let output = std::mem::take(&mut peer.output);
                if !output.is_empty() {
                    session.received(&output);
                } else if peer.over && !told {
                    told = true;
                    session.ended(End::Fin);
                } else {
                    session.timed_out();
                }
            }
            Action::Done => return,
        }
    }
}

/// What the probe learns; its messages of 1 MiB and more are left out, if it is to be quick.
fn probe(role: Role, fault: &str, quick: bool) -> Env {
    let mut probe = Probe::new(role, "localhost", "/", 7);
    while let Some(mut session) = probe.next_session() {
        if quick && session.case().id.as_str() > "PROBE-3" {
            break;
        }
        drive(&mut session, &mut peer(role, fault, "localhost", "/"));
        probe.learn(&session);
    }
    probe.env().clone()
}

/// The verdict, and whether the fault's switch was reached.
fn run(case: &'static Case, role: Role, fault: &str, env: &Env) -> (Verdict, bool) {
    let mut session = Session::new(case, role, env);
    let mut peer = peer(role, fault, "localhost", "/");
    if *session.verdict() == Verdict::Waiting {
        drive(&mut session, &mut peer);
    }
    (session.verdict().clone(), peer.reached)
}

/// All of the cases, of which some may be left out for their weight.
fn run_all(role: Role, fault: &str, most: u64) -> Vec<(&'static Case, Verdict)> {
    let env = probe(role, fault, most <= LIGHT);
    let chosen = cases().iter().filter(|case| case.tests(role) && case.weight(role) <= most);
    chosen.map(|case| (case, run(case, role, fault, &env).0)).collect()
}

fn fails(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail { .. })
}

#[test]
fn a_peer_without_a_fault_fails_nothing() {
    for role in [Role::Server, Role::Client] {
        for (case, verdict) in run_all(role, "", 16 << 20) {
            assert!(!fails(&verdict), "{} {}: {verdict:?}", case.id, case.title);
        }
    }
}

#[test]
fn the_table_holds() {
    let rows = rows();
    assert!(rows.len() >= 60);
    for row in &rows {
        let Row { fault, role, result, .. } = *row;
        let Some((kind, id)) = result.split_once(' ') else {
            assert_eq!(result, "missed", "{fault} of a {role}");
            let found: Vec<_> =
                run_all(role, fault, LIGHT).into_iter().filter(|one| fails(&one.1)).collect();
            assert!(found.is_empty(), "{fault} of a {role} is found: {found:?}");
            continue;
        };
        let case = find(id).unwrap_or_else(|| panic!("{fault}: no case {id}"));
        let (verdict, reached) = run(case, role, fault, &probe(role, fault, true));
        let is_right = match kind {
            "fail" => fails(&verdict),
            _ => kind == "note" && matches!(verdict, Verdict::Note { .. }),
        };
        assert!(is_right && reached, "{fault} of a {role}, {id}: {verdict:?}");
    }
}

#[test]
fn the_rate_is_that_of_the_table() {
    let mut rows = rows();
    rows.retain(|row| row.fault != "both-sides-deadlock"); // which no peer was given
    let count = |kind: &str, result: &str| {
        rows.iter().filter(|row| row.kind == kind && row.result.starts_with(result)).count()
    };
    for (kind, name) in [("R", "R, now"), ("S", "S"), ("C", "C")] {
        let [all, fail, note, missed] = ["", "fail", "note", "missed"].map(|it| count(kind, it));
        let line = format!("| {name} | {all} | {fail} | {note} | {missed} |");
        assert!(TABLE.contains(&line), "{line}");
    }
    let failures: Vec<&Row> = rows.iter().filter(|row| row.result.starts_with("fail ")).collect();
    let is_same = |row: &&&Row| {
        let case = row.result.strip_prefix("fail ").and_then(find).expect("a case");
        let section = case.rule.section.trim_start_matches("RFC ");
        row.sentence.split(", ").any(|sentence| sentence == section)
    };
    let same = failures.iter().filter(is_same).count();
    let line =
        format!("Of the {} failures that the table names now, {same} are in", failures.len());
    assert!(TABLE.contains(&line), "{line}");
}

/// A peer that checks no mask fails all cases of masks: none of them is found by another check.
#[test]
fn masks_are_not_found_by_way_of_text() {
    for (role, fault) in [(Role::Server, "unmasked-ok"), (Role::Client, "masked-ok")] {
        let env = probe(role, fault, true);
        for id in ["F-038", "F-039", "F-043"] {
            let (verdict, _) = run(find(id).expect("a case"), role, fault, &env);
            assert!(fails(&verdict), "{id} of a {role}: {verdict:?}");
        }
    }
}

/// Prints the last column anew: `cargo test --test faults -- --ignored --nocapture print`.
#[test]
#[ignore = "prints the table; nothing to hold"]
fn print_the_table() {
    let all = |role| run_all(role, "", u64::MAX);
    let sound = [all(Role::Server), all(Role::Client)];
    for row in rows() {
        let Row { fault, role, sentence, result, .. } = row;
        if env::var("ONLY").is_ok_and(|only| !only.split(',').any(|one| one == fault)) {
            continue;
        }
        let mut found = run_all(role, fault, LIGHT);
        if !found.iter().any(|one| fails(&one.1)) {
            found = run_all(role, fault, u64::MAX);
        }
        let failed: Vec<_> = found.iter().filter(|one| fails(&one.1)).collect();
        // The case whose section is that of the sentence comes first.
        let fits = |case: &Case| {
            let section = case.rule.section.trim_start_matches("RFC ");
            sentence.contains(section)
        };
        let best = failed.iter().find(|one| fits(one.0)).or(failed.first());
        let before = &sound[usize::from(role == Role::Client)];
        let noted = found.iter().find(|(case, verdict)| {
            matches!(verdict, Verdict::Note { .. })
                && before.iter().any(|(other, was)| other.id == case.id && was != verdict)
        });
        let now = match (best, noted) {
            (Some((case, _)), _) => format!("fail {}", case.id),
            (None, Some((case, _))) => format!("note {}", case.id),
            (None, None) => "missed".to_owned(),
        };
        let place = best.map_or("-", |one| one.0.rule.section.as_str());
        println!("ROW\t{fault}\t{role}\t{now}\t{}\t{place}\t{result}", failed.len());
    }
}

// Over TCP, by the program.

fn serve(mut stream: TcpStream, mut peer: Peer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; 64 << 10];
    loop {
        let output = std::mem::take(&mut peer.output);
        stream.write_all(&output)?;
        if peer.over {
            return Ok(());
        }
        match stream.read(&mut bytes)? {
            0 => peer.eof(),
            count => peer.read(&bytes[..count]),
        }
    }
}

fn wsconform() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wsconform"))
}

/// The output of the program, and whether it found nothing.
fn output(command: &mut Command) -> Result<(String, bool), Box<dyn Error>> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((text + &String::from_utf8_lossy(&output.stderr), output.status.success()))
}

fn server(fault: &'static str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, peer(Role::Server, fault, "", "")));
        }
    });
    Ok(format!("ws://{address}/"))
}

#[test]
fn the_program_finds_nothing_in_a_good_server() -> Result<(), Box<dyn Error>> {
    let (text, is_good) = output(wsconform().arg("server").arg(server("")?))?;
    assert!(is_good, "{text}");
    Ok(())
}

#[test]
fn the_program_finds_a_head_that_is_read_once() -> Result<(), Box<dyn Error>> {
    let url = server("head-one-read")?;
    let mut text = String::new();
    // A busy server has all pieces in its one read, and no fault to be seen.
    for _ in 0..50 {
        let run = output(wsconform().args(["server", &url, "--case", "HS-364"]))?;
        if !run.1 && run.0.contains("HS-364") {
            return Ok(());
        }
        text = run.0;
    }
    Err(text.into())
}

#[test]
fn the_program_finds_nothing_in_a_good_client() -> Result<(), Box<dyn Error>> {
    let dial = env::current_exe()?;
    let mut command = wsconform();
    command.args(["client", "--", "env", "FAULTY_URL={url}"]);
    command.arg(dial).args(["--ignored", "--exact", "dial"]);
    let (text, is_good) = output(&mut command)?;
    assert!(is_good, "{text}");
    Ok(())
}

/// No test: the client that `wsconform client` starts.
#[test]
#[ignore = "a client for another test"]
fn dial() {
    let Ok(url) = env::var("FAULTY_URL") else { return };
    let rest = url.trim_start_matches("ws://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let stream = TcpStream::connect(host).expect("wsconform listens");
    // How the other end ends the stream is its affair.
    let _ = serve(stream, peer(Role::Client, "", host, &format!("/{path}")));
}
