use core::{fmt, net::SocketAddr};
use std::{
    error::Error,
    io::{self, ErrorKind},
};

/// Why an attempt to connect has failed, by the operation that failed. Needs the feature `std`.
#[derive(Debug)]
pub enum Failure {
    /// There was no socket, or the hook that prepares it returned an error.
    Prepare(io::Error),
    /// connect(2) returned an error, at once or later.
    Connect(io::Error),
}

impl Failure {
    /// The error of the attempt to connect to `to`, with a kind that tells whether the way to the
    /// address or the program is at fault.
    ///
    /// After connect(2), `PermissionDenied` and `InvalidInput` become `HostUnreachable`, with the
    /// system's error as the source. EACCES and EPERM say that a firewall, a routing rule, or a VPN
    /// that connects again, forbids the way; EINVAL that the way leads into a black hole. All of
    /// them pass without a change of the program. EINVAL stays `InvalidInput` for a link-local IPv6
    /// address without a zone.
    pub fn into_error(self, to: SocketAddr) -> io::Error {
        let error = match self {
            Self::Prepare(error) => return error,
            Self::Connect(error) => error,
        };
        let needs_zone = match to {
            SocketAddr::V6(to) => to.ip().is_unicast_link_local() && to.scope_id() == 0,
            SocketAddr::V4(_) => false,
        };
        match error.kind() {
            ErrorKind::InvalidInput if needs_zone => error,
            ErrorKind::InvalidInput | ErrorKind::PermissionDenied => {
                io::Error::new(ErrorKind::HostUnreachable, NoWay(error))
            }
            _ => error,
        }
    }
}

/// Shows and has as its source the system's error.
#[derive(Debug)]
struct NoWay(io::Error);

impl fmt::Display for NoWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NoWay {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
