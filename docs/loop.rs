use bytes::Buf;
use std::io::{ErrorKind::Interrupted, ErrorKind::WouldBlock, Read, Write};
use std::net::{Shutdown, TcpStream};
use tickwire::{Connection, Event, Next, RecvError, Time, Wait};

/// To be called at first, and whenever the stream or the time is as it said. `Err`: drop the stream.
fn ready(conn: &mut Connection, mut tcp: &TcpStream, now: Time) -> Result<Wait, Option<RecvError>> {
    loop {
        conn.set_paused(!conn.sender().has_room()); // a peer that does not read is not read
        match conn.next(now) {
            Next::Event(Event::Message(message), tx) => drop(tx.feed(message)), // there is room
            Next::Event(..) => {} // a Ping, Pong or Close: answered already
            Next::Write(mut out) => match tcp.write(out.chunk()) {
                Ok(n @ 1..) => out.advance(n),
                Err(error) if error.kind() == WouldBlock => conn.write_blocked(),
                Err(error) if error.kind() == Interrupted => {}
                Ok(0) | Err(_) => conn.write_failed(), // input that is still readable comes first
            },
            Next::Read(rx) => match tcp.read(rx.spare_mut()) {
                Ok(n @ 1..) => rx.commit(n),
                Err(error) if error.kind() == WouldBlock => conn.read_blocked(),
                Err(error) if error.kind() == Interrupted => {}
                Ok(0) | Err(_) => rx.end_of_stream(),
            },
            Next::ShutDown => {
                let _ = tcp.shutdown(Shutdown::Write); // it has failed if the peer is gone
                conn.shut_down();
            }
            Next::Wait(wait) => return Ok(wait),
            Next::Over(why) => return Err(why), // `conn.closed()` says more
        }
    }
}
