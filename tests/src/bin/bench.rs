//! Started by `cargo xtask bench`, which builds what it needs first: prints one table. With
//! `kubernetes` as its argument, that of a cluster.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let result = match env::args().nth(1).as_deref() {
        Some("kubernetes") => tests::bench::run_kubernetes(),
        _ => tests::bench::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
