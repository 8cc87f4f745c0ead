//! Reports and files of expectations.

mod support;

use support::run_some;
use wsconform_cases::expect::{Expectations, Standing};
use wsconform_cases::list::EDITION;
use wsconform_cases::render::to_html;
use wsconform_cases::report::{Report, Stop};
use wsconform_cases::{Case, Group, Role, Verdict, find};

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
    let withdrawn = Expectations::parse("edition 2\nfail HS-327 server").expect("a file");
    assert!(withdrawn.failures.is_empty());
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
    report.stopped = Some(Stop { why: why.clone(), behind: Vec::new(), not_run: Vec::new() });
    report.rows[0].remarks.push(String::new());
    for verdict in [
        Verdict::Pass,
        Verdict::Note { why: why.clone() },
        Verdict::Untested { why: why.clone() },
        Verdict::Unsteady { why: why.clone() },
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
    let names = |cases: &[&str]| cases.iter().map(ToString::to_string).collect();
    let stop = |behind: &[&str], not_run: &[&str]| Stop {
        why: "it fell silent".to_owned(),
        behind: names(behind),
        not_run: names(not_run),
    };
    let some = stop(&["F-201", "F-202", "F-203"], &[]);
    assert_eq!(some.to_string(), "it fell silent, behind one of F-201, F-202, F-203");
    let many = stop(&["D-328", "D-229", "D-327", "F-201", "F-202"], &["F-203", "F-204", "F-205"]);
    assert_eq!(
        many.to_string(),
        "it fell silent, behind one of 5 cases that were open: D-328, D-229, D-327, .. (with \
         --jobs 1 it is one or two)"
    );
    let end = "two). 3 cases were not run: F-203 F-204 F-205.\n";
    let mut report = report("it");
    for (stop, end) in [(some, "F-203.\n"), (many, end)] {
        report.stopped = Some(stop);
        assert!(report.to_terminal(&Expectations::default(), false).contains(end));
        assert_eq!(Report::from_json(&report.to_json()).expect("a report"), report);
    }
}

#[test]
fn the_terminal_has_failures_and_causes() {
    let report = report("it");
    let text = report.to_terminal(&Expectations::default(), false);
    assert!(
        text.contains("FAIL RFC 6455 8.1: ")
            && text.contains("    U-")
            && text.contains("RFC 6455 8.1")
            && !text.contains('\x1b')
    );
    assert!(report.to_terminal(&Expectations::default(), true).contains('\x1b'));
}

/// A report of so many cases, all of one rule.
fn of_one_rule(count: usize) -> Report {
    let mut report = report("it");
    let section = report.rows[0].section.clone();
    report.rows.retain(|row| row.section == section);
    report.rows.truncate(count);
    assert_eq!(report.rows.len(), count);
    report
}

#[test]
fn notes_of_one_rule_share_a_line_of_the_terminal() {
    let mut report = of_one_rule(8);
    let notes = |report: &Report| -> Vec<String> {
        let text = report.to_terminal(&Expectations::default(), false);
        text.lines().filter(|line| line.starts_with("  note ")).map(str::to_owned).collect()
    };
    for row in &mut report.rows {
        row.verdict = Verdict::Note { why: "a".to_owned() };
    }
    let [first, last] = [&report.rows[0], &report.rows[7]];
    let numbers = format!("RFC 6455 8.1 {} .. {} (8 cases)", first.case, last.case);
    assert_eq!(notes(&report), [format!("  note {numbers}: a")]);
    let such = format!(", such as {} {}", first.case, first.title);
    report.rows[7].verdict = Verdict::Note { why: "b (RFC 6455 8.1)".to_owned() };
    assert_eq!(notes(&report), [format!("  note {numbers}{such}: a")]);
    // Its section stands there once.
    report.rows.drain(..7);
    let row = &report.rows[0];
    assert_eq!(notes(&report), [format!("  note RFC 6455 8.1 {} {}: b", row.case, row.title)]);
}

/// Each has its number, for a file of known failures.
#[test]
fn failures_of_one_rule_stand_together_and_known_ones_are_not_counted_with_them() {
    let mut report = of_one_rule(9);
    for (row, why) in report.rows.iter_mut().zip(["a", "b", "a", "c", "c", "c", "c", "c", "c"]) {
        let section = "RFC 6455 8.1".to_owned();
        row.verdict = Verdict::Fail { why: why.to_owned(), section, evidence: String::new() };
    }
    // What the peer itself sends can break another rule than that of the case.
    if let Verdict::Fail { section, .. } = &mut report.rows[8].verdict {
        *section = "RFC 6455 5.1".to_owned();
    }
    let cases: Vec<String> = report.rows.iter().map(|row| row.case.clone()).collect();
    let titles: Vec<String> = report.rows.iter().map(|row| row.title.clone()).collect();
    let rule = format!("RFC 6455 8.1: {}", find(&cases[0]).expect("a case").rule.sentence);
    let lines = |report: &Report, file: &Expectations| -> Vec<String> {
        report.to_terminal(file, false).lines().skip(2).map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&report, &Expectations::default()),
        [
            "UTF-8: 9 fail".to_owned(),
            format!("  FAIL {rule}"),
            format!("    {}, such as {} {}: a", cases[..8].join(" "), cases[0], titles[0]),
            "  FAIL RFC 6455 5.1".to_owned(),
            format!("    {} {}: c", cases[8], titles[8]),
            String::new(),
            "0 pass, 9 fail, 0 notes, 0 skipped".to_owned(),
        ]
    );

    let known = format!("fail {} server\nfail {} server", cases[0], cases[2]);
    let file = Expectations::parse(&known).expect("a file");
    report.rows.truncate(4);
    report.rows[3].edition = 2;
    assert_eq!(
        lines(&report, &file),
        [
            "UTF-8: 1 fail, 2 known, 1 newer".to_owned(),
            format!("  FAIL {rule}"),
            format!("    {} {}: b", cases[1], titles[1]),
            format!("  known {rule}"),
            format!("    {} {}: a", cases[0], cases[2]),
            format!("  newer {rule}"),
            format!("    {} {}: c", cases[3], titles[3]),
            String::new(),
            "0 pass, 1 fail, 2 known, 1 newer, 0 notes, 0 skipped".to_owned(),
        ]
    );
}

/// They are noise of a busy machine, so they take one line, and are no notes.
#[test]
fn what_comes_once_is_counted_apart() {
    let mut report = of_one_rule(8);
    for row in &mut report.rows {
        row.verdict = Verdict::Unsteady { why: format!("once, in {}", row.case) };
    }
    let text = report.to_terminal(&Expectations::default(), false);
    let [first, last] = [&report.rows[0], &report.rows[7]];
    let line = format!(
        "  {} .. {} (8 cases), such as {} {}: once, in {}\n",
        first.case, last.case, first.case, first.title, first.case
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.ends_with("\n0 pass, 0 fail, 0 notes, 8 unsteady, 0 skipped\n"), "{text}");
    assert_eq!(text.matches("once, in").count(), 1, "{text}");
}

/// The second run of a project that adopts the suite is green.
#[test]
fn a_file_that_is_written_knows_all_failures() {
    let mut report = of_one_rule(5);
    let line = |at: usize| format!("fail {} server\n", report.rows[at].case);
    let before = Expectations::parse(&[line(3), line(4)].concat()).expect("a file");
    report.rows[1].verdict = Verdict::Pass;
    report.rows[2].verdict = Verdict::Note { why: String::new() };
    report.rows[3].verdict = Verdict::Pass; // mended
    report.rows[4].verdict = Verdict::Untested { why: String::new() };
    if let Verdict::Fail { why, .. } = &mut report.rows[0].verdict {
        why.push_str("\nedition 1 # of that");
    }
    assert!(!before.holds(&report));
    let text = before.renewed(&report);
    let file = Expectations::parse(&text).expect("a file");
    let known: Vec<&str> = file.failures.iter().map(|(case, _)| case.as_str()).collect();
    assert_eq!(known, [&*report.rows[0].case, &*report.rows[4].case], "{text}");
    assert_eq!(file.edition, report.edition);
    assert!(file.holds(&report));
    // A case of the file that was not run, or was skipped, keeps its line.
    report.rows.pop();
    assert_eq!(Expectations::parse(&file.renewed(&report)).expect("a file"), file);
}

#[test]
fn junit_has_a_case_for_each_row_and_for_an_early_end() {
    let mut report = of_one_rule(6);
    report.target = "<a> & \"b\"".to_owned();
    let why = "not \u{1} <once>".to_owned();
    report.rows[1].verdict = Verdict::Pass;
    report.rows[2].verdict = Verdict::Note { why: why.clone() };
    report.rows[3].verdict = Verdict::Skip { cause: why.clone() };
    report.rows[4].verdict = Verdict::Untested { why: why.clone() };
    report.rows[0].verdict =
        Verdict::Fail { why, section: "RFC".to_owned(), evidence: "]]>".to_owned() };
    let file =
        Expectations::parse(&format!("fail {} server", report.rows[5].case)).expect("a file");
    let behind = Vec::new();
    report.stopped = Some(Stop { why: "it's gone".to_owned(), behind, not_run: Vec::new() });
    let xml = report.to_junit(&file);
    let suite = "<testsuite name=\"&lt;a&gt; &amp; &quot;b&quot;\" tests=\"7\" failures=\"1\" \
                 skipped=\"3\" errors=\"1\">";
    assert!(xml.contains(suite), "{xml}");
    let lines: Vec<&str> = xml.lines().filter(|line| line.starts_with("<testcase ")).collect();
    let why = "not \u{fffd} &lt;once&gt;";
    let inner = [
        format!("<failure message=\"{why}\" type=\"RFC\">]]&gt;</failure>"),
        String::new(),
        format!("<system-out>note: {why}</system-out>"),
        format!("<skipped message=\"{why}\"/>"),
        format!("<skipped message=\"untested: {why}\"/>"),
        "<skipped message=\"known failure: ".to_owned(),
        "<error message=\"it's gone\"/>".to_owned(),
    ];
    assert_eq!(lines.len(), inner.len());
    for ((line, inner), case) in lines.iter().zip(&inner).zip(0..) {
        assert!(line.contains(&format!(">{inner}")), "{line}");
        let name = report.rows.get(case).map_or("the run", |row| &row.case);
        assert!(line.contains(&format!(" name=\"{name}")), "{line}");
    }
}

#[test]
fn the_page_begins_with_totals_and_failures() {
    let mut failing = report("bad");
    failing.rows.truncate(8);
    failing.rows[3].verdict = Verdict::Pass;
    let page = to_html(&[failing.clone(), report("good")]);
    let totals = "<li>bad (server): 1 pass, 7 fail, 0 notes, 0 skipped; edition";
    assert!(page.contains(&format!("{totals} {EDITION}")));
    assert!(page.find("<h2>Totals</h2>") < page.find("<h2>Failures</h2>"));
    assert!(page.find("<h2>Failures</h2>") < page.find("<h2>UTF-8</h2>"));
    assert!(page.contains("<td>UTF-8</td>\n<td>1 pass, 7 fail</td>"), "by group");
    assert!(page.contains("<summary>7 fail</summary>"), "by rule");
    for row in &failing.rows {
        assert!(page.contains(&format!("<tr id=\"{}\">", row.case)), "what a failure leads to");
    }
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

/// A wrong Pong is no silence.
#[test]
fn a_pong_that_answers_no_ping_is_named() {
    let sessions = run_some(Role::Server, "pong-empty", 1 << 20, |case| case.id == "F-205");
    let Verdict::Fail { why, .. } = sessions[0].verdict() else { panic!() };
    assert_eq!(why, "the Pong \"\", and no other answer");
}
