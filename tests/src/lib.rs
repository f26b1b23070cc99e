//! Test beds shared by the end-to-end tests.

pub mod netns;
pub mod ownership_sim;
