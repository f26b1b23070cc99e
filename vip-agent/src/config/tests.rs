use proptest::prelude::*;

use super::*;

/// Reads with `HOST` for a host name.
pub(super) fn reading(flags: &[(Key, &str)], environment: &[(&str, &str)], file: &str) -> Reading {
    let flags: Vec<(Key, String)> = flags
        .iter()
        .map(|(key, text)| (*key, (*text).to_owned()))
        .collect();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(&flags, environment, Some(file), "HOST")
}

pub(super) fn config(flags: &[(Key, &str)], environment: &[(&str, &str)], file: &str) -> Config {
    reading(flags, environment, file).into_config().unwrap().0
}

pub(super) fn of_file(file: &str) -> Config {
    config(&[], &[], file)
}

/// The errors of a file, as field and value.
pub(super) fn errors(file: &str) -> Vec<(String, String)> {
    places(reading(&[], &[], file).errors())
}

pub(super) fn places(problems: &[Problem]) -> Vec<(String, String)> {
    problems
        .iter()
        .map(|problem| {
            assert!(!problem.message.is_empty() && !problem.fix.is_empty());
            (problem.field.clone(), problem.value.clone())
        })
        .collect()
}

pub(super) fn place(field: &str, value: &str) -> (String, String) {
    (field.to_owned(), value.to_owned())
}

fn lengths(config: &Config) -> Vec<Option<u8>> {
    ["192.0.2.100", "2001:db8::100"]
        .map(|address| config.prefix.resolve(address.parse().unwrap(), Some(&[])))
        .map(|resolved| resolved.net.map(|net| net.prefix_len()))
        .to_vec()
}

const EVERYTHING: &str = r#"
node: node-a
interfaces: [eth0, "bond*"]
prefix: "24,64"
attach: tc
bind: none
ignoreInterfaces: ["cali*"]
announceRate: 15
ownership: static
vips:
  - address: 192.0.2.100
  - address: 2001:db8::100
    interfaces: [eth1]
http: "[::1]:9000"
metrics: 192.0.2.11:9000
pinDir: /sys/fs/bpf/other
adopt: [kube-vip]
bootId: test
onExit: keep
log: {level: debug, format: json}
"#;

#[test]
fn every_key_of_the_file_takes_effect() {
    let glob = |text| Glob::new(text).unwrap();
    let vip = |address: &str, interfaces| VipSpec {
        address: address.parse().unwrap(),
        interfaces,
        prefix: None,
    };
    let expected = Config {
        node: "node-a".into(),
        interfaces: Interfaces::Listed(vec![glob("eth0"), glob("bond*")]),
        prefix: PrefixPolicy::parse("24,64").unwrap(),
        attach: Attach::Tc,
        bind: Bind::None,
        ignore_interfaces: vec![glob("cali*")],
        announce_rate: NonZeroU32::new(15).unwrap(),
        ownership: Ownership::Static,
        vips: vec![
            vip("192.0.2.100", None),
            vip("2001:db8::100", Some(vec![glob("eth1")])),
        ],
        http: "[::1]:9000".parse().unwrap(),
        metrics: Some("192.0.2.11:9000".parse().unwrap()),
        pin_dir: "/sys/fs/bpf/other".into(),
        adopt: vec![Adopt::KubeVip],
        boot_id: Some("test".into()),
        on_exit: OnExit::Keep,
        log: Log {
            level: LogLevel::Debug,
            format: LogFormat::Json,
        },
    };
    assert_eq!(of_file(EVERYTHING), expected);
    let variables = [
        ("XVIP_NODE", "node-a"),
        ("XVIP_INTERFACES", "eth0, bond*"),
        ("XVIP_PREFIX", "24,64"),
        ("XVIP_ATTACH", "tc"),
        ("XVIP_BIND", "none"),
        ("XVIP_IGNORE_INTERFACES", "cali*"),
        ("XVIP_ANNOUNCE_RATE", "15"),
        ("XVIP_OWNERSHIP", "static"),
        ("XVIP_VIPS", "192.0.2.100,2001:db8::100"),
        ("XVIP_HTTP", "[::1]:9000"),
        ("XVIP_METRICS", "[192.0.2.11]:9000"),
        ("XVIP_PIN_DIR", "/sys/fs/bpf/other"),
        ("XVIP_ADOPT", "kube-vip"),
        ("XVIP_BOOT_ID", "test"),
        ("XVIP_ON_EXIT", "keep"),
        ("XVIP_LOG_LEVEL", "debug"),
        ("XVIP_LOG_FORMAT", "json"),
    ];
    let expected = Config {
        vips: vec![vip("192.0.2.100", None), vip("2001:db8::100", None)],
        ..expected
    };
    assert_eq!(config(&[], &variables, ""), expected);
    let flags: Vec<(Key, &str)> = Key::ALL
        .into_iter()
        .filter(|key| !Key::OF_KUBERNETES.contains(key))
        .map(|key| {
            let variable = key.variable();
            let given = variables.iter().find(|(name, _)| *name == variable);
            (key, given.unwrap().1)
        })
        .collect();
    assert_eq!(config(&flags, &[], ""), expected);
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    for file in ["", "\n", "# nothing\n", "---\n", "node:\nvips:\nlog:\n"] {
        let config = of_file(file);
        let expected = Config {
            node: "HOST".into(),
            ..Config::default()
        };
        assert_eq!(config, expected, "{file:?}");
    }
    let config = of_file("");
    assert_eq!(config.http.to_string(), "127.0.0.1:9470");
    assert_eq!(config.announce_rate.get(), 5000);
    assert_eq!(config.ignore_interfaces.len(), 8);
}

#[test]
fn a_flag_beats_the_environment_that_beats_kube_vip_that_beats_the_file() {
    let file = "prefix: 21,61";
    let kube_vip = ("vip_subnet", "22,62");
    let ours = ("XVIP_PREFIX", "23,63");
    let flag = (Key::Prefix, "24,64");
    for (flags, environment, expected) in [
        (&[][..], &[][..], [Some(21), Some(61)]),
        (&[], &[kube_vip], [Some(22), Some(62)]),
        (&[], &[kube_vip, ours], [Some(23), Some(63)]),
        (&[flag], &[kube_vip, ours], [Some(24), Some(64)]),
    ] {
        assert_eq!(lengths(&config(flags, environment, file)), expected);
    }
}

#[test]
fn the_node_is_named_by_node_name_before_the_host_name() {
    let environment = [("NODE_NAME", "node-b")];
    assert_eq!(config(&[], &environment, "").node, "node-b");
    assert_eq!(config(&[], &environment, "node: node-a").node, "node-a");
    assert_eq!(config(&[], &[("NODE_NAME", "")], "").node, "HOST");
    let nameless = read(&[], [], None, "");
    assert_eq!(places(nameless.errors()), [place("node", "")]);
}

#[test]
fn every_error_is_reported_at_once() {
    let file = r#"
node: 5
interfaces: eth0
prefx: 32
prefix: "129"
attach: xdp
bind: true
ignoreInterfaces: [1, "a b"]
announceRate: 0
ownership: shared
vips:
  - address: 192.0.2.300
  - address: 192.0.2.1
    interface: [eth0]
  - 192.0.2.2
  - {}
  - address: 192.0.2.1
http: localhost
pinDir: relative
adopt: [cilium]
bootId: 7
onExit: stop
log: {levl: info, format: xml}
services: {classes: []}
"#;
    let expected = [
        ("adopt[0]", "cilium"),
        ("announceRate", "0"),
        ("attach", "xdp"),
        ("bind", "true"),
        ("bootId", "7"),
        ("http", "localhost"),
        ("ignoreInterfaces[0]", "1"),
        ("ignoreInterfaces[1]", "a b"),
        ("interfaces", "eth0"),
        ("log.format", "xml"),
        ("log.levl", "\"info\""),
        ("node", "5"),
        ("onExit", "stop"),
        ("ownership", "shared"),
        ("pinDir", "relative"),
        ("prefix", "129"),
        ("prefx", "32"),
        ("services.classes", "[]"),
        ("vips[0].address", "192.0.2.300"),
        ("vips[1].interface", "[\"eth0\"]"),
        ("vips[2]", "192.0.2.2"),
        ("vips[3]", "{}"),
        ("vips[4].address", "192.0.2.1"),
    ];
    let mut found = errors(file);
    found.sort();
    assert_eq!(found, expected.map(|(field, value)| place(field, value)));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_one_meant() {
    let reading = reading(&[], &[], "interface: [eth0]\npin_dir: /x\nfoo: 1");
    let fixes: Vec<&str> = reading.errors().iter().map(|e| e.fix.as_str()).collect();
    assert!(fixes.contains(&"did you mean `interfaces`?"), "{fixes:?}");
    assert!(fixes.contains(&"did you mean `pinDir`?"), "{fixes:?}");
    assert!(fixes.iter().any(|fix| fix.starts_with("remove it")));
}

#[test]
fn what_is_no_yaml_is_an_error_with_its_line() {
    let reading = reading(&[], &[("XVIP_ATTACH", "xdp")], "node: a\nvips: [\n");
    let places = places(reading.errors());
    assert!(places.iter().any(|(field, _)| field.starts_with("file:")));
    assert!(places.contains(&place("XVIP_ATTACH", "xdp")), "{places:?}");
    assert_eq!(errors("- a"), [place("file:1:1", "- a")]);
    let twice = errors("node: a\nnode: b\nattach: xdp");
    let expected = [place("file:2:1", "node: b"), place("attach", "xdp")];
    assert_eq!(twice, expected, "a key given twice");
}

#[test]
fn the_prefix_is_read_from_every_source_alike() {
    for (text, expected) in [
        ("32", [Some(32), Some(128)]),
        ("24", [Some(24), Some(128)]),
        ("128", [Some(32), Some(128)]),
        ("64", [Some(32), Some(64)]),
        ("32,128", [Some(32), Some(128)]),
        ("/24, /64", [Some(24), Some(64)]),
        ("024", [Some(24), Some(128)]),
        ("auto,64", [Some(32), Some(64)]),
    ] {
        let quoted = format!("prefix: \"{text}\"");
        let plain = format!("prefix: {text}");
        for config in [
            of_file(&quoted),
            of_file(&plain),
            config(&[(Key::Prefix, text)], &[], ""),
            config(&[], &[("XVIP_PREFIX", text)], ""),
            config(&[], &[("vip_cidr", text)], ""),
            config(&[], &[("vip_subnet", text)], ""),
        ] {
            assert_eq!(lengths(&config), expected, "{text}");
        }
    }
    for text in ["128,32", "0", "32,0", "129", "-1", "abc", "32,128,1", "32,"] {
        assert_eq!(
            errors(&format!("prefix: \"{text}\"")),
            [place("prefix", text)]
        );
        for (flags, environment, field) in [
            (&[(Key::Prefix, text)][..], &[][..], "--prefix"),
            (&[], &[("XVIP_PREFIX", text)], "XVIP_PREFIX"),
            (&[], &[("vip_cidr", text)], "vip_cidr"),
            (&[], &[("vip_subnet", text)], "vip_subnet"),
        ] {
            let reading = reading(flags, environment, "");
            assert_eq!(places(reading.errors()), [place(field, text)]);
        }
    }
}

#[test]
fn the_prefix_is_also_a_number_or_a_mapping_in_the_file() {
    for (file, expected) in [
        ("prefix: 24", [Some(24), Some(128)]),
        ("prefix: {ipv4: 24, ipv6: 64}", [Some(24), Some(64)]),
        ("prefix: {ipv6: 64}", [Some(32), Some(64)]),
        ("prefix: {ipv4: /24}", [Some(24), Some(128)]),
        ("prefix: {}", [Some(32), Some(128)]),
    ] {
        assert_eq!(lengths(&of_file(file)), expected, "{file}");
    }
    for (file, field, value) in [
        ("prefix: -1", "prefix", "-1"),
        ("prefix: 24.5", "prefix", "24.5"),
        ("prefix: [32, 128]", "prefix", "[32,128]"),
        ("prefix: true", "prefix", "true"),
        ("prefix: {ipv4: 33}", "prefix.ipv4", "33"),
        ("prefix: {ipv6: 0}", "prefix.ipv6", "0"),
        ("prefix: {ipv4: [1]}", "prefix.ipv4", "[1]"),
        ("prefix: {ipv5: 1}", "prefix.ipv5", "1"),
    ] {
        assert_eq!(errors(file), [place(field, value)], "{file}");
    }
}

#[test]
fn the_ipv6_prefix_alone_that_crashed_kube_vip_binds_an_ipv4_vip_as_32() {
    let config = config(&[], &[("vip_cidr", "128"), ("address", "192.0.2.100")], "");
    let bound = config.bound_on(&config.vips[0], None);
    assert_eq!(bound.net, Some("192.0.2.100/32".parse().unwrap()));
    assert!(matches!(
        bound.note,
        Some(Note::OtherFamily { given: 128, .. })
    ));
}

#[test]
fn no_address_that_cannot_be_a_vip_is_accepted() {
    for address in [
        "169.254.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "127.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.8",
        "::",
        "::1",
        "ff02::1",
        "::ffff:192.0.2.1",
        "fe80::1",
        "100::8",
        "fe80::1%eth0",
        "192.0.2.1/24",
        "example.org",
        "",
    ] {
        let file = format!("vips: [{{address: \"{address}\"}}]");
        assert_eq!(errors(&file), [place("vips[0].address", address)]);
    }
    for address in ["192.0.2.100", "100::9", "192.0.0.9", "fd00::1", "240.0.0.1"] {
        let file = format!("vips: [{{address: \"{address}\"}}]");
        assert_eq!(errors(&file), [], "{address}");
    }
}

#[test]
fn an_address_that_its_own_prefix_reserves_is_refused() {
    for (prefix, address) in [
        ("24,64", "192.0.2.0"),
        ("24,64", "192.0.2.255"),
        ("24,64", "2001:db8::"),
    ] {
        let file = format!("prefix: {prefix}\nvips: [{{address: \"{address}\"}}]");
        assert_eq!(errors(&file), [place("vips[0].address", address)]);
    }
    for (prefix, address) in [
        ("31,127", "192.0.2.0"),
        ("31,127", "192.0.2.1"),
        ("31,127", "2001:db8::"),
        ("32,128", "192.0.2.255"),
        ("auto", "192.0.2.255"),
    ] {
        let file = format!("prefix: {prefix}\nvips: [{{address: \"{address}\"}}]");
        assert_eq!(errors(&file), [], "{prefix} {address}");
    }
}

#[test]
fn an_unknown_variable_of_ours_is_a_warning_unless_kubernetes_put_it_there() {
    let environment = [
        ("XVIP_PREFX", "24"),
        ("XVIP_CONFIG", "/etc/xvip.yaml"),
        ("XVIP_SERVICE_HOST", "192.0.2.1"),
        ("XVIP_PORT_9470_TCP", "tcp://192.0.2.1:9470"),
        ("XVIP_AGENT_PORT", "tcp://192.0.2.1:9470"),
        ("PATH", "/bin"),
    ];
    let reading = reading(&[], &environment, "vips: [{address: 192.0.2.1}]");
    let [warning] = reading.warnings() else {
        panic!("{:?}", reading.warnings())
    };
    assert_eq!(warning.field, "XVIP_PREFX");
    assert!(warning.message.contains("XVIP_PREFIX"));
    assert_eq!(reading.errors(), []);
}

#[test]
fn an_overridden_value_is_still_judged() {
    let reading = reading(&[(Key::Attach, "tc")], &[], "attach: xdp");
    assert_eq!(places(reading.errors()), [place("attach", "xdp")]);
    assert_eq!(reading.shown().attach, Attach::Tc);
}

#[test]
fn twenty_thousand_vips_are_read() {
    let mut file = "vips:\n".to_owned();
    for index in 0..10_000_u32 {
        let v4 = Ipv4Addr::from(0x0a00_0001 + index);
        file += &format!(
            "  - address: {v4}\n    interfaces: [eth0, eth1]\n  - address: fd00::{index:x}\n"
        );
    }
    let file = file.replace("fd00::0\n", "fd00::ffff:0\n");
    assert_eq!(of_file(&file).vips.len(), 20_000);
}

proptest! {
    #[test]
    fn no_file_and_no_variable_panics(
        file in prop_oneof![
            any::<String>(),
            "(prefix|vips|node|log|http|interfaces|lease|services|controlPlane): [-{}\\[\\]a-z0-9:,.\"'& *!|>]{0,24}\n",
        ],
        prefix in any::<String>(),
        vips in "[0-9a-f:.,/%]{0,24}",
    ) {
        let environment = [("vip_cidr", &*prefix), ("XVIP_VIPS", &*vips), ("vip_loglevel", &*prefix), ("XVIP_LEASE_HOLD", &*prefix)];
        let reading = reading(&[(Key::Prefix, &*prefix)], &environment, &file);
        for vip in &reading.shown().vips {
            let bound = reading.shown().bound_on(vip, None);
            if let Some(net) = bound.net {
                prop_assert!(net.prefix_len() > 0 && net.prefix_len() <= net.max_prefix_len());
            }
        }
    }
}

#[path = "kube_vip_tests.rs"]
mod kube_vip;
