//! The loop, on tokio.
use super::feed::{Feed, PROVEN, Subscription};
use std::time::Instant;
use tickwire::{Dial, Error};
use tickwire_parts::Backoff;
use tokio::time::sleep;

/// Follows a feed over as many connections as it takes; returns when another would not help: the
/// code of a Close that is meant to last, or an error such as status 401.
pub(crate) async fn run(
    subscription: &Subscription,
    backoff: &mut Backoff,
    feed: &mut impl Feed,
) -> Result<u16, Error> {
    loop {
        let ended = session(subscription, backoff, feed).await;
        let delay = match &ended {
            Ok(code) => backoff.after_close(*code),
            Err(error) => backoff.after_error(error.retry_delay()),
        };
        let Some(delay) = delay else { return ended };
        feed.gap(&ended, delay);
        sleep(delay).await;
    }
}

/// One connection, from saying who we are to its end.
async fn session(
    subscription: &Subscription,
    backoff: &mut Backoff,
    feed: &mut impl Feed,
) -> Result<u16, Error> {
    let mut ws = Dial::new(&subscription.request).connect(&subscription.config).await?;
    let opened = Instant::now();
    ws.feed(&*format!("auth {}", subscription.token))?;
    for topic in &subscription.topics {
        ws.feed(&*format!("subscribe {topic}"))?;
    }
    ws.flush().await?;
    while let Some(message) = ws.recv().await? {
        // Not before: that it was opened says little, and so does a message, where each connection
        // ends right behind one.
        if opened.elapsed() >= PROVEN {
            backoff.reset();
        }
        feed.message(message);
    }
    Ok(ws.closed().map_or(1006, |end| end.code))
}
