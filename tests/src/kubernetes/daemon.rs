//! A long-running program inside a namespace, and what can happen to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    agent::until,
    netns::{BedError, Peer, system},
    process,
};

/// It is killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    host: Arc<Peer>,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl Daemon {
    /// Starts it; what it writes goes to `log`.
    pub fn start(
        host: &Arc<Peer>,
        program: &Path,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Result<Self, BedError> {
        let mut daemon = Self {
            host: Arc::clone(host),
            program: program.to_owned(),
            arguments,
            log,
            process: None,
        };
        daemon.run()?;
        Ok(daemon)
    }

    /// Starts it anew where it has ended.
    pub fn run(&mut self) -> Result<(), BedError> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log);
        let log = log.map_err(system("open the log"))?;
        let mut command = self.host.command("setpriv");
        // It goes with this process, also when that is killed.
        command
            .arg("--pdeathsig=KILL")
            .arg(&self.program)
            .args(&self.arguments);
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(system("dup"))?);
        command.stdout(log);
        let process = process::spawn(command).map_err(system("spawn"))?;
        self.process = Some(process);
        Ok(())
    }

    /// What it is started with the next time that it runs.
    pub fn arguments(&mut self) -> &mut Vec<String> {
        &mut self.arguments
    }

    /// Its process; none when it was ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Sends a signal: SIGSTOP freezes it, SIGCONT thaws it.
    pub fn signal(&self, signal: Signal) -> Result<(), BedError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        kill(Pid::from_raw(pid as i32), signal).map_err(|errno| system("kill")(errno.into()))
    }

    /// Ends it and waits until it is gone, so that its ports are free.
    pub fn kill(&mut self) -> Result<(), BedError> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.kill().map_err(system("kill"))?;
        process.wait().map_err(system("wait"))?;
        Ok(())
    }

    /// Asks it to end, and kills it when it does not.
    pub fn terminate(&mut self) -> Result<(), BedError> {
        self.signal(Signal::SIGTERM)?;
        if let Some(process) = self.process.as_mut() {
            let ended = || Ok(process.try_wait().map_err(system("wait"))?.is_some());
            if until("its end", ended, String::new).is_ok() {
                self.process = None;
            }
        }
        self.kill()
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> Result<bool, BedError> {
        match self.process.as_mut() {
            Some(process) => Ok(process.try_wait().map_err(system("wait"))?.is_some()),
            None => Ok(true),
        }
    }

    /// The last lines that it wrote.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails only when it is gone already.
        let _ = self.kill();
    }
}
