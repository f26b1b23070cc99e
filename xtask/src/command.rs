//! Child processes, with errors that name the command.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{error::Error, workspace};

/// `cargo`, or the toolchain's own with `+name`, from the repository's root.
pub(crate) fn cargo(toolchain: Option<&str>) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    if let Some(name) = toolchain {
        command.arg(format!("+{name}"));
    }
    command
}

/// Runs to the end; the output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Start {
        command: shown(command),
        source,
    })?;
    if !status.success() {
        return Err(Error::Failed {
            command: shown(command),
            status,
        });
    }
    Ok(())
}

/// Runs to the end and gives its standard output; an exit code other than 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start {
            command: shown(command),
            source,
        })?;
    if !output.status.success() {
        return Err(Error::Failed {
            command: shown(command),
            status: output.status,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs quietly; whether it exists and ends with 0.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs to the end and shows each line of its standard output to `line` before it is printed.
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<(), Error> {
    let start = |command: &Command, source| Error::Start {
        command: shown(command),
        source,
    };
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| start(command, source))?;
    if let Some(stdout) = child.stdout.take() {
        for bytes in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes);
            println!("{text}");
            line(&text);
        }
    }
    let status = child.wait().map_err(|source| start(command, source))?;
    if !status.success() {
        return Err(Error::Failed {
            command: shown(command),
            status,
        });
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
