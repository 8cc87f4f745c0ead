//! The client's part in the handshake.
use super::{
    HandshakeRole, MidHandshake, ProcessingResult, derive_accept_key,
    headers::{MAX_HEADERS, collect},
    invalid,
    machine::{HandshakeMachine, StageResult, TryParse},
    version_as_str,
};
use crate::tungstenite::{
    error::{Error, ProtocolError, Result, SubProtocolError, UrlError},
    protocol::{Keys, WebSocket, WebSocketConfig, WebSocketContext},
    uri::uri_mode,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use std::{
    fmt,
    io::{Read, Write},
    marker::PhantomData,
};
use tickwire::{
    Config, Entropy,
    handshake::{HandshakeError, client as core},
};
use tickwire_http::Opening;

/// The request.
pub type Request = http::Request<()>;

/// The response. If the server refuses, the response has the part of the body that arrived together
/// with the head, without the framing of HTTP chunks.
pub type Response = http::Response<Option<Vec<u8>>>;

/// The client's part in the handshake.
pub struct ClientHandshake<S> {
    /// `None` once the response has been checked.
    check: Option<Box<Check>>,
    stream: PhantomData<S>,
}

/// The `Vec<u8>` has the bytes behind the response, the connection's first input. A trait object,
/// so that a program contains one copy of the code that checks, and of the code that drops a check,
/// which otherwise each place that may drop a handshake would have.
type Check = dyn FnOnce(Response, Vec<u8>) -> Result<(WebSocketContext, Response)> + Send + Sync;

impl<S: fmt::Debug> fmt::Debug for ClientHandshake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake").finish_non_exhaustive()
    }
}

impl<S: Read + Write> ClientHandshake<S> {
    /// A handshake that has not written its request yet.
    ///
    /// # Errors
    ///
    /// If the request does not ask for a WebSocket.
    pub fn start(
        stream: S,
        request: Request,
        config: Option<WebSocketConfig>,
    ) -> Result<MidHandshake<Self>> {
        let (bytes, check) = start(&request, config.unwrap_or_default())?;
        let machine = HandshakeMachine::start_write(stream, bytes);
        Ok(MidHandshake { role: Self { check: Some(check), stream: PhantomData }, machine })
    }
}

fn start(request: &Request, config: WebSocketConfig) -> Result<(Vec<u8>, Box<Check>)> {
    if request.method() != Method::GET {
        return Err(ProtocolError::WrongHttpMethod.into());
    }
    if request.version() < Version::HTTP_11 {
        return Err(ProtocolError::WrongHttpVersion.into());
    }
    uri_mode(request.uri())?;
    let mut offered = Vec::new();
    for names in request.headers().get_all(&header::SEC_WEBSOCKET_PROTOCOL) {
        offered.extend(names.to_str()?.split(',').map(str::trim));
    }
    let offers = !offered.is_empty();
    // The stream gets the program's own `request`: tungstenite's rules are looser than tickwire's,
    // and a program may rely on its own key or on the order of its headers. `same` is only for
    // tickwire's check of the response, so any valid URL will do.
    let mut same = core::Request::new("ws://localhost/").map_err(|_| UrlError::NoHostName)?;
    if offers {
        // As in tungstenite, the server must choose one of the offered subprotocols.
        same = same
            .subprotocols(offered)
            .and_then(core::Request::require_subprotocol)
            .map_err(|_| invalid(header::SEC_WEBSOCKET_PROTOCOL))?;
    }
    // `asked` is what tickwire would send, and `opening` checks the response.
    let (asked, opening) = Opening::new(&same, &config.core(), Keys::new());
    let offer = asked.headers().get(&header::SEC_WEBSOCKET_EXTENSIONS);
    let ours = asked.headers().get(&header::SEC_WEBSOCKET_KEY);
    let (bytes, key) = write_request(request, offer)?;
    let ours = ours.map_or(&[][..], HeaderValue::as_bytes); // tickwire's request always has a key
    // The accept value for the key of `request`, which the program chose and may be any text;
    // `ours` is for the key of `asked`.
    let [theirs, ours] = [key.as_bytes(), ours].map(derive_accept_key);
    let check = move |mut response: Response, tail: Vec<u8>| {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            *response.body_mut() = Some(refusal_body(&response, &tail));
            return Err(Error::Http(Box::new(response)));
        }
        // `opening` expects `ours`, so `exchange` replaces `theirs` with `ours` in the response.
        exchange(&mut response, &theirs, &ours)?;
        let conn = opening.accept(&response).map_err(|error| match error {
            HandshakeError::UnexpectedSubprotocol if !offers => {
                let error = SubProtocolError::ServerSentSubProtocolNoneRequested;
                ProtocolError::SecWebSocketSubProtocolError(error).into()
            }
            error => Error::from(error),
        })?;
        // The program gets the response as the server sent it.
        exchange(&mut response, &ours, &theirs)?;
        Ok((WebSocketContext::agreed(conn, tail, config), response))
    };
    Ok((bytes, Box::new(check)))
}

/// `tail` is what came behind the refusal's head. tickwire takes the body out of HTTP's framing,
/// but reads one only after a head, so we write a new one: the status, and the headers that tell
/// where the body ends.
fn refusal_body(response: &Response, tail: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for name in ["transfer-encoding", "content-length"] {
        response.headers().get_all(name).iter().for_each(|value| push(&mut bytes, name, value));
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(tail);
    // Not used, and valid, so the `else` is never reached.
    let Ok(same) = core::Request::new("ws://localhost/") else { return Vec::new() };
    // tickwire keeps 4 KiB of a body. `tail` is shorter: a part of the one read of at most 4 KiB
    // that ended the head.
    let mut handshake = core::Handshake::new(&same, &Config::default(), Keys::new());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let n = rest.read(handshake.reading.spare_mut()).unwrap_or(0); // a slice returns no error
        handshake.reading.commit(n);
    }
    handshake.reading.end_of_stream();
    let _ = handshake.step(); // reads the refusal
    handshake.into_refusal().map(|refusal| refusal.body).unwrap_or_default()
}

fn exchange(response: &mut Response, from: &str, to: &str) -> Result<()> {
    match response.headers_mut().get_mut(&header::SEC_WEBSOCKET_ACCEPT) {
        Some(answer) if *answer == *from => *answer = HeaderValue::from_str(to)?,
        _ => {}
    }
    Ok(())
}

impl<S: Read + Write> HandshakeRole for ClientHandshake<S> {
    type IncomingData = Response;
    type InternalStream = S;
    type FinalResult = (WebSocket<S>, Response);

    fn stage_finished(
        &mut self,
        finish: StageResult<Response, S>,
    ) -> Result<ProcessingResult<S, Self::FinalResult>> {
        match finish {
            StageResult::DoneWriting(stream) => {
                Ok(ProcessingResult::Continue(HandshakeMachine::start_read(stream)))
            }
            StageResult::DoneReading { stream: socket, result, tail } => {
                // `stage_finished` is public API, so a program could call it twice.
                let check = self.check.take().ok_or(ProtocolError::HandshakeIncomplete)?;
                let (context, response) = check(result, tail)?;
                Ok(ProcessingResult::Done((WebSocket { socket, context }, response)))
            }
        }
    }
}

/// The bytes of a request, and its Sec-WebSocket-Key.
///
/// # Errors
///
/// [`InvalidHeader`](ProtocolError::InvalidHeader) if a header of the handshake is missing or
/// repeated.
pub fn generate_request(request: Request) -> Result<(Vec<u8>, String)> {
    write_request(&request, None)
}

/// An `offer` replaces the extensions of the request.
fn write_request(request: &Request, offer: Option<&HeaderValue>) -> Result<(Vec<u8>, String)> {
    // Some servers recognise these names only with these capital letters. tungstenite's order; the
    // key is last, so that the loop below leaves it in `key`.
    static REQUIRED: [(HeaderName, &str); 5] = [
        (header::HOST, "Host"),
        (header::CONNECTION, "Connection"),
        (header::UPGRADE, "Upgrade"),
        (header::SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
        (header::SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    ];
    let path = request.uri().path_and_query().ok_or(UrlError::NoPathOrQuery)?;
    let version = version_as_str(request.version())?;
    let mut bytes = format!("GET {path} {version}\r\n").into_bytes();
    let headers = request.headers();
    let mut key = "";
    for (name, written) in &REQUIRED {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(invalid(name.clone()));
        };
        key = value.to_str()?;
        push(&mut bytes, written, value);
    }
    for (name, value) in headers {
        let name = match *name {
            header::ORIGIN => "Origin",
            header::SEC_WEBSOCKET_PROTOCOL => "Sec-WebSocket-Protocol",
            header::SEC_WEBSOCKET_EXTENSIONS if offer.is_some() => continue,
            _ if REQUIRED.iter().any(|(required, _)| required == name) => continue,
            _ => name.as_ref(), // `as_str` would inline a table of all names
        };
        push(&mut bytes, name, value);
    }
    if let Some(offer) = offer {
        push(&mut bytes, header::SEC_WEBSOCKET_EXTENSIONS.as_str(), offer);
    }
    bytes.extend_from_slice(b"\r\n");
    Ok((bytes, key.to_owned()))
}

fn push(bytes: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// A new random Sec-WebSocket-Key.
pub fn generate_key() -> String {
    let mut nonce = [0; 16];
    Keys::new().fill(&mut nonce);
    STANDARD.encode(nonce)
}

/// The most interim responses, as in tickwire.
const INTERIM: u32 = 8;

/// Reads the final response. Skips interim responses (RFC 9110 §15.2).
impl TryParse for Response {
    fn try_parse(data: &[u8]) -> Result<Option<(usize, Self)>> {
        let mut skipped = 0;
        // Parses the interim responses again in each call, because a `TryParse` keeps nothing
        // between two. `MAX_READS` bounds the work.
        for _ in 0..=INTERIM {
            let rest = data.get(skipped..).unwrap_or_default();
            let Some((size, response)) = parse(rest)? else { return Ok(None) };
            skipped += size;
            let status = response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some((skipped, response)));
            }
        }
        Err(HandshakeError::TooManyInterim.into())
    }
}

fn parse(data: &[u8]) -> Result<Option<(usize, Response)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true); // `collect` unfolds them
    let parsed = config.parse_response(&mut head, data)?;
    let httparse::Status::Complete(size) = parsed else { return Ok(None) };
    let mut response = Response::new(None);
    *response.status_mut() = StatusCode::from_u16(head.code.unwrap_or_default())?;
    if head.version != Some(1) {
        // HTTP/1.0 has no upgrade and no interim responses, but a server may refuse in it.
        if response.status().is_informational() {
            return Err(ProtocolError::WrongHttpVersion.into());
        }
        *response.version_mut() = Version::HTTP_10;
    }
    *response.headers_mut() = collect(head.headers)?;
    Ok(Some((size, response)))
}
