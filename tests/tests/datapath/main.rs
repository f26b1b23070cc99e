//! Loading, attaching and pinning, in a fresh network namespace with a BPF file system of its
//! own, with exactly CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

mod attaching;
mod bed;
mod clsact;
mod layouts;
mod loading;
mod maps;
mod programs;
