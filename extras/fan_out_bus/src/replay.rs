//! Reads the broker's log for members that are further behind than their channel's tail reaches.
//!
//! Each page goes to every member of its channel that needs it. A member whose outbox has no room
//! gets the rest later, as fast as it reads.
use crate::{
    bus::{Bus, Link, Page, Result, answer, backoff},
    channel::Need,
    hub::Hub,
    protocol,
};
use std::{io, time::Duration};
use tickwire::Prepared;
use tokio::time::sleep;

/// How long to wait for room, and when there is nothing to read.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads a page of each channel in turn. Does not end.
pub async fn replay<B: Bus>(bus: &B, hub: &Hub) -> io::Result<()> {
    let (mut link, mut backoff) = (None, backoff()?);
    loop {
        let mut moved = false;
        let channels = hub.behind();
        if channels.is_empty() {
            link = None;
            hub.unserved.notified().await;
            continue;
        }
        for channel in channels {
            let Some(need) = hub.serve(&channel) else { continue };
            let Need::Read(after) = need else { continue };
            match read(bus, &mut link, &channel, after).await {
                Ok(page) => {
                    backoff.reset();
                    moved |= hub.read(&channel, &page) && !page.messages.is_empty();
                }
                Err(error) => {
                    link = None;
                    eprintln!("{}: reading: {error}", B::NAME);
                    sleep(backoff.next().unwrap_or(PAUSE)).await;
                }
            }
        }
        if !moved {
            sleep(PAUSE).await;
        }
    }
}

async fn read<B: Bus>(
    bus: &B,
    link: &mut Option<B::Link>,
    channel: &str,
    after: u64,
) -> Result<Page<Prepared>> {
    let link = match link {
        Some(link) => link,
        none => none.insert(bus.connect().await?.0),
    };
    let Page { log, first, last, after, end, messages } = answer(link.read(channel, after)).await?;
    let prepare =
        |(at, payload): (u64, Vec<u8>)| (at, protocol::prepare(channel, Some(at), &payload));
    let messages = messages.into_iter().map(prepare).collect();
    Ok(Page { log, first, last, after, end, messages })
}
