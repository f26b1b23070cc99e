//! Subcommands, one file each.

pub mod check;
pub mod flags;
pub mod output;
//! The command line, one file per subcommand.

pub mod output;
pub mod status;
