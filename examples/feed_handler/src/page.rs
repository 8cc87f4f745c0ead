//! A page that draws what the handler sees, while it runs: served by a thread of its own, with
//! threads for those who watch, so that the handler's has only to say four times a second what
//! there is.
use crate::{BoxError, handler::Handler};
use arguments::cannot_listen;
use market_feed::page::answer;
use std::{
    fmt::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, blocking::Incoming, handshake::server::Accept};

const PAGE: &str = include_str!("page.html");
/// How often it changes.
const BEAT: Duration = Duration::from_millis(250);
/// No more watch at the same time.
const MOST: usize = 8;

/// What is shown.
pub struct Page {
    address: SocketAddr,
    shown: Arc<Mutex<String>>,
    next: Instant,
}

impl Page {
    /// Serves it, until the process ends.
    ///
    /// # Errors
    ///
    /// If there is nowhere to listen.
    pub fn serve(address: SocketAddr) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(address).map_err(cannot_listen(address))?;
        let address = listener.local_addr()?;
        let shown = Arc::<Mutex<String>>::default();
        let (latest, watching) = (shown.clone(), Arc::new(AtomicUsize::new(0)));
        thread::Builder::new().name("page".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let (latest, watching) = (latest.clone(), watching.clone());
                if watching.fetch_add(1, Relaxed) >= MOST {
                    watching.fetch_sub(1, Relaxed);
                    continue; // and the stream is dropped
                }
                // One that leaves is an error to its thread, and nobody's concern.
                thread::spawn(move || {
                    let _ = watch(stream, &latest);
                    watching.fetch_sub(1, Relaxed);
                });
            }
        })?;
        Ok(Self { address, shown, next: Instant::now() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows how the handler is, if it is time to.
    pub fn show(&mut self, handler: &mut Handler) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + BEAT;
        let seen = seen(handler);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// The page, or what it draws.
fn watch(stream: TcpStream, shown: &Mutex<String>) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let config =
        Config { max_message: 1 << 10, write_timeout: Duration::from_secs(5), ..Config::default() };
    let (incoming, checked) = Incoming::read_any(stream, &config)?;
    if let Err(error) = checked {
        let answer = answer(PAGE, &incoming.request(), error)?;
        return Ok(incoming.reject(answer)?);
    }
    let mut ws = incoming.accept(Accept::default())?;
    loop {
        let seen = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ws.send(&*seen)?;
        thread::sleep(BEAT);
    }
}

/// As JSON: `[open lines, delivered, lost]` of each feed, and of each stage its name, percentiles,
/// and how many took up to 2⁸ ns, 2⁹ ns, and so on.
fn seen(handler: &mut Handler) -> String {
    let mut open = vec![0; handler.feeds().len()];
    handler.lines().iter().filter(|line| line.is_open()).for_each(|line| open[line.feed()] += 1);
    let (mut out, messages) = ("{\"feeds\":[".to_owned(), handler.messages());
    for (feed, open) in handler.feeds().iter().zip(open) {
        let comma = if out.ends_with('[') { "" } else { "," };
        let _ = write!(out, "{comma}[{open},{},{}]", feed.tally.delivered, feed.tally.lost);
    }
    let _ = write!(out, "],\"messages\":{messages},\"stages\":[");
    for (name, stage) in handler.stages().each() {
        let comma = if out.ends_with('[') { "" } else { "," };
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| stage.value_at_quantile(part));
        let max = stage.max();
        let _ =
            write!(out, "{comma}{{\"name\":\"{name}\",\"p\":[{p50},{p99},{p999},{max}],\"n\":[");
        for bits in 8..28 {
            let from = if bits == 8 { 0 } else { 1 << (bits - 1) };
            let comma = if bits == 8 { "" } else { "," };
            let _ = write!(out, "{comma}{}", stage.count_between(from, (1 << bits) - 1));
        }
        out.push_str("]}");
    }
    out.push_str("]}");
    out
}
