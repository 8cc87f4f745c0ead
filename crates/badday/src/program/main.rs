//! The program `badday`: see README.md.
mod applied;
mod options;
mod serve;
mod tls;

use badday::days;
use options::{Options, Task};
use std::{error::Error, process::ExitCode};

/// The client has failed the day.
const FAILED: u8 = 1;

/// The program could not do what it was asked for.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("badday: {error}");
            ExitCode::from(WRONG)
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let options = match Options::read()? {
        Task::Help => {
            print!("{}", options::HELP);
            return Ok(ExitCode::SUCCESS);
        }
        Task::List => {
            for day in days::all() {
                println!("{:20} {}", day.name, day.title);
            }
            return Ok(ExitCode::SUCCESS);
        }
        Task::Explain(day) => {
            println!("{day}");
            return Ok(ExitCode::SUCCESS);
        }
        Task::Play(options) => options,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(serve::play(&options))?;
    runtime.shutdown_background();
    if options.json {
        println!("{:#}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(match report.complaints().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}
