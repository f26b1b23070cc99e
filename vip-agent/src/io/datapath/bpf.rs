//! bpf(2) where aya has no call, falls back by itself to another one, or asks for CAP_SYS_ADMIN.

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{
    BPF_F_BEFORE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_info,
    bpf_prog_type,
};

/// A place on an interface for a program.
pub type AttachType = bpf_attach_type;

/// The kind of a program.
pub type ProgramType = bpf_prog_type;

/// # Safety
/// Every pointer in `attr` is valid, for the time of the call, for what `cmd` reads or writes.
unsafe fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: `attr` is a whole `bpf_attr`; a kernel with a shorter one checks that the rest is
    // zero. What it points to is the caller's promise.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            cmd as libc::c_int,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done as i32)
}

fn empty() -> bpf_attr {
    // SAFETY: a union of plain integers.
    unsafe { zeroed() }
}

/// # Safety
/// As [`bpf`]; and `cmd` is one of those that return a file descriptor.
unsafe fn bpf_fd(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: handed on to the caller.
    let fd = unsafe { bpf(cmd, attr) }?;
    // SAFETY: the kernel just made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Opens what is pinned at `path`.
pub(super) fn get_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = empty();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attr) }
}

/// Pins a map, program or link.
pub(super) fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = empty();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_fd().as_raw_fd() as u32;
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr) }?;
    Ok(())
}

/// Runs a program once on a frame; what it returned.
pub(super) fn test_run(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<u32> {
    let mut attr = empty();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_size_in = frame.len() as u32;
    attr.test.data_in = frame.as_ptr() as u64;
    // SAFETY: the frame outlives the call, which reads so many bytes of it; nothing is written but
    // numbers in `attr`.
    unsafe { bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr) }?;
    // SAFETY: plain integers.
    Ok(unsafe { attr.test.retval })
}

/// Attaches a program to an interface of the caller's network namespace. `flags` are XDP_FLAGS_*
/// or, for tcx, BPF_F_*.
///
/// aya's call for XDP turns EINVAL into an attachment by netlink, which ends with no process and
/// can be pinned nowhere.
pub fn create_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    place: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = empty();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = place as u32;
    attr.link_create.flags = flags;
    // SAFETY: no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// Flag of [`create_link`] for tcx: before every other program of the place.
pub const FIRST: u32 = BPF_F_BEFORE;

/// Replaces the program of a link atomically.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = empty();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    // SAFETY: no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr) }?;
    Ok(())
}

/// Takes a link off its interface, at once and for all who hold it.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = empty();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    // SAFETY: no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr) }?;
    Ok(())
}

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// Id of the link.
    pub id: u32,
    /// Id of its program.
    pub program: u32,
    /// Its interface; zero once that is gone, or the link was detached.
    pub ifindex: u32,
}

/// Tells about an XDP or tcx link; `None` for any other kind.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<Option<LinkInfo>> {
    // SAFETY: plain integers.
    let mut info: bpf_link_info = unsafe { zeroed() };
    info_by_fd(link, &mut info)?;
    // SAFETY: the kernel set the member that the type names; all are plain integers.
    let ifindex = unsafe {
        match info.type_ {
            kind if kind == bpf_link_type::BPF_LINK_TYPE_XDP as u32 => {
                info.__bindgen_anon_1.xdp.ifindex
            }
            kind if kind == bpf_link_type::BPF_LINK_TYPE_TCX as u32 => {
                info.__bindgen_anon_1.tcx.ifindex
            }
            _ => return Ok(None),
        }
    };
    Ok(Some(LinkInfo {
        id: info.id,
        program: info.prog_id,
        ifindex,
    }))
}

/// Id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: plain integers.
    let mut info: bpf_prog_info = unsafe { zeroed() };
    info_by_fd(program, &mut info)?;
    Ok(info.id)
}

fn info_by_fd<T: Copy>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attr = empty();
    attr.info.bpf_fd = object.as_raw_fd() as u32;
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = std::ptr::from_mut(info) as u64;
    // SAFETY: `info` is writable for the length given.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(())
}

/// Program and link ids at a tcx place of an interface, in the order in which they run. A
/// program attached without a link has link id 0. EINVAL: the kernel has no tcx.
///
/// aya's call opens each program by id, for which the kernel asks for CAP_SYS_ADMIN.
pub(super) fn query(ifindex: u32, place: AttachType) -> io::Result<Vec<(u32, u32)>> {
    // BPF_MPROG_MAX of kernel/bpf/mprog.c.
    const MOST: usize = 64;
    let (mut programs, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut attr = empty();
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.attach_type = place as u32;
    attr.query.__bindgen_anon_2.count = MOST as u32;
    attr.query.prog_ids = programs.as_mut_ptr() as u64;
    attr.query.link_ids = links.as_mut_ptr() as u64;
    // SAFETY: both arrays hold as many ids as `count` says.
    unsafe { bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr) }?;
    // SAFETY: an integer, written by the kernel.
    let count = unsafe { attr.query.__bindgen_anon_2.count } as usize;
    Ok(programs.into_iter().zip(links).take(count).collect())
}

/// Writes entries of a hash map in one call. Where the kernel stops, says how many it took.
pub(super) fn update_batch<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, io::Error)> {
    let count = keys.len().min(values.len());
    if count == 0 {
        return Ok(());
    }
    let mut attr = empty();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = count as u32;
    // SAFETY: the caller opened a map of these key and value types, whose sizes were checked
    // then, and both slices hold `count` of them.
    let error = match unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr) } {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    // SAFETY: an integer: how many were taken, or what we wrote where no work was begun.
    let taken = unsafe { attr.batch.count } as usize;
    Err((if taken < count { taken } else { 0 }, error))
}

/// Entries of a hash map that one call reads.
#[derive(Debug)]
pub(super) struct LookupBatch<K, V> {
    /// Keys and values of those that were read last, in one order.
    pub(super) keys: Vec<K>,
    pub(super) values: Vec<V>,
    capacity: usize,
    /// The bucket that comes next; `None` before the first.
    bucket: Option<u32>,
}

impl<K: aya::Pod, V: aya::Pod> LookupBatch<K, V> {
    /// Begins at the start of a map. `capacity` is more than one bucket can hold.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            keys: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
            capacity,
            bucket: None,
        }
    }

    /// Reads the next entries; whether more may follow.
    pub(super) fn next(&mut self, map: BorrowedFd<'_>) -> io::Result<bool> {
        self.keys.clear();
        self.values.clear();
        let (from, mut to) = (self.bucket, 0_u32);
        let mut attr = empty();
        attr.batch.map_fd = map.as_raw_fd() as u32;
        attr.batch.in_batch = from
            .as_ref()
            .map_or(0, |from| std::ptr::from_ref(from) as u64);
        attr.batch.out_batch = std::ptr::from_mut(&mut to) as u64;
        attr.batch.keys = self.keys.as_mut_ptr() as u64;
        attr.batch.values = self.values.as_mut_ptr() as u64;
        attr.batch.count = self.capacity as u32;
        // SAFETY: the caller opened a hash map of these key and value types, whose sizes were
        // checked then; both vectors have room for `count` of them, and both bucket numbers are
        // the u32 that hash maps use.
        let more = match unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) } {
            Ok(_) => true,
            // The end of the map, with what was left of it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => false,
            Err(error) => return Err(error),
        };
        // SAFETY: an integer: how many were read.
        let read = (unsafe { attr.batch.count } as usize).min(self.capacity);
        // SAFETY: the kernel has written so many of each, and every bit pattern is valid for both.
        unsafe {
            self.keys.set_len(read);
            self.values.set_len(read);
        }
        self.bucket = Some(to);
        Ok(more)
    }
}

/// A program of two instructions, `return verdict`. Tests play the foreign program with it.
pub fn load_constant_program(kind: ProgramType, verdict: i32) -> io::Result<OwnedFd> {
    // mov32 r0, verdict; exit
    let instructions: [u64; 2] = [0xb4 | (u64::from(verdict as u32) << 32), 0x95];
    let mut attr = empty();
    // SAFETY: all fields of this member are integers.
    unsafe {
        let load = &mut attr.__bindgen_anon_3;
        load.prog_type = kind as u32;
        load.insns = instructions.as_ptr() as u64;
        load.insn_cnt = instructions.len() as u32;
        load.license = c"Apache-2.0".as_ptr() as u64;
        if kind == ProgramType::BPF_PROG_TYPE_XDP {
            load.expected_attach_type = AttachType::BPF_XDP as u32;
        }
    }
    // SAFETY: instructions and licence outlive the call.
    unsafe { bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) }
}
