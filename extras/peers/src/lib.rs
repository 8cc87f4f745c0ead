//! tickwire beside eleven other WebSocket crates, the least possible work, and bare TCP: what the
//! binaries have in common. `../README.md` says how to run them.
#![allow(async_fn_in_trait)]

pub mod alloc;
pub mod bridge;
pub mod callgrind;
pub mod copies;
#[path = "../../../benches/floor.rs"]
mod least;
pub mod load;
pub mod loops;
pub mod mem;
pub mod net;
pub mod peers;
#[path = "../../../tests/support/placed.rs"]
mod placed;
pub mod proc;
pub mod table;
pub mod tls;
pub mod traffic;
pub mod wire;

pub use least::xor;

/// `--name=value` from the command line.
pub fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let prefix = format!("--{name}=");
    std::env::args()
        .find_map(|a| a.strip_prefix(&prefix).and_then(|v| v.parse().ok()))
        .unwrap_or(default)
}

/// Whether `name` is among those of `--only=a,b`, or there is no such option.
pub fn wanted(name: &str) -> bool {
    let only: String = option("only", String::new());
    only.is_empty() || only.split(',').any(|o| o == name)
}

/// Whether `--only` has it; without the option not.
pub fn asked(name: &str) -> bool {
    wanted(name) && !wanted("")
}

/// Of `names` those of `--peers=a,b`, and what all are compared with; all without the option.
pub fn chosen<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let only: String = option("peers", String::new());
    let asked = |name: &str| only.is_empty() || only.split(',').any(|o| o == name);
    names.into_iter().filter(|n| asked(n) || ["raw", "floor", "prototype"].contains(n)).collect()
}

/// Another one first each round, so that nobody always follows the same neighbour's mess.
pub fn rotated<T>(list: &[T], round: usize) -> impl Iterator<Item = &T> {
    list.iter().cycle().skip(round % list.len().max(1)).take(list.len())
}
