//! The LAN: claims and asks, heard within a millisecond by whoever is in the same segment.

use std::net::IpAddr;

use vip_ownership::Event;

use super::{
    kernel::Effect,
    mutation::Mutation,
    world::{Happening, MILLISECOND, SECOND, World},
};

impl World {
    pub(super) fn broadcast(&mut self, from: usize, vip: IpAddr, is_claim: bool) {
        for to in 0..self.nodes.len() {
            if to != from && self.nodes[to].segment == self.nodes[from].segment {
                let delay = self.dice.between(50_000, MILLISECOND);
                self.happens_in(
                    delay,
                    Happening::Frame {
                        from,
                        to,
                        vip,
                        is_claim,
                    },
                );
            }
        }
    }

    pub(super) fn frame(&mut self, from: usize, to: usize, vip: IpAddr, is_claim: bool) {
        if self.nodes[to].segment != self.nodes[from].segment {
            return;
        }
        let now = self.nodes[to].clock(self.at);
        let notes = self.mutation != Some(Mutation::PassedDeadlineNotesNothing);
        let effect = self.nodes[to].kernel.receive(vip, is_claim, notes, now);
        match effect {
            Effect::Nothing => {}
            Effect::Answered => self.tell_soon(from, Event::ProbeAnswered(vip)),
            Effect::Defended => self.broadcast(to, vip, true),
            Effect::Yielded => {
                self.register.tally.yields += 1;
                self.tell_soon(to, Event::Yielded(vip));
            }
            Effect::Passed if is_claim => self.tell_soon(to, Event::ProbeAnswered(vip)),
            Effect::Passed => {}
        }
    }

    fn tell_soon(&mut self, node: usize, event: Event) {
        let delay = self.dice.between(10_000, 5 * MILLISECOND);
        self.tell_in(delay, node, event);
    }

    /// Who is alone hears it within a second.
    pub(super) fn lan_moved(&mut self) {
        self.lan_changed = self.at;
        self.stirred = true;
        for node in 0..self.nodes.len() {
            let segment = self.nodes[node].segment;
            // The gateway is in segment 0.
            let alone = segment != 0
                && self
                    .nodes
                    .iter()
                    .filter(|other| other.segment == segment)
                    .count()
                    == 1;
            if alone != self.nodes[node].deaf {
                self.nodes[node].deaf = alone;
                let delay = self.dice.between(MILLISECOND, SECOND);
                self.tell_in(delay, node, Event::Deaf(alone));
            }
        }
    }
}
