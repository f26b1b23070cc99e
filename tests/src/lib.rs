//! Test beds shared by the end-to-end tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test bed, what fails is a failed test"
)]

pub mod agent;
pub mod bench;
pub mod golden;
pub mod lan;
pub mod model;
pub mod netns;
pub mod observer;
pub mod ownership_sim;
pub mod test_run;
pub mod wire;
