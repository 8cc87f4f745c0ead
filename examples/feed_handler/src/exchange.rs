//! The exchange that the handler follows, on a thread of this process.
use crate::{BoxError, Plan, feed::Feed, handler::Followed};
use market_feed::lines;
use std::{net::TcpListener, sync::Arc};
use tickwire::tls::{Client, platform_config_and_roots};
use tokio::runtime::{Builder, Runtime};

pub struct Exchange {
    exchange: Arc<lines::Exchange>,
    urls: Vec<String>,
    plan: Plan,
    /// A TLS configuration that trusts the exchange's certificate.
    pub tls: Client,
    /// Dropping the runtime ends its thread.
    _runtime: Runtime,
}

impl Exchange {
    /// Starts the exchange on the loopback, at free ports, over TLS with a new certificate.
    ///
    /// # Errors
    ///
    /// The errors of the system.
    pub fn start(plan: Plan) -> Result<Self, BoxError> {
        let (theirs, root) = lines::self_signed()?;
        // In place, a message of 64 B takes half the time that it takes through rustls, which
        // `platform_config_and_roots` alone leaves the records to.
        let tls = platform_config_and_roots(root.as_bytes())?.in_place();
        let (mut listeners, mut urls) = (Vec::new(), Vec::new());
        for _ in 0..plan.lines {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            urls.push(format!("wss://localhost:{}", listener.local_addr()?.port()));
            listeners.push(listener);
        }
        let exchange = lines::Exchange::new(plan, theirs);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let serving = exchange.clone();
        runtime.spawn(async move {
            let error = serving.serve(listeners).await;
            eprintln!("exchange: {error}");
        });
        Ok(Self { exchange, urls, plan, tls, _runtime: runtime })
    }

    /// All feeds of the exchange, each with all its lines.
    pub fn followed(&self) -> Vec<Followed> {
        let feeds = 0..self.plan.feeds;
        feeds.map(|feed| Followed { feed, lines: self.urls.clone() }).collect()
    }

    /// How many connections the exchange has cut.
    pub fn cuts(&self) -> u64 {
        self.exchange.cuts()
    }

    /// Stops the ticks and the cuts.
    pub fn quiet(&self) {
        self.exchange.quiet();
    }

    /// Whether a feed's book has the same levels as the exchange's.
    pub fn is_same(&self, feed: &Feed) -> bool {
        let newest = self.exchange.newest(feed.number);
        newest.is_some_and(|(newest, book)| {
            Some(newest) == feed.newest && book.levels().eq(feed.book.levels())
        })
    }
}
