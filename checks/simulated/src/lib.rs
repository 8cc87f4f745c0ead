//! A feed of numbers, for networks that a test cuts and mends.
//!
//! The server sends numbers in order, from the one that the client asks for. The client notices a
//! dead connection by its heartbeat, connects again, and asks for the number that it lacks. The
//! code knows no simulator: a test gives it a connector and timers.
use futures_util::{
    AsyncRead, AsyncWrite,
    future::{Either, select},
};
use std::{io, pin::pin, time::Duration};
use tickwire::{
    Config, Error, Heartbeat, RecvError,
    futures_io::{self, Timers, accept},
    handshake::client::Request,
};
use tickwire_parts::Backoff;

/// The time between two numbers.
const PERIOD: Duration = Duration::from_millis(20);
/// The time that TCP has to connect. A cut network says nothing.
const CONNECT: Duration = Duration::from_secs(2);
/// The heartbeat's interval, and the time that it gives a Pong.
const BEAT: Duration = Duration::from_secs(1);

/// The entropy of both ends: fixed, so that a run can be repeated.
pub struct Fixed(pub u8);

impl tickwire::Entropy for Fixed {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| {
            self.0 = self.0.wrapping_mul(5).wrapping_add(7);
            self.0
        });
    }
}

/// Serves one connection until it ends.
pub async fn serve<S, T>(stream: S, timers: T) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timers,
{
    let mut ws = accept(stream, timers.clone(), &config()).await?;
    let asked = ws.recv_owned().await?;
    let text = asked.as_ref().and_then(|message| message.as_message().as_text());
    let mut next: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    loop {
        ws.send(&next.to_string()).await?;
        next += 1;
        wait(&timers, PERIOD).await;
    }
}

/// Receives `count` numbers, over as many connections as that takes. Returns the numbers, and the
/// errors that ended the connections before the last.
pub async fn follow<S, T, F>(
    connect: impl Fn() -> F,
    timers: T,
    count: u64,
) -> (Vec<u64>, Vec<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timers,
    F: Future<Output = io::Result<S>>,
{
    let (mut numbers, mut errors) = (vec![], vec![]);
    let mut backoff = Backoff::new(Fixed(1));
    loop {
        let received: Result<(), Error> = async {
            let stream = match select(pin!(connect()), pin!(wait(&timers, CONNECT))).await {
                Either::Left((stream, _)) => stream?,
                Either::Right(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            let request = Request::new("ws://server:9000/numbers")?;
            let mut ws = futures_io::client(stream, timers.clone(), &request, &config()).await?;
            ws.send(&numbers.len().to_string()).await?;
            while let Some(message) = ws.recv().await? {
                let number = message.as_text().and_then(|text| text.parse().ok());
                numbers.push(number.expect("a number"));
                if numbers.len() as u64 == count {
                    return Ok(());
                }
            }
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
        .await;
        let Err(error) = received else { return (numbers, errors) };
        errors.push(error.to_string());
        let delay = backoff.after_error(error.retry_delay()).expect("the network may come back");
        wait(&timers, delay).await;
    }
}

fn config() -> Config {
    Config {
        heartbeat: Some(Heartbeat::new(BEAT, BEAT)),
        handshake_timeout: CONNECT,
        ..Config::default()
    }
}

async fn wait<T: Timers>(timers: &T, time: Duration) {
    timers.at(timers.now() + time).await;
}

/// Checks the result of [`follow`] for 500 numbers with ten seconds of partition in them.
pub fn verdict(seed: u64, numbers: &[u64], errors: &[String], took: Duration) {
    assert!(numbers.iter().copied().eq(0..500), "seed {seed}: {numbers:?}");
    // The heartbeat found the dead connection, and at least one attempt met the partition.
    let dead = RecvError::PongTimeout.to_string();
    assert!(errors.len() >= 2 && errors[0] == dead, "seed {seed}: {errors:?}");
    println!("seed {seed}: {} reconnects, {took:?}", errors.len());
    // Ten seconds of numbers, ten of partition, and at most ten for the delays between attempts.
    assert!(took < Duration::from_secs(30), "seed {seed}: {took:?}");
}
