use super::{agreed::group, engine::Engine, session::Session};
use ::rustls::{Connection, HandshakeKind, ProtocolVersion, pki_types::CertificateDer};
use std::fmt;

macro_rules! agreed {
    ($self:expr, $state:ident => $of_rustls:expr, $agreed:ident => $ours:expr) => {
        match &$self.engine {
            Engine::Rustls(conn) => {
                let $state = conn.state();
                $of_rustls
            }
            Engine::Opening(opening) => {
                let $state = opening.state();
                $of_rustls
            }
            Engine::Records(records) => {
                let $agreed = &records.agreed;
                $ours
            }
            Engine::Failed { .. } => None,
        }
    };
}

impl Session {
    /// The number of the TLS version, once the handshake has agreed on it: 0x0304 is TLS 1.3, and
    /// 0x0303 is TLS 1.2. `rustls::ProtocolVersion::from` converts the number.
    pub fn protocol_version(&self) -> Option<u16> {
        agreed!(self, state => state.protocol_version(), agreed => agreed.version).map(u16::from)
    }

    /// The cipher suite's number in IANA's registry, once the handshake has agreed on the suite.
    /// `rustls::CipherSuite::from` converts the number.
    pub fn negotiated_cipher_suite(&self) -> Option<u16> {
        let suite = agreed!(self, state => state.negotiated_cipher_suite(), agreed => agreed.suite);
        suite.map(|suite| suite.suite().into())
    }

    /// The number of the key exchange's group in IANA's registry, once the handshake has agreed on
    /// the group: 0x11ec is X25519MLKEM768. `rustls::NamedGroup::from` converts the number.
    pub fn negotiated_key_exchange_group(&self) -> Option<u16> {
        agreed!(self, state => group(state), agreed => agreed.group).map(u16::from)
    }

    /// Whether the handshake resumed an earlier session. `false` while this is not known yet.
    pub fn is_resumed(&self) -> bool {
        let kind = agreed!(self, state => state.handshake_kind(), agreed => agreed.kind);
        kind == Some(HandshakeKind::Resumed)
    }

    /// The protocol agreed on by ALPN (RFC 7301).
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        agreed!(self, state => state.alpn_protocol(), agreed => agreed.alpn.as_deref())
    }

    /// The peer's certificate chain: the peer's own certificate is the first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        agreed!(self, state => state.peer_certificates(), agreed => agreed.certificates.as_deref())
    }

    /// The server name that the client has asked for (SNI); always `None` for a client.
    pub fn server_name(&self) -> Option<&str> {
        match &self.engine {
            Engine::Rustls(conn) => match conn.connection() {
                Connection::Client(_) => None,
                Connection::Server(conn) => conn.server_name(),
            },
            Engine::Opening(opening) => opening.name.as_deref(),
            Engine::Records(records) => records.agreed.name.as_deref(),
            Engine::Failed { .. } => None,
        }
    }
}

/// Shows neither keys nor data.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("protocol_version", &self.protocol_version().map(ProtocolVersion::from))
            .field("in_place", &self.in_place())
            .finish_non_exhaustive()
    }
}
