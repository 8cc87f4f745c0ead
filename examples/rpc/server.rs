//! The server: works on several requests of a client at a time, and answers each when it is done.
use super::wire;
use tickwire::{CloseCode, CloseFrame, Config, Error, tokio::accept};
use tokio::{net::TcpStream, task::JoinSet};

/// How many requests of a client are worked on at a time. While there are that many, it is not read.
const AT_ONCE: usize = 64;

/// One connection. At its end `work` that is not done is dropped.
pub(crate) async fn serve<F>(stream: TcpStream, work: impl Fn(Vec<u8>) -> F) -> Result<(), Error>
where
    F: Future<Output = Vec<u8>> + Send + 'static,
{
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, &Config::default()).await?;
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            received = ws.recv(), if tasks.len() < AT_ONCE => match received? { // writes answers, too
                Some(message) => match wire::read(message.as_bytes()) {
                    Some((number, request)) => {
                        let answer = work(request.to_vec());
                        tasks.spawn(async move { wire::message(number, &answer.await) });
                    }
                    None => {
                        let why = "a request begins with a number";
                        ws.fail(CloseFrame::with_reason(CloseCode::POLICY_VIOLATION, why))?;
                    }
                },
                None => return Ok(()),
            },
            Some(done) = tasks.join_next() => if let Ok(answer) = done { // one that panicked has none
                ws.ready().await?;
                let _position = ws.feed(&answer)?;
            },
        }
    }
}
