//! A child of a test, in which SIGPIPE has its default action, as in a program whose `main` is C.
#![allow(unsafe_code)]

use crate::again;
use std::{env, io, os::unix::process::ExitStatusExt, process::ExitStatus};

unsafe extern "C" {
    fn signal(signal: i32, action: usize) -> usize;
}

const SIGPIPE: i32 = 13;
const CASE: &str = "TICKWIRE_SIGPIPE";

/// A name, and what writes to a peer that is gone until that is an error.
pub type Case = (&'static str, fn() -> io::Error);

/// Runs each case in a child of its own. `test` is the path of the test that calls this, which runs
/// again in each child. Each case has to end with EPIPE.
#[track_caller]
pub fn each_survives(test: &str, cases: &[Case]) {
    for (case, status, said) in in_children(test, cases) {
        assert!(status.success(), "{case}: {status}\n{said}");
    }
}

/// As [`each_survives`], but SIGPIPE ends each case.
#[track_caller]
pub fn each_is_killed(test: &str, cases: &[Case]) {
    for (case, status, said) in in_children(test, cases) {
        assert_eq!(status.signal(), Some(SIGPIPE), "{case}: {status}\n{said}");
    }
}

fn in_children(test: &str, cases: &[Case]) -> Vec<(&'static str, ExitStatus, String)> {
    if let Ok(named) = env::var(CASE) {
        // SAFETY: the default action, 0, is valid, and no thread of this process has a handler.
        unsafe { signal(SIGPIPE, 0) };
        let (_, case) = cases.iter().find(|(case, _)| *case == named).unwrap();
        let error = case();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
        return Vec::new();
    }
    let run = |(case, _): &Case| {
        let done = again(test).env(CASE, case).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (*case, done.status, String::from_utf8_lossy(&said).into_owned())
    };
    cases.iter().map(run).collect()
}
