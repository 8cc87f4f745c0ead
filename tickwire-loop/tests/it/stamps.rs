//! The kernel's time of arrival.
use crate::common::{LONG, Running, next, say};
use std::{
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event, Settings};

#[test]
fn a_message_tells_when_it_arrived_and_when_it_was_read() {
    let (tell, told) = channel();
    let config = Config { stamp_reads: true, ..Config::default() };
    let server = Running::<()>::with(
        Settings::default(),
        Door::new(config).timestamps(true),
        move |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { receiver, .. } => {
                let info = receiver.info();
                assert!(info.read_at.unwrap() <= net.now());
                say(&tell, info.arrived);
            }
            _ => {}
        },
    );
    let mut ws = server.connect();
    // The kernel begins to stamp some milliseconds after the first socket of the machine asked.
    let began = Instant::now();
    while began.elapsed() < LONG {
        let before = UNIX_EPOCH.elapsed().unwrap();
        ws.send("stamped").unwrap();
        if let Some(arrived) = next(&told) {
            assert!(arrived.software + Duration::from_secs(1) > before);
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("no message was stamped");
}
