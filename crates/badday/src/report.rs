//! What became of a client: the end of a day.
use crate::{
    applied::Applied,
    sight::{Delivered, Outage},
    visitor::Ban,
};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// What became of a client.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Report {
    /// The day's name.
    pub day: &'static str,
    /// How many times faster its quiet times were.
    pub speed: u32,
    /// How long the day was played.
    pub played: Duration,
    /// The attempts to connect.
    pub dials: usize,
    /// The most of them in any five minutes.
    pub dials_in_five_minutes: usize,
    /// The WebSockets opened.
    pub connected: usize,
    /// Those of them that were refused.
    pub refused: usize,
    /// The connections that were ended for what the client did, or left undone: too many messages,
    /// or no text, Pong or subscription in time.
    pub expelled: usize,
    /// The client's texts, Pings and Pongs.
    pub messages: usize,
    /// The most of them in any second, on all connections.
    pub messages_in_a_second: usize,
    /// The snapshots asked for over HTTP.
    pub snapshots: usize,
    /// The most of them in any five minutes.
    pub snapshots_in_five_minutes: usize,
    /// Those of them that were refused.
    pub snapshots_refused: usize,
    /// What became of the updates.
    pub delivered: Delivered,
    /// The symbols whose book must be wrong at the end, because a snapshot is missing.
    pub without_snapshot: Vec<String>,
    /// The rules broken.
    pub strikes: usize,
    /// The last one.
    pub last_strike: Option<Ban>,
    /// When and why the client was banned for the first time.
    pub banned: Option<Ban>,
    /// Whether there was ever a subscription.
    pub subscribed: bool,
    /// The times without a healthy subscription, after the first.
    pub outages: Vec<Outage>,
    /// The longest outage that a good client may have, beyond what is excused.
    pub allowed: Duration,
    /// How the bot's own books came out, if it has said so.
    pub applied: Option<Applied>,
}

impl Report {
    /// How long the client was blind in all.
    #[must_use]
    pub fn blind(&self) -> Duration {
        total(&self.outages)
    }

    /// The longest outage.
    #[must_use]
    pub fn worst(&self) -> Duration {
        worst(&self.outages)
    }

    /// What a good client would have done better; nothing if the client has passed.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.subscribed {
            found.push("it never subscribed".into());
        }
        if let Some(ban) = &self.banned {
            found.push(format!("it was banned at {}: {}", seconds(ban.at), ban.why));
        }
        if self.expelled > 0 {
            let times = self.expelled;
            found.push(format!("{times} connections were ended for what it did, or left undone"));
        }
        for outage in &self.outages {
            let own = outage.lasted - outage.excused;
            if own > self.allowed {
                found.push(format!(
                    "it was blind for {} at {}, after {}; {} would do",
                    seconds(outage.lasted),
                    seconds(outage.at),
                    outage.after,
                    seconds(outage.excused + self.allowed),
                ));
            }
        }
        for outage in self.applied.iter().flat_map(|applied| &applied.outages) {
            if outage.lasted.saturating_sub(outage.excused) > self.allowed {
                found.push(format!(
                    "it had no right book for {} at {}, after {}; {} would do",
                    seconds(outage.lasted),
                    seconds(outage.at),
                    outage.after,
                    seconds(outage.excused + self.allowed),
                ));
            }
        }
        for symbol in self.applied.iter().flat_map(|applied| &applied.never) {
            found.push(format!("it never had a right book of {symbol}"));
        }
        for symbol in &self.without_snapshot {
            found
                .push(format!("its book of {symbol} must be wrong: no snapshot was taken in time"));
        }
        if let Some(applied) = &self.applied {
            let more = applied.fault_count - applied.faults.len() as u64;
            found.extend(applied.faults.iter().map(|fault| format!("its book is wrong: {fault}")));
            if more > 0 {
                found.push(format!("and {more} more faults of its books"));
            }
        }
        found
    }

    /// The report as JSON; times are in seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ban = |ban: &Option<Ban>| {
            ban.as_ref().map(|ban| json!({ "at": ban.at.as_secs_f64(), "why": ban.why }))
        };
        let outages = |outages: &[Outage]| -> Vec<Value> {
            let outage = |outage: &Outage| {
                json!({
                    "at": outage.at.as_secs_f64(), "lasted": outage.lasted.as_secs_f64(),
                    "excused": outage.excused.as_secs_f64(), "after": outage.after,
                })
            };
            outages.iter().map(outage).collect()
        };
        let applied = self.applied.as_ref().map(|applied| {
            json!({
                "updates": applied.updates, "snapshots": applied.snapshots, "gaps": applied.gaps,
                "twice": applied.twice, "faults": applied.fault_count,
                "without_book": total(&applied.outages).as_secs_f64(),
                "worst": worst(&applied.outages).as_secs_f64(),
                "outages": outages(&applied.outages), "never": applied.never,
            })
        });
        json!({
            "day": self.day,
            "speed": self.speed,
            "played": self.played.as_secs_f64(),
            "passed": self.complaints().is_empty(),
            "complaints": self.complaints(),
            "dials": self.dials,
            "dials_in_five_minutes": self.dials_in_five_minutes,
            "connected": self.connected,
            "refused": self.refused,
            "expelled": self.expelled,
            "messages": self.messages,
            "messages_in_a_second": self.messages_in_a_second,
            "snapshots": self.snapshots,
            "snapshots_in_five_minutes": self.snapshots_in_five_minutes,
            "snapshots_refused": self.snapshots_refused,
            "delivered": {
                "made": self.delivered.made, "live": self.delivered.live,
                "by_snapshot": self.delivered.by_snapshot, "never": self.delivered.never,
            },
            "strikes": self.strikes,
            "last_strike": ban(&self.last_strike),
            "banned": ban(&self.banned),
            "blind": self.blind().as_secs_f64(),
            "worst": self.worst().as_secs_f64(),
            "outages": outages(&self.outages),
            "applied": applied,
        })
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn total(outages: &[Outage]) -> Duration {
    outages.iter().map(|outage| outage.lasted).sum()
}

fn worst(outages: &[Outage]) -> Duration {
    outages.iter().map(|outage| outage.lasted).max().unwrap_or_default()
}

/// A row for all of them, and a line for each.
fn write_outages(f: &mut fmt::Formatter<'_>, name: &str, outages: &[Outage]) -> fmt::Result {
    let all = seconds(total(outages));
    let longest = seconds(worst(outages));
    writeln!(f, "{name:10} {all} in all, {longest} at worst")?;
    for outage in outages {
        writeln!(
            f,
            "           {} at {}, after {} ({} excused)",
            seconds(outage.lasted),
            seconds(outage.at),
            outage.after,
            seconds(outage.excused),
        )?;
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} at speed {}", self.day, seconds(self.played), self.speed)?;
        writeln!(
            f,
            "dials      {}, at most {} in five minutes; {} opened, {} refused, {} expelled",
            self.dials, self.dials_in_five_minutes, self.connected, self.refused, self.expelled,
        )?;
        writeln!(
            f,
            "messages   {}, at most {} in a second",
            self.messages, self.messages_in_a_second
        )?;
        writeln!(
            f,
            "snapshots  {}, at most {} in five minutes; {} refused",
            self.snapshots, self.snapshots_in_five_minutes, self.snapshots_refused
        )?;
        let Delivered { made, live, by_snapshot, never } = self.delivered;
        writeln!(
            f,
            "delivered  {live} of {made} updates live, {by_snapshot} by a snapshot, {never} never"
        )?;
        write_outages(f, "blind", &self.outages)?;
        match &self.banned {
            Some(ban) => writeln!(f, "banned     at {}: {}", seconds(ban.at), ban.why)?,
            None => writeln!(f, "banned     no ({} strikes)", self.strikes)?,
        }
        if let Some(applied) = &self.applied {
            writeln!(
                f,
                "applied    {} updates, {} snapshots, {} gaps, {} twice, {} faults",
                applied.updates,
                applied.snapshots,
                applied.gaps,
                applied.twice,
                applied.fault_count
            )?;
            write_outages(f, "no book", &applied.outages)?;
        }
        let complaints = self.complaints();
        for complaint in &complaints {
            writeln!(f, "- {complaint}")?;
        }
        match complaints.is_empty() {
            true => write!(f, "passed"),
            false => write!(f, "failed"),
        }
    }
}
