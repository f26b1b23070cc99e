//! `cargo xtask manifests`: what the packages hold that is generated, compared or written anew:
//! definitions, permissions, alerts and dashboard in the Helm chart, and the flat manifest.

use crate::{command, error::Error, helm};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the files anew, from the agent's types, `deploy` and the chart
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Error> {
    let helm = helm::ensure()?;
    // The flat manifest is rendered from the parts of the chart: they come first.
    for test in ["parts_of_the_chart", "the_flat_manifest"] {
        let mut cargo = command::cargo(None);
        cargo
            .args([
                "test",
                "--quiet",
                "--package",
                "tests",
                "--test",
                "packages",
            ])
            .args(["--", "--include-ignored", test])
            .env(helm::HELM, &helm);
        if args.bless {
            cargo.env("XVIP_BLESS", "1");
        }
        command::run(&mut cargo)?;
    }
    Ok(())
}
