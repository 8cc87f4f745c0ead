//! How to build a program on the loop, and how the loop compares with other ways.
//!
//! # The shape of a program
//!
//! A program has three parts: the loop, the program's state, and a handler. The handler is a
//! closure that borrows the state, so the state needs no locks and no reference counts. The loop
//! calls the handler with one event at a time, and with `Net`, which has the loop's commands. No
//! command blocks.
//!
//! **Keep what belongs to one connection in the value** that you give to `accept` or `dial`. When
//! an open connection ends, `Event::Closed` returns this value. Keep what belongs to several
//! connections (topics, orders, lines) in your state, and name the connections there by `Handle`. A
//! command with the handle of a closed connection does nothing, so you need not remove the handle
//! at once.
//!
//! **Drop the loop after a panic.** If you catch a panic of the handler, do not run the loop again:
//! the connection whose turn it was would stay open, but never be served again. A panic inside
//! rustls or its crypto provider does not reach you: the TLS session catches the panic, the
//! session's connection ends with an error, and the loop goes on. With `panic = "abort"`, the
//! process ends.
//!
//! **Do not block in the handler.** While the handler runs, the loop serves no connection. Give
//! long work to another thread: send the job and the connection's handle by a channel. After the
//! work, the thread sends back the result and calls `Waker::wake`. The loop then delivers
//! `Event::Woken`:
//!
//! ```rust,no_run
//! use std::{sync::mpsc::channel, thread};
//! use tickwire::{Config, handshake::server::Accept};
//! use tickwire_loop::{Door, Event, Handle, Loop, Settings};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut net = Loop::<()>::new(Settings::default())?;
//! net.net().listen(([127, 0, 0, 1], 9000).into(), Door::new(Config::server()))?;
//! let (jobs, work) = channel::<(Handle, String)>();
//! let (done, results) = channel::<(Handle, String)>();
//! let waker = net.net().waker();
//! thread::spawn(move || {
//!     for (handle, query) in work {
//!         let _ = done.send((handle, format!("the answer to {query}")));
//!         let _ = waker.wake(); // after the send, so that the loop finds the answer
//!     }
//! });
//! net.run(|net, event| match event {
//!     Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
//!     Event::Message { from, message, .. } => {
//!         if let Some(query) = message.as_text() {
//!             let _ = jobs.send((from, query.to_owned())); // `from` may have closed by then
//!         }
//!     }
//!     Event::Woken => {
//!         for (handle, answer) in results.try_iter() {
//!             let _ = net.send(handle, answer);
//!         }
//!     }
//!     _ => {}
//! })
//! # }
//! ```
//!
//! If another thread has to decide about a request, call `answer.defer()` in the handler. Once the
//! thread has decided, call `Net::accept` or `Net::reject`.
//!
//! # What a round does
//!
//! 1. The loop waits until a socket is ready, a deadline passes, or a thread wakes the loop.
//! 2. The loop delivers `Event::Woken`, accepts up to 64 connections at each listener, and delivers
//!    timers.
//! 3. Each connection that the wait reported ready (up to 128) gets one turn. In a turn the loop
//!    delivers messages, writes the replies and reads again, until nothing is left to read. A turn
//!    also ends at the limits `turn_messages` and `turn_bytes` of `Settings`. `turn_bytes` also
//!    limits how long a turn reads on, because KeyUpdates and inflating take time but few bytes. It
//!    does not cut the messages of one read, however long the handler takes for them. A connection
//!    that has reached a limit continues in a later round. Then the loop serves handshakes of
//!    accepted connections, for up to 0.25 ms. Last, also for up to 0.25 ms, it serves connections
//!    that continue from an earlier round. In both cases, it begins with the connection that has
//!    waited the longest. After a deadline has passed, the loop first reads the bytes that have
//!    arrived, and then checks the deadline again. So a slow handler does not end a connection
//!    whose bytes came in time.
//! 4. The loop writes the messages that were queued for connections outside of their turns, in one
//!    write for each connection. The loop writes earlier if 512 connections have something to
//!    write, if all connections together have more than `max_queued` bytes queued, or if an outbox
//!    is full.
//!
//! So a reply waits until all messages that came with the same read are delivered, or until
//! `cork_limit` bytes of replies are queued. A reply does not wait for other connections. A message
//! to another connection waits until the end of the round.
//!
//! # Slow peers
//!
//! - **A peer that does not read its replies**: once `high_water` bytes wait to be sent, the loop
//!   stops reading from this peer. TCP then slows the peer down. That holds for replies in the
//!   sender. If the connection has an outbox, `Net::send` gives them to the outbox, which stops no
//!   reading: so send state through the outbox, and what must arrive, such as the acknowledgement
//!   of an order, by `net.sender(from)` and `feed`. (`feed_first` also overtakes all that has not
//!   begun to leave.)
//! - **A peer that takes too few bytes**: the connection ends by the `write_timeout` of its
//!   `Config`, over `wss` too.
//! - **A peer that may be dead**: `Net::close` waits for the peer's Close, for up to
//!   `close_timeout`. `Sender::leave` ends the connection at the time that you pass. To write only
//!   what the stream accepts now, and to wait for nothing, pass the current time:
//!   `net.sender(peer).map(|tx| tx.leave(CloseCode::GOING_AWAY, now))`, with `now` from
//!   `net.now()`.
//! - **A slow subscriber**: the outbox that you set with `Net::set_outbox` at `Event::Open` decides
//!   which messages the subscriber gets. For example, an outbox can keep only the newest state of
//!   each instrument, drop old positions in a game, or disconnect a subscriber that must not miss a
//!   message. To keep the newest state, an outbox needs keys: use `send_keyed` or `send_keyed_to`.
//!   Set a small `SO_SNDBUF` on the listener (`Door` has an example), and for a game
//!   `TCP_NOTSENT_LOWAT`, because the outbox does not control the kernel's send buffer. (`Outbox`
//!   says how old the messages there are.) If an outbox disconnects its subscriber, the subscriber
//!   gets a Close with the outbox's code, such as 1013, and messages to it count as refused:
//!   `Net::send` fails with `Disconnected`. Until the subscriber answers the Close, its messages
//!   are delivered: one that you cannot answer, you should not execute. Then, or after
//!   `close_timeout`, `Event::Closed` comes with `End::Disconnected`.
//! - **A producer that must not lose messages**: when a send fails with `Full`, wait for
//!   `Event::Room` before you send again. A send can fail with `Full` if the connection has no
//!   outbox, or an outbox with `Overflow::Wait`. If the messages come from another connection,
//!   pause reading from that connection with `Net::pause` until `Event::Room`.
//! - **All connections together** may queue `max_queued` bytes. Above this limit, the loop first
//!   writes what the streams accept. If that is not enough, the loop disconnects the connections
//!   with the most queued bytes (`End::OverQueued`).
//!
//! # Peers that send long messages
//!
//! All connections together may hold about `max_received` bytes of incomplete messages. Near this
//! limit, the loop reads from only one of the connections that hold many of these bytes, until its
//! message ends. The others wait, and TCP slows their peers down. So honest messages arrive one
//! after the other. A waiting connection has no heartbeat, and ends with 1013
//! (`Counts::over_received`) when its waits add up to `frame_timeout`.
//! [`Settings`](crate::Settings) has the exact rules.
//!
//! # Limits on who connects
//!
//! [`Settings`](crate::Settings) says which attack each limit stops. One address may have
//! `max_per_address` connections. At most an eighth of `max_handshakes` may be handshakes of one
//! address. The loop closes further connections of this address at once
//! (`Counts::over_per_address`). Behind a proxy all clients have the proxy's address: let it name
//! them by the PROXY protocol (`Door::proxy_protocol`), or set `max_per_address` to
//! `max_connections`.
//!
//! While all `max_handshakes` places for opening handshakes are taken, new connections wait in the
//! kernel's queue (at most 4,096 of them, and at most `net.core.somaxconn`), or stay unread in the
//! loop. So in a storm, honest clients wait, but the loop closes none of them to make room for
//! another.
//!
//! A peer that sends nothing takes no place. The loop accepts up to four times as many silent
//! connections as it has places. At this limit, it closes those that have been silent for 2 s.
//! Linux can hold silent connections back: set `TCP_DEFER_ACCEPT` on a listener (in a socket unit
//! of systemd it is `DeferAcceptSec=`), and pass the listener to `Net::listen_on`. The loop does
//! not set this option itself, because the option delays each connection that does not send at
//! once.
//!
//! Monitor `Net::counts`: if `evicted`, `held` or one of the `over_..` counters grows, there is an
//! attack, or a limit is too low.
//!
//! # Metrics
//!
//! `Net::counts` has all numbers of a loop. A timer publishes them, and a thread answers Prometheus
//! on a port of its own, because the loop speaks WebSocket only:
//!
//! ```rust
//! use std::{fmt::Write as _, io::{Read, Write}, net::TcpListener, sync::{Arc, Mutex}, thread};
//! use tickwire_loop::{Counts, Event, Loop, Settings};
//! # use std::time::Duration;
//!
//! fn prometheus(counts: &Counts) -> String {
//!     let gauges = [
//!         ("open", counts.open),
//!         ("accepted_now", counts.accepted_now),
//!         ("handshakes_now", counts.handshakes_now),
//!         ("waiting", counts.waiting),
//!         ("deferred", counts.deferred),
//!         ("queued_bytes", counts.queued),
//!         ("received_bytes", counts.received),
//!     ];
//!     let counters = [
//!         ("accepted", counts.accepted),
//!         ("over_connections", counts.over_connections),
//!         ("over_per_address", counts.over_per_address),
//!         ("held", counts.held),
//!         ("evicted", counts.evicted),
//!         ("over_queued", counts.over_queued),
//!         ("over_received", counts.over_received),
//!         ("disconnected", counts.disconnected),
//!         ("handshakes_failed", counts.handshakes_failed),
//!         ("health_checks", counts.health_checks),
//!         ("accept_failed", counts.accept_failed),
//!     ];
//!     let mut text = String::new();
//!     for (name, value) in gauges {
//!         let _ = writeln!(text, "# TYPE loop_{name} gauge\nloop_{name} {value}");
//!     }
//!     for (name, value) in counters {
//!         let _ = writeln!(text, "# TYPE loop_{name}_total counter\nloop_{name}_total {value}");
//!     }
//!     text
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let published = Arc::new(Mutex::new(String::new()));
//! let exporter = TcpListener::bind("127.0.0.1:0")?; // a port for Prometheus alone
//! # let address = exporter.local_addr()?;
//! let text = published.clone();
//! thread::spawn(move || {
//!     for mut stream in exporter.incoming().flatten() {
//!         let _ = stream.read(&mut [0; 4096]);
//!         let body = text.lock().map(|text| text.clone()).unwrap_or_default();
//!         let _ = write!(
//!             stream,
//!             "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
//!              Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
//!             body.len(),
//!         );
//!     }
//! });
//! let mut net = Loop::<()>::new(Settings::default())?;
//! let now = net.net().now();
//! net.net().set_timer(now, 0);
//! # let stop = net.net().now() + Duration::from_millis(20);
//! # net.net().set_timer(stop, 1);
//! net.run(|net, event| match event {
//! #     Event::Timer(1) => net.stop(),
//!     Event::Timer(_) => {
//!         if let Ok(mut published) = published.lock() {
//!             *published = prometheus(&net.counts());
//!         }
//!         let next = net.now() + std::time::Duration::from_secs(10);
//!         net.set_timer(next, 0);
//!     }
//!     _ => {} // the program's other events
//! })?;
//! # let mut scrape = std::net::TcpStream::connect(address)?;
//! # scrape.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
//! # let mut answer = String::new();
//! # scrape.read_to_string(&mut answer)?;
//! # let (_, body) = answer.split_once("\r\n\r\n").unwrap();
//! # assert!(body.starts_with("# TYPE loop_open gauge\nloop_open 0\n"), "{body}");
//! # assert!(body.ends_with("\nloop_accept_failed_total 0\n"), "{body}");
//! # // Each field of the counts has its two lines.
//! # let fields = format!("{:?}", Counts::default()).matches(": 0").count();
//! # assert_eq!((body.lines().count(), fields), (2 * fields, 18));
//! # Ok(())
//! # }
//! ```
//!
//! For the messages and bytes of connections, a timer adds up what `Net::connection(..).counters()`
//! has grown by, as the recipe "Publish metrics" (`docs/recipes/operations.md`) does, and
//! `Outbox::counts` of `Net::outbox`. At `Event::Closed` the connection and its outbox are gone,
//! and with them what they counted since the timer last fired. A number that must be whole, you
//! count at `Event::Message`.
//!
//! # Reconnecting
//!
//! `Backoff` of `tickwire-parts` tells how long to wait before the next attempt, or that another
//! attempt would not help. At `Event::Open`, note `net.now()`. At `Event::Closed`, if there was an
//! `Event::Open`, call `connected_for` with the time since that `Event::Open`. Then ask for the
//! delay:
//!
//! - for `End::Failed(error)`, call `after_error(error.retry_delay())`
//! - for `End::Closed(closed)` with an error, call `after_error(Error::from(error).retry_delay())`:
//!   the code alone is not enough, because it is 1006 both for a violation and for a missed
//!   deadline
//! - for `End::Closed(closed)` without an error, call `after_close(closed.code, lived)` with that
//!   time
//! - for any other `End`, call `after_error(Some(Duration::ZERO))`
//!
//! If there is a delay, call `net.set_timer(net.now() + delay, 0)`, and `dial` again at
//! `Event::Timer`. If there is no delay, stop. The example `reconnect` has a client on this loop
//! that also logs in and subscribes again, with `Follower` of `tickwire-feed` (in tickwire's
//! repository: no such crate is on the registry).
//!
//! # Latency
//!
//! Give the loop's thread a core of its own, and set `Waiting::Spin`. If the thread shares its
//! core, use `Waiting::SpinFor` instead. To measure the time from the network to the handler, use
//! `stamp_reads` of `Config` and `Door::timestamps`.
//!
//! # Threads
//!
//! To use more cores, run a loop in each thread, as the example `event_loop` does with `--threads`.
//! The loops share only the port: each listens on the same address, with a `Door` that has
//! `share_port(true)`. Two loops exchange messages as a loop and a worker thread do (see above).
//! Each loop has a channel and a `Waker`, and each thread has the senders and wakers of all loops.
//! To send a text to all connections, send the text to each channel, and then wake the channel's
//! loop. At `Event::Woken`, each loop empties its channel, and calls `send_to` for its own
//! connections. So no lock is held while a socket is read or written.
//!
//! A handle is valid only in its own loop. So if you send a handle to another thread, send the
//! number of its loop too. If a loop can fall behind, use a channel with a limit. The limits of
//! `Settings` hold for each loop separately.
//!
//! With a shared port, Linux picks the loop for a new connection by the addresses of both ends.
//! Linux does not know which loop is busy. To pick the loop yourself, accept connections in a
//! thread of your own, send each stream to a loop through its channel, and call `Net::adopt` in
//! that loop's handler.
//!
//! # io_uring
//!
//! io_uring is unstable: it is no part of what 1.0 promises, any release may change or remove it,
//! and we do not develop it further. On HttpArena's board it gains 1 to 6 %, and takes 5.4 MB in
//! place of 4.2 (`benches/PUBLIC.md`); with messages of 1000 B it costs 5 % of the server's CPU
//! ("Event loops" in `benches/RESULTS.md`). Under a flood of messages, the 99th percentile of the
//! other connections' round trips was 2.8 to 11 ms, with mio 0.09 to 1.7 ms. Peers that each sent
//! half a message, and did not read, took 254 MB in place of 28. Messages of 1 KiB to 1 MiB that
//! came without a pause took 3.8 to 5.5 times the processor time that they took with mio (part
//! `traffic` of `benches/README.md`). So measure before you choose it.
//!
//! With the feature `unstable-io-uring`, `Settings { io_uring: true, .. }` asks for io_uring, which
//! needs Linux 6.1 or later on x86-64 or aarch64. If the kernel is older, or a sandbox forbids
//! io_uring (as in many containers), the loop runs over mio. `Net::uses_io_uring` tells which of
//! the two it uses.
//!
//! In one call, the kernel receives the bytes of many open connections, into 32 buffers of 17 KiB
//! that all connections share. Replies of up to 4 KiB are copied, and one call sends the copies of
//! many connections. A longer reply is sent by a call of its own. Listeners, handshakes, and
//! streams with times of arrival (`Door::timestamps`) stay with mio. Otherwise io_uring behaves
//! like mio, with two exceptions. First, the loop has to stay in one thread: once it has run, `run`
//! fails in any other thread. Second, bytes that arrive for a paused connection (usually little
//! more than 64 KiB) wait in this program's memory, not in the kernel's. `Settings::io_uring` says
//! how much memory they take.
//!
//! # Compared with other ways
//!
//! What an idle connection takes is in the README, for uWebSockets in `benches/PUBLIC.md`, and for
//! `tickwire::tokio` in `benches/RESULTS.md` ("Side by side"). Here, the handle of a closed
//! connection is harmless. In uWebSockets, a connection's pointer is invalid after the close
//! handler. A plain HTTP request gets a rejection or a health check's answer here; uWebSockets has
//! a router, tokio has hyper and axum. On mio you write slots, turns, timers and TLS: see
//! `docs/loop.rs`.
//!
//! **Use tokio** if each connection also waits for other things: databases, other services, HTTP.
//! **Use this loop** if there are many connections, and the work for each message is short and
//! needs no I/O: feeds, games, order gateways, fan-out. **Use mio by hand** if the connections have
//! to run inside an event loop that you already have. But first see whether your event loop can
//! call `Loop::turn`, which runs one round of this loop.
