//! What a run leaves behind: files, and text on standard output.

use crate::{Error, options::Options};
use std::{
    fs::{self, File},
    io::{self, IsTerminal, Write},
    path::Path,
    slice,
};
use wsconform_cases::{
    Case, Need, Verdict,
    expect::Expectations,
    find,
    render::to_html,
    report::{Report, Row},
};

/// The outputs that were asked for, checked before a run that they would otherwise waste.
pub(crate) struct Outputs<'o> {
    options: &'o Options,
    expect: Expectations,
}

impl<'o> Outputs<'o> {
    /// Nothing of an earlier run is left for who reads the files, even if this one cannot begin.
    pub(crate) fn new(options: &'o Options) -> Result<Outputs<'o>, Error> {
        for file in [&options.json, &options.html, &options.junit].into_iter().flatten() {
            make_empty(file).map_err(|error| format!("{file}: {error}"))?;
        }
        let expect = match &options.expect {
            Some(file) => {
                let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                Expectations::parse(&text).map_err(|error| format!("{file}: {error}"))?
            }
            None => Expectations::default(),
        };
        Ok(Outputs { options, expect })
    }

    /// Writes what was asked for, and says whether the results are as expected. A file that cannot
    /// be written any more takes nothing from the text.
    pub(crate) fn finish(&self, report: &Report) -> Result<bool, Error> {
        let mut faults = Vec::new();
        for (file, text) in [
            (&self.options.json, report.to_json()),
            (&self.options.html, to_html(slice::from_ref(report))),
            (&self.options.junit, report.to_junit(&self.expect)),
            (&self.options.write_expect, self.expect.renewed(report)),
        ] {
            if let Some(file) = file
                && let Err(error) = fs::write(file, text)
            {
                faults.push(format!("{file}: {error}"));
            }
        }
        print(&report.to_terminal(&self.expect, io::stdout().is_terminal()))?;
        faults.extend(report.stopped.iter().map(|stop| stop.why.clone()));
        let open = self.expect.open(report);
        let holds = self.expect.holds(report);
        if faults.is_empty() && holds && !open.is_empty() {
            let jobs = if self.options.jobs == 1 { "" } else { "--jobs 1 may help, and " };
            let (count, except) = (open.len(), except(&open));
            faults.push(format!("{count} cases are untested or unsteady: {jobs}{except}"));
        }
        let is_skipped = |row: &&Row| matches!(row.verdict, Verdict::Skip { .. });
        let is_pair = |case: &&str| find(case).is_some_and(Case::is_of_two);
        let skipped = report.rows.iter().filter(is_skipped).map(|row| &*row.case);
        let pairs: Vec<&str> = skipped.filter(is_pair).collect();
        if holds && report.peer.connections == Some(1) && !pairs.is_empty() {
            let count = pairs.len();
            faults.push(format!(
                "{count} cases need two connections, and the target takes one at a time: {}",
                except(&pairs)
            ));
        }
        if !self.options.no_echo
            && let Some(cause) = report.peer.lacks(Need::Echo, report.role)
        {
            let cases = report
                .rows
                .iter()
                .filter(|row| row.verdict == Verdict::Skip { cause: cause.clone() })
                .count();
            if holds && cases > 0 {
                faults.push(format!(
                    "{cases} cases need an echo: {cause}; --no-echo leaves them out"
                ));
            }
        }
        match faults.is_empty() {
            true => Ok(holds),
            false => Err(faults.join("; ").into()),
        }
    }
}

/// The options that leave these cases out.
fn except(cases: &[&str]) -> String {
    match cases.len() {
        1..=32 => format!("--except {} leaves them out", cases.join(" --except ")),
        _ => "--except CASE leaves one out".to_owned(),
    }
}

/// Opens the file as a write would. One that wasn't there goes again.
fn make_empty(file: &str) -> io::Result<()> {
    let is_new = !Path::new(file).exists();
    File::create(file)?;
    if is_new { fs::remove_file(file) } else { Ok(()) }
}

/// Prints to standard output. A reader that has gone, such as `head`, has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Says something to the person who waits. Nothing depends on it.
pub(crate) fn tell(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}
