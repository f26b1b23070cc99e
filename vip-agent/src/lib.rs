//! xvip's agent as a library: pure modules, an `io` folder, and the driver that joins them.

pub mod announce;
pub mod attachment;
pub mod binding;
pub mod cli;
pub mod config;
pub mod counter_index;
pub mod desired;
pub mod driver;
pub mod event;
pub mod frame;
pub mod host;
pub mod io;
pub mod metrics;
pub mod ownership;
pub mod reconcile;
pub mod status;
pub mod trace;
pub mod vip;
