//! The feature `tracing` of tickwire reports the same events as for a handshake over bytes.
use http::{Method, Response, StatusCode, Version};
use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
};
use tickwire::{
    Config, SystemEntropy,
    handshake::{client::Request, server::Accept},
};
use tickwire_http::{Opening, Upgrade};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::set_default,
};

/// Keeps each event as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tickwire"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Includes failures that are found before a request or a response is checked as HTTP/1.1.
#[test]
fn a_handshake_through_an_http_stack_is_told_once() {
    // With one dispatcher alone, tracing asks the thread that comes to an event first, which may be
    // another test's, whether anybody listens; so there are two.
    let _other = Dispatch::new(Lines::default());
    let lines = Lines::default();
    let _guard = set_default(lines.clone());
    let config = Config::default();
    let mut request = http::Request::new(());
    assert!(Upgrade::new(&request, None, &config).is_err());
    *request.version_mut() = Version::HTTP_10;
    assert!(Upgrade::new(&request, None, &config).is_err());
    (*request.version_mut(), *request.method_mut()) = (Version::HTTP_2, Method::CONNECT);
    assert!(Upgrade::new(&request, Some("connect-udp"), &config).is_err());
    let mut response = Response::new(());
    let asked = Request::new("ws://test/feed?token=secret").unwrap();
    let opening = || Opening::new(&asked, &config, SystemEntropy::new().unwrap());
    for status in [StatusCode::NOT_FOUND, StatusCode::SWITCHING_PROTOCOLS] {
        *response.status_mut() = status;
        assert!(opening().1.accept(&response).is_err());
    }
    let told = lines.take();
    assert!(told[..3].iter().all(|line| line.contains(" status=")), "{told:#?}");
    assert!(told[3..].iter().all(|line| !line.contains(" status=")), "{told:#?}");
    let begins = |role| format!("INFO message=opening handshake failed role={role} error=");
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(told[..3].iter().all(|line| line.starts_with(&begins("Server"))), "{told:#?}");
    assert!(told[3..].iter().all(|line| line.starts_with(&begins("Client"))), "{told:#?}");

    let (request, opening) = opening();
    let upgrade = Upgrade::new(&request, None, &config).unwrap();
    let (response, server) = upgrade.accept(Accept::default()).unwrap();
    let client = opening.accept(&response).unwrap();
    drop((server, client));
    let done = |role| format!("DEBUG message=opening handshake done role={role} path=/feed");
    assert_eq!(lines.take(), [done("Server"), done("Client")]);
}
