//! A real broker, three processes, subscribers of each, publishers anywhere, and a restart of the
//! broker in the middle: over Redis, then over NATS. Prints `ok` or `FAIL` and what was checked, a line
//! each.
//!
//! Needs `redis-server` and `nats-server` (in the PATH, or as REDIS_SERVER and NATS_SERVER); says so and
//! passes where one is missing. All on the loopback, on free ports; what is started here ends here.
mod common;

use common::{
    Broker, Checks, Client, Kind, MANY, PATIENCE, Server, in_order, main_of, publisher, within,
};
use std::{collections::HashMap, process::ExitCode, thread};

fn main() -> ExitCode {
    main_of("three_processes", &[Kind::Redis, Kind::Nats], run)
}

fn run(mut broker: Broker, checks: &mut Checks) {
    let servers = [(); 3].map(|()| Server::new(&broker));

    // Three subscribers of each process: one of a, one of b, one of both.
    let mut clients: Vec<(usize, [bool; 2], Client)> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        for wants in [[true, false], [false, true], [true, true]] {
            clients.push((at, wants, Client::new(server)));
        }
    }
    let all = clients.iter_mut().all(|(_, [a, b], client)| {
        (!*a || client.ask("sub a", "subscribed a")) && (!*b || client.ask("sub b", "subscribed b"))
    });
    checks.check("nine subscribers of three processes are told that they are subscribed", all);
    let once = broker.subscribed("a") == Some(3) && broker.subscribed("b") == Some(3);
    checks.check("each process subscribes at the broker once, whoever many want a channel", once);
    checks.check("and to nothing that nobody wants", broker.subscribed("c") == Some(0));

    // Two programs publish on a, clients of two processes on b.
    let mut speakers = [Client::new(&servers[0]), Client::new(&servers[1])];
    let (said, ended) = publish(&broker, &mut speakers);
    checks.check("clients of two processes are told that the broker has what they published", said);
    checks.check("two programs have published", ended);
    let one = broker.kind != Kind::Redis || broker.connections() == Some(3);
    checks.check("a process has one connection, to subscribe and to publish", one);
    received(checks, &mut clients, broker.kind, "all of both publishers");
    if checks.failed {
        return; // no need to wait for all the rest of it
    }

    // Anybody can publish; what is no text is binary.
    let plain = broker.publish("feed:a", "by hand") == Some(3);
    let told = on(&mut clients, 0, |client| client.is_told("message a - 0 0 by hand"));
    checks
        .check("what any client of the broker publishes arrives, without a number", plain && told);
    checks.check("another application's channels are out of reach", {
        let reached = broker.publish("a", "not ours");
        reached == Some(0)
    });
    let _ = speakers[0].ws.send(&b"pub b \xff\x00"[..]);
    let binary = speakers[0].is_told_so("published b ")
        && on(&mut clients, 1, |client| match client.ws.recv() {
            Ok(Some(message)) => {
                message.as_text().is_none() && message.as_bytes().ends_with(b" \xff\x00")
            }
            _ => false,
        });
    checks.check("a payload that is no text arrives as a binary message", binary);
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());

    // The broker goes, and comes back.
    broker.kill();
    let stale = on(&mut clients, 0, |client| client.knows("stale a"))
        & on(&mut clients, 1, |client| client.knows("stale b"));
    checks.check("when the broker is killed all are told that what they see is stale", stale);
    let refused = (0..3).all(|_| speakers[0].ask("pub b lost", "error not published on b"));
    checks.check("who publishes meanwhile is told that it failed", refused);
    let mut late = Client::new(&servers[0]);
    late.say("sub a");
    checks.check("it is started again", broker.start() == Ok(true));
    let back = on(&mut clients, 0, |client| client.knows("gap a ?"))
        & on(&mut clients, 1, |client| client.knows("gap b ?"));
    checks.check("all are told of the gap, on the connections they had", back);
    let late_in = late.is_told("subscribed a") && late.seen.len() == 1;
    checks.check("who came meanwhile is subscribed then, and told of no gap", late_in);
    let [tries, others] = [(0, "b"), (1, "c")].map(|(at, channel)| {
        let speaker = &mut speakers[at];
        let mut tries = 0;
        let done = within(PATIENCE, || {
            tries += 1;
            speaker.say(&format!("pub {channel} back"));
            let answer = speaker.told(|t| t.starts_with("published") || t.starts_with("error"));
            answer.is_ok_and(|answer| answer.starts_with("published")).then_some(())
        });
        done.map(|()| tries)
    });
    let again = tries.and(others);
    let lost = 3 + tries.unwrap_or(1) - 1;
    checks.check("the same clients can publish again", again.is_some());
    if checks.failed {
        return;
    }
    let counted = on(&mut clients, 1, |client| client.knows(&format!("gap b {lost}")));
    checks.check("how many are missing is told by the first message behind", counted);
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());
    let told = on(&mut clients, 1, |client| client.is_told_so("message b "));
    checks.check("which arrives", told);
    checks.check("all publish again", publish(&broker, &mut speakers) == (true, true));
    if checks.failed {
        return;
    }
    clients.iter_mut().for_each(|(_, _, client)| client.seen.clear());
    received(checks, &mut clients, broker.kind, "all of both publishers after the restart");
    let calm =
        !clients.iter().any(|(_, _, client)| client.seen.iter().any(|l| l.starts_with("gap")));
    checks.check("and no gap that is none", calm);

    // What it shows.
    let shown = servers.iter().all(|server| server.prints(", lag p50 ").is_some());
    checks.check("each process shows its lag", shown);
    let shown = servers
        .iter()
        .all(|server| server.prints(&format!("{} gone or not reached ", broker.name())).is_some());
    checks.check("and that the broker was lost", shown);

    // They leave: one says so, the others just go.
    for (at, wants, client) in &mut clients {
        if *at == 2 && wants[1] {
            client.ask("unsub b", "unsubscribed b");
        }
    }
    checks.check("when the last of a process gives a channel up, so does the process", {
        broker.comes_to("b", 2) && broker.subscribed("a") == Some(3)
    });
    clients.retain(|(at, _, _)| *at != 2);
    checks.check("or when the last has gone", broker.comes_to("a", 2));
}

/// Two programs publish on a, clients of two processes on b: whether the clients, and the programs, were told
/// that the broker has all.
fn publish(broker: &Broker, speakers: &mut [Client; 2]) -> (bool, bool) {
    let mut programs = [publisher(broker, "a", MANY, 4000), publisher(broker, "a", MANY, 4000)];
    let said = thread::scope(|scope| {
        let said = speakers.each_mut().map(|one| scope.spawn(|| one.publishes("b", MANY)));
        said.map(|one| one.join().unwrap())
    });
    let ended = programs.each_mut().map(|one| one.0.wait().is_ok_and(|status| status.success()));
    (said == [true; 2], ended == [true; 2])
}

/// Whether this is so for all who want channel a (0) or b (1).
fn on(
    clients: &mut [(usize, [bool; 2], Client)],
    channel: usize,
    mut so: impl FnMut(&mut Client) -> bool,
) -> bool {
    let concerned = clients.iter_mut().filter(|(_, wants, _)| wants[channel]);
    concerned.map(|(_, _, client)| so(client)).fold(true, |all, one| all & one)
}

/// Each has got as many on each of its channels, in order, and all the same.
fn received(
    checks: &mut Checks,
    clients: &mut [(usize, [bool; 2], Client)],
    kind: Kind,
    what: &str,
) {
    let messages = 2 * MANY;
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        let got = on(clients, at, |client| client.reads(name, messages));
        checks.check(&format!("every subscriber of {name} has {what}"), got);
        let order = on(clients, at, |client| in_order(&client.messages(name)));
        checks.check(&format!("each publisher's are in its order on {name}"), order);
        // NATS promises the order of each publisher, and a process has one order for its own.
        let mut orders = HashMap::new();
        let concerned = clients.iter().filter(|(_, wants, _)| wants[at]);
        let same = concerned.map(|(process, _, client)| {
            let who = if kind == Kind::Nats { *process } else { 0 };
            let messages = client.messages(name);
            *orders.entry(who).or_insert_with(|| messages.clone()) == messages
        });
        let same = same.fold(true, |all, one| all & one);
        checks.check(&format!("and all subscribers of {name} have seen one order"), same);
    }
}
