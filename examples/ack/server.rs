//! The receiving end: does each order once, in order, and acknowledges the orders.
use super::delivery::{self, Received};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tickwire::{CloseCode, CloseFrame, Config, Error, handshake::server::Accept, tokio::Incoming};
use tokio::net::TcpStream;

/// The account of each client. It outlives the client's connections. A client may have two
/// connections for a moment: it may notice before the server that the old one is lost.
#[derive(Default)]
pub(crate) struct Orders(Mutex<HashMap<String, Account>>);

#[derive(Default)]
pub(crate) struct Account {
    received: Received,
    /// The orders that were done. An application would do an order here, and would write its number
    /// to a database in the same transaction.
    pub(crate) done: Vec<Vec<u8>>,
}

impl Orders {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up_to(&self, client: &str) -> u64 {
        self.lock().get(client).map_or(0, |account| account.received.up_to())
    }

    /// Does an order if it is new. Returns the number up to which all orders are done.
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

/// One connection. Its path is the client's name, so the client's next one continues its account.
pub(crate) async fn serve(stream: TcpStream, orders: &Orders) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let incoming = Incoming::read(stream, &Config::server()).await?;
    let client = incoming.request().path().to_owned();
    let mut ws = incoming.accept(Accept::default()).await?;
    ws.send(&orders.up_to(&client).to_be_bytes()).await?;
    while let Some(received) = ws.recv_to_reply().await? {
        match orders.take(&client, received.message.as_bytes()) {
            // One acknowledgement for all orders that came together. The next `recv` writes it.
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
