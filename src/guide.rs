//! Reading matter: recipes, and what the calls of other crates become. There is nothing in here to
//! call, and nothing of it is compiled into a program.

#[doc = include_str!("../docs/RECIPES.md")]
pub mod recipes {}

#[doc = include_str!("../docs/MIGRATING.md")]
pub mod migrating {}
