//! An echo server on `tickwire-loop`. `main.rs` says how to run it.
use std::{io, net::SocketAddr};
use tickwire::{Config, handshake::server::Accept, tls::Server};
use tickwire_loop::{Door, Event, Loop, Net, Settings};

/// The options of the service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// For `wss`.
    pub tls: Option<Server>,
    /// Whether to use io_uring, if the kernel allows it.
    pub io_uring: bool,
    /// Whether other loops may have the same port (SO_REUSEPORT).
    pub shares_port: bool,
}

/// A loop that listens, and its address with the port. It serves once it is run with [`echo`].
///
/// # Errors
///
/// The system's errors: another program has the address, or there is no descriptor left.
pub fn bind(address: SocketAddr, service: &Service) -> io::Result<(Loop<()>, SocketAddr)> {
    // All peers of the loopback have one address.
    let most = Settings::default().max_connections;
    let settings =
        Settings { io_uring: service.io_uring, max_per_address: most, ..Settings::default() };
    let mut door = Door::new(Config::server()).share_port(service.shares_port);
    if let Some(tls) = &service.tls {
        door = door.tls(tls.clone());
    }
    let mut net = Loop::new(settings)?;
    let address = net.net().listen(address, door)?;
    Ok((net, address))
}

/// The function to [run](Loop::run) the loop with. It sends everything back.
pub fn echo(net: &mut Net<'_, ()>, event: Event<'_, ()>) {
    match event {
        // A real server checks the target, the origin and the user here.
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        // The loop delivers no message while there is no room for its reply. So `send` fails only
        // if the connection is closing, and then nobody needs the reply.
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    }
}
