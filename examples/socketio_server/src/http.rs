//! What the requests mean, on axum: which session, which transport, and what is refused.
//!
//! Whom it lets in: everybody, unless some origins are named; then pages of other origins are
//! refused, and browsers told so (CORS). A foreign page has nothing to gain here, for no cookie is
//! looked at: who one is, the `auth` of a namespace says. Where a session is named, its id is all
//! that is asked for, which is why nobody can guess it.
use crate::{
    engine::{
        Binary, Opening, Revision,
        payload::Payload,
        session::{Layers, Session},
    },
    sessions::{Handle, Sessions},
    settings::Settings,
    transport::{
        Ended, Served, Visit,
        polling::{Polling, Post, Request},
    },
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{FromRequestParts, Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::{collections::HashMap, net::IpAddr, sync::Arc};
use tickwire::{Config, Time};
use tickwire_axum::WebSocketUpgrade;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, timeout},
};
use tower_http::{
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};

/// From how many bytes on responses are compressed, for clients that take that: as Engine.IO's
/// server has it.
const COMPRESS: u64 = 1024;

/// How many requests may be on their way to a session.
const REQUESTS: usize = 4;

/// Why a request is refused, as Engine.IO numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Code 0: neither polling nor a WebSocket.
    Transport,
    /// Code 1: there is no such session, or no more.
    SessionId,
    /// Code 2: a session is opened with GET.
    Method,
    /// Code 3: no upgrade where one is due, or a bad one; or what ends the session.
    BadRequest,
    /// Code 4: from a page of an origin that is not allowed.
    Origin,
    /// Code 5: `EIO` is neither 3 nor 4.
    Version,
    /// There is nothing at this path.
    Path,
    /// A WebSocket's handshake that has a status of its own.
    Handshake,
    /// The body is longer than was announced.
    TooLong,
    /// The body takes too long.
    Timeout,
    /// There are too many sessions, in all or from one address; or the system has no entropy for an
    /// id.
    Full,
    /// The server stops.
    Stopping,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::Transport => (0, "Transport unknown"),
            Self::SessionId => (1, "Session ID unknown"),
            Self::Method => (2, "Bad handshake method"),
            Self::BadRequest | Self::Handshake => (3, "Bad request"),
            Self::Origin => (4, "Forbidden"),
            Self::Version => (5, "Unsupported protocol version"),
            Self::Path => return StatusCode::NOT_FOUND.into_response(),
            Self::TooLong => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::Timeout => return StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::Full | Self::Stopping => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        };
        let status =
            if self == Self::Origin { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

impl IntoResponse for Payload {
    fn into_response(self) -> Response {
        let kind =
            if self.binary { "application/octet-stream" } else { "text/plain; charset=UTF-8" };
        ([(header::CONTENT_TYPE, kind)], self.body).into_response()
    }
}

/// What is served, and to whom.
pub(crate) struct Endpoint {
    pub(crate) layers: Arc<Layers>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
}

/// Serves an endpoint at its path, with or without the slash behind it. Each request has to have a
/// [`Visit`] among its extensions.
pub(crate) fn router(endpoint: Endpoint) -> Router {
    let origins = match &endpoint.settings.origins {
        Some(origins) => AllowOrigin::list(origins.clone()),
        None => AllowOrigin::mirror_request(),
    };
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true); // clients may say that theirs go along, which nobody looks at
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS));
    let router = Router::new().fallback(answer).layer(cors).layer(compression);
    router.with_state(Arc::new(endpoint))
}

async fn answer(
    State(endpoint): State<Arc<Endpoint>>,
    Extension(visit): Extension<Visit>,
    request: HttpRequest,
) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let answered = endpoint.dispatch(parts, body, &visit).await;
    let response = answered.unwrap_or_else(|refused| {
        (visit.log)(Err(Ended::Refused(refused)));
        refused.into_response()
    });
    ([(header::CACHE_CONTROL, "no-store")], response)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

/// The parameters of a request's query. Of each the first counts.
struct Query(HashMap<String, String>);

impl Query {
    fn of(parts: &Parts) -> Self {
        let mut query = HashMap::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()) {
            query.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(query)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn transport(&self) -> Result<Transport, Refused> {
        match self.get("transport") {
            Some("polling") => Ok(Transport::Polling),
            Some("websocket") => Ok(Transport::WebSocket),
            _ => Err(Refused::Transport),
        }
    }

    fn opening(&self, transport: Transport) -> Result<Opening, Refused> {
        let revision = match self.get("EIO") {
            Some("4") => Revision::V4,
            Some("3") => Revision::V3,
            _ => return Err(Refused::Version),
        };
        let binary = match (self.get("b64"), revision) {
            (Some(_), _) => Binary::Base64,
            (None, Revision::V4) => Binary::Plain,
            (None, Revision::V3) => Binary::Typed,
        };
        Ok(Opening { revision, binary, polling: transport == Transport::Polling })
    }
}

impl Endpoint {
    async fn dispatch(
        &self,
        mut parts: Parts,
        body: Body,
        visit: &Visit,
    ) -> Result<Response, Refused> {
        let without_slash = |path: &str| path.trim_end_matches('/').to_owned();
        if without_slash(parts.uri.path()) != without_slash(&self.settings.path) {
            return Err(Refused::Path);
        }
        let query = Query::of(&parts);
        let transport = query.transport()?;
        if let Some(sid) = query.get("sid") {
            let handle = self.sessions.get(sid).ok_or(Refused::SessionId)?;
            self.admit(&parts.headers)?;
            return match (transport, &parts.method) {
                (Transport::WebSocket, &Method::GET) => {
                    let upgrade = match self.upgrade(&mut parts, visit).await? {
                        Ok(upgrade) => upgrade,
                        Err(response) => return Ok(response),
                    };
                    Ok(upgrade.on_upgrade(async move |ws| {
                        // Where another has taken over, this one is closed.
                        let _ = handle.requests.send(Request::Probe(Box::new(ws))).await;
                    }))
                }
                // Another transport has taken over.
                (Transport::Polling, _) if handle.requests.is_closed() => Err(Refused::BadRequest),
                (Transport::Polling, &Method::GET) => poll(handle).await,
                (Transport::Polling, &Method::POST) => self.post(handle, &parts, body).await,
                _ => Err(Refused::Method),
            };
        }
        if parts.method != Method::GET {
            return Err(Refused::Method);
        }
        let opening = query.opening(transport)?;
        let upgrade = match transport {
            Transport::Polling if query.get("j").is_some() => return Err(Refused::BadRequest),
            Transport::Polling => None,
            Transport::WebSocket => match self.upgrade(&mut parts, visit).await? {
                Ok(upgrade) => Some(upgrade),
                Err(response) => return Ok(response),
            },
        };
        self.admit(&parts.headers)?;
        let served = self.open(opening, self.client(&parts.headers, visit), visit)?;
        match upgrade {
            Some(upgrade) => Ok(upgrade.on_upgrade(|ws| served.over_websocket(ws))),
            None => {
                let (requests, received) = mpsc::channel(REQUESTS);
                let handle = Handle { requests, turn: Arc::new(Semaphore::new(1)) };
                let registered = self.sessions.register(served.session.sid(), handle.clone());
                tokio::spawn(served.over_polling(Polling::new(received), registered));
                poll(handle).await
            }
        }
    }

    /// The request as an upgrade, or the answer to a bad one that has a status of its own: 426 says
    /// which version would do.
    async fn upgrade(
        &self,
        parts: &mut Parts,
        visit: &Visit,
    ) -> Result<Result<WebSocketUpgrade, Response>, Refused> {
        let asks = parts.headers.contains_key(header::UPGRADE);
        match WebSocketUpgrade::from_request_parts(parts, &()).await {
            Ok(upgrade) => Ok(Ok(upgrade.config(&self.config))),
            Err(why) if asks && why.status() != 400 => {
                (visit.log)(Err(Ended::Refused(Refused::Handshake)));
                Ok(Err(why.into_response()))
            }
            Err(_) => Err(Refused::BadRequest),
        }
    }

    /// Whether the page may, if it is one.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(allowed) = &self.settings.origins else { return Ok(()) };
        let all = headers.get_all(header::ORIGIN);
        if all.iter().all(|origin| allowed.contains(origin)) {
            Ok(())
        } else {
            Err(Refused::Origin)
        }
    }

    /// The address that a session counts for: of the peer, or of whom the proxy in front names
    /// last.
    fn client(&self, headers: &HeaderMap, visit: &Visit) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
        let forwarded = forwarded.filter(|_| self.settings.behind_proxy);
        let last =
            forwarded.and_then(|all| all.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        last.unwrap_or(visit.peer)
    }

    fn open(&self, opening: Opening, from: IpAddr, visit: &Visit) -> Result<Served, Refused> {
        let place = self.sessions.place(from).ok_or(Refused::Full)?;
        let (layers, settings) = (&*self.layers, self.settings.clone());
        let session = Session::new(layers, &settings, opening, Time::ZERO);
        let session = session.map_err(|_| Refused::Full)?;
        Ok(Served { session, settings, visit: visit.clone(), epoch: Instant::now(), _place: place })
    }

    async fn post(&self, handle: Handle, parts: &Parts, body: Body) -> Result<Response, Refused> {
        let Ok(_turn) = handle.turn.try_acquire() else {
            let _ = handle.requests.send(Request::Overlap).await;
            return Err(Refused::BadRequest);
        };
        let body = Limited::new(body, self.settings.max_payload).collect();
        let body = match timeout(self.settings.body_timeout, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refused::TooLong),
            Ok(Err(_)) => return Err(Refused::BadRequest),
            Err(_) => return Err(Refused::Timeout),
        };
        let kind = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let binary = kind.starts_with(b"application/octet-stream");
        let (reply, heard) = oneshot::channel();
        let post = Request::Post(Post { body, binary, reply });
        handle.requests.send(post).await.map_err(|_| Refused::SessionId)?;
        heard.await.map_err(|_| Refused::SessionId)??;
        Ok("ok".into_response())
    }
}

/// The next packets of a session.
async fn poll(handle: Handle) -> Result<Response, Refused> {
    let (reply, answered) = oneshot::channel();
    handle.requests.send(Request::Poll(reply)).await.map_err(|_| Refused::SessionId)?;
    Ok(answered.await.map_err(|_| Refused::SessionId)??.into_response())
}
