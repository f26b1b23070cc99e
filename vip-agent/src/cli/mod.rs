//! Subcommands, one file each.

pub mod check;
pub mod flags;
pub mod output;
