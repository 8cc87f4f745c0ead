//! The exchange that the handler is shown against, on a thread of this process.
use crate::{
    BoxError, Plan,
    feed::Feed,
    handler::{Rules, Subscription},
};
use market_feed::lines::{self, Tls};
use std::{
    net::TcpListener,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tickwire::tls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{runtime::Builder, select, sync::oneshot};

/// It ends with this.
pub struct Exchange {
    exchange: Arc<lines::Exchange>,
    urls: Vec<String>,
    plan: Plan,
    root: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    /// On the loopback, at ports of the system's choice, over TLS with a certificate for the
    /// occasion.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn start(plan: Plan) -> Result<Self, BoxError> {
        let tls = Tls::make()?;
        let root = tls.root().unwrap_or_default().to_owned();
        let listeners = (0..plan.lines).map(|_| listen()).collect::<Result<Vec<_>, _>>()?;
        let url = |listener: &TcpListener| {
            listener.local_addr().map(|at| format!("wss://localhost:{}", at.port()))
        };
        let urls = listeners.iter().map(url).collect::<Result<_, _>>()?;
        let exchange = lines::Exchange::new(plan, tls);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serving = exchange.clone();
        let thread = thread::Builder::new().name("exchange".into()).spawn(move || {
            runtime.block_on(async {
                select! {
                    error = serving.serve(listeners) => eprintln!("exchange: {error}"),
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { exchange, urls, plan, root, stop: Some(stop), thread: Some(thread) })
    }

    /// All its feeds, with all lines of each.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let feeds = 0..self.plan.feeds;
        feeds.map(|feed| Subscription { feed, lines: self.urls.clone() }).collect()
    }

    /// What it asks of connections.
    pub fn rules(&self) -> Rules {
        Rules::of(&self.plan)
    }

    /// Its certificate, in PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.exchange.cuts()
    }

    /// No more ticks, and no more cuts.
    pub fn quiet(&self) {
        self.exchange.quiet();
    }

    /// Whether a feed has come as far as the exchange has.
    pub fn is_level(&self, feed: &Feed) -> bool {
        let newest = self.exchange.newest(feed.number()).map(|(newest, _)| newest);
        newest.is_some() && newest == feed.newest()
    }

    /// Whether all levels of a feed's books are those of the exchange.
    pub fn is_same(&self, feed: &Feed) -> bool {
        let newest = self.exchange.newest(feed.number());
        newest.is_some_and(|(newest, book)| {
            Some(newest) == feed.newest() && book.levels().eq(feed.book().levels())
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A client that trusts these certificates, in PEM, and no others.
///
/// # Errors
///
/// If there is none among them.
pub fn trusting(pem: &str) -> Result<Arc<ClientConfig>, BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("no certificate".into());
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true; // records in place
    Ok(config.into())
}
