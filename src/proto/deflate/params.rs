//! Offers and answers of permessage-deflate (RFC 7692 §7.1).
use super::{Deflate, DeflateParams, Direction};
use core::{fmt, mem::replace};

pub(crate) const NAME: &str = "permessage-deflate";

const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// A value that was quoted keeps its escapes.
type Param<'a> = (&'a str, Option<&'a str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer(pub(crate) Params);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Params);

/// `Display` writes a value of Sec-WebSocket-Extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<Bits>,
}

/// `client_max_window_bits`, which in an offer may have no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    Any,
    AtMost(u8),
}

impl Params {
    /// `None` if a parameter is unknown or repeated, or has a forbidden value: a server must then
    /// decline the offer (§7.1).
    pub(crate) fn parse<'a>(params: impl Iterator<Item = Param<'a>>) -> Option<Self> {
        let mut parsed = Self::default();
        for (name, value) in params {
            // The earlier value says whether the parameter is repeated.
            let again = match (name, value) {
                (SERVER_NO_TAKEOVER, None) => replace(&mut parsed.server_no_takeover, true),
                (CLIENT_NO_TAKEOVER, None) => replace(&mut parsed.client_no_takeover, true),
                (SERVER_BITS, Some(value)) => parsed.server_bits.replace(bits(value)?).is_some(),
                (CLIENT_BITS, None) => parsed.client_bits.replace(Bits::Any).is_some(),
                (CLIENT_BITS, Some(value)) => {
                    parsed.client_bits.replace(Bits::AtMost(bits(value)?)).is_some()
                }
                _ => return None,
            };
            if again {
                return None;
            }
        }
        Some(parsed)
    }
}

/// A decimal number from 8 to 15, without a leading zero (§7.1.2). All backslashes in `value`
/// belong to escapes, because a token contains none.
fn bits(value: &str) -> Option<u8> {
    let mut digits = value.bytes().filter(|&b| b != b'\\');
    match (digits.next(), digits.next(), digits.next()) {
        (Some(b @ (b'8' | b'9')), None, _) => Some(b - b'0'),
        (Some(b'1'), Some(b @ b'0'..=b'5'), None) => Some(10 + b - b'0'),
        _ => None,
    }
}

impl Offer {
    pub(crate) fn of(ours: &Deflate) -> Self {
        let DeflateParams { server, client } = ours.within_limits();
        let limit = |bits: u8| (bits < 15).then_some(bits);
        Self(Params {
            // Off by default: servers that always use takeover decline compression, or answer
            // without the parameter, which violates §7.1.1.1.
            server_no_takeover: ours.require_no_takeover,
            client_no_takeover: !client.takeover,
            server_bits: limit(server.window_bits),
            // Always offered, because only then may the server limit our window (§7.1.2.2).
            client_bits: Some(limit(client.window_bits).map_or(Bits::Any, Bits::AtMost)),
        })
    }

    pub(crate) fn answer(self, ours: &Deflate) -> Option<(Answer, DeflateParams)> {
        let Self(theirs) = self;
        let ours = ours.within_limits();
        // §7.1.2.1: the offer may require a window of 8 bits, which zlib does not support.
        let server_bits = theirs.server_bits.unwrap_or(15).min(ours.server.window_bits);
        if server_bits < 9 {
            return None;
        }
        // The window that the client announces; without a number, 15 bits.
        let known = match theirs.client_bits {
            Some(Bits::AtMost(bits)) => bits,
            Some(Bits::Any) | None => 15,
        };
        // §7.1.2.2: the server may limit the client's window only if the offer has
        // `client_max_window_bits`.
        let client_bits = match theirs.client_bits {
            Some(_) => known.min(ours.client.window_bits),
            None => known,
        };
        let agreed = DeflateParams {
            server: Direction {
                takeover: ours.server.takeover && !theirs.server_no_takeover,
                window_bits: server_bits,
            },
            client: Direction {
                takeover: ours.client.takeover && !theirs.client_no_takeover,
                window_bits: client_bits,
            },
        };
        let answer = Params {
            server_no_takeover: !agreed.server.takeover,
            client_no_takeover: !agreed.client.takeover,
            // Only if offered, because some clients refuse a parameter that they did not offer.
            server_bits: theirs.server_bits.map(|_| server_bits),
            // Without this parameter, the client keeps the window that it announced.
            client_bits: (client_bits < known).then_some(Bits::AtMost(client_bits)),
        };
        Some((Answer(answer), agreed))
    }
}

impl Answer {
    /// `None` if no offer permits this answer (§7.1).
    pub(crate) fn parse<'a>(params: impl Iterator<Item = Param<'a>>) -> Option<Self> {
        Params::parse(params).filter(|p| p.client_bits != Some(Bits::Any)).map(Self)
    }

    /// If `offer` doesn't permit this answer, the error names the setting of [`Deflate`] to which
    /// the server doesn't agree; `None` if the answer allows our messages a longer window than
    /// `offer`.
    pub(crate) fn to(self, offer: Offer) -> Result<DeflateParams, Option<&'static str>> {
        let Self(theirs) = self;
        let Offer(ours) = offer;
        // §7.1.1.1: if the offer has `server_no_context_takeover`, the answer must have it too.
        if ours.server_no_takeover && !theirs.server_no_takeover {
            return Err(Some("require_no_takeover"));
        }
        // §7.1.2.1: if the offer has `server_max_window_bits`, the answer must have it too, with at
        // most the offered value.
        let server_bits = match (ours.server_bits, theirs.server_bits) {
            (Some(asked), bits) if bits.is_none_or(|bits| bits > asked) => {
                return Err(Some("server.window_bits"));
            }
            (_, bits) => bits.unwrap_or(15),
        };
        // §7.1.2.2: the answer may have `client_max_window_bits` only if the offer has it, and then
        // with at most the offered value. Without the parameter, our own limit stays.
        let client_bits = match (ours.client_bits, theirs.client_bits) {
            (Some(Bits::AtMost(most)), None) => most,
            (_, None) => 15,
            (Some(Bits::AtMost(most)), Some(Bits::AtMost(bits))) if bits <= most => bits,
            (Some(Bits::Any), Some(Bits::AtMost(bits))) => bits,
            (_, Some(_)) => return Err(None),
        };
        let client_takeover = !ours.client_no_takeover && !theirs.client_no_takeover;
        Ok(DeflateParams {
            server: Direction { takeover: !theirs.server_no_takeover, window_bits: server_bits },
            client: Direction { takeover: client_takeover, window_bits: client_bits },
        })
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        for (name, there) in [
            (SERVER_NO_TAKEOVER, self.server_no_takeover),
            (CLIENT_NO_TAKEOVER, self.client_no_takeover),
        ] {
            if there {
                write!(f, "; {name}")?;
            }
        }
        if let Some(bits) = self.server_bits {
            write!(f, "; {SERVER_BITS}={bits}")?;
        }
        match self.client_bits {
            Some(Bits::Any) => write!(f, "; {CLIENT_BITS}"),
            Some(Bits::AtMost(bits)) => write!(f, "; {CLIENT_BITS}={bits}"),
            None => Ok(()),
        }
    }
}
