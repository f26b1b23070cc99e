use super::*;

fn warned(name: &str, value: &str) -> Vec<(String, String)> {
    let reading = reading(&[], &[(name, value)], "vips: [{address: 192.0.2.1}]");
    assert_eq!(reading.errors(), [], "{name}");
    reading
        .warnings()
        .iter()
        .map(|warning| (warning.field.clone(), warning.message.clone()))
        .collect()
}

#[test]
fn variables_with_an_equal_here_take_effect() {
    let environment = [
        ("vip_interface", "eth0"),
        ("vip_subnet", "24"),
        ("vip_address", "192.0.2.100,2001:db8::100"),
        ("vip_nodename", "node-k"),
        ("vip_loglevel", "5"),
        ("prometheus_server", ":2112"),
    ];
    let config = config(&[], &environment, "");
    assert_eq!(
        config.interfaces,
        Interfaces::Listed(vec![Glob::new("eth0").unwrap()])
    );
    assert_eq!(lengths(&config), [Some(24), Some(128)]);
    assert_eq!(config.vips.len(), 2);
    assert_eq!(config.node, "node-k");
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.http, "[::]:2112".parse().unwrap());
    assert_eq!(
        super::config(&[], &[("address", "192.0.2.7")], "")
            .vips
            .len(),
        1
    );
}

#[test]
fn log_levels_of_both_its_scales_are_understood() {
    for (value, level) in [
        ("-4", LogLevel::Debug),
        ("0", LogLevel::Info),
        ("4", LogLevel::Info),
        ("5", LogLevel::Debug),
        ("8", LogLevel::Error),
        ("WARN", LogLevel::Warn),
    ] {
        assert_eq!(config(&[], &[("vip_loglevel", value)], "").log.level, level);
    }
    let reading = reading(&[], &[("vip_loglevel", "loud")], "");
    assert_eq!(places(reading.errors()), [place("vip_loglevel", "loud")]);
}

#[test]
fn every_other_accepted_variable_is_a_warning_with_the_equivalent() {
    for (name, value, equivalent) in [
        ("vip_servicesinterface", "eth1", "interfaces"),
        ("port", "6443", "controlPlane.port"),
        (
            "k8s_config_file",
            "/etc/kubernetes/admin.conf",
            "kubeconfig",
        ),
        ("health_check_port", "8080", "/healthz"),
        ("vip_arp", "true", "ARP"),
        ("vip_arpRate", "3000", "announceRate"),
        ("vip_leaderelection", "true", "ownership"),
        ("vip_leasename", "plndr-cp-lock", "Leases"),
        ("vip_leaseduration", "15", "lease.duration"),
        ("vip_renewdeadline", "10", "lease.hold"),
        ("vip_retryperiod", "2", "lease.renew"),
        ("cp_enable", "true", "vips"),
        ("cp_namespace", "kube-system", "namespace"),
        ("svc_enable", "true", "ownership: kubernetes"),
        ("svc_namespace", "web", "services.namespaces"),
        ("svc_election", "true", "ownership: kubernetes"),
        ("svc_leasename", "plndr-svcs-lock", "Leases"),
        ("lb_class_only", "true", "services.default"),
        ("lb_class_name", "a/b", "services.loadBalancerClasses"),
        ("enable_node_labeling", "true", "status"),
        ("vip_skipdad", "true", "duplicate address detection"),
    ] {
        let [(field, message)] = &warned(name, value)[..] else {
            panic!("{name}")
        };
        assert_eq!(field, name);
        assert!(message.contains(equivalent), "{name}: {message}");
    }
}

#[test]
fn a_variable_whose_feature_is_not_here_is_refused_with_a_sentence() {
    for name in [
        "bgp_enable",
        "bgp_as",
        "bgp_peers",
        "zebra_enable",
        "vip_routingtable",
        "vip_routingtableid",
        "vip_wireguard",
        "enable_upnp",
        "lb_enable",
        "lb_port",
        "lb_fwdmethod",
        "egress_podcidr",
        "egress_clean",
        "EGRESS_CLEAN",
        "dhcp_mode",
        "dns_mode",
        "vip_ddns",
        "mirror_dest_interface",
    ] {
        let reading = reading(&[], &[(name, "true")], "");
        assert_eq!(places(reading.errors()), [place(name, "true")]);
        assert!(reading.errors()[0].message.contains("not part of xvip"));
        let [(field, message)] = &warned(name, "false")[..] else {
            panic!("{name} switched off asks for nothing")
        };
        assert_eq!(field, name);
        assert!(message.contains("no effect"));
    }
}

#[test]
fn an_unknown_variable_is_a_warning_that_names_the_one_meant() {
    let [(field, message)] = &warned("vip_interfce", "eth0")[..] else {
        panic!()
    };
    assert_eq!(field, "vip_interfce");
    assert!(message.contains("`vip_interface`"), "{message}");
    for name in ["vip_startleader", "mpbgp_ipv4", "config_file"] {
        assert_eq!(warned(name, "true").len(), 1, "{name}");
    }
    assert_eq!(warned("unrelated", "true"), []);
}

#[test]
fn an_empty_variable_is_not_set() {
    let environment = [
        ("vip_cidr", ""),
        ("address", ""),
        ("bgp_enable", ""),
        ("XVIP_NODE", ""),
    ];
    let reading = reading(&[], &environment, "vips: [{address: 192.0.2.1}]");
    assert_eq!((reading.errors(), reading.warnings()), (&[][..], &[][..]));
}

#[test]
fn a_contradiction_is_an_error() {
    for (first, second, field) in [
        (("vip_cidr", "24"), ("vip_subnet", "32"), "vip_cidr"),
        (
            ("address", "192.0.2.1"),
            ("vip_address", "192.0.2.2"),
            "vip_address",
        ),
    ] {
        let found = reading(&[], &[first, second], "");
        let [problem] = found.errors() else {
            panic!("{:?}", found.errors())
        };
        assert_eq!(problem.field, field);
        assert!(problem.message.contains("contradicts"));
        let same = (second.0, first.1);
        assert_eq!(reading(&[], &[first, same], "").errors(), []);
    }
}
