//! Writes that raise no SIGPIPE. std, which mio and tokio call, writes one slice to a socket by
//! `send` with MSG_NOSIGNAL, but several by `writev`, which cannot take this flag.

/// Runs `call` so that its writes in this thread raise no SIGPIPE.
///
/// A write to a socket or pipe whose peer is gone raises SIGPIPE, which by default ends the
/// process. A program whose `main` is Rust ignores SIGPIPE, and gets an error from the write. But
/// SIGPIPE has its default action in a C or C++ program that calls Rust. A Rust program may also
/// restore the default action, for example to end quietly when `head` closes its pipe. A C or C++
/// program avoids SIGPIPE by one line, run before it starts threads: `signal(SIGPIPE, SIG_IGN);`
///
/// Even without that line, a connection over a socket of std or tokio, or over this crate's TLS,
/// raises no SIGPIPE, because the adapters of this crate call this function where it is needed. But
/// you must call this function yourself:
///
/// - around `write_vectored` to a socket, in a [loop of your own](crate::Connection::next) and in
///   [`try_write`](crate::blocking::Stream::try_write) of a stream of your own,
/// - around reads, writes and flushes of a TLS stream of rustls or tokio-rustls, in a stream type
///   of your own. (`tickwire-tungstenite` does so for its TLS streams.)
///
/// SIGPIPE may still be raised:
///
/// - by the responses that hyper writes itself, below `tickwire-axum`,
/// - by writes to Unix sockets, if the compiler is older than Rust 1.90,
/// - on Unix systems other than Linux, Android and Apple's, because there this function does
///   nothing but run `call`. (The same holds on Apple's systems, but there std and tokio set an
///   option of each socket, SO_NOSIGPIPE.)
///
/// If the process ignores SIGPIPE, this function does nothing but run `call`. Otherwise the thread
/// blocks SIGPIPE while `call` runs, which costs six short system calls. The first call of this
/// function checks whether the process ignores SIGPIPE. So a program that restores the default
/// action must do so before that call.
///
/// ```
/// use std::{io::{IoSlice, Write}, net::{TcpListener, TcpStream}};
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// let mut stream = TcpStream::connect(address)?;
/// let slices = [IoSlice::new(b"head"), IoSlice::new(b"body")];
/// let written = tickwire::without_sigpipe(|| stream.write_vectored(&slices))?;
/// # assert_eq!(written, 8);
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn without_sigpipe<T>(call: impl FnOnce() -> T) -> T {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _blocked = blocked::Blocked::unless_ignored();
    call()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod blocked {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
    use std::{fs::File, io::Read, sync::OnceLock};

    /// While it lives, SIGPIPE is blocked in the thread that made it.
    pub(super) struct Blocked(());

    impl Blocked {
        /// If the action of SIGPIPE is unknown, it is blocked.
        #[inline]
        pub(super) fn unless_ignored() -> Option<Self> {
            static IGNORED: OnceLock<bool> = OnceLock::new();
            match IGNORED.get_or_init(|| is_ignored().unwrap_or(false)) {
                true => None,
                false => Self::new(),
            }
        }

        /// `None` if the thread had blocked SIGPIPE before: a pending one may then be the program's
        /// own, and `drop` must not remove it.
        #[cold]
        fn new() -> Option<Self> {
            let before = pipe().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
            (!before.contains(Signal::SIGPIPE)).then_some(Self(()))
        }
    }

    impl Drop for Blocked {
        /// Removes the SIGPIPE that a write may have raised, before the signal is delivered. No
        /// safe call tells whether a SIGPIPE is pending, and a wait for a signal that is not
        /// pending would never end. So this function first raises a SIGPIPE, then waits for it. If
        /// a SIGPIPE was pending already, the kernel keeps only one of the two.
        fn drop(&mut self) {
            if raise(Signal::SIGPIPE).is_ok() {
                let _ = pipe().wait();
            }
            let _ = pipe().thread_unblock();
        }
    }

    fn pipe() -> SigSet {
        SigSet::from(Signal::SIGPIPE)
    }

    /// No safe call tells the action of a signal, so we read the 33rd field of proc_pid_stat(5).
    fn is_ignored() -> Option<bool> {
        // For 33 fields: a name of at most 64 bytes, and short numbers.
        let mut stat = [0; 2048];
        let len = File::open("/proc/self/stat").and_then(|mut file| file.read(&mut stat)).ok()?;
        let stat = core::str::from_utf8(stat.get(..len)?).ok()?;
        // The second field, a name in parentheses, may have blanks and parentheses of its own.
        // `rest` begins with the third, so `nth(30)` is the 33rd.
        let (_, rest) = stat.rsplit_once(')')?;
        // A bit for each signal, the lowest for signal 1.
        let ignored: u64 = rest.split_ascii_whitespace().nth(30)?.parse().ok()?;
        Some(ignored >> (Signal::SIGPIPE as i32 - 1) & 1 == 1)
    }
}
