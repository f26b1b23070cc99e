//! `cargo xtask golden`: the captures of `tests/golden`, compared or written anew.

use crate::{command, error::Error};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the captures anew, from what the code does; the expectations in the code stay
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Error> {
    let mut cargo = command::cargo(None);
    cargo.args(["test", "--package", "tests", "--test", "golden"]);
    if args.bless {
        cargo.env("XVIP_BLESS", "1");
    }
    command::run(&mut cargo)
}
