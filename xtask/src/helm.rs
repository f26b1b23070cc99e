//! Helm for the tests and for the flat manifest, built from its Go module once.

use std::{fs, path::PathBuf, process::Command};

use crate::{command, error::Error, workspace};

/// The version that is built.
const VERSION: &str = "3.22.0";
/// Names the program for the tests; where it is set, that one is taken.
pub(crate) const HELM: &str = "XVIP_HELM";
const PACKAGE: &str = "helm.sh/helm/v3/cmd/helm";
/// Its version says of which Kubernetes Helm is: it publishes 1.N.P as 0.N.P.
const CLIENT: &str = "k8s.io/client-go";

/// The program, in `target/helm/VERSION`.
pub(crate) fn ensure() -> Result<PathBuf, Error> {
    if let Some(given) = std::env::var_os(HELM).filter(|given| !given.is_empty()) {
        return Ok(workspace::root().join(given));
    }
    let home = workspace::made().join("helm").join(VERSION);
    let program = home.join("helm");
    if program.is_file() {
        return Ok(program);
    }
    if !command::succeeds(Command::new("go").arg("version")) {
        return Err(Error::NoGo);
    }
    println!("building Helm {VERSION}, once: two minutes");
    let module = home.join("module");
    fs::create_dir_all(&module).map_err(Error::file(&module))?;
    let file = module.join("go.mod");
    fs::write(&file, "module xvip.test/helm\n\ngo 1.26\n").map_err(Error::file(&file))?;
    let go = || {
        let mut go = Command::new("go");
        go.current_dir(&module).env("CGO_ENABLED", "0");
        go
    };
    // A tool of the module: so its own requirements count, and are written down with their sums.
    command::run(go().args(["get", "-tool", &format!("{PACKAGE}@v{VERSION}")]))?;
    let client = command::output(go().args(["list", "-m", "-f", "{{.Version}}", CLIENT]))?;
    let ldflags = flags(client.trim());
    let partial = home.join("helm.partial");
    let mut build = go();
    build.args(["build", "-trimpath", "-ldflags", &ldflags, "-o"]);
    command::run(build.arg(&partial).arg(PACKAGE))?;
    fs::rename(&partial, &program).map_err(Error::file(&program))?;
    Ok(program)
}

/// As Helm's own Makefile sets them: else it takes itself for that of Kubernetes 1.20, and refuses
/// charts that need a newer one.
fn flags(client: &str) -> String {
    let minor = client.split('.').nth(1).unwrap_or_default();
    let mut flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{VERSION}");
    for package in ["lint/rules", "chartutil"] {
        for (part, number) in [("Major", "1"), ("Minor", minor)] {
            let variable = format!("helm.sh/helm/v3/pkg/{package}.k8sVersion{part}");
            flags.push_str(&format!(" -X {variable}={number}"));
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helm_knows_the_kubernetes_of_its_client() {
        let flags = flags("v0.37.0");
        assert_eq!(flags.matches("k8sVersionMinor=37").count(), 2, "{flags}");
        assert_eq!(flags.matches("k8sVersionMajor=1").count(), 2, "{flags}");
    }
}
