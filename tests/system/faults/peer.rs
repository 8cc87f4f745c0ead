//! The far end of a stream in memory: the core, with TLS around it if need be, that reacts at once
//! to what was written to it. So a conversation with it needs no second thread and no time.
use crate::support::talk::{Part, Report, Said, at_once};
use bytes::Buf;
use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::Arc,
};
use tickwire::{
    Config, Connection, Ending, Error, OwnedMessage, RecvError, Role, Step, SystemEntropy,
    handshake::{
        HandshakeError, Progress,
        client::{self, Request},
        server::{self, Accept},
    },
    tls::rustls,
};

/// How the conversation ends, where nothing is wrong with the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Closing {
    /// We close, when all was said.
    Ours,
    /// The peer does.
    Theirs,
    /// The peer, while we still have something to say.
    TheirsEarly,
    /// Both, before either has seen the other's.
    Crossing,
    /// The peer breaks the protocol.
    Violation,
    /// The peer ends the stream.
    HangUp,
    /// The peer says nothing more.
    Silence,
}

/// What each side has to say.
const LENGTHS: [usize; 5] = [3, 130, 300, 5000, 0];

impl Closing {
    pub fn ours(self) -> Part {
        let closes_after = match self {
            Self::Ours => Some(LENGTHS.len()),
            Self::Crossing => Some(3),
            _ => None,
        };
        Part {
            says: crate::support::talk::messages('s', &LENGTHS),
            hears: LENGTHS.len(),
            closes_after,
        }
    }

    /// After how many of our messages the peer ends its side.
    fn theirs(self) -> Option<usize> {
        match self {
            Self::Ours => None,
            Self::TheirsEarly => Some(2),
            Self::Crossing => Some(3),
            Self::Theirs | Self::Violation | Self::HangUp | Self::Silence => Some(LENGTHS.len()),
        }
    }
}

enum Stage {
    Serving(server::Handshake),
    Dialing(client::Handshake),
    Open(Box<Connection>),
    /// Nothing more is understood.
    Over,
}

pub struct Peer {
    config: Config,
    stage: Stage,
    tls: Option<rustls::Connection>,
    closing: Closing,
    says: VecDeque<OwnedMessage>,
    said: Said,
    heard: Vec<OwnedMessage>,
    end: Option<Result<(), Error>>,
    clean: bool,
    /// What it wrote and we have not read.
    pub wire: VecDeque<u8>,
    /// Nothing follows that.
    pub shut: bool,
    /// Our side has ended.
    deaf: bool,
    /// All of its frames, and the response, as TLS got them.
    pub output: Vec<u8>,
    /// What it got of ours, as it was before TLS.
    pub got: Vec<u8>,
}

impl Peer {
    /// As this role.
    pub fn new(
        role: Role,
        config: &Config,
        tls: Option<rustls::Connection>,
        closing: Closing,
    ) -> Self {
        let stage = match role {
            Role::Server => Stage::Serving(server::Handshake::new(config)),
            Role::Client => {
                let request = Request::new("ws://localhost/").unwrap();
                let entropy = SystemEntropy::new().unwrap();
                Stage::Dialing(client::Handshake::new(&request, config, entropy))
            }
        };
        let mut this = Self {
            config: config.clone(),
            stage,
            tls,
            closing,
            says: crate::support::talk::messages('p', &LENGTHS).into(),
            said: Said::default(),
            heard: vec![],
            end: None,
            clean: false,
            wire: VecDeque::new(),
            shut: false,
            deaf: false,
            output: vec![],
            got: vec![],
        };
        this.go_on();
        this
    }

    /// Bytes of ours, as they are on the wire.
    pub fn take(&mut self, mut bytes: &[u8]) {
        if self.tls.is_none() {
            return self.take_plain(bytes);
        }
        while let Some(tls) = self.tls.as_mut().filter(|_| !bytes.is_empty()) {
            tls.read_tls(&mut bytes).unwrap();
            let state = tls.process_new_packets().expect("TLS that is not broken by us");
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plain).unwrap();
            self.take_plain(&plain);
        }
        self.go_on(); // the handshake of TLS
    }

    fn take_plain(&mut self, mut bytes: &[u8]) {
        self.got.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let spare = match &mut self.stage {
                Stage::Serving(handshake) => handshake.reading.spare_mut(),
                Stage::Dialing(handshake) => handshake.reading.spare_mut(),
                Stage::Open(conn) => conn.receiver_mut().spare_mut(),
                Stage::Over => return,
            };
            let n = spare.len().min(bytes.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            match &mut self.stage {
                Stage::Serving(handshake) => handshake.reading.commit(n),
                Stage::Dialing(handshake) => handshake.reading.commit(n),
                Stage::Open(conn) => conn.receiver_mut().commit(n),
                Stage::Over => {}
            }
            self.go_on();
        }
    }

    /// Our side of the stream has ended.
    pub fn hang_up(&mut self) {
        if std::mem::replace(&mut self.deaf, true) {
            return;
        }
        match &mut self.stage {
            Stage::Serving(handshake) => handshake.reading.end_of_stream(),
            Stage::Dialing(handshake) => handshake.reading.end_of_stream(),
            Stage::Open(conn) => conn.receiver_mut().end_of_stream(),
            Stage::Over => {}
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        self.shake_hands();
        self.converse();
        self.emit();
    }

    fn shake_hands(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let (stage, error) = match stage {
            Stage::Serving(mut handshake) => match handshake.step() {
                Ok(Progress::Complete) => match handshake.accept(Accept::default()) {
                    Ok(conn) => (Stage::Open(conn.into()), None),
                    Err(error) => (Stage::Over, Some(error)),
                },
                Ok(Progress::Partial) => (Stage::Serving(handshake), None),
                Err(error) => (Stage::Over, Some(error)),
            },
            Stage::Dialing(mut handshake) => {
                let tls_waits = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
                let request = handshake.outgoing().to_vec();
                if !request.is_empty() && !tls_waits {
                    handshake.advance(request.len());
                    self.utter(&request);
                }
                match handshake.step() {
                    Ok(Progress::Complete) => match handshake.into_connection() {
                        Ok(conn) => (Stage::Open(conn.into()), None),
                        Err(error) => (Stage::Over, Some(error)),
                    },
                    Ok(Progress::Partial) => (Stage::Dialing(handshake), None),
                    Err(error) => (Stage::Over, Some(error)),
                }
            }
            other => (other, None),
        };
        self.stage = stage;
        if let Some(error) = error {
            // What a server answers that could not read the request, to its end or in time.
            let refused = |status| error == HandshakeError::Refused { status };
            let ours = error == HandshakeError::UnexpectedEof || refused(400) || refused(408);
            assert!(ours, "a handshake that we broke: {error}");
            self.end = Some(Err(error.into()));
            self.shut = true;
        }
        // One message ahead, so that we never wait for the peer.
        if matches!(self.stage, Stage::Open(_)) && self.said.fed.is_empty() {
            self.say();
            self.say();
        }
    }

    fn say(&mut self) {
        if let (Stage::Open(conn), Some(message)) = (&mut self.stage, self.says.pop_front()) {
            at_once(self.said.say(&mut conn.sender_mut(), &message));
        }
    }

    fn converse(&mut self) {
        loop {
            let Stage::Open(conn) = &mut self.stage else { return };
            if self.end.is_some() {
                return self.part();
            }
            match conn.step() {
                Ok(Step::Message) => {
                    self.heard.extend(conn.receiver_mut().take_message());
                    self.say();
                    if Some(self.heard.len()) == self.closing.theirs() {
                        self.finish();
                    }
                }
                Ok(Step::NeedInput) => return self.flush(),
                Ok(Step::Closed) => self.end = Some(Ok(())),
                Ok(_) => {}
                Err(error) => self.end = Some(Err(error.into())),
            }
        }
    }

    /// Ends its side, in whatever way.
    fn finish(&mut self) {
        let Stage::Open(conn) = &mut self.stage else { return };
        match self.closing {
            Closing::Violation => {
                self.flush();
                let masked = matches!(&self.stage, Stage::Open(c) if c.role() == Role::Client);
                self.utter(&[0xf2, if masked { 0x80 } else { 0 }, 0, 0, 0, 0]);
            }
            Closing::HangUp => {
                self.flush();
                self.emit();
                self.shut = true;
            }
            Closing::Silence => {
                self.flush();
                self.stage = Stage::Over;
            }
            _ => at_once(self.said.close(&mut conn.sender_mut())),
        }
    }

    fn flush(&mut self) {
        let mut bytes = vec![];
        if let Stage::Open(conn) = &mut self.stage {
            let mut out = conn.sender_mut().outgoing();
            bytes.resize(out.remaining(), 0);
            out.copy_to_slice(&mut bytes);
        }
        self.utter(&bytes);
    }

    /// As an adapter ends it.
    fn part(&mut self) {
        loop {
            let Stage::Open(conn) = &mut self.stage else { return };
            match conn.ending() {
                Ending::Flush => self.flush(),
                Ending::ShutDown => {
                    conn.report(tickwire::Report::ShutDown);
                    self.goodbye();
                }
                Ending::Discard if !self.deaf => return,
                Ending::Discard => conn.receiver_mut().end_of_stream(),
                Ending::Done => break,
            }
        }
        if let Stage::Open(conn) = &self.stage {
            self.clean = conn.closed().is_some_and(|end| end.clean);
        }
        self.goodbye();
        self.stage = Stage::Over;
    }

    fn goodbye(&mut self) {
        if let Some(tls) = self.tls.as_mut().filter(|_| !self.shut) {
            tls.send_close_notify();
        }
        self.emit();
        self.shut = true;
    }

    fn utter(&mut self, plain: &[u8]) {
        if self.shut {
            return;
        }
        self.output.extend(plain);
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(plain).unwrap(),
            None => self.wire.extend(plain),
        }
    }

    fn emit(&mut self) {
        while let Some(tls) = self.tls.as_mut().filter(|tls| !self.shut && tls.wants_write()) {
            let mut wire = vec![];
            tls.write_tls(&mut wire).unwrap();
            self.wire.extend(wire);
        }
    }

    /// What came of it, once our side is gone.
    pub fn report(&mut self) -> Report {
        self.hang_up();
        let Self { said, heard, end, clean, .. } = self;
        let end = end.take().unwrap_or(Err(RecvError::UnexpectedEof.into()));
        let said = std::mem::take(said);
        let clean = *clean;
        let mut nobody = Connection::server(&self.config, Default::default());
        said.report(&mut nobody.sender_mut(), std::mem::take(heard), end, clean)
    }
}

/// A session of TLS for the peer.
pub fn session(
    role: Role,
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
) -> rustls::Connection {
    match role {
        Role::Server => rustls::ServerConnection::new(server.clone()).unwrap().into(),
        Role::Client => {
            let name = "localhost".try_into().unwrap();
            rustls::ClientConnection::new(client.clone(), name).unwrap().into()
        }
    }
}
