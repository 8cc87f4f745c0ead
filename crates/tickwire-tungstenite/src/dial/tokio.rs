use super::{DELAY, next};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        LazyLock,
        mpsc::{Sender, channel},
    },
    task::{Poll, Waker},
    thread,
    time::Instant,
};
use tickwire_dial::{Race, Step};
use tokio::net::TcpStream;

/// If the future is dropped, all attempts are closed.
pub(crate) async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> io::Result<TcpStream> {
    let mut race = Race::new(addresses, DELAY);
    let began = Instant::now();
    let mut under_way = FuturesUnordered::new();
    // The last call of `wake_at`: each attempt wakes this task, and every poll would set another
    // alarm for the same time.
    let mut alarm: Option<(Instant, Waker)> = None;
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some((to, done))) = under_way.poll_next_unpin(cx) {
                match done {
                    Ok(tcp) => return Poll::Ready(Ok(tcp)),
                    Err(error) => race.failed(to, error),
                }
            }
            match next(&mut race, began.elapsed())? {
                Step::Connect(to) => {
                    // An attempt begins when it is polled, by the next pass of the loop.
                    under_way.push(async move { (to, TcpStream::connect(to).await) });
                }
                Step::Wait(None) => return Poll::Pending,
                Step::Wait(Some(until)) => {
                    let due = began + until;
                    let set =
                        |(at, waker): &(Instant, Waker)| *at == due && waker.will_wake(cx.waker());
                    if !alarm.as_ref().is_some_and(set) {
                        wake_at(due, cx.waker().clone());
                        alarm = Some((due, cx.waker().clone()));
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// Wakes a task at the time `at`, or soon after. A thread of our own, because a timer of tokio
/// would panic if the runtime has no timers. It starts with the first call, and handles the alarms
/// in the order of the calls: nearly that of their times, because each is about `DELAY` ahead.
fn wake_at(at: Instant, waker: Waker) {
    static ALARMS: LazyLock<Sender<(Instant, Waker)>> = LazyLock::new(|| {
        let (sender, alarms) = channel::<(Instant, Waker)>();
        let wake_all = move || {
            for (at, waker) in alarms {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                waker.wake();
            }
        };
        // Without a thread, the next attempt begins only when one has failed.
        let _ = thread::Builder::new().name("tickwire-alarms".into()).spawn(wake_all);
        sender
    });
    let _ = ALARMS.send((at, waker)); // fails only if the thread was not started
}
