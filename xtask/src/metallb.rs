//! MetalLB, whose place xvip takes in the tests: its two programs, and its own manifest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command, error::Error, go_program::GoProgram};

const MODULE: &str = "go.universe.tf/metallb";
/// The newest whose requirements Go's module proxy gave: 0.16.2 wants an `frr-k8s` that was refused.
const CONTROLLER: GoProgram = GoProgram {
    name: "metallb-controller",
    version: "0.15.2",
    package: "go.universe.tf/metallb/controller",
    variable: "XVIP_METALLB_CONTROLLER",
};
const SPEAKER: GoProgram = GoProgram {
    name: "metallb-speaker",
    package: "go.universe.tf/metallb/speaker",
    variable: "XVIP_METALLB_SPEAKER",
    ..CONTROLLER
};
/// In the module: MetalLB without a routing daemon.
const MANIFEST: &str = "config/manifests/metallb-native.yaml";

/// Programs by the names of their containers, and what installs them.
pub(crate) struct MetalLb {
    pub(crate) programs: [(&'static str, PathBuf); 2],
    pub(crate) manifest: PathBuf,
}

/// Builds them where they are not built; the manifest is copied before.
pub(crate) fn ensure() -> Result<MetalLb, Error> {
    let manifest = CONTROLLER.home().join("metallb.yaml");
    let flags = |go: &dyn Fn() -> Command| {
        let found = command::output(go().args(["list", "-m", "-f", "{{.Dir}}", MODULE]))?;
        let from = Path::new(found.trim()).join(MANIFEST);
        // A file of the module cache may not be written to, nor may a copy with its mode.
        let text = fs::read(&from).map_err(Error::file(&from))?;
        fs::write(&manifest, text).map_err(Error::file(&manifest))?;
        Ok("-s -w".to_owned())
    };
    Ok(MetalLb {
        programs: [
            ("controller", CONTROLLER.ensure(flags)?),
            ("speaker", SPEAKER.ensure(flags)?),
        ],
        manifest,
    })
}
