//! Which VIP counts where: indices of `VIP_COUNTERS`.

use std::{collections::HashMap, net::IpAddr};

use vip_common::abi::{VIP_COUNTERS_CAPACITY, VipEntry, VipKey};

/// The index that VIPs share which found none of their own.
pub const SHARED: u32 = 0;

/// The indices in use.
#[derive(Debug)]
pub struct CounterIndices {
    of: HashMap<IpAddr, u32>,
    free: Vec<u32>,
    unused: u32,
    fresh: Vec<u32>,
}

impl CounterIndices {
    /// Continues with the indices that entries of an earlier run have.
    pub fn continuing<'a>(
        programmed: impl IntoIterator<Item = (&'a VipKey, &'a VipEntry)>,
    ) -> Self {
        let of: HashMap<IpAddr, u32> = programmed
            .into_iter()
            .filter(|(_, entry)| entry.counter != SHARED)
            .map(|(key, entry)| (key.ip(), entry.counter))
            .collect();
        let unused = of.values().max().map_or(1, |last| last + 1);
        let mut used = vec![false; unused as usize];
        for index in of.values() {
            if let Some(used) = used.get_mut(*index as usize) {
                *used = true;
            }
        }
        let free = (1..unused).filter(|index| !used[*index as usize]).collect();
        Self {
            of,
            free,
            unused,
            fresh: Vec::new(),
        }
    }

    /// The index of a VIP; a new one is to be zeroed before it counts ([`Self::fresh`]).
    pub fn take(&mut self, vip: IpAddr) -> u32 {
        if let Some(index) = self.of.get(&vip) {
            return *index;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.unused < VIP_COUNTERS_CAPACITY => {
                self.unused += 1;
                self.unused - 1
            }
            None => return SHARED,
        };
        self.of.insert(vip, index);
        self.fresh.push(index);
        index
    }

    /// Gives the index of a VIP back.
    pub fn give_back(&mut self, vip: IpAddr) {
        if let Some(index) = self.of.remove(&vip) {
            self.free.push(index);
        }
    }

    /// The indices taken since the last call.
    pub fn fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// The index of a VIP that has one.
    pub fn get(&self, vip: IpAddr) -> u32 {
        self.of.get(&vip).copied().unwrap_or(SHARED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(last: u32) -> IpAddr {
        IpAddr::V4((0xc000_0200 + last).into())
    }

    #[test]
    fn a_vip_keeps_its_index_over_a_restart_and_nobody_shares_it() {
        let mut first = CounterIndices::continuing([]);
        let entries: Vec<_> = (0..3)
            .map(|last| {
                let entry = VipEntry {
                    counter: first.take(vip(last)),
                    ..VipEntry::default()
                };
                (VipKey::new(vip(last), 2), entry)
            })
            .collect();
        assert_eq!(first.fresh(), [1, 2, 3]);
        let kept = [&entries[0], &entries[2]];
        let mut second = CounterIndices::continuing(kept.map(|(key, entry)| (key, entry)));
        assert_eq!(second.take(vip(2)), 3);
        assert_eq!(second.take(vip(9)), 2, "the index of the VIP that is gone");
        assert_eq!(second.fresh(), [2]);
    }

    #[test]
    fn vips_beyond_the_capacity_share_one_index() {
        let mut indices = CounterIndices::continuing([]);
        for last in 1..VIP_COUNTERS_CAPACITY {
            assert_ne!(indices.take(vip(last)), SHARED);
        }
        assert_eq!(indices.take(vip(VIP_COUNTERS_CAPACITY)), SHARED);
        indices.give_back(vip(5));
        assert_eq!(indices.take(vip(VIP_COUNTERS_CAPACITY)), 5);
    }
}
