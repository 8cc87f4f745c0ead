//! SOCKS5 (RFC 1928), with user and password (RFC 1929).
use alloc::{vec, vec::Vec};
use core::{fmt, net::IpAddr};

const VERSION: u8 = 5;
/// RFC 1929 §2.
const LOGIN_VERSION: u8 = 1;

// RFC 1928 §3: methods of authentication.
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;

// RFC 1928 §5: types of address.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why the proxy gave no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    /// The proxy could not or would not connect to the server. The number is the proxy's reply (RFC
    /// 1928 §6).
    #[error("SOCKS5 proxy refused the connection with reply {0}")]
    Refused(u8),
    /// The proxy accepts none of the methods of authentication that we offered (RFC 1928 §3).
    #[error("SOCKS5 proxy accepts no method of authentication that was offered")]
    Method,
    /// The proxy does not accept the user and password (RFC 1929 §2).
    #[error("SOCKS5 proxy refused user and password")]
    Credentials,
    /// The proxy broke the protocol, or the protocol cannot carry the server's name.
    #[error("SOCKS5: {0}")]
    Protocol(&'static str),
}

/// A user and a password, for a proxy that asks for them (RFC 1929).
#[derive(Clone)]
pub struct Login(Vec<u8>);

impl Login {
    /// `None` unless `user` and `password` have 1 to 255 bytes each, as SOCKS5 requires.
    pub fn new(user: &[u8], password: &[u8]) -> Option<Self> {
        // RFC 1929 §2: the version, then user and password, each after its length.
        let mut login = vec![LOGIN_VERSION];
        for text in [user, password] {
            login.push(u8::try_from(text.len()).ok().filter(|&len| len > 0)?);
            login.extend_from_slice(text);
        }
        Some(Self(login))
    }
}

/// Shows neither user nor password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// A client's dialogue with a SOCKS5 proxy, up to the tunnel to one server (RFC 1928).
#[derive(Debug)]
pub struct Socks5 {
    expected: Answer,
    /// Sent if the proxy asks for them.
    login: Option<Login>,
    request: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Method,
    Login,
    Reply,
}

impl Socks5 {
    /// Makes the dialogue that asks for a tunnel to a server. `host` is a name, which the proxy
    /// resolves, or an address without brackets. Returns the greeting to send first.
    ///
    /// # Errors
    ///
    /// [`SocksError::Protocol`] for a name of more than 255 bytes.
    pub fn new(host: &str, port: u16, login: Option<Login>) -> Result<(Self, Vec<u8>), SocksError> {
        // RFC 1928 §3: the version, and the methods offered.
        let greeting = match login {
            Some(_) => vec![VERSION, 2, NO_LOGIN, LOGIN],
            None => vec![VERSION, 1, NO_LOGIN],
        };
        let request = connect(host, port)?;
        Ok((Self { expected: Answer::Method, login, request }, greeting))
    }

    /// Parses the proxy's answer at the start of `wire`, the received bytes. Before the call, send
    /// the greeting, or the bytes that the last call put into `next`. Returns `None` while the
    /// answer is incomplete. Otherwise returns the length of the answer, and whether the tunnel
    /// begins after it. The caller must drop the answer from `wire`. If the tunnel does not begin
    /// yet, `next` has the bytes to send.
    ///
    /// # Errors
    ///
    /// See [`SocksError`]. An error is final.
    pub fn answer(
        &mut self,
        wire: &[u8],
        next: &mut Vec<u8>,
    ) -> Result<Option<(usize, bool)>, SocksError> {
        let found = match self.expected {
            Answer::Method => self.method(wire)?,
            Answer::Login => login_answer(wire)?,
            Answer::Reply => reply(wire)?,
        };
        let Some(len) = found else { return Ok(None) };
        self.expected = match self.expected {
            Answer::Reply => return Ok(Some((len, true))),
            Answer::Method if wire.get(1) == Some(&LOGIN) => {
                // `method` would have refused this answer without a login.
                *next = self.login.take().map(|login| login.0).unwrap_or_default();
                Answer::Login
            }
            // RFC 1928 §3, RFC 1929 §2: the request comes next.
            Answer::Method | Answer::Login => {
                *next = core::mem::take(&mut self.request);
                Answer::Reply
            }
        };
        Ok(Some((len, false)))
    }

    /// RFC 1928 §3: the answer is a version and a method.
    fn method(&self, wire: &[u8]) -> Result<Option<usize>, SocksError> {
        version(wire, VERSION, "version is not 5")?;
        match wire.get(1) {
            None => Ok(None),
            Some(&NO_LOGIN) => Ok(Some(2)),
            Some(&LOGIN) if self.login.is_some() => Ok(Some(2)),
            Some(&NO_METHOD) => Err(SocksError::Method),
            Some(_) => Err(SocksError::Protocol("method was not offered")),
        }
    }
}

/// RFC 1929 §2: the answer is a version and a status.
fn login_answer(wire: &[u8]) -> Result<Option<usize>, SocksError> {
    version(wire, LOGIN_VERSION, "version of the login is not 1")?;
    match wire.get(1) {
        None => Ok(None),
        Some(0) => Ok(Some(2)),
        Some(_) => Err(SocksError::Credentials),
    }
}

/// RFC 1928 §4, §5. A name is sent unresolved, so only the proxy resolves it.
fn connect(host: &str, port: u16) -> Result<Vec<u8>, SocksError> {
    const CONNECT: u8 = 1;
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
            let too_long = SocksError::Protocol("host name is longer than 255 bytes");
            request.extend_from_slice(&[NAME, u8::try_from(host.len()).map_err(|_| too_long)?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

/// RFC 1928 §6: a version, a reply, a zero, an address and a port, the last two of which we don't
/// use. A refusal is reported even before the rest has arrived.
fn reply(wire: &[u8]) -> Result<Option<usize>, SocksError> {
    version(wire, VERSION, "version is not 5")?;
    match wire.get(1) {
        None | Some(0) => {}
        Some(&reply) => return Err(SocksError::Refused(reply)),
    }
    if wire.get(2).is_some_and(|&reserved| reserved != 0) {
        return Err(SocksError::Protocol("reserved byte is not 0"));
    }
    let address = match (wire.get(3), wire.get(4)) {
        (None, _) | (Some(&NAME), None) => return Ok(None),
        (Some(&IPV4), _) => 4,
        (Some(&IPV6), _) => 16,
        (Some(&NAME), Some(&len)) => 1 + usize::from(len),
        (Some(_), _) => return Err(SocksError::Protocol("unknown type of address")),
    };
    let len = 4 + address + 2;
    Ok((wire.len() >= len).then_some(len))
}

fn version(wire: &[u8], expected: u8, what: &'static str) -> Result<(), SocksError> {
    match wire.first() {
        Some(&version) if version != expected => Err(SocksError::Protocol(what)),
        _ => Ok(()),
    }
}
