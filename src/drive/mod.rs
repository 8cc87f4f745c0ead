//! The loop that all adapters share: parse input up to the item that the receiving call wants,
//! write what is queued, read once.
//!
//! `Core` is the whole connection, or the receiving half of a split one. `Io` is the stream with
//! its way to wait: a timer for a task, a blocking call for a thread. What to do next is decided in
//! `proto`. A read or write returns `Pending` if it would block; under a runtime the stream wakes
//! the task later, in `blocking` the thread then waits in `Timed::wait`, usually by `poll(2)`.
//!
//! `#[inline]` without a comment marks code that runs for each message, each read or each opening
//! handshake: without it in a prototype's core, a message over tokio took up to 8 % longer.
//! `#[cold]` marks code that seldom runs.
#[cfg(not(feature = "rustls"))]
mod below;
pub(crate) mod calls;
mod core;
pub(crate) mod handshake;
pub(crate) mod io;
mod out;
mod outlook;
#[cfg_attr(not(feature = "_task"), path = "no_polled.rs")]
mod polled;
pub(crate) mod received;
mod socket;
mod split;
pub(crate) mod sync;
#[cfg(feature = "_task")]
pub(crate) mod task;
pub(crate) mod wakers;

pub(crate) use self::core::{Core, Ready, Socket, Want, Whole};
pub(crate) use handshake::Incoming;
#[cfg(feature = "client")]
pub(crate) use handshake::client;
pub(crate) use io::{Io, Output, Source, Timed};
pub(crate) use received::Received;
pub(crate) use split::{Half, Writer};

use crate::{
    error::Error,
    proto::{
        connection::{
            Blocked, Ending, ReadyState, Receiver, Step,
            order::{Allow, Clock, Facts, Input, Todo, order},
        },
        tape::{self, Note, Wait},
        time::Time,
    },
    socket::arrival,
};
use out::Out;
use std::{
    io::{ErrorKind, Result as IoResult},
    task::{Context, Poll, ready},
};
#[cfg(feature = "rustls")]
use tickwire_tls::stream as below;
use wakers::Probe;

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// No step may come between the poll that returned `ready` and this call, because `fetch` reads
    /// the item that the last step reached.
    #[inline(always)] // inlined with `fetch`, so that the message stays in registers
    pub(crate) fn take<'a, T>(
        &'a mut self,
        ready: Ready,
        fetch: impl FnOnce(&'a mut Receiver) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match ready {
            Ready::Item => Ok(fetch(self.core.inbound().receiver_mut())),
            Ready::End => self.ended(),
        }
    }

    /// After anything but [`Step::Message`], call [`poll_more`](Self::poll_more), which parses what
    /// this declines, writes, and reads.
    #[inline(always)]
    pub(crate) fn quick(&mut self) -> Option<Step> {
        self.core.inbound().receiver_mut().quick()
    }

    /// Parses first, then writes, then reads, so the replies to one read leave together. `Pending`:
    /// the stream or the timer will wake the task or, in `blocking`, the thread has noted what to
    /// wait for.
    #[inline(never)] // called at many places; `recv` has a fast path before this call
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>, want: Want) -> Poll<Ready> {
        loop {
            match self.core.step(want) {
                Ok(Step::Message) => return Poll::Ready(Ready::Item),
                // The reply, if any, is queued. A control frame is an item only for `Want::Event`.
                Ok(step @ (Step::Ping | Step::Pong | Step::Close)) => {
                    if step == Step::Pong {
                        self.time_pong();
                    }
                    if want == Want::Event {
                        return Poll::Ready(Ready::Item);
                    }
                    continue;
                }
                Ok(Step::NeedInput) => {}
                // The core keeps the error, and `poll_end` gets it from there.
                Ok(Step::Closed) | Err(_) => return self.poll_end(cx),
            }
            // From here to the wait, this is what `order` says. It is not asked, because each read
            // would pay for it, 5 to 11 % over threads and `futures-io`. The compiler checks the
            // line: see the `const` in `order.rs`.
            self.check(Note::Writes { early: false });
            let written = self.write(cx);
            // While every read brings bytes, this loop never gets to `poll_alarm`, so `look` checks
            // the deadlines after a number of reads. One may end receiving, so the loop then starts
            // again.
            if self.core.inbound().looks() && self.look() {
                continue;
            }
            // An earlier `poll_flush` may have paused the deadlines on reading. `next_deadline`
            // below would leave them out, and a thread's read could block until after they have
            // passed.
            let Self { core, io, .. } = &mut *self;
            core.inbound().resume_if_paused(|| io.now());
            // If the stream refused bytes, the read must not block: nobody would write them until
            // it ends.
            if I::WAITS && written.is_ready() {
                self.io.may_wait(self.core.next_deadline());
            }
            let read = match self.core.inbound().doubts() {
                false => self.poll_read(cx),
                true => match self.poll_doubting(cx) {
                    Poll::Ready(read) => read,
                    Poll::Pending => {
                        self.check_wait(true, written.is_pending());
                        return Poll::Pending;
                    }
                },
            };
            if self.poll_take(cx, read).is_pending() {
                self.check_wait(true, written.is_pending());
                return Poll::Pending;
            }
        }
    }

    /// As [`Core::poll_write`] says. If the stream refuses bytes, the next wait also ends when it
    /// accepts some.
    #[inline(always)]
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.core.poll_write(&mut self.io, cx);
        if written.is_pending() {
            self.io.write_blocked();
        }
        written
    }

    #[inline(always)]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        self.check(Note::Reads);
        if self.core.inbound().stamps_reads {
            return self.poll_stamped(cx);
        }
        self.poll_input(cx)
    }

    #[inline(always)]
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        let Self { core, io, .. } = self;
        let _ = tape::take_stream_blocked();
        below::forget();
        let read = io::read(io, core.inbound().receiver_mut().spare_mut(), cx);
        if read.is_pending() {
            let asked = tape::take_stream_blocked();
            core.inbound().note(Note::Pending { asked });
        }
        read
    }

    #[inline(always)]
    pub(crate) fn check(&mut self, note: Note) {
        let tape = self.core.inbound().tape();
        tape.check(note, || self.core.facts());
    }

    #[inline(always)]
    fn check_wait(&mut self, readable: bool, writable: bool) {
        let yields = !self.io.keeps_waiting();
        self.check(Note::Waits(Wait { readable, writable, yields, ..Wait::default() }));
    }

    /// If a stream stamps its reads, it leaves the stamp in [`arrival`], which all connections of a
    /// thread share, so an older one is cleared first.
    #[inline(never)] // called at two places, and rarely on a hot path
    fn poll_stamped(&mut self, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        arrival::forget();
        let read = self.poll_input(cx);
        if let Poll::Ready(Ok(1..)) = read {
            let rx = self.core.inbound().receiver_mut();
            let at = self.io.now();
            // If this read left no stamp, a stream such as TLS had these bytes already: the stamp
            // of that earlier read counts.
            let arrived = arrival::left().unwrap_or_else(|| rx.info().arrived);
            rx.set_read(Some(at), arrived);
        }
        read
    }

    #[inline]
    fn poll_take(&mut self, cx: &mut Context<'_>, read: Poll<IoResult<usize>>) -> Poll<()> {
        match read {
            Poll::Ready(read) => {
                if let Some(error) = self.took(read) {
                    // All messages that have arrived are delivered first. Then `poll_end` reports
                    // the first error of the stream, unless `Out::reason` chooses another result.
                    self.core.with(|_, _, out| out.io_failed(error));
                }
            }
            Poll::Pending => {
                self.read_nothing();
                if self.poll_alarm(cx).is_pending() {
                    self.give_back();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// A read while a passed deadline on the peer's silence waits for a verdict: if it brings
    /// nothing, the core is told who is to blame, and `poll_alarm`, called by `poll_take`, may find
    /// the deadline due. `Pending`: the read was put off, and the task, which was woken, has to
    /// yield.
    ///
    /// A task's read may be `Pending` although bytes have arrived:
    /// - The adapter or the stream has put it off, and has woken the task: see `Probe`.
    /// - The task may have used up its runtime's budget. So a read counts only once the timer is
    ///   ready: tokio's shares the budget, and is ready only after tokio has asked the operating
    ///   system for news of its streams.
    /// - Another task may hold the stream's lock, so the next read counts only after a delay
    ///   (`AGAIN` in `verdict.rs`).
    #[cold]
    #[inline(never)]
    fn poll_doubting(&mut self, cx: &mut Context<'_>) -> Poll<Poll<IoResult<usize>>> {
        let probe = Probe::new(cx.waker());
        let read = self.poll_read(&mut Context::from_waker(&probe.clone().into()));
        if read.is_ready() {
            return Poll::Ready(read);
        }
        let put_off = probe.was_woken();
        if let Some(at) = self.core.inbound().found_at()
            && self.io.poll_sleep(at, cx).is_ready()
        {
            let blocked = if put_off { Blocked::PutOff } else { self.io.read_blocked() };
            self.core.inbound().read_blocked(blocked);
        }
        if !put_off {
            return Poll::Ready(read);
        }
        self.read_nothing();
        let _ = self.poll_alarm(cx); // whatever it finds, the woken task goes on from there
        self.core.inbound().note(Note::Timer(Time::ZERO));
        self.give_back();
        Poll::Pending
    }

    /// The number of reads decides when `looks` asks for a check of the clock, and when a found
    /// deadline is believed. Bytes below TLS are a sign of life nevertheless.
    #[inline]
    fn read_nothing(&mut self) {
        let rx = self.core.inbound().receiver_mut();
        match below::heard() {
            true => rx.heard_below(),
            false => rx.read_in_vain(),
        }
    }

    #[cold]
    fn look(&mut self) -> bool {
        let now = self.io.now();
        let due = self.core.next_deadline().is_some_and(|at| at <= now);
        match due {
            // Whatever the result, the caller loops.
            true => _ = self.core.with(|rx, tx, out| out.handle_timeout(Some(rx), tx, now)),
            false => self.core.inbound().looked(), // `handle_timeout` records the look itself
        }
        due
    }

    #[inline(always)]
    fn took(&mut self, read: IoResult<usize>) -> Option<std::io::Error> {
        let rx = self.core.inbound().receiver_mut();
        match read {
            Ok(n @ 1..) => rx.commit(n),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                rx.stream_failed();
                return Some(error);
            }
            // Most peers end TLS without a close_notify (`UnexpectedEof`). To take that for the end
            // of the stream is safe, because the end never says that all messages have come: only a
            // Close does.
            Ok(0) | Err(_) => rx.end_of_stream(),
        }
        None
    }

    /// Gives a Pong that still lacks its time of arrival the present time, because the deadlines,
    /// which would do so, are checked only after all input is processed.
    #[cold]
    fn time_pong(&mut self) {
        let Self { core, io, .. } = self;
        core.with(|_, tx, _| {
            // As in `Sender::time_pong`, but here it saves reading the clock.
            if tx.pong_waits() {
                tx.time_pong(io.now());
            }
        });
    }

    /// Also tells the sending side of an error that ended receiving, which wakes the writer of a
    /// split connection, and in `ReadyState::Closed` that nothing more will be written.
    /// `Ending::Done` alone does not mean that, because the caller may still answer the peer's
    /// Close.
    ///
    /// By `with`, so that a half sets `owes`: see `poll_end`.
    fn ending(&mut self) -> Ending {
        self.core.with(|inbound, tx, out| {
            out.recv_error = inbound.receiver().error().or(out.recv_error);
            if inbound.ready_state(tx) == ReadyState::Closed {
                tx.set_ended();
            }
            inbound.ending(tx)
        })
    }

    /// A blocking thread keeps its buffers, because it serves this one connection only.
    #[inline(always)]
    fn give_back(&mut self) {
        if !I::WAITS {
            self.core.give_back();
        }
    }

    /// Ends the stream as `order` says, one action a round, and stores the error that ended the
    /// connection in `failed`. Each round asks the core again, because an action or a passed
    /// deadline changes what is left to do.
    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        let mut facts = Facts::NEW;
        loop {
            self.core.park(cx); // a poll may come here without `poll_write`, which parks too
            let ending = self.ending();
            facts.input = Input::Ended(ending);
            facts.unsent = ending == Ending::Flush;
            let done = match order(facts, Allow::ALL) {
                Todo::Over => break,
                // `write` is ready only once everything is written or a write has failed. Either
                // changes the phase, so this loop does not spin. In a half it writes our Close too,
                // because `ending` has set `owes`.
                Todo::Write => {
                    let written = self.write(cx);
                    facts.refused = written.is_pending();
                    written
                }
                Todo::ShutDown => {
                    let shut = self.core.poll_shutdown(&mut self.io, cx);
                    match shut {
                        Poll::Ready(()) => self.core.inbound().shut_down(),
                        Poll::Pending => {
                            self.io.write_blocked(); // TLS has a close_notify to write
                            self.core.inbound().note(Note::Refused);
                        }
                    }
                    facts.refused = shut.is_pending();
                    shut
                }
                // A read error is not kept, because the connection's result is decided. `poll_read`
                // would work too, but it is inlined, so a call here would duplicate its code. The
                // core is not told of a `Pending` read, because silence has no effect once
                // receiving has ended.
                Todo::Read => {
                    self.check(Note::Reads);
                    let read = self.poll_stamped(cx).map(|read| _ = self.took(read));
                    facts.dry = read.is_pending();
                    read
                }
                Todo::Clock => {
                    let alarm = self.poll_alarm(cx);
                    match alarm {
                        Poll::Ready(()) => facts = Facts::NEW, // what was refused is tried again
                        Poll::Pending => facts.clock = Clock::Seen,
                    }
                    Poll::Pending
                }
                Todo::Wait | Todo::Item => {
                    self.check_wait(facts.dry, facts.refused);
                    self.give_back();
                    return Poll::Pending;
                }
            };
            // A stream that never blocks must not put off the deadlines.
            if done.is_ready() {
                facts.clock = Clock::Old;
            }
        }
        self.give_back(); // nothing more is received
        // Returns the end or the error again, and queues no second Close. `Want::Chunk` needs the
        // least code, because it has no fast path.
        let ended = self.core.step(Want::Chunk);
        self.check(Note::Over);
        *self.failed = self.core.with(|_, _, out| out.reason(ended));
        Poll::Ready(Ready::End)
    }
}

impl<C: Core<I>, I: Io> Socket<C, I> {
    /// Ready when a deadline has passed, and the connection has changed, only a read can confirm
    /// the deadline, or none is left: the caller goes round its loop again. If none runs,
    /// `Pending`, without a timer.
    #[inline]
    pub(crate) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.core.next_deadline() {
            None => Poll::Pending,
            Some(at) => self.poll_until(at, cx),
        }
    }

    /// Waits for `at`, tells the core the time, and goes on with the next deadline. Ready as
    /// `poll_alarm`.
    #[inline(never)] // `poll_alarm`, which calls this, is inlined at several places
    fn poll_until(&mut self, mut at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let Self { core, io, .. } = self;
        loop {
            let now = io.now();
            if at > now {
                core.inbound().note(Note::Timer(at));
                ready!(io.poll_sleep(at, cx));
            } else {
                let told = |inbound: &mut _, tx: &mut _, out: &mut Out| {
                    out.handle_timeout(Some(inbound), tx, now)
                };
                if core.with(told) {
                    return Poll::Ready(());
                }
                if let Some(found) = core.inbound().found_at() {
                    // The passed deadline counts only if another read finds no bytes, once the
                    // timer for `found` is ready: by then the runtime has asked the operating
                    // system for news of the stream. An earlier deadline, such as the time of
                    // `leave`, does not wait for that.
                    let next = core.next_deadline().unwrap_or(found);
                    core.inbound().note(Note::Timer(found.min(next)));
                    return io.poll_sleep(found.min(next), cx);
                }
            }
            // No spinning: `handle_timeout` moves each due deadline into the future, or ends it
            // (see `Timers::poll`). Perhaps none is left, for example because a phase of closing
            // has ended without an error, or the other half has written the refused bytes.
            let Some(next) = core.next_deadline() else { return Poll::Ready(()) };
            at = next;
        }
    }
}
