#[cfg(feature = "client")]
use crate::dial::Dial;
use crate::{
    door::{Door, HealthChecks},
    receiving::Received,
    system::Stream,
};
use std::{io, net::SocketAddr, sync::Arc};
use tickwire::{
    CloseCode, CloseFrame, Config, Connection, Time,
    handshake::{
        HandshakeError::{BadMethod, NotUpgrade, OldHttpVersion},
        client, server,
    },
};
#[cfg(feature = "client")]
use tickwire_dial::{Lookup, Race};

/// And not dormant.
pub(crate) struct Open {
    pub(crate) conn: Connection,
    /// The stream's error. Bytes that arrived before it are delivered first.
    pub(crate) error: Option<io::Error>,
    pub(crate) received: Received,
}

impl Open {
    /// All connections together hold too many received bytes: Close 1013. `false` if receiving was
    /// over already.
    pub(crate) fn give_up(&mut self) -> bool {
        const WHY: &str = "too much received, try again later";
        self.received.until = None; // the connection waits no more
        self.conn.fail(CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, WHY)).is_ok()
    }
}

pub(crate) enum Stage {
    Free,
    /// The state is outside of the slot, for example in the turn of a connection that is not open.
    Turn,
    #[cfg(feature = "client")]
    Dialing(Box<Dialing>),
    Opening(Box<Opening>),
    /// Open, after a deferred request was accepted, but `Event::Open` is not delivered yet.
    Accepted(Box<Open>),
    /// `None` during its turn, which then owns the connection.
    Open(Option<Box<Open>>),
    /// Open and idle. `Slot::dormant` has its state.
    Dormant,
    Rejected(Box<Rejected>),
    /// Disconnected because of [`max_queued`](crate::Settings::max_queued), but `Event::Closed` is
    /// not delivered yet.
    OverQueued,
}

pub(crate) struct Opening {
    pub(crate) began: Time,
    pub(crate) handshake: server::Handshake,
    pub(crate) config: Arc<Config>,
    health_checks: HealthChecks,
    /// For a deferred request, which is rejected then.
    pub(crate) answer_by: Option<Time>,
    /// What was read of the header of the PROXY protocol. `None` if no header is to come.
    pub(crate) header: Option<Vec<u8>>,
}

impl Opening {
    /// `by_proxy`: a header of the PROXY protocol comes first.
    pub(crate) fn new(door: &Door, now: Time, by_proxy: bool) -> Box<Self> {
        let mut handshake = server::Handshake::new(&door.config);
        let _ = handshake.reading.handle_timeout(now); // starts the deadline
        let config = door.config.clone();
        let health_checks = door.health_checks.clone();
        let header = by_proxy.then(Vec::new);
        Box::new(Self { began: now, handshake, config, health_checks, answer_by: None, header })
    }

    /// The answer to a health check, if that is what the refused request was.
    pub(crate) fn health_check(&mut self) -> Option<server::Rejection> {
        // For a GET of HTTP/1.1, the handshake has checked Host and body. For other methods and
        // versions it ended before, so that is done here.
        let Err(error @ (OldHttpVersion | BadMethod | NotUpgrade)) = self.handshake.step() else {
            return None;
        };
        let request = self.handshake.request()?;
        let mut hosts = 0;
        for (name, value) in request.headers() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // Who asks for a WebSocket has to get the response that says what is wrong with the
            // request.
            let wants_websocket = is("Sec-WebSocket-Key")
                || is("Upgrade")
                    && value.to_ascii_lowercase().windows(9).any(|w| w == b"websocket");
            let has_body = is("Transfer-Encoding") || is("Content-Length") && value != b"0";
            if wants_websocket || has_body || is("Host") && value.is_empty() {
                return None;
            }
            hosts += u32::from(is("Host"));
        }
        // RFC 9112 §3.2: in HTTP/1.0, Host may be missing. §3.2.2: the target may name the host.
        // Both then have to agree, byte for byte where the handshake has not compared them.
        let agree =
            |host: &[u8]| request.host().is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(host));
        if !(hosts == 1 || hosts == 0 && error == OldHttpVersion)
            || !matches!(request.method(), "GET" | "HEAD" | "OPTIONS")
            || !(error == NotUpgrade || request.headers().get("Host").is_none_or(agree))
        {
            return None;
        }
        let found = self.health_checks.iter().find(|(path, _)| path == request.path());
        found.map(|(_, answer)| answer.clone())
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.handshake.reading.poll_timeout()
    }

    pub(crate) fn deferred(&self) -> Option<server::RequestHead<'_>> {
        self.answer_by.and_then(|_| self.handshake.request())
    }
}

/// The response is written, and what the client sends is read and dropped: left unread, it would
/// make the operating system reset the connection, and the client might not get the response.
pub(crate) struct Rejected {
    pub(crate) response: Vec<u8>,
    /// Of `response`, in bytes.
    pub(crate) said: usize,
    /// All is written and the stream is shut for writing.
    pub(crate) is_shut: bool,
    /// Then the stream is closed, whatever is left to do.
    pub(crate) until: Time,
}

#[cfg(feature = "client")]
pub(crate) struct Dialing {
    pub(crate) dial: Dial,
    pub(crate) began: Time,
    pub(crate) addresses: Addresses,
    /// Their streams are not in io_uring yet, so dropping one closes it.
    pub(crate) attempts: Vec<(SocketAddr, Stream)>,
    /// Once an attempt has connected.
    pub(crate) handshake: Option<client::Handshake>,
    /// The application closed the connection.
    pub(crate) given_up: bool,
}

#[cfg(feature = "client")]
pub(crate) enum Addresses {
    Sought(Lookup),
    /// Its times count from `Dialing::began`.
    Found(Race<io::Error>),
}

#[cfg(feature = "client")]
impl Dialing {
    pub(crate) fn deadline(&self) -> Time {
        self.began + self.dial.config.handshake_timeout
    }
}
