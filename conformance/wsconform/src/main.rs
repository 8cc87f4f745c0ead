//! Tests a WebSocket server or client, case by case. The README beside this package says how to
//! read the results; `wsconform --help` says how to call it.

mod admission;
mod autobahn;
mod client;
mod drive;
mod learn;
mod listener;
mod live;
mod options;
mod output;
mod process;
mod run;
mod server;
mod signals;
mod stream;
mod supervisor;
mod tls;
mod turns;

use options::{Command, Options};
use output::{Outputs, print, tell};
use std::{fmt::Write as _, fs};
use wsconform_cases::{cases, find, render::to_html, report::Report};

/// What the program could not do, in a sentence for the person at the terminal.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() {
    exit(&options::read().and_then(|(command, options)| act(command, &options)));
}

pub(crate) fn exit(result: &Result<bool, Error>) -> ! {
    std::process::exit(match result {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            tell(&format!("wsconform: {error}\n"));
            2
        }
    })
}

/// Returns whether no case failed that was not expected to fail.
fn act(command: Command, options: &Options) -> Result<bool, Error> {
    match command {
        Command::Help => print(options::HELP)?,
        Command::Version => print(&format!("wsconform {}\n", env!("CARGO_PKG_VERSION")))?,
        Command::List => print(&list(options))?,
        Command::Explain(id) => {
            let found = find(&id).ok_or_else(|| format!("there is no case {id}: see --list"))?;
            print(&found.explain())?;
        }
        Command::Html(files) => print(&html(&files)?)?,
        Command::Server(url) => return server::test(&url, options, &Outputs::new(options)?),
        Command::Learn(url) => return learn::server(&url, options),
        Command::LearnClient(address) => return learn::client(&address, options),
        Command::Client(words) => return client::test(&words, options, &Outputs::new(options)?),
        Command::Listen(address) => {
            return autobahn::serve(&address, options, &Outputs::new(options)?);
        }
    }
    Ok(true)
}

fn list(options: &Options) -> String {
    let mut lines = String::new();
    for case in cases().iter().filter(|case| options.chooses(case)) {
        let roles: Vec<String> = case.roles.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            lines,
            "{} {:?} edition {} {} {}: {}",
            case.id,
            case.level,
            case.edition,
            roles.join("+"),
            case.rule.section,
            case.title
        );
    }
    lines
}

fn html(files: &[String]) -> Result<String, Error> {
    let mut reports = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let report = Report::from_json(&text);
        reports.push(report.map_err(|error| format!("{file} is no report: {error}"))?);
    }
    Ok(to_html(&reports))
}
