//! Runs a kernel in an emulator until it is powered off, and reads its console.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{command, error::Error, platform::Platform, tally::Tally};

use super::Kernel;

/// A test takes ten seconds; emulated on a machine under load it may take minutes.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The guest's own count. A VM that ends without one, or not at all, is an error.
pub(super) fn run(kernel: &Kernel, vmlinuz: &Path, initramfs: &Path) -> Result<Tally, Error> {
    let (qemu, machine, cpu, console) = match kernel.platform {
        Platform::Amd64 => ("qemu-system-x86_64", "pc", "max", "ttyS0"),
        // Emulating the architected pointer authentication doubles the time.
        Platform::Arm64 => (
            "qemu-system-aarch64",
            "virt",
            "max,pauth-impdef=on",
            "ttyAMA0",
        ),
    };
    let mut command = Command::new(qemu);
    command
        .args(["-machine", machine, "-accel", "tcg", "-cpu", cpu])
        .args([
            "-smp",
            "2",
            "-m",
            "1024",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &format!("console={console} quiet panic=-1")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|source| Error::Start {
        command: command::shown(&command),
        source,
    })?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    let deadline = Instant::now() + TIMEOUT;
    let mut tally = None;
    let end = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                // The firmware clears the screen.
                if !line.is_empty() && !line.contains('\x1b') {
                    println!("  {}: {line}", kernel.name);
                }
                tally = Tally::of_guest(&line).or(tally);
            }
            Err(end) => break end,
        }
    };
    // It has ended, or has had its time; in both cases nothing of it stays.
    let _ = child.kill();
    let _ = child.wait();
    match (end, tally) {
        (_, Some(tally)) => Ok(tally),
        (mpsc::RecvTimeoutError::Timeout, None) => Err(Error::Hung(TIMEOUT.as_secs())),
        (mpsc::RecvTimeoutError::Disconnected, None) => Err(Error::NoResult),
    }
}
