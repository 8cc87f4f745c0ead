//! Prints the public API as rustdoc's JSON has it, a line for each item, sorted: what a change
//! adds, takes away or makes different is then the lines of a diff.
//!
//! A type of another crate has the path of its definition, which may be private: rustdoc's JSON has
//! no other path for it.
//!
//! Left out is what would drown the rest: the auto traits, which `tests/source/send_sync.rs` holds,
//! and what blanket implementations give to every type.
//!
//! ```text
//! tickwire-public-api target/doc/tickwire.json
//! ```
//!
//! Exit codes: 0 printed, 1 failed, 2 usage, 3 rustdoc and this tool do not know each other.
use public_api::Builder;
use std::{env, error::Error, ffi::OsStr, fs, process::ExitCode};

/// The format of rustdoc's JSON that this version of `public-api` reads.
const FORMAT: u64 = 57;

/// What derives bring for the compiler's own use. The last two are among hidden items only.
const INTERNAL: [&str; 3] = [
    "core::marker::StructuralPartialEq for ",
    "core::clone::TrivialClone for ",
    "::assert_fields_are_eq(&self)",
];

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("Usage: tickwire-public-api FILE.json");
        return ExitCode::from(2);
    };
    match listing(&path) {
        Ok(Some(lines)) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::from(3),
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// `None`, and says so, where the format is another one.
fn listing(path: &OsStr) -> Result<Option<Vec<String>>, Box<dyn Error>> {
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let found = json.get("format_version").and_then(serde_json::Value::as_u64);
    if found != Some(FORMAT) {
        let found = found.map_or("none".to_string(), |found| found.to_string());
        eprintln!("rustdoc's JSON has format {found}, and {FORMAT} is what is read here");
        return Ok(None);
    }
    let api = Builder::from_rustdoc_json(path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    let lines = api.into_items().map(|item| item.to_string());
    Ok(Some(lines.filter(|line| !INTERNAL.iter().any(|part| line.contains(part))).collect()))
}
