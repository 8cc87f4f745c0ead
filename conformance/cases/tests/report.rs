//! Reports and files of expectations.

mod support;

use support::run_some;
use wsconform_cases::case::EDITION;
use wsconform_cases::expect::{Expectations, Standing};
use wsconform_cases::report::{Report, Stop, to_html};
use wsconform_cases::{Case, Group, Role, Verdict};

fn is_wanted(case: &Case) -> bool {
    case.group() == Group::Utf8 && case.rule.id != "utf8.legal"
}

/// A server that takes any bytes for text.
fn report(target: &str) -> Report {
    let sessions = run_some(Role::Server, "any-utf8", 1 << 20, is_wanted);
    let mut report = Report::new(target, Role::Server, support::probe(Role::Server, "any-utf8"));
    sessions.iter().rev().for_each(|session| report.add(session));
    report
}

#[test]
fn json_is_read_again() {
    let report = report("it");
    assert!(report.rows.len() > 50);
    assert!(report.rows.windows(2).all(|pair| pair[0].case < pair[1].case));
    let json = report.to_json();
    assert_eq!(Report::from_json(&json).expect("a report"), report);
    assert!(json.contains("\"kind\": \"fail\""));
}

#[test]
fn a_file_says_what_is_known() {
    let report = report("it");
    let [known, new] = [&report.rows[0], &report.rows[1]];
    assert!(matches!(known.verdict, Verdict::Fail { .. }));
    let text = format!("# ours\nedition 1\nfail {} server # ticket\n\n", known.case);
    let file = Expectations::parse(&text).expect("a file");
    assert_eq!(file.edition, 1);
    assert_eq!(file.standing(known), Standing::Known);
    assert_eq!(file.standing(new), Standing::New);
    assert!(!file.holds(&report));

    let mut newer = new.clone();
    newer.edition = file.edition + 1;
    assert_eq!(file.standing(&newer), Standing::Newer);
    let mut mended = known.clone();
    mended.verdict = Verdict::Pass;
    assert_eq!(file.standing(&mended), Standing::Mended);

    let unknown = |edition| format!("edition {edition} is not known: this suite has {EDITION}");
    for (line, bad, what) in [
        (1, "fail X-999 server", "no case X-999 for a server"),
        (2, "edition 1\nfails", "not understood: fails; write: fail CASE server|client"),
        (2, "fail HS-001 server\nfail HS-001 server", "fail HS-001 server stands there twice"),
        (1, "edition one", "no edition: one"),
        (1, "edition 0", &unknown(0)),
        (1, "edition 99", &unknown(99)),
    ] {
        let error = Expectations::parse(bad).expect_err(bad);
        assert_eq!((error.line, error.what.as_str()), (line, what));
    }
    assert_eq!(Expectations::parse("# none").expect("a file").edition, 1);
    assert!(Expectations::parse("fail HS-001 client").is_err(), "it tests servers alone");
}

/// Programs read the JSON by what the README says of it.
#[test]
fn the_readme_names_all_that_is_in_the_json() {
    let readme = include_str!("../../README.md");
    let about = readme.split("\nThe JSON has ").nth(1).expect("a paragraph");
    let about = about.split("\n\n").next().expect("its end");
    let mut report = report("it");
    let why = String::new();
    report.stopped = Some(Stop { why: why.clone(), behind: Vec::new(), not_run: 0 });
    report.rows[0].remarks.push(String::new());
    for verdict in [
        Verdict::Pass,
        Verdict::Note { why: why.clone() },
        Verdict::Untested { why: why.clone() },
        Verdict::Skip { cause: why },
        report.rows[0].verdict.clone(),
    ] {
        report.rows[0].verdict = verdict;
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        let row = &json["rows"][0];
        let kind = row["verdict"]["kind"].as_str().expect("a kind");
        assert!(about.contains(&format!("`{kind}`")), "{kind}");
        for object in [&json, row, &row["verdict"], &json["stopped"]] {
            for name in object.as_object().expect("an object").keys() {
                assert!(about.contains(&format!("`{name}`")), "{name}");
            }
        }
    }
}

/// A server that dies may have hundreds of cases open. The report in JSON names them all.
#[test]
fn many_cases_behind_which_a_run_stops_are_counted() {
    let stop = |behind: &[&str], not_run| Stop {
        why: "it fell silent".to_owned(),
        behind: behind.iter().map(ToString::to_string).collect(),
        not_run,
    };
    let some = stop(&["F-201", "F-202", "F-203"], 0);
    assert_eq!(some.to_string(), "it fell silent, behind one of F-201, F-202, F-203");
    let many = stop(&["D-328", "D-229", "D-327", "F-201", "F-202"], 3);
    assert_eq!(
        many.to_string(),
        "it fell silent, behind one of 5 cases that were open: D-328, D-229, D-327, .. (with \
         --jobs 1 it is one or two)"
    );
    let mut report = report("it");
    for (stop, end) in [(some, "F-203.\n"), (many, "two). 3 cases were not run.\n")] {
        report.stopped = Some(stop);
        assert!(report.to_terminal(&Expectations::default(), false).contains(end));
        assert_eq!(Report::from_json(&report.to_json()).expect("a report"), report);
    }
}

#[test]
fn tap_has_a_line_for_each_case() {
    let report = report("it");
    let known = &report.rows[0].case;
    let file = Expectations::parse(&format!("edition 1\nfail {known} server")).expect("a file");
    let tap = report.to_tap(&file);
    assert!(tap.starts_with(&format!("TAP version 14\n1..{}\n", report.rows.len())));
    let lines = |start: &str| tap.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(lines("ok ") + lines("not ok "), report.rows.len());
    assert!(tap.contains(&format!("not ok 1 - {known} ")) && tap.contains("# TODO known failure"));
    assert!(tap.contains("  section: \"RFC 6455 8.1\""));
}

#[test]
fn the_terminal_has_failures_and_causes() {
    let report = report("it");
    let text = report.to_terminal(&Expectations::default(), false);
    assert!(text.contains("FAIL U-") && text.contains("RFC 6455 8.1") && !text.contains('\x1b'));
    assert!(report.to_terminal(&Expectations::default(), true).contains('\x1b'));
}

#[test]
fn equal_notes_share_a_line_of_the_terminal() {
    let mut report = report("it");
    report.rows.truncate(10);
    for (row, why) in report.rows.iter_mut().zip(["a", "b", "a", "c", "c", "c", "c", "c", "c", "c"])
    {
        row.verdict = Verdict::Note { why: why.to_owned() };
    }
    let text = report.to_terminal(&Expectations::default(), false);
    let notes: Vec<&str> = text.lines().filter(|line| line.starts_with("  note ")).collect();
    let case = |at: usize| &report.rows[at].case;
    assert_eq!(
        notes,
        [
            format!("  note {} {}: a", case(0), case(2)),
            format!("  note {} {}: b", case(1), report.rows[1].title),
            format!("  note {} .. {} (7 cases): c", case(3), case(9)),
        ]
    );
}

/// Each has its number, for a file of known failures.
#[test]
fn failures_of_one_cause_share_a_line_and_known_ones_are_not_counted_with_them() {
    let mut report = report("it");
    report.rows.truncate(9);
    for (row, why) in report.rows.iter_mut().zip(["a", "b", "a", "c", "c", "c", "c", "c", "c"]) {
        let section = "RFC 6455 8.1".to_owned();
        row.verdict = Verdict::Fail { why: why.to_owned(), section, evidence: String::new() };
    }
    let cases: Vec<String> = report.rows.iter().map(|row| row.case.clone()).collect();
    let title = report.rows[1].title.clone();
    let lines = |report: &Report, file: &Expectations| -> Vec<String> {
        report.to_terminal(file, false).lines().skip(3).map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&report, &Expectations::default()),
        [
            format!("  FAIL {} {}: a (RFC 6455 8.1)", cases[0], cases[2]),
            format!("  FAIL {} {title}: b (RFC 6455 8.1)", cases[1]),
            format!("  FAIL {}: c (RFC 6455 8.1)", cases[3..].join(" ")),
            String::new(),
            "0 pass, 9 fail, 0 notes, 0 skipped".to_owned(),
        ]
    );

    let known = format!("fail {} server\nfail {} server", cases[1], cases[2]);
    let file = Expectations::parse(&known).expect("a file");
    report.rows.truncate(4);
    report.rows[3].edition = 2;
    let title = |at: usize| report.rows[at].title.as_str();
    assert_eq!(
        lines(&report, &file),
        [
            format!("  FAIL {} {}: a (RFC 6455 8.1)", cases[0], title(0)),
            format!("  known {} {}: a (RFC 6455 8.1)", cases[2], title(2)),
            format!("  known {} {}: b (RFC 6455 8.1)", cases[1], title(1)),
            format!("  newer {} {}: c (RFC 6455 8.1)", cases[3], title(3)),
            String::new(),
            "0 pass, 1 fail, 2 known, 1 newer, 0 notes, 0 skipped".to_owned(),
        ]
    );
}

#[test]
fn the_page_begins_with_totals_and_failures() {
    let mut failing = report("bad");
    failing.rows.truncate(8);
    failing.rows[3].verdict = Verdict::Pass;
    let page = to_html(&[failing.clone(), report("good")]);
    let totals = "<li>bad (server): 1 pass, 7 fail, 0 notes, 0 skipped; edition";
    assert!(page.contains(&format!("{totals} {EDITION}")));
    assert!(page.find("<h2>Failures</h2>") < page.find("<h2>UTF-8</h2>"));
    for row in &mut failing.rows {
        row.verdict = Verdict::Pass;
    }
    assert!(!to_html(&[failing]).contains("Failures"));
}

#[test]
fn the_page_needs_nothing_and_has_no_score() {
    let page = to_html(&[report("zebra <1>"), report("aardvark")]);
    assert!(page.find("aardvark") < page.find("zebra &lt;1&gt;"), "by name");
    for word in ["http://", "https://", "<script", "src=", "%</", "score"] {
        let own = page.replace("https://elsewhere.example", "").replace("http://example.com", "");
        assert!(!own.contains(word), "{word}");
    }
    assert!(page.contains("The sentence"));
}
