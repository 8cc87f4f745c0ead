//! The command line: where to listen, and what makes it `wss`.
#[path = "../../echo_server/tls/load.rs"]
mod tls;

use std::{env, error::Error, net::SocketAddr};

pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<tls::Tls>,
}

impl Options {
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        let mut listen = "127.0.0.1:9001".parse();
        let (mut cert, mut key) = (None, None);
        let mut arguments = env::args().skip(1);
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or("an option is without its value")?;
            match option.as_str() {
                "--listen" => listen = value.parse(),
                "--tls-cert" => cert = Some(value),
                "--tls-key" => key = Some(value),
                _ => return Err(format!("unknown option {option}").into()),
            }
        }
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(tls::load(&cert, &key)?),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key belong together".into()),
        };
        Ok(Self { listen: listen.map_err(|_| "--listen takes ADDRESS:PORT")?, tls })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "wss" } else { "ws" }
    }
}
