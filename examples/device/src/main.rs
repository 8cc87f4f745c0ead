//! Firmware of a device that sends telemetry over WebSocket, on a Cortex-M3 without an operating
//! system. `run` builds it, runs it in QEMU, and prints how much memory it takes.
//! `docs/recipes/devices.md` explains it.
//!
//! Its command line: the bytes of its heap, a seed of 32 letters, and the server's URL, whose
//! host is an IPv4 address.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod board;
mod client;

use board::Card;
use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use client::{Client, Counts};
use core::{net::Ipv4Addr, sync::atomic::Ordering::Relaxed, time::Duration};
use smoltcp::iface::{Config, Interface, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::{time::Instant, wire::EthernetAddress, wire::IpCidr};
use tickwire::{Time, handshake::client::Request};

/// The addresses of QEMU's card, and of the device in QEMU's network.
const CARD: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

#[macro_export]
macro_rules! say {
    ($($what:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::board::Console, $($what)*);
    }};
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    say!("panicked");
    board::end() // a product would restart
}

fn run(card: &mut Card, received: &mut [u8], to_send: &mut [u8], line: &str) -> ! {
    let mut words = line.split(' ').skip(2);
    let mut word = || words.next().unwrap_or_default();
    let Some(&seed) = word().as_bytes().first_chunk() else { panic!("a seed has 32 letters") };
    let mut random = ChaCha12Rng::from_seed(seed);
    let Ok(request) = Request::new(word()) else { panic!("the URL is malformed") };
    let host = request.target().host().parse().unwrap_or(Ipv4Addr::LOCALHOST);
    let server = (host, request.target().port()).into();

    let mut tcp = Socket::new(SocketBuffer::new(received), SocketBuffer::new(to_send));
    tcp.set_nagle_enabled(false);
    let mut storage = [SocketStorage::EMPTY];
    let mut sockets = SocketSet::new(&mut storage[..]);
    let tcp = sockets.add(tcp);

    let mut config = Config::new(CARD.into());
    config.random_seed = random.next_u64();
    let mut network = Interface::new(config, card, Instant::ZERO);
    network.update_ip_addrs(|all| _ = all.push(IpCidr::new(DEVICE.into(), 24)));

    let mut client = Client::new(server, request, random);
    let (mut milliseconds, mut told) = (0_u64, 0);
    loop {
        let board_counts = board::MILLISECONDS.load(Relaxed); // modulo 2³², which are 49 days
        milliseconds += u64::from(board_counts.wrapping_sub(milliseconds as u32));
        let at = Instant::from_millis(milliseconds as i64);
        let now = Time::new(Duration::from_millis(milliseconds));
        network.poll(at, card, &mut sockets);
        let went_on = client.run(sockets.get_mut(tcp), network.context(), now);
        network.poll(at, card, &mut sockets);
        if !went_on {
            board::sleep();
        }
        if milliseconds >= told {
            told = milliseconds + 1000;
            let Counts { sent, echoed, pings } = &client.counts;
            say!("sent {sent} echoed {echoed} pings {pings}");
            let [heap, heap_peak, stack_peak] = board::memory();
            say!("heap {heap} heap_peak {heap_peak} stack_peak {stack_peak}");
        }
    }
}
