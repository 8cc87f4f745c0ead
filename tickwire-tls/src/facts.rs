//! The getters of a session for the results of its handshake.
use super::{agreed::group, engine::Engine, session::Session};
use ::rustls::{
    Connection, HandshakeKind, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    pki_types::CertificateDer,
};
use std::fmt;

/// Reads a result from rustls' connection, or from `Agreed` once that connection is gone.
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
                let $agreed = records.agreed();
                $ours
            }
            Engine::Failed { .. } => None,
        }
    };
}

impl Session {
    /// The version of TLS, once the handshake has agreed on it.
    pub fn protocol_version(&self) -> Option<ProtocolVersion> {
        agreed!(self, state => state.protocol_version(), agreed => agreed.version)
    }

    /// The cipher suite, once the handshake has agreed on it.
    pub fn negotiated_cipher_suite(&self) -> Option<SupportedCipherSuite> {
        agreed!(self, state => state.negotiated_cipher_suite(), agreed => agreed.suite)
    }

    /// The group of the key exchange, once the handshake has agreed on it, for example
    /// `X25519MLKEM768`.
    pub fn negotiated_key_exchange_group(&self) -> Option<NamedGroup> {
        agreed!(self, state => group(state), agreed => agreed.group)
    }

    /// Whether the handshake resumed an earlier session.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        agreed!(self, state => state.handshake_kind(), agreed => agreed.kind)
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
            Engine::Opening(opening) => opening.server_name(),
            Engine::Records(records) => records.agreed().name.as_deref(),
            Engine::Failed { .. } => None,
        }
    }
}

/// Shows neither keys nor data.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("protocol_version", &self.protocol_version())
            .field("in_place", &self.in_place())
            .finish_non_exhaustive()
    }
}
