//! Addresses on a real kernel: each test has a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a bed that cannot be made fails its test"
)]

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tests::netns::NetNs;
use vip_agent::{
    binding::{AddressChange, Adopt, FlapLimit, Kind, Operation, Refusal, Wanted, cover, plan},
    host::{
        Address, FOR_EVER, Host, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_TENTATIVE, IFA_PROTO_XVIP,
        Link,
    },
    io::netlink::{Hint, HostChanges, Netlink},
    vip::IfIndex,
};

const VIPS: [&str; 2] = ["192.0.2.100/32", "2001:db8::100/128"];

/// A namespace with `eth0`, up, its other end `lan0` beside it, and a connection.
struct Bed {
    ns: NetNs,
    netlink: Netlink,
    changes: HostChanges,
}

impl Bed {
    fn new() -> Self {
        let ns = NetNs::enter().unwrap();
        ns.run(
            "ip link add eth0 type veth peer name lan0; ip link set eth0 up; ip link set lan0 up",
        )
        .unwrap();
        let (netlink, changes) = Netlink::connect().unwrap();
        Self {
            ns,
            netlink,
            changes,
        }
    }

    fn run(&self, command: &str) -> String {
        self.ns.run(command).unwrap()
    }

    async fn host(&self) -> Host {
        self.netlink.observe().await.unwrap()
    }

    async fn eth0(&self) -> Link {
        self.host().await.link_named("eth0").cloned().unwrap()
    }

    async fn held(&self, address: &str) -> Option<Address> {
        let address: IpAddr = address.parse().unwrap();
        let link = self.eth0().await;
        link.addresses.into_iter().find(|a| a.net.addr() == address)
    }

    /// One round of the driver: observe, plan, change. Returns what was refused.
    async fn settle(&self, desired: &[Wanted], adopt: &[Adopt]) -> Vec<Refusal> {
        let plan = plan(desired, &self.host().await, adopt);
        for result in self.netlink.bind(&plan.changes()).await {
            result.unwrap();
        }
        plan.refused.into_iter().map(|(_, why)| why).collect()
    }

    /// Waits until something changed.
    async fn hinted(&mut self) {
        let hint = tokio::time::timeout(Duration::from_secs(5), self.changes.next()).await;
        assert_eq!(hint.unwrap(), Some(Hint::Changed));
    }

    /// No hint is left from what the test itself did.
    async fn quiet(&mut self) {
        while self.hint_soon().await {}
    }

    async fn hint_soon(&mut self) -> bool {
        let soon = Duration::from_millis(200);
        tokio::time::timeout(soon, self.changes.next())
            .await
            .is_ok()
    }

    /// The link is in the group, or not, as soon as the kernel is done: it joins in a work queue
    /// (`addrconf_dad_work`), also without DAD.
    async fn membership(&self, group: &str, expected: bool) {
        for _ in 0..200 {
            if self.run("grep eth0 /proc/net/igmp6").contains(group) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{group} should be joined: {expected}");
    }
}

fn want(ifindex: IfIndex, vip: &str) -> Wanted {
    Wanted {
        vip: vip.parse().unwrap(),
        ifindex,
        kind: Kind::Bind,
        valid_lft: FOR_EVER,
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn each_family_is_bound_with_its_own_mask_and_our_mark() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    let vips = [VIPS[0], VIPS[1], "192.0.2.101/24", "2001:db8::101/64"];
    let desired = vips.map(|vip| want(ifindex, vip));
    bed.settle(&desired, &[]).await;
    let link = bed.eth0().await;
    for vip in vips {
        let vip: IpNet = vip.parse().unwrap();
        let found = link.addresses.iter().find(|a| a.net == vip).unwrap();
        assert_eq!(found.proto, IFA_PROTO_XVIP, "{vip}");
        assert_ne!(found.flags & IFA_F_NOPREFIXROUTE, 0, "{vip}");
        assert_eq!(found.valid_lft, FOR_EVER, "{vip}");
        if vip.addr().is_ipv6() {
            let dad = found.flags & (IFA_F_NODAD | IFA_F_TENTATIVE);
            assert_eq!((found.preferred_lft, dad), (0, IFA_F_NODAD), "{vip}");
        } else {
            assert_eq!(found.label.as_deref(), Some("eth0"));
        }
    }
    let shown = bed.run("ip -o addr show dev eth0");
    assert!(
        shown.contains("inet 192.0.2.100/32 scope global"),
        "{shown}"
    );
    assert!(
        shown.contains("inet 192.0.2.101/24 scope global"),
        "{shown}"
    );
    assert!(
        shown.contains("inet6 2001:db8::100/128 scope global"),
        "{shown}"
    );
    assert!(
        shown.contains("inet6 2001:db8::101/64 scope global"),
        "{shown}"
    );
    assert!(!shown.contains("brd") && !shown.contains("peer"), "{shown}");
    // No prefix route, whatever the prefix length: a VIP draws no traffic of its subnet.
    let routes = bed.run("ip route show; ip -6 route show");
    assert!(
        !routes.contains("192.0.2.") && !routes.contains("2001:db8:"),
        "{routes}"
    );
    // The second round finds nothing to do.
    assert!(plan(&desired, &bed.host().await, &[]).is_settled());
}

#[tokio::test]
#[ignore = "needs root"]
async fn the_node_never_speaks_from_an_ipv6_vip() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    bed.run("ip addr add 2001:db8::7/64 dev eth0 nodad");
    // Nearer to the destination than the node's own address: rule 8 would choose it.
    bed.settle(&[want(ifindex, "2001:db8::100/64")], &[]).await;
    let route = bed.run("ip -6 route get 2001:db8::101");
    assert!(route.contains("src 2001:db8::7 "), "{route}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn orphans_of_a_dead_process_are_swept_and_foreign_addresses_stay() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    bed.run("ip addr add 192.0.2.7/24 dev eth0; ip addr add 2001:db8::7/64 dev eth0 nodad");
    bed.settle(&VIPS.map(|vip| want(ifindex, vip)), &[]).await;
    // Another process, as it were: a new connection knows nothing but the kernel's table.
    let (netlink, _changes) = Netlink::connect().unwrap();
    let orphans = plan(&[], &netlink.observe().await.unwrap(), &[]);
    assert_eq!(orphans.remove.len(), 2);
    netlink.bind(&orphans.changes()).await;
    for gone in ["192.0.2.100", "2001:db8::100"] {
        assert!(bed.held(gone).await.is_none(), "{gone}");
    }
    for stays in ["192.0.2.7", "2001:db8::7"] {
        assert!(bed.held(stays).await.is_some(), "{stays}");
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn an_address_of_kube_vip_is_taken_over_in_place_when_asked_and_only_then() {
    let mut bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    bed.run("ip addr add 192.0.2.100/32 dev eth0; ip addr add 2001:db8::100/128 dev eth0 nodad");
    let desired = VIPS.map(|vip| want(ifindex, vip));
    assert_eq!(bed.settle(&desired, &[]).await.len(), 2);
    assert_eq!(bed.held("192.0.2.100").await.unwrap().proto, 0);

    bed.quiet().await;
    assert!(bed.settle(&desired, &[Adopt::KubeVip]).await.is_empty());
    for vip in ["192.0.2.100", "2001:db8::100"] {
        let found = bed.held(vip).await.unwrap();
        assert_eq!(found.proto, IFA_PROTO_XVIP);
        assert_eq!(found.preferred_lft == 0, found.net.addr().is_ipv6());
    }
    // In place: no removal was heard, and an address that we mark is no hint.
    assert!(!bed.hint_soon().await);
    assert!(plan(&desired, &bed.host().await, &[]).is_settled());
}

#[tokio::test]
#[ignore = "needs root"]
async fn an_address_that_a_human_removes_comes_back_five_times_a_minute() {
    let mut bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    let desired = VIPS.map(|vip| want(ifindex, vip));
    let mut limit = FlapLimit::default();
    let start = Instant::now();
    let mut returns = 0;
    for round in 0..8 {
        let mut plan = plan(&desired, &bed.host().await, &[]);
        returns += limit.admit(&mut plan, start.elapsed()).restored.len();
        for result in bed.netlink.bind(&plan.changes()).await {
            result.unwrap();
        }
        let back = bed.held("192.0.2.100").await.is_some();
        assert_eq!(back, round <= 5, "round {round}");
        bed.quiet().await;
        if back {
            bed.run("ip addr del 192.0.2.100/32 dev eth0");
            bed.hinted().await;
        }
    }
    assert_eq!(returns, 5);
    assert!(bed.held("2001:db8::100").await.is_some());
}

#[tokio::test]
#[ignore = "needs root"]
async fn what_the_link_loses_comes_back_with_it() {
    let mut bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    let desired = VIPS.map(|vip| want(ifindex, vip));
    for (lose, find, refusal) in [
        ("ip link set eth0 down", "ip link set eth0 up", None),
        (
            "ip link set eth0 mtu 1200",
            "ip link set eth0 mtu 1500",
            Some(Refusal::MtuTooSmall(1200)),
        ),
        (
            "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
            "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0",
            Some(Refusal::Ipv6Disabled),
        ),
    ] {
        bed.settle(&desired, &[]).await;
        bed.quiet().await;
        bed.run(lose);
        bed.hinted().await;
        assert!(bed.held("2001:db8::100").await.is_none(), "{lose}");
        // The driver plans while it lasts, too: that neither fails nor spoils what follows.
        let refused = bed.settle(&desired, &[]).await;
        assert_eq!(refused, Vec::from_iter(refusal), "{lose}");
        assert!(bed.held("192.0.2.100").await.is_some(), "{lose}");
        bed.quiet().await;
        bed.run(find);
        bed.hinted().await;
        assert!(bed.settle(&desired, &[]).await.is_empty(), "{find}");
        let found = bed.held("2001:db8::100").await.unwrap();
        assert_eq!(found.flags & IFA_F_TENTATIVE, 0, "{find}");
        bed.membership("ff0200000000000000000001ff000100", true)
            .await;
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn an_interface_that_comes_later_is_renamed_or_goes_is_followed() {
    let mut bed = Bed::new();
    let desired = [want(77, "192.0.2.100/32")];
    assert_eq!(bed.settle(&desired, &[]).await, [Refusal::NoLink]);
    bed.quiet().await;
    bed.run("ip link add late0 index 77 type veth peer name late1");
    bed.hinted().await;
    assert!(bed.settle(&desired, &[]).await.is_empty());
    bed.quiet().await;
    bed.run("ip link set late0 name early0");
    bed.hinted().await;
    let host = bed.host().await;
    assert!(host.link_named("late0").is_none());
    let link = host.link_named("early0").unwrap();
    assert!(link.addresses.iter().any(Address::is_ours));
    assert!(plan(&desired, &host, &[]).is_settled());
    bed.quiet().await;
    bed.run("ip link del early0");
    bed.hinted().await;
    assert_eq!(bed.settle(&desired, &[]).await, [Refusal::NoLink]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_candidate_is_member_of_the_group_without_the_vip_also_after_the_link_lost_it() {
    let bed = Bed::new();
    let link = bed.eth0().await;
    let vip = "2001:db8::12:3456";
    let desired = [Wanted {
        kind: Kind::Group,
        ..want(link.ifindex, &format!("{vip}/128"))
    }];
    let group = "ff0200000000000000000001ff123456";
    bed.membership(group, false).await;
    bed.settle(&desired, &[]).await;
    bed.membership(group, true).await;
    assert!(bed.held(vip).await.is_none());
    let cover = cover(vip.parse().unwrap(), link.mac.unwrap());
    let joined = bed.held(&cover.addr().to_string()).await.unwrap();
    assert!(joined.is_ours() && joined.preferred_lft == 0);
    // A membership by an address with `autojoin` would be lost here for good.
    bed.run("ip link set eth0 mtu 1200 && ip link set eth0 mtu 1500");
    bed.membership(group, false).await;
    bed.settle(&desired, &[]).await;
    bed.membership(group, true).await;
    bed.settle(&[], &[]).await;
    bed.membership(group, false).await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_lifetime_is_refreshed_in_place_and_without_an_agent_it_ends() {
    let mut bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    let for_seconds = |valid_lft| {
        VIPS.map(|vip| Wanted {
            valid_lft,
            ..want(ifindex, vip)
        })
    };
    bed.settle(&for_seconds(1), &[]).await;
    bed.quiet().await;
    bed.settle(&for_seconds(300), &[]).await;
    assert!(!bed.hint_soon().await, "a refresh removes nothing");
    for vip in ["192.0.2.100", "2001:db8::100"] {
        let left = bed.held(vip).await.unwrap().valid_lft;
        assert!((298..=300).contains(&left), "{vip}: {left} s");
    }
    assert!(plan(&for_seconds(300), &bed.host().await, &[]).is_settled());
    bed.settle(&for_seconds(1), &[]).await;
    for vip in ["192.0.2.100", "2001:db8::100"] {
        let gone = async { while bed.held(vip).await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), gone)
            .await
            .unwrap();
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_foreign_address_is_not_taken_along_with_the_primary_one_of_its_subnet() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    bed.run("sysctl -qw net.ipv4.conf.all.promote_secondaries=0");
    bed.run("sysctl -qw net.ipv4.conf.eth0.promote_secondaries=0");
    bed.settle(&[want(ifindex, "192.0.2.100/24")], &[]).await;
    bed.run("ip addr add 192.0.2.7/24 dev eth0");
    let foreign = "192.0.2.7/24".parse().unwrap();
    assert_eq!(bed.settle(&[], &[]).await, [Refusal::TakesAlong(foreign)]);
    bed.run("sysctl -qw net.ipv4.conf.all.promote_secondaries=1");
    assert!(bed.settle(&[], &[]).await.is_empty());
    assert!(bed.held("192.0.2.100").await.is_none());
    assert!(bed.held("192.0.2.7").await.is_some());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_refused_address_names_itself_and_does_not_stop_the_others() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    bed.run("ip addr add 192.0.2.100/32 dev eth0");
    let change = |operation, net: &str| AddressChange {
        operation,
        ifindex,
        net: net.parse().unwrap(),
        valid_lft: FOR_EVER,
    };
    let results = (bed.netlink)
        .bind(&[
            change(Operation::Add, "192.0.2.99/32"),
            change(Operation::Add, "192.0.2.100/32"),
            change(Operation::Add, "ff02::5/128"),
            change(Operation::Add, "2001:db8::1/128"),
            change(Operation::Remove, "192.0.2.55/32"),
        ])
        .await;
    let fine: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, false, true, true]);
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("192.0.2.100/32") && error.contains("exists"),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "needs root"]
async fn links_and_default_routes_are_seen_as_they_are() {
    let bed = Bed::new();
    for command in [
        "ip link add br0 type bridge",
        "ip link set lan0 master br0",
        "ip link add link eth0 name mv0 type macvlan",
        "ip link set eth0 address 02:00:00:00:00:07 mtu 1400",
        "sysctl -qw net.ipv4.conf.all.promote_secondaries=0",
        "sysctl -qw net.ipv4.conf.lan0.promote_secondaries=0",
        "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1",
        "sysctl -qw net.ipv6.conf.eth0.forwarding=1",
        "ip addr add 192.0.2.7/24 dev eth0",
        "ip addr add 2001:db8::7/64 dev eth0 nodad",
        "ip route add default via 192.0.2.1 metric 5",
        "ip -6 route add default via 2001:db8::1 metric 6",
        "ip route add 198.51.100.0/24 via 192.0.2.1",
    ] {
        bed.run(command);
    }
    let host = bed.host().await;
    let link = |name| host.link_named(name).unwrap();
    let (eth0, mv0, lan0) = (link("eth0"), link("mv0"), link("lan0"));
    assert_eq!(eth0.mac.unwrap().to_string(), "02:00:00:00:00:07");
    assert_eq!((eth0.mtu, eth0.lower), (1400, None));
    assert_eq!(eth0.kind.as_deref(), Some("veth"));
    assert!(eth0.up && eth0.carrier && !eth0.noarp && !eth0.ipv6_disabled);
    assert!(eth0.ipv6_forwarding && !lan0.ipv6_forwarding);
    assert!(eth0.promote_secondaries && !lan0.promote_secondaries);
    assert_eq!(lan0.master, Some(link("br0").ifindex));
    assert_eq!(mv0.kind.as_deref(), Some("macvlan"));
    assert_eq!(mv0.lower, Some(eth0.ifindex));
    assert_eq!(eth0.own_ipv4(), Some("192.0.2.7".parse().unwrap()));
    let route = |gateway: &str, metric| (Some(gateway.parse().unwrap()), eth0.ifindex, metric);
    let routes: Vec<_> = (host.default_routes.iter())
        .map(|route| (route.gateway, route.ifindex, route.metric))
        .collect();
    assert_eq!(routes, [route("192.0.2.1", 5), route("2001:db8::1", 6)]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn dropped_events_are_told_and_counted_and_the_resync_misses_nothing() {
    let bed = Bed::new();
    // Room for a few events only, and thousands that come faster than they are read. Whether the
    // reader keeps up is the scheduler's choice: again, until once it did not.
    let (netlink, mut changes) = Netlink::connect_with(1).unwrap();
    let each = |verb| {
        format!(
            "for i in $(seq 0 1999); do echo addr {verb} 10.0.$((i / 250)).$((i % 250))/32 dev eth0; \
             done | ip -batch -"
        )
    };
    bed.run(&each("add"));
    for _ in 0..20 {
        if changes.overruns() > 0 {
            break;
        }
        bed.run(&each("del"));
        bed.run(&each("add"));
    }
    let overrun = async { while changes.next().await != Some(Hint::Overrun) {} };
    tokio::time::timeout(Duration::from_secs(5), overrun)
        .await
        .unwrap();
    assert!(changes.overruns() >= 1);
    let host = netlink.observe().await.unwrap();
    let addresses = &host.link_named("eth0").unwrap().addresses;
    let ipv4 = addresses.iter().filter(|a| a.net.addr().is_ipv4());
    assert_eq!(ipv4.count(), 2000);
}

/// The kernel's own cost grows with the square of the addresses of a link: IPv4 walks its list,
/// and IPv6 announces all groups of the link anew for each address added while it is up
/// (`ipv6_find_idev`, `ipv6_mc_up`). `XVIP_TEST_ADDRESSES` per family, 10,000 unless set;
/// `XVIP_TEST_GROUPS=1` gives each IPv6 address a solicited-node group of its own.
#[tokio::test]
#[ignore = "needs root"]
async fn twenty_thousand_addresses_are_bound_without_a_round_trip_each() {
    let bed = Bed::new();
    let ifindex = bed.eth0().await.ifindex;
    let count: u32 =
        std::env::var("XVIP_TEST_ADDRESSES").map_or(10_000, |count| count.parse().unwrap());
    let own_groups = std::env::var_os("XVIP_TEST_GROUPS").is_some();
    let v4 = |i: u32| IpAddr::from((0x0a00_0000 + i).to_be_bytes());
    let v6 = |i: u32| {
        let shift = if own_groups { 0 } else { 64 };
        let low = (u128::from(i) << shift) | u128::from(!own_groups);
        IpAddr::from((0x2001_0db8_u128 << 96 | low).to_be_bytes())
    };
    let mut desired = Vec::new();
    for (family, address) in [("IPv4", &v4 as &dyn Fn(u32) -> IpAddr), ("IPv6", &v6)] {
        desired.extend((0..count).map(|i| Wanted {
            vip: address(i).into(),
            ..want(ifindex, VIPS[0])
        }));
        let planned = plan(&desired, &bed.host().await, &[]);
        let start = Instant::now();
        let results = bed.netlink.bind(&planned.changes()).await;
        println!("{family}: {} bound in {:?}", results.len(), start.elapsed());
        assert_eq!(results.len(), count as usize);
        results.into_iter().for_each(|result| result.unwrap());
    }
    let start = Instant::now();
    let host = bed.host().await;
    println!("observed in {:?}", start.elapsed());
    let start = Instant::now();
    let settled = plan(&desired, &host, &[]);
    println!("planned in {:?}", start.elapsed());
    assert!(settled.is_settled());
    assert_eq!(settled.adopted.len(), 2 * count as usize);
    assert_eq!(bed.changes.overruns(), 0);
}
