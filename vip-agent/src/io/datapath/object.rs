//! Loading the programs, and the pins that keep their maps.

use std::{
    borrow::Cow,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapData, MapError, MapInfo, MapType},
    programs::{Program, ProgramError},
};
use aya_log::Level;
use caps::{CapSet, Capability};
use vip_common::{
    abi::{self, SessionRecord},
    counter,
};

use super::links::Hook;
use crate::vip::IfIndex;

/// The data plane cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The agent was built without `cargo xtask build-ebpf` before it.
    #[error("this binary holds no eBPF object: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel was built without CONFIG_DEBUG_INFO_BTF.
    #[error(
        "the kernel has no BTF (/sys/kernel/btf/vmlinux is missing): use a kernel with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 12 and newer are"
    )]
    NoBtf,
    /// A capability is missing from the effective set.
    #[error(
        "{0} is missing: add it to `securityContext.capabilities.add`, or to `AmbientCapabilities=` of the unit, or run as root"
    )]
    MissingCapability(Capability),
    /// Pins need a BPF file system.
    #[error("{} is on no BPF file system: run `mount -t bpf bpf /sys/fs/bpf`, or set `pinDir` to a directory on one", path.display())]
    NoBpffs {
        /// `pinDir`.
        path: PathBuf,
    },
    /// A file or directory of ours below `pinDir` cannot be used.
    #[error("{}: {error}", path.display())]
    Pin {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A pinned map, or a map of the object, is of another layout.
    #[error(
        "{at} has {field} {found} where this version needs {needed}: remove it with `vip-agent cleanup`"
    )]
    Layout {
        /// Path of the pin, or the name of the map in the object.
        at: String,
        /// What differs.
        field: &'static str,
        /// What it is.
        found: u32,
        /// What it has to be.
        needed: u32,
    },
    /// The object lacks a map or program.
    #[error(
        "the eBPF object has no {0}: build agent and object from one source with `cargo xtask build`"
    )]
    Incomplete(&'static str),
    /// The object cannot be read, or its maps cannot be made.
    #[error("the eBPF object cannot be loaded: {0}")]
    Object(#[source] Box<EbpfError>),
    /// The verifier of this kernel refuses a program.
    #[error("the kernel refuses {program}: {error}; the verifier says:\n{log}")]
    Rejected {
        /// Name of the program.
        program: &'static str,
        /// What the call returned.
        error: io::Error,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// A program cannot be used.
    #[error("{program}: {error}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// Why.
        error: Box<ProgramError>,
    },
    /// A map cannot be used.
    #[error("map {map}: {error}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Why.
        error: MapError,
    },
    /// Another call failed.
    #[error("{what}: {error}")]
    Kernel {
        /// What was being done.
        what: &'static str,
        /// What the call returned.
        error: io::Error,
    },
}

impl DatapathError {
    /// What to do about it. The texts of those that can be mended here end with it.
    pub fn fix(&self) -> String {
        match self {
            Self::NoObject => "build it with `cargo xtask build`".into(),
            Self::NoBtf => "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 12 and \
                            newer are"
                .into(),
            Self::MissingCapability(_) => "add it to `securityContext.capabilities.add`, or to \
                                           `AmbientCapabilities=` of the unit, or run as root"
                .into(),
            Self::NoBpffs { .. } => {
                "run `mount -t bpf bpf /sys/fs/bpf`, or set `pinDir` to a directory on one".into()
            }
            Self::Layout { .. } => "remove it with `vip-agent cleanup`".into(),
            Self::Incomplete(_) => {
                "build agent and object from one source with `cargo xtask build`".into()
            }
            Self::Pin { path, .. } => format!(
                "let the agent's user write to {}, or remove it with `vip-agent cleanup`",
                path.display()
            ),
            Self::Object(_)
            | Self::Rejected { .. }
            | Self::Program { .. }
            | Self::Map { .. }
            | Self::Kernel { .. } => {
                "use Linux 6.1 or newer; if `uname -r` says that, report this text".into()
            }
        }
    }

    /// What is wrong, without the fix.
    pub fn fault(&self) -> String {
        let text = self.to_string();
        let fix = format!(": {}", self.fix());
        text.strip_suffix(&fix).map(str::to_owned).unwrap_or(text)
    }
}

/// What a map has to be: the contract of `docs/maps.md`.
#[derive(Debug)]
pub struct MapSpec {
    /// Its name, in the object and as a pin.
    pub name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    capacity: u32,
}

macro_rules! maps {
    ($($name:ident: $kind:ident<$key:ty, $value:ty>[$capacity:expr];)+) => {
        $(#[doc = concat!("`", stringify!($name), "`.")]
        pub(super) static $name: MapSpec = MapSpec {
            name: stringify!($name),
            kind: MapType::$kind,
            key: size_of::<$key>(),
            value: size_of::<$value>(),
            capacity: $capacity,
        };)+
        /// All maps that are pinned.
        pub static MAPS: &[&MapSpec] = &[$(&$name),+];
    };
}

maps! {
    VIPS: Hash<abi::VipKey, abi::VipEntry>[abi::VIPS_CAPACITY];
    VIP_STATE: Hash<abi::VipKey, abi::VipState>[abi::VIPS_CAPACITY];
    LEASES: Array<u32, abi::LeaseSlot>[abi::LEASE_SLOTS];
    LINKS: Hash<u32, abi::LinkEntry>[abi::LINKS_CAPACITY];
    LINK_STATE: Hash<u32, abi::LinkState>[abi::LINKS_CAPACITY];
    HOST_MACS: Hash<abi::HostMac, u32>[abi::LINKS_CAPACITY];
    SESSION: Array<u32, SessionRecord>[1];
    COUNTERS: PerCpuArray<u32, u64>[counter::COUNTERS];
    VIP_COUNTERS: PerCpuArray<u32, abi::VipCounters>[abi::VIP_COUNTERS_CAPACITY];
    EVENTS: RingBuf<(), ()>[abi::EVENTS_BYTES];
    TRACE: Array<u32, abi::TraceSwitch>[1];
    TRACED: RingBuf<(), ()>[abi::TRACED_BYTES];
}

impl MapSpec {
    /// Number of entries that fit, or bytes of a ring buffer.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Whether the map behind `info`, found at `at`, is this one.
    fn check(&self, info: &MapInfo, at: impl FnOnce() -> String) -> Result<(), DatapathError> {
        let kind = info.map_type().unwrap_or(MapType::Unspecified);
        let differs = [
            ("map type", kind as u32, self.kind as u32),
            ("key size", info.key_size(), self.key as u32),
            ("value size", info.value_size(), self.value as u32),
            ("capacity", info.max_entries(), self.capacity),
        ]
        .into_iter()
        .find(|(_, found, needed)| found != needed);
        match differs {
            None => Ok(()),
            Some((field, found, needed)) => Err(DatapathError::Layout {
                at: at(),
                field,
                found,
                needed,
            }),
        }
    }

    /// Whether what is pinned at `path` is this map.
    pub fn check_pin(&self, path: &Path) -> Result<(), DatapathError> {
        let pinned = |error| DatapathError::Pin {
            path: path.to_owned(),
            error,
        };
        fs::symlink_metadata(path).map_err(pinned)?;
        let info = MapData::from_pin(path).and_then(|map| map.info());
        let info = info.map_err(|error| pinned(io::Error::other(error)))?;
        self.check(&info, || path.display().to_string())
    }
}

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// XDP.
    Ingress,
    /// tc, on what comes in.
    TcIn,
    /// tc, on what leaves.
    TcOut,
    /// Moves deadlines; attached nowhere.
    Extend,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::TcIn, Self::TcOut, Self::Extend];

    /// The name in the object, and in the list of bpftool.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "xvip_ingress",
            Self::TcIn => "xvip_tc_in",
            Self::TcOut => "xvip_tc_out",
            Self::Extend => "xvip_extend",
        }
    }
}

/// Where things are pinned.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    layout: String,
}

impl Pins {
    /// `pinDir` and the layout of the maps ([`abi::LAYOUT`]).
    pub fn new(root: impl Into<PathBuf>, layout: impl Into<String>) -> Self {
        let (root, layout) = (root.into(), layout.into());
        Self { root, layout }
    }

    /// `pinDir`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the maps.
    pub fn maps(&self) -> PathBuf {
        self.root.join(&self.layout)
    }

    /// The pin of a map. `SESSION` outlives layouts.
    pub fn map(&self, name: &str) -> PathBuf {
        if name == SESSION.name {
            self.root.join(name)
        } else {
            self.maps().join(name)
        }
    }

    /// The directory of the links.
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// The pin of a link.
    pub fn link(&self, ifindex: IfIndex, hook: Hook) -> PathBuf {
        self.links().join(format!("{ifindex}-{}", hook.suffix()))
    }

    /// The layouts other than this one that have maps.
    pub fn other_layouts(&self) -> io::Result<Vec<Self>> {
        let mut others = Vec::new();
        for name in names(&self.root)? {
            let is_layout = name.strip_prefix('v').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            });
            if is_layout && name != self.layout {
                others.push(Self::new(&self.root, name));
            }
        }
        Ok(others)
    }

    fn make(&self) -> Result<(), DatapathError> {
        self.on_bpffs()?;
        for path in [self.root.clone(), self.maps(), self.links()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| DatapathError::Pin { path, error })?;
        }
        Ok(())
    }
}

impl Pins {
    fn on_bpffs(&self) -> Result<(), DatapathError> {
        let nearest = self.root.ancestors().find(|path| path.exists());
        if nearest.is_some_and(is_bpffs) {
            return Ok(());
        }
        Err(DatapathError::NoBpffs {
            path: self.root.clone(),
        })
    }

    /// What is wrong with the pins, as far as it shows without loading. A map that is not
    /// pinned yet is no fault.
    pub fn faults(&self) -> Vec<DatapathError> {
        let pinned = MAPS.iter().map(|spec| (spec, self.map(spec.name)));
        let pinned = pinned.filter(|(_, path)| path.symlink_metadata().is_ok());
        let wrong = pinned.filter_map(|(spec, path)| spec.check_pin(&path).err());
        self.on_bpffs().err().into_iter().chain(wrong).collect()
    }
}

/// Names in a directory; none where it does not exist.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
}

/// The object that was built into this binary; empty when none was.
pub fn embedded() -> &'static [u8] {
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xvip.o"))
}

/// What the host lacks to run the data plane, as far as it shows without trying: every lack.
pub fn prerequisites() -> Vec<DatapathError> {
    let mut lacks = Vec::new();
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        lacks.push(DatapathError::NoBtf);
    }
    for capability in [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ] {
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false) {
            lacks.push(DatapathError::MissingCapability(capability));
        }
    }
    lacks
}

/// Creates or takes over the pinned maps and loads all programs. `log` is the level of the
/// programs' own lines; `None` turns them off.
pub(super) fn load(pins: &Pins, object: &[u8], log: Option<Level>) -> Result<Ebpf, DatapathError> {
    if object.is_empty() {
        return Err(DatapathError::NoObject);
    }
    if let Some(lack) = prerequisites().into_iter().next() {
        return Err(lack);
    }
    pins.make()?;
    let level = log.map_or(0, |level| level as u8);
    let mut loader = EbpfLoader::new();
    loader.override_global(aya_log::LEVEL, &level, false);
    for spec in MAPS {
        loader.map_pin_path(spec.name, pins.map(spec.name));
    }
    // The ELF reader wants aligned data, which a slice need not be.
    let aligned = if object.as_ptr().align_offset(align_of::<u64>()) == 0 {
        Cow::Borrowed(object)
    } else {
        Cow::Owned(object.to_vec())
    };
    let mut ebpf = loader
        .load(&aligned)
        .map_err(|error| DatapathError::Object(Box::new(error)))?;

    // The maps are there, the programs not yet. aya takes a pin for what the object says, and
    // the kernel minds a program that reads past smaller values as little.
    for spec in MAPS {
        let missing = DatapathError::Incomplete(spec.name);
        ebpf.map(spec.name).ok_or(missing)?;
        spec.check_pin(&pins.map(spec.name))?;
    }
    for program in Kernel::ALL {
        load_program(&mut ebpf, program)?;
    }
    Ok(ebpf)
}

fn load_program(ebpf: &mut Ebpf, which: Kernel) -> Result<(), DatapathError> {
    let missing = DatapathError::Incomplete(which.name());
    let program = ebpf.program_mut(which.name()).ok_or(missing)?;
    let loaded = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => return Err(DatapathError::Incomplete(which.name())),
    };
    loaded.map_err(|error| match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => DatapathError::Rejected {
            program: which.name(),
            error: io_error,
            log: last_lines(&verifier_log.to_string(), 20),
        },
        error => DatapathError::Program {
            program: which.name(),
            error: Box::new(error),
        },
    })
}

/// Loads a program once more: the kernel has then a second one of it, under another id, and
/// [`Kernel`] means that. The first one lives on in its links.
pub(super) fn reload(ebpf: &mut Ebpf, which: Kernel) -> Result<(), DatapathError> {
    let missing = DatapathError::Incomplete(which.name());
    match ebpf.program_mut(which.name()).ok_or(missing)? {
        Program::Xdp(program) => program.unload(),
        Program::SchedClassifier(program) => program.unload(),
        _ => Ok(()),
    }
    // Not loaded: the last reload failed. This one may not.
    .or_else(|error| match error {
        ProgramError::NotLoaded => Ok(()),
        error => Err(DatapathError::Program {
            program: which.name(),
            error: Box::new(error),
        }),
    })?;
    load_program(ebpf, which)
}

/// The verifier tells at the end what it refuses.
fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_kept() {
        assert_eq!(last_lines("a\nb\n\nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn what_can_be_mended_here_is_told_with_the_fix_at_the_end() {
        let path = PathBuf::from("/sys/fs/bpf/xvip/v1/VIPS");
        let layout = DatapathError::Layout {
            at: path.display().to_string(),
            field: "value size",
            found: 32,
            needed: 40,
        };
        for (error, fault) in [
            (DatapathError::NoObject, "this binary holds no eBPF object"),
            (
                DatapathError::NoBtf,
                "the kernel has no BTF (/sys/kernel/btf/vmlinux is missing)",
            ),
            (
                DatapathError::MissingCapability(Capability::CAP_BPF),
                "CAP_BPF is missing",
            ),
            (
                DatapathError::NoBpffs { path },
                "/sys/fs/bpf/xvip/v1/VIPS is on no BPF file system",
            ),
            (
                layout,
                "/sys/fs/bpf/xvip/v1/VIPS has value size 32 where this version needs 40",
            ),
            (
                DatapathError::Incomplete("VIPS"),
                "the eBPF object has no VIPS",
            ),
        ] {
            assert_eq!(error.fault(), fault);
            assert_eq!(error.to_string(), format!("{fault}: {}", error.fix()));
        }
    }

    #[test]
    fn an_agent_without_object_says_how_to_build_it() {
        let pins = Pins::new("/nowhere", "v1");
        let error = load(&pins, &[], None).unwrap_err();
        assert!(error.to_string().contains("cargo xtask build"), "{error}");
    }

    #[test]
    fn the_session_is_pinned_beside_the_layouts() {
        let pins = Pins::new("/p", "v1");
        assert_eq!(pins.map("SESSION"), Path::new("/p/SESSION"));
        assert_eq!(pins.map("VIPS"), Path::new("/p/v1/VIPS"));
        assert_eq!(pins.link(7, Hook::TcIn), Path::new("/p/links/7-tc_in"));
    }
}
