//! The file of known failures, for `--expect`.
//!
//! ```text
//! # what our proxy does, ticket 4711
//! edition 1
//! fail F-012 server
//! fail HS-044 server   # a comment
//! ```
//!
//! `edition` says which cases the project has seen: one of a later edition that fails is a note
//! until the file names that edition. Without the line it is 1. A line per known failure: its case and the tested role.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::Role;
use crate::list::{EDITION, PROCESS, WITHDRAWN, find};
use crate::report::{Report, Row};
use crate::session::Verdict;

/// What a project knows of its own results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// The latest edition that the project has seen.
    pub edition: u32,
    /// The cases that are known to fail.
    pub failures: BTreeSet<(String, Role)>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ExpectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ExpectError {}

/// How a row stands to what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A failure that nobody expected.
    New,
    /// A failure that is in the file.
    Known,
    /// A failure of a case that is newer than the file: a note.
    Newer,
    /// The file says that it fails, and it passes: the line can go.
    Mended,
    /// No failure, and none expected.
    Fine,
}

impl Default for Expectations {
    fn default() -> Expectations {
        Expectations { edition: EDITION, failures: BTreeSet::new() }
    }
}

impl Expectations {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The first line that is neither empty, a comment, a known edition nor a failure of a known
    /// case.
    pub fn parse(text: &str) -> Result<Expectations, ExpectError> {
        let mut read = Expectations { edition: 1, failures: BTreeSet::new() };
        for (index, line) in text.lines().enumerate() {
            let error = |what: String| ExpectError { line: index + 1, what };
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                ["edition", edition] => {
                    read.edition =
                        edition.parse().map_err(|_| error(format!("no edition: {edition}")))?;
                    if !(1..=EDITION).contains(&read.edition) {
                        let has = format!("this suite has {EDITION}");
                        return Err(error(format!("edition {edition} is not known: {has}")));
                    }
                }
                ["fail", id, role] => {
                    let role = match role {
                        "server" => Role::Server,
                        "client" => Role::Client,
                        other => return Err(error(format!("no role: {other}"))),
                    };
                    if WITHDRAWN.contains(&id) {
                        continue;
                    }
                    let is_case = find(id).is_some_and(|case| case.tests(role));
                    if !is_case && id != PROCESS {
                        return Err(error(format!("no case {id} for a {role}")));
                    }
                    if !read.failures.insert((id.to_owned(), role)) {
                        return Err(error(format!("fail {id} {role} stands there twice")));
                    }
                }
                _ => {
                    let line = line.trim();
                    let what = format!("not understood: {line}; write: fail CASE server|client");
                    return Err(error(what));
                }
            }
        }
        Ok(read)
    }

    /// The file of this run: what has failed in it, and of the failures that were known those whose
    /// cases it has not judged.
    pub fn renewed(&self, report: &Report) -> String {
        let judged = |row: &&Row| {
            matches!(row.verdict, Verdict::Pass | Verdict::Note { .. } | Verdict::Fail { .. })
        };
        let judged: BTreeSet<_> =
            report.rows.iter().filter(judged).map(|row| (row.case.clone(), row.role)).collect();
        let mut lines = BTreeMap::new();
        for (case, role) in self.failures.difference(&judged) {
            lines.insert((case, role), format!("fail {case} {role}\n"));
        }
        for row in &report.rows {
            if let Verdict::Fail { why, .. } = &row.verdict {
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                let line = format!("fail {} {}  # {}: {why}\n", row.case, row.role, row.title);
                lines.insert((&row.case, &row.role), line);
            }
        }
        let lines: String = lines.into_values().collect();
        format!("edition {EDITION}\n{lines}")
    }

    /// How `row` stands to the file.
    pub fn standing(&self, row: &Row) -> Standing {
        let known = self.failures.contains(&(row.case.clone(), row.role));
        match (&row.verdict, known) {
            (Verdict::Fail { .. }, true) => Standing::Known,
            (Verdict::Fail { .. }, false) if row.edition > self.edition => Standing::Newer,
            (Verdict::Fail { .. }, false) => Standing::New,
            (Verdict::Pass, true) => Standing::Mended,
            _ => Standing::Fine,
        }
    }

    /// The cases that have come to no verdict, though they fit and none expects them to fail.
    pub fn open<'r>(&self, report: &'r Report) -> Vec<&'r str> {
        let is_open = |row: &&Row| {
            let is_known = self.failures.contains(&(row.case.clone(), row.role));
            matches!(row.verdict, Verdict::Unsteady { .. } | Verdict::Untested { .. }) && !is_known
        };
        report.rows.iter().filter(is_open).map(|row| &*row.case).collect()
    }

    /// Whether a run is as expected: no new failure. A failure that is mended does not spoil it.
    pub fn holds(&self, report: &Report) -> bool {
        report.rows.iter().all(|row| self.standing(row) != Standing::New)
    }
}
