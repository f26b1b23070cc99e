//! Which API server is asked: this node's own first, then the others', never one of the VIPs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// A server that gave no answer is the last choice for so long.
const DISTRUST: Duration = Duration::from_secs(3);

/// The servers, and what is thought of them. Times are since any fixed instant.
#[derive(Clone, Debug)]
pub struct Servers {
    /// Where this node's own listens, as far as is known.
    local: SocketAddr,
    /// Addresses of this node, where it may listen.
    addresses: Vec<IpAddr>,
    /// It is asked before the others.
    local_first: bool,
    others: Vec<SocketAddr>,
    /// The one that the credentials name, if it is no VIP: when no other is known.
    named: Option<SocketAddr>,
    /// None of these is ever asked: whoever holds them could hear itself alone.
    vips: BTreeSet<IpAddr>,
    distrusted: BTreeMap<SocketAddr, Duration>,
}

impl Servers {
    /// This node's own, on the loopback, and the one that the credentials name; `vips` are what
    /// they are reached by from elsewhere.
    pub fn new(port: u16, named: Option<SocketAddr>, vips: BTreeSet<IpAddr>) -> Self {
        Self {
            named: named.filter(|named| !vips.contains(&named.ip())),
            local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            addresses: Vec::new(),
            local_first: true,
            others: Vec::new(),
            vips,
            distrusted: BTreeMap::new(),
        }
    }

    /// Addresses of this node.
    pub fn set_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        // A link-local address means nothing without its link.
        let is_place = |own: &IpAddr| match own {
            IpAddr::V4(own) => !own.is_loopback(),
            IpAddr::V6(own) => !own.is_loopback() && !own.is_unicast_link_local(),
        };
        let addresses = addresses.into_iter().filter(is_place);
        self.addresses = addresses.filter(|own| !self.vips.contains(own)).collect();
    }

    /// Where this node's own may listen: where it was found, then all others.
    pub fn local_places(&self) -> Vec<SocketAddr> {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let all = loopback.into_iter().chain(self.addresses.iter().copied());
        let port = self.local.port();
        let mut places = vec![self.local];
        places.extend(
            all.map(|address| SocketAddr::new(address, port))
                .filter(|place| *place != self.local),
        );
        places
    }

    /// Where this node's own listens, and whether it is asked before the others.
    pub fn set_local(&mut self, at: SocketAddr, is_first: bool) {
        self.local = at;
        self.local_first = is_first;
    }

    /// The others, in the order in which they are asked.
    pub fn set_others(&mut self, others: impl IntoIterator<Item = SocketAddr>) {
        let others = others.into_iter();
        self.others = others
            .filter(|other| !self.vips.contains(&other.ip()))
            .collect();
        let known = self.others.iter().chain(&self.named).copied();
        let known: BTreeSet<_> = known.chain([self.local]).collect();
        self.distrusted.retain(|server, _| known.contains(server));
    }

    /// A server gave no answer.
    pub fn distrust(&mut self, server: SocketAddr, now: Duration) {
        self.distrusted.insert(server, now + DISTRUST);
    }

    /// Where this node's own was found last.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The one to ask. There is always one: also a server that is thought to be gone may be back.
    pub fn preferred(&self, now: Duration) -> SocketAddr {
        let distrusted_until = |server: &SocketAddr| {
            let until = self.distrusted.get(server).copied();
            until.filter(|until| *until > now).unwrap_or_default()
        };
        let all = std::iter::once(&self.local);
        let all = all.chain(&self.others).chain(&self.named);
        let last = |server: &SocketAddr| *server == self.local && !self.local_first;
        // The first of the least, so their order decides between equals.
        let best = all.min_by_key(|server| (distrusted_until(server), last(server)));
        best.copied().unwrap_or(self.local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn servers() -> Servers {
        let vip = server("192.0.2.10:6443");
        let mut servers = Servers::new(6443, Some(vip), [vip.ip()].into());
        servers.set_others(["192.0.2.10:6443", "192.0.2.12:6443", "192.0.2.13:6443"].map(server));
        servers
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_own_one_is_asked_first_then_the_others_and_no_vip() {
        let mut servers = servers();
        let mut asked = Vec::new();
        for now in [0, 1, 2, 3] {
            let server = servers.preferred(at(now));
            servers.distrust(server, at(now));
            asked.push(server);
        }
        let own = server("127.0.0.1:6443");
        let others = ["192.0.2.12:6443", "192.0.2.13:6443"].map(server);
        assert_eq!(asked, [own, others[0], others[1], own], "and round again");
        assert_eq!(servers.preferred(at(3_004)), own);
    }

    #[test]
    fn the_one_that_the_credentials_name_is_asked_last() {
        let named = server("198.51.100.1:443");
        let mut servers = Servers::new(6443, Some(named), BTreeSet::new());
        servers.set_local(server("127.0.0.1:6443"), false);
        assert_eq!(servers.preferred(at(0)), named);
        servers.set_others([server("192.0.2.12:6443")]);
        assert_eq!(servers.preferred(at(0)), server("192.0.2.12:6443"));
    }

    #[test]
    fn one_that_is_not_ready_is_asked_when_no_other_answers() {
        let mut servers = servers();
        servers.set_local(server("[::1]:6443"), false);
        assert_eq!(servers.preferred(at(0)), server("192.0.2.12:6443"));
        servers.distrust(server("192.0.2.12:6443"), at(0));
        servers.distrust(server("192.0.2.13:6443"), at(0));
        assert_eq!(servers.preferred(at(0)), server("[::1]:6443"));
        servers.set_local(server("[::1]:6443"), true);
        assert_eq!(servers.preferred(at(9_000)), server("[::1]:6443"));
    }

    #[test]
    fn the_own_one_is_looked_for_on_the_loopback_and_on_the_nodes_addresses() {
        let mut servers = servers();
        let own = ["127.0.0.1", "192.0.2.10", "192.0.2.11", "::1", "fe80::1"];
        servers.set_addresses(own.map(|text| text.parse().unwrap()));
        let places = ["127.0.0.1:6443", "[::1]:6443", "192.0.2.11:6443"].map(server);
        assert_eq!(servers.local_places(), places);
        servers.set_local(places[2], true);
        assert_eq!(servers.local_places(), [places[2], places[0], places[1]]);
    }

    #[test]
    fn alone_there_is_the_own_one_whatever_is_thought_of_it() {
        let mut servers = servers();
        servers.set_others([]);
        servers.distrust(server("127.0.0.1:6443"), at(0));
        assert_eq!(servers.preferred(at(1)), server("127.0.0.1:6443"));
    }
}
