//! `--record`: a file for what passes, which the owner alone may read.
use crate::{Result, print::warn};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
};

/// Says once that it failed, since the tap that writes here only remembers.
pub(crate) struct Recorder {
    file: File,
    name: String,
}

impl Recorder {
    pub(crate) fn create(name: &str) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(name).map_err(|error| format!("--record {name:?}: {error}"))?;
        Ok(Self { file, name: name.to_owned() })
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            let name = &self.name;
            warn(format_args!("--record {name:?}: {error}; nothing more is recorded"));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
