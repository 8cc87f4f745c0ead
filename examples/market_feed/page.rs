//! How a page for browsers is served: as the answer to a request that is no upgrade.
use crate::BoxError;
use tickwire::{
    Entropy, SystemEntropy,
    handshake::{
        HandshakeError,
        server::{Rejection, RequestHead},
    },
};

/// The answer to a request that is not a good opening one: the page, if that was asked for.
///
/// The page is one file, with its style and script. They carry a nonce, new in each answer, so that
/// nothing else would be run, should anything else ever get into the page.
pub fn answer(
    page: &str,
    request: &RequestHead<'_>,
    error: HandshakeError,
) -> Result<Rejection, BoxError> {
    if error != HandshakeError::NotUpgrade || !matches!(request.method(), "GET" | "HEAD") {
        return Ok(error.into());
    }
    if request.path() != "/" {
        return Ok(HandshakeError::NotFound.into());
    }
    let mut bytes = [0; 16];
    SystemEntropy::new()?.fill(&mut bytes);
    let nonce: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    Ok(Rejection::new(200)
        .body(page.replace("{{nonce}}", &nonce))
        .header("Content-Type", "text/html; charset=utf-8")?
        .header("Content-Security-Policy", &policy)?
        .header("Cache-Control", "no-store")?
        .header("X-Content-Type-Options", "nosniff")?
        // A page that shares nothing with others is given a clock of 5 µs, in place of 100.
        .header("Cross-Origin-Opener-Policy", "same-origin")?
        .header("Cross-Origin-Embedder-Policy", "require-corp")?)
}
