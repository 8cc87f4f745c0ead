//! Serves a page for browsers, as the answer to a request that is no upgrade.
use crate::BoxError;
use tickwire::{
    Entropy, SystemEntropy,
    handshake::{
        HandshakeError,
        server::{Rejection, RequestHead},
    },
};

/// The answer to a request that is no valid opening request: the page, if the request asks for it.
///
/// The page is one file, with its style and script. Both carry a nonce, new in each answer. So if
/// other code ever gets into the page, the browser does not run it.
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
        // A browser gives a page that is isolated from other pages a clock of 5 µs, not of 100 µs.
        .header("Cross-Origin-Opener-Policy", "same-origin")?
        .header("Cross-Origin-Embedder-Policy", "require-corp")?)
}
