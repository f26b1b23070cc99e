//! Where and how the programs are attached: the ladder of modes per interface, the devices that
//! are refused, and how often the first place is taken back.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::{
    config::Attach,
    host::{Host, Link},
    vip::IfIndex,
};

/// What runs on an interface. The egress program runs in tc in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// XDP in the driver.
    Native,
    /// tc.
    Tc,
    /// XDP in the stack.
    Generic,
}

impl Mode {
    /// Value of the label `mode` and of `attach` in status documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tc => "tc",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What is to be done with an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Attach in the first of these modes that the kernel accepts.
    Attach(&'static [Mode]),
    /// VIPs cannot be served here, and attaching would harm.
    Refuse(Refusal),
    /// Nothing to attach to.
    Skip(Skipped),
}

/// Why an interface is refused (`wire.md`, rule 30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A port of a bridge: its frames belong to the bridge and what is behind it.
    #[error("it is a port of a bridge: list the bridge itself in `interfaces`")]
    BridgePort,
    /// A port of Open vSwitch.
    #[error(
        "it is a port of Open vSwitch: list the bridge's internal interface (such as br-ex) in `interfaces`"
    )]
    OvsPort,
    /// Guests in macvlan, macvtap or ipvlan mode live on it and would be cut off.
    #[error(
        "it carries {kind} guests (interface {guest}), which would be cut off: use another interface, or remove the guest"
    )]
    LowerOfGuests {
        /// macvlan, macvtap, ipvlan or ipvtap.
        kind: &'static str,
        /// The guest's interface.
        guest: IfIndex,
    },
    /// The bond answers ARP on its ports, with the ports' MAC addresses.
    #[error(
        "it is a bond in mode balance-alb, which answers ARP itself: use active-backup or 802.3ad"
    )]
    BalanceAlb,
    /// The driver takes VLAN tags off before XDP sees the frame.
    #[error(
        "its driver strips VLAN tags (rxvlan) that XDP would have to see, since VLAN interfaces exist on it: set `attach: tc`, or `ethtool -K DEVICE rxvlan off`"
    )]
    HiddenVlanTags,
    /// Native XDP on a bond runs on its ports (`bond_xdp_set`), and is told the port's index:
    /// no VIP of the bond would be found.
    #[error(
        "native XDP on a bond sees the ports in its place: set `attach: tc` (auto takes it by itself)"
    )]
    BondNative,
}

/// Why an interface is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// A pattern of `ignoreInterfaces` matches, and `interfaces` does not name it.
    #[error("`ignoreInterfaces` names it")]
    Ignored,
    /// No Ethernet addresses, or IFF_NOARP: nobody asks for an address there.
    #[error("it speaks no ARP")]
    NoArp,
    /// The bond or team device above it takes its frames.
    #[error("it is a port of a bond: the bond itself is served")]
    BondPort,
}

/// Decides over one interface. `ignored` says that a pattern of `ignoreInterfaces` matched;
/// `rxvlan` is the offload of that name, `None` where the driver did not tell.
pub fn choose(
    link: &Link,
    host: &Host,
    wanted: Attach,
    ignored: bool,
    rxvlan: Option<bool>,
) -> Choice {
    if ignored {
        return Choice::Skip(Skipped::Ignored);
    }
    if link.mac.is_none() || link.noarp {
        return Choice::Skip(Skipped::NoArp);
    }
    let kind_of_master = link
        .master
        .and_then(|master| host.links.get(&master))
        .and_then(|master| master.kind.as_deref());
    match kind_of_master {
        Some("bond" | "team") => return Choice::Skip(Skipped::BondPort),
        Some("bridge") => return Choice::Refuse(Refusal::BridgePort),
        Some("openvswitch") => return Choice::Refuse(Refusal::OvsPort),
        // VRFs pass frames up as the port's own.
        _ => {}
    }
    if link.kind.as_deref() == Some("bond") && link.bond_mode == Some(BOND_MODE_ALB) {
        return Choice::Refuse(Refusal::BalanceAlb);
    }
    let uppers = || {
        host.links
            .values()
            .filter(|upper| upper.lower == Some(link.ifindex) && upper.ifindex != link.ifindex)
    };
    // The two ends of a veth pair in one namespace name each other as lower device.
    for upper in uppers() {
        let kind = match upper.kind.as_deref() {
            Some("macvlan") => "macvlan",
            Some("macvtap") => "macvtap",
            Some("ipvlan") => "ipvlan",
            Some("ipvtap") => "ipvtap",
            _ => continue,
        };
        let guest = upper.ifindex;
        return Choice::Refuse(Refusal::LowerOfGuests { kind, guest });
    }
    // An unknown offload counts as on: a tag that XDP does not see would be answered untagged.
    let hidden_tags =
        rxvlan != Some(false) && uppers().any(|upper| upper.kind.as_deref() == Some("vlan"));
    match wanted {
        Attach::Native if hidden_tags => Choice::Refuse(Refusal::HiddenVlanTags),
        Attach::Native if link.kind.as_deref() == Some("bond") => {
            Choice::Refuse(Refusal::BondNative)
        }
        Attach::Native => Choice::Attach(&[Mode::Native]),
        Attach::Generic => Choice::Attach(&[Mode::Generic]),
        Attach::Tc => Choice::Attach(&[Mode::Tc]),
        Attach::Auto if hidden_tags => Choice::Attach(&[Mode::Tc]),
        Attach::Auto => match link.kind.as_deref() {
            // What a veth sends by XDP_TX is lost unless its peer runs an XDP program.
            // XDP on a bond is told the index of its port.
            Some("veth" | "vlan" | "bond") => Choice::Attach(&[Mode::Tc]),
            _ => Choice::Attach(&[Mode::Native, Mode::Tc]),
        },
    }
}

/// `BOND_MODE_ALB` of linux/if_bonding.h.
const BOND_MODE_ALB: u8 = 6;

/// At most five restores of the first place a minute: another program that insists would
/// otherwise be fought with in a loop.
#[derive(Clone, Debug, Default)]
pub struct RestoreLimit {
    done: VecDeque<Duration>,
}

impl RestoreLimit {
    /// Restores within [`Self::WINDOW`].
    pub const RESTORES: usize = 5;
    /// See [`Self::RESTORES`].
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// Takes one restore, if there is one left. `now` is of any clock that never goes back.
    pub fn take(&mut self, now: Duration) -> bool {
        while self
            .done
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= Self::WINDOW)
        {
            self.done.pop_front();
        }
        let left = self.done.len() < Self::RESTORES;
        if left {
            self.done.push_back(now);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vip::Mac;

    fn link(ifindex: IfIndex, kind: Option<&str>) -> Link {
        Link {
            ifindex,
            name: format!("if{ifindex}"),
            mac: Some(Mac([2, 0, 0, 0, 0, ifindex as u8])),
            kind: kind.map(str::to_owned),
            ..Link::default()
        }
    }

    fn host(links: impl IntoIterator<Item = Link>) -> Host {
        Host {
            links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
            ..Host::default()
        }
    }

    fn auto(host: &Host, ifindex: IfIndex) -> Choice {
        choose(
            &host.links[&ifindex],
            host,
            Attach::Auto,
            false,
            Some(false),
        )
    }

    #[test]
    fn hardware_takes_native_xdp_and_falls_to_tc() {
        let host = host([link(2, None)]);
        assert_eq!(auto(&host, 2), Choice::Attach(&[Mode::Native, Mode::Tc]));
    }

    #[test]
    fn veth_and_vlan_uppers_take_tc_unless_native_is_asked_for() {
        let mut upper = link(3, Some("vlan"));
        upper.lower = Some(2);
        let host = host([link(2, Some("veth")), upper]);
        assert_eq!(auto(&host, 2), Choice::Attach(&[Mode::Tc]));
        assert_eq!(auto(&host, 3), Choice::Attach(&[Mode::Tc]));
        let asked = choose(&host.links[&2], &host, Attach::Native, false, Some(false));
        assert_eq!(asked, Choice::Attach(&[Mode::Native]));
    }

    #[test]
    fn generic_xdp_is_taken_only_when_asked_for() {
        let host = host([link(2, None)]);
        for wanted in [Attach::Auto, Attach::Native, Attach::Tc] {
            let Choice::Attach(modes) = choose(&host.links[&2], &host, wanted, false, None) else {
                panic!("{wanted:?} attaches");
            };
            assert!(!modes.contains(&Mode::Generic), "{wanted:?}");
        }
        let asked = choose(&host.links[&2], &host, Attach::Generic, false, None);
        assert_eq!(asked, Choice::Attach(&[Mode::Generic]));
    }

    #[test]
    fn tags_that_the_driver_strips_need_tc() {
        let mut upper = link(3, Some("vlan"));
        upper.lower = Some(2);
        let host = host([link(2, None), upper]);
        for unseen in [None, Some(true)] {
            let by = |wanted| choose(&host.links[&2], &host, wanted, false, unseen);
            assert_eq!(by(Attach::Auto), Choice::Attach(&[Mode::Tc]));
            assert_eq!(by(Attach::Native), Choice::Refuse(Refusal::HiddenVlanTags));
        }
        assert_eq!(auto(&host, 2), Choice::Attach(&[Mode::Native, Mode::Tc]));
    }

    #[test]
    fn ports_of_bridges_are_refused_and_ports_of_bonds_skipped() {
        for (kind, choice) in [
            ("bridge", Choice::Refuse(Refusal::BridgePort)),
            ("openvswitch", Choice::Refuse(Refusal::OvsPort)),
            ("bond", Choice::Skip(Skipped::BondPort)),
            ("team", Choice::Skip(Skipped::BondPort)),
            ("vrf", Choice::Attach(&[Mode::Native, Mode::Tc])),
        ] {
            let mut port = link(2, None);
            port.master = Some(9);
            assert_eq!(
                auto(&host([port, link(9, Some(kind))]), 2),
                choice,
                "{kind}"
            );
        }
    }

    #[test]
    fn the_lower_device_of_guests_is_refused_and_the_guest_is_not() {
        for kind in ["macvlan", "macvtap", "ipvlan", "ipvtap"] {
            let mut guest = link(7, Some(kind));
            guest.lower = Some(2);
            let host = host([link(2, None), guest]);
            assert_eq!(
                auto(&host, 2),
                Choice::Refuse(Refusal::LowerOfGuests { kind, guest: 7 })
            );
            assert!(matches!(auto(&host, 7), Choice::Attach(_)), "{kind}");
        }
    }

    #[test]
    fn a_bond_is_refused_in_balance_alb_alone() {
        for mode in 0..=6 {
            let mut bond = link(2, Some("bond"));
            bond.bond_mode = Some(mode);
            let refused = auto(&host([bond]), 2) == Choice::Refuse(Refusal::BalanceAlb);
            assert_eq!(refused, mode == 6, "mode {mode}");
        }
    }

    #[test]
    fn a_bond_takes_tc_and_is_refused_in_native_mode() {
        let host = host([link(2, Some("bond"))]);
        assert_eq!(auto(&host, 2), Choice::Attach(&[Mode::Tc]));
        let by = |wanted| choose(&host.links[&2], &host, wanted, false, Some(false));
        assert_eq!(by(Attach::Native), Choice::Refuse(Refusal::BondNative));
    }

    #[test]
    fn interfaces_without_arp_and_ignored_ones_are_skipped() {
        let mut loopback = link(1, None);
        loopback.mac = None;
        let mut noarp = link(2, Some("dummy"));
        noarp.noarp = true;
        let host = host([loopback, noarp, link(3, None)]);
        assert_eq!(auto(&host, 1), Choice::Skip(Skipped::NoArp));
        assert_eq!(auto(&host, 2), Choice::Skip(Skipped::NoArp));
        let ignored = choose(&host.links[&3], &host, Attach::Auto, true, None);
        assert_eq!(ignored, Choice::Skip(Skipped::Ignored));
    }

    #[test]
    fn the_sixth_restore_within_a_minute_is_not_given() {
        let mut limit = RestoreLimit::default();
        for second in 0..5 {
            assert!(limit.take(Duration::from_secs(second)));
        }
        assert!(!limit.take(Duration::from_secs(59)));
        assert!(limit.take(Duration::from_secs(60)));
        assert!(!limit.take(Duration::from_secs(60)));
    }
}
