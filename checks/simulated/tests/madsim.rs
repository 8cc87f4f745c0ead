//! Under madsim: its own executor, clock and network.
#![cfg(madsim)]
use madsim::{
    net::{NetSim, TcpListener, TcpStream},
    runtime::{Handle, Runtime},
    time,
};
use simulated::{follow, serve, verdict};
use std::time::{Duration, Instant};
use tickwire::futures_io::Timers;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

const SERVER: &str = "10.0.0.1:9000";

/// madsim's clock. Inside its runtime this is also the system's.
#[derive(Clone)]
struct Simulated;

impl Timers for Simulated {
    type Sleep = time::Sleep;

    fn at(&self, at: Instant) -> Self::Sleep {
        time::sleep_until(at)
    }
}

#[test]
fn each_number_arrives_once_and_in_order_across_a_partition() {
    for seed in 0..20 {
        Runtime::with_seed_and_config(seed, madsim::Config::default()).block_on(async move {
            let handle = Handle::current();
            let server =
                handle.create_node().name("server").ip("10.0.0.1".parse().unwrap()).build();
            let client =
                handle.create_node().name("client").ip("10.0.0.2".parse().unwrap()).build();
            server.spawn(async {
                let listener = TcpListener::bind(SERVER).await.unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    madsim::task::spawn(serve(stream.compat(), Simulated));
                }
            });
            let (server, client_id) = (server.id(), client.id());
            time::sleep(Duration::from_millis(100)).await;
            let began = time::Instant::now();
            let following = client.spawn(async {
                let connect =
                    || async { TcpStream::connect(SERVER).await.map(|stream| stream.compat()) };
                follow(connect, Simulated, 500).await
            });
            time::sleep(Duration::from_secs(3)).await;
            NetSim::current().clog_link(server, client_id);
            NetSim::current().clog_link(client_id, server);
            time::sleep(Duration::from_secs(10)).await;
            NetSim::current().unclog_link(server, client_id);
            NetSim::current().unclog_link(client_id, server);
            let (numbers, errors) = following.await.unwrap();
            verdict(seed, &numbers, &errors, began.elapsed());
        });
    }
}
