//! Ctrl-C, and SIGTERM where there is one.

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The first interrupt is for us, so that a run ends with its report. The second ends the process.
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// How often somebody who waits looks for one.
    pub(crate) const LOOK: Duration = Duration::from_millis(20);

    pub(crate) fn new() -> io::Result<Interrupts> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_shutdown(signal, 2, came.clone())?;
            flag::register(signal, came.clone())?;
        }
        Ok(Interrupts(came))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
