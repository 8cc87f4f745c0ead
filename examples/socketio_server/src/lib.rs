//! Engine.IO and Socket.IO, in both revisions that are in use: what the official `socket.io-client`
//! speaks to, on top of `tickwire` and of an HTTP stack. Its README says what there is.
//!
//! From below:
//!
//! - [`server`]: connections, on hyper.
//! - [`http`]: what their requests mean; `sessions`: which session.
//! - [`transport`]: a session's messages over long-polling, or through a WebSocket.
//! - [`engine`]: Engine.IO, which does not know by which they come.
//! - [`session`]: Socket.IO on it; [`packet`]: its packets.
//! - [`io`]: what an application uses; [`rooms`]: who hears what.
//! - [`programs`]: servers of tutorials on it, ported.
pub mod engine;
pub mod http;
pub mod io;
pub mod packet;
pub mod programs;
pub mod rooms;
pub mod server;
pub mod session;
mod sessions;
pub mod settings;
pub mod transport;
