//! What is told, counted and waited for: before there is a connection, for each event, at its end.
use crate::{
    Result,
    input::Command,
    options::Options,
    print::{Look, Shown, millis, tell, warn},
    tally::Tally,
};
use std::{
    error, fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{Closed, Error, Event, Message, Negotiated, RoundTrip, handshake::client::Request};

/// The server has answered, and will not have us.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Refused {}

/// Says where it was that something went wrong before there was a connection.
pub(crate) fn not_connected(request: &Request, error: Error) -> Box<dyn error::Error> {
    match error {
        Error::Refused(_) => Box::new(Refused(error.to_string())), // says who speaks
        Error::NoTls => "wss:// needs TLS: add --features rustls".into(),
        _ => format!("{}: {error}", request.target().host_header()).into(),
    }
}

/// How long each step took on the way to a connection.
pub(crate) struct Steps {
    pub(crate) peer: SocketAddr,
    pub(crate) resolving: Duration,
    pub(crate) tcp: Duration,
    /// And what was agreed on.
    pub(crate) tls: Option<(Duration, String)>,
    pub(crate) handshake: Duration,
}

impl Steps {
    fn tell(&self, request: &Request, negotiated: &Negotiated) {
        let target = request.target();
        let resolving = millis(self.resolving);
        tell(format_args!("{} is {}, {resolving:.1} ms", target.host_header(), self.peer));
        tell(format_args!("TCP: {:.1} ms", millis(self.tcp)));
        if let Some((took, agreed)) = &self.tls {
            tell(format_args!("TLS: {:.1} ms, {agreed}", millis(*took)));
        }
        let subprotocol = negotiated.subprotocol.as_deref().unwrap_or("none");
        tell(format_args!(
            "handshake: {:.1} ms, subprotocol {}, {}",
            millis(self.handshake),
            Shown(subprotocol),
            extension(negotiated)
        ));
    }
}

fn extension(negotiated: &Negotiated) -> &'static str {
    #[cfg(feature = "deflate")]
    if negotiated.deflate.is_some() {
        return "permessage-deflate";
    }
    let _ = negotiated;
    "no extension"
}

/// A connection in conversation.
pub(crate) struct Session {
    look: Look,
    began: Instant,
    pub(crate) verbose: bool,
    take: Option<u64>,
    /// How many messages have arrived.
    taken: AtomicU64,
    /// Whether a message has come, or the Pong of a Ping of the input.
    answered: AtomicBool,
    /// When a message was last sent or came: nanoseconds after `began`.
    active: AtomicU64,
    /// The code of our own Close; 0 before it.
    said: AtomicU16,
    /// Where a summary is wanted.
    tally: Option<Mutex<Tally>>,
    /// The last round trip that was told of, in nanoseconds.
    told: AtomicU64,
}

impl Session {
    pub(crate) fn new(
        options: &Options,
        steps: &Steps,
        negotiated: &Negotiated,
    ) -> Result<Arc<Self>> {
        if options.verbose {
            steps.tell(&options.request, negotiated);
        }
        if let Some(name) = negotiated.subprotocol.as_deref() {
            options.look.subprotocol(name)?;
        }
        let tally = if options.summary { Some(Mutex::new(Tally::new()?)) } else { None };
        Ok(Arc::new(Self {
            look: options.look,
            began: Instant::now(),
            verbose: options.verbose,
            take: options.take,
            taken: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            active: AtomicU64::new(0),
            said: AtomicU16::new(0),
            tally,
            told: AtomicU64::new(0),
        }))
    }

    fn tally(&self, change: impl FnOnce(&mut Tally)) {
        if let Some(tally) = &self.tally {
            change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The payload of a Ping that leaves now: when that is.
    pub(crate) fn stamp(&self) -> [u8; 8] {
        self.now().to_be_bytes()
    }

    /// In nanoseconds.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Blocks until nothing was sent and nothing came for so long. Says so if nothing ever came.
    pub(crate) fn wait_for_silence(&self, wait: Duration) {
        let mut since = self.now(); // what was asked for last may still have to be sent
        while let Some(left) =
            (Duration::from_nanos(since) + wait).checked_sub(self.began.elapsed())
        {
            thread::sleep(left);
            since = self.active.load(Relaxed).max(since);
        }
        if !self.answered.load(Relaxed) {
            warn(format_args!("no answer came in {} s: see --wait", wait.as_secs_f64()));
        }
    }

    fn heard(&self) {
        self.answered.store(true, Relaxed);
        self.active.store(self.now(), Relaxed);
    }

    /// How long ago a Ping with this payload left; `None` if it cannot have been ours.
    fn since(&self, payload: &[u8]) -> Option<Duration> {
        let left = Duration::from_nanos(u64::from_be_bytes(payload.try_into().ok()?));
        self.began.elapsed().checked_sub(left)
    }

    /// What to do instead of `command`, which is about to be done: another thing once enough has
    /// arrived.
    pub(crate) fn doing(&self, command: Command, due: Instant) -> Command {
        let command = if self.has_enough() { Command::quit() } else { command };
        self.active.store(self.now(), Relaxed);
        if let Some(message) = command.message() {
            self.tally(|tally| tally.sent(message, due));
        }
        if let Command::Close(close) = &command {
            let code = close.as_ref().map_or(1005, |(code, _)| code.get());
            self.said.store(code, Relaxed);
        }
        command
    }

    fn has_enough(&self) -> bool {
        self.take.is_some_and(|take| self.taken.load(Relaxed) >= take)
    }

    /// Whether to close now, since enough has arrived.
    pub(crate) fn event(&self, event: Event<'_>) -> Result<bool> {
        match event {
            Event::Message(message) => return self.message(message),
            Event::Pong(payload) => {
                // Nobody asked for another one, but for `--verbose`.
                if let Some(took) = self.since(payload) {
                    self.heard();
                    self.look.pong(took)?;
                }
            }
            Event::Ping(_) => {}  // answered already
            Event::Close(_) => {} // see `ended`
        }
        Ok(false)
    }

    fn message(&self, message: Message<'_>) -> Result<bool> {
        if self.has_enough() {
            return Ok(false); // on its way before the Close was
        }
        self.taken.fetch_add(1, Relaxed);
        self.heard();
        self.tally(|tally| tally.received(message));
        self.look.message(message)?;
        Ok(self.has_enough())
    }

    /// Tells of round trips that `--verbose` asked for.
    pub(crate) fn rtt(&self, rtt: Option<RoundTrip>) {
        let Some(rtt) = rtt.filter(|_| self.verbose) else { return };
        let latest = u64::try_from(rtt.latest.as_nanos()).unwrap_or(u64::MAX);
        if self.told.swap(latest, Relaxed) != latest {
            tell(format_args!("round trip: {:.2} ms", millis(rtt.latest)));
        }
    }

    #[cfg(feature = "counters")]
    pub(crate) fn counters(&self, sent: tickwire::Traffic, received: tickwire::Traffic) {
        if !self.verbose {
            return;
        }
        for (what, traffic) in [("sent", sent), ("received", received)] {
            let percent = (100 * traffic.packed).checked_div(traffic.plain);
            let ratio = percent.map(|percent| format!(", compressed to {percent} %"));
            tell(format_args!(
                "{what}: {} messages, {} frames, {} bytes of payload, {} on the wire{}",
                traffic.messages,
                traffic.frames,
                traffic.payload,
                traffic.wire,
                ratio.unwrap_or_default()
            ));
        }
    }

    /// The exit status, after an end that may be clean or an error.
    pub(crate) fn ended(&self, received: Result<()>, closed: Option<Closed<'_>>) -> Result<u8> {
        let closed = closed.filter(|end| end.clean);
        if let (Ok(()), Some(end)) = (&received, closed) {
            self.look.close(end)?;
        }
        self.tally(|tally| {
            let _ = tally.lines().try_for_each(|line| self.look.note(format_args!("{line}")));
        });
        if self.verbose {
            tell(format_args!("open for {:.3} s", self.began.elapsed().as_secs_f64()));
        }
        received?;
        let Some(Closed { code, .. }) = closed else {
            return Err("the connection failed before the peer's Close was answered".into());
        };
        // The answer to a Close has its code.
        let fine = matches!(code, 1000 | 1001 | 1005) || code == self.said.load(Relaxed);
        let enough = self.take.is_none() || self.has_enough();
        Ok(match (fine, enough) {
            (true, true) => 0,
            (true, false) => 5,
            (false, _) => 4,
        })
    }
}
