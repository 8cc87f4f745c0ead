//! lib
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod close;
mod config;
mod connection;
mod entropy;
mod error;
pub mod frame;
pub mod handshake;
mod kernel;
pub mod mask;
mod message;
#[cfg(feature = "tokio")]
mod pool;
mod prepared;
mod time;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod url;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use config::{Config, Heartbeat, Negotiated, Role};
pub use connection::{Connection, Ending, Outgoing, Position, ReadyState, Receiver, Sender, Step};
pub use entropy::Entropy;
#[cfg(feature = "std")]
pub use entropy::SystemEntropy;
#[cfg(feature = "std")]
pub use error::Error;
pub use error::{ProtocolError, RecvError, SendError};
pub use message::{Chunk, DataKind, Event, Info, Message, OwnedMessage};
pub use prepared::Prepared;
pub use time::Time;
