//! SOCKS5 (RFC 1928), and its user and password (RFC 1929).
use super::look::Look;
use crate::proto::{
    config::Config,
    handshake::{HandshakeError, Progress, Reading},
    url::Target,
};
use std::{boxed::Box, net::IpAddr, vec, vec::Vec};

const VERSION: u8 = 5;
/// The version byte of the negotiation of user and password (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;

// RFC 1928 §3: methods of authentication.
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;

// RFC 1928 §5: types of address.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The answer that is expected, and what will be said to those before it.
struct Socks5 {
    expected: Answer,
    /// User and password, to be sent if asked for.
    login: Option<Vec<u8>>,
    request: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Answer {
    Method,
    Login,
    Reply,
}

pub(super) fn begin(
    userinfo: Option<&[u8]>,
    server: &Target,
    _: &Config,
) -> Result<(Vec<u8>, Look), HandshakeError> {
    let login = userinfo.and_then(login);
    // RFC 1928 §3: the version, and the methods offered.
    let greeting = match login {
        Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
        None => vec![VERSION, 1, NO_LOGIN],
    };
    let mut socks5 = Socks5 { expected: Answer::Method, login, request: connect(server)? };
    let look = move |reading: &mut Reading, next: &mut Vec<u8>| socks5.look(reading, next);
    Ok((greeting, Box::new(look)))
}

impl Socks5 {
    fn look(
        &mut self,
        reading: &mut Reading,
        next: &mut Vec<u8>,
    ) -> Result<Progress, HandshakeError> {
        let wire = reading.wire();
        let found = match self.expected {
            Answer::Method => self.method(wire)?,
            Answer::Login => login_answer(wire)?,
            Answer::Reply => reply(wire)?,
        };
        let Some(len) = found else {
            return match reading.is_at_end() {
                true => Err(HandshakeError::UnexpectedEof),
                false => Ok(Progress::Partial),
            };
        };
        let method = wire.get(1).copied();
        reading.skip(len);
        self.expected = match self.expected {
            Answer::Reply => return Ok(Progress::Complete),
            Answer::Method if method == Some(LOGIN) => {
                *next = self.login.take().unwrap_or_default();
                Answer::Login
            }
            // RFC 1928 §3, RFC 1929 §2: then the request.
            Answer::Method | Answer::Login => {
                *next = core::mem::take(&mut self.request);
                Answer::Reply
            }
        };
        Ok(Progress::Partial)
    }

    /// RFC 1928 §3: version, method. The length of the answer, once it is whole.
    fn method(&self, wire: &[u8]) -> Result<Option<usize>, HandshakeError> {
        version(wire, VERSION, "version is not 5")?;
        match wire.get(1) {
            None => Ok(None),
            Some(&NO_LOGIN) => Ok(Some(2)),
            Some(&LOGIN) if self.login.is_some() => Ok(Some(2)),
            Some(&NO_METHOD) => Err(HandshakeError::SocksMethod),
            Some(_) => Err(HandshakeError::Socks { what: "method was not offered" }),
        }
    }
}

/// RFC 1929 §2: version, user and password, each behind its length; `None` if they are not of 1 to
/// 255 bytes.
pub(super) fn login(userinfo: &[u8]) -> Option<Vec<u8>> {
    let colon = userinfo.iter().position(|&b| b == b':')?;
    let (user, password) = userinfo.split_at_checked(colon)?;
    let mut login = vec![LOGIN_VERSION];
    for text in [user, password.get(1..)?] {
        login.push(u8::try_from(text.len()).ok().filter(|&len| len > 0)?);
        login.extend_from_slice(text);
    }
    Some(login)
}

/// RFC 1929 §2: version, status.
fn login_answer(wire: &[u8]) -> Result<Option<usize>, HandshakeError> {
    version(wire, LOGIN_VERSION, "version of the login is not 1")?;
    match wire.get(1) {
        None => Ok(None),
        Some(0) => Ok(Some(2)),
        Some(_) => Err(HandshakeError::SocksCredentials),
    }
}

/// RFC 1928 §4, RFC 1928 §5: the request for a connection. A name is sent as it is, and so resolved
/// by the proxy alone.
fn connect(server: &Target) -> Result<Vec<u8>, HandshakeError> {
    const CONNECT: u8 = 1;
    let host = server.unzoned();
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let too_long = HandshakeError::Socks { what: "host name is longer than 255 bytes" };
            request.extend_from_slice(&[NAME, u8::try_from(host.len()).map_err(|_| too_long)?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&server.port().to_be_bytes());
    Ok(request)
}

/// RFC 1928 §6: version, reply, a zero, an address of some type, a port. Only the reply matters,
/// and a refusal is one however short it is.
fn reply(wire: &[u8]) -> Result<Option<usize>, HandshakeError> {
    version(wire, VERSION, "version is not 5")?;
    match wire.get(1) {
        None | Some(0) => {}
        Some(&reply) => return Err(HandshakeError::SocksRefused { reply }),
    }
    if wire.get(2).is_some_and(|&reserved| reserved != 0) {
        return Err(HandshakeError::Socks { what: "reserved byte is not 0" });
    }
    let address = match (wire.get(3), wire.get(4)) {
        (None, _) | (Some(&NAME), None) => return Ok(None),
        (Some(&IPV4), _) => 4,
        (Some(&IPV6), _) => 16,
        (Some(&NAME), Some(&len)) => 1 + usize::from(len),
        (Some(_), _) => return Err(HandshakeError::Socks { what: "unknown type of address" }),
    };
    let len = 4 + address + 2;
    Ok((wire.len() >= len).then_some(len))
}

fn version(wire: &[u8], expected: u8, what: &'static str) -> Result<(), HandshakeError> {
    match wire.first() {
        Some(&version) if version != expected => Err(HandshakeError::Socks { what }),
        _ => Ok(()),
    }
}
