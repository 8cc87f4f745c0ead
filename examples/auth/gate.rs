//! Who is asking: found out from the opening request, before it is accepted.
//!
//! | client | sends | mind |
//! |---|---|---|
//! | a page, whose user is logged in | its cookie, by itself | so does a page of anybody else: the Origin has to be ours |
//! | a page, with a token | `new WebSocket(url, ["ticks.v1", "bearer." + token])`, since it cannot set headers | answer `ticks.v1`, never the token |
//! | a program | `Authorization: Bearer ..` | |
//! | a program, with a name and a key | `Authorization: Basic ..` (a URL with a user in it) | |
//!
//! All of them over `wss` only: whoever reads along has the credential.
//!
//! A token in the URL's query is not taken. URLs end up in the logs of every proxy on the way, in
//! histories and in error reports, headers seldom do. Where nothing else will work, let a page
//! fetch a ticket that is good for one connection and half a minute, and take that.
//!
//! What is left to the application: to slow down who guesses (429, with Retry-After), to end a
//! connection when its session ends or its token expires, and to look up what a visitor may do.
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use tickwire::handshake::server::{Origins, Rejection, RequestHead};

/// What is spoken here.
pub(crate) const PROTOCOL: &str = "ticks.v1";
/// What a subprotocol begins with that is a token.
const TOKEN: &str = "bearer.";
/// Browsers take a cookie of such a name only over TLS and only from this very host, so that no
/// other host of the same domain can set it.
pub(crate) const COOKIE: &str = "__Host-session";

/// How somebody proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A random session identifier, in the cookie.
    Session,
    /// A random token, among the subprotocols or in Authorization.
    Token,
    /// `name:key`, where the key is as random. A password that people think of has to be hashed by
    /// something slow, such as argon2, in a thread for blocking work.
    Key,
}

/// What is kept of a credential: its SHA-256, so that whoever reads it out of here cannot use it.
///
/// There is no `==`, which stops at the first difference, and so tells a guesser by its time how
/// much was right. [`is`](Self::is) compares all of it; and since both are hashed, neither the time
/// nor anything else depends on how long the credential is.
pub(crate) struct Kept([u8; 32]);

impl Kept {
    pub(crate) fn of(credential: &[u8]) -> Self {
        Self(Sha256::digest(credential).into())
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// Everybody who may come in.
#[derive(Debug)]
pub(crate) struct Gate {
    origins: Origins,
    known: Vec<(Way, Kept, String)>,
}

impl Gate {
    /// For pages of these origins, and for programs.
    pub(crate) fn new(origins: Origins) -> Self {
        Self { origins, known: Vec::new() }
    }

    /// Lets in whoever has this credential.
    pub(crate) fn admit(mut self, name: &str, way: Way, credential: &str) -> Self {
        self.known.push((way, Kept::of(credential.as_bytes()), name.to_owned()));
        self
    }

    /// The name of who is asking, or what to refuse them with.
    pub(crate) fn look(&self, request: &RequestHead<'_>) -> Result<&str, Rejection> {
        // First of all, and for all: a browser says whose page asks, and cannot be made to lie.
        if !self.origins.allows(request) {
            return Err(Rejection::new(403).body("not from this origin\n"));
        }
        let (way, credential) = presented(request).ok_or_else(unauthorized)?;
        let presented = Kept::of(&credential);
        let mut found = None;
        for (known_way, kept, name) in &self.known {
            // All are compared, whichever it is.
            if kept.is(&presented) && *known_way == way {
                found = Some(&**name);
            }
        }
        found.ok_or_else(unauthorized)
    }
}

/// The credential in a request: the first kind that is there.
fn presented(request: &RequestHead<'_>) -> Option<(Way, Vec<u8>)> {
    if let Some(value) = request.headers().get("Authorization") {
        return authorization(value);
    }
    if let Some(token) = request.subprotocols().find_map(|name| name.strip_prefix(TOKEN)) {
        return Some((Way::Token, token.into()));
    }
    // A cookie proves something only of a page that is known to be ours: it comes along whoever
    // asks. Without an Origin it is no page, and a program has better ways.
    request.headers().get("Origin")?;
    session(request).map(|session| (Way::Session, session.into()))
}

/// RFC 9110 §11.6.2: a scheme, without regard to case, and what it needs.
fn authorization(value: &[u8]) -> Option<(Way, Vec<u8>)> {
    let (scheme, credential) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some((Way::Token, credential.into())),
        "basic" => Some((Way::Key, STANDARD.decode(credential).ok()?)),
        _ => None,
    }
}

/// The session's cookie (RFC 6265 §4.2.1). Two of them are none: one was put there by somebody
/// else.
fn session<'a>(request: &RequestHead<'a>) -> Option<&'a [u8]> {
    let lines = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Cookie"));
    let mut ours = lines
        .flat_map(|(_, line)| line.split(|&b| b == b';'))
        .map(|pair| pair.trim_ascii())
        .filter_map(|pair| pair.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="));
    let only = ours.next()?;
    ours.next().is_none().then_some(only)
}

/// The same whatever was wrong, so that nothing can be learned from it.
fn unauthorized() -> Rejection {
    const WAYS: &str = "Bearer, Basic realm=\"ticks\", charset=\"UTF-8\"";
    let rejection = Rejection::new(401).body("who are you?\n");
    rejection.header("WWW-Authenticate", WAYS).unwrap_or_else(|_| Rejection::new(401))
}
