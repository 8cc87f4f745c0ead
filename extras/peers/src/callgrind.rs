//! Instructions, as callgrind counts them.

use std::process::Command;

/// Of a run of this program with these arguments; nothing if it fails.
pub fn callgrind(options: &[&str], args: &[&str]) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(options)
        .arg(std::env::current_exe().ok()?)
        .args(args)
        // `rep movsb`, which copies any length, would count as one instruction for each byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = report.lines().find_map(|line| line.split_once("Collected : "));
    found.filter(|_| output.status.success())?.1.trim().parse().ok()
}
