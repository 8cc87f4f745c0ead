//! Faults of the operating system, for tests. Each call to the operating system first calls [`at`].
//!
//! The faults belong to one thread, like a test. The threads of a loop's lookups share those of the
//! thread that made the loop.
use super::{HELLO, Server, server};
use crate::{Door, Event, Loop, Settings};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};
use tickwire::Config;
use tickwire_dial::Lookups;

thread_local! {
    static FAULTS: RefCell<Arc<Faults>> = RefCell::default();
}

#[derive(Default)]
struct Faults {
    plan: Mutex<Plan>,
    released: Condvar,
}

/// Which calls fail, and how.
#[derive(Default)]
struct Plan {
    fail: Vec<(&'static str, u64, io::Error)>,
    made: BTreeMap<String, u64>,
    /// A slow call, and the time that it takes.
    slow: Option<(&'static str, Duration)>,
    /// Calls whose names begin with this text last until [`release`]. The thread with this id may
    /// make no such call.
    held: Option<(&'static str, ThreadId)>,
    waits: Vec<Option<Duration>>,
}

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, call: &str) -> io::Result<()> {
        let mut plan = self.plan();
        let made = plan.made.entry(call.to_owned()).or_default();
        let nth = *made;
        *made += 1;
        if let Some((_, time)) = plan.slow.filter(|(of, _)| *of == call) {
            drop(plan);
            thread::sleep(time);
            plan = self.plan();
        }
        while let Some((_, not)) = plan.held.filter(|(of, _)| call.starts_with(of)) {
            assert_ne!(thread::current().id(), not, "{call} blocks the loop's thread");
            plan = self.released.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
        match plan.fail.iter().position(|(of, at, _)| *of == call && *at == nth) {
            Some(at) => Err(plan.fail.swap_remove(at).2),
            None => Ok(()),
        }
    }
}

fn mine() -> Arc<Faults> {
    FAULTS.with_borrow(Arc::clone)
}

/// Makes one call of this name fail, after `nth` further calls.
pub(crate) fn plan(call: &'static str, nth: u64, error: impl Into<io::Error>) {
    let made = made(call);
    mine().plan().fail.push((call, made + nth, error.into()));
}

/// Makes each call of this name take this time from now on.
pub(crate) fn slow(call: &'static str, time: Duration) {
    mine().plan().slow = Some((call, time));
}

/// From now on, each call whose name begins with `call` lasts until [`release`]. The calling thread
/// may make no such call.
pub(crate) fn hold(call: &'static str) {
    mine().plan().held = Some((call, thread::current().id()));
}

pub(crate) fn release() {
    let mine = mine();
    mine.plan().held = None;
    mine.released.notify_all();
}

/// Returns the number of calls made so far.
pub(crate) fn made(call: &str) -> u64 {
    mine().plan().made.get(call).copied().unwrap_or_default()
}

/// Counts a call, and returns its planned error if it has one.
pub(crate) fn at(call: &str) -> io::Result<()> {
    mine().at(call)
}

/// Records the timeout of a loop's wait.
pub(crate) fn waits(timeout: Option<Duration>) {
    mine().plan().waits.push(timeout);
}

/// Returns the timeouts of the waits since the last call.
pub(crate) fn take_waits() -> Vec<Option<Duration>> {
    mem::take(&mut mine().plan().waits)
}

/// Lookups of this loop alone, whose threads have the faults of this thread. While time stands
/// still, no name gets a second lookup beside its first.
pub(crate) fn lookups() -> Lookups {
    let mine = mine();
    let resolve = move |host: &str| {
        FAULTS.set(mine.clone());
        *mine.plan().made.entry("resolve".to_owned()).or_default() += 1;
        at(&format!("resolve {host}"))?;
        (host, 0).to_socket_addrs().map(Iterator::collect)
    };
    Lookups::new(resolve, || Duration::ZERO)
}

// The tests of calls that fail, apart from the calls of a stream.

/// A server over io_uring. `None` if there is no io_uring here.
fn over_io_uring() -> Option<Server> {
    let settings = Settings { io_uring: true, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    server.net.net().uses_io_uring().then_some(server)
}

fn opens(server: &mut Server, host: &str) {
    let before = server.opened.len();
    server.dial_itself(host);
    server.until(|server| server.opened.len() == before + 2);
    for handle in server.opened.split_off(before) {
        server.net.net().remove(handle);
    }
}

#[test]
fn a_loop_that_cannot_be_made_is_an_error() {
    for io_uring in [false, true] {
        plan("setup", 0, ErrorKind::OutOfMemory);
        plan("setup", 1, ErrorKind::OutOfMemory);
        let made = Loop::<()>::new(Settings { io_uring, ..Settings::default() });
        assert_eq!(made.map(drop).unwrap_err().kind(), ErrorKind::OutOfMemory);
        let _ = at("setup"); // a loop over mio makes only one of the two calls
    }
}

#[test]
fn a_connection_without_tcp_nodelay_is_kept() {
    let mut server = server();
    let before = made("nodelay");
    for nth in [0, 1] {
        plan("nodelay", nth, ErrorKind::InvalidInput); // of the dialed end, and of the accepted one
    }
    server.dial_itself("127.0.0.1");
    server.until(|server| server.opened.len() == 2 || !server.ends.is_empty());
    assert_eq!((server.opened.len(), made("nodelay")), (2, before + 2), "{:?}", server.ends);
}

#[test]
fn a_kernel_that_refuses_any_call_of_io_uring_has_mio() {
    if over_io_uring().is_none() {
        return;
    }
    for call in ["setup", "register buffers"] {
        plan(call, 0, ErrorKind::PermissionDenied);
        assert!(over_io_uring().is_none(), "{call}");
        let mut server = server();
        let mut peer = server.peer();
        server.echoes(&mut peer);
    }
}

#[test]
fn a_stream_that_the_ring_cannot_have_stays_with_mio() {
    let Some(mut server) = over_io_uring() else { return };
    server.fault("fionbio", 0, ErrorKind::Other);
    for mut peer in [server.peer(), server.peer()] {
        server.echoes(&mut peer);
    }
}

/// After the failed call, the sent bytes are still in the queue of requests.
#[test]
fn a_call_of_the_ring_that_fails_is_an_error_of_the_turn_and_loses_nothing() {
    for call in ["enable", "enter", "submit"] {
        let Some(mut server) = over_io_uring() else { return };
        let mut peer = (call != "enable").then(|| server.peer()); // a peer would enable the ring
        plan(call, 0, ErrorKind::OutOfMemory);
        if let Some(handle) = server.opened.first() {
            server.net.net().send(*handle, "hello").unwrap();
        }
        assert_eq!(server.round().unwrap_err().kind(), ErrorKind::OutOfMemory, "{call}");
        let mut other = server.peer();
        server.echoes(&mut other);
        if let Some(peer) = &mut peer {
            let mut sent = [0; 7];
            peer.read_exact(&mut sent).unwrap();
            assert_eq!(&sent, b"\x81\x05hello");
            server.echoes(peer);
        }
        server.net.net().stop();
        plan("submit", 0, ErrorKind::OutOfMemory);
        assert!(server.net.run(|_, _| ()).is_err());
    }
}

#[test]
fn a_call_of_the_ring_that_the_kernel_puts_off_is_made_again() {
    let Some(mut server) = over_io_uring() else { return };
    let mut peer = server.peer();
    for call in ["enter", "submit"] {
        // EINTR, EAGAIN, EBUSY, ETIME
        for code in [4, 11, 16, 62] {
            let before = made(call);
            plan(call, 0, io::Error::from_raw_os_error(code));
            server.echoes(&mut peer);
            assert!(made(call) > before);
        }
    }
}

#[test]
fn a_ring_that_cannot_wait_for_its_end_closes_its_sockets_all_the_same() {
    let Some(mut server) = over_io_uring() else { return };
    let mut peer = server.peer();
    plan("enter", 0, ErrorKind::OutOfMemory);
    drop(server);
    let _ = peer.read_to_end(&mut Vec::new()); // an end or a reset, within the timeout
}

/// The kernel refuses the ring's request to report events of the waker and of the listener.
#[test]
fn a_request_to_wait_that_the_kernel_refuses_is_made_again() {
    plan("ask Poll", 0, ErrorKind::OutOfMemory);
    let Some(mut server) = over_io_uring() else { return };
    server.until(|_| made("ask Poll") > 1);
    let mut peer = server.peer();
    server.echoes(&mut peer);
    server.net.net().waker().wake().unwrap();
    assert!(wakes(&mut server));
}

#[test]
fn a_request_to_receive_that_the_kernel_refuses_ends_this_connection_alone() {
    let Some(mut server) = over_io_uring() else { return };
    let mut other = server.peer();
    plan("ask Receive", 0, ErrorKind::OutOfMemory); // the request for the next connection
    let mut first = server.peer();
    server.until(|server| server.ends.len() == 1);
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0);

    // While the connection is paused, the loop tells the kernel to stop receiving. After the pause,
    // the loop asks the kernel to receive again.
    let mut open = server.peer();
    let handle = *server.opened.last().unwrap();
    server.net.net().pause(handle, true);
    write_until_full(&mut server, &mut open);
    plan("ask Receive", 0, ErrorKind::OutOfMemory);
    server.net.net().pause(handle, false);
    let mut received = 0;
    server.until(|server| {
        received += open.read(&mut [0; 1 << 16]).unwrap_or(0);
        server.ends.len() == 2
    });
    let refused = |end: &String| end.starts_with("failed: Bad file descriptor");
    assert!(server.ends.iter().all(refused), "{:?}", server.ends);
    assert!(received > 0, "what arrived before is delivered");
    server.echoes(&mut other);
    assert_eq!(server.net.net().counts().open, 1);
}

/// Bytes that arrive for a paused connection wait in this program, so their number needs a bound.
#[test]
fn a_cancellation_that_the_kernel_refuses_is_made_again_and_loses_nothing() {
    let Some(mut server) = over_io_uring() else { return };
    let mut peer = server.peer();
    let handle = server.opened[0];
    server.net.net().pause(handle, true);
    (0..3).for_each(|nth| plan("cancel", nth, ErrorKind::NotFound));
    let sent = write_until_full(&mut server, &mut peer);
    assert!(made("cancel") > 3);
    server.net.net().pause(handle, false);
    server.reads(&mut peer, sent / HELLO.len() * 7);
}

/// Writes until the loop and the kernel take no more. Returns the number of bytes.
fn write_until_full(server: &mut Server, peer: &mut TcpStream) -> usize {
    let flood = HELLO.repeat(1000);
    let mut sent = 0;
    let mut refused = 0;
    peer.set_nonblocking(true).unwrap();
    while refused < 50 {
        match peer.write(&flood[sent % HELLO.len()..]) {
            Ok(n) => sent += n,
            Err(_) => refused += 1,
        }
        server.round().unwrap();
        assert!(sent < 64 << 20, "all of it was received");
    }
    sent
}

/// The stream becomes full, and the kernel refuses to report when there is room.
#[test]
fn a_request_for_room_that_the_kernel_refuses_is_made_again() {
    let Some(mut server) = over_io_uring() else { return };
    let mut peer = server.peer();
    let handle = server.opened[0];
    plan("ask Writable", 0, ErrorKind::OutOfMemory);
    let message = vec![b'a'; 16 << 20];
    server.net.net().send(handle, &message[..]).unwrap();
    server.until(|_| made("ask Writable") > 1);
    server.reads(&mut peer, message.len() + 10);
    server.echoes(&mut peer);
}

/// Returns whether the next rounds deliver `Event::Woken`.
fn wakes(server: &mut Server) -> bool {
    let woken = server.count(|event| matches!(event, Event::Woken));
    assert!(woken < 2);
    woken == 1
}

#[test]
fn a_wake_that_fails_is_an_error_of_the_call_and_the_next_one_wakes() {
    let mut server = server();
    let waker = server.net.net().waker();
    assert!(!wakes(&mut server));
    plan("wake", 0, ErrorKind::OutOfMemory);
    assert_eq!(waker.wake().unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert!(!wakes(&mut server));
    waker.wake().unwrap();
    assert!(wakes(&mut server));
}

#[test]
fn a_name_that_cannot_be_resolved_is_an_error_of_its_dials_alone() {
    let mut server = server();
    let mut peer = server.peer();
    hold("resolve"); // until all dials have joined it
    plan("resolve localhost", 0, ErrorKind::OutOfMemory);
    (0..10).for_each(|_| server.dial_itself("localhost"));
    release();
    server.until(|server| server.ends.len() == 10);
    let told = "failed: out of memory, resolving localhost";
    assert!(server.ends.iter().all(|end| end == told), "{:?}", server.ends);
    assert_eq!(server.net.net().handles().count(), 1);
    server.echoes(&mut peer);
    opens(&mut server, "localhost");
}

/// The wake fails, so the loop does not learn that the addresses have come. The next wake finds
/// them.
#[test]
fn a_resolved_name_whose_wake_fails_is_not_lost() {
    let mut server = server();
    plan("wake", 0, ErrorKind::OutOfMemory);
    server.dial_itself("localhost");
    server.until(|_| made("wake") == 1);
    (0..5).for_each(|_| assert!(server.round().unwrap()));
    assert_eq!(server.opened.len(), 0);
    server.net.net().waker().wake().unwrap();
    server.until(|server| server.opened.len() == 2);
}

#[test]
fn a_client_without_random_bytes_ends_and_closes_its_stream() {
    let mut server = server();
    plan("entropy", 0, ErrorKind::OutOfMemory);
    server.dial_itself("127.0.0.1");
    server.until(|server| server.ends.len() == 1);
    assert_eq!(server.ends, ["failed: out of memory"]);
    server.until(|server| server.net.net().counts().handshakes_failed == 1);
    server.until(|server| server.net.inner.slots.is_empty());
    opens(&mut server, "127.0.0.1");
}

#[test]
fn a_stream_that_is_not_connected_is_not_adopted() {
    let mut server = server();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let door = Door::new(Config::default());
    let error = server.net.net().adopt(socket.into(), &door).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(server.net.net().counts().accepted, 0);
}

#[test]
fn a_peer_that_is_gone_before_it_is_accepted_harms_nobody() {
    let mut server = server();
    for _ in 0..5 {
        let peer = TcpStream::connect(server.address).unwrap();
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap(); // so that it resets
    }
    let mut peer = server.peer();
    server.echoes(&mut peer);
    server.until(|server| server.net.net().counts().accepted_now == 1);
    assert_eq!(server.net.net().counts().accept_failed, 0);
}
