use ::rustls::{
    CommonState, HandshakeKind, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    pki_types::CertificateDer,
};

/// Kept after rustls' connection is gone.
pub(super) struct Agreed {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) suite: Option<SupportedCipherSuite>,
    pub(super) group: Option<NamedGroup>,
    pub(super) kind: Option<HandshakeKind>,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) certificates: Option<Vec<CertificateDer<'static>>>,
    pub(super) name: Option<String>,
}

impl Agreed {
    pub(super) fn of(state: &CommonState, name: Option<String>) -> Self {
        Self {
            version: state.protocol_version(),
            suite: state.negotiated_cipher_suite(),
            group: group(state),
            kind: state.handshake_kind(),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            certificates: state.peer_certificates().map(<[_]>::to_vec),
            name,
        }
    }
}

pub(super) fn group(state: &CommonState) -> Option<NamedGroup> {
    state.negotiated_key_exchange_group().map(|group| group.name())
}
