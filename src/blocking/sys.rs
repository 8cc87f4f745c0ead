//! System calls on a socket: calls that never wait, and one call that only waits. On Unix the
//! socket stays in blocking mode, so that a plain read can wait too.
use super::Interest;
use crate::socket::AsSocket;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    io::{self, IoSlice, Read},
    time::Duration,
};

/// Waits for the socket, on Windows by WSAPoll. It does not say which event occurred, because the
/// adapter tries its reads and writes again after every wait. A timeout that is too long for the
/// operating system means no limit.
pub(super) fn poll_socket(
    socket: &impl AsSocket,
    want: Interest,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, want.read);
    flags.set(PollFlags::OUT, want.write);
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut [PollFd::new(socket, flags)], timeout.as_ref()) {
        // A signal may interrupt even a `poll` with a timeout of zero. A wait may return early.
        Err(Errno::INTR) => Ok(()),
        polled => Ok(polled.map(|_| ())?),
    }
}

#[cfg(unix)]
mod calls {
    use super::*;
    use rustix::{
        fs::{OFlags, fcntl_getfl},
        net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg},
    };

    /// A write to a peer that is gone then fails without SIGPIPE.
    #[cfg(not(target_vendor = "apple"))]
    const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
    /// Apple's systems lack this flag. Instead, std sets SO_NOSIGPIPE on each socket that it opens.
    #[cfg(target_vendor = "apple")]
    const NO_SIGNAL: SendFlags = SendFlags::empty();

    #[inline]
    pub(in super::super) fn try_read(
        socket: &mut (impl AsSocket + Read),
        buf: &mut [u8],
    ) -> io::Result<usize> {
        Ok(recv(socket, buf, RecvFlags::DONTWAIT)?.1)
    }

    #[inline]
    pub(in super::super) fn try_write(
        socket: &mut impl AsSocket,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | NO_SIGNAL;
        Ok(match bufs {
            [bytes] => send(socket, bytes, flags)?,
            _ => sendmsg(socket, bufs, &mut SendAncillaryBuffer::default(), flags)?,
        })
    }

    /// If the user made the socket non-blocking, `WouldBlock` at once, because he wants no call to
    /// wait. The mode is read in each call, because he may change it. A timeout of zero does not
    /// wait, and ignores the mode.
    pub(in super::super) fn wait(
        socket: &impl AsSocket,
        want: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let waits = timeout != Some(Duration::ZERO);
        if waits && fcntl_getfl(socket)?.contains(OFlags::NONBLOCK) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        poll_socket(socket, want, timeout)
    }
}

/// Windows and WASI have no MSG_DONTWAIT, so `try_read` and `try_write` make the socket
/// non-blocking, and it stays so: even a plain read does not wait, and the adapter waits in `poll`.
/// Windows does not tell the mode of a socket, so if the user made it non-blocking, the adapter
/// still waits, while on Unix `wait` returns `WouldBlock`.
#[cfg(any(windows, target_os = "wasi"))]
mod calls {
    use super::*;
    use rustix::io::ioctl_fionbio;
    use std::io::Write;

    pub(in super::super) fn try_read(
        socket: &mut (impl AsSocket + Read),
        buf: &mut [u8],
    ) -> io::Result<usize> {
        ioctl_fionbio(&*socket, true)?;
        socket.read(buf)
    }

    pub(in super::super) fn try_write(
        socket: &mut (impl AsSocket + Write),
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        ioctl_fionbio(&*socket, true)?;
        socket.write_vectored(bufs)
    }

    pub(in super::super) use super::poll_socket as wait;
}

pub(super) use calls::{try_read, try_write, wait};
