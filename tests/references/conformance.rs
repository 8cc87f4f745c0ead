//! The conformance suite of `conformance/` over tickwire: each case in both roles, over a stream in
//! memory whose far end is the case, in virtual time.
//!
//! The facade and the loop run it in their own packages, and `checks/conformance` over sockets.

#[path = "../support/conforms.rs"]
mod conforms;

use crate::support::wire::{self, Keys};
use bytes::Buf;
use conforms::{Far, Input, Tried, none_failed, probed, tried};
use std::{collections::HashSet, sync::LazyLock, time::Duration};
use tickwire::{
    Config, Connection, Event, Next, Report, Time,
    handshake::{
        Progress,
        client::{self, Request},
        server::{self, Accept},
    },
};
use wsconform_cases::{Case, Group, Level, Role, Verdict, cases};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn request() -> Request {
    Request::new("ws://localhost/").unwrap()
}

/// As different as the cases of permessage-deflate want an end: one that agrees to all, one with
/// the defaults, and one that knows none of it.
fn configs() -> Vec<Config> {
    let plain = Config::default();
    #[cfg(feature = "deflate")]
    {
        use tickwire::deflate::Deflate;
        let small = Deflate { min_size: 0, ..Deflate::default() };
        let mut takeover = small;
        takeover.server.takeover = true;
        takeover.client.takeover = true;
        let with = |deflate| Config { deflate: Some(deflate), ..Config::default() };
        vec![with(takeover), with(small), plain]
    }
    #[cfg(not(feature = "deflate"))]
    vec![plain]
}

/// The cases of a role over one carrier, `most` bytes a read.
fn run(role: Role, most: usize, chosen: impl Fn(&Case) -> bool, end: impl Fn(Far)) -> Vec<Tried> {
    let env = probed(role, |session| Far::with(session, usize::MAX, &end));
    assert_eq!(env.peer().largest, 16 << 20, "{role}");
    tried(role, &env, chosen, |session| Far::with(session, most, &end))
}

/// Of 12 and 16 MiB. The core has them; over an adapter the probe's 16 MiB have come back.
const LARGE: [&str; 3] = ["D-328", "D-329", "T-223"];

/// The cases in both roles, with `TESTS=all` those too that are large.
#[cfg(feature = "blocking")]
fn adapter_passes(name: &str, end: impl Fn(Role, &Config, Far)) {
    let config = configs().remove(0);
    let chosen = |case: &Case| !LARGE[wire::sampled(LARGE.len(), 0)..].contains(&&*case.id);
    for role in ROLES {
        none_failed(name, &run(role, usize::MAX, chosen, |far| end(role, &config, far)));
    }
}

/// Few bytes come and go.
fn is_light(case: &Case, role: Role) -> bool {
    /// To weigh a case is to build it.
    static LIGHT: LazyLock<HashSet<(&str, Role)>> = LazyLock::new(|| {
        let all = ROLES.into_iter().flat_map(|role| cases().iter().map(move |case| (case, role)));
        let light = all.filter(|(case, role)| case.tests(*role) && case.weight(*role) < 20_000);
        light.map(|(case, role)| (&*case.id, role)).collect()
    });
    LIGHT.contains(&(&*case.id, role))
}

// The core, by what it says to do.

fn core(role: Role, config: &Config, far: &Far) {
    let conn = match role {
        Role::Server => served(config, far),
        Role::Client => dialed(config, far),
    };
    let Some(mut conn) = conn else { return };
    let mut now = Duration::ZERO;
    let mut patience: Option<Duration> = None;
    loop {
        conn.set_paused(!conn.sender().has_room());
        match conn.next(Time::new(now)) {
            Next::Event(Event::Message(message), tx) => drop(tx.feed(message)),
            Next::Event(..) => {}
            Next::Write(mut out) => {
                let n = out.chunk().len();
                far.write(out.chunk());
                out.advance(n);
            }
            Next::Read(rx) => match far.read(rx.spare_mut()) {
                Input::Bytes(n) => rx.commit(n),
                Input::End => rx.end_of_stream(),
                Input::Nothing(wait) => {
                    patience = Some(now + wait);
                    conn.report(Report::ReadBlocked);
                }
            },
            Next::ShutDown => {
                far.shut();
                conn.report(Report::ShutDown);
            }
            Next::Wait(wait) => {
                // Whoever has less patience gives up.
                let until = wait.until.map(|at| at - Time::ZERO);
                match patience.filter(|end| until.is_none_or(|until| *end <= until)) {
                    Some(end) => {
                        now = end;
                        patience = None;
                        far.time_passes();
                    }
                    None => now = now.max(until.expect("it waits for something")),
                }
            }
            Next::Over(_) => return,
        }
    }
}

fn served(config: &Config, far: &Far) -> Option<Connection> {
    let mut handshake = server::Handshake::new(config);
    loop {
        match handshake.step() {
            Ok(Progress::Complete) => return Some(handshake.accept(Accept::default()).unwrap()),
            Ok(Progress::Partial) => match far.read(handshake.reading.spare_mut()) {
                Input::Bytes(n) => handshake.reading.commit(n),
                Input::End => handshake.reading.end_of_stream(),
                Input::Nothing(_) => far.time_passes(),
            },
            Err(error) => {
                far.write(&handshake.reject(error));
                return None;
            }
        }
    }
}

fn dialed(config: &Config, far: &Far) -> Option<Connection> {
    // The cases look whether two connections have the same key.
    thread_local! {
        static ENTROPY: std::cell::Cell<u64> = const { std::cell::Cell::new(1) };
    }
    let seed = ENTROPY.replace(ENTROPY.get() + 1);
    let mut handshake = client::Handshake::new(&request(), config, Keys::new(seed));
    far.write(handshake.outgoing());
    handshake.advance(usize::MAX);
    loop {
        match handshake.step() {
            Ok(Progress::Complete) => return Some(handshake.into_connection().unwrap()),
            Ok(Progress::Partial) => match far.read(handshake.reading.spare_mut()) {
                Input::Bytes(n) => handshake.reading.commit(n),
                Input::End => handshake.reading.end_of_stream(),
                Input::Nothing(_) => far.time_passes(),
            },
            Err(_) => return None,
        }
    }
}

/// Each case of one connection of level R passes with one of the configurations, so none is left
/// out for want of a peer that could have it; but for those.
fn core_passes(role: Role, but: &[&str]) {
    let mut passed = HashSet::new();
    for (number, config) in configs().iter().enumerate() {
        // Big messages have nothing to do with what the configurations differ in.
        let chosen = |case: &Case| number == 0 || is_light(case, role);
        let all = run(role, usize::MAX, chosen, |far| core(role, config, &far));
        none_failed("core", &all);
        let good = all.iter().filter(|tried| tried.verdict == Verdict::Pass);
        passed.extend(good.map(|tried| tried.case.id.as_str()));
    }
    if cfg!(feature = "deflate") {
        let required = cases()
            .iter()
            .filter(|case| case.tests(role) && !case.is_of_two() && case.level == Level::R);
        let left = required.map(|case| case.id.as_str()).filter(|id| !passed.contains(id));
        assert_eq!(left.collect::<Vec<_>>(), but, "{role}");
    }
}

#[test]
fn the_core_as_server_passes_every_case() {
    // It does not agree to a window of 2^8 of its own, in which zlib cannot compress. It refuses a
    // body, which is a note.
    core_passes(Role::Server, &["D-244", "HS-366", "HS-367"]);
}

#[test]
fn the_core_as_client_passes_every_case() {
    core_passes(Role::Client, &[]);
}

#[test]
fn the_core_passes_byte_by_byte() {
    let config = configs().remove(0);
    for role in ROLES {
        // The cases of delivery have pieces of their own, and floods.
        let chosen = |case: &Case| case.group() != Group::Delivery && is_light(case, role);
        none_failed("core", &run(role, 1, chosen, |far| core(role, &config, &far)));
    }
}

#[cfg(feature = "blocking")]
mod on_threads {
    use super::*;
    use std::io;
    use tickwire::blocking::{self, Interest, Stream};

    impl Stream for Far {
        fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match Far::read(self, to) {
                Input::Bytes(n) => Ok(n),
                Input::End => Ok(0),
                Input::Nothing(_) => Err(io::ErrorKind::WouldBlock.into()),
            }
        }

        fn try_write(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
            bufs.iter().for_each(|buf| self.write(buf));
            Ok(bufs.iter().map(|buf| buf.len()).sum())
        }

        fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
            if timeout != Some(Duration::ZERO) {
                self.time_passes();
            }
            Ok(())
        }

        fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }

        fn shutdown(&mut self) -> io::Result<()> {
            self.shut();
            Ok(())
        }

        fn try_clone(&self) -> io::Result<Self> {
            Ok(self.clone())
        }
    }

    fn echo(role: Role, config: &Config, far: Far) {
        let opened = match role {
            Role::Server => blocking::accept(far, config),
            Role::Client => blocking::client(far, &request(), config),
        };
        let Ok(mut ws) = opened else { return };
        while let Ok(Some(received)) = ws.recv_to_reply() {
            if received.sender.feed(received.message).is_err() {
                return;
            }
        }
    }

    #[test]
    fn the_blocking_adapter_passes_in_both_roles() {
        adapter_passes("blocking", echo);
    }
}

#[cfg(feature = "tokio")]
mod in_tasks {
    use super::*;
    use crate::support::{
        carriers::block_on,
        polled::{Polled, polled},
    };
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };
    use tokio::{
        io::ReadBuf,
        time::{Sleep, sleep},
    };

    /// The clock stands still unless both wait.
    pub(super) struct Timed {
        far: Far,
        /// Until the session has waited long enough.
        patience: Option<Pin<Box<Sleep>>>,
    }

    impl Timed {
        pub(super) fn new(far: Far) -> Self {
            Self { far, patience: None }
        }
    }

    polled!(tokio: Timed);
    #[cfg(feature = "futures")]
    polled!(futures: Timed);
    impl Polled for Timed {
        fn poll_read(
            &mut self,
            cx: &mut Context<'_>,
            to: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                match self.far.read(to.initialize_unfilled()) {
                    Input::Bytes(n) => to.advance(n),
                    Input::End => {}
                    Input::Nothing(wait) => {
                        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(wait)));
                        if patience.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        self.far.time_passes();
                        self.patience = None;
                        continue;
                    }
                }
                self.patience = None;
                return Poll::Ready(Ok(()));
            }
        }

        fn poll_write(&mut self, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            self.far.write(from);
            Poll::Ready(Ok(from.len()))
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.far.shut();
            Poll::Ready(Ok(()))
        }
    }

    fn on_tokio(role: Role, config: &Config, far: Far) {
        block_on(async {
            let opened = match role {
                Role::Server => tickwire::tokio::accept(Timed::new(far), config).await,
                Role::Client => tickwire::tokio::client(Timed::new(far), &request(), config).await,
            };
            let Ok(mut ws) = opened else { return };
            while let Ok(Some(received)) = ws.recv_to_reply().await {
                if received.sender.feed(received.message).is_err() {
                    return;
                }
            }
        });
    }

    #[test]
    fn the_adapter_for_tokio_passes_in_both_roles() {
        adapter_passes("tokio", on_tokio);
    }

    #[cfg(feature = "futures")]
    mod on_futures_io {
        use super::*;
        use std::time::Instant;
        use tickwire::futures_io::{self, Timers};

        /// Time as tokio's paused clock has it.
        #[derive(Clone)]
        struct Clock;

        impl Timers for Clock {
            type Sleep = Sleep;

            fn at(&self, at: Instant) -> Sleep {
                tokio::time::sleep_until(at.into())
            }

            fn now(&self) -> Instant {
                tokio::time::Instant::now().into_std()
            }
        }

        fn echo(role: Role, config: &Config, far: Far) {
            block_on(async {
                let far = Timed::new(far);
                let opened = match role {
                    Role::Server => futures_io::accept(far, Clock, config).await,
                    Role::Client => futures_io::client(far, Clock, &request(), config).await,
                };
                let Ok(mut ws) = opened else { return };
                while let Ok(Some(received)) = ws.recv_to_reply().await {
                    if received.sender.feed(received.message).is_err() {
                        return;
                    }
                }
            });
        }

        #[test]
        fn the_adapter_for_futures_io_passes_in_both_roles() {
            adapter_passes("futures-io", echo);
        }
    }
}
