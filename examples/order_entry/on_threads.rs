//! Over two threads: one sends orders, and one takes the answers, without ever sleeping.
//!
//! **Who registers an order, and when.** The sending thread does, *before* `feed`. Another thread
//! receives, and `flush`, or whoever writes next, may write an order as soon as it is fed: its
//! answer can be here before `flush` returns. An answer to an order that nobody knows yet would
//! have to be kept, or be lost.
//!
//! So an order that is registered may not have been sent, and one step undoes that:
//!
//! - `feed` fails: nothing was queued. The order is forgotten again.
//! - `flush` fails: `is_written` says whether the order may have left. If it has not, it is
//!   forgotten, and may be sent again. If it may have, it stays: only the exchange knows.
use super::order::{Kind, Order};
use arguments::Failure;
use std::{
    collections::HashMap,
    io,
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Error,
    blocking::{Reader, Spin, Writer, accept, client},
    handshake::client::Request,
};

/// What was sent and is not answered yet, by its number: since when.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, Instant>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn spinning(orders: u64) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let exchange = thread::spawn(move || exchange(&listener));
    // For the least latency, each of the two threads has a core of its own.
    let line = Spin::new(TcpStream::connect(address)?)?;
    let request = Request::new(&format!("ws://{address}/orders"))?;
    let (reader, writer) = client(line, &request, &Config::default())?.into_split()?;
    let pending = Pending::default();
    let times = thread::scope(|scope| {
        let answers = scope.spawn(|| answers(reader, &pending));
        send(writer, orders, &pending)?;
        answers.join().map_err(|_| io::Error::other("a thread has panicked"))?
    })?;
    exchange.join().map_err(|_| "the exchange has panicked")??;
    let (answered, open) = (times.len() as u64, pending.lock().len());
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("{answered} orders answered, half of them within {median:.1?}; {open} are open");
    if answered == orders && open == 0 { Ok(()) } else { Err("an order has no answer".into()) }
}

fn send(mut writer: Writer<Spin<TcpStream>>, orders: u64, pending: &Pending) -> Result<(), Error> {
    for number in 1..=orders {
        let order = Order { kind: Kind::Quote, number, price: 1_084_200_000, size: 100 };
        pending.lock().insert(number, Instant::now()); // before `feed`: see above
        let fed = writer.with_sender(|tx| order.feed(tx));
        let position = fed.inspect_err(|_| _ = pending.lock().remove(&number))?;
        if let Err(error) = writer.flush() {
            if !writer.is_written(position) {
                pending.lock().remove(&number);
            }
            return Err(error);
        }
    }
    writer.close(CloseCode::NORMAL)
}

/// Takes answers until the exchange has closed: how long each took, sorted.
fn answers(mut reader: Reader<Spin<TcpStream>>, pending: &Pending) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    while let Some(answer) = reader.recv()? {
        let order =
            Order::read(answer.as_bytes()).ok_or_else(|| io::Error::other("that is no answer"))?;
        let since = pending.lock().remove(&order.number);
        let since = since.ok_or_else(|| io::Error::other("an answer to no order"))?;
        times.push(since.elapsed());
    }
    times.sort();
    Ok(times)
}

/// Answers each order with the order.
fn exchange(listener: &TcpListener) -> Result<(), Error> {
    let (stream, _) = listener.accept()?;
    let mut ws = accept(stream, &Config::default())?;
    while let Some(received) = ws.recv_to_reply()? {
        received.sender.feed(received.message)?;
    }
    Ok(())
}
