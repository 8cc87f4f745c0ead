//! The exchange that the handler is shown against, on a thread of this process.
use crate::{BoxError, Plan, feed::Feed, handler::Followed};
use market_feed::lines;
use std::{net::TcpListener, sync::Arc};
use tickwire::tls::{Client, platform_config_and_roots};
use tokio::runtime::{Builder, Runtime};

pub struct Exchange {
    exchange: Arc<lines::Exchange>,
    urls: Vec<String>,
    plan: Plan,
    /// What it takes to trust its certificate.
    pub tls: Client,
    /// Its thread ends with this.
    _runtime: Runtime,
}

impl Exchange {
    /// On the loopback, at ports of the system's choice, over TLS with a certificate for the
    /// occasion.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn start(plan: Plan) -> Result<Self, BoxError> {
        let (theirs, root) = lines::self_signed()?;
        let tls = platform_config_and_roots(root.as_bytes())?;
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

    /// All its feeds, with all lines of each.
    pub fn followed(&self) -> Vec<Followed> {
        let feeds = 0..self.plan.feeds;
        feeds.map(|feed| Followed { feed, lines: self.urls.clone() }).collect()
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.exchange.cuts()
    }

    /// No more ticks, and no more cuts.
    pub fn quiet(&self) {
        self.exchange.quiet();
    }

    /// Whether all levels of a feed's books are those of the exchange.
    pub fn is_same(&self, feed: &Feed) -> bool {
        let newest = self.exchange.newest(feed.number);
        newest.is_some_and(|(newest, book)| {
            Some(newest) == feed.newest && book.levels().eq(feed.book.levels())
        })
    }
}
