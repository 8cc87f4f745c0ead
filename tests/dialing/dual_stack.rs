//! A name with an IPv6 address that answers nothing and an IPv4 address that does: both adapters
//! that dial reach the server after the head start of the first attempt (RFC 8305), and say how
//! long it took.
//!
//! It runs in a network namespace and a mount namespace of its own, where one end of a veth pair
//! drops all IPv6, and /etc/hosts has the name.
use std::{
    env,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};
use testkit::namespaces::{bind_file, ends_in_time, run, run_apart};
use tickwire::{Config, Dial, blocking, handshake::client::Request};

const TEST: &str = "dual_stack::a_dead_ipv6_address_costs_its_head_start_only";
const INSIDE: &str = "TICKWIRE_DUAL_STACK";

#[test]
fn a_dead_ipv6_address_costs_its_head_start_only() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    run_apart(TEST, &["--net", "--mount"], |command| _ = command.env(INSIDE, ""));
}

fn inside() {
    ends_in_time();
    run("ip link set lo up");
    run("ip link add near type veth peer name far");
    run("ip link set near up");
    run("ip link set far up");
    run("ip addr add 192.0.2.1/24 dev lo");
    run("ip -6 addr add 2001:db8::1/64 dev near nodad");
    // The address of a host that is not there: what is sent to it is lost without a word.
    run("ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    bind_file("/etc/hosts", "2001:db8::2 dual.test\n192.0.2.1 dual.test\n");

    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut ws = blocking::accept(stream.unwrap(), &Config::default()).unwrap();
            while let Ok(Some(_)) = ws.recv() {}
        }
    });
    let request = Request::new(&format!("ws://dual.test:{port}/")).unwrap();
    let (dial, config) = (Dial::new(&request), Config::default());

    let began = Instant::now();
    let ws = dial.blocking_connect(&config).unwrap();
    let blocking = began.elapsed();
    assert!(ws.get_ref().get_ref().peer_addr().unwrap().is_ipv4());
    drop(ws);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tokio, alone) = runtime.block_on(async {
        let began = Instant::now();
        let ws = dial.connect(&config).await.unwrap();
        assert!(ws.get_ref().get_ref().peer_addr().unwrap().is_ipv4());
        let tokio = began.elapsed();
        // Alone, the first address answers nothing until the time is over.
        let request = Request::new(&format!("ws://[2001:db8::2]:{port}/")).unwrap();
        let config = Config { handshake_timeout: Duration::from_millis(900), ..Config::default() };
        (tokio, Dial::new(&request).connect(&config).await.map(drop).unwrap_err())
    });
    for took in [blocking, tokio] {
        assert!(took >= Duration::from_millis(250), "the first address was not tried: {took:?}");
    }
    assert!(alone.to_string().contains("timed out, dialing [2001:db8::2]"), "{alone}");
    println!("IPv6 lost: connected after {blocking:.1?} (blocking), {tokio:.1?} (tokio)");
}
