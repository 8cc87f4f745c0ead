use super::{
    error::{Result, UrlError},
    handshake::{
        client::{Request, generate_key},
        server,
    },
};
use http::{Uri, header};

/// A value from which a request can be made: a URL, or a request that has all headers of the
/// handshake.
pub trait IntoClientRequest {
    /// The request.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or a header or subprotocol of a
    /// [`ClientRequestBuilder`](super::ClientRequestBuilder).
    fn into_client_request(self) -> Result<Request>;
}

impl IntoClientRequest for &str {
    fn into_client_request(self) -> Result<Request> {
        self.parse::<Uri>()?.into_client_request()
    }
}

impl IntoClientRequest for &String {
    fn into_client_request(self) -> Result<Request> {
        self.as_str().into_client_request()
    }
}

impl IntoClientRequest for String {
    fn into_client_request(self) -> Result<Request> {
        self.as_str().into_client_request()
    }
}

impl IntoClientRequest for &Uri {
    fn into_client_request(self) -> Result<Request> {
        self.clone().into_client_request()
    }
}

impl IntoClientRequest for Uri {
    fn into_client_request(self) -> Result<Request> {
        let authority = self.authority().ok_or(UrlError::NoHostName)?.as_str();
        // Before an `@` there may be a user and a password, which Host must not have (RFC 9112
        // §3.2): servers and proxies write it to logs.
        let host = authority.rsplit('@').next().unwrap_or(authority);
        if host.is_empty() {
            return Err(UrlError::EmptyHostName.into());
        }
        let request = Request::builder()
            .header(header::HOST, host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key());
        Ok(request.uri(self).body(())?)
    }
}

#[cfg(feature = "url")]
impl IntoClientRequest for &url::Url {
    fn into_client_request(self) -> Result<Request> {
        self.as_str().into_client_request()
    }
}

#[cfg(feature = "url")]
impl IntoClientRequest for url::Url {
    fn into_client_request(self) -> Result<Request> {
        self.as_str().into_client_request()
    }
}

impl IntoClientRequest for Request {
    fn into_client_request(self) -> Result<Request> {
        Ok(self)
    }
}

impl IntoClientRequest for httparse::Request<'_, '_> {
    fn into_client_request(self) -> Result<Request> {
        server::request(self)
    }
}
