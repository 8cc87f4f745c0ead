//! A wire tap: [`Tap`] records the bytes that pass over a stream, and [`Recording`] replays them
//! into the core of `tickwire`. Use the crate for bug reports, and for tests made from real
//! sessions.
//!
//! A recording is text, with a line for each read and write: the time in seconds, the direction,
//! and the bytes in hexadecimal. **A recording contains every byte**, including cookies, tokens and
//! payloads, so read a recording before you share it. With TLS, put the tap around the TLS stream,
//! so that the tap records the plaintext.
//!
//! ```
//! use tickwire::Config;
//! use tickwire_tap::Recording;
//!
//! # fn look() -> Result<(), Box<dyn std::error::Error>> {
//! let recording: Recording = std::fs::read_to_string("session.tap")?.parse()?;
//! let end = recording.replay(&Config::default(), |time, event| println!("{time:?} {event:?}"))?;
//! println!("{:?}", end.closed());
//! # Ok(())
//! # }
//! # let _ = look;
//! ```
//!
//! This is a separate crate, because few programs need it. [`tickwire`] does not depend on it.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod recording;
#[cfg(feature = "tokio")]
mod tokio;

pub use recording::{BadRecording, Passed, Recording};

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tickwire::blocking::{Interest, Stream};

/// Compiles the code of README.md.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The first line of a recording.
const TITLE: &str = "tickwire tap 1";

/// A stream that records the bytes that pass over it, for tickwire's modules `tokio` and
/// `blocking`. The halves of a split connection, and the clones of a stream, write to the same
/// recording.
///
/// ```
/// use tickwire::Config;
/// use tickwire_tap::{Recording, Tap};
/// # use std::io::{Read, Write};
/// # struct Deaf;
/// # impl Read for Deaf { fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> { Ok(0) } }
/// # impl Write for Deaf {
/// #     fn write(&mut self, from: &[u8]) -> std::io::Result<usize> { Ok(from.len()) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let stream = tickwire::blocking::WithoutTimeouts(Deaf);
/// let path = std::env::temp_dir().join(format!("tickwire-doc-{}.tap", std::process::id()));
/// let tap = Tap::new(stream, std::fs::File::create(&path)?);
/// let ended = tickwire::blocking::accept(tap, &Config::server());
/// # assert!(ended.is_err());
/// let recording: Recording = std::fs::read_to_string(&path)?.parse()?;
/// # std::fs::remove_file(path)?;
/// # let _ = recording;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tap<S> {
    /// The wrapped stream. Bytes that the program itself reads or writes on `io` are not recorded.
    pub io: S,
    log: Arc<Mutex<Log>>,
}

struct Log {
    to: Box<dyn Write + Send>,
    began: Instant,
    failed: Option<io::Error>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Log {
    fn line(&mut self, direction: char, bytes: Option<&[u8]>) {
        if self.failed.is_some() {
            return;
        }
        let mut line = format!("{:.6} {direction} ", self.began.elapsed().as_secs_f64());
        match bytes {
            Some(bytes) => push_hex(&mut line, bytes),
            None => line.push_str("end"),
        }
        line.push('\n');
        self.failed = self.to.write_all(line.as_bytes()).err();
    }
}

impl<S> Tap<S> {
    /// Makes a tap that records from now on into `to`: a file, or any writer that returns soon. A
    /// slow writer would keep all tasks of a runtime's thread waiting. Each read and each write of
    /// the stream becomes one `write_all` to `to`.
    ///
    /// If `to` fails, the recording ends, the stream continues, and [`failed`](Self::failed) is
    /// true.
    pub fn new(io: S, to: impl Write + Send + 'static) -> Self {
        let mut log = Log { to: Box::new(to), began: Instant::now(), failed: None };
        log.failed = log.to.write_all(format!("{TITLE}\n").as_bytes()).err();
        Self { io, log: Arc::new(Mutex::new(log)) }
    }

    /// Whether the recording is incomplete because its writer failed.
    pub fn failed(&self) -> bool {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).failed.is_some()
    }

    fn log(&self, direction: char, bytes: Option<&[u8]>) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).line(direction, bytes);
    }

    /// A read into a buffer without room is not recorded: its 0 bytes do not mean the end of the
    /// stream.
    fn log_read(&self, had_room: bool, bytes: &[u8]) {
        if had_room {
            self.log('<', Some(bytes).filter(|bytes| !bytes.is_empty()));
        }
    }

    /// The first `n` bytes of these slices were taken.
    fn log_written(&self, bufs: &[IoSlice<'_>], n: usize) {
        if n == 0 {
            return;
        }
        let mut written = Vec::with_capacity(n);
        for buf in bufs {
            let rest = n - written.len();
            written.extend_from_slice(buf.get(..rest).unwrap_or(buf));
        }
        self.log('>', Some(&written));
    }
}

impl<S: Read> Read for Tap<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.io.read(buf)?;
        self.log_read(!buf.is_empty(), buf.get(..n).unwrap_or_default());
        Ok(n)
    }
}

impl<S: Write> Write for Tap<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.io.write(buf)?;
        self.log_written(&[IoSlice::new(buf)], n);
        Ok(n)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = self.io.write_vectored(bufs)?;
        self.log_written(bufs, n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

impl<S: Stream> Stream for Tap<S> {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.io.try_read(buf)?;
        self.log_read(!buf.is_empty(), buf.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = self.io.try_write(bufs)?;
        self.log_written(bufs, n);
        Ok(n)
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.io.try_flush()
    }

    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.io.wait(interest, timeout)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.io.set_nodelay(yes)
    }

    fn writes_vectored(&self) -> bool {
        self.io.writes_vectored()
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()?;
        self.log('>', None);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { io: self.io.try_clone()?, log: self.log.clone() })
    }
}

fn push_hex(line: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        line.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}
