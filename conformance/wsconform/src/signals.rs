//! Ctrl-C, and SIGTERM where there is one.

use crate::Error;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
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

/// Does `work`. At an interrupt the program ends with what `interrupted` returns, though `work` may
/// still be waiting for the target.
pub(crate) fn until_interrupt<R: Send>(
    work: impl FnOnce() -> R + Send,
    interrupted: impl FnOnce() -> Result<bool, Error>,
) -> Result<R, Error> {
    let interrupts = Interrupts::new()?;
    let (done, ended) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = done.send(work());
        });
        loop {
            match ended.recv_timeout(Interrupts::LOOK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) if interrupts.came() => {
                    crate::exit(&interrupted());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the run has panicked".into()),
            }
        }
    })
}
