//! Tests what a connection keeps while it waits, and how it ends.
#![allow(clippy::unwrap_used)]
use super::*;
use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
};

/// A stream that gives one message per read, and after the last one `WouldBlock` or endless zeros.
#[derive(Default)]
struct Turns {
    messages: Vec<&'static [u8]>,
    written: Vec<u8>,
    endless: bool,
}

impl Turns {
    fn new(messages: &[&'static [u8]]) -> Self {
        Self { messages: messages.to_vec(), ..Self::default() }
    }
}

impl Read for Turns {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.messages.pop() {
            None if self.endless => {
                to.fill(0);
                Ok(to.len())
            }
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
        self.written.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_connection_that_waits_has_no_buffers_and_goes_on() {
    let mut context = WebSocketContext::new(Role::Client, None);
    let mut stream = Turns::new(&[b"", b"\x81\x02hi", b"", b"\x81\x02hi"]);
    for _ in 0..2 {
        assert_eq!(context.read(&mut stream).unwrap(), Message::text("hi"));
        context.write(&mut stream, Message::binary(vec![1; 5000])).unwrap();
        context.flush(&mut stream).unwrap();
        assert!(context.conn.receiver().has_buffer());
        assert!(context.read(&mut stream).is_err());
        assert!(!context.conn.receiver().has_buffer());
        assert!(context.conn.sender_mut().reclaim().is_empty());
    }
    assert_eq!(stream.written.len(), 2 * (8 + 5000));
}

#[test]
fn what_waits_to_be_written_stays() {
    let mut context = WebSocketContext::new(Role::Server, None);
    let mut stream = Turns::default();
    context.write(&mut stream, Message::text("later")).unwrap();
    assert!(context.read(&mut stream).is_err());
    context.write(&mut stream, Message::text("too")).unwrap();
    context.flush(&mut stream).unwrap();
    assert_eq!(stream.written, b"\x81\x05later\x81\x03too");
}

#[test]
fn a_server_that_sends_on_behind_its_close_is_left() {
    let mut context = WebSocketContext::new(Role::Client, None);
    let mut stream = Turns { endless: true, ..Turns::new(&[b"\x88\x02\x03\xE8"]) };
    assert!(context.read(&mut stream).unwrap().is_close());
    assert!(matches!(context.read(&mut stream), Err(Error::ConnectionClosed)));
    assert!(matches!(context.read(&mut stream), Err(Error::AlreadyClosed)));
}

/// A connection that lives as long as its thread, and longer than the thread's buffers.
struct Last(Option<WebSocketContext>);

impl Drop for Last {
    fn drop(&mut self) {
        let context = self.0.as_mut().unwrap();
        let mut stream = Turns::new(&[b"", b"\x81\x02hi"]);
        context.write(&mut stream, Message::text("later")).unwrap();
        assert_eq!(context.read(&mut stream).unwrap(), Message::text("hi"));
        context.flush(&mut stream).unwrap();
        assert!(context.read(&mut stream).is_err());
        assert_eq!(stream.written.len(), 6 + 5);
        SERVED.store(true, Ordering::Relaxed);
    }
}

static SERVED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last(None)) };
}

#[test]
fn a_connection_works_while_its_thread_ends() {
    let thread = std::thread::spawn(|| {
        // A thread drops its thread-locals in the reverse order of their first use. `LAST` is used
        // first here, so it outlives the thread's buffers.
        LAST.with_borrow_mut(|last| {
            let mut context = WebSocketContext::new(Role::Client, None);
            assert!(context.read(&mut Turns::default()).is_err());
            last.0 = Some(context);
        });
    });
    thread.join().unwrap();
    assert!(SERVED.load(Ordering::Relaxed));
}
