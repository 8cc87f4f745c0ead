//! What members missed, out of the broker's log, until they are where the others are.
//!
//! When the member's outbox has room a page is read, and pushed as far as there is room: who reads slowly
//! is waited for, and holds nothing up. Then the [hub](crate::hub) is asked whether that reaches up to what
//! it has: the member gets what comes then.
use crate::{
    bus::{Bus, Failure, Link, Page, answer, backoff},
    channel::subscribed,
    hub::{Hub, Replay},
    protocol::{Envelope, Place},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{io, rc::Rc, time::Duration};
use tickwire::Time;
use tokio::{
    select,
    sync::{Mutex, Semaphore},
    time::{Instant, sleep},
};

/// As many pages are read at once; more wait.
const AT_ONCE: usize = 32;

/// How long to wait when there is nothing to read, and the hub is not there yet.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Replays<'h, B: Bus> {
    bus: B,
    hub: &'h Hub,
    epoch: Instant,
    /// All read on one connection, of which the first who needs it makes the next.
    link: Mutex<Option<Rc<B::Link>>>,
    turns: Semaphore,
}

impl<'h, B: Bus> Replays<'h, B> {
    pub fn new(bus: B, hub: &'h Hub, epoch: Instant) -> Self {
        Self { bus, hub, epoch, link: Mutex::new(None), turns: Semaphore::new(AT_ONCE) }
    }

    /// Does not end.
    pub async fn run(self) -> io::Result<()> {
        let mut all = FuturesUnordered::new();
        loop {
            select! {
                Some(ended) = all.next() => ended?,
                () = self.hub.behind.notified() => {
                    all.extend(self.hub.replays().into_iter().map(|replay| self.replay(replay)));
                }
            }
        }
    }

    /// One, until it is live or wants no more.
    async fn replay(&self, replay: Replay) -> io::Result<()> {
        let (mut place, mut told) = (replay.place, false);
        let mut backoff = backoff()?;
        while self.room(&replay).await {
            let Ok(turn) = self.turns.acquire().await else { return Ok(()) };
            if !self.hub.reads(&replay) {
                return Ok(());
            }
            let here = self.hub.place(&replay.channel);
            let page = match self.read(&replay.channel, place.at).await {
                Ok(page) => page,
                Err(error) => {
                    drop(turn);
                    eprintln!("{}: reading: {error}", B::NAME);
                    sleep(backoff.next().unwrap_or(PAUSE)).await;
                    continue;
                }
            };
            backoff.reset();
            let mut more = false;
            if !self.hub.if_reads(&replay, || more = self.push(&replay, &mut place, &page, told)) {
                return Ok(());
            }
            told = true;
            drop(turn);
            // Before this was read the hub had no more than that: it has all of it now.
            if let Some(here) = here.filter(|here| !more && here.log == place.log) {
                place.at = place.at.max(here.at);
            }
            if self.hub.caught_up(self.now(), &replay, place) {
                return Ok(());
            }
            if !more {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Pushes a page as far as there is room, and says whether there was anything behind the place.
    fn push(&self, replay: &Replay, place: &mut Place, page: &Page, told: bool) -> bool {
        let tell = |text: &str| replay.who.tell(self.now(), text);
        let missing = missing(place, page);
        if missing {
            tell(&format!("gap {} ?", replay.channel));
        }
        if missing || !told {
            tell(&subscribed(&replay.channel, Some(*place)));
        }
        let last = page.messages.last().map_or(0, |(at, _)| *at);
        let more = last > place.at; // or they are of another log
        for (at, message) in &page.messages {
            if *at <= place.at {
                continue;
            }
            if !replay.who.has_room(0) {
                break; // the rest is read again
            }
            let envelope = Envelope::open(message);
            replay.who.push(self.now(), &envelope.prepare(&replay.channel, Some(*at)), 0);
            place.at = *at;
        }
        more
    }

    async fn read(&self, channel: &str, after: u64) -> Result<Page, Failure> {
        let mut shared = self.link.lock().await;
        let link = match &*shared {
            Some(link) => link.clone(),
            None => shared.insert(Rc::new(self.bus.link().await?)).clone(),
        };
        drop(shared);
        let page = answer(link.read(channel, after)).await;
        if page.is_err() {
            let mut shared = self.link.lock().await;
            if shared.as_ref().is_some_and(|now| Rc::ptr_eq(now, &link)) {
                *shared = None;
            }
        }
        page
    }

    /// Waits until more may be pushed; `false`: nobody wants it any more.
    async fn room(&self, replay: &Replay) -> bool {
        loop {
            let freed = replay.who.freed.notified();
            if !self.hub.reads(replay) {
                return false;
            }
            if replay.who.has_room(0) {
                return true;
            }
            freed.await;
        }
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}

/// Whether something between a place and what is kept is not kept, or nobody can know: then the place is
/// put where what is kept begins, or for another log, where it ends.
fn missing(place: &mut Place, page: &Page) -> bool {
    if place.log != page.log || place.at > page.last {
        *place = Place { log: page.log, at: page.last };
        return true;
    }
    let deleted = place.at + 1 < page.first;
    if deleted {
        place.at = page.first - 1;
    }
    deleted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_log_has_is_read_on_from() {
        let page = Page { log: 7, first: 10, last: 20, messages: Vec::new() };
        for (log, at, missed, from) in [
            (7, 9, false, 9),
            (7, 20, false, 20),
            (7, 8, true, 9),
            (7, 21, true, 20),
            (6, 15, true, 20),
        ] {
            let mut place = Place { log, at };
            assert_eq!(missing(&mut place, &page), missed, "{log} {at}");
            assert_eq!(place, Place { log: 7, at: from });
        }
    }
}
