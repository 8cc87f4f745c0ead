//! Masking, over sockets of this machine, with the heap counted.
use crate::{harness::*, support::wire::*};
use std::{collections::BTreeSet, io::Read, net::TcpStream, thread};
use tickwire::{Chunk, CloseCode, Connection, DataKind, Negotiated, Role, SystemEntropy};

/// The keys of the frames that a client sent, as they stand on the wire.
fn keys_on_the_wire(mut wire: &[u8]) -> Vec<[u8; 4]> {
    let mut keys_on_the_wire = Vec::new();
    while let Some((frame, n)) = read_frame(wire) {
        assert!(frame.masked);
        let at = n - frame.payload.len() - 4;
        keys_on_the_wire.push(wire[at..at + 4].try_into().unwrap());
        wire = &wire[n..];
    }
    assert!(wire.is_empty());
    keys_on_the_wire
}

/// Of `n` keys no two are equal; of random ones some few may be (2⁻³² for each pair).
#[track_caller]
fn differ(keys_on_the_wire: Vec<[u8; 4]>, n: usize) {
    assert_eq!(keys_on_the_wire.len(), n);
    let distinct: BTreeSet<_> = keys_on_the_wire.into_iter().collect();
    assert!(distinct.len() + 1 >= n, "{} of {n}", distinct.len());
}

// A26
#[test]
fn equal_messages_have_different_keys_in_one_connection() {
    let config = patient();
    let send = |ws: &mut Ws| {
        for _ in 0..1000 {
            ws.send("the same every time").unwrap();
        }
        ws.close(CloseCode::NORMAL).unwrap();
    };
    for (adapter, (), wire, heap) in Scene::new(Role::Client, &config).act(send, |foe| {
        let mut wire = vec![0; 1000 * (2 + 4 + 19)];
        foe.io.read_exact(&mut wire).unwrap();
        foe.say(&unmasked(CLOSE, close_body(1000, "")));
        wire
    }) {
        differ(keys_on_the_wire(&wire), 1000);
        heap.under(adapter.name(), SMALL);
    }
}

// A27
#[test]
fn no_call_puts_text_of_the_callers_choice_on_the_wire() {
    let evil = "GET /evil HTTP/1.1\r\nHost: victim\r\n\r\n";
    let send = move |ws: &mut Ws| {
        for at in 0..evil.len() {
            let (a, b) = evil.split_at(at);
            ws.send(evil).unwrap();
            ws.sender().feed_first(evil).unwrap();
            for (data, last) in [(a, false), (b, true)] {
                let chunk =
                    Chunk { kind: DataKind::Text, first: !last, data: data.as_bytes(), last };
                ws.sender().feed_chunk(chunk).unwrap();
            }
            ws.sender().ping(evil.as_bytes()).unwrap();
            ws.sender().pong(evil.as_bytes()).unwrap();
            ws.flush().unwrap();
        }
        let reason = tickwire::CloseFrame::with_reason(CloseCode::NORMAL, evil);
        let _ = ws.close(reason); // nobody answers it
    };
    let scene = Scene::new(Role::Client, &patient());
    for (adapter, (), wire, heap) in scene.act(send, |foe| {
        foe.end();
        let mut wire = Vec::new();
        let _ = foe.io.read_to_end(&mut wire);
        wire
    }) {
        assert!(wire.len() > 1000, "{adapter:?}");
        for part in ["GET /", "HTTP/1", "Host: "] {
            let found = wire.windows(part.len()).any(|w| w == part.as_bytes());
            assert!(!found, "{adapter:?}: {part} is on the wire");
        }
        heap.under(adapter.name(), SMALL);
    }
}

/// Has a client over `io` send so many equal messages and close.
fn repeat(io: TcpStream, messages: usize) {
    let conn = Connection::client(&patient(), Negotiated::default(), SystemEntropy::new().unwrap());
    let mut ws = tickwire::blocking::WebSocket::from_parts(io, conn);
    for _ in 0..messages {
        ws.send("the same every time").unwrap();
    }
    // Dropped: the stream ends.
}

fn read(mut io: TcpStream) -> Vec<u8> {
    let mut wire = Vec::new();
    io.read_to_end(&mut wire).unwrap();
    wire
}

// A26
#[test]
fn keys_of_connections_and_threads_differ() {
    let (near, far): (Vec<_>, Vec<_>) = (0..40).map(|_| sockets()).unzip();
    let threads: Vec<_> = near
        .into_iter()
        .map(|io| {
            let twin = sockets();
            thread::spawn(move || {
                repeat(io, 10);
                repeat(twin.0, 10); // another one of the same thread
                keys_on_the_wire(&read(twin.1))
            })
        })
        .collect();
    let mut all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    all.extend(far.into_iter().flat_map(|io| keys_on_the_wire(&read(io))));
    differ(all, 800);
}

// A26
/// A process that was copied has all that the one before had, and must not draw the same from it.
#[cfg(target_os = "linux")]
#[test]
#[allow(unsafe_code)]
fn keys_of_connections_made_after_a_fork_differ() {
    unsafe extern "C" {
        fn fork() -> i32;
        fn _exit(status: i32) -> !;
        fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    }
    let before = sockets();
    repeat(before.0, 10); // whatever is kept by thread or process is there
    let ((near_child, far_child), (near, far)) = (sockets(), sockets());
    // SAFETY: the child uses only what belongs to this thread, and ends without running anything
    // that was registered by others; glibc keeps the allocator usable in it.
    let pid = unsafe { fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let made = std::panic::catch_unwind(|| repeat(near_child, 10));
        // SAFETY: as above.
        unsafe { _exit(made.is_err().into()) };
    }
    drop(near_child);
    repeat(near, 10);
    let mut status = -1;
    // SAFETY: `pid` is a child of this process, and `status` a place for its status.
    assert_eq!((unsafe { waitpid(pid, &mut status, 0) }, status), (pid, 0));
    let wires = [read(before.1), read(far_child), read(far)];
    differ(wires.iter().flat_map(|wire| keys_on_the_wire(wire)).collect(), 30);
}
