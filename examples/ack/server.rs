//! The receiving end: does each order once, in order, and says how far it is.
use super::delivery::{self, Received};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tickwire::{CloseCode, CloseFrame, Config, Error, handshake::server::Accept, tokio::Incoming};
use tokio::net::TcpStream;

/// What was done for each client. Outlives its connections, of which there may be two for a moment:
/// the server can notice last that one is lost.
#[derive(Default)]
pub(crate) struct Orders(Mutex<HashMap<String, Account>>);

#[derive(Default)]
pub(crate) struct Account {
    received: Received,
    /// What was done. An application would do it here, and write down how far it is in the same
    /// transaction.
    pub(crate) done: Vec<Vec<u8>>,
}

impl Orders {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up_to(&self, client: &str) -> u64 {
        self.lock().get(client).map_or(0, |account| account.received.up_to())
    }

    /// Does what is new. Returns how far it is.
    fn take(&self, client: &str, message: &[u8]) -> Result<u64, String> {
        let (number, payload) = delivery::read(message).ok_or("too short")?;
        let mut accounts = self.lock();
        let account = accounts.entry(client.to_owned()).or_default();
        if account.received.take(number)? {
            account.done.push(payload.to_owned());
        }
        Ok(account.received.up_to())
    }
}

/// One connection. Its path is the client's name, so that the next one goes on with its account.
pub(crate) async fn serve(stream: TcpStream, orders: &Orders) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let incoming = Incoming::read(stream, &Config::default()).await?;
    let client = incoming.request().path().to_owned();
    let mut ws = incoming.accept(Accept::default()).await?;
    ws.send(&orders.up_to(&client).to_be_bytes()).await?;
    while let Some(received) = ws.recv_to_reply().await? {
        match orders.take(&client, received.message.as_bytes()) {
            // One acknowledgement for all that came together; it leaves with the next read.
            Ok(up_to) if !received.info().more => _ = ws.feed(&up_to.to_be_bytes())?,
            Ok(_) => {}
            Err(what) => {
                let close = CloseFrame::with_reason(CloseCode::POLICY_VIOLATION, &what);
                return ws.close(close).await;
            }
        }
    }
    Ok(())
}
