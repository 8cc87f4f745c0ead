//! Documents: recipes, and tables that give the counterparts of other crates' calls. The module has
//! no functions or types, and adds nothing to a program.

// rustdoc uses the first definition of a link, which is the one here. The included file defines the
// same links again for readers of the repository.
#[doc = "[feeds]: crate::guide::recipes::feeds"]
#[doc = "[servers]: crate::guide::recipes::servers"]
#[doc = "[browsers]: crate::guide::recipes::browsers"]
#[doc = "[operations]: crate::guide::recipes::operations"]
#[doc = "[latency]: crate::guide::recipes::latency"]
#[doc = "[testing]: crate::guide::recipes::testing"]
#[doc = ""]
#[doc = include_str!("../docs/recipes/README.md")]
pub mod recipes {
    #[doc = include_str!("../docs/recipes/feeds.md")]
    pub mod feeds {}

    #[doc = include_str!("../docs/recipes/servers.md")]
    pub mod servers {}

    #[doc = include_str!("../docs/recipes/browsers.md")]
    pub mod browsers {}

    #[doc = include_str!("../docs/recipes/operations.md")]
    pub mod operations {}

    #[doc = include_str!("../docs/recipes/latency.md")]
    pub mod latency {}

    #[doc = include_str!("../docs/recipes/testing.md")]
    pub mod testing {}
}

#[doc = include_str!("../docs/MIGRATING.md")]
pub mod migrating {}
