//! The closing, fragment, Ping and deadline machine of both ends together, explored exhaustively: see
//! README.md beside this folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod end;
mod explore;
mod wire;
mod world;

use end::Op::{self, Abort, Close, Fail, First, Last, Message, Ping, Violate};
use explore::{Explorer, report};
use std::{
    env, thread,
    time::{Duration, Instant},
};
use world::{Pace, Scenario};

const PLAIN: Scenario = Scenario {
    name: "",
    client: &[],
    server: &[],
    cuts: true,
    faults: 0,
    blocks: 0,
    delays: 0,
    pace: Pace::Prompt,
    by_hand: false,
    heartbeat: false,
    ticks: u8::MAX,
};

/// Within seconds, not optimised.
fn short() -> Vec<Scenario> {
    const ONE: Scenario = Scenario { faults: 1, cuts: false, ..PLAIN };
    vec![
        Scenario { name: "close", client: &[Close], server: &[Message, Close], ..ONE },
        Scenario { name: "abort", client: &[First, Abort], server: &[Ping], ..ONE },
        Scenario { name: "fail", client: &[Ping], server: &[Message, Fail], ..ONE },
        Scenario { name: "violation", client: &[Violate], server: &[Ping], ..ONE },
        Scenario { name: "behind", client: &[Close], server: &[Ping, Close], ..PLAIN },
    ]
}

/// Two ends with four frames each, under everything that may go wrong, one kind at a time; and shorter ones under
/// all of it.
fn full() -> Vec<Scenario> {
    let fragments: &[Op] = &[First, Last, Ping, Close];
    let messages: &[Op] = &[Message, Ping, Message, Close];
    let aborts: &[Op] = &[First, Last, Ping, Abort];
    let fails: &[Op] = &[Message, Ping, Fail, Message];
    let behind: &[Op] = &[Ping, Close, Ping, Message];
    let violates: &[Op] = &[First, Ping, Violate, Close];
    let pairs: [(&str, &[Op], &[Op]); 6] = [
        ("close", fragments, messages),
        ("abort", messages, aborts),
        ("fail", fails, fragments),
        ("behind", behind, behind),
        ("violation", violates, messages),
        ("by hand", messages, fragments),
    ];
    const CALM: Scenario = Scenario { cuts: false, ..PLAIN };
    let four = pairs.into_iter().flat_map(|(name, client, server)| {
        let by_hand = name == "by hand";
        [
            Scenario { name, client, server, by_hand, ..CALM },
            Scenario { name, client, server, by_hand, delays: 1, ..CALM },
            Scenario { name, client, server, by_hand, blocks: 1, ..CALM },
            Scenario { name, client, server, by_hand, faults: 1, ..CALM },
            Scenario { name, client, server, by_hand, cuts: true, ..CALM },
        ]
    });
    const ALL: Scenario = Scenario { faults: 1, blocks: 1, delays: 1, ..PLAIN };
    let two = [
        Scenario { name: "two", client: &[Message, Close], server: &[Ping, Close], ..ALL },
        Scenario { name: "two", client: &[First, Abort], server: &[Ping, Fail], ..ALL },
        Scenario { name: "two", client: &[Close, Ping], server: &[Violate], ..ALL },
        Scenario { name: "two faults", client: &[Close], server: &[Message], faults: 2, ..ALL },
        Scenario { name: "loose", client: &[Ping, Close], server: &[Message, Close], ..CALM },
        Scenario { name: "loose", client: &[Close], server: &[Ping, Abort], faults: 1, ..CALM },
        Scenario { name: "lazy", client: &[Message], server: &[Ping, Fail], faults: 1, ..CALM },
        Scenario { name: "lazy", client: &[Close], server: &[Close], faults: 1, ..CALM },
        Scenario {
            name: "heartbeat",
            client: &[Close],
            heartbeat: true,
            ticks: 16,
            faults: 1,
            ..CALM
        },
    ];
    let paced = two.into_iter().map(|it| match it.name {
        "loose" => Scenario { pace: Pace::Loose, ..it },
        "lazy" => Scenario { pace: Pace::Lazy, ..it },
        _ => it,
    });
    four.chain(paced).collect()
}

/// Each scenario takes at most `SEARCH_SECONDS`, and says so where that is not all of it.
fn explore(scenarios: Vec<Scenario>, follow: u64) {
    let most = env::var("SEARCH_SECONDS").map_or(180, |n| n.parse().unwrap());
    let most = Duration::from_secs(most);
    let all = move || {
        for scenario in scenarios {
            let began = Instant::now();
            let (explorer, result) = Explorer::run(scenario, follow, most);
            report(&scenario, &explorer, began);
            if let Err(found) = result {
                panic!("{}\n{:?}\n{}\n{scenario:?}", found.what, found.trace, found.state);
            }
        }
    };
    // A state is some kilobytes of stack, and a way some hundred states long.
    thread::Builder::new().stack_size(256 << 20).spawn(all).unwrap().join().unwrap();
}

#[test]
fn whatever_happens_in_whatever_order_both_ends_close_and_say_what_became_of_it() {
    match env::var("SEARCH").as_deref() {
        Ok("full") => explore(full(), 8),
        Ok(name) => explore(full().into_iter().filter(|it| it.name == name).collect(), 8),
        Err(_) => explore(short(), 4),
    }
}
