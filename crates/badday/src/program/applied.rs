//! The file of `--applied`, read as the client writes it.
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

/// How often to look for new lines.
pub(crate) const EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Applied<'a> {
    path: &'a Path,
    /// How far the file is read.
    read: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    number: usize,
}

impl<'a> Applied<'a> {
    /// The file may be missing. What an earlier run has left in it would be no client's of this
    /// day.
    pub(crate) fn new(path: &'a Path) -> Result<Self, String> {
        if path.metadata().is_ok_and(|file| file.len() > 0) {
            return Err(format!("--applied {}: the file is not empty", path.display()));
        }
        Ok(Self { path, read: 0, rest: Vec::new(), number: 0 })
    }

    /// Passes on the lines that have been written since the last call.
    pub(crate) fn read(
        &mut self,
        mut line: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut found = Vec::new();
        match self.read_new(&mut found) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(|error| self.names(&error))?,
        }
        self.rest.extend_from_slice(&found);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
        let lines: Vec<_> = self.rest.drain(..=end).collect();
        for text in String::from_utf8_lossy(&lines).lines() {
            self.number += 1;
            line(text)
                .map_err(|error| format!("{}:{}: {error}", self.path.display(), self.number))?;
        }
        Ok(())
    }

    /// At the end of the day: the file has to be there, and its last line is whole.
    pub(crate) fn finish(
        &mut self,
        mut line: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        self.path.metadata().map_err(|error| self.names(&error))?;
        self.read(&mut line)?;
        if self.rest.is_empty() {
            return Ok(());
        }
        line(&String::from_utf8_lossy(&std::mem::take(&mut self.rest)))
            .map_err(|error| format!("{}:{}: {error}", self.path.display(), self.number + 1))
    }

    fn read_new(&mut self, found: &mut Vec<u8>) -> io::Result<()> {
        let mut file = File::open(self.path)?;
        if file.metadata()?.len() < self.read {
            // The client has begun its file anew.
            self.read = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(found)? as u64;
        Ok(())
    }

    fn names(&self, error: &io::Error) -> String {
        format!("--applied {}: {error}", self.path.display())
    }
}
