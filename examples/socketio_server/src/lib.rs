//! Engine.IO v4 and Socket.IO v5 over the WebSocket transport: what the official `socket.io-client`
//! speaks to, on top of `tickwire`.
//!
//! - [`engine`]: the packets of Engine.IO, ids, the heartbeat.
//! - [`packet`]: the packets of Socket.IO.
//! - [`session`]: one client's state, without I/O and clock.
//! - [`rooms`]: who hears what, and the queue in front of each client.
//! - [`server`]: WebSockets to sessions.
//! - [`app`]: what the events of this example mean.
//! - [`measure`]: what the layer costs.
//!
//! Left out: HTTP long-polling and the upgrade from it, and the recovery of a connection's state.
pub mod app;
pub mod engine;
pub mod measure;
pub mod packet;
pub mod rooms;
pub mod server;
pub mod session;
