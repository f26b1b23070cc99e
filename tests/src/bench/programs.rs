//! Loading as the product does, and BPF_PROG_TEST_RUN, which aya has no call for.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, Xdp},
};
use caps::{
    CapSet,
    Capability::{CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW},
};

use super::error::Error;

/// Loads an object and its XDP programs with exactly the product's three capabilities.
pub(super) fn load(object: &Path) -> Result<Ebpf, Error> {
    let bytes = std::fs::read(object).map_err(Error::io("reading the object"))?;
    // Capabilities belong to a thread.
    thread::spawn(move || {
        let three = [CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW].into_iter().collect();
        caps::set(None, CapSet::Effective, &three)?;
        caps::set(None, CapSet::Permitted, &three)?;
        let mut ebpf = EbpfLoader::new().load(&bytes)?;
        for (_, program) in ebpf.programs_mut() {
            if let Program::Xdp(program) = program {
                program.load()?;
            }
        }
        Ok(ebpf)
    })
    .join()
    .map_err(|_| Error::Panicked)?
}

/// A loaded XDP program.
pub(super) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    match ebpf.program_mut(name) {
        Some(Program::Xdp(program)) => Ok(program),
        _ => Err(Error::Missing(name)),
    }
}

/// The `test` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// `struct xdp_md`.
#[repr(C)]
#[derive(Default)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;

fn test_run(mut run: TestRun) -> Result<TestRun, Error> {
    let size = size_of::<TestRun>();
    // SAFETY: the kernel reads and writes `size` bytes of `run`, and what it points to is
    // borrowed by the callers below.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size) };
    if result < 0 {
        return Err(Error::io("BPF_PROG_TEST_RUN")(io::Error::last_os_error()));
    }
    Ok(run)
}

/// Nanoseconds of one run, over `repeat` runs on a frame that the program leaves as it is.
pub(super) fn time_one(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> Result<f64, Error> {
    let start = Instant::now();
    test_run(TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_in: frame.as_ptr() as u64,
        data_size_in: frame.len() as u32,
        repeat,
        ..TestRun::default()
    })?;
    Ok(start.elapsed().as_nanos() as f64 / f64::from(repeat))
}

/// Lets the program have `count` live frames as large as `frame` on an interface of the thread's
/// namespace. Returns the time that the kernel took over them, without the set-up and without
/// what others ran meanwhile.
pub(super) fn send(
    program: BorrowedFd<'_>,
    ifindex: u32,
    frame: &[u8],
    count: u32,
) -> Result<Duration, Error> {
    let context = Context {
        data_end: frame.len() as u32,
        ingress_ifindex: ifindex,
        ..Context::default()
    };
    let run = test_run(TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_in: frame.as_ptr() as u64,
        data_size_in: frame.len() as u32,
        ctx_in: (&raw const context) as u64,
        ctx_size_in: size_of::<Context>() as u32,
        repeat: count,
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        ..TestRun::default()
    })?;
    Ok(Duration::from_nanos(u64::from(run.duration)) * count)
}
