//! kubectl, as a user runs it.

use std::{io::Write, path::Path, process::Stdio};

use super::binary;
use crate::netns::{BedError, Peer, system};

/// Runs it in a namespace with a kubeconfig and returns what it wrote; `input` is for `-f -`.
/// `cache` is for what it learns of the server: not to outlive that.
pub(crate) fn kubectl(
    host: &Peer,
    kubeconfig: &Path,
    cache: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<String, BedError> {
    let mut command = host.command(&binary("kubectl")?.to_string_lossy());
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command.env("KUBECACHEDIR", cache);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(system("spawn kubectl"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(system("kubectl"))?;
    }
    let output = child.wait_with_output().map_err(system("kubectl"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BedError::Command {
        command: format!("kubectl {}", arguments.join(" ")),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
