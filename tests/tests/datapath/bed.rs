//! Fresh namespaces for each test, and foreign programs.

use std::{
    collections::HashSet,
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use caps::{CapSet, Capability};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use vip_agent::{
    attachment::Mode,
    io::datapath::{
        AttachType, Datapath, DatapathError, FIRST, Hook, Pins, ProgramType, create_link,
        load_constant_program,
    },
};
use vip_common::abi::LAYOUT;

pub(crate) const AUTO: &[Mode] = &[Mode::Native, Mode::Tc];
pub(crate) const NOW: Duration = Duration::ZERO;

/// What a test works on. Everything ends with the thread that `bed` makes.
pub(crate) struct Bed {
    pub(crate) pins: PathBuf,
    /// A veth.
    pub(crate) eth: u32,
    /// Its other end.
    pub(crate) peer: u32,
    /// A bridge, which has no native XDP.
    pub(crate) bridge: u32,
}

/// Runs a test in a thread of its own: fresh namespaces, then the capabilities of the product.
pub(crate) fn bed(test: impl FnOnce(&Bed) + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("tests run as root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(
            Some("bpf"),
            "/sys/fs/bpf",
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
        for line in [
            "link set lo up",
            "link add eth0 type veth peer name peer",
            "link set eth0 up",
            "link set peer up",
            "link add br0 type bridge",
        ] {
            run("ip", line);
        }
        let three = HashSet::from([
            Capability::CAP_BPF,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
        ]);
        caps::set(None, CapSet::Effective, &three).unwrap();
        caps::set(None, CapSet::Permitted, &three).unwrap();
        test(&Bed {
            pins: PathBuf::from("/sys/fs/bpf/xvip"),
            eth: if_nametoindex("eth0").unwrap(),
            peer: if_nametoindex("peer").unwrap(),
            bridge: if_nametoindex("br0").unwrap(),
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Bed {
    pub(crate) fn open(&self) -> Datapath {
        self.open_layout(LAYOUT)
    }

    pub(crate) fn open_layout(&self, layout: &str) -> Datapath {
        Datapath::open(&self.pins, layout, &object(), None).unwrap()
    }

    pub(crate) fn open_clsact(&self) -> Datapath {
        let mut datapath = self.open();
        datapath.use_clsact();
        datapath
    }

    pub(crate) fn refusal(&self, object: &[u8]) -> DatapathError {
        let opened = Datapath::open(&self.pins, LAYOUT, object, None);
        opened.err().expect("this cannot be opened")
    }

    pub(crate) fn layout(&self) -> Pins {
        Pins::new(&self.pins, LAYOUT)
    }

    /// What bpftool reads from a map.
    pub(crate) fn dump(&self, map: &str) -> serde_json::Value {
        let path = self.layout().map(map);
        let text = run("bpftool", &format!("-j map dump pinned {}", path.display()));
        serde_json::from_str(&text).unwrap()
    }
}

/// Runs a program of the system, which root has with all capabilities.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let command = Command::new(program).args(arguments.split(' ')).output();
    let output = command.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn object() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/xvip.o"))
        .expect("`cargo xtask build-ebpf` comes first")
}

pub(crate) fn foreign_tc_program() -> OwnedFd {
    const TC_ACT_OK: i32 = 0;
    load_constant_program(ProgramType::BPF_PROG_TYPE_SCHED_CLS, TC_ACT_OK).unwrap()
}

/// A foreign program before all others; gone when dropped.
pub(crate) fn foreign_tcx(ifindex: u32, place: AttachType) -> OwnedFd {
    create_link(foreign_tc_program().as_fd(), ifindex, place, FIRST).unwrap()
}

/// A foreign XDP program in the driver; gone when dropped.
pub(crate) fn foreign_xdp(ifindex: u32) -> OwnedFd {
    const XDP_PASS: i32 = 2;
    const XDP_FLAGS_DRV_MODE: u32 = 4;
    let program = load_constant_program(ProgramType::BPF_PROG_TYPE_XDP, XDP_PASS).unwrap();
    let place = AttachType::BPF_XDP;
    create_link(program.as_fd(), ifindex, place, XDP_FLAGS_DRV_MODE).unwrap()
}

/// Pins a program, so that tc and bpftool find it.
pub(crate) fn pin(program: &OwnedFd, path: &Path) {
    let info = format!("/proc/thread-self/fdinfo/{}", program.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    run(
        "bpftool",
        &format!("prog pin id {} {}", id.unwrap().trim(), path.display()),
    );
}

/// Program ids of the hooks of a mode, where nothing but ours may run.
pub(crate) fn ours(datapath: &Datapath, ifindex: u32, mode: Mode) -> Vec<u32> {
    let position = datapath.position(ifindex).unwrap();
    let ids = Hook::of(mode).map(|hook| match position.at(hook) {
        [seat] if seat.ours => seat.program,
        seats => panic!("{hook:?} has {seats:?}"),
    });
    ids.to_vec()
}

pub(crate) fn differ(before: &[u32], after: &[u32]) -> bool {
    before.iter().all(|id| !after.contains(id))
}
