//! A peer is cut if and only if it was silent at its own side, within the bounds of LIMITS: an
//! independent model of the judge of silence, in virtual time. `TESTS=all` runs more cases.
use crate::support::{distant::*, silence::*, wire::*};
use bytes::Buf;
use std::time::Duration;
use tickwire::{Next, Report, Role, Time};

struct Program {
    watched: Watched,
    most_sleeps: usize,
}

impl Program {
    fn may_sleep(&mut self) {
        let Self { watched, most_sleeps } = self;
        if *most_sleeps > 0 && watched.rng.once_in(watched.case.sleeps) {
            *most_sleeps -= 1;
            let time = watched.rng.below(watched.case.sleep);
            watched.is_away(time);
            watched.pass(time);
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        self.may_sleep();
        let n = self.watched.read(to);
        self.watched.pass(self.watched.case.read);
        n
    }

    /// Runs until the connection fails, or the bound has passed.
    fn run(mut self) {
        let mut conn = connection(Role::Client, &self.watched.case.config());
        while conn.closed().is_none() {
            self.watched.must_still_wait();
            if self.watched.now > self.watched.case.ends {
                return; // it lives, and was not cut
            }
            let mut blocked = false;
            match conn.next(Time::new(Duration::from_micros(self.watched.now))) {
                Next::Event(..) => {
                    let message = self.watched.case.message;
                    self.watched.is_away(message);
                    self.watched.pass(message);
                    self.may_sleep();
                }
                Next::Write(mut out) => {
                    self.watched.peer.write(out.chunk());
                    let n = out.chunk().len();
                    out.advance(n);
                }
                Next::Read(rx) => match self.read(rx.spare_mut()) {
                    Some(n) => rx.commit(n),
                    None => blocked = true,
                },
                Next::Wait(wait) => {
                    let until = wait.until.map_or(NEVER, |at| (at - Time::ZERO).as_micros() as u64);
                    let Watched { case, peer, now, .. } = &mut self.watched;
                    while *now < until && !peer.is_readable() {
                        *now = peer.next().clamp(*now, until);
                        assert_ne!(*now, NEVER, "it waits for ever: {case:?}");
                        peer.pass(*now);
                    }
                }
                Next::ShutDown | Next::Over(_) => break,
            }
            if blocked {
                conn.report(Report::ReadBlocked);
            }
        }
        let error = conn.closed().and_then(|end| end.error);
        self.watched.was_silent(error);
    }
}

#[test]
fn a_peer_is_cut_if_and_only_if_it_was_silent() {
    let cases = times(sampled(50_000, 1000), 5);
    for seed in 0..cases as u64 {
        Program { watched: Watched::new(seed), most_sleeps: 8 }.run();
    }
}
