//! The documentation, followed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use tests::manual::{broken_links, pages};

#[test]
fn every_link_between_pages_leads_somewhere() {
    assert_eq!(broken_links(&pages()), [""; 0]);
}
