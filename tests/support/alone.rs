//! A victim of more attackers than one, or of one who speaks TLS: on a thread of its own, whose
//! heap is counted.
use super::harness::{Heap, PATIENCE};
use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{self, RecvTimeoutError},
};
use testkit::{
    alloc::{live, take_peak},
    threads::spawn,
};
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};

/// Runs `victim` on a new thread and `attack` on this one: what they return, and what the victim
/// took of the heap.
#[track_caller]
pub(crate) fn alone<T: Send + 'static, U>(
    victim: impl FnOnce() -> T + Send + 'static,
    attack: impl FnOnce() -> U,
) -> (T, U, Heap) {
    let (report, reported) = mpsc::channel();
    let thread = spawn(move || {
        // The first runtime of a process makes tokio's table of signals, and it stays.
        drop(Builder::new_current_thread().enable_all().build());
        let before = live();
        take_peak();
        let made = victim();
        let sizes = [take_peak(), live()].map(|n| usize::try_from(n - before).unwrap_or(0));
        let _ = report.send((made, Heap { peak: sizes[0], kept: sizes[1] }));
    });
    let attacked = catch_unwind(AssertUnwindSafe(attack));
    let reported = reported.recv_timeout(PATIENCE);
    if let Err(RecvTimeoutError::Disconnected) = reported {
        resume_unwind(thread.join().expect_err("it reports unless it panics"));
    }
    let attacked = attacked.unwrap_or_else(|panic| resume_unwind(panic));
    let (made, heap) = reported.expect("the victim hangs");
    (made, attacked, heap)
}

/// A server on tokio, which is told when the attack is over; what is counted is what it takes
/// beyond its runtime and its listener.
#[track_caller]
pub(crate) fn besieged<T: Send + 'static, U>(
    serve: impl AsyncFnOnce(TcpListener, oneshot::Receiver<()>) -> T + Send + 'static,
    attack: impl FnOnce(SocketAddr) -> U,
) -> (T, U, Heap) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (over, told) = oneshot::channel();
    let victim = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let before = live();
            take_peak();
            let made = serve(listener, told).await;
            let sizes = [take_peak(), live()];
            let [peak, kept] = sizes.map(|n| usize::try_from(n - before).unwrap_or(0));
            (made, Heap { peak, kept })
        })
    };
    let ((made, heap), attacked, _) = alone(victim, || {
        let attacked = attack(address);
        let _ = over.send(()); // it may have had enough by itself
        attacked
    });
    (made, attacked, heap)
}
