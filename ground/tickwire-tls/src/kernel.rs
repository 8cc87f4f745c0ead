//! What of rustls serves a session whose records we open and seal: it stores tickets and derives
//! each direction's next key. The provider protects the records under these keys.
use ::rustls::{
    ConnectionTrafficSecrets, Error, Tls13CipherSuite,
    client::ClientConnectionData,
    crypto::cipher::{AeadKey, Iv, MessageDecrypter, MessageEncrypter},
    kernel::KernelConnection,
    quic::PacketKey,
    server::ServerConnectionData,
};

pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// The next key, with the first sequence number under it.
type Next = Result<(u64, ConnectionTrafficSecrets), Error>;

impl Kernel {
    /// Once for each KeyUpdate of the peer, because otherwise the ends would have different keys.
    pub(super) fn next_to_open(&mut self) -> Next {
        match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        }
    }

    /// Once for each KeyUpdate of ours, after it is sealed.
    pub(super) fn next_to_seal(&mut self) -> Next {
        match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        }
    }
}

/// How records are sealed, with the number that may be sealed under one key.
pub(super) enum Seal {
    /// As QUIC packets, in place. Ciphertext and tag are those of TLS records, for the same key,
    /// initialisation vector, sequence number and additional data (RFC 9001 §5.3).
    InPlace(Box<dyn PacketKey>, u64),
    /// As TLS records, which allocates memory for each.
    Whole(Box<dyn MessageEncrypter>, u64),
}

impl Seal {
    pub(super) fn new(
        suite: &'static Tls13CipherSuite,
        secrets: ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        let (key, iv) = parts(secrets)?;
        let limit = suite.common.confidentiality_limit;
        Ok(match suite.quic {
            // A provider may have FIPS approval for TLS only, not for QUIC. Then `Whole` seals.
            Some(quic) if quic.fips() || !suite.aead_alg.fips() => {
                let key = quic.packet_key(key, iv);
                // TLS and QUIC limit the same cipher (RFC 9001 §6.6), so the lower limit counts.
                let limit = limit.min(key.confidentiality_limit());
                Self::InPlace(key, limit)
            }
            _ => Self::Whole(suite.aead_alg.encrypter(key, iv), limit),
        })
    }

    pub(super) fn limit(&self) -> u64 {
        match self {
            Self::InPlace(_, limit) | Self::Whole(_, limit) => *limit,
        }
    }
}

pub(super) fn decrypter(
    suite: &'static Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, Error> {
    let (key, iv) = parts(secrets)?;
    Ok(suite.aead_alg.decrypter(key, iv))
}

pub(super) fn gives_keys(suite: &'static Tls13CipherSuite) -> bool {
    // With a key of zeros: asking with the real keys would consume rustls' connection, and rustls
    // could not go on if the answer were no.
    let secrets = suite.aead_alg.extract_keys(AeadKey::from([0; 32]), Iv::from([0; 12]));
    secrets.is_ok_and(|secrets| parts(secrets).is_ok())
}

fn parts(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General("keys of an unknown kind".into())),
    }
}
