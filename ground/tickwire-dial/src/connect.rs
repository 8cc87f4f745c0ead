use crate::{Failure, Step};
use alloc::vec::Vec;
use core::{net::SocketAddr, time::Duration};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::TcpStream};

/// Connects from a thread. `next`, usually a [`Race`](crate::Race), decides which addresses to try,
/// and when. Closes all attempts except the first that connects. Needs the feature `blocking`.
///
/// `next` gets the time from `elapsed`. If an attempt has failed since the last call, `next` also
/// gets the address of this attempt, and why it failed. `next` returns what to do now. `prepare`
/// gets each socket before the socket connects. If `prepare` returns an error, the attempt has
/// failed. To give up at a deadline, return no later [`Step::Wait`] from `next`, and then an error.
///
/// ```
/// use std::{io, net::TcpListener, time::{Duration, Instant}};
/// use tickwire_dial::{Failure, Race, connect};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let open = listener.local_addr()?;
/// let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
/// let mut race = Race::<io::Error>::new([closed, open], Duration::from_millis(250));
/// let began = Instant::now();
/// let next = |now, failed: Option<(_, Failure)>| {
///     if let Some((address, failure)) = failed {
///         race.failed(address, failure.into_error(address));
///     }
///     race.next(now).ok_or_else(|| io::ErrorKind::HostUnreachable.into())
/// };
/// let tcp = connect(|| began.elapsed(), next, |_| Ok(()))?;
/// assert_eq!(tcp.peer_addr()?, open);
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Errors
///
/// The errors of `next`, of poll(2), and of the call that makes the connected socket block. Only
/// `next` hears of a failed attempt.
pub fn connect(
    elapsed: impl Fn() -> Duration,
    mut next: impl FnMut(Duration, Option<(SocketAddr, Failure)>) -> io::Result<Step>,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<TcpStream> {
    let mut under_way: Vec<(SocketAddr, Socket)> = Vec::new();
    let mut failed = None;
    loop {
        let until = match next(elapsed(), failed.take())? {
            Step::Connect(to) => {
                match begin(to, &prepare) {
                    Ok(socket) => under_way.push((to, socket)),
                    Err(failure) => failed = Some((to, failure)),
                }
                continue;
            }
            Step::Wait(until) => until.map(|until| until.saturating_sub(elapsed())),
        };
        let Some(at) = first_ready(&under_way, until)? else { continue };
        // The order of the attempts does not matter. `take_error` says whether this one failed.
        let (to, socket) = under_way.swap_remove(at);
        match socket.take_error().and_then(|failed| failed.map_or(Ok(()), Err)) {
            Ok(()) => {
                ioctl_fionbio(&socket, false)?; // the caller's thread blocks from now on
                return Ok(socket.into());
            }
            Err(error) => failed = Some((to, Failure::Connect(error))),
        }
    }
}

fn begin(to: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> Result<Socket, Failure> {
    let socket = prepared(to, prepare).map_err(Failure::Prepare)?;
    match socket.connect(&to.into()) {
        // INPROGRESS on Unix, WOULDBLOCK on Windows, for a connect that has begun.
        Err(error)
            if !matches!(
                Errno::from_io_error(&error),
                Some(Errno::INPROGRESS | Errno::WOULDBLOCK)
            ) =>
        {
            Err(Failure::Connect(error))
        }
        _ => Ok(socket),
    }
}

fn prepared(to: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket)?;
    // After `prepare`, which could make the socket block again. By `ioctl`, because under WASI the
    // `fcntl` of `Socket::set_nonblocking` fails.
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The index of an attempt that has ended. `None` after `timeout` or a signal. Without a `timeout`,
/// or beyond the system's range, waits for ever.
fn first_ready(
    attempts: &[(SocketAddr, Socket)],
    timeout: Option<Duration>,
) -> io::Result<Option<usize>> {
    let mut sockets: Vec<_> =
        attempts.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::OUT)).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut sockets, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(sockets.iter().position(|socket| !socket.revents().is_empty()))
}
