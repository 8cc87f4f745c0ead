//! The closing, fragment, Ping and deadline machine of both ends together, explored exhaustively:
//! see README.md beside this folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod end;
mod ends;
mod explore;
mod holds;
mod scenario;
mod wire;
mod world;

use explore::{Explorer, report};
use scenario::{Scenario, full, short};
use std::{
    env,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use world::Pair;

/// Two scenarios at a time. One takes at most `SEARCH_SECONDS`; where that is not all of it, this
/// fails.
fn explore(scenarios: Vec<Scenario>) {
    let most = env::var("SEARCH_SECONDS").map_or(3600, |n| n.parse().unwrap());
    let most = Duration::from_secs(most);
    let queue = Mutex::new(scenarios.into_iter());
    let (cut_short, found) = (Mutex::new(Vec::new()), Mutex::new(None));
    let example = Mutex::new(String::new());
    let work = || {
        while found.lock().unwrap().is_none()
            && let Some(scenario) = { queue.lock().unwrap().next() }
        {
            let began = Instant::now();
            let (explorer, result) = Explorer::run(Pair::new(scenario, true), most);
            println!("{}", report(&explorer, began));
            *example.lock().unwrap() = explorer.example;
            if explorer.stopped {
                cut_short.lock().unwrap().push(scenario);
            }
            if let Err(what) = result {
                found.lock().unwrap().get_or_insert((what, scenario));
            }
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    println!("One of those states:\n{}", example.into_inner().unwrap());
    if let Some((found, scenario)) = found.into_inner().unwrap() {
        panic!("{}\n{:?}\n{}\n{scenario:?}", found.what, found.trace, found.state);
    }
    let cut_short = cut_short.into_inner().unwrap();
    assert!(cut_short.is_empty(), "NOT EXHAUSTED: {cut_short:#?}");
}

#[test]
fn whatever_happens_in_whatever_order_both_ends_close_and_say_what_became_of_it() {
    match env::var("SEARCH").as_deref() {
        Ok("full") => explore(full()),
        Ok(name) => explore(full().into_iter().filter(|it| it.name == name).collect()),
        Err(_) => explore(short()),
    }
}

/// See README.md.
#[test]
fn letting_an_end_go_first_leaves_out_no_settled_state() {
    for scenario in short() {
        let [whole, reduced] = [false, true].map(|reduced| {
            let (explorer, result) = Explorer::run(Pair::new(scenario, reduced), Duration::MAX);
            let what = result.map_err(|found| found.what);
            assert!(what == Ok(()) && !explorer.stopped, "{what:?}");
            explorer
        });
        println!("{} of {} states", reduced.states(), whole.states());
        assert!(whole.settled() == reduced.settled(), "{scenario:?}");
        assert!(reduced.states() < whole.states());
    }
}
