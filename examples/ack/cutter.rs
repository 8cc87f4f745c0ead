//! A bad network: passes bytes on between a client and a server, and cuts each connection after
//! some, wherever that is.
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Cuts `cuts` connections, each after at most `most` bytes; passes the next ones on whole.
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
        pass_on(client, TcpStream::connect(server).await?, limit).await?;
    }
    Ok(())
}

/// Until so many bytes have passed, in both directions together, or an end closes.
async fn pass_on(mut client: TcpStream, mut server: TcpStream, limit: u64) -> io::Result<()> {
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    let mut left = limit;
    loop {
        let (bytes, to) = tokio::select! {
            n = client.read(&mut up) => (&up[..n.unwrap_or(0)], &mut server),
            n = server.read(&mut down) => (&down[..n.unwrap_or(0)], &mut client),
        };
        let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let passed = to.write_all(&bytes[..n]).await;
        left -= n as u64;
        if n == 0 || left == 0 || passed.is_err() {
            return Ok(()); // both are dropped, with whatever is under way
        }
    }
}
