//! What a process takes of the machine.

use std::fs;

use super::error::Error;

/// What its threads ran so far, in seconds (`/proc/PID/task/TID/schedstat`, first field, in
/// nanoseconds).
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(Error::io("task"))?;
    let mut nanoseconds = 0.0;
    for thread in threads {
        let path = thread.map_err(Error::io("task"))?.path().join("schedstat");
        let stat = fs::read_to_string(path).map_err(Error::io("schedstat"))?;
        let ran = stat.split(' ').next().and_then(|field| field.parse().ok());
        nanoseconds += ran.unwrap_or(0.0);
    }
    Ok(nanoseconds / 1e9)
}

/// Resident memory, in megabytes.
pub(super) fn resident_megabytes(pid: u32) -> Result<f64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::io("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kilobytes.ok_or(Error::Missing("VmRSS"))? / 1_000.0)
}
