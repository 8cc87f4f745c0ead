//! Times and limits.
use axum::http::HeaderValue;
use std::time::Duration;

/// Times and limits; the defaults of the times are those of Socket.IO's own server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests go; `/socket.io/`.
    pub path: String,
    /// Pages of these origins may connect, or of all; those of the form `scheme://host[:port]`.
    pub origins: Option<Vec<HeaderValue>>,
    /// From a pong to the next ping; 25 s.
    pub ping_interval: Duration,
    /// From a ping to its pong; 20 s. A client that saw no ping for the sum of both gives up, as
    /// the server does with a client that pings by itself.
    pub ping_timeout: Duration,
    /// From the opening to the first namespace joined; 45 s.
    pub connect_timeout: Duration,
    /// From the WebSocket that may take over from polling to the packet by which it does; 10 s.
    pub upgrade_timeout: Duration,
    /// For the body of a request; 20 s.
    pub body_timeout: Duration,
    /// From a packet, or one of its attachments, to the next attachment; 60 s.
    pub attachment_timeout: Duration,
    /// The longest message, and the longest body of a request, in bytes; 1,000,000, as Socket.IO's
    /// server has it.
    pub max_payload: usize,
    /// The longest packet with its attachments, in bytes; 4,000,000.
    pub max_packet: usize,
    /// The most attachments of a packet; 10, as Socket.IO's parsers have it.
    pub max_attachments: usize,
    /// The most bytes that wait for a client. More are a reason to disconnect it; 12,000,000.
    pub max_backlog: usize,
    /// With so many bytes waiting for it, a client is not listened to; 256 KiB.
    pub pause_at: usize,
    /// The most sessions at a time; 10,000. One over polling has no connection that would count.
    pub max_sessions: usize,
    /// The most of them from one address; 100. There may be a whole office behind it.
    pub max_per_address: usize,
    /// The peers are proxies of ours: the address of a client is the last one in `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// The most namespaces that a client may have joined; 16.
    pub max_namespaces: usize,
    /// The longest `auth`, in bytes; 16 KiB. Applications may make a tree of it.
    pub max_auth: usize,
    /// The most rooms that a socket may be in; 100.
    pub max_rooms: usize,
    /// The longest name of a room, in bytes; 200.
    pub max_room_name: usize,
    /// The most acknowledgements that a socket may owe; 100.
    pub max_asked: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            origins: None,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            attachment_timeout: Duration::from_secs(60),
            max_payload: 1_000_000,
            max_packet: 4_000_000,
            max_attachments: 10,
            max_backlog: 12_000_000,
            pause_at: 256 << 10,
            max_sessions: 10_000,
            max_per_address: 100,
            behind_proxy: false,
            max_namespaces: 16,
            max_auth: 16 << 10,
            max_rooms: 100,
            max_room_name: 200,
            max_asked: 100,
        }
    }
}
