//! What permessage-deflate allocates, and what a connection keeps for it: the figures in the docs
//! of `tickwire::deflate`.
use crate::{
    connection::{discard_outgoing, pump},
    support::{deflate::*, wire::*},
};
use flate2::{Compress, Compression, FlushCompress};
use std::sync::LazyLock;
use testkit::{
    Rng,
    alloc::{count, live, peak},
};
use tickwire::{
    Chunk, Config, Connection, DataKind, Outbound, Prepared, Report, Role,
    deflate::{Deflate, DeflateParams},
};

fn open(role: Role, agreed: DeflateParams) -> Connection {
    agreeing(agreed, || connection(role, &Config::default()))
}

/// Frames of compressed messages as the peer of `role` sends them, each of its own.
fn wire(role: Role, data: &[u8], times: usize) -> Vec<u8> {
    let mut out = vec![0; data.len() + 1000];
    let mut raw = Compress::new(Compression::new(6), false);
    raw.compress(data, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(raw.total_out() as usize - 4);
    frame_to(role, 0x40 | BINARY, out).repeat(times)
}

fn data(size: usize) -> Vec<u8> {
    format!("{:?}", Rng::new(1).bytes(size / 4)).into_bytes()
}

#[test]
fn what_a_message_inflated_to_goes_back_though_a_plain_message_follows() {
    for role in ROLES {
        let wire = [wire(role, &data(100 << 10), 1), frame_to(role, TEXT, "short")].concat();
        let mut conn = open(role, agreed(true));
        assert_eq!(pump(&mut conn, &wire), 2);
        drop(conn.receiver_mut().reclaim());
        assert_eq!(conn.receiver().buffer_len(), 0, "{role:?}");
    }
}

#[test]
fn compressed_messages_allocate_nothing_in_steady_state() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for size in [200, 1 << 10, 40 << 10] {
            let data = data(size);
            let wire = wire(role, &data, 10);
            let mut conn = open(role, agreed(takeover));
            for _ in 0..3 {
                pump(&mut conn, &wire);
            }
            let allocated = count(|| (0..5).for_each(|_| assert_eq!(pump(&mut conn, &wire), 10)));
            assert_eq!(allocated, 0, "receiving {role:?} {takeover} {size}");

            let noise = Rng::new(2).bytes(size);
            let prepared = Prepared::new(&data);
            let (a, b) = data.split_at(size / 2);
            let mut batch = || {
                let tx = conn.sender_mut();
                for _ in 0..2 {
                    tx.feed(&data).unwrap();
                    tx.feed(&noise).unwrap();
                    tx.feed(Outbound::plain(&data)).unwrap();
                    tx.feed(&prepared).unwrap();
                    tx.feed_chunk(Chunk {
                        kind: DataKind::Binary,
                        first: true,
                        data: a,
                        last: false,
                    })
                    .unwrap();
                    tx.feed_chunk(Chunk {
                        kind: DataKind::Binary,
                        first: false,
                        data: b,
                        last: true,
                    })
                    .unwrap();
                }
                discard_outgoing(&mut conn, usize::MAX);
            };
            batch();
            batch();
            let allocated = count(|| (0..10).for_each(|_| batch()));
            assert_eq!(allocated, 0, "sending {role:?} {takeover} {size}");
        }
    }
}

/// What one connection more takes, of many that all did `work`, in bytes.
fn each(role: Role, agreed: Option<DeflateParams>, mut work: impl FnMut(&mut Connection)) -> i64 {
    const MANY: usize = 50;
    let make = || match agreed {
        Some(agreed) => open(role, agreed),
        None => connection(role, &Config::default()),
    };
    let mut first = make(); // fills what the thread keeps
    work(&mut first);
    let before = live();
    let mut conns = Vec::with_capacity(MANY);
    let list = live() - before;
    for _ in 0..MANY {
        conns.push(make());
        work(conns.last_mut().unwrap());
    }
    (live() - before - list) / MANY as i64
}

/// One message each way, and then a wait.
fn exchange(conn: &mut Connection) {
    static DATA: LazyLock<Vec<u8>> = LazyLock::new(|| data(1000));
    static WIRE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| ROLES.map(|role| wire(role, &DATA, 1)));
    let [to_server, to_client] = &*WIRE;
    pump(conn, if conn.role() == Role::Server { to_server } else { to_client });
    conn.sender_mut().feed(&DATA[..]).unwrap();
    discard_outgoing(conn, usize::MAX);
    conn.receiver_mut().reclaim();
    conn.sender_mut().reclaim();
}

/// What an idle connection keeps that never compresses.
fn plain(role: Role) -> i64 {
    each(role, None, |conn| {
        pump(conn, &frame_to(role, BINARY, data(1000)));
        conn.sender_mut().feed(data(1000)).unwrap();
        discard_outgoing(conn, usize::MAX);
        conn.receiver_mut().reclaim();
        conn.sender_mut().reclaim();
    })
}

#[test]
fn without_takeover_an_idle_connection_keeps_next_to_nothing() {
    for role in ROLES {
        let plain = plain(role);
        let fresh = each(role, Some(agreed(false)), |_| {}) - plain;
        let used = each(role, Some(agreed(false)), exchange) - plain;
        println!("{role:?}, no takeover: {fresh} bytes before a message, {used} after");
        assert_eq!((fresh, used), (NOTHING, NOTHING), "{role:?}");
    }
}

/// The negotiated parameters and what either half remembers. 2 KiB is the aim.
const NOTHING: i64 = if usize::BITS == 64 { 152 } else { 84 };

#[test]
fn with_takeover_a_connection_keeps_what_it_first_needed() {
    let fresh = each(Role::Server, Some(agreed(true)), |_| {});
    assert_eq!(fresh, NOTHING);
    let keeps = |name: &str, agreed: DeflateParams, kib: i64| {
        let kept = each(Role::Server, Some(agreed), exchange) - plain(Role::Server);
        println!("{name}: {kept} bytes");
        assert!(((kib - 1) << 10..=kib << 10).contains(&kept), "{name}: {kept}");
    };
    keeps("receiving", with_takeover(DeflateParams::default(), Role::Client), 47);
    let sending = with_takeover(DeflateParams::default(), Role::Server);
    for (bits, kib) in [(15, 372), (14, 308), (13, 276), (12, 260), (11, 252), (10, 248), (9, 246)]
    {
        let agreed = with_window(sending, Role::Server, bits);
        keeps(&format!("sending, {bits} bits"), agreed, kib);
    }
}

/// What a client with the defaults keeps, by the server's answer.
#[test]
fn a_client_keeps_a_decompressor_from_the_first_message_of_a_server_with_takeover_to_the_last() {
    let role = Role::Client;
    let plain = plain(role);
    let takeover = Some(with_takeover(DeflateParams::default(), Role::Server));
    let fresh = each(role, takeover, |_| {}) - plain;
    let uncompressed = each(role, takeover, |conn| {
        pump(conn, &frame_to(role, BINARY, data(1000)));
        conn.receiver_mut().reclaim();
    }) - plain;
    let used = each(role, takeover, exchange) - plain;
    let closed = each(role, takeover, |conn| {
        exchange(conn);
        receive(conn, &frame_to(role, CLOSE, ""));
        discard_outgoing(conn, usize::MAX);
        conn.receiver_mut().reclaim();
        conn.sender_mut().reclaim();
    }) - plain;
    println!("client: {fresh} bytes before a message, {used} after, {closed} once closed");
    assert_eq!((fresh, uncompressed), (NOTHING, NOTHING));
    assert!((46 << 10..=47 << 10).contains(&used), "{used}");
    assert!(closed < 1 << 10, "{closed}");
}

#[test]
fn ten_thousand_idle_connections_share_one_compressor() {
    let config = Config::default();
    let mut conns = Vec::with_capacity(10_000);
    let before = live();
    for _ in 0..10_000 {
        let mut conn = agreeing(agreed(false), || server(&config));
        exchange(&mut conn);
        conns.push(conn);
    }
    let used = live() - before;
    // A compressor, a decompressor, a few buffers.
    assert!(used < 10_000 * NOTHING + (600 << 10), "{used}");
}

#[test]
fn what_a_thread_keeps_is_bounded() {
    // A peer may ask for any window: what is kept for each adds up to no more than was said.
    let before = live();
    for (level, bits) in product(1..=9, 9..=15) {
        let config = Config {
            deflate: Some(Deflate { level, memory: 700 << 10, ..Deflate::default() }),
            ..Config::default()
        };
        let agreed = with_window(DeflateParams::default(), Role::Server, bits);
        exchange(&mut agreeing(agreed, || server(&config)));
    }
    let kept = live() - before;
    assert!(kept < 800 << 10, "{kept}"); // with some buffers of the adapters' pool
}

// P185, A39
#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    // 64 MiB of zeros in 64 KiB; whole, and in many fragments.
    let zeros = vec![0; 1 << 20];
    let mut out = vec![0; 1 << 16];
    let mut raw = Compress::new(Compression::new(9), false);
    let mut bomb = Vec::new();
    for _ in 0..64 {
        let before = raw.total_out();
        raw.compress(&zeros, &mut out, FlushCompress::Sync).unwrap();
        bomb.extend_from_slice(&out[..(raw.total_out() - before) as usize]);
    }
    bomb.truncate(bomb.len() - 4);
    for (takeover, limit) in product([false, true], [10_000, 1 << 20]) {
        for pieces in [1, 500] {
            let config = Config { max_message: limit, ..Config::default() };
            let mut conn = agreeing(agreed(takeover), || server(&config));
            let mut wire = Vec::new();
            let size = bomb.len().div_ceil(pieces);
            for (i, piece) in bomb.chunks(size).enumerate() {
                wire.extend(masked(if i == 0 { 0x40 | BINARY_OPEN } else { CONT_OPEN }, piece));
            }
            let mut seen = Vec::new();
            let used = peak(|| seen = receive(&mut conn, &wire));
            let error = tickwire::RecvError::MessageTooBig { limit: limit as u32 };
            assert_eq!(seen, [Seen::Failed(error)]);
            // Doubling, with the old and the new one there; a decompressor; the read buffer.
            assert!(used < 3 * limit as i64 + (200 << 10), "{takeover} {limit}: {used}");
        }
    }
}

#[test]
fn connections_that_end_in_any_state_keep_nothing() {
    let data = data(50_000);
    let whole = wire(Role::Server, &data, 1);
    let one = |how: usize| {
        let mut conn = open(Role::Server, agreed(how.is_multiple_of(2)));
        arrive(&mut conn, &whole[..20_000.min(whole.len() - 1)]);
        let _ = conn.step();
        let open = Chunk { kind: DataKind::Binary, first: true, data: &data, last: false };
        conn.sender_mut().feed_chunk(open).unwrap();
        match how / 2 {
            0 => drop(conn),
            1 => conn.sender_mut().close(None).unwrap(),
            2 => drop(receive(&mut conn, &masked(0x83, ""))),
            _ => conn.report(Report::WriteFailed),
        }
    };
    for how in 0..8 {
        one(how);
        one(how);
        let before = live();
        (0..20).for_each(|_| one(how));
        assert_eq!(live(), before, "{how}");
    }
}
