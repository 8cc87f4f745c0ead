//! A page that draws what the handler sees, while the handler runs. The page is the file
//! `page.html`, which the browser opens itself: the loop accepts WebSockets, and serves no files.
use crate::{
    BoxError,
    feed::Feed,
    line::{Line, Peer},
    stages::Stages,
};
use arguments::cannot_listen;
use std::{fmt::Write, net::SocketAddr, time::Duration};
use tickwire::{
    Config, Entropy, Prepared, SystemEntropy,
    handshake::{
        HandshakeError,
        server::{Accept, Rejection, RequestHead},
    },
};
use tickwire_loop::{Answer, Door, Handle, Net};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page.html");
/// How often the state is sent.
const BEAT: Duration = Duration::from_millis(250);
/// The number of the timer for [`Page::show`]. The handler's own timers have small numbers.
pub(crate) const TIMER: u64 = u64::MAX;
/// The largest number of connections that may watch at the same time.
const MOST: usize = 8;

/// The connections that watch.
pub(crate) struct Page {
    /// The path that a request must have: `/` and a secret.
    ///
    /// Every page that a user visits can open a WebSocket to the loopback, so such pages must be
    /// refused. The Origin cannot tell our page from theirs: the Origin of a file is `null`, and a
    /// sandboxed frame in a page of any site has this Origin too. So a client has to know the
    /// secret. The printed URL has the secret in its fragment, which no browser sends to a server.
    path: String,
    watchers: Vec<Handle>,
}

impl Page {
    /// Listens, and returns the URL to open in a browser too.
    pub(crate) fn listen(
        net: &mut Net<'_, Peer>,
        address: SocketAddr,
    ) -> Result<(Self, String), BoxError> {
        let write_timeout = Duration::from_secs(5);
        let config = Config { max_message: 1 << 10, write_timeout, ..Config::default() };
        let address = net.listen(address, Door::new(config)).map_err(cannot_listen(address))?;
        let mut secret = [0; 16];
        SystemEntropy::new()?.fill(&mut secret);
        let path = format!("/{:032x}", u128::from_ne_bytes(secret));
        net.set_timer(net.now(), TIMER);
        let url = format!("file://{FILE}#{address}{path}");
        Ok((Self { path, watchers: Vec::new() }, url))
    }

    /// Lets a client watch that knows the secret.
    pub(crate) fn admit(
        &mut self,
        from: Handle,
        request: &RequestHead<'_>,
        answer: &mut Answer<Peer>,
    ) {
        if request.path() != self.path {
            answer.reject(HandshakeError::NotFound);
        } else if self.watchers.len() >= MOST {
            answer.reject(Rejection::new(503));
        } else {
            self.watchers.push(from);
            answer.accept(Accept::default(), Peer::Watcher);
        }
    }

    /// Sends the state to all that watch, and sets the timer for the next time.
    pub(crate) fn show(
        &mut self,
        net: &mut Net<'_, Peer>,
        feeds: &[Feed],
        lines: &[Line],
        stages: &Stages,
    ) {
        self.watchers.retain(|watcher| net.value(*watcher).is_some());
        if !self.watchers.is_empty() {
            // A connection without room misses this state. The next state is complete too.
            let seen = Prepared::new(&*seen(feeds, lines, stages));
            net.send_to(self.watchers.iter().copied(), &seen);
        }
        net.set_timer(net.now() + BEAT, TIMER);
    }
}

/// Returns the state as JSON: `[open lines, delivered, lost]` of each feed, and the name, the
/// percentiles and the histogram of each stage. The histogram has the number of ticks that took up
/// to 2⁸ ns, the number that took up to 2⁹ ns, and so on.
fn seen(feeds: &[Feed], lines: &[Line], stages: &Stages) -> String {
    let mut open = vec![0; feeds.len()];
    lines.iter().filter(|line| line.is_open()).for_each(|line| open[line.feed] += 1);
    let messages: u64 = feeds.iter().map(|feed| feed.tally.messages).sum();
    let mut out = "{\"feeds\":[".to_owned();
    for (feed, open) in feeds.iter().zip(open) {
        let comma = if out.ends_with('[') { "" } else { "," };
        let _ = write!(out, "{comma}[{open},{},{}]", feed.tally.delivered, feed.tally.lost);
    }
    let _ = write!(out, "],\"messages\":{messages},\"stages\":[");
    for (name, stage) in stages.each() {
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
