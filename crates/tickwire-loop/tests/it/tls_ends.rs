//! How TLS ends under the loop, over mio and io_uring. `tls_end` has the table.
use crate::{
    common::{REQUEST, Running, next, read_head},
    placed::placed,
    tls_end::{Ended, Fate, Keys, LAYERS, Peer, STATES, State, hold, is_drawn, narrow},
};
use std::{
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
};
use tickwire::{
    Config, Role,
    handshake::{accept_key, server::Accept},
};
use tickwire_loop::{Dial, Door, End, Event, Settings};

/// A loop whose connections begin as their state says, and what became of each.
fn telling(io_uring: bool, keys: &Keys) -> (Running<State>, Receiver<Fate>) {
    let mut door = Door::new(Config::default());
    if let Some((_, server)) = keys {
        door = door.tls(placed(server.clone()));
    }
    let (tell, told) = channel();
    let mut messages = Vec::new();
    let settings = Settings { io_uring, ..Settings::default() };
    let running = Running::with(settings, door.clone(), move |net, event| match event {
        Event::Request { request, answer, .. } => {
            let state = request.path()[1..].parse::<usize>().unwrap();
            answer.accept(Accept::default(), STATES[state]);
        }
        Event::Open(handle) => {
            let state = *net.value(handle).unwrap();
            state.begin(net.sender(handle).unwrap());
        }
        Event::Message { message, .. } => messages.push(message.as_text().unwrap().to_owned()),
        Event::Closed { end, .. } => {
            let messages = std::mem::take(&mut messages);
            let fate = match end {
                End::Failed(error) => Fate::new(messages, Ended::by(&error), None),
                End::Closed(closed) => {
                    let error = closed.error.map(tickwire::Error::from);
                    let ended = error.map_or(Ended::InOrder, |error| Ended::by(&error));
                    Fate::new(messages, ended, Some(&closed))
                }
                other => panic!("{other:?}"),
            };
            tell.send(fate).unwrap();
        }
        _ => {}
    });
    (running.narrow(door), told)
}

/// A peer of the loop, after both opening handshakes.
fn open(
    running: &Running<State>,
    peers: &TcpListener,
    role: Role,
    keys: &Keys,
    state: State,
) -> Peer {
    match role {
        Role::Server => {
            let mut peer = Peer::new(running.raw(), role, keys);
            peer.say(REQUEST.replace("/feed", &format!("/{}", state as usize)).as_bytes());
            assert!(read_head(&mut peer).starts_with("HTTP/1.1 101 "));
            peer
        }
        Role::Client => {
            let address = peers.local_addr().unwrap();
            let scheme = if keys.is_some() { "wss" } else { "ws" };
            let mut dial =
                Dial::to(&format!("{scheme}://localhost/")).unwrap().addresses([address]);
            dial = dial.prepare(|socket| narrow(&socket));
            if let Some((client, _)) = keys {
                dial = dial.tls(placed(client.clone()));
            }
            running.call(move |net| net.dial(dial, state).map(drop)).unwrap();
            let (tcp, _) = peers.accept().unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut peer = Peer::new(tcp, role, keys);
            let request = read_head(&mut peer);
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accept_key(key.unwrap())
            );
            peer.say(response.as_bytes());
            peer
        }
    }
}

// A98, T27
#[test]
fn in_each_state_of_a_conversation_each_end_of_tls_is_answered_and_told() {
    let peers = TcpListener::bind("127.0.0.1:0").unwrap();
    for layer in LAYERS {
        let keys = layer.keys(rustls::crypto::ring::default_provider());
        for io_uring in [false, true] {
            let (running, told) = telling(io_uring, &keys);
            if running.call(|net| net.uses_io_uring()) != io_uring {
                continue; // the kernel or the build has none
            }
            for role in [Role::Server, Role::Client] {
                for cell in layer.cells() {
                    if is_drawn(usize::from(io_uring), layer, role, cell) {
                        let peer = open(&running, &peers, role, &keys, cell.0);
                        hold((io_uring, layer, role), cell, peer, || next(&told));
                    }
                }
            }
        }
    }
}
