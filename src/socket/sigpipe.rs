//! Writes that raise no SIGPIPE. std, which mio and tokio call, writes one slice to a socket by
//! `send` with MSG_NOSIGNAL, but several by `writev`, which cannot take this flag. So where SIGPIPE
//! would end the process, the adapters write one slice a call.
use std::{io::IoSlice, slice};

/// Whether the process ignores SIGPIPE, so that a write to a peer that is gone returns an error and
/// ends no process. The first call finds out, on Linux and Android. On other systems the answer is
/// always `true`.
///
/// A program whose `main` is Rust ignores SIGPIPE. But the signal has its default action, which
/// ends the process, in a C or C++ program that calls Rust, unless the program runs
/// `signal(SIGPIPE, SIG_IGN);` before it starts threads. A Rust program may also restore the
/// default action, for example to end quietly when `head` closes its pipe. It must do so before it
/// opens a connection.
///
/// The adapters of this crate raise no SIGPIPE on a socket of std or tokio, nor over this crate's
/// TLS: if the process does not ignore SIGPIPE, they write a message of several slices by several
/// calls, because std's `write` to a socket raises no SIGPIPE, and `write_vectored` may. In a [loop
/// of your own](crate::Connection::next), and in [`try_write`](crate::blocking::Stream::try_write)
/// of a stream of your own, do the same.
///
/// SIGPIPE may still be raised:
///
/// - by a TLS stream of rustls or tokio-rustls, which writes several records by one call,
/// - by the responses that hyper writes itself, below `tickwire-axum`,
/// - by writes to Unix sockets, if the compiler is older than Rust 1.90,
/// - on Unix systems other than Linux, Android and Apple's. (On Apple's systems, std and tokio set
///   an option of each socket, SO_NOSIGPIPE.)
///
/// ```
/// use std::{io::{IoSlice, Write}, net::{TcpListener, TcpStream}};
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// let mut stream = TcpStream::connect(address)?;
/// let written = match tickwire::sigpipe_is_ignored() {
///     true => stream.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")])?,
///     false => stream.write(b"head")?,
/// };
/// # assert_eq!(written, 8);
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn sigpipe_is_ignored() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::is_ignored();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    true
}

/// What of `slices` one call may write. The first slice must have bytes.
#[inline]
pub(crate) fn writable<'a, 'b>(slices: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    match slices {
        [first, _, ..] if !sigpipe_is_ignored() => slice::from_ref(first),
        _ => slices,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::{fs::File, io::Read, sync::OnceLock};

    const SIGPIPE: u32 = 13;

    /// Whether SIGPIPE is ignored; `false` if the action is unknown.
    #[inline]
    pub(super) fn is_ignored() -> bool {
        static IGNORED: OnceLock<bool> = OnceLock::new();
        *IGNORED.get_or_init(|| read().unwrap_or(false))
    }

    /// No safe call tells the action of a signal, so we read the 33rd field of proc_pid_stat(5).
    #[cold]
    fn read() -> Option<bool> {
        // For 33 fields: a name of at most 64 bytes, and short numbers.
        let mut stat = [0; 2048];
        let len = File::open("/proc/self/stat").and_then(|mut file| file.read(&mut stat)).ok()?;
        let stat = core::str::from_utf8(stat.get(..len)?).ok()?;
        // The second field, a name in parentheses, may have blanks and parentheses of its own.
        // `rest` begins with the third, so `nth(30)` is the 33rd.
        let (_, rest) = stat.rsplit_once(')')?;
        // A bit for each signal, the lowest for signal 1.
        let ignored: u64 = rest.split_ascii_whitespace().nth(30)?.parse().ok()?;
        Some(ignored >> (SIGPIPE - 1) & 1 == 1)
    }
}
