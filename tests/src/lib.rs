//! Test beds shared by the end-to-end tests.

pub mod netns;
pub mod golden;
pub mod model;
pub mod test_run;
