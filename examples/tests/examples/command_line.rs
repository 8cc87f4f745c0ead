//! Tests the command line of every example: its help, what it refuses, an address in use, how a
//! demonstration ends. The list of examples comes from the manifests. A plain `cargo test` builds
//! the examples of this package. Examples in other packages are tested if they are built.
#![cfg(unix)]

use crate::support_program::{Program, example};
use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

/// The text between the first two quotes.
fn quoted(line: &str) -> &str {
    line.split('"').nth(1).expect(line)
}

/// The examples of this package that these features build.
fn of_this_package() -> Vec<PathBuf> {
    let built = |feature: &str| match feature {
        "deflate" => cfg!(feature = "deflate"),
        "rustls" => cfg!(feature = "rustls"),
        "std" => cfg!(feature = "std"),
        "tokio" => cfg!(feature = "tokio"),
        other => panic!("the feature {other} is not known here"),
    };
    let manifest = include_str!("../../Cargo.toml");
    let mut found = Vec::new();
    for section in manifest.split("\n[[example]]\n").skip(1) {
        let value = |key| section.lines().find(|line| line.starts_with(key));
        let needs = value("required-features").unwrap_or_default();
        if needs.split('"').skip(1).step_by(2).all(built) {
            found.push(example(quoted(value("name").expect(section))));
        }
    }
    assert!(found.len() >= 2, "{found:?}");
    found
}

/// The examples in packages of their own that are built.
fn of_other_packages() -> Vec<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let package = entry.unwrap().path();
        let Ok(manifest) = fs::read_to_string(package.join("Cargo.toml")) else { continue };
        if package.join("src/main.rs").exists() {
            let name = manifest.lines().find(|line| line.starts_with("name = "));
            names.push(quoted(name.expect(&manifest)).to_owned());
        }
        for program in fs::read_dir(package.join("src/bin")).into_iter().flatten() {
            let path = program.unwrap().path();
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert!(names.len() >= 5, "{names:?}");
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap(); // target/PROFILE
    let (there, missing): (Vec<_>, Vec<_>) =
        names.iter().map(|name| folder.join(name)).partition(|path| path.exists());
    for path in missing {
        eprintln!("SKIPPED: {} is not built", path.display());
    }
    there
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The arguments that tell the server with this help to listen at `address`.
fn to_listen(help: &[String], address: &str) -> Option<Vec<String>> {
    if help.iter().any(|line| line.starts_with("  --listen ADDR")) {
        return Some(vec!["--listen".to_owned(), address.to_owned()]);
    }
    let word = help.iter().any(|line| line.starts_with("  ADDR"));
    word.then(|| vec![address.to_owned()])
}

#[test]
fn every_example_has_help_and_refuses_what_it_does_not_know() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let by_name = format!("localhost:{}", address.port());
    let mut listening = 0;
    for path in of_this_package().iter().chain(&of_other_packages()) {
        let (code, help, errors) = Program::start_at(path, &["--help"]).finish();
        assert_eq!((code, errors), (0, vec![]), "{path:?} --help");
        let usage = help.iter().position(|line| line.starts_with("Usage: "));
        let usage = usage.map(|at| help[at..].join("\n")).expect("a usage");
        assert!(usage.contains(name(path)), "{path:?}: {usage}");
        let own = help.iter().find(|line| line.starts_with("  --help")).expect("--help");
        assert!(own.ends_with(" this text"), "{path:?}: {own}");

        let (code, out, errors) = Program::start_at(path, &["--nosuch"]).finish();
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{path:?} --nosuch: {errors:?}");
        assert!(errors[0].contains("--nosuch"), "{path:?}: {errors:?}");

        let Some(args) = to_listen(&help, &by_name) else { continue };
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (code, out, errors) = Program::start_at(path, &args).finish();
        assert_eq!((code, out.len(), errors.len()), (1, 0, 1), "{path:?} {args:?}: {errors:?}");
        assert!(errors[0].contains(&format!("{address} is in use")), "{path:?}: {errors:?}");
        listening += 1;
    }
    if cfg!(feature = "tokio") {
        assert!(listening >= 4, "{listening} of them listen");
    }
}

/// For a program that takes a URL: arguments with a URL that is no WebSocket's.
fn elsewhere(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "client" | "reconnect" | "round_trip" => Some(&["http://localhost"]),
        _ => None,
    }
}

#[test]
fn a_url_of_no_websocket_is_a_wrong_command_line() {
    for path in of_this_package().iter().chain(&of_other_packages()) {
        let Some(args) = elsewhere(name(path)) else { continue };
        let (code, out, errors) = Program::start_at(path, args).finish();
        assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{path:?} {args:?}: {errors:?}");
        assert!(errors[0].contains("write ws:// or wss:// instead"), "{path:?}: {errors:?}");
    }
}

/// The arguments for a short run of a demonstration.
fn short(name: &str) -> &'static [&'static str] {
    match name {
        "market_feed" => &["--seconds", "1", "--clients", "3", "--rate", "200"],
        "big_message" => &["--mib", "4"],
        "order_entry" => &["--quotes", "300", "--orders", "50"],
        "feed_handler" => &["--seconds", "2", "--feeds", "4", "--rate", "400"],
        _ => &[],
    }
}

/// Tests each program that shows something and ends. Others are servers, or need arguments.
#[test]
fn a_demonstration_that_succeeds_exits_with_0() {
    let all = [of_this_package(), of_other_packages()].concat();
    let (mut running, mut shown) = (Vec::new(), BTreeSet::new());
    for path in &all {
        let (_, help, _) = Program::start_at(path, &["--help"]).finish();
        if !short(name(path)).is_empty() || to_listen(&help, "").is_none() {
            running.push((name(path), Program::start_at(path, short(name(path)))));
        }
    }
    for (name, program) in running {
        let (code, out, errors) = program.finish();
        if code == 2 && errors.iter().all(|line| line.ends_with(" is missing; see --help")) {
            continue;
        }
        assert_eq!(code, 0, "{name}: {out:?} {errors:?}");
        assert!(!out.is_empty(), "{name} shows nothing");
        shown.insert(name);
    }
    for of_another_package in ["feed_handler", "market_feed"] {
        shown.remove(of_another_package); // it is shown only if it is built
    }
    if cfg!(feature = "tokio") {
        let all = ["ack", "auth", "big_message", "order_entry", "own_loop", "reconnect"];
        assert_eq!(Vec::from_iter(shown), all);
    }
}
