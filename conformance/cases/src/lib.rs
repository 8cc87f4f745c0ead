//! The cases and the judge of `wsconform`, a conformance suite for WebSocket endpoints (RFC 6455,
//! RFC 7692).
//!
//! Nothing in here does I/O or reads a clock. A [`Case`] is run as a [`Session`]: a program asks it
//! for the next [`Action`], gives it what the tested peer sends, and takes its [`Verdict`].
//!
//! | module | what it has |
//! |---|---|
//! | [`case`] | what a case is: its rule, its level, and what `--explain` prints of it |
//! | [`list`] | all cases |
//! | [`peer`] | what a peer can do, and where it is |
//! | [`session`] | one connection of one case |
//! | [`probe`] | what is learnt of a peer before the cases run |
//! | [`judge`] | the reader of what a peer sends |
//! | [`protocol`] | the table of an open connection, and the machine of one end |
//! | [`report`] | results, and their JSON |
//! | [`render`] | results as JUnit, for a terminal, and as HTML |
//! | [`expect`] | the file of known failures |
//! | [`vectors`] | the vectors as JSON, for the tests of an implementation |

pub mod case;
mod code;
pub mod expect;
mod explain;
pub mod judge;
pub mod list;
mod marker;
pub mod peer;
mod plan;
pub mod probe;
pub mod protocol;
pub mod render;
pub mod report;
mod script;
pub mod session;
pub mod vectors;
mod wait;

pub use case::{Case, Group, Level, Rule};
pub use list::{cases, find};
pub use peer::{Env, Need, Peer};
pub use probe::Probe;
pub use session::{Action, End, Session, Verdict};
pub use wait::Wait;

/// One of the two ends of a connection.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The end that accepts.
    Server,
    /// The end that connects.
    Client,
}

impl Role {
    /// The other end.
    pub fn other(self) -> Role {
        match self {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Server => "server",
            Role::Client => "client",
        })
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
