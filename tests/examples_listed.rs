//! `examples/README.md` has every example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_example_is_in_the_table_and_nothing_else_is() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists()
            || path.join("Cargo.toml").exists();
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
        // The command names it.
        assert!(row.contains(&format!("--example {name}")) || row.contains(&format!("-p {name}")));
        assert!(listed.insert(name.to_string()), "{name} is there twice");
    }
    assert_eq!(there, listed);
}
