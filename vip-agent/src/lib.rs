//! xvip's agent as a library: pure modules, an `io` folder, and the driver that joins them.

pub mod announce;
pub mod api;
pub mod apiserver;
pub mod attachment;
pub mod binding;
pub mod capture;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod convert;
pub mod counter_index;
pub mod desired;
pub mod driver;
pub mod event;
pub mod explain;
pub mod frame;
pub mod heard;
pub mod hearing;
pub mod history;
pub mod host;
pub mod incumbent;
pub mod io;
pub mod manifest;
pub mod metrics;
pub mod patrol;
pub mod reconcile;
pub mod rights;
pub mod status;
pub mod survey;
pub mod trace;
pub mod vacancy;
pub mod vip;

pub use vip_ownership as ownership;
