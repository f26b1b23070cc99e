//! Test beds shared by the end-to-end tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test bed, what fails is a failed test"
)]

pub mod agent;
pub mod bench;
pub mod browser;
pub mod cluster;
pub mod fetches;
pub mod golden;
pub mod kubernetes;
pub mod lan;
pub mod manual;
pub mod model;
pub mod netns;
pub mod observer;
pub mod packages;
pub mod process;
pub mod prometheus;
pub mod scratch;
pub mod test_run;
pub mod timeline;
pub mod wire;
