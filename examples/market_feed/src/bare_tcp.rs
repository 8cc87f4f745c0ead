//! The same feed over bare TCP, for comparison: messages without limits, deadlines or Pings.
use crate::{
    BoxError,
    feed::Outlet,
    subscriber::{Stats, Subscriber},
    wire,
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) async fn session(mut stream: TcpStream, mut outlet: Outlet) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let mut out = outlet.join();
    loop {
        stream.write_all(&out).await?; // one write for each batch
        let Some(batch) = outlet.batch().await else { return Ok(()) };
        let (snapshot, ticks) = outlet.due(&batch, 0);
        out = snapshot.unwrap_or_default();
        ticks.iter().for_each(|tick| out.extend_from_slice(tick.payload()));
        outlet.done += ticks.len() as u64;
    }
}

pub(crate) async fn follow(address: SocketAddr) -> Result<Stats, BoxError> {
    let mut subscriber = Subscriber::new()?;
    let mut stream = TcpStream::connect(address).await?;
    let (mut buffer, mut len) = (vec![0; 16 << 10], 0); // as `Config::read_buffer`
    loop {
        match stream.read(&mut buffer[len..]).await? {
            0 => return Ok(subscriber.stats),
            n => len += n,
        }
        let mut rest = &buffer[..len];
        while let Some(size) = wire::len(rest)
            && let Some((message, behind)) = rest.split_at_checked(size)
        {
            subscriber.take(message)?;
            rest = behind;
        }
        let begin = len - rest.len();
        buffer.copy_within(begin..len, 0);
        len -= begin;
    }
}
