//! What is told, counted and waited for: before there is a connection, for each event, at its end.
use crate::{
    Result,
    input::Command,
    options::Options,
    print::{Hex, Shown, millis, print, tell, warn},
};
use std::{
    error, fmt,
    fmt::Write,
    sync::{
        Arc,
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

/// A connection in conversation.
pub(crate) struct Session {
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
    /// The last round trip that was told of, in nanoseconds.
    told: AtomicU64,
}

impl Session {
    pub(crate) fn new(options: &Options, negotiated: &Negotiated) -> Result<Arc<Self>> {
        if let Some(name) = negotiated.subprotocol.as_deref() {
            print(format_args!("subprotocol: {name}"))?;
        }
        Ok(Arc::new(Self {
            began: Instant::now(),
            verbose: options.verbose,
            take: options.take,
            taken: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            active: AtomicU64::new(0),
            said: AtomicU16::new(0),
            told: AtomicU64::new(0),
        }))
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
    pub(crate) fn doing(&self, command: Command) -> Command {
        let command = if self.has_enough() { Command::quit() } else { command };
        self.active.store(self.now(), Relaxed);
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
                    print(format_args!("pong {:.1} ms", millis(took)))?;
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
        match message {
            Message::Text(text) => print(format_args!("{}", Shown(text)))?,
            Message::Binary(bytes) => print(format_args!("binary: {}", Hex(bytes)))?,
        }
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
            let mut line = format!("closed: {}", end.code);
            if !end.reason.is_empty() {
                write!(line, " {}", Shown(end.reason))?;
            }
            print(format_args!("{line} (clean)"))?;
        }
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
