//! Engine.IO and Socket.IO, in both revisions that are in use: what the official `socket.io-client`
//! speaks to, on top of `tickwire` and of an HTTP stack. Its README says what there is, and what it
//! costs.
//!
//! From below:
//!
//! - [`server`]: connections, on hyper.
//! - [`http`]: what their requests mean; [`sessions`]: which session.
//! - [`transport`]: a session's messages over long-polling, or through a WebSocket.
//! - [`engine`]: Engine.IO, which does not know by which they come.
//! - [`session`]: Socket.IO on it; [`packet`]: its packets.
//! - [`handler`]: what an application is asked, and can do; [`rooms`]: who hears what.
//! - [`app`]: what the events of this example mean.
//!
//! And [`settings`], and [`measure`]: what the layers cost.
pub mod app;
pub mod engine;
pub mod handler;
pub mod http;
pub mod measure;
pub mod packet;
pub mod rooms;
pub mod server;
pub mod session;
mod sessions;
pub mod settings;
pub mod transport;
