//! What the configuration means on this host: which VIP lives where.

use std::{collections::HashSet, net::IpAddr};

use crate::{
    config::{Config, Note, Problem, VipSpec, refusal::Occupied},
    host::{Host, Link},
    vip::{BoundVip, IfIndex},
};

/// A VIP and the place found for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The VIP.
    pub vip: IpAddr,
    /// Where it lives, or why nowhere.
    pub home: Result<Home, Homeless>,
}

/// The one interface on which a VIP may be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its index.
    pub ifindex: IfIndex,
    /// The VIP as it is bound there.
    pub net: BoundVip,
    /// What the user should know about the prefix.
    pub note: Option<Note>,
    /// The interface has a carrier.
    pub carrier: bool,
}

/// Why a VIP lives nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Homeless {
    /// This host cannot take it (`wire.md`, rule 9).
    #[error("{}: {}", .0.message, .0.fix)]
    Refused(Problem),
    /// No interface of its list exists.
    #[error("none of its interfaces exists: correct `interfaces`, or create one")]
    NoInterface,
    /// Its interfaces exist, and no program guards one.
    #[error("no program is attached to {0}: see `vip-agent doctor`")]
    Unguarded(String),
}

impl Placement {
    /// The interface, where there is one.
    pub fn ifindex(&self) -> Option<IfIndex> {
        self.home.as_ref().ok().map(|home| home.ifindex)
    }
}

/// Finds a place for every VIP: the first interface of its list that has a carrier and is
/// `guarded` by our programs; without any carrier, the first that is guarded. One interface,
/// since two on one LAN would answer with two MAC addresses (`wire.md`, rule 29). What this host
/// cannot take is refused only while it is not yet `taken`.
pub fn place(
    config: &Config,
    vips: &[VipSpec],
    host: &Host,
    guarded: impl Fn(IfIndex) -> bool,
    taken: &HashSet<IpAddr>,
) -> Vec<Placement> {
    let occupied = Occupied::of(host, config);
    vips.iter()
        .map(|spec| {
            let refused = Some(spec)
                .filter(|spec| !taken.contains(&spec.address))
                .and_then(|spec| occupied.refuse(spec));
            let home = match refused {
                Some(problem) => Err(Homeless::Refused(problem)),
                None => home(config, spec, host, &guarded),
            };
            Placement {
                vip: spec.address,
                home,
            }
        })
        .collect()
}

fn home(
    config: &Config,
    spec: &VipSpec,
    host: &Host,
    guarded: impl Fn(IfIndex) -> bool,
) -> Result<Home, Homeless> {
    let candidates = config.candidates(spec, host);
    let Some(first) = candidates.first() else {
        return Err(Homeless::NoInterface);
    };
    let eligible = || candidates.iter().filter(|link| guarded(link.ifindex));
    let link: &Link = eligible()
        .find(|link| link.up && link.carrier)
        .or_else(|| eligible().next())
        .ok_or_else(|| Homeless::Unguarded(first.name.clone()))?;
    let resolved = config.bound_on(spec, Some(link));
    let net = resolved.net.unwrap_or_else(|| spec.address.into());
    let carrier = link.up && link.carrier;
    Ok(Home {
        ifindex: link.ifindex,
        net,
        note: resolved.note,
        carrier,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Glob, Interfaces};

    fn host(carriers: [bool; 2]) -> Host {
        let link = |ifindex: u32, name: &str, carrier| Link {
            ifindex,
            name: name.into(),
            up: true,
            carrier,
            ..Link::default()
        };
        let links = [link(2, "eth0", carriers[0]), link(3, "eth1", carriers[1])];
        Host {
            links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
            ..Host::default()
        }
    }

    fn config() -> Config {
        let globs = ["eth0", "eth1"].map(|name| Glob::new(name).unwrap());
        Config {
            interfaces: Interfaces::Listed(globs.to_vec()),
            vips: vec![VipSpec {
                address: "192.0.2.100".parse().unwrap(),
                interfaces: None,
                prefix: None,
            }],
            ..Config::default()
        }
    }

    fn placed(
        config: &Config,
        host: &Host,
        guarded: impl Fn(IfIndex) -> bool,
        taken: &HashSet<IpAddr>,
    ) -> Vec<Placement> {
        place(config, &config.vips, host, guarded, taken)
    }

    fn lives_on(host: &Host, guarded: impl Fn(IfIndex) -> bool) -> Option<IfIndex> {
        placed(&config(), host, guarded, &HashSet::new())[0].ifindex()
    }

    #[test]
    fn a_vip_lives_on_the_first_interface_with_a_carrier() {
        assert_eq!(lives_on(&host([true, true]), |_| true), Some(2));
        assert_eq!(lives_on(&host([false, true]), |_| true), Some(3));
    }

    #[test]
    fn without_any_carrier_it_stays_on_the_first() {
        assert_eq!(lives_on(&host([false, false]), |_| true), Some(2));
    }

    #[test]
    fn it_never_lives_where_no_program_guards_it() {
        assert_eq!(
            lives_on(&host([true, true]), |ifindex| ifindex == 3),
            Some(3)
        );
        assert_eq!(lives_on(&host([true, true]), |_| false), None);
    }

    #[test]
    fn an_address_of_this_node_is_refused_when_first_taken_and_kept_afterwards() {
        let mut host = host([true, true]);
        let net = "192.0.2.100/24".parse().unwrap();
        let own = crate::host::Address {
            net,
            proto: 0,
            flags: 0,
            label: None,
            valid_lft: u32::MAX,
            preferred_lft: u32::MAX,
        };
        host.links.get_mut(&2).unwrap().addresses.push(own);
        let placed = self::placed(&config(), &host, |_| true, &HashSet::new());
        assert!(matches!(placed[0].home, Err(Homeless::Refused(_))));
        let taken = HashSet::from([placed[0].vip]);
        let placed = self::placed(&config(), &host, |_| true, &taken);
        assert_eq!(placed[0].ifindex(), Some(2));
    }
}
