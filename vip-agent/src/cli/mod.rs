//! The command line, one file per subcommand.

pub mod agent;
pub mod caller;
pub mod check;
pub mod cleanup;
pub mod convert;
pub mod doctor;
pub mod explain;
pub mod flags;
pub mod manifest;
pub mod output;
pub mod plugin;
pub mod run;
pub mod status;
pub mod sysdump;
pub mod trace;
