//! A task cuts a peer if and only if the peer was silent at its own side, although reads may be
//! `Pending` while bytes lie ready. `TESTS=all` runs more cases.
use crate::support::{distant::*, silence::*, tokio::*, wire::sampled};
use ::tokio::{
    io::ReadBuf,
    runtime::Builder,
    time::{Instant, Sleep, advance, sleep, sleep_until, timeout},
};
use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use testkit::Rng;
use tickwire::Error;

/// For how long another task holds the stream's lock at most.
const HELD: Micros = 5 * MS;

/// What puts a read off that could bring bytes.
#[derive(Clone, Copy, Debug)]
enum Hold {
    /// The task's budget is used up: the next read is not put off.
    Budget,
    Lock,
    /// The stream does other work first, as often as it likes, and wakes the task.
    Itself,
}

struct World {
    watched: Watched,
    epoch: Instant,
    wakes: Pin<Box<Sleep>>,
    /// One in so many reads is put off, but one alone between two signs of life, unless the stream
    /// itself puts it off.
    hold: Option<(Hold, usize)>,
    held_until: Option<Micros>,
    /// The error was found, and this end's Close was written.
    is_over: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut watched = Watched::new(seed);
        // Its timers have a millisecond, and it asks the stream again after ten.
        watched.slack = 25 * MS;
        let often = watched.rng.of(&[1, 2, 3]);
        let hold = watched.rng.of(&[
            None,
            Some(Hold::Budget),
            Some(Hold::Lock),
            Some(Hold::Lock),
            Some(Hold::Itself),
        ]);
        Self {
            watched,
            epoch: Instant::now(),
            wakes: Box::pin(sleep_until(Instant::now())),
            hold: hold.map(|hold| (hold, often)),
            held_until: None,
            is_over: false,
        }
    }

    fn pass(&mut self) {
        self.watched.pass_to(self.epoch.elapsed().as_micros() as Micros);
        if !self.is_over {
            self.watched.must_still_wait();
        }
    }

    /// Wakes the task then, and is ready if that time has come.
    fn poll_until(&mut self, at: Micros, cx: &mut Context<'_>) -> Poll<()> {
        self.wakes.as_mut().reset(self.epoch + Duration::from_micros(at));
        self.wakes.as_mut().poll(cx)
    }

    /// Whether a read is put off.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held_until.is_none()
            && let Some((hold, often)) = self.hold
            && (!self.watched.was_put_off || matches!(hold, Hold::Itself))
            && self.watched.rng.once_in(if matches!(hold, Hold::Itself) { 2 } else { often })
        {
            self.watched.was_put_off = true;
            let held = match hold {
                Hold::Budget => 0,
                Hold::Lock => 1 + self.watched.rng.below(HELD),
                Hold::Itself => {
                    let work = Duration::from_micros(1 + self.watched.rng.below(HELD));
                    // The first poll sets the clock.
                    let _ = pin!(advance(work)).poll(&mut Context::from_waker(Waker::noop()));
                    self.watched.puts_off(work.as_micros() as Micros);
                    self.pass();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            self.watched.is_away(held + MS);
            self.held_until = Some(self.watched.now + held);
            if held == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if let Some(until) = self.held_until {
            while self.watched.now < until {
                ready!(self.poll_until(until, cx));
                self.pass();
            }
            self.held_until = None;
        }
        Poll::Ready(())
    }
}

#[derive(Clone)]
struct Far(Rc<RefCell<World>>);

polled!(tokio: Far);
impl Polled for Far {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let world = &mut *self.0.borrow_mut();
        world.pass();
        ready!(world.poll_hold(cx));
        loop {
            if let Some(n) = world.watched.read(buf.initialize_unfilled()) {
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
            match world.watched.peer.next() {
                NEVER => return Poll::Pending,
                next => ready!(world.poll_until(next, cx)),
            }
            world.pass();
        }
    }
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let world = &mut *self.0.borrow_mut();
        world.pass();
        if frames(bytes).iter().any(|frame| frame.b0 == CLOSE) {
            // A deadline on data ends with a Close, for which the call waits.
            world.is_over = true;
            world.watched.was_silent(Some(world.watched.case.error()));
        }
        world.watched.peer.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

/// Runs until the connection fails, or the peer has lived long enough.
async fn run(seed: u64) {
    let far = Far(Rc::new(RefCell::new(World::new(seed))));
    let (case, mut rng) = (far.0.borrow().watched.case.clone(), Rng::new(seed + 3));
    let mut ws = client(far.clone(), &case.config());
    // For how long the program waits for the stream before it does something else.
    let attends = Duration::from_micros(rng.of(&[1 << 40, SECOND, 20 * MS]));
    let mut most_sleeps = 8;
    loop {
        far.0.borrow_mut().pass();
        if far.0.borrow().watched.now > case.ends {
            return;
        }
        match timeout(attends.min(Duration::from_micros(case.ends)), ws.recv()).await {
            Err(_) => {}
            Ok(Ok(Some(_))) => {
                far.0.borrow_mut().watched.is_away(case.message);
                advance(Duration::from_micros(case.message)).await;
            }
            Ok(Err(Error::Recv(error))) => {
                let world = &mut *far.0.borrow_mut();
                world.pass();
                match world.is_over {
                    true => assert_eq!(error, case.error()),
                    false => world.watched.was_silent(Some(error)),
                }
                return;
            }
            Ok(end) => panic!("{:?}: {case:?}", end.map(drop)),
        }
        if most_sleeps > 0 && rng.once_in(case.sleeps) {
            most_sleeps -= 1;
            let time = rng.below(case.sleep);
            far.0.borrow_mut().watched.is_away(time + MS);
            sleep(Duration::from_micros(time)).await;
        }
    }
}

#[test]
fn a_task_cuts_a_peer_if_and_only_if_it_was_silent() {
    for seed in 0..sampled(5000, 150) as u64 {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(seed));
    }
}
