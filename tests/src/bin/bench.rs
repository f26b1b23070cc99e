//! Started by `cargo xtask bench`, which builds the two objects first: prints one table.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tests::bench::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
