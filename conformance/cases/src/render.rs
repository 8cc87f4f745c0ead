//! What people and CI servers read of results: JUnit, terminal, HTML. No score, no percentage, no order
//! but by name.

use std::fmt::Write as _;

use crate::case::{Case, Group};
use crate::expect::{Expectations, Standing};
use crate::list::find;
use crate::report::{Report, Row};
use crate::session::Verdict;

impl Report {
    /// The rows, and what each is to a program that knows pass and fail alone.
    fn outcomes(&self, expect: &Expectations) -> impl Iterator<Item = (&Row, Outcome)> {
        self.rows.iter().map(|row| {
            let outcome = match (&row.verdict, expect.standing(row)) {
                (_, Standing::Newer) => Outcome::Passed,
                (_, Standing::Known) => Outcome::Known,
                (Verdict::Fail { .. } | Verdict::Waiting, _) => Outcome::Failed,
                (Verdict::Skip { cause }, _) => Outcome::Skipped(cause.clone()),
                (Verdict::Untested { why }, _) => Outcome::Skipped(format!("untested: {why}")),
                _ => Outcome::Passed,
            };
            (row, outcome)
        })
    }

    /// The report as JUnit's XML, as CI servers read it. A known failure is skipped there, and the
    /// early end of a run is a case in error.
    pub fn to_junit(&self, expect: &Expectations) -> String {
        let mut cases = String::new();
        let mut failures = 0;
        let mut skipped = 0;
        for (row, outcome) in self.outcomes(expect) {
            let name = format!("{} {}", row.case, row.title);
            let class = format!("wsconform.{}.{}", self.role, row.group.title());
            let (word, why) = row.words();
            let inner = match (outcome, &row.verdict) {
                (Outcome::Failed, Verdict::Fail { section, evidence, .. }) => {
                    failures += 1;
                    let [why, section, evidence] = [why, section, evidence].map(escaped);
                    format!("<failure message=\"{why}\" type=\"{section}\">{evidence}</failure>")
                }
                (Outcome::Failed, _) => {
                    failures += 1;
                    format!("<failure message=\"{}\"/>", escaped(why))
                }
                (Outcome::Known, _) => {
                    skipped += 1;
                    format!("<skipped message=\"known failure: {}\"/>", escaped(why))
                }
                (Outcome::Skipped(why), _) => {
                    skipped += 1;
                    format!("<skipped message=\"{}\"/>", escaped(&why))
                }
                (Outcome::Passed, _) if why.is_empty() => String::new(),
                (Outcome::Passed, _) => {
                    format!("<system-out>{word}: {}</system-out>", escaped(why))
                }
            };
            let [class, name] = [class, name].map(|it| escaped(&it));
            let _ = writeln!(
                cases,
                "<testcase classname=\"{class}\" name=\"{name}\" time=\"{}.{:03}\">{inner}</testcase>",
                row.millis / 1000,
                row.millis % 1000
            );
        }
        if let Some(stop) = &self.stopped {
            let _ = writeln!(
                cases,
                "<testcase classname=\"wsconform.{}\" name=\"the run\"><error message=\"{}\"/></testcase>",
                self.role,
                escaped(&stop.to_string())
            );
        }
        let errors = usize::from(self.stopped.is_some());
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{}\" \
             tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" errors=\"{errors}\">\n\
             {cases}</testsuite>\n</testsuites>\n",
            escaped(&self.target),
            self.rows.len() + errors
        )
    }

    /// The report for a terminal: failures and notes by group and rule, then what was skipped or not
    /// tested, and why. `colour` adds escapes.
    pub fn to_terminal(&self, expect: &Expectations, colour: bool) -> String {
        let paint = |code: &str, text: &str| match colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let mut text = format!("{} ({})\n", self.target, self.role);
        if self.peer.leaves {
            text += "It ends each connection, also one on which there is nothing but a text and a Ping.\n";
        }
        for group in Group::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.group == group).collect();
            if rows.is_empty() {
                continue;
            }
            let totals = totals(rows.iter().copied(), expect, &[]);
            let _ = writeln!(text, "\n{}: {totals}", paint("1", group.title()));
            for (standing, word) in [
                (Standing::New, &*paint("31", "FAIL")),
                (Standing::Known, "known"),
                (Standing::Newer, "newer"),
            ] {
                let rows = rows.iter().copied().filter(|row| expect.standing(row) == standing);
                for of in by_rule(rows, broken) {
                    let _ = writeln!(text, "  {word} {}", of.rule());
                    // All of them, since each is a line of a file of known failures.
                    let numbers = all_numbers(&of.rows);
                    let _ = writeln!(text, "    {}", with_reason(&of.rows, &numbers));
                }
            }
            let notes =
                rows.iter().copied().filter(|row| matches!(row.verdict, Verdict::Note { .. }));
            for of in by_rule(notes, broken) {
                let line = with_reason(&of.rows, &numbers(&of.rows));
                let _ = writeln!(text, "  note {} {line}", of.section);
            }
        }
        let heading = match self.stopped {
            None => "Untested, though the target is there",
            Some(_) => "Untested",
        };
        for (word, heading) in [("skip", "Skipped"), ("untested", heading)] {
            let mut causes: Vec<(&str, Vec<&Row>)> = Vec::new();
            for row in self.rows.iter().filter(|row| row.words().0 == word) {
                let (_, why) = row.words();
                match causes.iter_mut().find(|cause| cause.0 == why) {
                    Some(cause) => cause.1.push(row),
                    None => causes.push((why, vec![row])),
                }
            }
            if !causes.is_empty() {
                let _ = writeln!(text, "\n{}", paint("1", heading));
            }
            for (cause, rows) in causes {
                let _ = writeln!(text, "  {}: {cause}", numbers(&rows));
            }
        }
        let is_unsteady = |row: &&Row| matches!(row.verdict, Verdict::Unsteady { .. });
        let unsteady: Vec<&Row> = self.rows.iter().filter(is_unsteady).collect();
        if !unsteady.is_empty() {
            let line = with_reason(&unsteady, &numbers(&unsteady));
            let _ = writeln!(text, "\n{}\n  {line}", paint("1", "Unsteady: not each time"));
        }
        for row in self.rows.iter().filter(|row| expect.standing(row) == Standing::Mended) {
            let _ = writeln!(text, "\n{} passes now: its line of the file can go", row.case);
        }
        if let Some(stop) = &self.stopped {
            let _ = match &stop.not_run[..] {
                [] => writeln!(text, "\n{stop}."),
                [case] => writeln!(text, "\n{stop}. One case was not run: {case}."),
                cases => writeln!(
                    text,
                    "\n{stop}. {} cases were not run: {}.",
                    cases.len(),
                    first_and_last(cases)
                ),
            };
        }
        let _ = writeln!(text, "\n{}", self.totals(expect));
        text
    }

    /// How many rows have each verdict.
    fn totals(&self, expect: &Expectations) -> String {
        totals(self.rows.iter(), expect, &["pass", "fail", "notes", "skipped"])
    }
}

/// What a row is to a program that knows pass and fail alone.
enum Outcome {
    Passed,
    Failed,
    Known,
    Skipped(String),
}

/// How many rows have each verdict, and none of a verdict only if it is `named`. What is known or
/// newer is no failure.
fn totals<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    expect: &Expectations,
    named: &[&str],
) -> String {
    let kind = |row: &Row| match (expect.standing(row), &row.verdict) {
        (Standing::New, _) => "fail",
        (Standing::Known, _) => "known",
        (Standing::Newer, _) => "newer",
        (_, Verdict::Pass | Verdict::Fail { .. }) => "pass",
        (_, Verdict::Note { .. }) => "notes",
        (_, Verdict::Unsteady { .. }) => "unsteady",
        (_, Verdict::Skip { .. } | Verdict::Waiting) => "skipped",
        (_, Verdict::Untested { .. }) => "untested",
    };
    let mut totals = Vec::new();
    for word in ["pass", "fail", "known", "newer", "notes", "unsteady", "skipped", "untested"] {
        let count = rows.clone().filter(|row| kind(row) == word).count();
        if count > 0 || named.contains(&word) {
            totals.push(format!("{count} {word}"));
        }
    }
    totals.join(", ")
}

/// Rows with one rule.
struct OfRule<'a> {
    section: &'a str,
    /// Empty if it is not known: a peer can break other rules than that of the case.
    sentence: &'a str,
    rows: Vec<&'a Row>,
}

impl OfRule<'_> {
    fn rule(&self) -> String {
        match self.sentence {
            "" => self.section.to_owned(),
            sentence => format!("{}: {sentence}", self.section),
        }
    }
}

/// The section that a row breaks, or is about.
fn broken(row: &Row) -> &str {
    match &row.verdict {
        Verdict::Fail { section, .. } => section,
        _ => &row.section,
    }
}

/// The rows by their rules, in the order of the first of each.
fn by_rule<'a>(
    rows: impl Iterator<Item = &'a Row>,
    section: impl Fn(&'a Row) -> &'a str,
) -> Vec<OfRule<'a>> {
    let mut rules: Vec<OfRule<'a>> = Vec::new();
    for row in rows {
        let section = section(row);
        let rule = find(&row.case).map(|case| case.rule).filter(|rule| rule.section == section);
        let sentence = rule.map_or("", |rule| &rule.sentence);
        match rules.iter_mut().find(|of| of.section == section && of.sentence == sentence) {
            Some(of) => of.rows.push(row),
            None => rules.push(OfRule { section, sentence, rows: vec![row] }),
        }
    }
    rules
}

/// The numbers of rows, and the reason of all of them, or of the first.
fn with_reason(rows: &[&Row], numbers: &str) -> String {
    // The rule stands before it.
    let reason = |row: &Row| row.words().1.replace(&format!(" ({})", row.section), "");
    match rows {
        [] => String::new(),
        [row] => format!("{numbers} {}: {}", row.title, reason(row)),
        [first, rest @ ..] if rest.iter().all(|row| reason(row) == reason(first)) => {
            format!("{numbers}: {}", reason(first))
        }
        [first, ..] => {
            format!("{numbers}, such as {} {}: {}", first.case, first.title, reason(first))
        }
    }
}

/// The numbers of the rows, or the first and the last of many.
fn numbers(rows: &[&Row]) -> String {
    first_and_last(&rows.iter().map(|row| row.case.as_str()).collect::<Vec<_>>())
}

fn first_and_last(cases: &[impl AsRef<str>]) -> String {
    match cases {
        [first, .., last] if cases.len() > 6 => {
            format!("{} .. {} ({} cases)", first.as_ref(), last.as_ref(), cases.len())
        }
        _ => cases.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
    }
}

fn all_numbers(rows: &[&Row]) -> String {
    rows.iter().map(|row| row.case.as_str()).collect::<Vec<_>>().join(" ")
}

/// One page with the results of several targets beside each other, by name. It needs nothing
/// from elsewhere.
pub fn to_html(reports: &[Report]) -> String {
    let mut reports: Vec<&Report> = reports.iter().collect();
    reports.sort_by(|a, b| (&a.target, a.role).cmp(&(&b.target, b.role)));
    let mut page = String::from(HTML_START);
    page.push_str("<h1>wsconform</h1>\n<ul>\n");
    for report in &reports {
        let stopped = report.stopped.as_ref().map(|stop| format!("; {stop}")).unwrap_or_default();
        let _ = writeln!(
            page,
            "<li>{} ({}): {}; edition {} of the cases, suite {}{}</li>",
            escaped(&report.target),
            report.role,
            report.totals(&Expectations::default()),
            report.edition,
            escaped(&report.suite),
            escaped(&stopped)
        );
    }
    page.push_str("</ul>\n<p>FAIL: the text names this end and says what it MUST do. Note: a choice, or the text binds the sender alone. Notes are not faults.</p>\n");
    html_totals(&mut page, &reports);
    html_failures(&mut page, &reports);
    for group in Group::ALL {
        html_group(&mut page, group, &reports);
    }
    page.push_str("</body></html>\n");
    page
}

fn html_start(page: &mut String, title: &str, first: &str, reports: &[&Report]) {
    let _ = writeln!(page, "<h2>{title}</h2>\n<table>\n<tr><th>{first}</th>");
    for report in reports {
        let _ = writeln!(page, "<th>{}</th>", escaped(&report.target));
    }
    page.push_str("</tr>\n");
}

/// How many of each verdict, by group.
fn html_totals(page: &mut String, reports: &[&Report]) {
    html_start(page, "Totals", "group", reports);
    for group in Group::ALL {
        let _ = writeln!(page, "<tr><td>{}</td>", group.title());
        for report in reports {
            let rows = report.rows.iter().filter(|row| row.group == group);
            let totals = totals(rows, &Expectations::default(), &[]);
            let _ = writeln!(page, "<td>{totals}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// The failures by rule, of which each leads to its case.
fn html_failures(page: &mut String, reports: &[&Report]) {
    let fails = |row: &&Row| matches!(row.verdict, Verdict::Fail { .. });
    let all = reports.iter().flat_map(|report| report.rows.iter().filter(fails));
    let rules = by_rule(all, broken);
    if rules.is_empty() {
        return;
    }
    html_start(page, "Failures", "rule", reports);
    for of in rules {
        let _ = writeln!(page, "<tr><td>{}</td>", escaped(&of.rule()));
        for report in reports {
            let is_here = |row: &&&Row| report.rows.iter().any(|other| std::ptr::eq(**row, other));
            let rows: Vec<&&Row> = of.rows.iter().filter(is_here).collect();
            if rows.is_empty() {
                page.push_str("<td></td>\n");
                continue;
            }
            let _ = write!(page, "<td class=fail><details><summary>{} fail</summary>", rows.len());
            for row in rows {
                let why = escaped(row.words().1);
                let case = &row.case;
                let _ = writeln!(page, "<p><a href=\"#{case}\">{case}</a> {why}</p>");
            }
            page.push_str("</details></td>\n");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// The cases of the group, by rule, if there are any.
fn html_group(page: &mut String, group: Group, reports: &[&Report]) {
    let mut ids: Vec<&Row> =
        reports.iter().flat_map(|report| &report.rows).filter(|row| row.group == group).collect();
    ids.sort_by(|a, b| a.case.cmp(&b.case));
    ids.dedup_by(|a, b| a.case == b.case);
    if ids.is_empty() {
        return;
    }
    html_start(page, group.title(), "case", reports);
    for of in by_rule(ids.into_iter(), |row| &row.section) {
        let rule = escaped(&of.rule());
        let _ = writeln!(page, "<tr><th colspan={}>{rule}</th></tr>", reports.len() + 1);
        of.rows.into_iter().for_each(|id| html_row(page, id, reports));
    }
    page.push_str("</table>\n");
}

fn html_row(page: &mut String, id: &Row, reports: &[&Report]) {
    let explained = find(&id.case).map(Case::explain).unwrap_or_default();
    let _ = writeln!(
        page,
        "<tr id=\"{}\"><td><details><summary>{} {} <i>{:?}</i></summary><pre>{}</pre></details></td>",
        id.case,
        id.case,
        escaped(&id.title),
        id.level,
        escaped(&explained)
    );
    for report in reports {
        match report.rows.iter().find(|row| row.case == id.case) {
            Some(row) => {
                let (word, why) = row.words();
                let mut more = why.to_owned();
                for remark in &row.remarks {
                    let _ = write!(more, "\n{remark}");
                }
                if let Verdict::Fail { evidence, .. } = &row.verdict {
                    let _ = write!(more, "\n{evidence}");
                }
                let class = word.to_ascii_lowercase();
                if more.is_empty() {
                    let _ = writeln!(page, "<td class={class}>{word}</td>");
                } else {
                    let more = escaped(more.trim());
                    let _ = writeln!(
                        page,
                        "<td class={class}><details><summary>{word}</summary><pre>{more}</pre></details></td>"
                    );
                }
            }
            None => page.push_str("<td></td>\n"),
        }
    }
    page.push_str("</tr>\n");
}

/// Escapes a text for HTML and XML, which has no other control characters than these.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let is_bad = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    text.replace('"', "&quot;").replace(is_bad, "\u{fffd}")
}

const HTML_START: &str = "<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>wsconform</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse }
td, th { border: 1px solid #ccc; padding: .2em .5em; vertical-align: top; text-align: left; overflow-wrap: anywhere }
th { background: #eee; font-weight: normal }
tr:first-child th { position: sticky; top: 0; font-weight: bold }
p { margin: .2em 0 }
pre { white-space: pre-wrap; word-break: break-all; max-width: 50em; font-size: 12px }
i { color: #777 }
.fail { background: #fbd5d0 } .note { background: #fdf3c8 } .skip { color: #888 } .untested, .unsteady { background: #ddd }
</style></head><body>
";
