//! What a connection keeps while it waits.
#![allow(clippy::unwrap_used)]
use super::*;

/// Gives one message at a time, then would block.
struct Turns(Vec<&'static [u8]>, Vec<u8>);

impl Read for Turns {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(message) if !message.is_empty() => {
                to.get_mut(..message.len()).unwrap().copy_from_slice(message);
                Ok(message.len())
            }
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Turns {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_connection_that_waits_has_no_buffers_and_goes_on() {
    let mut context = WebSocketContext::new(Role::Client, None);
    let mut stream = Turns(vec![b"", b"\x81\x02hi", b"", b"\x81\x02hi"], Vec::new());
    for _ in 0..2 {
        assert_eq!(context.read(&mut stream).unwrap(), Message::text("hi"));
        context.write(&mut stream, Message::binary(vec![1; 5000])).unwrap();
        context.flush(&mut stream).unwrap();
        assert!(context.conn.receiver().has_buffer());
        assert!(context.read(&mut stream).is_err());
        assert!(!context.conn.receiver().has_buffer());
        assert!(context.conn.sender_mut().reclaim().is_empty());
    }
    assert_eq!(stream.1.len(), 2 * (8 + 5000));
}

#[test]
fn what_waits_to_be_written_stays() {
    let mut context = WebSocketContext::new(Role::Server, None);
    let mut stream = Turns(Vec::new(), Vec::new());
    context.write(&mut stream, Message::text("later")).unwrap();
    assert!(context.read(&mut stream).is_err());
    context.write(&mut stream, Message::text("too")).unwrap();
    context.flush(&mut stream).unwrap();
    assert_eq!(stream.1, b"\x81\x05later\x81\x03too");
}
