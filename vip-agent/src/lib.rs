//! xvip's agent as a library: pure modules, an `io` folder, and the driver that joins them.

pub mod cli;
pub mod binding;
pub mod announce;
pub mod cli;
pub mod attachment;
pub mod config;
pub mod event;
pub mod frame;
pub mod host;
pub mod io;
pub mod metrics;
pub mod status;
pub mod vip;
