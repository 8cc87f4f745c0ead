//! Messages: echoed, sent on, in batches, large.
use crate::common::{LONG, Running, echo};
use tickwire::{Config, Message, Prepared, handshake::server::Accept};
use tickwire_loop::{Door, Event, Handle, Settings};

#[test]
fn messages_are_echoed_whole_whatever_their_length() {
    let server = echo(Settings::default(), Config::default());
    let mut ws = server.connect();
    ws.get_ref().set_read_timeout(Some(LONG)).unwrap();
    for len in [0, 1, 125, 126, 70_000, 3 << 20] {
        let sent = vec![b'x'; len];
        ws.send(&sent[..]).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&sent)));
    }
    ws.close(tickwire::CloseCode::NORMAL).unwrap();
    server.wait_for(|counts| counts.open == 0);
}
