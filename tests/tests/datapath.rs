//! Loading, attaching and pinning, in a fresh network namespace with a BPF file system of its
//! own, with exactly CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
    attachment::{Mode, RestoreLimit},
    io::{
        datapath::{
            AttachError, AttachType, CheckError, Datapath, DatapathError, FIRST, Hook, Level, MAPS,
            Pins, Position, ProgramType, Records, Slots, Tables, TcApi, boottime_ns, cleanup,
            create_link, load_constant_program, prerequisites,
        },
        lock::{AgentLock, LockError},
    },
};
use vip_common::abi::{
    FOREVER, HostMac, LAYOUT, LeaseSlot, LinkEntry, SLOT_SESSION, SessionRecord, TraceSwitch,
    VipEntry, VipKey,
};

const AUTO: &[Mode] = &[Mode::Native, Mode::Tc];
const NOW: Duration = Duration::ZERO;

/// What a test works on. Everything ends with the thread that `bed` makes.
struct Bed {
    pins: PathBuf,
    /// A veth.
    eth: u32,
    /// Its other end.
    peer: u32,
    /// A bridge, which has no native XDP.
    bridge: u32,
}

/// Runs a test in a thread of its own: fresh namespaces, then the capabilities of the product.
fn bed(test: impl FnOnce(&Bed) + Send + 'static) {
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
    fn open(&self) -> Datapath {
        self.open_layout(LAYOUT)
    }

    fn open_layout(&self, layout: &str) -> Datapath {
        Datapath::open(&self.pins, layout, &object(), None).unwrap()
    }

    fn open_clsact(&self) -> Datapath {
        let mut datapath = self.open();
        datapath.use_clsact();
        datapath
    }

    fn refusal(&self, object: &[u8]) -> DatapathError {
        let opened = Datapath::open(&self.pins, LAYOUT, object, None);
        opened.err().expect("this cannot be opened")
    }

    fn layout(&self) -> Pins {
        Pins::new(&self.pins, LAYOUT)
    }

    /// What bpftool reads from a map.
    fn dump(&self, map: &str) -> serde_json::Value {
        let path = self.layout().map(map);
        let text = run("bpftool", &format!("-j map dump pinned {}", path.display()));
        serde_json::from_str(&text).unwrap()
    }
}

/// Runs a program of the system, which root has with all capabilities.
fn run(program: &str, arguments: &str) -> String {
    let command = Command::new(program).args(arguments.split(' ')).output();
    let output = command.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn object() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/xvip.o"))
        .expect("`cargo xtask build-ebpf` comes first")
}

fn foreign_tc_program() -> OwnedFd {
    const TC_ACT_OK: i32 = 0;
    load_constant_program(ProgramType::BPF_PROG_TYPE_SCHED_CLS, TC_ACT_OK).unwrap()
}

/// A foreign program before all others; gone when dropped.
fn foreign_tcx(ifindex: u32, place: AttachType) -> OwnedFd {
    create_link(foreign_tc_program().as_fd(), ifindex, place, FIRST).unwrap()
}

/// A foreign XDP program in the driver; gone when dropped.
fn foreign_xdp(ifindex: u32) -> OwnedFd {
    const XDP_PASS: i32 = 2;
    const XDP_FLAGS_DRV_MODE: u32 = 4;
    let program = load_constant_program(ProgramType::BPF_PROG_TYPE_XDP, XDP_PASS).unwrap();
    let place = AttachType::BPF_XDP;
    create_link(program.as_fd(), ifindex, place, XDP_FLAGS_DRV_MODE).unwrap()
}

/// Pins a program, so that tc and bpftool find it.
fn pin(program: &OwnedFd, path: &Path) {
    let info = format!("/proc/thread-self/fdinfo/{}", program.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    run(
        "bpftool",
        &format!("prog pin id {} {}", id.unwrap().trim(), path.display()),
    );
}

/// Program ids of the hooks of a mode, where nothing but ours may run.
fn ours(datapath: &Datapath, ifindex: u32, mode: Mode) -> Vec<u32> {
    let position = datapath.position(ifindex).unwrap();
    let ids = Hook::of(mode).map(|hook| match position.at(hook) {
        [seat] if seat.ours => seat.program,
        seats => panic!("{hook:?} has {seats:?}"),
    });
    ids.to_vec()
}

fn differ(before: &[u32], after: &[u32]) -> bool {
    before.iter().all(|id| !after.contains(id))
}

#[test]
#[ignore = "needs root"]
fn three_capabilities_are_enough_and_the_maps_are_pinned_by_name() {
    bed(|bed| {
        assert!(prerequisites().is_empty());
        drop(bed.open());
        for spec in MAPS {
            spec.check_pin(&bed.layout().map(spec.name)).unwrap();
        }
        assert!(bed.pins.join("SESSION").exists());
        for directory in ["", LAYOUT, "links"] {
            let directory = fs::metadata(bed.pins.join(directory)).unwrap();
            assert_eq!(directory.permissions().mode() & 0o777, 0o700);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn each_missing_capability_is_named() {
    for capability in [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ] {
        bed(move |bed| {
            caps::drop(None, CapSet::Effective, capability).unwrap();
            let error = bed.refusal(&object()).to_string();
            assert!(
                error.starts_with(&format!("{capability} is missing")),
                "{error}"
            );
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_pin_directory_off_bpffs_is_an_error_that_names_the_mount_command() {
    bed(|_| {
        let directory = std::env::temp_dir().join("xvip-no-bpffs");
        let error = Datapath::open(&directory, LAYOUT, &object(), None).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("mount -t bpf bpf"), "{error}");
        assert!(!directory.exists());
    });
}

#[test]
#[ignore = "needs root"]
fn a_program_that_the_verifier_refuses_is_named_with_the_end_of_its_log() {
    bed(|bed| {
        // `r0 = r9`, a register that nothing has set.
        const UNSET_REGISTER: [u8; 8] = [0xbf, 0x90, 0, 0, 0, 0, 0, 0];
        let mut broken = object();
        let at = function(&broken, "xvip_tc_in");
        broken[at..at + 8].copy_from_slice(&UNSET_REGISTER);
        let error = bed.refusal(&broken);
        let DatapathError::Rejected { program, log, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*program, "xvip_tc_in");
        assert!(
            log.contains("R9 !read_ok") && log.lines().count() <= 20,
            "{log}"
        );
    });
}

/// Offset of a function in a little-endian ELF64 file, by its symbol.
fn function(elf: &[u8], symbol: &str) -> usize {
    let number = |at: usize, bytes: usize| {
        let bytes = elf[at..at + bytes].iter().rev();
        bytes.fold(0_usize, |number, byte| (number << 8) | usize::from(*byte))
    };
    let section = |index: usize| number(0x28, 8) + index * number(0x3a, 2);
    const SHT_SYMTAB: usize = 2;
    let mut sections = (0..number(0x3c, 2)).map(section);
    let symbols = sections.find(|at| number(at + 4, 4) == SHT_SYMTAB).unwrap();
    let names = number(section(number(symbols + 0x28, 4)) + 0x18, 8);
    let mut entries =
        (0..number(symbols + 0x20, 8) / 24).map(|index| number(symbols + 0x18, 8) + index * 24);
    let entry = entries.find(|at| {
        let name = &elf[names + number(*at, 4)..];
        name.starts_with(symbol.as_bytes()) && name[symbol.len()] == 0
    });
    let entry = entry.unwrap();
    number(section(number(entry + 6, 2)) + 0x18, 8) + number(entry + 8, 8)
}

#[test]
#[ignore = "needs root"]
fn what_a_dead_agent_attached_goes_on_and_the_next_one_takes_it_over() {
    bed(|bed| {
        for (ladder, mode) in [(AUTO, Mode::Native), (&[Mode::Tc], Mode::Tc)] {
            let mut first = bed.open();
            let attached = first.attach(bed.eth, ladder).unwrap();
            assert_eq!((attached.mode, attached.tc), (mode, TcApi::Tcx));
            assert!(!attached.adopted && attached.passed_over.is_empty());
            let before = ours(&first, bed.eth, mode);
            // As kill -9 leaves it: all descriptors closed, nothing undone.
            drop(first);

            let mut second = bed.open();
            assert_eq!(ours(&second, bed.eth, mode), before, "still attached");
            assert!(second.attach(bed.eth, ladder).unwrap().adopted);
            let after = ours(&second, bed.eth, mode);
            assert!(differ(&before, &after), "new programs run");
            assert!(second.detach(bed.eth).unwrap());
            assert!(!second.detach(bed.eth).unwrap());
            assert_eq!(second.position(bed.eth).unwrap(), Position::default());
            assert_eq!(second.present().unwrap(), BTreeSet::new());
        }
    });
}

#[test]
#[ignore = "needs root"]
fn changing_the_mode_leaves_nothing_of_the_former() {
    bed(|bed| {
        let mut datapath = bed.open();
        for mode in [
            Mode::Native,
            Mode::Tc,
            Mode::Generic,
            Mode::Native,
            Mode::Generic,
        ] {
            assert_eq!(datapath.attach(bed.eth, &[mode]).unwrap().mode, mode);
            let wanted = Hook::of(mode).map(|hook| (bed.eth, hook));
            assert_eq!(datapath.present().unwrap(), BTreeSet::from(wanted));
            ours(&datapath, bed.eth, mode);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_foreign_xdp_program_stays_and_tc_is_used() {
    bed(|bed| {
        let foreign = foreign_xdp(bed.eth);
        let mut datapath = bed.open();
        let error = datapath.attach(bed.eth, &[Mode::Native]).unwrap_err();
        let reason = &error.tried[..];
        assert!(
            matches!(reason, [(Mode::Native, AttachError::ForeignXdp)]),
            "{error}"
        );
        assert!(error.to_string().contains("another XDP program"), "{error}");
        let left = datapath.present().unwrap();
        assert!(left.is_empty(), "a failure leaves nothing: {left:?}");

        let attached = datapath.attach(bed.eth, AUTO).unwrap();
        assert_eq!(attached.mode, Mode::Tc);
        let passed_over = &attached.passed_over[..];
        assert!(matches!(
            passed_over,
            [(Mode::Native, AttachError::ForeignXdp)]
        ));
        let position = datapath.position(bed.eth).unwrap();
        assert!(
            matches!(&position.xdp[..], [seat] if !seat.ours),
            "{position:?}"
        );
        drop(foreign);
        assert_eq!(datapath.attach(bed.eth, AUTO).unwrap().mode, Mode::Native);
    });
}

#[test]
#[ignore = "needs root"]
fn what_an_interface_cannot_do_is_told_by_name() {
    bed(|bed| {
        let mut datapath = bed.open();
        let error = datapath.attach(bed.bridge, &[Mode::Native]).unwrap_err();
        assert!(
            matches!(error.tried[..], [(_, AttachError::Unsupported)]),
            "{error}"
        );
        assert_eq!(datapath.attach(bed.bridge, AUTO).unwrap().mode, Mode::Tc);
        let error = datapath.attach(9999, AUTO).unwrap_err();
        assert!(
            matches!(error.tried[..], [(_, AttachError::Gone)]),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn the_first_place_in_tcx_is_taken_back_within_the_limit() {
    bed(|bed| {
        let mut datapath = bed.open();
        let mut limit = RestoreLimit::default();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        datapath.attach(bed.bridge, &[Mode::Tc]).unwrap();
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert!(standing.is_fine(), "{standing:?}");

        let mut intruders = Vec::new();
        for round in 0..RestoreLimit::RESTORES {
            intruders.push(foreign_tcx(bed.eth, AttachType::BPF_TCX_INGRESS));
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn], "round {round}");
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert_eq!(chain.len(), round + 2, "{chain:?}");
            assert!(chain[0].ours && chain[1..].iter().all(|seat| !seat.ours));
        }
        intruders.push(foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS));
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.behind, [Hook::TcOut]);
        let later = RestoreLimit::WINDOW;
        let standing = datapath.ensure_first(bed.eth, &mut limit, later).unwrap();
        assert_eq!(standing.restored, [Hook::TcOut]);
        // Another interface keeps its programs while copies of them are loaded.
        ours(&datapath, bed.bridge, Mode::Tc);
        // The copies are adopted like the first ones.
        drop(datapath);
        assert!(bed.open().attach(bed.eth, &[Mode::Tc]).unwrap().adopted);
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_that_somebody_took_off_is_reported_and_attached_again() {
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        let pin = datapath.pins().link(bed.eth, Hook::Xdp);
        run("bpftool", &format!("link detach pinned {}", pin.display()));
        let mut limit = RestoreLimit::default();
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.gone, [Hook::Xdp]);
        assert!(!datapath.attach(bed.eth, AUTO).unwrap().adopted);
        ours(&datapath, bed.eth, Mode::Native);
    });
}

#[test]
#[ignore = "needs root"]
fn pins_of_interfaces_that_are_gone_are_swept() {
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        datapath.attach(bed.bridge, AUTO).unwrap();
        run("ip", "link del eth0");
        assert_eq!(datapath.sweep().unwrap().len(), 2);
        let left = Hook::of(Mode::Tc).map(|hook| (bed.bridge, hook));
        assert_eq!(datapath.present().unwrap(), BTreeSet::from(left));
        assert!(!datapath.detach(bed.eth).unwrap());
    });
}

#[test]
#[ignore = "needs root"]
fn clsact_filters_are_adopted_and_replaced_atomically() {
    bed(|bed| {
        let mut first = bed.open_clsact();
        let attached = first.attach(bed.eth, &[Mode::Tc]).unwrap();
        assert_eq!((attached.tc, attached.adopted), (TcApi::Clsact, false));
        let before = ours(&first, bed.eth, Mode::Tc);
        drop(first);
        let listed = run("tc", "filter show dev eth0 ingress");
        assert!(
            listed.contains("pref 1 bpf") && listed.contains("xvip_tc_in"),
            "{listed}"
        );

        let mut second = bed.open_clsact();
        let there = Hook::of(Mode::Tc).map(|hook| (bed.eth, hook));
        assert_eq!(second.present().unwrap(), BTreeSet::from(there));
        assert!(second.attach(bed.eth, &[Mode::Tc]).unwrap().adopted);
        assert!(
            differ(&before, &ours(&second, bed.eth, Mode::Tc)),
            "new programs run"
        );

        run("tc", "qdisc del dev eth0 clsact");
        let mut limit = RestoreLimit::default();
        let standing = second.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.gone, [Hook::TcOut, Hook::TcIn]);
        second.attach(bed.eth, &[Mode::Tc]).unwrap();
        assert!(second.detach(bed.eth).unwrap());
        let left = run("tc", "qdisc show dev eth0");
        assert!(
            !left.contains("clsact"),
            "ours goes with its last filter: {left}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn a_clsact_filter_comes_before_others_of_its_priority_again() {
    bed(|bed| {
        let mut datapath = bed.open_clsact();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        pin(&foreign_tc_program(), Path::new("/sys/fs/bpf/foreign"));
        let mut limit = RestoreLimit::default();
        // Twice, since each round uses another of our two handles.
        for _ in 0..2 {
            run(
                "tc",
                "filter add dev eth0 ingress prio 1 handle 5 protocol all bpf da object-pinned /sys/fs/bpf/foreign",
            );
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert!(!chain[0].ours && chain[1].ours, "{chain:?}");
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn]);
            let chain = datapath.position(bed.eth).unwrap().tc_in;
            assert!(
                chain[0].ours && !chain[1].ours && chain.len() == 2,
                "{chain:?}"
            );
            run("tc", "filter del dev eth0 ingress prio 1 handle 5 bpf");
        }
        // No filter comes before tcx.
        let _intruder = foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS);
        let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
        assert_eq!(standing.behind, [Hook::TcOut]);
    });
}

#[test]
#[ignore = "needs root"]
fn a_foreign_qdisc_and_filter_are_left_and_named() {
    bed(|bed| {
        let mut datapath = bed.open_clsact();
        run("tc", "qdisc add dev eth0 ingress");
        let error = datapath.attach(bed.eth, &[Mode::Tc]).unwrap_err();
        assert!(error.to_string().contains("\"ingress\""), "{error}");
        run("tc", "qdisc del dev eth0 ingress");

        run("tc", "qdisc add dev eth0 clsact");
        run(
            "tc",
            "filter add dev eth0 egress prio 1 protocol all u32 match u32 0 0 classid 1:1",
        );
        let error = datapath.attach(bed.eth, &[Mode::Tc]).unwrap_err();
        assert!(error.to_string().contains("\"u32\""), "{error}");
        run("tc", "filter del dev eth0 egress prio 1");
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        datapath.detach(bed.eth).unwrap();
        let left = run("tc", "qdisc show dev eth0");
        assert!(left.contains("clsact"), "a qdisc of others stays: {left}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_new_layout_takes_the_links_over_and_the_old_one_is_retired_and_back_again() {
    bed(|bed| {
        let mut old = bed.open_layout("v1");
        old.attach(bed.eth, AUTO).unwrap();
        let mut before = ours(&old, bed.eth, Mode::Native);
        let session = SessionRecord {
            epoch: 7,
            ..SessionRecord::default()
        };
        Tables::open(old.pins())
            .unwrap()
            .set_session(session)
            .unwrap();
        drop(old);
        for (layout, former) in [("v2", "v1"), ("v1", "v2")] {
            let mut new = bed.open_layout(layout);
            let others = new.pins().other_layouts().unwrap();
            assert_eq!(others.len(), 1);
            // Both are renewed while the links move.
            Slots::open(&others[0])
                .unwrap()
                .renew(SLOT_SESSION, FOREVER, FOREVER);
            assert!(new.attach(bed.eth, AUTO).unwrap().adopted);
            let after = ours(&new, bed.eth, Mode::Native);
            assert!(differ(&before, &after));
            before = after;
            assert_eq!(new.retire_other_layouts().unwrap(), [former]);
            assert!(!bed.pins.join(former).exists());
            assert_eq!(
                Tables::open(new.pins()).unwrap().session().unwrap(),
                session
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn cleanup_removes_what_is_ours_and_leaves_what_is_not() {
    bed(|bed| {
        let _xdp = foreign_xdp(bed.peer);
        let mut datapath = bed.open();
        datapath.attach(bed.eth, AUTO).unwrap();
        let _tcx = foreign_tcx(bed.eth, AttachType::BPF_TCX_EGRESS);
        datapath.use_clsact();
        datapath.attach(bed.bridge, &[Mode::Tc]).unwrap();
        let theirs = bed.pins.join("theirs");
        pin(&foreign_tc_program(), &theirs);
        run(
            "tc",
            &format!(
                "filter add dev br0 egress prio 9 protocol all bpf da object-pinned {}",
                theirs.display()
            ),
        );
        drop(datapath);

        let removed = cleanup(&bed.pins).unwrap();
        assert_eq!(removed.len(), 2 + 2 + MAPS.len(), "{removed:?}");
        let left = fs::read_dir(&bed.pins).unwrap();
        let left: Vec<PathBuf> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [theirs.as_path()]);
        assert_eq!(run("tc", "filter show dev br0 ingress"), "");
        let egress = run("tc", "filter show dev br0 egress");
        assert!(
            egress.contains("pref 9") && !egress.contains("xvip"),
            "{egress}"
        );

        fs::remove_file(theirs).unwrap();
        assert_eq!(cleanup(&bed.pins).unwrap(), []);
        assert!(!bed.pins.exists());
        let datapath = bed.open();
        let seats = |ifindex| datapath.position(ifindex).unwrap();
        assert_eq!(seats(bed.peer).xdp.len(), 1, "the foreign XDP program runs");
        assert_eq!(
            seats(bed.eth).tc_out.len(),
            1,
            "the foreign tcx program runs"
        );
        assert_eq!(seats(bed.eth).xdp, []);
    });
}

#[test]
#[ignore = "needs root"]
fn a_pin_of_another_layout_is_refused_before_anything_is_loaded() {
    bed(|bed| {
        drop(bed.open());
        let pin = bed.layout().map("VIPS");
        fs::remove_file(&pin).unwrap();
        let narrow = "type hash key 24 value 32 entries 131072 name VIPS flags 1";
        run("bpftool", &format!("map create {} {narrow}", pin.display()));
        let error = bed.refusal(&object());
        let text = error.to_string();
        assert!(
            text.contains("VIPS has value size 32 where this version needs 40"),
            "{text}"
        );
        assert!(text.contains("vip-agent cleanup"), "{text}");
        assert!(Tables::open(&bed.layout()).is_err());
    });
}

#[test]
#[ignore = "needs root"]
fn tables_hold_what_is_written() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let address = |n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        let entries: Vec<(VipKey, VipEntry)> = (0..40_000_u32)
            .map(|n| {
                let entry = VipEntry {
                    counter: n,
                    ..VipEntry::default()
                };
                (VipKey::new(address(n / 2), (n % 2) * 2), entry)
            })
            .collect();
        let begun = std::time::Instant::now();
        tables.vips.upsert_all(&entries).unwrap();
        println!("{} entries written in {:?}", entries.len(), begun.elapsed());
        let mut all = tables.vips.all().unwrap();
        all.sort_by_key(|(_, entry)| entry.counter);
        assert_eq!(all, entries);
        let (key, entry) = entries[77];
        assert_eq!(tables.vips.get(&key).unwrap(), Some(entry));
        tables.vips.remove(&key).unwrap();
        tables.vips.remove(&key).unwrap();
        assert_eq!(tables.vips.get(&key).unwrap(), None);

        let link = LinkEntry {
            flags: LinkEntry::BIND,
            ..LinkEntry::default()
        };
        tables.links.upsert(2, link).unwrap();
        assert_eq!(tables.links.all().unwrap(), [(2, link)]);
        let mac = HostMac {
            mac: [2; 6],
            reserved: 0,
        };
        tables.host_macs.upsert(mac, 2).unwrap();
        assert_eq!(tables.host_macs.all().unwrap(), [(mac, 2)]);
        let trace = TraceSwitch { until_ns: 5 };
        tables.set_trace(trace).unwrap();
        assert_eq!(tables.trace().unwrap(), trace);
        assert!(
            tables
                .frames()
                .unwrap()
                .iter()
                .all(|(_, _, count)| *count == 0)
        );
        tables.clear_vip_counters(3).unwrap();
        assert_eq!(tables.vip_counters(3).unwrap().answers, 0);
        assert!(tables.vip_counters(u32::MAX).is_err());
    });
}

#[test]
#[ignore = "needs root"]
fn a_full_table_is_an_error_and_keeps_what_it_has() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let capacity = tables.links.capacity();
        let entries = (1..=capacity + 10).map(|n| (n, LinkEntry::default()));
        let entries: Vec<_> = entries.collect();
        let error = tables.links.upsert_all(&entries).unwrap_err();
        assert!(error.to_string().contains("LINKS"), "{error}");
        assert_eq!(tables.links.all().unwrap().len(), capacity as usize);
    });
}

#[test]
#[ignore = "needs root"]
fn slots_are_seen_by_the_kernel_and_outlive_the_agent() {
    bed(|bed| {
        let datapath = bed.open();
        let slots = Slots::open(datapath.pins()).unwrap();
        let now = boottime_ns();
        let slot = LeaseSlot {
            deadline_boot_ns: now + 4,
            confirmed_boot_ns: now + 2,
            epoch: 9,
        };
        slots.set(SLOT_SESSION, slot);
        assert_eq!(slots.get(SLOT_SESSION), slot);
        slots.renew(SLOT_SESSION, now + 40, now + 20);
        drop((slots, datapath));

        let dumped = bed.dump("LEASES");
        let value = &dumped[usize::from(SLOT_SESSION)]["formatted"]["value"];
        assert_eq!(value["deadline_boot_ns"], now + 40, "{value}");
        assert_eq!(value["confirmed_boot_ns"], now + 20);
        assert_eq!(value["epoch"], 9);
        let slots = Slots::open(&bed.layout()).unwrap();
        slots.fence(SLOT_SESSION);
        let fenced = slots.get(SLOT_SESSION);
        assert_eq!((fenced.deadline_boot_ns, fenced.epoch), (0, 9));
    });
}

#[test]
#[ignore = "needs root"]
fn bpftool_reads_every_pinned_map_by_field() {
    bed(|bed| {
        let datapath = bed.open();
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let key = VipKey::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 2);
        let entry = VipEntry {
            slot: SLOT_SESSION,
            epoch: 3,
            ..VipEntry::default()
        };
        tables.vips.upsert(key, entry).unwrap();
        for spec in MAPS {
            let path = bed.layout().map(spec.name);
            run("bpftool", &format!("-j map show pinned {}", path.display()));
            // Ring buffers have nothing to dump.
            if !["EVENTS", "TRACED"].contains(&spec.name) {
                bed.dump(spec.name);
            }
        }
        let vips = bed.dump("VIPS");
        let vip = &vips[0]["formatted"];
        assert_eq!(vip["key"]["ifindex"], 2, "{vips}");
        assert_eq!(vip["value"]["slot"], SLOT_SESSION);
        assert_eq!(vip["value"]["epoch"], 3);
    });
}

#[test]
#[ignore = "needs root"]
fn the_ring_buffers_open_and_wait() {
    bed(|bed| {
        let datapath = bed.open();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut events = Records::events(datapath.pins()).unwrap();
            let mut traced = Records::traced(datapath.pins()).unwrap();
            assert!(events.try_next().is_none());
            assert!(traced.try_next().is_none());
            let wait = tokio::time::timeout(Duration::from_millis(20), events.next());
            assert!(wait.await.is_err(), "nothing has happened");
        });
    });
}

#[test]
#[ignore = "needs root"]
fn a_conflict_arrives_as_an_event_and_the_vip_is_counted() {
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const COUNTER: u32 = 5;
    bed(|bed| {
        let mut datapath = bed.open();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        let live = LeaseSlot {
            deadline_boot_ns: FOREVER,
            confirmed_boot_ns: FOREVER,
            epoch: 3,
        };
        let slots = Slots::open(datapath.pins()).unwrap();
        slots.set(SLOT_SESSION, live);
        let mut tables = Tables::open(datapath.pins()).unwrap();
        let key = VipKey::new(VIP.into(), bed.eth);
        let entry = VipEntry {
            mac: [2, 0, 0, 0, 0, 1],
            slot: SLOT_SESSION,
            epoch: live.epoch,
            counter: COUNTER,
            ..VipEntry::default()
        };
        tables.vips.upsert(key, entry).unwrap();

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let event = runtime.unwrap().block_on(async {
            let mut events = Records::events(datapath.pins()).unwrap();
            run("ip", &format!("addr add {VIP}/24 dev peer"));
            let rival = ["-U", "-c", "1", "-i", "peer", "192.0.2.100"];
            let rival = Command::new("arping")
                .args(rival)
                .stdout(Stdio::null())
                .spawn();
            let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
            rival.unwrap().wait().unwrap();
            event
        });
        let event = event.expect("an event within the time").unwrap();
        assert_eq!(event.key, key);
        let conflicts = tables.vip_counters(COUNTER).unwrap().conflicts;
        assert!(conflicts > 0);
    });
}

#[test]
#[ignore = "needs root"]
fn the_lines_of_the_programs_are_read_and_a_second_copy_loads_beside_the_reader() {
    bed(|bed| {
        let level = Some(Level::Debug);
        let mut datapath = Datapath::open(&bed.pins, LAYOUT, &object(), level).unwrap();
        datapath.attach(bed.eth, &[Mode::Tc]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let Some(mut log) = datapath.kernel_log() else {
                let map = b"AYA_LOGS";
                let in_object = object().windows(map.len()).any(|bytes| bytes == map);
                assert!(!in_object, "the object writes lines");
                return;
            };
            let run = tokio::time::timeout(Duration::from_millis(20), log.run());
            assert!(run.await.is_err(), "it goes on until it is cancelled");
            let _intruder = foreign_tcx(bed.eth, AttachType::BPF_TCX_INGRESS);
            let mut limit = RestoreLimit::default();
            let standing = datapath.ensure_first(bed.eth, &mut limit, NOW).unwrap();
            assert_eq!(standing.restored, [Hook::TcIn]);
        });
    });
}

#[test]
#[ignore = "needs root"]
fn the_check_gets_its_answers_and_leaves_no_trace() {
    bed(|bed| {
        let datapath = bed.open();
        datapath.check().unwrap();
        let tables = Tables::open(datapath.pins()).unwrap();
        assert_eq!(tables.vips.all().unwrap(), [], "synthetic entries are gone");
        let frames = tables.frames().unwrap();
        assert!(frames.iter().all(|(_, _, count)| *count == 0), "{frames:?}");
    });
}

#[test]
#[ignore = "needs root"]
fn the_check_fails_when_the_programs_read_other_maps_than_the_agent_writes() {
    bed(|bed| {
        let datapath = bed.open();
        let pin = bed.layout().map("VIPS");
        fs::remove_file(&pin).unwrap();
        let same = "type hash key 24 value 40 entries 131072 name VIPS flags 1";
        run("bpftool", &format!("map create {} {same}", pin.display()));
        let error = datapath.check().unwrap_err();
        assert!(matches!(error, CheckError::Unanswered { .. }), "{error}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_second_agent_in_the_namespace_is_refused_until_the_first_ends() {
    bed(|_| {
        let first = AgentLock::take().unwrap();
        let error = AgentLock::take().unwrap_err();
        assert!(matches!(error, LockError::Held), "{error}");
        assert!(error.to_string().contains("stop it first"), "{error}");
        drop(first);
        AgentLock::take().unwrap();
    });
}
