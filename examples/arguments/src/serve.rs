//! Helpers for servers under tokio.
use std::{io, net::SocketAddr};
use tokio::net::TcpSocket;

/// A socket to listen with. Its options, such as buffer sizes, apply to accepted connections.
pub fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(cfg!(unix))?; // it means something else on Windows
    Ok(socket)
}

/// The future is ready when SIGTERM or SIGINT arrives. Signals count from this call on.
#[cfg(unix)]
pub fn stop_asked() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The future is ready at ctrl-c.
#[cfg(not(unix))]
pub fn stop_asked() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await // there is no such signal to wait for
        }
    })
}
