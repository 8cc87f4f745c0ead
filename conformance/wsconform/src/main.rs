//! Tests a WebSocket server or client, case by case. The README beside this package says how to
//! read the results; `wsconform --help` says how to call it.

mod autobahn;
mod client;
mod options;
mod run;
mod server;
mod stream;
mod tls;

use options::{Command, Options};
use std::{fs, io::IsTerminal, process::ExitCode};
use wsconform_cases::{
    case,
    expect::Expectations,
    report::{self, Report},
};

/// What the program could not do, in a sentence for the person at the terminal.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match options::read().and_then(|(command, options)| act(command, &options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("wsconform: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether no case failed that was not expected to fail.
fn act(command: Command, options: &Options) -> Result<bool, Error> {
    match command {
        Command::Help => print!("{}", options::HELP),
        Command::Version => println!("wsconform {}", env!("CARGO_PKG_VERSION")),
        Command::List => list(options),
        Command::Explain(id) => {
            let found =
                case::find(&id).ok_or_else(|| format!("there is no case {id}: see --list"))?;
            print!("{}", found.explain());
        }
        Command::Html(files) => html(&files)?,
        Command::Server(url) => return finish(&server::test(&url, options)?, options),
        Command::Client(words) => return finish(&client::test(&words, options)?, options),
        Command::Listen(address) => return autobahn::serve(&address, options),
    }
    Ok(true)
}

fn list(options: &Options) {
    for case in case::cases().iter().filter(|case| options.chooses(case)) {
        let roles: Vec<String> = case.roles.iter().map(ToString::to_string).collect();
        println!(
            "{} {:?} {} {}: {}",
            case.id,
            case.level,
            roles.join("+"),
            case.rule.section,
            case.title
        );
    }
}

fn html(files: &[String]) -> Result<(), Error> {
    let mut reports = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        reports.push(Report::from_json(&text).map_err(|error| format!("{file}: {error}"))?);
    }
    print!("{}", report::to_html(&reports));
    Ok(())
}

/// Writes what was asked for, and says whether the results are as expected.
pub(crate) fn finish(report: &Report, options: &Options) -> Result<bool, Error> {
    let expect = match &options.expect {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            Expectations::parse(&text).map_err(|error| format!("{file}: {error}"))?
        }
        None => Expectations::default(),
    };
    for (file, text) in [
        (&options.json, report.to_json()),
        (&options.html, report::to_html(std::slice::from_ref(report))),
    ] {
        if let Some(file) = file {
            fs::write(file, text).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    if options.tap {
        print!("{}", report.to_tap(&expect));
    } else {
        print!("{}", report.to_terminal(&expect, std::io::stdout().is_terminal()));
    }
    match &report.died {
        Some(death) => Err(death.to_string().into()),
        None => Ok(expect.holds(report)),
    }
}
