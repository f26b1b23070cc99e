//! The kernel programs under `BPF_PROG_TEST_RUN`, loaded with exactly the capabilities of the
//! product: frames go in and out of them without any interface.

use std::{io, net::IpAddr, path::PathBuf, thread, time::Duration};

use aya::{
    Ebpf, EbpfError, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use caps::{CapSet, Capability, errors::CapsError};
use vip_common::{
    abi::{Event, FOREVER, LEASE_SLOTS, LeaseSlot, LinkState, Traced, VipKey, VipState},
    counter::{COUNTERS, index},
    packet::Action,
};

use crate::{
    golden::{
        Direction, grown,
        outcome::{Note, Outcome},
        world::{COUNTER, IFINDEX, OTHER_COUNTER, REACH_NS},
    },
    model::Contents,
};

/// What went wrong with the bed.
#[derive(Debug, thiserror::Error)]
pub enum BedError {
    /// No object.
    #[error("{0}: {1} (build it with `cargo xtask build-ebpf`)")]
    Object(PathBuf, io::Error),
    /// The thread did not get rid of its other capabilities.
    #[error("capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// The object did not load.
    #[error("{0:?}")]
    Load(#[from] EbpfError),
    /// A program did not load.
    #[error("{0:?}")]
    Program(#[from] ProgramError),
    /// A map failed.
    #[error("{0:?}")]
    Map(#[from] MapError),
    /// The object lacks a map or a program, or it has another type.
    #[error("the object has no {0}")]
    Missing(&'static str),
    /// A return code that the programs do not give.
    #[error("return code {0}")]
    ReturnCode(u32),
}

/// Which program judges a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `xvip_ingress`.
    Xdp,
    /// `xvip_tc_in`.
    TcIn,
    /// `xvip_tc_out`.
    TcOut,
}

impl Shell {
    /// Those that judge frames of a direction.
    pub fn of(direction: Direction) -> &'static [Self] {
        match direction {
            Direction::In => &[Self::Xdp, Self::TcIn],
            Direction::Out => &[Self::TcOut],
        }
    }

    /// Whether TEST_RUN makes an skb of the frame: not of an Ethernet header alone, nor of an IP
    /// header that is not whole.
    pub fn takes(self, frame: &[u8]) -> bool {
        let least = match frame.get(12..14) {
            _ if self == Self::Xdp => 14,
            Some([0x86, 0xdd]) => 54,
            Some([0x08, 0x00]) => 34,
            _ => 15,
        };
        frame.len() >= least
    }

    fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xvip_ingress",
            Self::TcIn => "xvip_tc_in",
            Self::TcOut => "xvip_tc_out",
        }
    }

    /// By `linux/bpf.h` and `linux/pkt_cls.h`.
    fn action(self, code: u32) -> Result<Action, BedError> {
        const UNSPEC: u32 = u32::MAX;
        match (self, code) {
            (Self::Xdp, 2) | (Self::TcIn | Self::TcOut, UNSPEC) => Ok(Action::Pass),
            (Self::Xdp, 1) | (Self::TcIn | Self::TcOut, 2) => Ok(Action::Drop),
            (Self::Xdp, 3) | (Self::TcIn, 7) => Ok(Action::Transmit),
            _ => Err(BedError::ReturnCode(code)),
        }
    }
}

/// The bytes of a value of a map.
fn raw<T: Copy, const N: usize>(value: &T) -> [u8; N] {
    const { assert!(size_of::<T>() == N) };
    // SAFETY: `T` is one of the map types, which have no padding: N initialised bytes.
    unsafe { std::ptr::from_ref(value).cast::<[u8; N]>().read() }
}

/// The value behind the bytes of a map.
fn cooked<T: Copy>(bytes: &[u8]) -> T {
    assert_eq!(size_of::<T>(), bytes.len());
    // SAFETY: `T` is one of the map types, plain integers for which every pattern is valid; the
    // length was compared, and the read needs no alignment.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn boot_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Reads the object: `$XVIP_OBJECT`, else where `cargo xtask build-ebpf` leaves it.
pub fn object() -> Result<Vec<u8>, BedError> {
    let path = std::env::var_os("XVIP_OBJECT").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/xvip.o")),
        PathBuf::from,
    );
    std::fs::read(&path).map_err(|error| BedError::Object(path, error))
}

/// Leaves this thread BPF, NET_ADMIN and NET_RAW, and nothing else.
pub fn keep_three_capabilities() -> Result<(), CapsError> {
    let three = [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ]
    .into();
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &three)?;
    }
    assert_eq!(caps::read(None, CapSet::Permitted)?, three);
    Ok(())
}

type Table<const K: usize, const V: usize> = HashMap<MapData, [u8; K], [u8; V]>;

/// The loaded programs and their maps.
pub struct Bed {
    ebpf: Ebpf,
    vips: Table<24, 40>,
    states: Table<24, 24>,
    leases: Array<MapData, [u8; 24]>,
    links: HashMap<MapData, u32, [u8; 40]>,
    buckets: HashMap<MapData, u32, [u8; 8]>,
    host_macs: HashMap<MapData, [u8; 8], u32>,
    counters: PerCpuArray<MapData, u64>,
    vip_counters: PerCpuArray<MapData, [u64; 2]>,
    events: RingBuf<MapData>,
    traced: RingBuf<MapData>,
    contents: Contents,
    counted: [u64; COUNTERS as usize],
    counted_vips: [u64; 2],
    /// What the last decision told `trace`.
    pub last_traced: Vec<Traced>,
}

impl Bed {
    /// Loads the object with three capabilities, which the calling thread is left with.
    pub fn load(object: &[u8]) -> Result<Self, BedError> {
        keep_three_capabilities()?;
        let mut ebpf = EbpfLoader::new().load(object)?;
        for shell in [Shell::Xdp, Shell::TcIn, Shell::TcOut] {
            match ebpf.program_mut(shell.name()) {
                Some(Program::Xdp(program)) => program.load()?,
                Some(Program::SchedClassifier(program)) => program.load()?,
                _ => return Err(BedError::Missing(shell.name())),
            }
        }
        Self::of(ebpf)
    }

    /// Of programs that are loaded.
    pub fn of(mut ebpf: Ebpf) -> Result<Self, BedError> {
        if let Some(rest) = REACH_NS.checked_sub(boot_time()) {
            // The states lie in the past: not before the boot.
            thread::sleep(Duration::from_nanos(rest));
        }
        let mut take = |name| ebpf.take_map(name).ok_or(BedError::Missing(name));
        let mut bed = Self {
            vips: take("VIPS")?.try_into()?,
            states: take("VIP_STATE")?.try_into()?,
            leases: take("LEASES")?.try_into()?,
            links: take("LINKS")?.try_into()?,
            buckets: take("LINK_STATE")?.try_into()?,
            host_macs: take("HOST_MACS")?.try_into()?,
            counters: take("COUNTERS")?.try_into()?,
            vip_counters: take("VIP_COUNTERS")?.try_into()?,
            events: take("EVENTS")?.try_into()?,
            traced: take("TRACED")?.try_into()?,
            contents: Contents::default(),
            counted: [0; COUNTERS as usize],
            counted_vips: [0; 2],
            last_traced: vec![],
            ebpf,
        };
        bed.trace_until(FOREVER)?;
        Ok(bed)
    }

    /// While nobody traces, XDP takes the shortcut of `vip_common::shortcut`.
    pub fn trace_until(&mut self, until_ns: u64) -> Result<(), BedError> {
        let map = self
            .ebpf
            .map_mut("TRACE")
            .ok_or(BedError::Missing("TRACE"))?;
        let mut until: Array<_, u64> = map.try_into()?;
        until.set(0, until_ns, 0)?;
        Ok(())
    }

    /// Makes these the contents of the maps.
    pub fn fill(&mut self, contents: &Contents) -> Result<(), BedError> {
        let stray: Vec<_> = self.states.keys().collect::<Result<_, _>>()?;
        for key in stray {
            assert!(
                self.contents.vips.contains_key(&cooked(&key)),
                "a state without its VIP"
            );
            self.states.remove(&key)?;
        }
        let old = std::mem::replace(&mut self.contents, contents.clone());
        for key in old.vips.keys() {
            self.vips.remove(&raw(key))?;
        }
        for (key, entry) in &contents.vips {
            self.vips
                .insert(raw::<_, 24>(key), raw::<_, 40>(entry), 0)?;
        }
        for ifindex in old.links.keys() {
            self.links.remove(ifindex)?;
        }
        for (ifindex, link) in &contents.links {
            self.links.insert(ifindex, raw::<_, 40>(link), 0)?;
        }
        for mac in &contents.host_macs {
            let [a, b, c, d, e, f] = *mac;
            self.host_macs
                .insert([a, b, c, d, e, f, 0, 0], IFINDEX, 0)?;
        }
        for slot in 0..LEASE_SLOTS {
            self.store_lease(slot, &contents.leases[slot as usize])?;
        }
        self.reset()
    }

    /// Stores a slot of `LEASES`, as the agent does.
    pub fn store_lease(&mut self, slot: u32, lease: &LeaseSlot) -> Result<(), BedError> {
        Ok(self.leases.set(slot, raw::<_, 24>(lease), 0)?)
    }

    /// What the programs wrote to `VIP_STATE` and `LINK_STATE` is as at first again.
    pub fn reset(&mut self) -> Result<(), BedError> {
        for (key, state) in self.states()? {
            if self.contents.states.get(&key) != Some(&state) {
                self.states.remove(&raw(&key))?;
            }
        }
        for (key, state) in &self.contents.states {
            self.states
                .insert(raw::<_, 24>(key), raw::<_, 24>(state), 0)?;
        }
        match (self.contents.buckets.get(&IFINDEX), self.bucket()?) {
            (Some(bucket), _) => self.buckets.insert(IFINDEX, raw::<_, 8>(bucket), 0)?,
            (None, Some(_)) => self.buckets.remove(&IFINDEX)?,
            (None, None) => {}
        }
        Ok(())
    }

    /// The entries of our VIPs: to look for others walks through all the buckets of the map.
    fn states(&self) -> Result<Vec<(VipKey, VipState)>, MapError> {
        let mut states = Vec::new();
        for key in self.contents.vips.keys() {
            match self.states.get(&raw(key), 0) {
                Ok(state) => states.push((*key, cooked(&state))),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(states)
    }

    fn bucket(&self) -> Result<Option<LinkState>, MapError> {
        match self.buckets.get(&IFINDEX, 0) {
            Ok(bucket) => Ok(Some(cooked(&bucket))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn run(&mut self, shell: Shell, bytes: &[u8]) -> Result<(Action, Vec<u8>), BedError> {
        let mut out = vec![0; bytes.len().max(128) + 256];
        let options = TestRunOptions {
            data_in: Some(bytes),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let program = self.ebpf.program_mut(shell.name());
        let program = program.ok_or(BedError::Missing(shell.name()))?;
        let result = match shell {
            Shell::Xdp => <&mut Xdp>::try_from(program)?.test_run(options)?,
            Shell::TcIn | Shell::TcOut => {
                <&mut SchedClassifier>::try_from(program)?.test_run(options)?
            }
        };
        out.truncate(result.data_size_out as usize);
        Ok((shell.action(result.return_value)?, out))
    }

    /// Judges a frame, over maps that remember the ones before, and tells what came of this one
    /// (`noted` and `token` count from the last [`Bed::reset`]).
    pub fn judge_next(&mut self, shell: Shell, bytes: &[u8]) -> Result<Outcome, BedError> {
        let (action, after) = self.run(shell, bytes)?;
        let before = self.counted;
        for at in 0..COUNTERS {
            self.counted[at as usize] = self.counters.get(&at, 0)?.iter().sum();
        }
        let counted = self.counted;
        let vips_before = self.counted_vips;
        self.counted_vips = [0; 2];
        for at in [0, COUNTER, OTHER_COUNTER] {
            for counters in self.vip_counters.get(&at, 0)?.iter() {
                self.counted_vips[0] += counters[0];
                self.counted_vips[1] += counters[1];
            }
        }
        self.last_traced.clear();
        while let Some(record) = self.traced.next() {
            self.last_traced.push(cooked(&record));
        }
        let mut events: Vec<(u8, u8, IpAddr, [u8; 6])> = vec![];
        while let Some(record) = self.events.next() {
            let event: Event = cooked(&record);
            events.push((event.kind, event.flags, event.key.ip(), event.rival));
        }
        let confirmed = self.contents.leases[1].confirmed_boot_ns;
        let noted = self.states()?.into_iter().filter_map(|(key, after)| {
            let before = self.contents.states.get(&key).copied().unwrap_or_default();
            (before != after).then(|| (key.ip(), Note::between(before, after, confirmed)))
        });
        Ok(Outcome {
            action,
            frame: (action != Action::Drop && after != bytes).then_some(after),
            counted: grown(|verdict, family| {
                let at = index(verdict, family) as usize;
                counted[at] - before[at]
            }),
            answers: self.counted_vips[0] - vips_before[0],
            conflicts: self.counted_vips[1] - vips_before[1],
            traced: crate::golden::questions(&self.last_traced).0,
            events,
            noted: noted.collect(),
            token: self.bucket()? != self.contents.buckets.get(&IFINDEX).copied(),
        })
    }

    /// Judges a frame over maps that are as at first.
    pub fn judge(&mut self, shell: Shell, bytes: &[u8]) -> Result<Outcome, BedError> {
        let outcome = self.judge_next(shell, bytes)?;
        if !outcome.noted.is_empty() || outcome.token {
            self.reset()?;
        }
        Ok(outcome)
    }
}
