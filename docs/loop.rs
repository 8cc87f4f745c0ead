use bytes::Buf;
use std::io::{ErrorKind::Interrupted, ErrorKind::WouldBlock, Read, Write};
use std::net::{Shutdown, TcpStream};
use tickwire::{Report, Connection, Event, Next, RecvError, Time, Wait};

/// Why a connection is over. Then drop the stream.
type Over = Option<RecvError>;

/// Runs the connection until it has to wait. Call this at the start, and then whenever a
/// condition of the returned `Wait` is met.
fn ready(conn: &mut Connection, mut tcp: &TcpStream, now: Time) -> Result<Wait, Over> {
    loop {
        conn.set_paused(!conn.sender().has_room()); // a peer that does not read is not read
        match conn.next(now) {
            Next::Event(Event::Message(message), tx) => _ = tx.feed(message), // there is room
            Next::Event(..) => {} // replies to Pings and Closes are queued already
            Next::Write(mut out) => match tcp.write(out.chunk()) {
                Ok(n @ 1..) => out.advance(n),
                Err(error) if error.kind() == WouldBlock => conn.report(Report::WriteBlocked),
                Err(error) if error.kind() == Interrupted => {}
                Ok(0) | Err(_) => conn.report(Report::WriteFailed), // `next` reads on
            },
            Next::Read(rx) => match tcp.read(rx.spare_mut()) {
                Ok(n @ 1..) => rx.commit(n),
                Err(error) if error.kind() == WouldBlock => conn.report(Report::ReadBlocked),
                Err(error) if error.kind() == Interrupted => {}
                Ok(0) => rx.end_of_stream(),
                Err(_) => conn.report(Report::ReadFailed),
            },
            Next::ShutDown => {
                let _ = tcp.shutdown(Shutdown::Write); // fails if the peer is gone
                conn.report(Report::ShutDown);
            }
            Next::Wait(wait) => return Ok(wait),
            Next::Over(why) => return Err(why), // `conn.closed()` says more
        }
    }
}
