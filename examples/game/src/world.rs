//! The world, and the one function that moves it on: [`World::step`], a sixtieth of a second. It knows
//! no socket and no clock; the same calls in the same order give the same world.
//!
//! Players steer balls between rocks and collect orbs. What a player does is a sequence of inputs,
//! numbered by the client, each good for one step of its ball. A step of the world takes one input of
//! each player; of one whose inputs were late it takes as many as it is behind, so that the client,
//! which has moved its own ball already, was right. It can never be ahead: a client that sends more
//! than 60 a second does not move faster.
use std::collections::{BTreeMap, VecDeque};

/// Steps a second.
pub const RATE: u32 = 60;
/// Of the world, in its units.
pub const SIZE: Vector = Vector { x: 2400.0, y: 1600.0 };
pub const PLAYER_RADIUS: f32 = 24.0;
pub const ORB_RADIUS: f32 = 9.0;
/// Of a ball at full throttle, in units per second². It would be [`ACCELERATION`] / [`DRAG`] fast.
pub const ACCELERATION: f32 = 2100.0;
/// How much of its speed a ball loses, per second.
pub const DRAG: f32 = 4.5;
/// How much of its speed it keeps where it meets a rock or the edge.
pub const BOUNCE: f32 = 0.45;
pub const MAX_PLAYERS: usize = 32;
pub const ORBS: usize = 80;
/// Every so many-eth orb counts for five.
pub const RICH: usize = 12;
/// In characters.
pub const MAX_NAME: usize = 16;

/// How many steps a player may be behind, and how many of its inputs may wait: a quarter of a second.
const MAX_BEHIND: usize = 15;

/// Centre and radius.
pub const ROCKS: [(Vector, f32); 12] = [
    (Vector { x: 420.0, y: 330.0 }, 95.0),
    (Vector { x: 800.0, y: 210.0 }, 55.0),
    (Vector { x: 1230.0, y: 340.0 }, 120.0),
    (Vector { x: 1700.0, y: 240.0 }, 70.0),
    (Vector { x: 2060.0, y: 430.0 }, 105.0),
    (Vector { x: 300.0, y: 860.0 }, 70.0),
    (Vector { x: 760.0, y: 780.0 }, 130.0),
    (Vector { x: 1610.0, y: 820.0 }, 110.0),
    (Vector { x: 2130.0, y: 1010.0 }, 65.0),
    (Vector { x: 520.0, y: 1290.0 }, 85.0),
    (Vector { x: 1190.0, y: 1230.0 }, 100.0),
    (Vector { x: 1850.0, y: 1330.0 }, 90.0),
];

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vector {
    pub x: f32,
    pub y: f32,
}

/// Never given twice, until there have been 65,535 players.
pub type Id = u16;

/// What a player's ball is told to do for one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// More than that of the input before.
    pub sequence: u32,
    /// Where to, -127 to 127 right and down; longer than 127 it counts as 127.
    pub right: i8,
    pub down: i8,
}

/// A ball.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Body {
    pub at: Vector,
    /// Units per second.
    pub speed: Vector,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Player {
    pub name: String,
    /// Of its colour, in 256ths of a turn.
    pub hue: u8,
    pub score: u16,
    pub body: Body,
    /// The newest input that has moved it.
    pub done: u32,
    /// Invariant: sequences increase; at most [`MAX_BEHIND`].
    waiting: VecDeque<Input>,
    /// The newest input that was taken.
    newest: u32,
    /// Steps of the world in which it had no input, up to [`MAX_BEHIND`].
    behind: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub tick: u32,
    pub players: BTreeMap<Id, Player>,
    pub orbs: [Vector; ORBS],
    /// Counts the changes of `orbs`.
    pub orbs_version: u32,
    /// Counts the changes of who plays, under which name and with what score.
    pub roster_version: u32,
    next_id: Id,
    random: Random,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        Self {
            tick: 0,
            players: BTreeMap::new(),
            orbs: std::array::from_fn(|_| random.free_place(ORB_RADIUS)),
            orbs_version: 0,
            roster_version: 0,
            next_id: 1,
            random,
        }
    }

    /// A new player, unless the world is full.
    pub fn join(&mut self, name: &str) -> Option<Id> {
        if self.players.len() >= MAX_PLAYERS {
            return None;
        }
        while self.players.contains_key(&self.next_id) || self.next_id == 0 {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let player = Player {
            name: clean(name).unwrap_or_else(|| format!("player {id}")),
            hue: (u32::from(id) * 158) as u8, // the golden angle: neighbours differ most
            score: 0,
            body: Body { at: self.random.free_place(PLAYER_RADIUS), speed: Vector::default() },
            done: 0,
            waiting: VecDeque::new(),
            newest: 0,
            behind: 0,
        };
        self.players.insert(id, player);
        self.roster_version += 1;
        Some(id)
    }

    pub fn leave(&mut self, id: Id) {
        if self.players.remove(&id).is_some() {
            self.roster_version += 1;
        }
    }

    /// Takes an input for a later step. One that is not newer than the last is ignored; of too many
    /// that wait the oldest is lost.
    pub fn input(&mut self, id: Id, input: Input) {
        let Some(player) = self.players.get_mut(&id) else { return };
        if input.sequence <= player.newest {
            return;
        }
        player.newest = input.sequence;
        if player.waiting.len() == MAX_BEHIND {
            player.waiting.pop_front();
        }
        player.waiting.push_back(input);
    }

    /// Moves the world on by 1 / [`RATE`] seconds.
    pub fn step(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        for player in self.players.values_mut() {
            player.catch_up();
        }
        self.collide();
        self.collect();
    }

    /// Balls that overlap part, and what speed they had towards each other they exchange.
    fn collide(&mut self) {
        let ids: Vec<Id> = self.players.keys().copied().collect();
        for (i, a) in ids.iter().enumerate() {
            for b in ids.iter().skip(i + 1) {
                let [Some(one), Some(other)] = [a, b].map(|id| self.players.get(id)) else {
                    continue;
                };
                let (mut one, mut other) = (one.body, other.body);
                one.part(&mut other);
                for (id, body) in [(a, one), (b, other)] {
                    self.players.entry(*id).and_modify(|player| player.body = body);
                }
            }
        }
    }

    fn collect(&mut self) {
        for player in self.players.values_mut() {
            for (i, orb) in self.orbs.iter_mut().enumerate() {
                if player.body.at.minus(*orb).length() < PLAYER_RADIUS + ORB_RADIUS {
                    *orb = self.random.free_place(ORB_RADIUS);
                    player.score = player.score.saturating_add(if i % RICH == 0 { 5 } else { 1 });
                    self.orbs_version += 1;
                    self.roster_version += 1;
                }
            }
        }
    }
}

impl Player {
    /// Does what its inputs say, as many as it may.
    fn catch_up(&mut self) {
        self.behind = (self.behind + 1).min(MAX_BEHIND);
        while self.behind > 0 {
            let Some(input) = self.waiting.pop_front() else { return };
            self.body.step(input);
            self.done = input.sequence;
            self.behind -= 1;
        }
    }
}

impl Body {
    /// One step under an input. The page has the same function, and the two have to agree.
    pub fn step(&mut self, input: Input) {
        let throttle = Vector { x: input.right.into(), y: input.down.into() };
        let throttle = throttle.times(1.0 / throttle.length().max(127.0));
        let seconds = 1.0 / RATE as f32;
        let change = throttle.times(ACCELERATION).minus(self.speed.times(DRAG));
        self.speed = self.speed.plus(change.times(seconds));
        self.at = self.at.plus(self.speed.times(seconds));
        self.confine();
    }

    /// Out of the rocks, and back into the world.
    fn confine(&mut self) {
        for (rock, radius) in ROCKS {
            let away = self.at.minus(rock);
            let (distance, reach) = (away.length(), radius + PLAYER_RADIUS);
            if distance < reach {
                let normal =
                    if distance > 0.0 { away.times(1.0 / distance) } else { Vector::RIGHT };
                self.at = rock.plus(normal.times(reach));
                let into = self.speed.dot(normal).min(0.0);
                self.speed = self.speed.minus(normal.times(into * (1.0 + BOUNCE)));
            }
        }
        let bounce = |at: &mut f32, speed: &mut f32, size: f32| {
            let inside = at.clamp(PLAYER_RADIUS, size - PLAYER_RADIUS);
            if inside != *at {
                (*at, *speed) = (inside, *speed * -BOUNCE);
            }
        };
        bounce(&mut self.at.x, &mut self.speed.x, SIZE.x);
        bounce(&mut self.at.y, &mut self.speed.y, SIZE.y);
    }

    fn part(&mut self, other: &mut Self) {
        let apart = other.at.minus(self.at);
        let (distance, reach) = (apart.length(), 2.0 * PLAYER_RADIUS);
        if distance >= reach {
            return;
        }
        let normal = if distance > 0.0 { apart.times(1.0 / distance) } else { Vector::RIGHT };
        let push = normal.times((reach - distance) / 2.0);
        self.at = self.at.minus(push);
        other.at = other.at.plus(push);
        let closing = self.speed.minus(other.speed).dot(normal).max(0.0);
        self.speed = self.speed.minus(normal.times(closing));
        other.speed = other.speed.plus(normal.times(closing));
        self.confine();
        other.confine();
    }
}

impl Vector {
    const RIGHT: Self = Self { x: 1.0, y: 0.0 };

    pub fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    pub fn minus(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }

    pub fn times(self, n: f32) -> Self {
        Self { x: self.x * n, y: self.y * n }
    }

    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
}

/// A name as it may be shown: one line, short, and nothing in it that turns text around or hides.
fn clean(name: &str) -> Option<String> {
    let harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let name: String = name.trim().chars().filter(harmless).take(MAX_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// splitmix64: good enough for where an orb appears.
#[derive(Clone, Debug, PartialEq)]
struct Random(u64);

impl Random {
    /// 0 to 1.
    fn part(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Where something of this radius is in no rock and not at the edge. Whole numbers, as on the wire.
    fn free_place(&mut self, radius: f32) -> Vector {
        let margin = radius + 20.0;
        loop {
            let mut within = |size: f32| (margin + self.part() * (size - 2.0 * margin)).round();
            let at = Vector { x: within(SIZE.x), y: within(SIZE.y) };
            // Rocks cover a tenth of the world, so this ends soon.
            if ROCKS.iter().all(|(rock, wide)| at.minus(*rock).length() > wide + margin) {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: (i8, i8) = (127, 0);

    fn steer(world: &mut World, id: Id, sequence: u32, (right, down): (i8, i8)) {
        world.input(id, Input { sequence, right, down });
    }

    /// A world with one player in the middle of nowhere.
    fn alone() -> (World, Id) {
        let mut world = World::new(1);
        let id = world.join("one").unwrap();
        place(&mut world, id, 1000.0, 560.0);
        world.orbs = [Vector::default(); ORBS]; // where no ball fits
        (world, id)
    }

    fn place(world: &mut World, id: Id, x: f32, y: f32) {
        world.players.get_mut(&id).unwrap().body = Body { at: Vector { x, y }, ..Body::default() };
    }

    #[test]
    fn the_same_calls_make_the_same_world() {
        let play = |seed| {
            let mut world = World::new(seed);
            let ids: Vec<Id> = (0..8).map(|_| world.join("x").unwrap()).collect();
            for n in 1..2000_u32 {
                for &id in &ids {
                    let turn = (n / 20 + u32::from(id) * 7) % 4;
                    let to = [RIGHT, (0, 127), (-127, 30), (-40, -127)][turn as usize];
                    steer(&mut world, id, n, to);
                }
                world.step();
            }
            world
        };
        let world = play(7);
        assert_eq!(world, play(7));
        assert_ne!(world, play(8));
        assert!(world.players.values().any(|player| player.score > 0), "nobody met an orb");
    }

    #[test]
    fn nobody_leaves_the_world_or_enters_a_rock() {
        let mut world = World::new(3);
        let ids: Vec<Id> = (0..MAX_PLAYERS).map(|_| world.join("x").unwrap()).collect();
        for n in 1..3000_u32 {
            for &id in &ids {
                let turn = (n / 50 + u32::from(id)) % 8;
                let to = [
                    RIGHT,
                    (127, 127),
                    (0, 127),
                    (-127, 127),
                    (-127, 0),
                    (-127, -127),
                    (0, -127),
                    (127, -127),
                ];
                steer(&mut world, id, n, to[turn as usize]);
            }
            world.step();
            for Player { body: Body { at, .. }, .. } in world.players.values() {
                let inside =
                    |x: f32, size: f32| (PLAYER_RADIUS..=size - PLAYER_RADIUS).contains(&x);
                assert!(inside(at.x, SIZE.x) && inside(at.y, SIZE.y), "{at:?}");
                for (rock, radius) in ROCKS {
                    assert!(at.minus(rock).length() > radius + PLAYER_RADIUS - 0.01, "{at:?}");
                }
            }
        }
    }

    #[test]
    fn an_input_moves_a_ball_once() {
        let (mut world, id) = alone();
        steer(&mut world, id, 1, RIGHT);
        steer(&mut world, id, 1, RIGHT);
        world.step();
        let mut alone = Body { at: Vector { x: 1000.0, y: 560.0 }, ..Body::default() };
        alone.step(Input { sequence: 1, right: 127, down: 0 });
        assert_eq!((world.players[&id].body, world.players[&id].done), (alone, 1));
        world.step();
        assert_eq!(world.players[&id].body, alone, "without an input a ball waits for its player");
    }

    #[test]
    fn late_inputs_are_made_up_for() {
        let ((mut late, id), (mut punctual, _)) = (alone(), alone());
        for n in 1..=10 {
            steer(&mut punctual, id, n, RIGHT);
            punctual.step();
            late.step();
        }
        (1..=10).for_each(|n| steer(&mut late, id, n, RIGHT));
        late.step();
        assert_eq!(late.players[&id].body, punctual.players[&id].body);
        assert_eq!(late.players[&id].done, 10);
    }

    #[test]
    fn too_many_inputs_do_not_make_anybody_faster() {
        let ((mut honest, id), (mut cheat, _)) = (alone(), alone());
        for n in 1..=30 {
            steer(&mut honest, id, n, RIGHT);
            (0..5).for_each(|i| steer(&mut cheat, id, n * 5 + i, RIGHT));
            honest.step();
            cheat.step();
        }
        assert_eq!(cheat.players[&id].body, honest.players[&id].body);
        assert_eq!(cheat.players[&id].waiting.len(), MAX_BEHIND - 1);
        // Nor does a long vector.
        let ((mut straight, _), (mut oblique, _)) = (alone(), alone());
        for n in 1..=30 {
            steer(&mut straight, id, n, RIGHT);
            steer(&mut oblique, id, n, (127, 127));
            straight.step();
            oblique.step();
        }
        let speed = |world: &World| world.players[&id].body.speed.length();
        assert!((speed(&straight) - speed(&oblique)).abs() < 0.01);
    }

    #[test]
    fn balls_that_meet_part_and_pass_their_speed_on() {
        let (mut world, one) = alone();
        let other = world.join("two").unwrap();
        place(&mut world, other, 1000.0 + 3.0 * PLAYER_RADIUS, 560.0);
        for n in 1..=20 {
            steer(&mut world, one, n, RIGHT);
            world.step();
        }
        let (one, other) = (world.players[&one].body, world.players[&other].body);
        assert!(other.at.minus(one.at).length() >= 2.0 * PLAYER_RADIUS - 0.01);
        assert!(other.at.x > 1000.0 + 3.0 * PLAYER_RADIUS, "it was pushed");
    }

    #[test]
    fn an_orb_counts_once_and_appears_elsewhere() {
        let (mut world, id) = alone();
        for (orb, score) in [(1, 1), (RICH, 6)] {
            let before = world.orbs_version;
            world.orbs[orb] = world.players[&id].body.at;
            world.step();
            world.step();
            assert_eq!((world.players[&id].score, world.orbs_version), (score, before + 1));
            assert_ne!(world.orbs[orb], world.players[&id].body.at);
        }
    }

    #[test]
    fn a_full_world_takes_nobody_until_somebody_leaves() {
        let mut world = World::new(1);
        let ids: Vec<Id> = (0..MAX_PLAYERS).map(|_| world.join("x").unwrap()).collect();
        assert_eq!(world.join("late"), None);
        world.leave(ids[3]);
        let id = world.join("late").unwrap();
        assert!(!ids.contains(&id), "an id means one player only");
    }

    #[test]
    fn names_are_short_and_show_what_they_are() {
        for (name, shown) in [
            ("  Ada ", "Ada"),
            ("<b>\"&amp;</b>", "<b>\"&amp;</b>"),
            ("a\nb\u{202e}c\u{200b}", "abc"),
            ("0123456789abcdefgh", "0123456789abcdef"),
            (" \u{7}\u{feff} ", "player 1"),
        ] {
            let mut world = World::new(1);
            let id = world.join(name).unwrap();
            assert_eq!(world.players[&id].name, shown);
        }
    }
}
