//! Helm for the tests and for the flat manifest.

use std::path::PathBuf;

use crate::{command, error::Error, go_program::GoProgram};

/// Names the program for the tests; where it is set, that one is taken.
pub(crate) const HELM: &str = "XVIP_HELM";
const PROGRAM: GoProgram = GoProgram {
    name: "helm",
    version: "3.22.0",
    package: "helm.sh/helm/v3/cmd/helm",
    variable: HELM,
};
/// Its version says of which Kubernetes Helm is: it publishes 1.N.P as 0.N.P.
const CLIENT: &str = "k8s.io/client-go";

/// The program.
pub(crate) fn ensure() -> Result<PathBuf, Error> {
    PROGRAM.ensure(|go| {
        let client = command::output(go().args(["list", "-m", "-f", "{{.Version}}", CLIENT]))?;
        Ok(flags(client.trim()))
    })
}

/// As Helm's own Makefile sets them: else it takes itself for that of Kubernetes 1.20, and refuses
/// charts that need a newer one.
fn flags(client: &str) -> String {
    let minor = client.split('.').nth(1).unwrap_or_default();
    let version = PROGRAM.version;
    let mut flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{version}");
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
