//! The server's part in the handshake.
use super::{
    HandshakeRole, MidHandshake, ProcessingResult,
    headers::{MAX_HEADERS, collect},
    machine::{HandshakeMachine, StageResult, TryParse},
    version_as_str,
};
use crate::tungstenite::{
    error::{CapacityError, Error, ProtocolError, Result},
    protocol::{WebSocket, WebSocketConfig, WebSocketContext},
};
use http::Version;
use std::{
    io::{Read, Write},
    marker::PhantomData,
    time::UNIX_EPOCH,
};
use tickwire::{
    Connection, Negotiated,
    handshake::{
        HandshakeError as Refused,
        server::{Accept, Rejection},
    },
};
use tickwire_http::Upgrade;

/// The request.
pub type Request = http::Request<()>;

/// The response that accepts a request.
pub type Response = http::Response<()>;

/// The response that refuses a request.
pub type ErrorResponse = http::Response<Option<String>>;

/// Makes the response that accepts a request, with status 101.
///
/// # Errors
///
/// If the request does not ask for a WebSocket, or breaks another rule of RFC 6455 §4.2.1.
pub fn create_response(request: &Request) -> Result<Response> {
    create_response_with_body(request, || ())
}

/// Does the same as [`create_response`], and adds a body.
///
/// # Errors
///
/// As [`create_response`].
pub fn create_response_with_body<T1, T2>(
    request: &http::Request<T1>,
    generate_body: impl FnOnce() -> T2,
) -> Result<http::Response<T2>> {
    let (response, _) = agree(request, &WebSocketConfig::default())?;
    Ok(response.map(|()| generate_body()))
}

fn agree<T>(
    request: &http::Request<T>,
    config: &WebSocketConfig,
) -> Result<(Response, Connection)> {
    // All rules of RFC 6455 §4.2.1, so this crate does not check them again.
    let upgrade = Upgrade::new(request, None, &config.core())?;
    Ok(upgrade.accept(Accept::default())?)
}

/// Writes the head of a response.
///
/// # Errors
///
/// The errors of `w`. [`WrongHttpVersion`](ProtocolError::WrongHttpVersion) for HTTP/2 and later.
/// [`Utf8`](Error::Utf8) for a header whose value is not visible ASCII.
pub fn write_response<T>(mut w: impl Write, response: &http::Response<T>) -> Result<()> {
    write!(w, "{} {}\r\n", version_as_str(response.version())?, response.status())?;
    for (name, value) in response.headers() {
        write!(w, "{name}: {}\r\n", value.to_str()?)?;
    }
    Ok(w.write_all(b"\r\n")?)
}

impl TryParse for Request {
    fn try_parse(data: &[u8]) -> Result<Option<(usize, Self)>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(size) = head.parse(data)? else { return Ok(None) };
        Ok(Some((size, request(head)?)))
    }

    fn refuse(data: &[u8], error: &Error, stream: &mut impl Write) {
        // The parser skips empty lines before a request (RFC 9112 §2.2).
        refuse(error, data.trim_ascii_start().starts_with(b"HEAD "), stream);
    }
}

/// As far as the stream takes the answer at once: the caller gets `error`, whatever becomes of it.
fn refuse(error: &Error, head_only: bool, stream: &mut impl Write) {
    let rejection: Rejection = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => Refused::BadMethod.into(),
        Error::Protocol(ProtocolError::WrongHttpVersion) => Refused::OldHttpVersion.into(),
        Error::Protocol(ProtocolError::MissingUpgradeWebSocketHeader) => Refused::NotUpgrade.into(),
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            Refused::UnsupportedVersion.into()
        }
        Error::Capacity(CapacityError::TooManyHeaders) => Rejection::new(431),
        _ => Rejection::new(400).body(format!("{error}\n")),
    };
    let rejection = rejection.date(UNIX_EPOCH.elapsed().unwrap_or_default());
    let response = tickwire_http::rejection(rejection, Version::HTTP_11);
    let mut bytes = Vec::new();
    if write_response(&mut bytes, &response).is_ok() {
        if !head_only {
            bytes.extend_from_slice(response.body());
        }
        let _ = stream.write(&bytes).and_then(|_| stream.flush());
    }
}

pub(crate) fn request(head: httparse::Request<'_, '_>) -> Result<Request> {
    // Here, because the request made below always has GET and HTTP/1.1, whatever the head had.
    if head.method != Some("GET") {
        return Err(ProtocolError::WrongHttpMethod.into());
    }
    if head.version != Some(1) {
        return Err(ProtocolError::WrongHttpVersion.into());
    }
    let mut request = Request::new(());
    *request.uri_mut() = head.path.unwrap_or_default().parse()?;
    *request.headers_mut() = collect(head.headers)?;
    Ok(request)
}

/// What a server does with a request that passed the checks.
///
/// Closures with the signature of [`on_request`](Self::on_request) implement this trait.
pub trait Callback: Sized {
    /// Inspects the request, and may change the response.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    #[allow(clippy::result_large_err)] // as in tungstenite's API
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse>;
}

impl<F> Callback for F
where
    F: FnOnce(&Request, Response) -> Result<Response, ErrorResponse>,
{
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        self(request, response)
    }
}

/// Accepts every request.
#[derive(Clone, Copy, Debug)]
pub struct NoCallback;

impl Callback for NoCallback {
    fn on_request(self, _: &Request, response: Response) -> Result<Response, ErrorResponse> {
        Ok(response)
    }
}

/// The server's part in the handshake.
#[derive(Debug)]
pub struct ServerHandshake<S, C> {
    callback: Option<C>,
    config: WebSocketConfig,
    /// `None` until the response is made.
    outcome: Option<Result<Connection, ErrorResponse>>,
    stream: PhantomData<S>,
}

impl<S: Read + Write, C: Callback> ServerHandshake<S, C> {
    /// A handshake that has not read anything yet.
    pub fn start(stream: S, callback: C, config: Option<WebSocketConfig>) -> MidHandshake<Self> {
        let role = Self {
            callback: Some(callback),
            config: config.unwrap_or_default(),
            outcome: None,
            stream: PhantomData,
        };
        MidHandshake { role, machine: HandshakeMachine::start_read(stream) }
    }

    fn answer(&mut self, request: &Request, stream: &mut S) -> Result<Vec<u8>> {
        // A request that breaks a rule is never shown to the callback, as in tungstenite.
        let (response, conn) =
            agree(request, &self.config).inspect_err(|error| refuse(error, false, stream))?;
        let answer = match self.callback.take() {
            Some(callback) => callback.on_request(request, response),
            None => Ok(response), // only if a program calls `stage_finished` with a second request
        };
        let mut bytes = Vec::new();
        self.outcome = Some(match answer {
            Ok(response) => {
                write_response(&mut bytes, &response)?;
                Ok(self.as_answered(conn, &response))
            }
            // As in tungstenite, a refusal with a status of success is not sent. The caller gets an
            // error, because the callback has made this mistake, not the peer.
            Err(refusal) if refusal.status().is_success() => {
                return Err(ProtocolError::CustomResponseSuccessful.into());
            }
            Err(refusal) => {
                write_response(&mut bytes, &refusal)?;
                bytes.extend_from_slice(refusal.body().as_deref().unwrap_or_default().as_bytes());
                Err(refusal)
            }
        });
        Ok(bytes)
    }

    /// Without permessage-deflate, if the callback has removed it from the response.
    fn as_answered(&self, conn: Connection, response: &Response) -> Connection {
        // The client does what the response says: if only this end compressed, it would fail the
        // connection at the first compressed message.
        let nothing = Negotiated::default();
        let said = response.headers().contains_key(&http::header::SEC_WEBSOCKET_EXTENSIONS);
        match said || *conn.negotiated() == nothing {
            true => conn,
            false => Connection::server(&self.config.core(), nothing),
        }
    }
}

impl<S: Read + Write, C: Callback> HandshakeRole for ServerHandshake<S, C> {
    type IncomingData = Request;
    type InternalStream = S;
    type FinalResult = WebSocket<S>;

    fn stage_finished(
        &mut self,
        finish: StageResult<Request, S>,
    ) -> Result<ProcessingResult<S, WebSocket<S>>> {
        match finish {
            // A client has to wait for the response (RFC 6455 §4.1). Bytes behind the request we
            // would read as frames, but a proxy perhaps as a second request.
            StageResult::DoneReading { tail, mut stream, .. } if !tail.is_empty() => {
                let error = ProtocolError::JunkAfterRequest.into();
                refuse(&error, false, &mut stream);
                Err(error)
            }
            StageResult::DoneReading { mut stream, result, .. } => {
                let answer = self.answer(&result, &mut stream)?;
                Ok(ProcessingResult::Continue(HandshakeMachine::start_write(stream, answer)))
            }
            StageResult::DoneWriting(socket) => match self.outcome.take() {
                Some(Ok(conn)) => {
                    let context = WebSocketContext::agreed(conn, Vec::new(), self.config);
                    Ok(ProcessingResult::Done(WebSocket { socket, context }))
                }
                Some(Err(refusal)) => {
                    Err(Error::Http(Box::new(refusal.map(|body| body.map(String::into_bytes)))))
                }
                // `stage_finished` is public API, so a program may call it before a request.
                None => Err(ProtocolError::HandshakeIncomplete.into()),
            },
        }
    }
}
