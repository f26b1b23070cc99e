//! What an init does for a system without one.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    process::{Command, ExitCode},
};

use nix::mount::{MsFlags, mount};

use crate::chain;

/// Mounts, loads modules, starts the judge, powers off.
pub(crate) fn first_process() -> ExitCode {
    if let Err(error) = prepare() {
        println!("not ok the guest boots: {}", chain(error.as_ref()));
        println!("guest: 0 passed, 1 failed");
    } else if let Err(error) = Command::new("/init").arg("judge").status() {
        println!("not ok the judge starts: {error}");
        println!("guest: 0 passed, 1 failed");
    }
    // SAFETY: no memory is involved; as the first process we may.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    ExitCode::FAILURE
}

fn prepare() -> Result<(), Box<dyn std::error::Error>> {
    for (kind, place) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("bpf", "/sys/fs/bpf"),
        ("debugfs", "/sys/kernel/debug"),
        ("tmpfs", "/tmp"),
    ] {
        mount(
            Some(kind),
            place,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .map_err(|error| format!("mount {place}: {error}"))?;
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // The firmware leaves its last line open.
    println!("\nkernel {}", release.trim());
    for module in fs::read_to_string("/modules/order")?.lines() {
        insert(module).map_err(|error| format!("module {module}: {error}"))?;
    }
    Ok(())
}

fn insert(module: &str) -> io::Result<()> {
    let file = File::open(format!("/modules/{module}"))?;
    // Links that nobody asked for would stand in the way of ours.
    let parameters = match module {
        "bonding" => c"max_bonds=0",
        "dummy" => c"numdummies=0",
        _ => c"",
    };
    // SAFETY: the descriptor and the string are valid during the call, and the kernel keeps
    // neither.
    let done = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            parameters.as_ptr(),
            0,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
