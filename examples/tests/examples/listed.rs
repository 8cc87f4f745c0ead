//! `examples/README.md` lists every example, and each server has bounds or says it has none.
use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_example_is_in_the_table_and_nothing_else_is() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists()
            || path.join("src/main.rs").exists()
            || path.join("src/bin").exists();
        if is_program {
            there.insert(path.file_stem().unwrap().to_str().unwrap().to_string());
        }
    }
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| [`"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let (name, rest) = row.split_once("`](").unwrap();
        let (link, _) = rest.split_once(')').unwrap();
        assert!(dir.join(link).exists(), "{link}");
        // The command in the row names the example.
        let commands = [format!("--example {name}"), format!("-p {name}"), format!("{name}/run")];
        assert!(commands.iter().any(|command| row.contains(command)), "{name}");
        assert!(listed.insert(name.to_string()), "{name} is there twice");
    }
    assert_eq!(there, listed);
    assert_eq!(there.len(), 18, "as many as the README of the crate says");
}

/// The text of all `.rs` files below `path`, except tests.
fn sources(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let read = entries.filter(|path| !path.ends_with("tests") && !path.ends_with("target"));
        return read.map(|path| sources(&path)).collect();
    }
    match path.extension() {
        Some(extension) if extension == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    }
}

#[test]
fn who_can_be_told_where_to_listen_has_bounds_or_says_that_it_has_none() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut bounded, mut open) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("tests") {
            continue;
        }
        let source = sources(&path);
        if !source.contains("listening on ") {
            continue; // no server, or a server on the loopback whose port the system chooses
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        // Wherever its lines are broken.
        let words: Vec<_> = source.split_whitespace().filter(|word| *word != "//!").collect();
        if words.join(" ").contains("for the loopback") {
            assert!(source.contains("example `bounded`"), "{name} says where to look");
            open.insert(name);
        } else {
            assert!(source.contains("places.enter("), "{name} has neither bounds nor says so");
            bounded.insert(name);
        }
    }
    assert_eq!(Vec::from_iter(bounded), ["bounded"]);
    assert_eq!(open.len(), 6, "{open:?}");
}
