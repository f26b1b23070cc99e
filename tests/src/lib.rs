//! Test beds shared by the end-to-end tests.

pub mod agent;
pub mod lan;
pub mod netns;
pub mod observer;
pub mod wire;
