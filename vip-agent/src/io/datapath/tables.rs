//! The maps as typed tables.

use std::{io, os::fd::AsFd};

use aya::{
    Pod,
    maps::{Array, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use vip_common::{
    abi::{
        HostMac, LinkEntry, LinkState, SessionRecord, TraceSwitch, VipCounters, VipEntry, VipKey,
        VipState,
    },
    counter::{self, Family, Verdict},
};

use super::{
    bpf::{self, LookupBatch},
    object::{
        COUNTERS, DatapathError, HOST_MACS, LINK_STATE, LINKS, MapSpec, Pins, SESSION, TRACE,
        VIP_COUNTERS, VIP_STATE, VIPS,
    },
};

/// All tables of one layout. Any process with CAP_BPF may open them, beside the agent too.
pub struct Tables {
    /// The VIPs, as the agent programs them.
    pub vips: Table<VipKey, VipEntry>,
    /// What the programs note about VIPs. The agent removes entries of VIPs that are gone.
    pub vip_state: Table<VipKey, VipState>,
    /// What the programs ask about interfaces.
    pub links: Table<u32, LinkEntry>,
    /// What the programs note about interfaces.
    pub link_state: Table<u32, LinkState>,
    /// MAC addresses of this host, with the interface index.
    pub host_macs: Table<HostMac, u32>,
    session: Array<MapData, SessionRecord>,
    counters: PerCpuArray<MapData, u64>,
    vip_counters: PerCpuArray<MapData, VipCounters>,
    trace: Array<MapData, TraceSwitch>,
}

impl Tables {
    /// Opens the pinned maps, whose sizes are checked.
    pub fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            vips: Table::open(pins, &VIPS)?,
            vip_state: Table::open(pins, &VIP_STATE)?,
            links: Table::open(pins, &LINKS)?,
            link_state: Table::open(pins, &LINK_STATE)?,
            host_macs: Table::open(pins, &HOST_MACS)?,
            session: open(pins, &SESSION)?,
            counters: open(pins, &COUNTERS)?,
            vip_counters: open(pins, &VIP_COUNTERS)?,
            trace: open(pins, &TRACE)?,
        })
    }

    /// The session that a restarted agent continues; all zero: none.
    pub fn session(&self) -> Result<SessionRecord, DatapathError> {
        self.session.get(&0, 0).map_err(SESSION.failed())
    }

    /// Notes the session.
    pub fn set_session(&mut self, session: SessionRecord) -> Result<(), DatapathError> {
        let set = self.session.set(0, session, 0);
        set.map_err(SESSION.failed())
    }

    /// Frames since the maps were made, by verdict and family.
    pub fn frames(&self) -> Result<Vec<(Verdict, Family, u64)>, DatapathError> {
        let mut frames = Vec::with_capacity(counter::COUNTERS as usize);
        for verdict in Verdict::ALL {
            for family in Family::ALL {
                let index = counter::index(verdict, family);
                let cpus = self.counters.get(&index, 0).map_err(COUNTERS.failed())?;
                frames.push((verdict, family, cpus.iter().sum()));
            }
        }
        Ok(frames)
    }

    /// Events that were lost since the maps were made, because nobody read them in time.
    pub fn events_dropped(&self) -> Result<u64, DatapathError> {
        let cpus = self.counters.get(&counter::EVENTS_DROPPED, 0);
        Ok(cpus.map_err(COUNTERS.failed())?.iter().sum())
    }

    /// Counters of the VIPs that have this index.
    pub fn vip_counters(&self, index: u32) -> Result<VipCounters, DatapathError> {
        let cpus = self.vip_counters.get(&index, 0);
        let cpus = cpus.map_err(VIP_COUNTERS.failed())?;
        Ok(cpus
            .iter()
            .fold(VipCounters::default(), |sum, cpu| VipCounters {
                answers: sum.answers + cpu.answers,
                conflicts: sum.conflicts + cpu.conflicts,
            }))
    }

    /// Zeroes an index before it is given to another VIP.
    pub fn clear_vip_counters(&mut self, index: u32) -> Result<(), DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| DatapathError::Kernel {
            what: "counting the CPUs",
            error,
        })?;
        PerCpuValues::try_from(vec![VipCounters::default(); cpus])
            .map_err(MapError::from)
            .and_then(|zero| self.vip_counters.set(index, zero, 0))
            .map_err(VIP_COUNTERS.failed())
    }

    /// Turns the recording of decisions on, until the time in it.
    pub fn set_trace(&mut self, switch: TraceSwitch) -> Result<(), DatapathError> {
        self.trace.set(0, switch, 0).map_err(TRACE.failed())
    }

    /// Who is traced.
    pub fn trace(&self) -> Result<TraceSwitch, DatapathError> {
        self.trace.get(&0, 0).map_err(TRACE.failed())
    }
}

impl MapSpec {
    fn failed(&self) -> impl Fn(MapError) -> DatapathError + use<> {
        let map = self.name;
        move |error| DatapathError::Map { map, error }
    }
}

fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    spec: &'static MapSpec,
) -> Result<T, DatapathError> {
    let path = pins.map(spec.name);
    spec.check_pin(&path)?;
    MapData::from_pin(&path)
        .and_then(Map::from_map_data)
        .and_then(T::try_from)
        .map_err(spec.failed())
}

/// A hash map.
pub struct Table<K: Pod, V: Pod> {
    map: HashMap<MapData, K, V>,
    spec: &'static MapSpec,
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Entries per call: the kernel copies and writes them under no lock of ours, and 24 + 40
    /// bytes of each stay within an allocation that does not fail.
    const BATCH: usize = 1024;

    fn open(pins: &Pins, spec: &'static MapSpec) -> Result<Self, DatapathError> {
        let map = open(pins, spec)?;
        Ok(Self { map, spec })
    }

    /// Number of entries that fit.
    pub fn capacity(&self) -> u32 {
        self.spec.capacity()
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Result<Option<V>, DatapathError> {
        match self.map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(self.spec.failed()(error)),
        }
    }

    /// Every entry. What changes meanwhile may be missing or double.
    pub fn all(&self) -> Result<Vec<(K, V)>, DatapathError> {
        let mut all = Vec::new();
        self.visit(|key, value| all.push((key, value)))?;
        Ok(all)
    }

    /// Shows every entry, in few calls and little memory. What changes meanwhile may be missing or
    /// double.
    pub fn visit(&self, mut each: impl FnMut(K, V)) -> Result<(), DatapathError> {
        let map = self.map.map().fd().as_fd();
        let mut batch = LookupBatch::new(Self::BATCH);
        let mut begun = false;
        loop {
            let more = match batch.next(map) {
                Ok(more) => more,
                // A kernel without batches.
                Err(_) if !begun => return self.visit_each(each),
                Err(error) => {
                    let what = "reading a map";
                    return Err(DatapathError::Kernel { what, error });
                }
            };
            begun = true;
            for (key, value) in batch.keys.iter().zip(&batch.values) {
                each(*key, *value);
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn visit_each(&self, mut each: impl FnMut(K, V)) -> Result<(), DatapathError> {
        for entry in self.map.iter() {
            match entry {
                Ok((key, value)) => each(key, value),
                // Removed between the walk and the look.
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(self.spec.failed()(error)),
            }
        }
        Ok(())
    }

    /// Sets one entry.
    pub fn upsert(&mut self, key: K, value: V) -> Result<(), DatapathError> {
        let set = self.map.insert(key, value, 0);
        set.map_err(self.spec.failed())
    }

    /// Sets many entries, in few calls. At an error, those before the failing one are set.
    pub fn upsert_all(&mut self, entries: &[(K, V)]) -> Result<(), DatapathError> {
        for entries in entries.chunks(Self::BATCH) {
            let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
            let map = self.map.map().fd().as_fd();
            if let Err((done, _)) = bpf::update_batch(map, &keys, &values) {
                // A kernel without batches, or an entry that fails: alone it says why.
                for (key, value) in &entries[done..] {
                    self.upsert(*key, *value)?;
                }
            }
        }
        Ok(())
    }

    /// Removes an entry, if it is there.
    pub fn remove(&mut self, key: &K) -> Result<(), DatapathError> {
        match self.map.remove(key) {
            Err(MapError::SyscallError(error)) if is_absent(&error.io_error) => Ok(()),
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(self.spec.failed()(error)),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}
