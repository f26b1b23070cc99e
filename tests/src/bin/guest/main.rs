//! The program in the VMs of `cargo xtask test-kernels`.
//!
//! As the first process it makes the system usable ([`boot`]) and starts itself again to judge
//! object and agent with three capabilities ([`cases`]). Each case prints `ok NAME` or
//! `not ok NAME: why`; the last line, `guest: N passed, N failed`, is what the host counts.

mod agent;
mod boot;
mod cases;
mod golden;
mod links;
mod serving;

use std::{env, error::Error, process::ExitCode};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("judge") => cases::judge(),
        _ if std::process::id() == 1 => boot::first_process(),
        _ => {
            eprintln!("error: this runs as the first process of a VM: cargo xtask test-kernels");
            ExitCode::FAILURE
        }
    }
}

/// Lines of a verifier's log that say why: the last ones.
const LOG_END: usize = 8;

/// The error with its causes, in one line; of a verifier's log only the end.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, .., _] if lines.len() > LOG_END => {
            let end = &lines[lines.len() - LOG_END..];
            let first: String = first.chars().take(120).collect();
            format!("{first} ... {}", end.join(" | "))
        }
        _ => lines.join(" | "),
    }
}
