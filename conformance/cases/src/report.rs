//! Results, and what is made of them. No score, no percentage, no order but by name.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::case::{self, Group, Level, find};
use crate::expect::{Expectations, Standing};
use crate::probe::Peer;
use crate::session::{Session, Verdict};

/// The first line of a document of the Test Anything Protocol.
pub const TAP_VERSION: &str = "TAP version 14\n";

/// The results of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this suite.
    pub suite: String,
    /// The edition of the cases.
    pub edition: u32,
    /// What was tested, in the words of whoever ran it.
    pub target: String,
    /// The role of the target.
    pub role: Role,
    /// What the probe has learnt.
    pub peer: Peer,
    /// A row for each case that was run, by number.
    pub rows: Vec<Row>,
    /// Set if the run ended before all was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stop>,
}

/// The early end of a run: the target fell silent, say, or somebody has pressed Ctrl-C. Cases that
/// were not run have no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What happened.
    pub why: String,
    /// The cases that were not answered any more, the last first: it happened behind one of them.
    pub behind: Vec<String>,
    /// How many cases were not run.
    #[serde(default)]
    pub not_run: usize,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match &self.behind[..] {
            [] => Ok(()),
            [case] => write!(f, ", behind {case}"),
            [first, second, third, _, ..] => write!(
                f,
                ", behind one of {} cases that were open: {first}, {second}, {third}, .. (with \
                 --jobs 1 it is one or two)",
                self.behind.len()
            ),
            cases => write!(f, ", behind one of {}", cases.join(", ")),
        }
    }
}

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The number of the case.
    pub case: String,
    /// The tested role.
    pub role: Role,
    /// The title of the case.
    pub title: String,
    /// Its group.
    pub group: Group,
    /// Its level.
    pub level: Level,
    /// Its section.
    pub section: String,
    /// Its edition.
    pub edition: u32,
    /// What the case says of the peer.
    pub verdict: Verdict,
    /// What else was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Row {
    /// The row of a session that is over.
    pub fn new(session: &Session) -> Row {
        let case = session.case();
        Row {
            case: case.id.clone(),
            role: session.role(),
            title: case.title.clone(),
            group: case.group(),
            level: case.level,
            section: case.rule.section.clone(),
            edition: case.edition,
            verdict: session.verdict().clone(),
            remarks: session.remarks().to_vec(),
        }
    }

    /// The verdict in a word, and why.
    fn words(&self) -> (&'static str, &str) {
        match &self.verdict {
            Verdict::Pass => ("pass", ""),
            Verdict::Fail { why, .. } => ("FAIL", why),
            Verdict::Note { why } => ("note", why),
            Verdict::Skip { cause } => ("skip", cause),
            Verdict::Untested { why } => ("untested", why),
            Verdict::Waiting => ("open", "the session was not finished"),
        }
    }
}

impl Report {
    /// A report without rows.
    pub fn new(target: &str, role: Role, peer: Peer) -> Report {
        Report {
            suite: env!("CARGO_PKG_VERSION").to_owned(),
            edition: case::EDITION,
            target: target.to_owned(),
            role,
            peer,
            rows: Vec::new(),
            stopped: None,
        }
    }

    /// Adds the row of a session.
    pub fn add(&mut self, session: &Session) {
        self.put(Row::new(session));
    }

    /// Adds a row, in its place. A case that is run again takes its own place.
    pub fn put(&mut self, row: Row) {
        match self.rows.binary_search_by(|other| other.case.cmp(&row.case)) {
            Ok(place) => self.rows[place] = row,
            Err(place) => self.rows.insert(place, row),
        }
    }

    /// How many rows have each verdict. What is known or newer is no failure.
    fn totals(&self, expect: &Expectations) -> String {
        let count = |is: &dyn Fn(&Row) -> bool| self.rows.iter().filter(|row| is(row)).count();
        let stands = |standing| count(&|row| expect.standing(row) == standing);
        let mut totals = format!(
            "{} pass, {} fail",
            count(&|row| row.verdict == Verdict::Pass),
            stands(Standing::New)
        );
        for (number, word) in
            [(stands(Standing::Known), "known"), (stands(Standing::Newer), "newer")]
        {
            if number > 0 {
                let _ = write!(totals, ", {number} {word}");
            }
        }
        let notes = count(&|row| matches!(row.verdict, Verdict::Note { .. }));
        let skipped = count(&|row| matches!(row.verdict, Verdict::Skip { .. } | Verdict::Waiting));
        let _ = write!(totals, ", {notes} notes, {skipped} skipped");
        let untested = count(&|row| matches!(row.verdict, Verdict::Untested { .. }));
        if untested > 0 {
            let _ = write!(totals, ", {untested} untested");
        }
        totals
    }

    /// The report as JSON, with line breaks.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a report.
    ///
    /// # Errors
    ///
    /// What is not a report in JSON.
    pub fn from_json(json: &str) -> Result<Report, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The report in the Test Anything Protocol, version 14. A known failure is a TODO, a note is
    /// `ok` with a comment.
    pub fn to_tap(&self, expect: &Expectations) -> String {
        let mut tap = format!("{TAP_VERSION}1..{}\n", self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            let standing = expect.standing(row);
            let ok = match (&row.verdict, standing) {
                (_, Standing::Newer) => "ok",
                (Verdict::Fail { .. } | Verdict::Waiting, _) => "not ok",
                _ => "ok",
            };
            let directive = match (&row.verdict, standing) {
                (Verdict::Skip { cause }, _) => format!(" # SKIP {cause}"),
                (Verdict::Untested { why }, _) => format!(" # SKIP untested: {why}"),
                (_, Standing::Known) => " # TODO known failure".to_owned(),
                _ => String::new(),
            };
            let number = index + 1;
            let title = row.title.replace('#', "\\#");
            let _ = writeln!(tap, "{ok} {number} - {} {title}{directive}", row.case);
            if let Verdict::Fail { why, section, evidence } = &row.verdict {
                let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
                let _ = writeln!(
                    tap,
                    "  ---\n  why: {}\n  section: {}\n  evidence: {}\n  ...",
                    json(why),
                    json(section),
                    json(evidence)
                );
            }
            if let Verdict::Note { why } = &row.verdict {
                let _ = writeln!(tap, "# note {}: {why}", row.case);
            }
        }
        if let Some(stop) = &self.stopped {
            let _ = writeln!(tap, "Bail out! {stop}");
        }
        tap
    }

    /// The report for a terminal: failures and notes by group, then what was skipped or not tested,
    /// and why. Cases
    /// that fail for one cause share a line, as those with the same note. `colour` adds escapes.
    pub fn to_terminal(&self, expect: &Expectations, colour: bool) -> String {
        let paint = |code: &str, text: &str| match colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let mut text = format!("{} ({})\n", self.target, self.role);
        for group in Group::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.group == group).collect();
            let shown =
                |row: &&&Row| matches!(row.verdict, Verdict::Fail { .. } | Verdict::Note { .. });
            if rows.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n{}", paint("1", group.title()));
            let mut failures: Vec<(String, Vec<&Row>)> = Vec::new();
            let mut notes: Vec<(&str, Vec<&Row>)> = Vec::new();
            for row in rows.iter().filter(shown) {
                let (_, why) = row.words();
                match &row.verdict {
                    Verdict::Fail { section, .. } => {
                        among(&mut failures, format!("{why} ({section})"), row);
                    }
                    _ => among(&mut notes, why, row),
                }
            }
            for (why, rows) in failures {
                for (standing, word) in [
                    (Standing::New, &*paint("31", "FAIL")),
                    (Standing::Known, "known"),
                    (Standing::Newer, "newer"),
                ] {
                    let rows: Vec<&Row> = rows
                        .iter()
                        .copied()
                        .filter(|row| expect.standing(row) == standing)
                        .collect();
                    let _ = match rows[..] {
                        [] => Ok(()),
                        [row] => writeln!(text, "  {word} {} {}: {why}", row.case, row.title),
                        // All of them, since each is a line of a file of known failures.
                        _ => writeln!(text, "  {word} {}: {why}", all_numbers(&rows)),
                    };
                }
            }
            for (why, rows) in notes {
                let _ = match rows[..] {
                    [row] => writeln!(text, "  note {} {}: {why}", row.case, row.title),
                    _ => writeln!(text, "  note {}: {why}", numbers(&rows)),
                };
            }
            let rest = rows.iter().filter(|row| matches!(row.verdict, Verdict::Pass)).count();
            if rest > 0 {
                let _ = writeln!(text, "  {rest} more pass");
            }
        }
        let mut skipped: Vec<(&str, Vec<&Row>)> = Vec::new();
        let mut untested: Vec<(&str, Vec<&Row>)> = Vec::new();
        for row in &self.rows {
            match &row.verdict {
                Verdict::Skip { cause } => among(&mut skipped, cause, row),
                Verdict::Untested { why } => among(&mut untested, why, row),
                _ => {}
            }
        }
        let heading = match self.stopped {
            None => "Untested, though the target is there",
            Some(_) => "Untested",
        };
        for (heading, causes) in [("Skipped", skipped), (heading, untested)] {
            if !causes.is_empty() {
                let _ = writeln!(text, "\n{}", paint("1", heading));
            }
            for (cause, rows) in causes {
                let _ = writeln!(text, "  {}: {cause}", numbers(&rows));
            }
        }
        for row in self.rows.iter().filter(|row| expect.standing(row) == Standing::Mended) {
            let _ = writeln!(text, "\n{} passes now: its line of the file can go", row.case);
        }
        if let Some(stop) = &self.stopped {
            let _ = match stop.not_run {
                0 => writeln!(text, "\n{stop}."),
                1 => writeln!(text, "\n{stop}. One case was not run."),
                count => writeln!(text, "\n{stop}. {count} cases were not run."),
            };
        }
        let _ = writeln!(text, "\n{}", self.totals(expect));
        text
    }
}

/// Puts a row to those with the same text.
fn among<'a, T: PartialEq>(lines: &mut Vec<(T, Vec<&'a Row>)>, text: T, row: &'a Row) {
    match lines.iter_mut().find(|line| line.0 == text) {
        Some(line) => line.1.push(row),
        None => lines.push((text, vec![row])),
    }
}

/// The numbers of the rows, or the first and the last of many.
fn numbers(rows: &[&Row]) -> String {
    match rows {
        [first, .., last] if rows.len() > 6 => {
            format!("{} .. {} ({} cases)", first.case, last.case, rows.len())
        }
        _ => all_numbers(rows),
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
    let rows = reports.iter().flat_map(|report| &report.rows);
    let failing: BTreeSet<&str> = rows
        .filter(|row| matches!(row.verdict, Verdict::Fail { .. }))
        .map(|row| row.case.as_str())
        .collect();
    html_table(&mut page, "Failures", &reports, |row| failing.contains(row.case.as_str()));
    for group in Group::ALL {
        html_table(&mut page, group.title(), &reports, |row| row.group == group);
    }
    page.push_str("</body></html>\n");
    page
}

/// The cases that are wanted, if there are any.
fn html_table(
    page: &mut String,
    title: &str,
    reports: &[&Report],
    is_wanted: impl Fn(&Row) -> bool,
) {
    let mut ids: Vec<&Row> =
        reports.iter().flat_map(|report| &report.rows).filter(|row| is_wanted(row)).collect();
    ids.sort_by(|a, b| a.case.cmp(&b.case));
    ids.dedup_by(|a, b| a.case == b.case);
    if ids.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{title}</h2>\n<table>\n<tr><th>case</th>");
    for report in reports {
        let _ = writeln!(page, "<th>{}</th>", escaped(&report.target));
    }
    page.push_str("</tr>\n");
    for id in ids {
        html_row(page, id, reports);
    }
    page.push_str("</table>\n");
}

fn html_row(page: &mut String, id: &Row, reports: &[&Report]) {
    let explained = find(&id.case).map(case::Case::explain).unwrap_or_default();
    let _ = writeln!(
        page,
        "<tr><td><details><summary>{} {} <i>{:?}, {}</i></summary><pre>{}</pre></details></td>",
        id.case,
        escaped(&id.title),
        id.level,
        escaped(&id.section),
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HTML_START: &str = "<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8><title>wsconform</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse }
td, th { border: 1px solid #ccc; padding: .2em .5em; vertical-align: top; text-align: left }
th { position: sticky; top: 0; background: #eee }
pre { white-space: pre-wrap; word-break: break-all; max-width: 50em; font-size: 12px }
i { color: #777 }
.fail { background: #fbd5d0 } .note { background: #fdf3c8 } .skip { color: #888 } .untested { background: #ddd }
</style></head><body>
";
