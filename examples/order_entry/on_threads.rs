//! On two threads: one sends orders, and one receives the answers without ever sleeping.
//!
//! The recipe "Requests and answers on two threads" says why an order is fed and registered under
//! one lock, and why `is_written` is asked only once both threads have ended.
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
    CloseCode, Config, Error, Position,
    blocking::{Reader, Spin, Writer, accept, client},
    handshake::client::Request,
};

/// One sends, one spins, and one is the exchange.
const THREADS: usize = 3;

/// Orders without an answer, by number: when the order was fed, and its position.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, (Instant, Position)>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Instant, Position)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn spinning(orders: u64) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let exchange = thread::spawn(move || exchange(&listener));
    let line = Spin::new(TcpStream::connect(address)?)?;
    let request = Request::new(&format!("ws://{address}/orders"))?;
    let (reader, mut writer) = client(line, &request, &Config::default())?.into_split()?;
    let pending = Pending::default();
    let (sent, times) = thread::scope(|scope| {
        let answers = scope.spawn(|| answers(reader, &pending));
        (send(&mut writer, orders, &pending), answers.join())
    });
    let open = pending.lock();
    for (number, (_, position)) in &*open {
        println!("order {number} may have left: {}", writer.is_written(*position));
    }
    sent?;
    let times = times.map_err(|_| "a thread has panicked")??;
    exchange.join().map_err(|_| "the exchange has panicked")??;
    let (answered, open) = (times.len() as u64, open.len());
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("{answered} orders answered, half of them within {median:.1?}; {open} are open");
    let cores = thread::available_parallelism()?.get();
    if cores < THREADS {
        println!(
            "with {THREADS} free cores they take less: here {cores} are shared by {THREADS} threads"
        );
    }
    if answered == orders && open == 0 { Ok(()) } else { Err("an order has no answer".into()) }
}

fn send(writer: &mut Writer<Spin<TcpStream>>, orders: u64, pending: &Pending) -> Result<(), Error> {
    for number in 1..=orders {
        let order = Order { kind: Kind::Quote, number, price: 1_084_200_000, size: 100 };
        let since = Instant::now();
        let mut locked = pending.lock();
        let position = writer.with_sender(|tx| order.feed(tx))?;
        locked.insert(number, (since, position));
        drop(locked); // `flush` waits for the exchange
        writer.flush()?;
    }
    writer.close(CloseCode::NORMAL)
}

/// Receives answers until the exchange has closed. Returns the time that each answer took, sorted.
fn answers(mut reader: Reader<Spin<TcpStream>>, pending: &Pending) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    while let Some(answer) = reader.recv()? {
        let order =
            Order::read(answer.as_bytes()).ok_or_else(|| io::Error::other("that is no answer"))?;
        let since = pending.lock().remove(&order.number);
        let (since, _) = since.ok_or_else(|| io::Error::other("an answer to no order"))?;
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
