//! Pages to read: this module has no functions or types, and adds nothing to a program.
//!
//! - [`recipes`]: code for common jobs, such as reconnecting, slow subscribers, TLS and shutdown
//! - [`limits`]: every limit and deadline with its default, and how much memory a peer can fill
//! - [`migrating`]: symptoms, and the calls of other crates with their counterparts here

// If a link is defined twice, rustdoc uses the first definition: the one here. The included file
// defines the same links again for readers of the repository.
/// [feeds]: crate::guide::recipes::feeds
/// [servers]: crate::guide::recipes::servers
/// [browsers]: crate::guide::recipes::browsers
/// [socketio]: crate::guide::recipes::socketio
/// [operations]: crate::guide::recipes::operations
/// [latency]: crate::guide::recipes::latency
/// [testing]: crate::guide::recipes::testing
///
#[doc = include_str!("../docs/recipes/README.md")]
pub mod recipes {
    #[doc = include_str!("../docs/recipes/feeds.md")]
    pub mod feeds {}

    #[doc = include_str!("../docs/recipes/servers.md")]
    pub mod servers {}

    #[doc = include_str!("../docs/recipes/browsers.md")]
    pub mod browsers {}

    #[doc = include_str!("../docs/recipes/socketio.md")]
    pub mod socketio {}

    #[doc = include_str!("../docs/recipes/operations.md")]
    pub mod operations {}

    #[doc = include_str!("../docs/recipes/latency.md")]
    pub mod latency {}

    #[doc = include_str!("../docs/recipes/testing.md")]
    pub mod testing {}
}

#[doc = include_str!("../docs/LIMITS.md")]
pub mod limits {}

#[doc = include_str!("../docs/MIGRATING.md")]
pub mod migrating {}
