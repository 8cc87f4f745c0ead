//! A handler closes, aborts, drops or replaces its connection inside an event. Over sockets of this
//! machine, with the heap counted.
use crate::{
    harness::{ADAPTERS, Adapter, Door, End, Foe, Heap, SMALL, Ws, duel, patient, sockets},
    support::wire::{CLOSE, TEXT, close_body, connection, masked},
};
use tickwire::{CloseCode, Message, Role, SendError, blocking};

/// First byte and payload of each frame.
type Said = Vec<(u8, Vec<u8>)>;

/// A server whose handler does this at the second of ten messages that come in one segment; what it
/// says to that, and what the heap says. The peer says goodbye at the end.
fn at_the_second<T: Send + 'static>(
    handler: impl Fn(&mut Ws) -> T + Clone + Send + 'static,
) -> Vec<(T, Said, Heap)> {
    let mut wire: Vec<u8> = (0..10).flat_map(|i| masked(TEXT, [b'0' + i])).collect();
    wire.extend(masked(CLOSE, close_body(1000, "")));
    let one = |&adapter: &Adapter| {
        let handler = handler.clone();
        let defend = move |door: Door| {
            let mut ws = door.accept(&patient()).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Text("0")));
            let made = handler(&mut ws);
            drop(ws);
            made
        };
        duel(adapter, defend, |io| {
            let mut foe = Foe::new(Role::Server, io);
            foe.shake();
            foe.say(&wire)
        })
    };
    ADAPTERS.iter().map(one).collect()
}

/// What a handler that has replied to `1` by one more message leaves behind, and the peer's Close.
#[track_caller]
fn is_gone(heap: Heap) {
    heap.under("a handler", SMALL);
    // tokio's pool keeps a buffer for the next connection of the thread.
    assert!(heap.kept <= SMALL, "{heap:?}");
}

// A78
#[test]
fn a_handler_may_close_inside_an_event() {
    let tries = at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        let _ = received.sender.feed(received.message).unwrap();
        received.sender.close(CloseCode::GOING_AWAY).unwrap();
        // The message is alive, and nothing can follow the Close.
        assert_eq!(
            (received.message, received.sender.feed(received.message)),
            (Message::Text("1"), Err(SendError::Closed))
        );
        assert!(ws.recv_to_reply().unwrap().is_none(), "to the rest there is no reply");
        ws.connection().closed().is_some_and(|end| end.clean)
    });
    for (clean, said, heap) in tries {
        assert!(clean);
        assert_eq!(said, [(TEXT, b"1".to_vec()), (CLOSE, close_body(1001, ""))]);
        is_gone(heap);
    }
}

// A78
#[test]
fn a_handler_may_abort_inside_an_event() {
    for (end, said, heap) in at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        let _ = received.sender.feed(received.message).unwrap();
        received.sender.abort(CloseCode::POLICY_VIOLATION).unwrap();
        assert_eq!(received.sender.feed("late"), Err(SendError::Closed));
        ws.watch(|_| ())
    }) {
        assert_eq!(end, End::Closed);
        assert_eq!(said, [(CLOSE, close_body(1008, ""))], "what was unsent is dropped");
        is_gone(heap);
    }
}

// A78
#[test]
fn a_handler_may_drop_the_connection_inside_an_event() {
    for ((), said, heap) in at_the_second(|ws| {
        let received = ws.recv_to_reply().unwrap().unwrap();
        assert_eq!(received.message, Message::Text("1"));
        let _ = received.sender.feed(received.message).unwrap();
    }) {
        assert!(said.is_empty(), "what was fed and not flushed is gone: {said:?}");
        is_gone(heap);
    }
}

// A78
#[test]
fn a_handler_may_replace_the_connection_inside_an_event() {
    // By itself taken apart and put together, after each message; none is lost.
    let tries = at_the_second(|ws| {
        let mut seen: Vec<u8> = Vec::new();
        loop {
            match ws.recv_to_reply().unwrap() {
                None => return seen,
                Some(received) => {
                    seen.extend(received.message.as_bytes());
                    let _ = received.sender.feed(received.message).unwrap();
                }
            }
            replace(ws);
        }
    });
    for (seen, said, heap) in tries {
        assert_eq!(seen, b"123456789");
        let echoed = (b'1'..=b'9').map(|digit| (TEXT, vec![digit]));
        let said_all: Vec<_> = echoed.chain([(CLOSE, close_body(1000, ""))]).collect();
        assert_eq!(said, said_all);
        is_gone(heap);
    }
}

/// Takes a WebSocket apart, and makes another of the parts.
fn replace(ws: &mut Ws) {
    let (io, _far) = sockets();
    match ws {
        Ws::Blocking(ws) => {
            let other = blocking::WebSocket::from_parts(io, connection(Role::Server, &patient()));
            let (io, conn) = std::mem::replace(ws, other).into_parts();
            *ws = blocking::WebSocket::from_parts(io, conn);
        }
        #[cfg(feature = "tokio")]
        Ws::Tokio(ws, runtime) => {
            let entered = runtime.enter();
            io.set_nonblocking(true).unwrap();
            let io = tokio::net::TcpStream::from_std(io).unwrap();
            let conn = connection(Role::Server, &patient());
            let other = tickwire::tokio::WebSocket::from_parts(io, conn);
            let (io, conn) = std::mem::replace(ws, other).into_parts();
            *ws = tickwire::tokio::WebSocket::from_parts(io, conn);
            drop(entered);
        }
    }
}
