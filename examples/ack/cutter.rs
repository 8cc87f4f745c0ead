//! A bad network: passes bytes on between a client and a server, and cuts each connection after
//! some bytes, even inside a frame.
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, copy},
    net::{TcpListener, TcpStream},
};

/// Cuts the first `cuts` connections, each after at most `most` bytes in one direction.
pub(crate) async fn run(
    listener: TcpListener,
    server: SocketAddr,
    cuts: u32,
    most: u64,
) -> io::Result<()> {
    let mut random = 1_u64;
    for n in 0.. {
        let (client, _) = listener.accept().await?;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let limit = if n < cuts { (random >> 33) % most } else { u64::MAX };
        pass_on(client, TcpStream::connect(server).await?, limit).await;
    }
    Ok(())
}

/// Passes bytes on until `limit` bytes have passed in one direction, or an end closes. Then drops
/// both streams, and loses all bytes that are under way.
async fn pass_on(mut client: TcpStream, mut server: TcpStream, limit: u64) {
    let (from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let (mut up, mut down) = (from_client.take(limit), from_server.take(limit));
    tokio::select! {
        _ = copy(&mut up, &mut to_server) => {}
        _ = copy(&mut down, &mut to_client) => {}
    }
}
