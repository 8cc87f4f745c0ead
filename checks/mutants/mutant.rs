//! Which mutant is on: the one whose number is in the environment as `MUTANT`. With
//! `MUTANT_REACHED`, the name of a file, none is, and the file gets a line for each mutant and test
//! that came by it.
extern crate std;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env,
    fs::OpenOptions,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

const UNKNOWN: usize = usize::MAX;
const RECORDS: usize = usize::MAX - 1;
/// The number; 0 for none.
static ON: AtomicUsize = AtomicUsize::new(UNKNOWN);

std::thread_local! {
    static SEEN: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
}

#[inline]
pub(crate) fn on(mutant: usize) -> bool {
    match ON.load(Relaxed) {
        UNKNOWN | RECORDS => asked(mutant),
        on => on == mutant,
    }
}

#[cold]
fn asked(mutant: usize) -> bool {
    if ON.load(Relaxed) == UNKNOWN {
        let number = env::var("MUTANT").ok().and_then(|it| it.parse().ok());
        let records = env::var_os("MUTANT_REACHED").is_some();
        ON.store(if records { RECORDS } else { number.unwrap_or(0) }, Relaxed);
        return on(mutant);
    }
    // Not while a thread ends, or within this.
    let new = SEEN.try_with(|seen| seen.try_borrow_mut().is_ok_and(|mut seen| seen.insert(mutant)));
    if new == Ok(true)
        && let Some(path) = env::var_os("MUTANT_REACHED")
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path)
    {
        let line = std::format!("{mutant}\t{}\n", thread::current().name().unwrap_or("?"));
        let _ = file.write_all(line.as_bytes());
    }
    false
}
