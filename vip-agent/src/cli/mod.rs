//! The command line, one file per subcommand.

pub mod check;
pub mod cleanup;
pub mod doctor;
pub mod flags;
pub mod output;
pub mod run;
pub mod status;
pub mod trace;
