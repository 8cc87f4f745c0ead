//! What rustls keeps of a session whose records are ours: tickets, and each direction's next key;
//! and the provider's protection of records under such a key.
use ::rustls::{
    ConnectionTrafficSecrets, Error, Tls13CipherSuite,
    client::ClientConnectionData,
    crypto::cipher::{AeadKey, Iv, MessageDecrypter, MessageEncrypter},
    kernel::KernelConnection,
    quic::PacketKey,
    server::ServerConnectionData,
};
use std::boxed::Box;

/// By role.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// The first sequence number under a key, and the key.
type Next = Result<(u64, ConnectionTrafficSecrets), Error>;

impl Kernel {
    pub(super) fn next_to_open(&mut self) -> Next {
        match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        }
    }

    pub(super) fn next_to_seal(&mut self) -> Next {
        match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        }
    }
}

/// How the provider seals a record, and how many it may under one key.
pub(super) enum Seal {
    /// By its protection of packets for QUIC, which takes the same key, initialisation vector,
    /// number and additional data to the same ciphertext and tag (RFC 9001 §5.3), where the
    /// plaintext lies.
    InPlace(Box<dyn PacketKey>, u64),
    /// By its protection of records, which allocates each.
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
            Some(quic) if quic.fips() || !suite.aead_alg.fips() => {
                let key = quic.packet_key(key, iv);
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

/// Whether the provider gives the keys of this suite away.
pub(super) fn gives_keys(suite: &'static Tls13CipherSuite) -> bool {
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
