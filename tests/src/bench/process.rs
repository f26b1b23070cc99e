//! What a process takes of the machine.

use std::fs;

use super::error::Error;

/// User and system time so far, in hundredths of a second (proc_pid_stat(5), fields 14 and 15).
pub(super) fn cpu_ticks(pid: u32) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(Error::io("stat"))?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    Ok(fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum())
}

/// Resident memory, in megabytes.
pub(super) fn resident_megabytes(pid: u32) -> Result<f64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::io("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kilobytes.ok_or(Error::Missing("VmRSS"))? / 1_000.0)
}
