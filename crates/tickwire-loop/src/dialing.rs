use crate::stage::{Addresses, Dialing, Open, Stage};
use crate::system::{Stream, Token, fault};
use crate::wire::{Pause, Wire, is_passing};
use crate::{
    dial::Dial,
    handle::Handle,
    inner::Inner,
    net::Handler,
    slots::{Origin, Peer},
    tls::Tls,
};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};
use tickwire::{
    Connection, Error, Retry, SystemEntropy,
    handshake::{HandshakeError, Progress, client::Handshake},
};
use tickwire_dial::{Failure, Race, Step};

impl<T> Inner<T> {
    pub(crate) fn dial(&mut self, dial: Dial, value: T) -> Result<Handle, Error> {
        self.check_not_shutting()?;
        let target = dial.request.target();
        if target.secure() && cfg!(not(feature = "rustls")) {
            return Err(Error::NoTls);
        }
        // Addresses of the application take the place of the URL's host.
        let addresses = match &dial.known[..] {
            [] => Addresses::Sought(self.resolver.look_up(target.host(), target.port())),
            known => Addresses::Found(Race::new(known.iter().copied(), dial.delay)),
        };
        let began = self.clock.tick(); // the deadlines count from now, not from the last wait
        let dialing = Dialing {
            dial,
            began,
            addresses,
            attempts: Vec::new(),
            handshake: None,
            given_up: false,
        };
        let stage = Stage::Dialing(Box::new(dialing));
        // `OutOfMemory` comes closest to "all 2³¹ slots are in use".
        let handle = self.slots.take(stage).ok_or(io::Error::from(ErrorKind::OutOfMemory))?;
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.value = Some(value);
        }
        self.make_ready(handle.at); // its turn connects, or fails with an event
        Ok(handle)
    }

    pub(crate) fn go_on_dialing(
        &mut self,
        handle: Handle,
        mut dialing: Box<Dialing>,
        handler: &mut Handler<'_, T>,
    ) -> Option<Box<Open>> {
        let shaken = match &dialing.handshake {
            _ if dialing.given_up => Err(io::Error::from(ErrorKind::ConnectionAborted).into()),
            None => self.race(handle, &mut dialing),
            Some(_) => self.shake_hands(handle, &mut dialing),
        };
        let error = match shaken {
            Ok(conn) => return Some(self.open(handle, conn, dialing.dial.config)),
            Err(Pause::Failed(error)) => error,
            Err(Pause::Wait(until)) => {
                // At the dial's deadline at the latest.
                let until = until.into_iter().chain([dialing.deadline()]).min();
                self.put(handle, Stage::Dialing(dialing), until);
                return None;
            }
        };
        drop(dialing); // its attempts and its lookup end before the handler can dial again
        self.finish(handle, None, Some(error), handler);
        None
    }

    fn race(&mut self, handle: Handle, dialing: &mut Dialing) -> Result<Connection, Pause> {
        let timed_out = self.clock.now >= dialing.deadline();
        let target = dialing.dial.request.target();
        let race = match &mut dialing.addresses {
            Addresses::Found(race) => race,
            Addresses::Sought(lookup) => {
                let failed = |error| Err(named(error, "resolving", target.host()).into());
                if timed_out {
                    return failed(ErrorKind::TimedOut.into());
                }
                let waker = self.resolver.waker(handle);
                match Pin::new(lookup).poll(&mut Context::from_waker(&waker)) {
                    Poll::Pending => return Err(Pause::Wait(None)),
                    Poll::Ready(Err(error)) => return failed(error),
                    Poll::Ready(Ok(found)) => {
                        let race = Race::new(found, dialing.dial.delay);
                        dialing.addresses = Addresses::Found(race);
                        return self.race(handle, dialing);
                    }
                }
            }
        };
        let mut at = 0;
        while let Some((to, stream)) = dialing.attempts.get(at) {
            match self.system.is_connected(stream) {
                Ok(false) => at += 1,
                Ok(true) => {
                    let connected = dialing.attempts.swap_remove(at);
                    dialing.attempts.clear(); // this closes the other streams
                    return self.begin_handshake(handle, dialing, connected);
                }
                Err(error) => {
                    race.failed(*to, Failure::Connect(error).into_error(*to));
                    dialing.attempts.swap_remove(at); // now the attempt that was last is at `at`
                }
            }
        }
        // After the attempts, so that one that has connected wins even if the loop is late.
        if timed_out {
            for (to, _) in &dialing.attempts {
                race.failed(*to, ErrorKind::TimedOut.into());
            }
            return Err(lost(race, target.host()).into());
        }
        loop {
            match race.next(self.clock.now - dialing.began) {
                None => return Err(lost(race, target.host()).into()),
                Some(Step::Wait(until)) => {
                    return Err(Pause::Wait(until.map(|until| dialing.began + until)));
                }
                Some(Step::Connect(to)) => {
                    let begun = begin_connect(to, &dialing.dial).and_then(|stream| {
                        let token = Token::Slot(handle.at);
                        let stamps = dialing.dial.stamps_reads;
                        self.system.adopt(stream, token, stamps).map_err(Failure::Prepare)
                    });
                    match begun {
                        Ok(stream) => dialing.attempts.push((to, stream)),
                        Err(failure) => race.failed(to, failure.into_error(to)),
                    }
                }
            }
        }
    }

    fn begin_handshake(
        &mut self,
        handle: Handle,
        dialing: &mut Dialing,
        (to, stream): (SocketAddr, Stream),
    ) -> Result<Connection, Pause> {
        let dial = &dialing.dial;
        let secure = dial.request.target().secure();
        // An error of these ends the dial, because another address would not help.
        let tls = secure.then(|| Tls::client(dial.tls_config.as_ref(), &dial.request));
        let entropy = fault("entropy").and_then(|()| SystemEntropy::new());
        let tls = tls.transpose()?;
        let entropy = entropy?;
        let mut handshake = Handshake::new(&dial.request, &dial.config, entropy);
        let _ = handshake.reading.handle_timeout(dialing.began); // starts the handshake's deadline
        dialing.handshake = Some(handshake);
        if let Some(slot) = self.slots.get_mut(handle) {
            // The stream may have ended already, and the only `Note` of that may have come during
            // the attempt. So it counts as readable, and the first read finds the end.
            slot.wire = Some(Wire::new(stream, tls, true, dial.stamps_reads));
            slot.peer = Some(Peer::new(to, Origin::Dialed));
        }
        self.shake_hands(handle, dialing)
    }

    fn shake_hands(&mut self, handle: Handle, dialing: &mut Dialing) -> Result<Connection, Pause> {
        let wire = self.slots.get_mut(handle).and_then(|slot| slot.wire.as_mut());
        // Not reached: `begin_handshake` has set both.
        let (Some(handshake), Some(wire)) = (&mut dialing.handshake, wire) else {
            return Err(io::Error::from(ErrorKind::NotConnected).into());
        };
        let mut spent = 0;
        loop {
            // First, because the peer's next bytes may be the answer.
            match wire.say(&mut self.system, handshake.outgoing()) {
                Ok(n) => handshake.advance(n),
                Err(error) if is_passing(&error) => {}
                // A part of a refusal may have arrived. But after a failed write, the rest might
                // not come before the deadline, so the dial does not wait for it.
                Err(error) => return Err(error.into()),
            }
            match handshake.step() {
                Ok(Progress::Partial) => {}
                done => {
                    // The calls below consume the handshake, which the `let` above has found.
                    let handshake = dialing.handshake.take().ok_or(HandshakeError::Incomplete)?;
                    let Err(error) = done else { return Ok(handshake.into_connection()?) };
                    return Err(match handshake.into_refusal() {
                        Some(refusal) => Error::Refused(Box::new(refusal)).into(),
                        None => error.into(),
                    });
                }
            }
            let spent = (&mut spent, self.settings.turn_bytes);
            match wire.shake(&mut self.system, &mut handshake.reading, self.clock.now, spent) {
                // If the head of a refusal has arrived, it says more than the error that ended its
                // body.
                Err(Pause::Failed(_)) if handshake.response().is_some() => {
                    handshake.reading.end_of_stream();
                }
                shaken => shaken?,
            }
        }
    }
}

fn begin_connect(to: SocketAddr, dial: &Dial) -> Result<TcpStream, Failure> {
    let socket = prepared(to, dial).map_err(Failure::Prepare)?;
    match fault("connect").and_then(|()| socket.connect(&to.into())) {
        Err(error) if !is_under_way(&error) => Err(Failure::Connect(error)),
        _ => Ok(socket.into()),
    }
}

fn prepared(to: SocketAddr, dial: &Dial) -> io::Result<Socket> {
    fault("socket")?;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    dial.hook.call(&socket)?;
    socket.set_nonblocking(true)?; // after the hook, which may have changed the mode
    Ok(socket)
}

/// Windows returns `WOULDBLOCK`.
fn is_under_way(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INPROGRESS | Errno::WOULDBLOCK))
}

/// The error of a race that nobody won, with the texts of all failures, and the kind of the last
/// that another attempt may mend.
fn lost(race: &mut Race<io::Error>, host: &str) -> io::Error {
    let failures = race.take_failures();
    let text = |(to, error): &(SocketAddr, io::Error)| format!("{error}, dialing {to}");
    let texts: Vec<_> = failures.iter().map(text).collect();
    let mut kinds = failures.iter().rev().map(|(_, error)| error.kind());
    let passing = kinds.clone().find(|kind| Error::Io((*kind).into()).retry() == Retry::BackOff);
    match passing.or_else(|| kinds.next()) {
        Some(kind) => io::Error::new(kind, texts.join("; ")),
        None => named(ErrorKind::NotFound.into(), "resolving", host),
    }
}

fn named(error: io::Error, doing: &str, host: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{error}, {doing} {host}"))
}
