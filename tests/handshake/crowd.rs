//! Many peers that ask at once.
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

use places::{Limits, Places};

// A82
#[test]
fn addresses_of_one_subscriber_are_one() {
    let places = Places::new(Limits { handshakes: 5, each_handshakes: 2, peers: 5, each: 2 });
    let enter = |from: &str| places.enter(from.parse().unwrap());
    // IPv4, also where an IPv6 socket has accepted it; and a /64 of IPv6.
    for one in [["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::ffff:0:0:1"]] {
        let inside = one.map(|from| enter(from).expect("two"));
        assert!(one.iter().all(|from| enter(from).is_none()), "{one:?}");
        let others = ["192.0.2.2", "2001:db8:0:1::1", "2001:db8:1::1"].map(enter);
        assert!(others.iter().all(Option::is_some));
        assert!(enter("192.0.2.3").is_none(), "five");
        drop((inside, others));
        assert_eq!(places.taken(), 0);
    }
}
