//! The data plane in the kernel: loading, attaching, pinning, tables, slots and events.
//!
//! Whatever has to survive the process is pinned below `pinDir`, and the pins are the truth:
//! every method that changes a link or map looks there first.

mod attach;
mod bpf;
mod check;
mod cleanup;
mod clsact;
mod events;
mod kernel_log;
mod lease;
mod links;
mod object;
mod position;
mod tables;
mod tcx;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use aya::Ebpf;
pub use aya_log::Level;

pub use self::{
    attach::{AttachError, Attached, NotAttached, Standing},
    bpf::{AttachType, FIRST, ProgramType, create_link, load_constant_program},
    check::CheckError,
    cleanup::{Removed, cleanup},
    clsact::ClsactError,
    events::Records,
    kernel_log::KernelLog,
    lease::{Extender, Slots, boottime_ns},
    links::Hook,
    object::{DatapathError, Kernel, MAPS, MapSpec, Pins, embedded, prerequisites},
    position::{Position, Seat},
    tables::{Table, Tables},
    tcx::TcApi,
};
use crate::{attachment::Mode, vip::IfIndex};

/// The loaded programs. Dropping it leaves everything attached and pinned: the kernel goes on.
pub struct Datapath {
    ebpf: Ebpf,
    pins: Pins,
    tc: TcApi,
    attached: BTreeMap<IfIndex, Mode>,
}

impl Datapath {
    /// Loads the object over the pinned maps of its layout, which are made where they are
    /// missing and checked where they are not. Nothing is attached, and what an earlier process
    /// attached goes on, until [`Self::attach`]. `log`: level of the programs' own lines.
    pub fn open(
        pin_dir: &Path,
        layout: &str,
        object: &[u8],
        log: Option<Level>,
    ) -> Result<Self, DatapathError> {
        let pins = Pins::new(pin_dir, layout);
        let ebpf = object::load(&pins, object, log)?;
        links::sweep(&pins.links()).map_err(|error| DatapathError::Pin {
            path: pins.links(),
            error,
        })?;
        Ok(Self {
            ebpf,
            pins,
            tc: TcApi::probe(),
            attached: BTreeMap::new(),
        })
    }

    /// What runs on an interface, ours and others'.
    pub fn position(&self, ifindex: IfIndex) -> io::Result<Position> {
        self.pins.position(ifindex)
    }

    /// Where things are pinned: [`Tables::open`], [`Slots::open`] and [`Records`] want it.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// By which way tc runs our programs.
    pub fn tc_api(&self) -> TcApi {
        self.tc
    }

    /// Has tc run our programs by filters, as below Linux 6.6, whatever the kernel can do.
    pub fn use_clsact(&mut self) {
        self.tc = TcApi::Clsact;
    }

    /// Interfaces that this process attached to, with the mode.
    pub fn attached(&self) -> &BTreeMap<IfIndex, Mode> {
        &self.attached
    }

    /// Where programs of ours are attached, by whichever process: what is not attached again
    /// after a start is to be detached.
    pub fn present(&self) -> io::Result<BTreeSet<(IfIndex, Hook)>> {
        let names = object::names(&self.pins.links())?;
        let mut present: BTreeSet<_> = names.iter().filter_map(|name| Hook::parse(name)).collect();
        if self.tc == TcApi::Clsact {
            present.extend(clsact::interfaces()?);
        }
        Ok(present)
    }

    /// Removes the pins of interfaces that are gone. Returns their names.
    pub fn sweep(&self) -> io::Result<Vec<String>> {
        links::sweep(&self.pins.links())
    }

    /// Removes the maps of all other layouts, once every link runs the programs of this one.
    /// Returns their names.
    pub fn retire_other_layouts(&self) -> io::Result<Vec<String>> {
        let mut retired = Vec::new();
        for other in self.pins.other_layouts()? {
            let directory = other.maps();
            for name in object::names(&directory)? {
                fs::remove_file(directory.join(name))?;
            }
            fs::remove_dir(&directory)?;
            let name = directory.file_name().unwrap_or_default();
            retired.push(name.to_string_lossy().into_owned());
        }
        Ok(retired)
    }
}
