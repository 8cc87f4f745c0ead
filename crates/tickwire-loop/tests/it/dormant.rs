//! Connections that are dormant in between.
use crate::{
    common::{Running, echo, say},
    slow::{opened, server_at},
};
use std::{io::Read, time::Duration};
use tickwire::{Config, Heartbeat, Message, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Settings};
use tickwire_parts::{Outbox, Overflow};

#[test]
fn many_connections_of_which_one_is_whole_are_served_as_ever() {
    let settings = Settings { max_whole: 1, ..Settings::default() };
    let heartbeat = Some(Heartbeat::new(Duration::from_millis(100), Duration::from_secs(20)));
    let server = echo(settings, Config { heartbeat, ..Config::default() });
    let mut peers: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for round in 0..20_u32 {
        for (i, ws) in peers.iter_mut().enumerate() {
            let text = format!("{round} {i}");
            ws.send(&*text).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Text(&text)));
        }
    }
    server.call(|net| {
        let handles: Vec<_> = net.handles().collect();
        assert_eq!(handles.len(), 20);
        for handle in handles {
            assert!(net.connection(handle).is_some());
            net.send(handle, "pushed").unwrap();
        }
    });
    for ws in &mut peers {
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("pushed")));
        ws.close(tickwire::CloseCode::NORMAL).unwrap();
    }
    server.wait_for(|counts| counts.open == 0 && counts.queued == 0);
}

/// The outbox has a message that the connection does not have yet, and others become whole
/// meanwhile.
#[test]
fn a_message_in_the_outbox_of_an_idle_connection_is_sent() {
    let settings = Settings { max_whole: 1, ..Settings::default() };
    let (server, told) = server_at(settings, Door::new(Config::default()));
    let mut peers: Vec<_> = (0..5).map(|_| server.raw_open()).collect();
    let handles: Vec<_> = peers.iter().map(|_| opened(&told)).collect();
    server.call(move |net| {
        net.set_outbox(handles[0], Outbox::new(Overflow::Wait));
        net.send(handles[0], "kept").unwrap();
        for other in handles[1..].repeat(3) {
            assert!(net.connection(other).is_some());
        }
    });
    let mut kept = [0; 6];
    peers[0].read_exact(&mut kept).unwrap();
    assert_eq!(&kept, b"\x81\x04kept");
}

/// Masking keys stay with a client that sleeps.
#[test]
fn dialed_connections_are_dormant_too() {
    let server = echo(Settings::default(), Config::default());
    let (tell, told) = std::sync::mpsc::channel();
    let settings = Settings { max_whole: 0, ..Settings::default() };
    let door = Door::new(Config::default());
    let client = Running::<u32>::with(settings, door, move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), 0),
        Event::Open(handle) => net.send(handle, "0").unwrap(),
        Event::Message { from, message, .. } => {
            let count: u32 = message.as_text().unwrap().parse().unwrap();
            let value = net.value_mut(from).unwrap();
            assert_eq!(*value, count);
            *value += 1;
            match count {
                30 => say(&tell, ()),
                _ => net.send(from, &*(count + 1).to_string()).unwrap(),
            }
        }
        _ => {}
    });
    let url = format!("ws://{}/", server.address);
    client.call(move |net| {
        for _ in 0..10 {
            net.dial(Dial::to(&url).unwrap(), 0).unwrap();
        }
    });
    (0..10).for_each(|_| crate::common::next(&told));
}
