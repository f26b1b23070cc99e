//! The entries of `VIPS`, written by the rounds and by the lease machine. The machine's word is
//! final: a plan that was made before a right went writes no live entry after it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use vip_common::abi::{ANY_INTERFACE, SLOT_NEVER, VipEntry, VipKey};

use crate::{
    announce::{self, Announcement},
    frame::{self, Form, Sender, announcement},
    io::datapath::{DatapathError, Table},
    reconcile::Programmed,
    rights::{Claim, Rights},
    vip::{IfIndex, Mac},
};

/// The entries, shared within the one thread of the agent and locked for single steps, never
/// across an `await`.
#[derive(Clone)]
pub(super) struct SharedEntries(Arc<Mutex<Entries>>);

impl SharedEntries {
    pub(super) fn new(entries: Entries) -> Self {
        Self(Arc::new(Mutex::new(entries)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing that holds the lock leaves the copy and the map apart by panicking.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Entries {
    table: Table<VipKey, VipEntry>,
    programmed: Programmed,
    rights: Rights,
    senders: HashMap<IfIndex, Sender>,
    /// VIPs without entries, since another load balancer may answer for them, and their interfaces.
    spared: HashMap<IpAddr, IfIndex>,
}

impl Entries {
    pub(super) fn new(
        table: Table<VipKey, VipEntry>,
        programmed: Programmed,
        rights: Rights,
    ) -> Self {
        Self {
            table,
            programmed,
            rights,
            senders: HashMap::new(),
            spared: HashMap::new(),
        }
    }

    pub(super) fn programmed(&self) -> &Programmed {
        &self.programmed
    }

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(super) fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// What announcements of an interface say about it.
    pub(super) fn set_sender(&mut self, ifindex: IfIndex, sender: Option<Sender>) {
        match sender {
            Some(sender) => drop(self.senders.insert(ifindex, sender)),
            None => drop(self.senders.remove(&ifindex)),
        }
    }

    /// VIPs that have no entry yet, each with the interface that it is to have one on.
    pub(super) fn set_spared(&mut self, spared: HashMap<IpAddr, IfIndex>) {
        self.spared = spared;
    }

    /// Writes entries; those whose right is gone meanwhile, fenced. Returns what was written.
    pub(super) fn write(
        &mut self,
        entries: &[(VipKey, VipEntry)],
    ) -> Result<Vec<(VipKey, VipEntry)>, DatapathError> {
        let mut written = entries.to_vec();
        for (key, entry) in &mut written {
            let right = self.rights.to(key.ip());
            let is_of = |right: &Claim| (right.slot, right.epoch) == (entry.slot, entry.epoch);
            if !right.as_ref().is_some_and(is_of) {
                entry.slot = SLOT_NEVER;
            }
        }
        self.table.upsert_all(&written)?;
        self.programmed.extend(written.iter().copied());
        Ok(written)
    }

    /// Compares the copy with the map, and takes over what somebody else has written or removed,
    /// so that the next plan makes it good. How many entries differed.
    pub(super) fn look(&mut self) -> Result<usize, DatapathError> {
        let (mut seen, mut others) = (0, Vec::new());
        self.table
            .visit(|key, entry| match self.programmed.get(&key) {
                Some(ours) => {
                    seen += 1;
                    if *ours != entry {
                        others.push((key, entry));
                    }
                }
                None => others.push((key, entry)),
            })?;
        let mut differ = others.len();
        if seen < self.programmed.len() {
            let there: HashSet<VipKey> =
                self.table.all()?.into_iter().map(|(key, _)| key).collect();
            let before = self.programmed.len();
            self.programmed.retain(|key, _| there.contains(key));
            differ += before - self.programmed.len();
        }
        self.programmed.extend(others);
        Ok(differ)
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &VipKey) -> Result<(), DatapathError> {
        self.table.remove(key)?;
        self.programmed.remove(key);
        Ok(())
    }

    /// Grants a right; the rounds make it true.
    pub(super) fn grant(&mut self, vip: IpAddr, claim: Claim) {
        if let Rights::Granted(rights) = &mut self.rights {
            rights.insert(vip, claim);
        }
    }

    /// Takes rights away: no frame is answered after this returned.
    pub(super) fn fence(&mut self, vips: &BTreeSet<IpAddr>) -> Result<(), DatapathError> {
        if let Rights::Granted(rights) = &mut self.rights {
            rights.retain(|vip, _| !vips.contains(vip));
        }
        let fenced: Vec<_> = self
            .homes(vips)
            .filter(|(_, entry)| entry.slot != SLOT_NEVER)
            .map(|(key, entry)| {
                let slot = SLOT_NEVER;
                (key, VipEntry { slot, ..entry })
            })
            .collect();
        self.write(&fenced).map(drop)
    }

    /// Frames that claim VIPs which are not live yet; until `until` the egress program lets them
    /// pass.
    pub(super) fn claim(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        until: u64,
    ) -> Result<Vec<Announcement>, DatapathError> {
        let entries: Vec<_> = self
            .homes(vips)
            .map(|(key, entry)| {
                let claim_until_ns = until;
                (
                    key,
                    VipEntry {
                        claim_until_ns,
                        ..entry
                    },
                )
            })
            .collect();
        self.write(&entries)?;
        let forms = [Form::Request, Form::Reply, Form::Advertisement];
        let frames = entries.iter().flat_map(|(key, entry)| {
            let (vip, ifindex) = (key.ip(), key.ifindex);
            let sender = self.senders.get(&ifindex).map(|sender| Sender {
                mac: Mac(entry.mac),
                ..*sender
            });
            forms.iter().filter_map(move |form| {
                let key = announce::Key { vip, ifindex };
                let frame = announcement(*form, vip, sender.as_ref()?)?;
                let form = *form;
                Some(Announcement { key, form, frame })
            })
        });
        Ok(frames.collect())
    }

    /// The frames that ask who has a VIP.
    pub(super) fn probe(&self, vip: IpAddr) -> Vec<Announcement> {
        let entry = self.homes(&BTreeSet::from([vip])).next();
        let ifindex = match &entry {
            Some((key, _)) => Some(key.ifindex),
            None => self.spared.get(&vip).copied(),
        };
        let sender = ifindex.and_then(|ifindex| Some((ifindex, *self.senders.get(&ifindex)?)));
        let Some((ifindex, sender)) = sender else {
            return Vec::new();
        };
        let mac = entry.map_or(sender.mac, |(_, entry)| Mac(entry.mac));
        let frames = frame::questions(vip, &Sender { mac, ..sender }).into_iter();
        let key = announce::Key { vip, ifindex };
        let form = Form::Probe;
        let asked = frames.map(|frame| Announcement { key, form, frame });
        asked.collect()
    }

    /// Entries of VIPs on interfaces.
    fn homes<'a>(
        &'a self,
        vips: &'a BTreeSet<IpAddr>,
    ) -> impl Iterator<Item = (VipKey, VipEntry)> + 'a {
        let homes = self.programmed.iter();
        homes
            .filter(|(key, _)| key.ifindex != ANY_INTERFACE && vips.contains(&key.ip()))
            .map(|(key, entry)| (*key, *entry))
    }
}
