//! Tests whose network is their own: they run themselves again in new namespaces, where nothing
//! outside is touched and which go when the processes do. That needs Linux, `ip`, `unshare` and the
//! right to make namespaces (root, or user namespaces). Where that is missing, a test says so and
//! passes.
use crate::PATIENCE;
use std::{
    env,
    io::{self, Write},
    process::{Command, exit},
    thread,
};

/// The status of a process in a namespace that has failed.
pub const FAILED: i32 = 3;
const NOT_PERMITTED: i32 = 77;

/// A command that runs the test again, alone. It is for the test to tell itself there from here.
/// `options` are those of `unshare`.
pub fn again(test: &str, options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(options).arg(env::current_exe().unwrap());
    // Quiet, the harness prints whole lines and nothing else.
    command.args(["--exact", test, "--nocapture", "--quiet"]);
    command
}

/// Runs such a command, as `introduce` completes it, and shows what it printed.
pub fn run_apart(test: &str, options: &[&str], introduce: impl Fn(&mut Command)) {
    let run_as = |user: &[&str]| {
        let mut command = again(test, &[options, user].concat());
        introduce(&mut command);
        command.output()
    };
    let ran = match run_as(&[]) {
        // Not root: as the root of a user namespace, if there may be one.
        Ok(ran) if ran.status.code() == Some(1) => run_as(&["--user", "--map-root-user"]),
        ran => ran,
    };
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return not_run(test, &format!("unshare: {error}")),
    };
    let out = [ran.stdout, ran.stderr].concat();
    let out = String::from_utf8_lossy(&out);
    match ran.status.code() {
        Some(0) => {
            assert!(out.contains("running 1 test\n"), "there is no {test}:\n{out}");
            println!("{out}");
        }
        Some(1 | NOT_PERMITTED) => not_run(test, out.trim()),
        _ => panic!("{}\n{out}", ran.status),
    }
}

/// Is shown even if the harness captures what a test prints.
fn not_run(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "{test}: NOT RUN: {why}");
}

/// Ends the process in the namespace: what the test needs is not to be had.
pub fn not_permitted(what: &str, why: &str) -> ! {
    eprintln!("{what}: {why}");
    exit(NOT_PERMITTED)
}

/// Ends the process in the namespace if it hangs: who waits for its output has no other way.
pub fn ends_in_time() {
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("it hangs");
        exit(FAILED)
    });
}

/// Runs it in this namespace, and ends the process if that is not permitted.
pub fn run(command: &str) {
    if let Err(why) = try_run(command) {
        not_permitted(command, &why);
    }
}

/// Runs it in this namespace. What it printed, or why it failed.
pub fn try_run(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let ran = Command::new(words.next().unwrap()).args(words).output();
    match ran {
        Ok(ran) if ran.status.success() => Ok(String::from_utf8_lossy(&ran.stdout).into()),
        Ok(ran) => Err(String::from_utf8_lossy(&ran.stderr).trim().into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Forbids the way to three hosts, as a firewall or a VPN that connects again does, each by a rule
/// of another kind. With each host comes what connect(2) says from then on.
pub fn forbid() -> [(&'static str, &'static str); 3] {
    run("ip link set lo up");
    run("ip rule add to 192.0.2.0/24 prohibit");
    run("ip rule add to 198.51.100.0/24 blackhole");
    run("ip -6 rule add to 2001:db8::/32 prohibit");
    [
        ("192.0.2.1", "Permission denied (os error 13)"),
        ("198.51.100.1", "Invalid argument (os error 22)"),
        ("[2001:db8::1]", "Permission denied (os error 13)"),
    ]
}
