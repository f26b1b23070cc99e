//! Helm, as `cargo xtask envtest` builds it.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    kubernetes::{ControlPlane, User},
    netns::{BedError, system},
};

use super::{CHART, repository};

/// The release of the tests, and of the documentation.
pub const RELEASE: &str = "xvip";
/// Its namespace.
pub const NAMESPACE: &str = "xvip-system";

/// The program.
#[derive(Clone, Debug)]
pub struct Helm(PathBuf);

impl Helm {
    /// Where `XVIP_HELM` says.
    pub fn find() -> Result<Self, BedError> {
        let path = PathBuf::from(env::var_os("XVIP_HELM").unwrap_or_default());
        match path.is_file() {
            true => Ok(Self(path)),
            false => Err(BedError::Helm(path)),
        }
    }

    /// Runs it in the repository, far from any cluster; what it says when it fails is the error.
    pub fn run(&self, arguments: &[&str]) -> Result<String, BedError> {
        let mut command = Command::new(&self.0);
        let command = command
            .current_dir(repository(""))
            .env("KUBECONFIG", "/dev/null")
            .args(arguments);
        finished(command, "helm", arguments)
    }

    /// Runs it as the administrator of a cluster.
    pub fn on(&self, control: &ControlPlane, arguments: &[&str]) -> Result<String, BedError> {
        let mut command = control.host.command(&self.0.to_string_lossy());
        let own = |name: &str| control.directory().join(name);
        let command = command
            .current_dir(repository(""))
            .env("KUBECONFIG", control.kubeconfig(User::Admin))
            .env("HELM_CACHE_HOME", own("helm-cache"))
            .env("HELM_CONFIG_HOME", own("helm-config"))
            .env("HELM_DATA_HOME", own("helm-data"))
            .args(arguments);
        finished(command, "helm", arguments)
    }

    /// Renders the chart; `values` are arguments such as `--set`.
    pub fn template(&self, values: &[&str]) -> Result<String, BedError> {
        let template = ["template", RELEASE, CHART, "--namespace", NAMESPACE];
        self.run(&[&template[..], values].concat())
    }
}

/// What a command wrote; its words are the error when it fails.
fn finished(command: &mut Command, name: &str, arguments: &[&str]) -> Result<String, BedError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(system("spawn"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BedError::Command {
        command: format!("{name} {}", arguments.join(" ")),
        stderr: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    })
}
