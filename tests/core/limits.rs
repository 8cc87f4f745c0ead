//! Every limit at the limit and one beyond (PROTOCOL.md 1 and 13).
use crate::support::wire::*;
use tickwire::Config;

#[test]
fn spare_is_never_empty_whatever_the_limits() {
    // An empty read would look like the end of the stream.
    for (role, buffer) in product(ROLES, [0, 512, 513, 1 << 16]) {
        for max in [0, 1, 600, 100_000].into_iter().take(times(4, 2)) {
            let config = Config { read_buffer: buffer, max_message: max, ..Config::default() };
            let mut conn = connection(role, &config);
            let wire = [
                to(role, BINARY_OPEN, vec![1; max / 2]),
                to(role, PING, vec![2; 125]).repeat(20),
                to(role, CONT, vec![3; max - max / 2]),
            ];
            let (wire, mut seen, mut step) = (wire.concat(), 0, 1);
            for piece in wire.chunks(97) {
                let mut piece = piece;
                while !piece.is_empty() {
                    assert!(!conn.receiver_mut().spare_mut().is_empty());
                    let n = read_once(&mut conn, &piece[..step.min(piece.len())]);
                    piece = &piece[n..];
                    step = step % 50 + 1;
                    seen += events(&mut conn).len();
                }
            }
            assert_eq!(seen, 21, "{role:?} {buffer} {max}");
        }
    }
}

#[test]
fn frames_committed_without_a_step_are_all_kept() {
    for role in ROLES {
        let config = Config { max_message: 100, read_buffer: 512, ..Config::default() };
        let mut conn = connection(role, &config);
        let all = || 0..times(5000, 100) as u32;
        let wire: Vec<u8> = all().flat_map(|i| to(role, BINARY, i.to_be_bytes())).collect();
        feed(&mut conn, &wire);
        let want: Vec<Seen> = all().map(|i| binary(i.to_be_bytes())).collect();
        assert!(events(&mut conn) == want);
    }
}

#[test]
fn one_read_asks_for_what_was_set_and_for_512_bytes_to_16_mib() {
    for role in ROLES {
        for (set, asked) in
            [(0, 512), (512, 512), (1000, 1000), (16 << 10, 16 << 10), (usize::MAX, 16 << 20)]
        {
            let mut conn = connection(role, &Config { read_buffer: set, ..Config::default() });
            let got = conn.receiver_mut().spare_mut().len();
            assert!((asked..=asked + 64).contains(&got), "{set}: {got}");
        }
        let got = connection(role, &Config::default()).receiver_mut().spare_mut().len();
        assert!((16 << 10..=(16 << 10) + 64).contains(&got), "{got} by default");
    }
}
