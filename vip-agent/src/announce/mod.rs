//! When which VIP is announced (`wire.md`, rule 11), per interface.
//!
//! A machine without clock and I/O: times are arguments, as the time since any fixed moment.
//! VIPs and links go in, [`Announcer::poll`] gives the frames that are due, and
//! [`Announcer::next_deadline`] says when to poll again. Every operation costs the logarithm of
//! the number of VIPs, so that 20,000 of them cost nothing while they wait.
//!
//! The order of frames on an interface, when the rate does not let all of them go at once:
//! every VIP's first frame, defences, then second frames, third frames and so on, refreshes
//! last; among equals who came first.

mod bucket;
mod jitter;
mod queue;
mod schedule;

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, time::Duration};

use bytes::Bytes;
use vip_common::counter::Family;

use self::{jitter::Jitter, queue::LinkQueue};
use crate::{
    frame::{Form, Sender},
    vip::IfIndex,
};

/// A VIP on the interface where it is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The VIP.
    pub vip: IpAddr,
    /// The interface.
    pub ifindex: IfIndex,
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What it announces, and where it leaves.
    pub key: Key,
    /// Its shape.
    pub form: Form,
    /// The frame, from the Ethernet header on.
    pub frame: Bytes,
}

impl Announcement {
    /// The family of the frame.
    pub fn family(&self) -> Family {
        match self.key.vip {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

/// Frames that one poll gives per interface at most: what one `sendmmsg` takes well.
pub const BATCH: usize = 512;

/// The schedule of all VIPs of this node.
#[derive(Debug)]
pub struct Announcer {
    rate: Option<NonZeroU32>,
    links: BTreeMap<IfIndex, LinkQueue>,
    jitter: Jitter,
}

impl Announcer {
    /// An announcer without VIPs, of `rate` frames a second and interface (none: no limit).
    /// Nodes take different seeds, so that they do not refresh in step.
    pub fn new(rate: Option<NonZeroU32>, seed: u64) -> Self {
        Self {
            rate,
            links: BTreeMap::new(),
            jitter: Jitter::new(seed),
        }
    }

    /// Begins to announce a VIP, at once; false, and no change, when it is announced already.
    /// On a link that cannot send it waits for [`Announcer::set_link`].
    pub fn start(&mut self, key: Key) -> bool {
        self.link(key.ifindex).start(key.vip)
    }

    /// Ends the announcing of a VIP: no frame of it comes out of a later poll.
    pub fn stop(&mut self, key: Key) -> bool {
        self.links
            .get_mut(&key.ifindex)
            .is_some_and(|link| link.stop(key.vip))
    }

    /// Begins the burst of a VIP again, after the end of a conflict; false when it is not
    /// announced.
    pub fn restart(&mut self, key: Key) -> bool {
        self.links
            .get_mut(&key.ifindex)
            .is_some_and(|link| link.restart(key.vip))
    }

    /// One frame at once, in answer to a rival (rule 13); false when the VIP is not announced.
    /// The interval of RFC 5227, 2.4 (c), is kept by the kernel programs.
    pub fn defend(&mut self, key: Key) -> bool {
        self.links
            .get_mut(&key.ifindex)
            .is_some_and(|link| link.defend(key.vip))
    }

    /// Tells what an interface is seen to be; none when it cannot send. A link that comes up or
    /// has another MAC address announces all its VIPs again. It comes up with `IF_OPER_UP`: with
    /// a carrier alone (`IFF_LOWER_UP`) its queue may still be the kernel's `noop_qdisc`, which
    /// drops frames and reports them as sent.
    pub fn set_link(&mut self, ifindex: IfIndex, sender: Option<Sender>) {
        self.link(ifindex).set_sender(sender);
        self.links
            .retain(|_, link| link.can_send() || !link.is_empty());
    }

    /// Announces all VIPs of an interface again, where [`Announcer::set_link`] cannot see why:
    /// the carrier went and came between two looks, or attaching made the driver reset the link.
    pub fn link_up(&mut self, ifindex: IfIndex) {
        if let Some(link) = self.links.get_mut(&ifindex) {
            link.restart_all();
        }
    }

    /// The frames that are due, at most [`BATCH`] an interface and never more than the rate.
    pub fn poll(&mut self, now: Duration) -> Vec<Announcement> {
        let mut frames = Vec::new();
        for (&ifindex, link) in &mut self.links {
            link.poll(now, &mut self.jitter, |vip, form, frame| {
                let key = Key { vip, ifindex };
                frames.push(Announcement { key, form, frame });
            });
        }
        frames
    }

    /// When to poll next; a time that has passed means now.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.links
            .values()
            .filter_map(LinkQueue::next_deadline)
            .min()
    }

    /// Number of VIPs that are announced.
    pub fn len(&self) -> usize {
        self.links.values().map(LinkQueue::len).sum()
    }

    /// No VIP is announced.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn link(&mut self, ifindex: IfIndex) -> &mut LinkQueue {
        let rate = self.rate;
        self.links
            .entry(ifindex)
            .or_insert_with(|| LinkQueue::new(rate))
    }
}

#[cfg(test)]
mod tests;
