//! Options of TCP sockets, as one value: for sockets that `connect` dials, and for
//! those that a server accepts.
//!
//! These are the system's own settings; this crate's timeouts and buffers are in
//! [`Config`](crate::Config). The crates `socket2` and `nix` set them.
pub(crate) mod arrival;
#[cfg_attr(not(target_os = "linux"), path = "no_kernel.rs")]
mod kernel;
pub(crate) mod stamped;

pub use stamped::Stamped;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
#[cfg(not(windows))]
pub(crate) use std::os::fd::AsFd as Handle;
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsSocket as Handle;
use std::{
    format, io,
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

/// Options of a TCP socket. All except [`nodelay`](Self::nodelay) keep the system's defaults
/// unless set here.
///
/// A client hands them to [`Dial::socket`](crate::Dial::socket); a server, and a
/// client with a stream of its own, [applies](Self::apply) them to the stream:
///
/// ```no_run
/// use std::{net::TcpListener, time::Duration};
/// use tickwire::{Config, SocketOptions, blocking::accept};
///
/// # fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = SocketOptions::default();
/// options.notsent_lowat = Some(16 << 10); // messages wait where `feed_first` can overtake them
/// options.user_timeout = Some(Duration::from_secs(20));
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (stream, _) = listener.accept()?;
/// options.apply(&stream)?;
/// let ws = accept(stream, &Config::default())?;
/// # Ok(())
/// # }
/// ```
///
/// If the system lacks an option that bounds a wait or memory
/// ([`user_timeout`](Self::user_timeout), parts of [`keepalive`](Self::keepalive)), setting it is an
/// error, `Unsupported`. If it lacks one that only makes things faster ([`quickack`](Self::quickack),
/// [`busy_poll`](Self::busy_poll) and the two behind it, [`incoming_cpu`](Self::incoming_cpu),
/// [`notsent_lowat`](Self::notsent_lowat)), that option does nothing, so that a program can be developed on another system than it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// TCP_NODELAY: small writes leave at once; default yes. Otherwise a write waits until the one
    /// before it is acknowledged, up to 40 ms with most peers (Nagle's algorithm). This crate sends
    /// messages that belong together in one write anyway.
    pub nodelay: bool,
    /// TCP_QUICKACK (Linux): acknowledge at once, not after up to 40 ms or along with an answer;
    /// default: the system decides as it goes. Good where the peer waits for acknowledgements, since
    /// it has no TCP_NODELAY; costs a segment for each read.
    ///
    /// It does not last: the system goes back to its own judgement after some segments. `connect`
    /// sets it when dialing and again when the connection is open; to keep it on, call
    /// [`quickack_now`](Self::quickack_now) after each receive.
    pub quickack: Option<bool>,
    /// SO_BUSY_POLL (Linux): how long a read that finds nothing polls the network card before
    /// it sleeps, in whole microseconds; default: `net.core.busy_read`, usually 0. About 50 µs
    /// is common. Takes that much of a core for each wait. More than the default needs the CAP_NET_ADMIN capability on
    /// some kernels, else `PermissionDenied`; 6.18 does not ask for it. The card's driver has to support it; over
    /// loopback it does nothing. To never sleep at all, use [`Spin`](crate::blocking::Spin).
    pub busy_poll: Option<Duration>,
    /// SO_PREFER_BUSY_POLL (Linux 5.11): the card's interrupts stay off as long as the program polls often enough, so that
    /// they do not disturb it; default no. To be set with [`busy_poll`](Self::busy_poll), and the card with
    /// `napi_defer_hard_irqs` and `gro_flush_timeout`. The latter is how long it waits for the program before it interrupts
    /// again, and so how long data may wait for a program that pauses. Needs the CAP_NET_ADMIN capability, else
    /// `PermissionDenied`.
    pub prefer_busy_poll: bool,
    /// SO_BUSY_POLL_BUDGET (Linux 5.11): the number of packets that one busy poll takes from the card at most; default:
    /// 8, or 0. Fewer bring the first one to the program sooner, more cost less each. Needs the CAP_NET_ADMIN capability
    /// unless 0, else `PermissionDenied`.
    pub busy_poll_budget: Option<u16>,
    /// SO_INCOMING_CPU (Linux): the processor, counted from 0, on which the card's interrupts, and so the program, handle
    /// the connections of this socket. Of listeners that share a port (SO_REUSEPORT), a new connection goes to the one
    /// with the processor that its first segment came in on. So it is for listeners; of an open connection the
    /// system itself keeps the value up to date.
    pub incoming_cpu: Option<usize>,
    /// TCP_NOTSENT_LOWAT (Linux): the stream takes no more while this many bytes are taken and not
    /// yet sent; default: `net.ipv4.tcp_notsent_lowat`, usually no bound but the send buffer's.
    /// 16 KiB to 128 KiB are common.
    ///
    /// The rest stays in the connection, where it counts in `buffered_amount`, and where
    /// Pongs, [`feed_first`](crate::Sender::feed_first) and conflation can still overtake it. The price
    /// is more wakeups.
    pub notsent_lowat: Option<u32>,
    /// TCP_USER_TIMEOUT (Linux): how long sent data may stay unacknowledged before the system gives
    /// the connection up, in milliseconds, at least 1; default: some 15 min. The stream then fails
    /// with `TimedOut`.
    ///
    /// Needs no waiting call and no Ping: it finds the dead peer of a program that only sends.
    /// If both ends are silent it notices nothing; for that there is the
    /// [heartbeat](crate::Heartbeat), or [`keepalive`](Self::keepalive), whose count of probes this
    /// option replaces.
    pub user_timeout: Option<Duration>,
    /// SO_KEEPALIVE: after `idle` without a segment the system probes the peer each `interval`, and
    /// gives the connection up after `probes` probes without an answer; default off. Whole
    /// seconds, at least 1; 1 to 127 probes.
    ///
    /// It shows that the peer's system is alive, not its program, and sees no further than a proxy; the
    /// [heartbeat](crate::Heartbeat) covers both. But it never wakes this program.
    pub keepalive: Option<Keepalive>,
    /// SO_SNDBUF: how much the system takes before the stream refuses more, in bytes; default: it
    /// grows automatically, on Linux to some 4 MiB. Linux doubles the value, keeps at least 4.5 KiB,
    /// silently bounds it by `net.core.wmem_max`, and stops adapting it.
    ///
    /// Less shows a slow peer earlier (`buffered_amount` does not see what the system has taken);
    /// less than bandwidth × round trip slows a fast one down.
    pub send_buffer: Option<usize>,
    /// SO_RCVBUF: how much the system receives ahead, in bytes; like
    /// [`send_buffer`](Self::send_buffer), but bounded by `net.core.rmem_max`. It has to be set before
    /// the connection is made, so a server applies it to its listener, whose streams inherit it.
    pub recv_buffer: Option<usize>,
    /// SO_TIMESTAMPING (Linux): the kernel says when received bytes arrived; default no. `connect` then makes a
    /// [`Stamped`] stream. [Applied](Self::apply) to a listener, it has the kernel stamp a connection from its
    /// first bytes; wrap the accepted stream in `Stamped` to read the times.
    pub timestamps: bool,
    /// The address to dial from, on a machine with several; default: the system picks one. The port is the
    /// system's choice. Of a name's addresses, only those of the same family, IPv4 or IPv6, are dialed; if there is none,
    /// that is an error, `NotFound`. [`apply`](Self::apply) leaves it alone.
    pub local_address: Option<IpAddr>,
}

/// When the system probes a silent peer. See [`SocketOptions::keepalive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long without a segment before the first probe. Whole seconds, at least 1.
    pub idle: Duration,
    /// The time between probes. Whole seconds, at least 1.
    pub interval: Duration,
    /// The number of unanswered probes that ends the connection, 1 to 127.
    pub probes: u32,
}

impl Default for SocketOptions {
    /// TCP_NODELAY on, everything else at the system's defaults.
    fn default() -> Self {
        Self {
            nodelay: true,
            quickack: None,
            busy_poll: None,
            prefer_busy_poll: false,
            busy_poll_budget: None,
            incoming_cpu: None,
            notsent_lowat: None,
            user_timeout: None,
            keepalive: None,
            send_buffer: None,
            recv_buffer: None,
            timestamps: false,
            local_address: None,
        }
    }
}

impl SocketOptions {
    /// Sets them on a stream or listener, of `std` or tokio.
    ///
    /// # Errors
    ///
    /// The system's error, prefixed by the option's name; `Unsupported` for an option that the system
    /// lacks, as described at [`SocketOptions`]. The options before it have been set.
    pub fn apply<S: Handle>(&self, socket: &S) -> io::Result<()> {
        let socket = &*SockRef::from(socket);
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes).map_err(name("SO_SNDBUF"))?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes).map_err(name("SO_RCVBUF"))?;
        }
        socket.set_tcp_nodelay(self.nodelay).map_err(name("TCP_NODELAY"))?;
        if let Some(keepalive) = self.keepalive {
            keepalive.apply(socket).map_err(name("SO_KEEPALIVE"))?;
        }
        if let Some(timeout) = self.user_timeout {
            user_timeout(socket, timeout).map_err(name("TCP_USER_TIMEOUT"))?;
        }
        if let Some(bytes) = self.notsent_lowat {
            notsent_lowat(socket, bytes).map_err(name("TCP_NOTSENT_LOWAT"))?;
        }
        if let Some(time) = self.busy_poll {
            busy_poll(socket, time).map_err(name("SO_BUSY_POLL"))?;
        }
        if self.prefer_busy_poll {
            kernel::prefer_busy_poll(socket).map_err(name("SO_PREFER_BUSY_POLL"))?;
        }
        if let Some(packets) = self.busy_poll_budget {
            kernel::busy_poll_budget(socket, packets).map_err(name("SO_BUSY_POLL_BUDGET"))?;
        }
        if let Some(cpu) = self.incoming_cpu {
            incoming_cpu(socket, cpu).map_err(name("SO_INCOMING_CPU"))?;
        }
        if self.timestamps {
            kernel::stamp_reads(socket).map_err(name("SO_TIMESTAMPING"))?;
        }
        if let Some(yes) = self.quickack {
            quickack(socket, yes).map_err(name("TCP_QUICKACK"))?;
        }
        Ok(())
    }

    /// Acknowledges received data at once, and continues to for a while: TCP_QUICKACK alone, one
    /// system call. Does nothing where the option does not exist.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn quickack_now<S: Handle>(socket: &S) -> io::Result<()> {
        quickack(&SockRef::from(socket), true)
    }

    /// Whether reads are to be stamped.
    pub(crate) fn stamps(&self) -> bool {
        self.timestamps && cfg!(target_os = "linux")
    }

    /// Whether this address can be dialed from the local one.
    pub(crate) fn reaches(&self, address: &SocketAddr) -> bool {
        self.local_address.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    }

    /// Sets them before a socket connects, since the first segment tells the peer about buffers.
    pub(crate) fn prepare<S: Handle>(&self, socket: &S) -> io::Result<()> {
        self.apply(socket)?;
        if let Some(local) = self.local_address {
            let local = SocketAddr::new(local, 0);
            SockRef::from(socket).bind(&local.into()).map_err(name("the local address"))?;
        }
        Ok(())
    }

    /// Dials with the options in place.
    pub(crate) fn dial(
        &self,
        address: &SocketAddr,
        timeout: Option<Duration>,
    ) -> io::Result<TcpStream> {
        let domain = Domain::for_address(*address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        self.prepare(&socket)?;
        // Without a timeout a signal would end the call.
        socket.connect_timeout(&(*address).into(), timeout.unwrap_or(Duration::MAX))?;
        Ok(socket.into())
    }
}

impl<S: Handle> Stamped<S> {
    /// Asks the kernel to stamp. On other systems than Linux nothing is stamped.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new(io: S) -> io::Result<Self> {
        let on = kernel::stamp_reads(&io).map_err(name("SO_TIMESTAMPING"))?;
        Ok(Self::wrap(io, on))
    }
}

/// Puts the name of an option before its error.
fn name(option: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{option}: {error}"))
}

impl Keepalive {
    fn apply(self, socket: &Socket) -> io::Result<()> {
        let seconds = |d: Duration| {
            let up = u64::from(d.subsec_nanos() > 0);
            Duration::from_secs(d.as_secs().saturating_add(up).max(1))
        };
        let keepalive = TcpKeepalive::new().with_time(seconds(self.idle));
        #[cfg(any(
            target_vendor = "apple",
            target_os = "android",
            target_os = "freebsd",
            target_os = "linux",
            windows
        ))]
        return socket.set_tcp_keepalive(
            &keepalive.with_interval(seconds(self.interval)).with_retries(self.probes.max(1)),
        );
        #[allow(unreachable_code)] // where the interval cannot be set
        Err(lacking(&(socket, keepalive, self.interval, self.probes)))
    }
}

// Options that some systems lack.

fn user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    let timeout = timeout.max(Duration::from_millis(1)); // zero is the default
    #[cfg(any(target_os = "android", target_os = "linux"))]
    return socket.set_tcp_user_timeout(Some(timeout));
    #[allow(unreachable_code)]
    Err(lacking(&(socket, timeout)))
}

fn notsent_lowat(socket: &Socket, bytes: u32) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_notsent_lowat(bytes)?;
    let _ = (socket, bytes);
    Ok(())
}

fn busy_poll(socket: &Socket, time: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket.set_busy_poll(time.as_micros().min(i32::MAX as u128) as u32)?;
    let _ = (socket, time);
    Ok(())
}

fn incoming_cpu(socket: &Socket, cpu: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket.set_cpu_affinity(cpu)?;
    let _ = (socket, cpu);
    Ok(())
}

fn quickack(socket: &Socket, yes: bool) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_quickack(yes)?;
    let _ = (socket, yes);
    Ok(())
}

/// This system has no such option, and so no use for these.
fn lacking<T>(_: &T) -> io::Error {
    io::ErrorKind::Unsupported.into()
}
