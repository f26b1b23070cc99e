//! `cargo xtask dist`: all that a release consists of, in one folder.
//!
//! ```text
//! vip-agent-0.1.0-linux-amd64     the agent, one static file for each processor
//! vip-agent-0.1.0-linux-arm64
//! vip-agent-0.1.0-image.tar       the image for both, an OCI archive
//! xvip-0.1.0.tgz                  the Helm chart
//! xvip-0.1.0.yaml                 the flat manifest
//! SHA256SUMS                      of all of them, for `sha256sum --check`
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{command, error::Error, helm, image, platform::Platform, workspace};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CHART: &str = "deploy/helm/xvip";
const SUMS: &str = "SHA256SUMS";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the image, with its registry if that is not Docker's
    #[arg(long, default_value = image::NAME)]
    name: String,
    /// For which processors [default: all]
    #[arg(long, value_enum)]
    platform: Vec<Platform>,
    /// The folder, which is emptied first [default: target/dist]
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Error> {
    let dist = args
        .output
        .unwrap_or_else(|| workspace::made().join("dist"));
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(Error::file(&dist))?;
    }
    fs::create_dir_all(&dist).map_err(Error::file(&dist))?;
    let platforms = image::platforms(args.platform);
    let archive = dist.join(format!("vip-agent-{VERSION}-image.tar"));
    image::agent(&args.name, image::TAG, &platforms, &archive)?;
    for platform in platforms {
        let program = image::program(platform);
        let name = format!("vip-agent-{VERSION}-linux-{}", platform.name());
        let copy = dist.join(name);
        fs::copy(&program, &copy).map_err(Error::file(&program))?;
    }
    packages(&args.name, &dist)?;
    let files = sums(&dist)?;
    println!("dist: {} ({})", dist.display(), files.join(", "));
    Ok(())
}

/// The chart and what it renders to.
fn packages(name: &str, dist: &Path) -> Result<(), Error> {
    let helm = helm::ensure()?;
    let run = || {
        let mut command = Command::new(&helm);
        command.current_dir(workspace::root());
        command
    };
    let mut package = run();
    package.args(["package", CHART, "--version", VERSION]);
    package.args(["--app-version", VERSION, "--destination"]);
    command::run(package.arg(dist))?;
    let repository = format!("image.repository={name}");
    let manifest = command::output(run().args([
        "template",
        "xvip",
        CHART,
        "--namespace",
        "xvip-system",
        "--set",
        "namespace.create=true",
        "--set",
        &repository,
    ]))?;
    let path = dist.join(format!("xvip-{VERSION}.yaml"));
    fs::write(&path, manifest).map_err(Error::file(&path))
}

/// Writes the checksums; the names of all files, in order.
fn sums(dist: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dist).map_err(Error::file(dist))? {
        let entry = entry.map_err(Error::file(dist))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut text = String::new();
    for name in &names {
        let path = dist.join(name);
        let bytes = fs::read(&path).map_err(Error::file(&path))?;
        let sum = Sha256::digest(&bytes);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{sum}  {name}\n"));
    }
    let path = dist.join(SUMS);
    fs::write(&path, text).map_err(Error::file(&path))?;
    names.push(SUMS.to_owned());
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_that_sha256sum_checks() {
        let dist = std::env::temp_dir().join(format!("xvip-dist-{}", std::process::id()));
        fs::create_dir(&dist).unwrap();
        for (name, text) in [("b", "two"), ("a", "one")] {
            fs::write(dist.join(name), text).unwrap();
        }
        assert_eq!(sums(&dist).unwrap(), ["a", "b", SUMS]);
        let check = |expected: bool| {
            let mut check = Command::new("sha256sum");
            check.current_dir(&dist).args(["--check", "--strict", SUMS]);
            assert_eq!(command::succeeds(&mut check), expected);
        };
        check(true);
        fs::write(dist.join("a"), "three").unwrap();
        check(false);
        fs::remove_dir_all(dist).unwrap();
    }

    #[test]
    fn the_chart_has_the_version_of_the_workspace() {
        let chart = workspace::root().join(CHART).join("Chart.yaml");
        let chart = fs::read_to_string(chart).unwrap();
        for line in [
            format!("\nversion: {VERSION}\n"),
            format!("\nappVersion: \"{VERSION}\"\n"),
        ] {
            assert!(chart.contains(&line), "{chart}");
        }
    }
}
