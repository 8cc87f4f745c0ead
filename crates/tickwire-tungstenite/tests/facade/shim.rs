//! The script `shim`, on lock files as cargo writes them.
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Where a package of Cargo.lock comes from, as it is written there.
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
const FOLDER: &str = "";

/// A package of Cargo.lock, with the entries of its dependencies as they are written there.
fn package(name: &str, version: &str, source: &str, dependencies: &[&str]) -> String {
    let dependencies: String =
        dependencies.iter().map(|entry| format!(" \"{entry}\",\n")).collect();
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}dependencies = [\n\
         {dependencies}]\n\n"
    )
}

/// Runs the script beside this lock file. Returns its folder and its output.
fn run(case: &str, lock: &[String]) -> (PathBuf, Output) {
    run_with(case, lock, &["shims"])
}

fn run_with(case: &str, lock: &[String], arguments: &[&str]) -> (PathBuf, Output) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{case}"));
    let _ = fs::remove_dir_all(&folder); // of an earlier run
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Cargo.lock"), format!("version = 4\n\n{}", lock.concat())).unwrap();
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
    let output = Command::new(shim).args(arguments).current_dir(&folder).output().unwrap();
    (folder, output)
}

fn patched(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The first word of each line.
fn keys(output: &Output) -> Vec<String> {
    patched(output).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// axum needs tokio-tungstenite, and only that needs tungstenite.
fn lock_of_axum() -> [String; 3] {
    [
        package("axum", "0.8.9", REGISTRY, &["futures-util", "tokio-tungstenite"]),
        package("tokio-tungstenite", "0.29.0", REGISTRY, &["tungstenite"]),
        package("tungstenite", "0.29.0", REGISTRY, &["bytes"]),
    ]
}

#[test]
fn tungstenite_is_not_written_if_only_the_replaced_package_needs_it() {
    let (folder, output) = run("one", &lock_of_axum());
    let expected = "tokio-tungstenite-29 = { package = 'tokio-tungstenite', \
                    path = 'shims/tokio-tungstenite-29' }";
    assert_eq!(patched(&output), ["[patch.crates-io]", expected]);
    assert!(!folder.join("shims/tungstenite-29").exists());
}

#[test]
fn a_written_package_has_the_name_and_version_of_the_replaced_one_and_reexports_the_facade() {
    let (folder, _) = run("written", &lock_of_axum());
    let written = folder.join("shims/tokio-tungstenite-29");
    let manifest = fs::read_to_string(written.join("Cargo.toml")).unwrap();
    for line in [
        "name = \"tokio-tungstenite\"",
        "version = \"0.29.0\"",
        "default = [\"connect\"]",
        "rustls-tls-native-roots = [\"tickwire-tungstenite/rustls-tls-native-roots\"]",
    ] {
        assert!(manifest.lines().any(|other| other == line), "{line} is not in {manifest}");
    }
    let root = fs::read_to_string(written.join("src/lib.rs")).unwrap();
    assert_eq!(root, "pub use tickwire_tungstenite::*;\n");
}

/// 0.20.1 is too old to be replaced. 0.28.0 is not from a registry, so a patch cannot replace it.
#[test]
fn each_version_is_written_and_one_that_is_too_old_is_named() {
    let lock = [
        package("app", "0.1.0", FOLDER, &["feed", "tungstenite 0.28.0"]),
        package("axum", "0.8.9", REGISTRY, &["tokio-tungstenite 0.29.0"]),
        package("feed", "1.0.0", REGISTRY, &["tokio-tungstenite 0.20.1", "tungstenite 0.26.2"]),
        package("tokio-tungstenite", "0.20.1", REGISTRY, &["tungstenite 0.20.1"]),
        package("tokio-tungstenite", "0.29.0", REGISTRY, &["tungstenite 0.29.0"]),
        package("tungstenite", "0.20.1", REGISTRY, &[]),
        package("tungstenite", "0.26.2", REGISTRY, &[]),
        package("tungstenite", "0.28.0", FOLDER, &[]),
        package("tungstenite", "0.29.0", REGISTRY, &[]),
    ];
    let (folder, output) = run("many", &lock);
    assert_eq!(keys(&output), ["[patch.crates-io]", "tokio-tungstenite-29", "tungstenite-26"]);
    let root = fs::read_to_string(folder.join("shims/tungstenite-26/src/lib.rs")).unwrap();
    assert_eq!(root, "pub use tickwire_tungstenite::tungstenite::*;\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("tokio-tungstenite 0.20.1 stays as it is"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// An earlier run has replaced 0.28 and 0.29. After an update, axum needs 0.30 instead of 0.29.
#[test]
fn a_package_of_an_earlier_run_is_written_again_if_it_is_still_needed() {
    let lock = [
        package("app", "0.1.0", FOLDER, &["axum", "socketioxide"]),
        package("axum", "0.9.0", REGISTRY, &["tokio-tungstenite 0.30.0"]),
        package("feed", "1.0.0", REGISTRY, &["tokio-tungstenite 0.28.0"]),
        package("tokio-tungstenite", "0.28.0", FOLDER, &["tickwire-tungstenite"]),
        package("tokio-tungstenite", "0.30.0", REGISTRY, &["tungstenite"]),
        package("tungstenite", "0.30.0", REGISTRY, &[]),
        "[[patch.unused]]\nname = \"tokio-tungstenite\"\nversion = \"0.29.0\"\n".to_owned(),
    ];
    let (_, output) = run("again", &lock);
    assert_eq!(
        keys(&output),
        ["[patch.crates-io]", "tokio-tungstenite-28", "tokio-tungstenite-30"]
    );
}

/// Old lock files have version and source in each entry.
#[test]
fn an_entry_with_its_source_is_understood_and_nothing_to_replace_is_an_error() {
    let entry = "tungstenite 0.30.0 (registry+https://github.com/rust-lang/crates.io-index)";
    let user = package("app", "0.1.0", FOLDER, &[entry]);
    let (_, output) = run("old", &[user, package("tungstenite", "0.30.0", REGISTRY, &[])]);
    assert_eq!(patched(&output).len(), 2);
    let (folder, output) = run("none", &[package("app", "0.1.0", FOLDER, &["bytes"])]);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(!folder.join("shims").exists());
}

#[test]
fn help_is_printed_and_an_option_is_no_folder() {
    let lock = [
        package("app", "0.1.0", FOLDER, &["tungstenite"]),
        package("tungstenite", "0.30.0", REGISTRY, &[]),
    ];
    let help = ["-h", "--help"].map(|option| run_with("help", &lock, &[option]).1);
    for output in help {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.starts_with("usage: "), "{text}");
        assert!(output.stderr.is_empty());
    }
    for arguments in [&["--out"][..], &["-"], &[""], &[], &["a", "b"]] {
        let (folder, output) = run_with("no-folder", &lock, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "{arguments:?}"); // Cargo.lock
    }
}
