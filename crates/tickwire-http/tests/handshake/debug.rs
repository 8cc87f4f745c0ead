//! `Debug` shows no secret, and HPACK keeps none in its tables.
use crate::secrets::{Fixed, SECRET, hides, secret_request};
use tickwire::{Config, handshake::server};
use tickwire_http::{Head, Opening, Upgrade, rejection};

#[test]
fn headers_for_an_http_stack_are_marked_as_secrets() {
    let config = Config::default();
    for open in [Opening::new, Opening::connect] {
        let (asked, opening) = open(&secret_request(), &config, Fixed);
        hides(asked.headers());
        hides(&opening);
        assert!(asked.headers()["Sec-WebSocket-Protocol"].is_sensitive());
    }
    let (asked, _) = Opening::new(&secret_request(), &config, Fixed);
    hides(&Head::from(&asked));
    assert!(!asked.headers()["Host"].is_sensitive());
    let upgrade = Upgrade::new(&asked, None, &config).unwrap();
    hides(&upgrade);
    hides(&upgrade.request());
    let accept = server::Accept::default().header("Set-Cookie", SECRET).unwrap();
    let (response, conn) = upgrade.accept(accept).unwrap();
    hides(&response);
    hides(&conn);
    let refusal = server::Rejection::new(401).header("Set-Cookie", SECRET).unwrap();
    hides(&rejection(refusal, http::Version::HTTP_11).map(drop));
}
