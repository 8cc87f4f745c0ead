//! How a peer may end TLS, and what has to come of it in each state of the conversation. The table
//! is written from RFC 6455, RFC 9846 §6.1 and the documentation. For these tests, and those of
//! `tickwire-loop`.
use super::raw::Raw;
use socket2::SockRef;
use std::{
    fmt::Debug,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};
use testkit::{
    frames::{BINARY, CLOSE, KEY, TEXT, TEXT_OPEN, close_body, frame, frame_len},
    sampled,
    tls::Identity,
};
use tickwire::{
    CloseCode, Closed, Error, RecvError, Role, Sender,
    tls::rustls::{
        self, ClientConfig, ServerConfig,
        crypto::CryptoProvider,
        version::{TLS12, TLS13},
    },
};

/// What has been said when the peer ends TLS. In each state, the peer has sent the text "theirs".
/// "We" are the end under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// The peer has read a text of ours.
    Answered,
    InMessage,
    InFrame,
    /// The peer has read our Close.
    WeClosed,
    /// The peer's Close comes with its end.
    PeerCloses,
    /// The peer has sent its Close, and read ours.
    BothPeerFirst,
    /// The peer has read our Close, and its own comes with its end.
    BothWeFirst,
    /// We have more to send than the sockets hold, and the peer has read nothing.
    Unsent,
}

pub(crate) const STATES: [State; 9] = [
    State::Open,
    State::Answered,
    State::InMessage,
    State::InFrame,
    State::WeClosed,
    State::PeerCloses,
    State::BothPeerFirst,
    State::BothWeFirst,
    State::Unsent,
];

/// How the peer ends TLS or, without TLS, TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// And TCP stays open.
    Notify,
    NotifyFin,
    Fin,
    Reset,
    /// A fatal alert, then FIN.
    Alert,
    /// A record that the peer's key has not sealed; TCP stays open.
    BadRecord,
    /// A close_notify with bytes behind it that are no record, then FIN.
    NotifyJunk,
}

const ENDS: [End; 7] = [
    End::Notify,
    End::NotifyFin,
    End::Fin,
    End::Reset,
    End::Alert,
    End::BadRecord,
    End::NotifyJunk,
];

/// What our receiving call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    InOrder,
    UnexpectedEof,
    Io,
    Tls,
}

impl Ended {
    pub(crate) fn by(error: &Error) -> Self {
        match error {
            Error::Recv(RecvError::UnexpectedEof) => Self::UnexpectedEof,
            Error::Io(_) => Self::Io,
            Error::Tls(_) => Self::Tls,
            other => panic!("{other:?}"),
        }
    }
}

/// What our application gets to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) messages: Vec<String>,
    pub(crate) ended: Ended,
    pub(crate) code: u16,
    pub(crate) clean: bool,
}

impl Fate {
    pub(crate) fn new(messages: Vec<String>, ended: Ended, closed: Option<&Closed<'_>>) -> Self {
        let (code, clean) = closed.map_or((1006, false), |closed| (closed.code, closed.clean));
        Self { messages, ended, code, clean }
    }
}

/// How our TLS ended, as the peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    Notify,
    Alert,
    /// TCP ended without either.
    Cut,
}

/// More than TLS and a socket of which `narrow` has set the buffer hold.
const FLOOD: usize = 1 << 20;
const THEIR_CODE: u16 = 1001;

impl State {
    /// What our application does first.
    pub(crate) fn begin(self, tx: &mut Sender) {
        match self {
            Self::Answered => drop(tx.feed("ours").unwrap()),
            Self::WeClosed | Self::BothWeFirst => tx.close(CloseCode::NORMAL).unwrap(),
            Self::Unsent => drop(tx.feed(vec![0; FLOOD]).unwrap()),
            _ => {}
        }
    }

    fn are_both_closed(self) -> bool {
        matches!(self, Self::PeerCloses | Self::BothPeerFirst | Self::BothWeFirst)
    }

    /// Whether our application got to know what it should. A reset may overtake what the peer has
    /// sent and we have not read. Before we have written our Close, a reset, a fatal alert or a bad
    /// record may keep us from it.
    fn is_right(self, end: End, fate: &Fate) -> bool {
        let Fate { messages, ended, code, clean } = fate;
        let breaks = matches!(end, End::Reset | End::Alert | End::BadRecord);
        let is_unread = matches!(self, Self::PeerCloses | Self::BothWeFirst)
            && end == End::Reset
            && *ended == Ended::Io;
        let delivered = *messages == ["theirs"] || (messages.is_empty() && end == End::Reset);
        if self.are_both_closed() && !is_unread {
            // RFC 6455 §7.1.5; §7.1.4 of `clean`.
            let is_clean = *clean || (self == Self::PeerCloses && breaks);
            return delivered && *ended == Ended::InOrder && *code == THEIR_CODE && is_clean;
        }
        let why = match end {
            // The doc of `RecvError::UnexpectedEof`: with or without a close_notify.
            End::Notify | End::NotifyFin | End::NotifyJunk | End::Fin => Ended::UnexpectedEof,
            End::Reset => Ended::Io,
            End::Alert | End::BadRecord => Ended::Tls,
        };
        delivered && *ended == why && *code == 1006 && !clean
    }

    /// How our TLS has to end. `None`: in any way.
    fn last(self, end: End) -> Option<Last> {
        match end {
            // The sockets are full.
            _ if self == Self::Unsent => None,
            // RFC 9846 §6.1: each end sends a close_notify before it ends TCP.
            End::Notify | End::NotifyFin | End::NotifyJunk => Some(Last::Notify),
            // Behind both Closes too. Before, the stream was cut off: our end fails.
            End::Fin => self.are_both_closed().then_some(Last::Notify),
            // §6.2. Our close_notify may have left before.
            End::BadRecord => (!self.are_both_closed()).then_some(Last::Alert),
            End::Reset | End::Alert => None,
        }
    }
}

/// What both ends speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Tcp,
    Tls12,
    Tls13,
    /// TLS 1.3, whose records our end opens in place.
    InPlace,
}

pub(crate) const LAYERS: [Layer; 4] = [Layer::Tcp, Layer::Tls12, Layer::Tls13, Layer::InPlace];

/// The configurations of both ends. `None` without TLS.
pub(crate) type Keys = Option<(Arc<ClientConfig>, Arc<ServerConfig>)>;

impl Layer {
    pub(crate) fn keys(self, provider: CryptoProvider) -> Keys {
        let version = match self {
            Self::Tcp => return None,
            Self::Tls12 => &TLS12,
            Self::Tls13 | Self::InPlace => &TLS13,
        };
        let provider = Arc::new(provider);
        let identity = Identity::self_signed(&["localhost"]);
        let client = ClientConfig::builder_with_provider(provider.clone());
        let client = client.with_protocol_versions(&[version]).unwrap();
        let mut client = client.with_root_certificates(identity.roots()).with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let mut server =
            server.with_single_cert(identity.chain.clone(), identity.private()).unwrap();
        client.enable_secret_extraction = self == Self::InPlace;
        server.enable_secret_extraction = self == Self::InPlace;
        Some((Arc::new(client), Arc::new(server)))
    }

    pub(crate) fn cells(self) -> Vec<(State, End)> {
        let ends: &[End] = match self {
            Self::Tcp => &[End::Fin, End::Reset],
            _ => &ENDS,
        };
        STATES.iter().flat_map(|state| ends.iter().map(|end| (*state, *end))).collect()
    }
}

/// Whether a carrier meets this case: each of its cells comes over one of the layers of TLS and in
/// one role, and over TCP in one role. With `TESTS=all` each case.
pub(crate) fn is_drawn(
    carrier: usize,
    layer: Layer,
    role: Role,
    (state, end): (State, End),
) -> bool {
    let cell = carrier + state as usize * ENDS.len() + end as usize;
    let turn = match layer {
        Layer::Tcp => cell % 3,
        layer => layer as usize - Layer::Tls12 as usize,
    };
    sampled(true, cell % 3 == turn && cell / 3 % 2 == role as usize)
}

enum Io {
    Tcp(TcpStream),
    Tls(Box<Raw>),
}

/// After both opening handshakes, it ends the conversation.
pub(crate) struct Peer {
    io: Io,
    /// Ours.
    role: Role,
}

impl Peer {
    /// Shakes hands by TLS, if there is TLS.
    pub(crate) fn new(tcp: TcpStream, role: Role, keys: &Keys) -> Self {
        let io = match (keys, role) {
            (None, _) => Io::Tcp(tcp),
            (Some((client, _)), Role::Server) => {
                Io::Tls(Box::new(Raw::client(tcp, client.clone())))
            }
            (Some((_, server)), Role::Client) => {
                Io::Tls(Box::new(Raw::server(tcp, server.clone())))
            }
        };
        let mut peer = Self { io, role };
        if let Io::Tls(raw) = &mut peer.io {
            raw.handshake().unwrap();
        }
        peer
    }

    fn frame(&self, b0: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
        frame(b0, (self.role == Role::Server).then_some(KEY), payload.as_ref())
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        match &mut self.io {
            Io::Tcp(tcp) => tcp.write_all(bytes).unwrap(),
            Io::Tls(raw) => raw.say(bytes),
        }
    }

    fn hear(&mut self, b0: u8, payload: usize) {
        let mut bytes = vec![0; frame_len(payload, self.role == Role::Client)];
        self.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[0], b0);
    }

    /// Brings the conversation to this state, and ends it.
    pub(crate) fn end(mut self, state: State, end: End) -> Option<Last> {
        self.say(&self.frame(TEXT, "theirs"));
        let close = self.frame(CLOSE, close_body(THEIR_CODE, ""));
        match state {
            State::Open => {}
            State::Unsent => self.hear(BINARY, 0), // the front of the flood
            State::Answered => self.hear(TEXT, 4),
            State::InMessage => self.say(&self.frame(TEXT_OPEN, "half")),
            State::InFrame => {
                let frame = self.frame(TEXT, "half");
                self.say(&frame[..frame.len() - 1]);
            }
            State::WeClosed => self.hear(CLOSE, 2),
            State::PeerCloses => self.say(&close),
            State::BothPeerFirst => {
                self.say(&close);
                self.hear(CLOSE, 2);
            }
            State::BothWeFirst => {
                self.hear(CLOSE, 2);
                self.say(&close);
            }
        }
        match self.io {
            Io::Tcp(tcp) => {
                end_tcp(tcp, end);
                None
            }
            Io::Tls(raw) => end_tls(raw, end),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.io {
            Io::Tcp(tcp) => tcp.read(buf),
            Io::Tls(raw) => raw.read(buf),
        }
    }
}

/// Returns once our end has ended TCP too.
fn end_tcp(mut tcp: TcpStream, end: End) {
    match end {
        End::Reset => reset(&tcp),
        _ => {
            tcp.shutdown(Shutdown::Write).unwrap();
            drain(&mut tcp);
        }
    }
}

/// Returns once our end has ended TCP too, and how it ended TLS.
fn end_tls(mut raw: Box<Raw>, end: End) -> Option<Last> {
    const BAD_RECORD: &[u8] = &[
        23, 3, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0,
    ];
    match end {
        End::Notify => raw.close_notify(),
        End::NotifyFin => {
            raw.close_notify();
            raw.end_tcp();
        }
        End::Fin => raw.end_tcp(),
        End::Reset => {
            reset(&raw.tcp);
            return None;
        }
        End::Alert => {
            // rustls sends a fatal alert because of what it seems to have received, and can then
            // open no record any more. A part of one may be there already, of the flood. Behind our
            // close_notify it reads nothing more, and sends no alert.
            while raw.tls.process_new_packets().is_ok()
                && raw.tls.read_tls(&mut &*BAD_RECORD).unwrap() > 0
            {
                let _ = raw.tls.reader().read(&mut [0; 16 << 10]);
            }
            raw.send().unwrap();
            raw.end_tcp();
            drain(&mut raw.tcp);
            return None;
        }
        End::BadRecord => raw.tcp.write_all(BAD_RECORD).unwrap(),
        End::NotifyJunk => {
            raw.tls.send_close_notify();
            let mut wire = raw.record(b"");
            wire.extend(b"no record at all");
            raw.tcp.write_all(&wire).unwrap(); // at once, so that one read has both
            raw.end_tcp();
        }
    }
    let ended = loop {
        match raw.read(&mut [0; 16 << 10]) {
            Ok(0) => break Last::Notify,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Last::Cut,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break Last::Cut,
            Err(error) => match error.downcast::<rustls::Error>() {
                Ok(rustls::Error::AlertReceived(_)) => break Last::Alert,
                other => panic!("{other:?}"),
            },
        }
    };
    drain(&mut raw.tcp);
    Some(ended)
}

/// Has the system keep little of what we send.
pub(crate) fn narrow<'s>(tcp: impl Into<SockRef<'s>>) -> io::Result<()> {
    tcp.into().set_send_buffer_size(64 << 10)
}

fn reset(tcp: &TcpStream) {
    SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
}

fn drain(tcp: &mut TcpStream) {
    if let Err(error) = tcp.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
}

/// Ends a conversation so, and holds what comes of it to the table. `fate` waits for our end.
#[track_caller]
pub(crate) fn hold(
    name: impl Debug,
    (state, end): (State, End),
    peer: Peer,
    fate: impl FnOnce() -> Fate,
) {
    let last = peer.end(state, end);
    let fate = fate();
    let expected = state.last(end).filter(|_| last.is_some());
    assert!(
        state.is_right(end, &fate) && expected.is_none_or(|expected| last == Some(expected)),
        "{name:?} {state:?} {end:?}: {fate:?} {last:?}"
    );
}
