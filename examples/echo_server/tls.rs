//! `--tls-cert` and `--tls-key`: what to show to those who dial `wss://`.
#[cfg(feature = "rustls")]
mod load;

#[cfg(feature = "rustls")]
pub(crate) use load::*;
#[cfg(not(feature = "rustls"))]
pub(crate) use without::*;

#[cfg(not(feature = "rustls"))]
mod without {
    use std::error::Error;
    use tickwire::{
        Config,
        blocking::{MaybeTls, WebSocket, connect as dial},
    };

    #[derive(Clone)]
    pub(crate) enum Tls {}

    pub(crate) fn load(_: &str, _: &str) -> Result<Tls, Box<dyn Error>> {
        Err("--tls-cert: TLS is not built in: add --features rustls".into())
    }

    pub(crate) fn connect(
        url: &str,
        _: Option<&str>,
    ) -> Result<WebSocket<MaybeTls>, Box<dyn Error>> {
        Ok(dial(url, &Config::default())?)
    }
}
