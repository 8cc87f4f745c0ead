//! Pages of documentation. This module has no functions or types, and adds nothing to a program.

// If a link is defined twice, rustdoc uses the first definition, which is in this file. The
// included file defines the same links again for readers of the repository.
/// Code for common jobs, such as reconnecting, slow subscribers, TLS and shutdown.
///
/// [feeds]: crate::guide::recipes::feeds
/// [servers]: crate::guide::recipes::servers
/// [browsers]: crate::guide::recipes::browsers
/// [socketio]: crate::guide::recipes::socketio
/// [operations]: crate::guide::recipes::operations
/// [latency]: crate::guide::recipes::latency
/// [devices]: crate::guide::recipes::devices
/// [testing]: crate::guide::recipes::testing
///
#[doc = include_str!("../docs/recipes/README.md")]
pub mod recipes {
    /// Find a dead peer, reconnect, and know which orders were sent.
    ///
    #[doc = include_str!("../docs/recipes/feeds.md")]
    pub mod feeds {}

    /// Many or slow subscribers, tasks and threads, TLS, access control.
    ///
    #[doc = include_str!("../docs/recipes/servers.md")]
    pub mod servers {}

    /// Web pages, phones, proxies and load balancers.
    ///
    #[doc = include_str!("../docs/recipes/browsers.md")]
    pub mod browsers {}

    /// Serve clients of Socket.IO, or leave Socket.IO.
    ///
    #[doc = include_str!("../docs/recipes/socketio.md")]
    pub mod socketio {}

    /// Shutdown, metrics, logs, compression, a million connections.
    ///
    #[doc = include_str!("../docs/recipes/operations.md")]
    pub mod operations {}

    /// Settings for low latency in the program and in the system, and measurements.
    ///
    #[doc = include_str!("../docs/recipes/latency.md")]
    pub mod latency {}

    /// A client without an operating system, in 64 KiB of memory.
    ///
    #[doc = include_str!("../docs/recipes/devices.md")]
    pub mod devices {}

    /// Tests without sockets and without waiting.
    ///
    #[doc = include_str!("../docs/recipes/testing.md")]
    pub mod testing {}
}

/// Every idiom on one page, and wrong guesses with the right call.
///
#[doc = include_str!("../docs/CHEATSHEET.md")]
pub mod cheatsheet {}

/// Every limit and deadline with its default, and how much memory a peer can fill.
///
#[doc = include_str!("../docs/LIMITS.md")]
pub mod limits {}

/// Symptoms of typical problems, and the calls of other crates with their counterparts here.
///
#[doc = include_str!("../docs/MIGRATING.md")]
pub mod migrating {}
