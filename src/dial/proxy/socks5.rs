//! A tunnel by SOCKS5. The crate `tickwire-dial` implements the protocol.
use super::{Answer, ReadAnswer};
use crate::proto::{
    handshake::{HandshakeError, Reading},
    url::Target,
};
use std::{boxed::Box, vec::Vec};
use tickwire_dial::{Login, Socks5, SocksError};

pub(super) fn begin(
    userinfo: Option<&[u8]>,
    server: &Target,
) -> Result<(Vec<u8>, ReadAnswer), HandshakeError> {
    let login = userinfo.and_then(login); // never fails here: `Address::parse` has checked it
    let (mut socks5, greeting) =
        Socks5::new(server.unzoned(), server.port(), login).map_err(fault)?;
    let look = move |reading: &mut Reading, next: &mut Vec<u8>| {
        let Some((len, tunnel)) = socks5.answer(reading.wire(), next).map_err(fault)? else {
            return match reading.is_at_end() {
                true => Err(HandshakeError::UnexpectedEof),
                false => Ok(Answer::Partial),
            };
        };
        reading.skip(len);
        // Otherwise the proxy waits for the bytes in `next`.
        Ok(if tunnel { Answer::Tunnel } else { Answer::Partial })
    };
    Ok((greeting, Box::new(look)))
}

pub(super) fn login(userinfo: &[u8]) -> Option<Login> {
    let colon = userinfo.iter().position(|&b| b == b':')?;
    let (user, password) = userinfo.split_at_checked(colon)?;
    Login::new(user, password.get(1..)?)
}

/// Not an `impl From`, which would put a type of `tickwire-dial` into this crate's API.
fn fault(error: SocksError) -> HandshakeError {
    match error {
        SocksError::Refused(reply) => HandshakeError::SocksRefused { reply },
        SocksError::Method => HandshakeError::SocksMethod,
        SocksError::Credentials => HandshakeError::SocksCredentials,
        SocksError::Protocol(what) => HandshakeError::Socks { what },
        // Demanded by `non_exhaustive`; all present variants are above.
        _ => HandshakeError::Socks { what: "unknown fault" },
    }
}
