//! What this process has taken.
use super::heap;
use std::{fs, io};

/// Memory and descriptors now.
pub(crate) struct Usage {
    /// In use of the heap, in KiB.
    pub(crate) heap: u64,
    /// Resident memory, in KiB.
    pub(crate) rss: u64,
    pub(crate) descriptors: u64,
}

impl Usage {
    /// # Errors
    ///
    /// Where there is no `/proc` as Linux has it.
    pub(crate) fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let rss = field(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
        // One of them is the directory's own.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        Ok(Self { heap: heap::live() as u64 / 1024, rss, descriptors })
    }
}

/// How many descriptors this process may have, if that is limited.
pub(crate) fn most_descriptors() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
