//! Results, and their JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::case::{Group, Level};
use crate::list::{EDITION, PROCESS};
use crate::peer::Peer;
use crate::session::{Session, Verdict};

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
    /// The cases that were not run.
    #[serde(default)]
    pub not_run: Vec<String>,
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
    /// How long it took, in milliseconds, with all that it waited for.
    #[serde(default)]
    pub millis: u64,
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
            level: session.level(),
            section: case.rule.section.clone(),
            edition: case.edition,
            millis: 0,
            verdict: session.verdict().clone(),
            remarks: session.remarks().to_vec(),
        }
    }

    /// The row that says that the process has died beside cases, and of none of them alone.
    pub fn of_death(why: String, evidence: String) -> Row {
        let section = "the process".to_owned();
        Row {
            case: PROCESS.to_owned(),
            role: Role::Server,
            title: "the process lives".to_owned(),
            group: Group::Delivery,
            level: Level::R,
            section: section.clone(),
            edition: 1,
            millis: 0,
            verdict: Verdict::Fail { why, section, evidence },
            remarks: Vec::new(),
        }
    }

    /// The verdict in a word, and why.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match &self.verdict {
            Verdict::Pass => ("pass", ""),
            Verdict::Fail { why, .. } => ("FAIL", why),
            Verdict::Note { why } => ("note", why),
            Verdict::Unsteady { why } => ("unsteady", why),
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
            edition: EDITION,
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
}
