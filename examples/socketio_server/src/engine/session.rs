//! What one client and the server say to each other: a state machine without I/O and clock, as the
//! core of the crate below it is one. It does not know how its messages travel.
//!
//! ```text
//! message --> packet --> 4, binary --> Layer: what the messages are for
//!                |
//!                1 close, 2 ping, 3 pong
//! ```
//!
//! What is to be sent goes into the [`Mailbox`].
use super::{
    End, Opening, PING, Packet,
    heartbeat::{Beat, Heartbeat},
    mailbox::Mailbox,
    session_id,
};
use crate::settings::Settings;
use std::sync::Arc;
use tickwire::{Message, Time};

/// What Engine.IO carries messages for: one client's part of it.
pub trait Layer: Send {
    /// A text has come.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    fn text(&mut self, text: &str, now: Time) -> Result<(), End>;

    /// Bytes have come.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    fn binary(&mut self, bytes: &[u8], now: Time) -> Result<(), End>;

    /// Nobody has read for a while: what the client owes may have come.
    fn excuse(&mut self, _now: Time) {}

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Tells the time; also when others have put something into the mailbox.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    fn handle_timeout(&mut self, _now: Time) -> Result<(), End> {
        Ok(())
    }

    /// The session is over, for this reason in Socket.IO's words.
    fn end(&mut self, _reason: &str, _now: Time) {}
}

/// Makes a [`Layer`] for each client. What is to be sent goes into the mailbox.
pub type Layers = dyn Fn(Opening, &Arc<Mailbox>, Time) -> Box<dyn Layer> + Send + Sync;

/// One client's session.
pub struct Session {
    opening: Opening,
    sid: String,
    heartbeat: Heartbeat,
    mailbox: Arc<Mailbox>,
    layer: Box<dyn Layer>,
}

impl Session {
    /// Begins: the first packet is in the mailbox.
    ///
    /// # Errors
    ///
    /// When the system has no entropy for an id.
    pub fn new(
        layers: &Layers,
        settings: &Settings,
        opening: Opening,
        now: Time,
    ) -> Result<Self, getrandom::Error> {
        let sid = session_id()?;
        let mailbox = Arc::new(Mailbox::new(settings.max_backlog));
        mailbox.push_engine(open(&sid, opening, settings));
        let heartbeat = Heartbeat::new(opening.revision, settings, now);
        let layer = layers(opening, &mailbox, now);
        Ok(Self { opening, sid, heartbeat, mailbox, layer })
    }

    /// The id by which requests name it.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// With what the client came.
    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// Where what is to be sent waits.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// A message has come.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    pub fn receive(&mut self, message: Message<'_>, now: Time) -> Result<(), End> {
        let packet = Packet::parse(self.opening.revision, message)?;
        self.heartbeat.heard(now);
        match packet {
            Packet::Text(text) => self.layer.text(text, now)?,
            Packet::Binary(bytes) => self.layer.binary(bytes, now)?,
            Packet::Pong => self.heartbeat.pong(now),
            Packet::Ping(data) => self.mailbox.push_engine(format!("3{data}")),
            Packet::Close => return Err(End::Closed),
        }
        Ok(())
    }

    /// Nobody has read for a while, because the client was behind: what it owes may have come.
    pub fn excuse(&mut self, now: Time) {
        self.heartbeat.excuse(now);
        self.layer.excuse(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Time {
        let beat = self.heartbeat.poll_timeout();
        self.layer.poll_timeout().map_or(beat, |by| beat.min(by))
    }

    /// Tells the time.
    ///
    /// # Errors
    ///
    /// The [`End`] of the session.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), End> {
        match self.heartbeat.handle_timeout(now) {
            Beat::Nothing => {}
            Beat::Ping => self.mailbox.push_engine(PING),
            Beat::Dead => return Err(End::PingTimeout),
        }
        self.layer.handle_timeout(now)
    }

    /// It is over, for this reason in Socket.IO's words.
    pub fn end(&mut self, reason: &str, now: Time) {
        self.layer.end(reason, now);
    }
}

/// The first packet.
fn open(sid: &str, opening: Opening, settings: &Settings) -> String {
    let (interval, timeout) =
        (settings.ping_interval.as_millis(), settings.ping_timeout.as_millis());
    let (upgrades, most) =
        (if opening.polling { r#"["websocket"]"# } else { "[]" }, settings.max_payload);
    format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{interval},\
         \"pingTimeout\":{timeout},\"maxPayload\":{most}}}"
    )
}
