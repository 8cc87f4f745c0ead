//! What is on the wire: one message of binary WebSocket each. All numbers are little-endian. The first
//! byte says the kind.
//!
//! A client says:
//!
//! ```text
//! join   1  name: UTF-8, the rest of the message; once, and first
//! input  2  right i8, down i8, 0, sequence u32       one for each sixtieth of a second
//! ping   3  seven zeros, then eight bytes of its own, which come back
//! ```
//!
//! The server says:
//!
//! ```text
//! welcome   1  steps a second u8, your id u16, then f32: width, height, radius of a player, of an orb,
//!              acceleration, drag, bounce, and of each rock x, y, radius. Once, and first
//! snapshot  2  0, number of players u16, tick u32, and for each player: id u16, x u16, y u16, in
//!              sixteenths
//! own       3  three zeros, done u32: the newest of your inputs that has moved you; then f32 x, y and
//!              the speed in x and in y. What you did since is to be added to it
//! orbs      4  0, number u16, and of each x u16, y u16; the first of every twelve is worth five
//! roster    5  0, number of players u16, and of each: id u16, score u16, hue u8, length of the name
//!              u8, name
//! pong      6  what the ping was
//! ```
//!
//! Each says all about what it is about, so that for a client that is slow the newest of a kind takes
//! the place of an older one.
use crate::world::{self, Id, Input, Player, World};

/// The only version there is.
pub const SUBPROTOCOL: &str = "game.v1";

const JOIN: u8 = 1;
const INPUT: u8 = 2;
const PING: u8 = 3;

const WELCOME: u8 = 1;
const SNAPSHOT: u8 = 2;
const OWN: u8 = 3;
const ORBS: u8 = 4;
const ROSTER: u8 = 5;
const PONG: u8 = 6;

/// What a client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    Join(&'a str),
    Input(Input),
    Ping([u8; 8]),
}

impl<'a> Said<'a> {
    /// `None` for what is none of these.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        Some(match *bytes {
            [JOIN, ref name @ ..] => Self::Join(str::from_utf8(name).ok()?),
            [INPUT, right, down, 0, a, b, c, d] => Self::Input(Input {
                sequence: u32::from_le_bytes([a, b, c, d]),
                right: right as i8,
                down: down as i8,
            }),
            [PING, 0, 0, 0, 0, 0, 0, 0, ref own @ ..] => Self::Ping(own.try_into().ok()?),
            _ => return None,
        })
    }
}

pub fn welcome(id: Id) -> Vec<u8> {
    let mut out = vec![WELCOME, world::RATE as u8];
    out.extend(id.to_le_bytes());
    let numbers = [
        world::SIZE.x,
        world::SIZE.y,
        world::PLAYER_RADIUS,
        world::ORB_RADIUS,
        world::ACCELERATION,
        world::DRAG,
        world::BOUNCE,
    ];
    let rocks = world::ROCKS.iter().flat_map(|(at, radius)| [at.x, at.y, *radius]);
    out.extend(numbers.into_iter().chain(rocks).flat_map(f32::to_le_bytes));
    out
}

pub fn snapshot(world: &World) -> Vec<u8> {
    let mut out = head(SNAPSHOT, world.players.len());
    out.extend(world.tick.to_le_bytes());
    for (id, Player { body, .. }) in &world.players {
        let sixteenths = |x: f32| (x * 16.0).round() as u16;
        for number in [*id, sixteenths(body.at.x), sixteenths(body.at.y)] {
            out.extend(number.to_le_bytes());
        }
    }
    out
}

pub fn own(player: &Player) -> Vec<u8> {
    let mut out = head(OWN, 0);
    out.extend(player.done.to_le_bytes());
    let (at, speed) = (player.body.at, player.body.speed);
    out.extend([at.x, at.y, speed.x, speed.y].into_iter().flat_map(f32::to_le_bytes));
    out
}

pub fn orbs(world: &World) -> Vec<u8> {
    let mut out = head(ORBS, world.orbs.len());
    let numbers = world.orbs.iter().flat_map(|orb| [orb.x as u16, orb.y as u16]);
    out.extend(numbers.flat_map(u16::to_le_bytes));
    out
}

pub fn roster(world: &World) -> Vec<u8> {
    let mut out = head(ROSTER, world.players.len());
    for (id, Player { name, hue, score, .. }) in &world.players {
        out.extend(id.to_le_bytes());
        out.extend(score.to_le_bytes());
        out.extend([*hue, name.len() as u8]); // of at most 16 characters
        out.extend(name.as_bytes());
    }
    out
}

pub fn pong(own: [u8; 8]) -> Vec<u8> {
    let mut out = vec![PONG, 0, 0, 0, 0, 0, 0, 0];
    out.extend(own);
    out
}

fn head(kind: u8, number: usize) -> Vec<u8> {
    let [low, high] = (number as u16).to_le_bytes();
    vec![kind, 0, low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_client_may_say_is_understood() {
        let input = Input { sequence: 0x0403_0201, right: -127, down: 5 };
        for (bytes, said) in [
            (&b"\x01Ada"[..], Some(Said::Join("Ada"))),
            (b"\x01", Some(Said::Join(""))),
            (b"\x01\xff", None),
            (&[2, 0x81, 5, 0, 1, 2, 3, 4], Some(Said::Input(input))),
            (&[2, 0x81, 5, 0, 1, 2, 3], None),
            (&[2, 0x81, 5, 9, 1, 2, 3, 4], None),
            (b"\x03\0\0\0\0\0\0\x0012345678", Some(Said::Ping(*b"12345678"))),
            (b"\x03\0\0\0\0\0\0\x00123456789", None),
            (b"\x04", None),
            (b"", None),
        ] {
            assert_eq!(Said::decode(bytes), said, "{bytes:?}");
        }
    }

    #[test]
    fn what_the_server_says_is_as_documented() {
        let mut world = World::new(1);
        let id = world.join("Zoë").unwrap();
        let player = world.players.get_mut(&id).unwrap();
        (player.body.at.x, player.body.at.y, player.score, player.hue) = (100.5, 16.0, 258, 9);
        (world.tick, world.orbs[0].x, world.orbs[0].y) = (7, 513.0, 2.0);
        assert_eq!(snapshot(&world), [2, 0, 1, 0, 7, 0, 0, 0, 1, 0, 0x48, 6, 0, 1]);
        assert_eq!(roster(&world), *b"\x05\0\x01\0\x01\0\x02\x01\x09\x04Zo\xc3\xab");
        assert_eq!(orbs(&world)[..8], [4, 0, world::ORBS as u8, 0, 1, 2, 2, 0]);
        let own = own(&world.players[&id]);
        assert_eq!((own.len(), &own[..8]), (24, &[3, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(own[8..12], 100.5_f32.to_le_bytes());
        assert_eq!(welcome(0x0201)[..4], [1, 60, 1, 2]);
        assert_eq!(welcome(1).len(), 4 + 4 * (7 + 3 * world::ROCKS.len()));
        assert_eq!(pong(*b"12345678"), *b"\x06\0\0\0\0\0\0\x0012345678");
    }
}
