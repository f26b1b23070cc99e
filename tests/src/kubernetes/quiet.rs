//! Tests of beds run beside each other, since they mostly wait, also those of several processes. What
//! keeps a core busy for seconds, and what counts milliseconds, does so one at a time.

use std::{env, fs::File, path::PathBuf};

/// Nobody else starts a bed, or counts milliseconds, while it lives.
#[derive(Debug)]
pub struct Quiet(#[expect(dead_code, reason = "its lock goes when it is closed")] File);

/// Waits until nobody else keeps quiet, in this process or another. Who holds it makes no bed and
/// starts no agents: these wait for it themselves.
///
/// # Panics
/// When the file of the lock cannot be made.
pub fn quiet() -> Quiet {
    let file = File::create(path());
    let file = file.expect("the file of the lock is made");
    // Each call has a description of its own: the lock parts threads as well as processes.
    file.lock().expect("a file of ours can be locked");
    Quiet(file)
}

fn path() -> PathBuf {
    env::temp_dir().join("xvip-quiet.lock")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Whether another process gets the lock in a second.
    fn another_gets_it() -> bool {
        let mut flock = Command::new("flock");
        flock.args(["--wait", "1"]).arg(path()).arg("true");
        flock.status().unwrap().success()
    }

    #[test]
    #[ignore = "needs root"]
    fn another_process_waits_for_it() {
        let guard = quiet();
        assert!(!another_gets_it());
        drop(guard);
        // A test program beside this one may have it meanwhile.
        assert!((0..120).any(|_| another_gets_it()));
    }
}
