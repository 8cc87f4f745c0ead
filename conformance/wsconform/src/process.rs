//! A command that runs beside us, and ends with all that it has started: on Unix it has a process
//! group of its own.

use crate::{Error, turns::lock};
use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// How often somebody who waits for a process looks at it.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// Killed when it is dropped.
pub(crate) struct Process(Mutex<Child>);

impl Process {
    /// Starts the command. `output` is for what it says, on both ways.
    pub(crate) fn start(
        words: &[String],
        output: impl Fn() -> io::Result<Stdio>,
    ) -> Result<Process, Error> {
        let (program, arguments) = words.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output()?).stderr(output()?);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        Ok(Process(Mutex::new(child)))
    }

    /// How it has ended, if it has. Then what it has started is killed too.
    pub(crate) fn ended(&self) -> io::Result<Option<ExitStatus>> {
        let mut child = lock(&self.0);
        #[cfg(unix)]
        {
            use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let is_over = |id| matches!(waitid(WaitId::Pid(id), look), Ok(Some(_)));
            // Before it is waited for: until then nobody else gets its number.
            if id(&child).is_some_and(is_over) {
                signal(&child, Signal::KILL);
            }
        }
        child.try_wait()
    }

    /// Asks it to end, and kills it if it does not in this time.
    pub(crate) fn stop(&self, patience: Duration) {
        let until = Instant::now() + patience;
        if matches!(self.ended(), Ok(None)) {
            #[cfg(unix)]
            signal(&lock(&self.0), rustix::process::Signal::TERM);
            while cfg!(unix) && Instant::now() < until && matches!(self.ended(), Ok(None)) {
                thread::sleep(LOOK);
            }
        }
        self.kill();
    }

    pub(crate) fn kill(&self) {
        if matches!(self.ended(), Ok(None)) {
            let mut child = lock(&self.0);
            #[cfg(unix)]
            signal(&child, rustix::process::Signal::KILL);
            let _ = child.kill(); // it may have ended meanwhile
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(unix)]
fn id(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// To the group of a process that nobody has waited for.
#[cfg(unix)]
fn signal(child: &Child, signal: rustix::process::Signal) {
    if let Some(group) = id(child) {
        let _ = rustix::process::kill_process_group(group, signal); // it may have ended meanwhile
    }
}
