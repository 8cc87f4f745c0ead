//! Under turmoil: TCP without retransmission, so a cut connection never comes back.
#![cfg(not(madsim))]
use simulated::{follow, serve, verdict};
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};
use tickwire::{Config, Dial, futures_io::Timers, handshake::client::Request};
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 9000;

/// The clock of a simulated host.
#[derive(Clone)]
struct Simulated;

impl Timers for Simulated {
    type Sleep = tokio::time::Sleep;

    fn at(&self, at: Instant) -> Self::Sleep {
        tokio::time::sleep_until(at.into())
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

async fn server() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(serve(stream.compat(), Simulated));
    }
}

fn simulation(seed: u64) -> turmoil::Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(10))
        .epoch(SystemTime::UNIX_EPOCH)
        .simulation_duration(Duration::from_secs(120))
        .build();
    sim.host("server", server);
    sim
}

#[test]
fn each_number_arrives_once_and_in_order_across_a_partition() {
    for seed in 0..20 {
        let mut sim = simulation(seed);
        let done = Rc::new(RefCell::new(None));
        let of_client = done.clone();
        sim.client("client", async move {
            let connect = || async {
                TcpStream::connect(("server", PORT)).await.map(|stream| stream.compat())
            };
            let (numbers, errors) = follow(connect, Simulated, 500).await;
            *of_client.borrow_mut() = Some((numbers, errors, turmoil::elapsed()));
            Ok(())
        });
        sim.client("network", async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            turmoil::partition("client", "server");
            tokio::time::sleep(Duration::from_secs(10)).await;
            turmoil::repair("client", "server");
            Ok(())
        });
        sim.run().unwrap();
        let (numbers, errors, took) = done.take().expect("the client has ended");
        verdict(seed, &numbers, &errors, took);
    }
}

#[test]
fn dial_connects_over_a_simulated_network() {
    let mut sim = simulation(1);
    sim.client("client", async {
        let request = Request::new("ws://server:9000/numbers")?;
        let dial = Dial::new(&request);
        let connect =
            |to: &tickwire::url::Target| TcpStream::connect((to.host().to_string(), to.port()));
        let mut ws = dial.connect_with(&Config::default(), connect).await?;
        ws.send("41").await?;
        let first = ws.recv().await?.and_then(|message| message.as_text().map(str::to_owned));
        assert_eq!(first.as_deref(), Some("41"));
        Ok(())
    });
    sim.run().unwrap();
}
