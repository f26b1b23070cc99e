use super::super::tests::{config, errors, of_file, place, places, reading};
use super::*;
use crate::config::{Config, Ownership};

fn cluster(config: &Config) -> &Kubernetes {
    match &config.ownership {
        Ownership::Kubernetes(cluster) => cluster,
        Ownership::Static => panic!("static"),
    }
}

fn of(file: &str) -> Kubernetes {
    cluster(&of_file(&format!("ownership: kubernetes\n{file}"))).clone()
}

fn refused(file: &str) -> Vec<(String, String)> {
    errors(&format!("ownership: kubernetes\n{file}"))
}

const EVERYTHING: &str = r#"
ownership: kubernetes
kubeconfig: /etc/kubernetes/admin.conf
namespace: vips
lease: { duration: 2s, renew: 600ms, hold: 1.6s, maxAnnouncers: 3 }
onApiLoss: fence
services: { loadBalancerClasses: [example.org/vip, plain], default: false, namespaces: [web, db] }
controlPlane: { addresses: [192.0.2.10, "2001:db8::10"], port: 8443 }
"#;

#[test]
fn every_key_takes_effect_from_the_file_the_environment_and_the_command_line() {
    let millis = Duration::from_millis;
    let expected = Kubernetes {
        kubeconfig: Some("/etc/kubernetes/admin.conf".into()),
        namespace: "vips".into(),
        timing: Timing::new(millis(2000), millis(600), millis(1600)).unwrap(),
        max_announcers: NonZeroUsize::new(3).unwrap(),
        on_api_loss: OnApiLoss::Fence,
        services: Services {
            load_balancer_classes: vec!["example.org/vip".into(), "plain".into()],
            default: false,
            namespaces: vec!["web".into(), "db".into()],
        },
        control_plane: Some(ControlPlane {
            addresses: vec![
                "192.0.2.10".parse().unwrap(),
                "2001:db8::10".parse().unwrap(),
            ],
            port: NonZeroU16::new(8443).unwrap(),
        }),
    };
    assert_eq!(cluster(&of_file(EVERYTHING)), &expected);
    let variables = [
        ("XVIP_OWNERSHIP", "kubernetes"),
        ("XVIP_KUBECONFIG", "/etc/kubernetes/admin.conf"),
        ("XVIP_NAMESPACE", "vips"),
        ("XVIP_LEASE_DURATION", "2s"),
        ("XVIP_LEASE_RENEW", "600ms"),
        ("XVIP_LEASE_HOLD", "1.6s"),
        ("XVIP_LEASE_MAX_ANNOUNCERS", "3"),
        ("XVIP_ON_API_LOSS", "fence"),
        (
            "XVIP_SERVICES_LOAD_BALANCER_CLASSES",
            "example.org/vip, plain",
        ),
        ("XVIP_SERVICES_DEFAULT", "false"),
        ("XVIP_SERVICES_NAMESPACES", "web,db"),
        ("XVIP_CONTROL_PLANE_ADDRESSES", "192.0.2.10,2001:db8::10"),
        ("XVIP_CONTROL_PLANE_PORT", "8443"),
    ];
    assert_eq!(cluster(&config(&[], &variables, "")), &expected);
    let flags: Vec<(Key, &str)> = Key::ALL
        .into_iter()
        .filter_map(|key| {
            let mut given = variables.iter();
            Some((key, given.find(|(name, _)| *name == key.variable())?.1))
        })
        .collect();
    assert_eq!(flags.len(), variables.len());
    assert_eq!(cluster(&config(&flags, &[], "")), &expected);
}

#[test]
fn nothing_but_the_mode_gives_the_defaults() {
    for file in [
        "",
        "kubeconfig: \"\"\nlease:\nservices: {}\ncontrolPlane: {addresses: []}",
    ] {
        assert_eq!(of(file), Kubernetes::default(), "{file:?}");
    }
    let default = Kubernetes::default();
    assert_eq!(default.namespace, "xvip-system");
    assert_eq!(default.max_announcers.get(), 8);
    assert_eq!(default.services.load_balancer_classes, ["xvip.io/vip"]);
    assert!(default.services.default);
    let plane = of("controlPlane: {addresses: [192.0.2.10]}").control_plane;
    assert_eq!(plane.unwrap().port.get(), 6443);
    let found = reading(&[], &[], "ownership: kubernetes");
    assert_eq!((found.errors(), found.warnings()), (&[][..], &[][..]));
}

#[test]
fn a_value_that_cannot_be_meant_is_refused_where_it_stands() {
    for (file, field, value) in [
        ("lease: {duration: 5}", "lease.duration", "5"),
        ("lease: {duration: 5 s}", "lease.duration", "5 s"),
        ("lease: {duration: 5h}", "lease.duration", "5h"),
        ("lease: {renew: fast}", "lease.renew", "fast"),
        ("lease: {hold: -4s}", "lease.hold", "-4s"),
        ("lease: {hold: 1.2.3s}", "lease.hold", "1.2.3s"),
        ("lease: {maxAnnouncers: 0}", "lease.maxAnnouncers", "0"),
        ("lease: {hald: 4s}", "lease.hald", "\"4s\""),
        ("lease: 5s", "lease", "\"5s\""),
        ("namespace: Upper", "namespace", "Upper"),
        ("namespace: \"\"", "namespace", ""),
        ("kubeconfig: 7", "kubeconfig", "7"),
        ("onApiLoss: wait", "onApiLoss", "wait"),
        ("services: {default: maybe}", "services.default", "maybe"),
        (
            "services: {loadBalancerClasses: [xvip.io/vip, /vip]}",
            "services.loadBalancerClasses[1]",
            "/vip",
        ),
        (
            "services: {namespaces: [a.b]}",
            "services.namespaces[0]",
            "a.b",
        ),
        ("services: {class: a}", "services.class", "\"a\""),
        (
            "controlPlane: {addresses: [fe80::1]}",
            "controlPlane.addresses[0]",
            "fe80::1",
        ),
        (
            "controlPlane: {addresses: [192.0.2.1, 192.0.2.1]}",
            "controlPlane.addresses[1]",
            "192.0.2.1",
        ),
        (
            "prefix: 24\ncontrolPlane: {addresses: [192.0.2.255]}",
            "controlPlane.addresses[0]",
            "192.0.2.255",
        ),
        ("controlPlane: {port: 0}", "controlPlane.port", "0"),
    ] {
        assert_eq!(refused(file), [place(field, value)], "{file}");
    }
}

#[test]
fn times_that_make_no_session_are_refused_with_the_one_to_change() {
    for (lease, field, value, fix) in [
        ("{duration: 2s}", "lease.hold", "4s", "1551ms"),
        ("{hold: 4802ms}", "lease.hold", "4802ms", "4001ms"),
        ("{duration: 5500ms}", "lease.duration", "5500ms", "5s"),
        ("{renew: 4s}", "lease.renew", "4s", "1333ms"),
        ("{renew: 0s}", "lease.renew", "0s", "lease.hold"),
    ] {
        let file = format!("ownership: kubernetes\nlease: {lease}");
        let found = reading(&[], &[], &file);
        assert_eq!(places(found.errors()), [place(field, value)], "{lease}");
        assert!(found.errors()[0].fix.contains(fix), "{:?}", found.errors());
    }
    let variable = [("XVIP_OWNERSHIP", "kubernetes"), ("XVIP_LEASE_HOLD", "9s")];
    let found = reading(&[], &variable, "");
    assert_eq!(places(found.errors()), [place("XVIP_LEASE_HOLD", "9s")]);
}

#[test]
fn a_list_of_vips_contradicts_kubernetes_ownership() {
    let list = "vips: [{address: 192.0.2.1}]";
    let found = reading(&[], &[], &format!("ownership: kubernetes\n{list}"));
    let [problem] = found.errors() else {
        panic!("{:?}", found.errors())
    };
    assert_eq!(problem.field, "vips");
    assert!(problem.fix.contains("ownership: static"));
    assert_eq!(refused("vips: []"), []);
    let flag = [(Key::Vips, "192.0.2.1")];
    let found = reading(&flag, &[], "ownership: kubernetes");
    assert_eq!(places(found.errors()), [place("--vips", "192.0.2.1")]);
}

#[test]
fn a_key_of_kubernetes_is_a_warning_with_static_ownership_and_judged_all_the_same() {
    let file = EVERYTHING.replace("ownership: kubernetes", "vips: [{address: 192.0.2.1}]");
    let found = reading(&[], &[], &file);
    assert_eq!(found.errors(), []);
    assert_eq!(found.shown().ownership, Ownership::Static);
    let mut fields: Vec<&str> = found.warnings().iter().map(|w| &*w.field).collect();
    fields.sort_unstable();
    let mut keys = Key::OF_KUBERNETES.map(Key::path);
    keys.sort_unstable();
    assert_eq!(fields, keys);
    assert_eq!(errors("lease: {hold: 9s}"), [place("lease.hold", "9s")]);
}

#[test]
fn what_serves_nothing_or_says_nothing_is_a_warning() {
    for (file, field) in [
        (
            "services: {loadBalancerClasses: [], default: false}",
            "services.loadBalancerClasses",
        ),
        ("controlPlane: {port: 6443}", "controlPlane.port"),
    ] {
        let found = reading(&[], &[], &format!("ownership: kubernetes\n{file}"));
        let fields: Vec<&str> = found.warnings().iter().map(|w| &*w.field).collect();
        assert_eq!((found.errors(), fields), (&[][..], vec![field]), "{file}");
    }
}

#[test]
fn kube_vips_variables_take_effect() {
    let environment = [
        ("XVIP_OWNERSHIP", "kubernetes"),
        ("k8s_config_file", "/etc/kubernetes/admin.conf"),
        ("vip_leaseduration", "15"),
        ("vip_renewdeadline", "10"),
        ("vip_retryperiod", "2"),
        ("cp_enable", "true"),
        ("vip_address", "192.0.2.10"),
        ("port", "8443"),
        ("svc_enable", "true"),
        ("svc_namespace", "web"),
        ("lb_class_name", "kube-vip.io/kube-vip-class"),
        ("lb_class_only", "true"),
        ("vip_servicesinterface", "eth1"),
        ("vip_cidr", "128"),
    ];
    let found = reading(&[], &environment, "");
    assert_eq!((found.errors(), found.warnings()), (&[][..], &[][..]));
    let config = found.shown();
    let seconds = Duration::from_secs;
    let expected = Kubernetes {
        kubeconfig: Some("/etc/kubernetes/admin.conf".into()),
        timing: Timing::new(seconds(15), seconds(2), seconds(10)).unwrap(),
        services: Services {
            load_balancer_classes: vec!["kube-vip.io/kube-vip-class".into()],
            default: false,
            namespaces: vec!["web".into()],
        },
        control_plane: Some(ControlPlane {
            addresses: vec!["192.0.2.10".parse().unwrap()],
            port: NonZeroU16::new(8443).unwrap(),
        }),
        ..Kubernetes::default()
    };
    assert_eq!(cluster(config), &expected);
    assert!(config.vips.is_empty());
    let listed = super::super::Interfaces::Listed(vec![crate::config::Glob::new("eth1").unwrap()]);
    assert_eq!(config.interfaces, listed);
}

#[test]
fn kube_vip_without_services_serves_none() {
    let environment = [
        ("svc_enable", "false"),
        ("lb_class_name", "a/b"),
        ("cp_enable", "true"),
        ("address", "192.0.2.10"),
    ];
    let found = config(&[], &environment, "ownership: kubernetes");
    assert!(cluster(&found).services.none());
}

#[test]
fn a_variable_of_kube_vip_without_effect_is_a_warning_with_the_equivalent() {
    for (environment, equivalent) in [
        (&[("address", "192.0.2.10")][..], "controlPlane.addresses"),
        (&[("lb_class_only", "true")], "services.loadBalancerClasses"),
        (
            &[("vip_interface", "eth0"), ("vip_servicesinterface", "eth1")],
            "interfaces: [eth0, eth1]",
        ),
        (&[("port", "6443")], "controlPlane.addresses"),
        (&[("cp_namespace", "kube-system")], "kube-system"),
        (&[("vip_leasename", "plndr-cp-lock")], "Leases"),
        (&[("svc_leasename", "plndr-svcs-lock")], "Leases"),
        (&[("svc_election", "true")], "owner"),
        (&[("vip_leaderelection", "true")], "ownership"),
        (&[("vip_arp", "true")], "ARP"),
        (&[("enable_node_labeling", "true")], "status"),
    ] {
        let found = reading(&[], environment, "ownership: kubernetes");
        assert_eq!(found.errors(), [], "{environment:?}");
        let [warning] = found.warnings() else {
            panic!("{environment:?}: {:?}", found.warnings())
        };
        assert!(warning.message.contains(equivalent), "{}", warning.message);
    }
}

#[test]
fn what_contradicts_kube_vips_variables_is_an_error() {
    let plane = "ownership: kubernetes\ncontrolPlane: {addresses: [192.0.2.10]}";
    for (name, value, file) in [
        ("cp_enable", "true", "ownership: kubernetes"),
        ("cp_enable", "false", plane),
        ("cp_enable", "maybe", plane),
        ("svc_enable", "maybe", plane),
        ("lb_class_only", "maybe", plane),
        ("vip_leaseduration", "15s", plane),
        ("vip_renewdeadline", "9", plane),
    ] {
        let found = reading(&[], &[(name, value)], file);
        assert_eq!(
            found.errors().len(),
            1,
            "{name}={value}: {:?}",
            found.errors()
        );
        assert_eq!(found.errors()[0].field, name);
    }
    assert_eq!(reading(&[], &[("cp_enable", "true")], plane).errors(), []);
}
