//! Finds out from the opening request who is asking, before the request is accepted.
//!
//! | client | sends | mind |
//! |---|---|---|
//! | a page, whose user is logged in | its cookie, by itself | a page of another site sends it too: check the Origin |
//! | a page, with a token | `new WebSocket(url, ["ticks.v1", "bearer." + token])`, since it cannot set headers | answer `ticks.v1`, never the token |
//! | a program | `Authorization: Bearer ..` | |
//! | a program, with a name and a key | `Authorization: Basic ..` (a URL with a user in it) | |
//!
//! Use all of them over `wss` only, because anybody who can read the traffic gets the credential.
//!
//! A token in the URL's query is not accepted. URLs end up in the logs of every proxy on the way,
//! in histories and in error reports; headers seldom do. If nothing else works, let a page fetch a
//! ticket that is valid for one connection and half a minute, and accept this ticket in the URL.
//!
//! The application still has to slow down a client that guesses (429, with Retry-After), to end a
//! connection when its session ends or its token expires, and to look up what a visitor may do.
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use tickwire::handshake::server::{Origins, Rejection, RequestHead};

/// The subprotocol of this server.
pub(crate) const PROTOCOL: &str = "ticks.v1";
/// The prefix of an offered subprotocol that carries a token.
const TOKEN: &str = "bearer.";
/// Browsers accept a cookie whose name begins with `__Host-` only over TLS and only from this host.
/// So no other host of the same domain can set the cookie.
pub(crate) const COOKIE: &str = "__Host-session";

/// How somebody proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A random session identifier, in the cookie.
    Session,
    /// A random token, among the subprotocols or in Authorization.
    Token,
    /// `name:key`, with a key that is as random. A password that a person has chosen needs a slow
    /// hash, such as argon2, in a thread for blocking work.
    Key,
}

/// The SHA-256 of a credential. Somebody who reads the memory cannot log in with this hash.
///
/// There is no `==`. It would stop at the first difference, so its time would tell a guesser how
/// much was right. [`is`](Self::is) always compares the whole hash. Nothing depends on the length
/// of the credential, because both sides are hashed.
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

/// The credentials and origins that are let in.
#[derive(Debug)]
pub(crate) struct Gate {
    origins: Origins,
    known: Vec<(Way, Kept, String)>,
}

impl Gate {
    /// Makes a gate for pages of these origins, and for programs.
    pub(crate) fn new(origins: Origins) -> Self {
        Self { origins, known: Vec::new() }
    }

    /// Lets in every client that has this credential.
    pub(crate) fn admit(mut self, name: &str, way: Way, credential: &str) -> Self {
        self.known.push((way, Kept::of(credential.as_bytes()), name.to_owned()));
        self
    }

    /// Returns the name of the client, or the rejection of its request.
    pub(crate) fn look(&self, request: &RequestHead<'_>) -> Result<&str, Rejection> {
        // This check comes first, and for every kind of credential. A browser names the origin of
        // the page that asks, and the page cannot forge it.
        if !self.origins.allows(request) {
            return Err(Rejection::new(403).body("not from this origin\n"));
        }
        let (way, credential) = presented(request).ok_or_else(unauthorized)?;
        let presented = Kept::of(&credential);
        let mut found = None;
        for (known_way, kept, name) in &self.known {
            // All credentials are compared, so the time does not tell which one matched.
            if kept.is(&presented) && *known_way == way {
                found = Some(&**name);
            }
        }
        found.ok_or_else(unauthorized)
    }
}

/// The credential in a request. If there are several, the first kind in this order counts.
fn presented(request: &RequestHead<'_>) -> Option<(Way, Vec<u8>)> {
    if let Some(value) = request.headers().get("Authorization") {
        return authorization(value);
    }
    if let Some(token) = request.subprotocols().find_map(|name| name.strip_prefix(TOKEN)) {
        return Some((Way::Token, token.into()));
    }
    // A browser adds the cookie to the requests of any page. So the cookie proves something only if
    // the Origin shows that the page is ours. A request without an Origin comes from a program,
    // whose cookie proves nothing.
    request.headers().get("Origin")?;
    request.cookie(COOKIE).map(|session| (Way::Session, session.into()))
}

/// RFC 9110 §11.6.2: the value is a scheme, without regard to case, and the scheme's data.
fn authorization(value: &[u8]) -> Option<(Way, Vec<u8>)> {
    let (scheme, credential) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some((Way::Token, credential.into())),
        "basic" => Some((Way::Key, STANDARD.decode(credential).ok()?)),
        _ => None,
    }
}

/// The rejection is always the same, so that a guesser cannot learn what was wrong.
fn unauthorized() -> Rejection {
    const WAYS: &str = "Bearer, Basic realm=\"ticks\", charset=\"UTF-8\"";
    let rejection = Rejection::new(401).body("who are you?\n");
    rejection.header("WWW-Authenticate", WAYS).unwrap_or_else(|_| Rejection::new(401))
}
