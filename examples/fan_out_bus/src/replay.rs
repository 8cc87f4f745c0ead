//! Reads the broker's log for members that are further behind than their channel's tail reaches.
//!
//! One reader serves a channel: each page goes to every member that needs it. A member without room
//! gets the rest later, as fast as it reads.
use crate::{
    bus::{Bus, Failure, Link, Page, answer, backoff},
    channel::Need,
    hub::Hub,
    protocol::Envelope,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    io,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tickwire::{Prepared, Time};
use tokio::{
    select,
    sync::{Mutex, Semaphore},
    time::{Instant, sleep},
};

/// As many pages are read at once; more wait.
const AT_ONCE: usize = 32;

/// How long to wait for room, and when there is nothing to read.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Replays<'h, B: Bus> {
    bus: B,
    hub: &'h Hub,
    epoch: Instant,
    /// All share one, which lasts while somebody reads.
    link: Mutex<Weak<B::Link>>,
    turns: Semaphore,
}

impl<'h, B: Bus> Replays<'h, B> {
    pub fn new(bus: B, hub: &'h Hub, epoch: Instant) -> Self {
        Self { bus, hub, epoch, link: Mutex::new(Weak::new()), turns: Semaphore::new(AT_ONCE) }
    }

    /// Does not end.
    pub async fn run(self) -> io::Result<()> {
        let mut all = FuturesUnordered::new();
        loop {
            select! {
                Some(ended) = all.next() => ended?,
                () = self.hub.unserved.notified() => {
                    all.extend(self.hub.behind().into_iter().map(|channel| self.serve(channel)));
                }
            }
        }
    }

    /// One channel, until none of its members is behind.
    async fn serve(&self, channel: Arc<str>) -> io::Result<()> {
        let mut backoff = backoff()?;
        while let Some(need) = self.hub.serve(self.now(), &channel) {
            let Need::Read(after) = need else {
                sleep(PAUSE).await;
                continue;
            };
            let Ok(turn) = self.turns.acquire().await else { return Ok(()) };
            match self.read(&channel, after).await {
                Ok(page) => {
                    backoff.reset();
                    if !self.hub.read(self.now(), &channel, &page) || page.messages.is_empty() {
                        sleep(PAUSE).await; // the hub is about to hear of that, too
                    }
                }
                Err(error) => {
                    drop(turn);
                    eprintln!("{}: reading: {error}", B::NAME);
                    sleep(backoff.next().unwrap_or(PAUSE)).await;
                }
            }
        }
        Ok(())
    }

    async fn read(&self, channel: &str, after: u64) -> Result<Page<Prepared>, Failure> {
        let mut shared = self.link.lock().await;
        let link = match shared.upgrade() {
            Some(link) => link,
            None => Rc::new(self.bus.link().await?),
        };
        *shared = Rc::downgrade(&link);
        drop(shared);
        let page = answer(link.read(channel, after)).await;
        if page.is_err() {
            *self.link.lock().await = Weak::new(); // the next one may do better
        }
        page.map(|Page { log, first, last, after, end, messages }| {
            let prepare = |(at, message): (u64, Vec<u8>)| {
                (at, Envelope::open(&message).prepare(channel, Some(at)))
            };
            let messages = messages.into_iter().map(prepare).collect();
            Page { log, first, last, after, end, messages }
        })
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}
