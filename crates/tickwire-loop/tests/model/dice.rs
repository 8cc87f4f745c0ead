//! The choices of a script: settings, a configuration, and whatever a script asks for.
use std::time::Duration;
use testkit::Rng;
use tickwire::{Config, Heartbeat};
use tickwire_loop::{Settings, Waiting};

/// Where the choices come from: a seed, or a fuzzer's bytes.
pub enum Dice<'a> {
    Seeded(Rng),
    #[allow(dead_code)] // for the fuzz target
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    pub fn below(&mut self, n: usize) -> usize {
        match self {
            Self::Seeded(rng) => rng.below(n),
            Self::Bytes(bytes) => bytes.split_off_first().map_or(0, |&byte| usize::from(byte) % n),
        }
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub fn settings(dice: &mut Dice<'_>, io_uring: bool) -> Settings {
    let spins = [Waiting::Spin, Waiting::SpinFor(Duration::MAX), Waiting::SpinFor(Duration::ZERO)];
    let few = |dice: &mut Dice<'_>, most| if dice.one_in(5) { dice.below(6) } else { most };
    Settings {
        waiting: if dice.one_in(4) { dice.pick(&spins) } else { Waiting::Sleep },
        max_connections: few(dice, 65_536).max(1),
        max_per_address: few(dice, 1024).max(1),
        max_handshakes: few(dice, 1024),
        max_queued: dice.pick(&[1 << 28, 1 << 28, 1 << 28, 1 << 17, 1 << 14, 0, usize::MAX]),
        max_received: dice.pick(&[1 << 28, 1 << 28, 1 << 16, 0, usize::MAX]),
        turn_messages: dice.pick(&[256, 0, 1, 2, u32::MAX]),
        turn_bytes: dice.pick(&[1 << 16, 1 << 16, 0, 1, 100, usize::MAX]),
        max_whole: dice.pick(&[1024, 0, 0, 0, 1, 2]),
        io_uring,
        ..Settings::default()
    }
}

pub fn config(dice: &mut Dice<'_>) -> Config {
    let hasty = dice.one_in(2);
    let ms = Duration::from_millis;
    let far = [ms(600_000), Duration::MAX];
    let mut soon = |least: u64| if hasty { ms(least + 20) } else { dice.pick(&far) };
    Config {
        close_timeout: soon(0),
        handshake_timeout: soon(80),
        frame_timeout: soon(0),
        write_timeout: soon(0),
        heartbeat: hasty.then_some(Heartbeat::new(ms(20), ms(20))),
        high_water: dice.pick(&[1 << 20, 1, 1000, 20_000]),
        cork_limit: dice.pick(&[1 << 16, 0, 1000]),
        read_buffer: dice.pick(&[1 << 14, 0]),
        min_vectored: dice.pick(&[1 << 14, 0]),
        ..Config::default()
    }
}
