//! What a run has shown so far, so that it can end at any time.

use crate::{drive::Driven, turns::lock};
use std::{sync::Mutex, time::Instant};
use wsconform_cases::{
    Case, Session, Verdict,
    report::{Report, Row, Stop},
};

/// What a run has shown so far.
pub(crate) struct Live {
    pub(crate) report: Mutex<Report>,
    chosen: Vec<&'static Case>,
    pub(crate) traces: Mutex<Traces>,
}

#[derive(Default)]
pub(crate) struct Traces {
    /// When the last connection was asked for that the target has answered. The system takes
    /// connections for a target that is gone.
    answered: Option<Instant>,
    /// The same of the last that became a WebSocket.
    opened: Option<Instant>,
    /// The target is seen to refuse whatever it is asked.
    pub(crate) refuses: bool,
    doubtful: Vec<Trace>,
}

/// A session that was refused, or that silence or the end of the stream has decided.
struct Trace {
    case: &'static str,
    wrote: Option<Instant>,
    over: Instant,
    is_silent: bool,
}

impl Live {
    pub(crate) fn new(report: Report, chosen: Vec<&'static Case>) -> Live {
        Live { report: Mutex::new(report), chosen, traces: Mutex::default() }
    }

    pub(crate) fn put(&self, row: Row) {
        lock(&self.report).put(row);
    }

    /// Takes back what was said of a case, until it has run again.
    pub(crate) fn void(&self, case: &str, why: &str) {
        let mut report = lock(&self.report);
        for row in report.rows.iter_mut().filter(|row| row.case == case) {
            row.verdict = Verdict::Untested { why: why.to_owned() };
        }
    }

    pub(crate) fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Takes down a session, for which a connection was asked for at `asked`.
    pub(crate) fn trace(&self, session: &Session, asked: Instant, driven: &Driven) {
        let mut traces = lock(&self.traces);
        let is_open = session.observed().opened;
        if driven.heard.is_some() {
            traces.answered = traces.answered.max(Some(asked));
        }
        if is_open {
            traces.opened = traces.opened.max(Some(asked));
        }
        if driven.is_silent || !is_open {
            traces.doubtful.push(Trace {
                case: &session.case().id,
                wrote: driven.wrote,
                over: Instant::now(),
                is_silent: driven.is_silent,
            });
        }
    }

    pub(crate) fn has_answered_since(&self, time: Instant) -> bool {
        lock(&self.traces).answered > Some(time)
    }

    /// The report of a run that ends early. Silence says something only of a target that has
    /// answered somebody else later, and where it refuses all, so does a refusal.
    pub(crate) fn stopped(&self, why: String, names: bool) -> Report {
        let mut report = self.report();
        let mut traces = lock(&self.traces);
        let refuses = traces.refuses;
        let proof = if refuses { traces.opened } else { traces.answered };
        traces.doubtful.retain(|trace| Some(trace.over) > proof && (refuses || trace.is_silent));
        traces.doubtful.sort_by_key(|trace| std::cmp::Reverse(trace.wrote));
        let mut behind = Vec::new();
        for trace in &traces.doubtful {
            // What has failed each time did so of a target that was there.
            let is_open = |row: &&mut Row| {
                row.case == trace.case && !matches!(row.verdict, Verdict::Fail { .. })
            };
            for row in report.rows.iter_mut().filter(is_open) {
                let why = "the run ended before the target had answered again".to_owned();
                row.verdict = Verdict::Untested { why };
                if names && !behind.contains(&row.case) {
                    behind.push(row.case.clone());
                }
            }
        }
        let not_run = not_run(&self.chosen, &report);
        report.stopped = Some(Stop { why, behind, not_run });
        report
    }
}

/// The chosen cases that have no row.
pub(crate) fn not_run(chosen: &[&Case], report: &Report) -> Vec<String> {
    let has_row = |case: &&&Case| report.rows.iter().any(|row| row.case == case.id);
    chosen.iter().filter(|case| !has_row(case)).map(|case| case.id.clone()).collect()
}
