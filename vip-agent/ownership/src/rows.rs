//! The rows of the claims objects, as they decide for the session's entries (rule 1).

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Machine, Vips,
    claims::{Layout, RowKey},
    entries::{Entries, Rows, Turn, Verdict},
    lease::SessionId,
    object::Object,
    time::BootTime,
};

/// What is known of rows.
pub(super) struct Table<'a> {
    vips: Option<&'a Vips>,
    objects: &'a [Object],
    layout: Layout,
    session: Option<&'a SessionId>,
    unsettled: &'a BTreeSet<IpAddr>,
    /// Where this node itself answers by another load balancer's address.
    incumbent: &'a BTreeSet<IpAddr>,
}

impl Rows for Table<'_> {
    fn vips(&self) -> Option<&Vips> {
        self.vips
    }

    fn verdict(&self, vip: IpAddr) -> Verdict {
        let bucket = self.layout.bucket(vip);
        let object = self.objects.get(self.layout.object(bucket) as usize);
        match (object, self.session) {
            (Some(object), Some(session)) => object.verdict(vip, bucket, session, self.layout),
            _ => Verdict::NotOurs,
        }
    }

    fn deciding(&self, vip: IpAddr) -> Option<RowKey> {
        let bucket = self.layout.bucket(vip);
        let object = self.objects.get(self.layout.object(bucket) as usize)?;
        object.seen()?.deciding(vip, bucket).map(|(key, _)| key)
    }

    fn is_unsettled(&self, vip: IpAddr) -> bool {
        self.unsettled.contains(&vip) && !self.incumbent.contains(&vip)
    }
}

impl Machine {
    /// The entries, and what they go by.
    fn entries(&mut self, now: BootTime) -> (&mut Entries, Turn<'_, Table<'_>>) {
        let turn = Turn {
            now,
            rows: Table {
                vips: self.vips.as_ref(),
                objects: &self.objects,
                layout: self.config.layout,
                session: self.session.id.as_ref(),
                unsettled: &self.unsettled,
                incumbent: &self.serves.incumbent,
            },
            confirmed: self.session.confirmed,
            epoch: self.session.epoch,
            hold: self.config.timing.hold(),
            on_api_loss: self.config.on_api_loss,
            deaf: self.deaf,
            dice: &mut self.dice,
            out: &mut self.out,
            wake: &mut self.wake,
        };
        (&mut self.entries, turn)
    }

    pub(super) fn entries_turn(&mut self, now: BootTime) {
        if self.session.id.is_some() {
            let (entries, turn) = self.entries(now);
            entries.turn(turn);
        }
    }

    /// A VIP is not to be answered any more.
    pub(super) fn fence(&mut self, vip: IpAddr) {
        self.entries.fence(vip, &mut self.out);
    }

    pub(super) fn fence_everything(&mut self) {
        self.entries.fence_where(|_| true, &mut self.out);
    }

    /// Fences VIPs of an object.
    pub(super) fn fence_object(&mut self, index: u32) {
        let layout = self.config.layout;
        let of_object = |vip| layout.object(layout.bucket(vip)) == index;
        self.entries.fence_where(of_object, &mut self.out);
    }

    /// Fences the VIPs that these rows decide for.
    pub(super) fn fence_rows(&mut self, keys: &BTreeSet<RowKey>) {
        if keys.is_empty() {
            return;
        }
        let (entries, turn) = self.entries(BootTime::default());
        let rows = turn.rows;
        let of_them = |vip| rows.deciding(vip).is_some_and(|key| keys.contains(&key));
        entries.fence_where(of_them, turn.out);
    }

    /// The rows were gained from the dead, or from nobody: their VIPs are claimed first.
    pub(super) fn claim_rows(&mut self, keys: &BTreeSet<RowKey>, now: BootTime) {
        if keys.is_empty() {
            return;
        }
        let (entries, turn) = self.entries(now);
        entries.claim_rows(keys, &turn.rows, now);
    }

    /// The rows of which VIPs are being claimed, and not live yet.
    pub(super) fn claiming(&self) -> BTreeSet<RowKey> {
        let table = Table {
            vips: None,
            objects: &self.objects,
            layout: self.config.layout,
            session: None,
            unsettled: &self.unsettled,
            incumbent: &self.serves.incumbent,
        };
        let claimed = self.entries.claimed();
        claimed.filter_map(|vip| table.deciding(vip)).collect()
    }

    /// The kernel program yielded a VIP to a rival.
    pub(super) fn yielded(&mut self, vip: IpAddr, now: BootTime) {
        self.entries.suspend([vip].into(), now, &mut self.out);
    }

    pub(super) fn probe_answered(&mut self, vip: IpAddr, now: BootTime) {
        let (entries, turn) = self.entries(now);
        entries.probe_answered(vip, turn);
    }

    pub(super) fn not_extended(&mut self, passed: bool, yielded: BTreeSet<IpAddr>, now: BootTime) {
        if self.session.id.is_some() {
            let (entries, turn) = self.entries(now);
            entries.not_extended(passed, yielded, turn);
        }
    }
}
