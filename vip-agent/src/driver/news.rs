//! What the kernel programs report: conflicts and their end.

use vip_common::abi::{Event, EventKind};

use super::{CONFLICT, Driver};
use crate::{
    announce,
    event::{Fact, NodeFact, VipFact},
    status::VipState,
    vip::Mac,
};

impl Driver {
    /// Takes in a record of the ring buffer.
    pub(super) fn hear(&mut self, event: Event) {
        let (vip, ifindex) = (event.key.ip(), event.key.ifindex);
        let rival = Mac(event.rival);
        let ordered = event.flags & Event::ANNOUNCE != 0;
        let what = if event.kind == EventKind::Yielded as u8 {
            if let Some(kubernetes) = &self.kubernetes {
                kubernetes.yielded(vip);
            }
            VipFact::Yielded { rival }
        } else {
            let by_kernel = event.kind == EventKind::Defended as u8;
            VipFact::Conflict {
                rival,
                defended: by_kernel || ordered,
            }
        };
        if ordered {
            self.announcer.defend(announce::Key { vip, ifindex });
        }
        let until = self.now() + CONFLICT;
        if let Some(record) = self.vips.get_mut(&vip) {
            record.conflict_until = Some(until);
            self.conflicts_until = self.conflicts_until.or(Some(until));
            if record.state == VipState::Answering {
                record.set(VipState::Conflict, None);
            }
        }
        self.tell_of_rival(vip, &rival.to_string());
        self.tell(Fact::vip(vip, self.name(ifindex), what));
    }

    /// Says how many events were lost since the last look.
    pub(super) fn count_lost_events(&mut self) {
        match self.tables.events_dropped() {
            Ok(now) if now > self.events_dropped => {
                let lost = now - self.events_dropped;
                self.events_dropped = now;
                self.tell(Fact::Node(NodeFact::EventsDropped(lost)));
            }
            Ok(_) => {}
            Err(error) => self.failed("events", error),
        }
    }

    /// Announces again where a conflict has ended.
    pub(super) fn end_conflicts(&mut self) {
        let now = self.now();
        // Every second, with thousands of VIPs, and hardly ever for any of them.
        if self.conflicts_until.is_none_or(|until| now < until) {
            return;
        }
        for (&vip, record) in &mut self.vips {
            if record.conflict_until.is_some_and(|until| until <= now) {
                record.conflict_until = None;
                if record.state == VipState::Conflict {
                    record.set(VipState::Answering, None);
                }
                if let Some(ifindex) = record.ifindex {
                    self.announcer.restart(announce::Key { vip, ifindex });
                }
            }
        }
        let open = self
            .vips
            .values()
            .filter_map(|record| record.conflict_until);
        self.conflicts_until = open.min();
    }
}
