use serde_json::{Value, json};

use super::*;
use crate::{
    config::read,
    host::{Address, DefaultRoute, Link},
};

fn document(file: &str, host: Option<&Host>) -> Value {
    let reading = read(&[], [], Some(file), "node-a");
    serde_json::to_value(report(&reading, host)).unwrap()
}

fn eth0() -> Host {
    let address = Address {
        net: "192.0.2.7/24".parse().unwrap(),
        proto: 0,
        flags: 0,
        label: None,
        valid_lft: u32::MAX,
        preferred_lft: u32::MAX,
    };
    let link = Link {
        ifindex: 2,
        name: "eth0".into(),
        addresses: vec![address],
        ..Link::default()
    };
    Host {
        links: [(2, link)].into(),
        default_routes: vec![DefaultRoute {
            gateway: Some("192.0.2.1".parse().unwrap()),
            ifindex: 2,
            metric: 0,
        }],
    }
}

const PAIR: &str = "vips: [{address: 192.0.2.100}, {address: \"2001:db8::100\"}]";

#[test]
fn the_document_has_the_published_shape() {
    let file = format!("interfaces: [eth0]\nprefix: 32,128\n{PAIR}");
    assert_eq!(
        document(&file, Some(&eth0())),
        json!({
            "ok": true,
            "node": "node-a",
            "attach": "auto",
            "ownership": "static",
            "vips": [
                {"address": "192.0.2.100", "prefix": 32, "interfaces": ["eth0"]},
                {"address": "2001:db8::100", "prefix": 128, "interfaces": ["eth0"]},
            ],
            "warnings": [],
            "errors": [],
        })
    );
}

#[test]
fn errors_and_warnings_have_field_value_message_and_fix() {
    let file = format!("prefix: 24\nattach: xdp\n{PAIR}");
    let document = document(&file, None);
    assert_eq!(document["ok"], false);
    let error = document["errors"][0].as_object().unwrap();
    let keys: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["field", "fix", "message", "value"]);
    assert_eq!(error["field"], "attach");
    assert_eq!(error["value"], "xdp");
    let warning = document["warnings"][0].as_object().unwrap();
    let keys: Vec<&str> = warning.keys().map(String::as_str).collect();
    assert_eq!(keys, ["field", "message", "value"]);
    assert_eq!(warning["value"], "24");
    assert_eq!(document["vips"][1]["prefix"], 128);
}

#[test]
fn the_exit_code_is_2_with_errors() {
    let code = |file| report(&read(&[], [], Some(file), "n"), None).exit_code();
    assert_eq!(code(PAIR), 0);
    assert_eq!(code("attach: xdp"), 2);
}

#[test]
fn an_auto_prefix_is_that_of_the_interface_or_null_without_it() {
    let file = format!("interfaces: [eth0]\nprefix: auto,128\n{PAIR}");
    assert_eq!(document(&file, Some(&eth0()))["vips"][0]["prefix"], 24);
    for host in [None, Some(Host::default())] {
        let document = document(&file, host.as_ref());
        assert_eq!(document["ok"], true);
        assert_eq!(document["vips"][0]["prefix"], Value::Null);
        assert_eq!(document["vips"][1]["prefix"], 128);
        let warnings = document["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning["field"] == "prefix"
            && warning["message"].as_str().unwrap().contains("192.0.2.100")));
    }
}

#[test]
fn a_missing_interface_is_one_warning() {
    let file = format!("interfaces: [eth9, \"bond*\", eth0]\n{PAIR}");
    let document = document(&file, Some(&eth0()));
    assert_eq!(document["ok"], true);
    assert_eq!(
        document["vips"][0]["interfaces"],
        json!(["eth9", "bond*", "eth0"])
    );
    let fields: Vec<(&str, &str)> = document["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| (w["field"].as_str().unwrap(), w["value"].as_str().unwrap()))
        .collect();
    assert_eq!(fields, [("interfaces", "bond*"), ("interfaces", "eth9")]);
}

#[test]
fn without_a_list_the_interface_is_that_of_the_default_route() {
    let found = document(PAIR, Some(&eth0()));
    assert_eq!(found["vips"][0]["interfaces"], json!(["eth0"]));
    assert_eq!(found["warnings"], json!([]));
    let lost = document(PAIR, Some(&Host::default()));
    assert_eq!(lost["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(lost["ok"], true);
}

#[test]
fn one_number_for_both_families_is_said_once() {
    let file = "prefix: 128\nvips: [{address: 192.0.2.1}, {address: 192.0.2.2}]";
    let document = document(file, None);
    assert_eq!(document["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(document["vips"][1]["prefix"], 32);
}

#[test]
fn an_address_of_this_host_is_an_error() {
    let file = "vips: [{address: 192.0.2.7}]";
    assert_eq!(document(file, None)["ok"], true);
    let document = document(file, Some(&eth0()));
    assert_eq!(document["ok"], false);
    assert_eq!(document["errors"][0]["field"], "vips[0].address");
}

#[test]
fn what_kubernetes_ownership_means_is_shown_in_every_form() {
    let file = "ownership: kubernetes\nlease: {duration: 2s, renew: 600ms, hold: 1600ms}\n\
                controlPlane: {addresses: [192.0.2.100]}";
    let host = eth0();
    let found = document(file, Some(&host));
    assert_eq!(found["ownership"], "kubernetes");
    assert_eq!(
        found["vips"],
        json!([{"address": "192.0.2.100", "prefix": 32, "interfaces": ["eth0"]}])
    );
    assert_eq!(
        found["kubernetes"],
        json!({
            "kubeconfig": null,
            "namespace": "xvip-system",
            "lease": {"duration": "2s", "renew": "600ms", "hold": "1600ms", "maxAnnouncers": 8},
            "onApiLoss": "hold",
            "services": {
                "loadBalancerClasses": ["xvip.io/vip"], "default": true, "namespaces": [],
            },
            "controlPlane": {"addresses": ["192.0.2.100"], "port": 6443},
        })
    );
    let shown = report(&read(&[], [], Some(file), "node-a"), None);
    let table = shown.print(OutputFormat::Table).unwrap();
    for part in [
        "ownership kubernetes",
        "renew 600ms",
        "192.0.2.100 port 6443",
        "xvip.io/vip",
    ] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    assert!(document(PAIR, Some(&host)).get("kubernetes").is_none());
    let taken = document(&file.replace("100", "7"), Some(&host));
    assert_eq!(taken["errors"][0]["field"], "controlPlane.addresses[0]");
}

#[test]
fn the_schema_names_every_key() {
    let schema = serde_json::to_value(schemars::schema_for!(Document)).unwrap();
    for key in [
        "ok",
        "node",
        "attach",
        "ownership",
        "vips",
        "warnings",
        "errors",
    ] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
        assert!(schema["required"].as_array().unwrap().contains(&json!(key)));
    }
}

#[test]
fn every_form_shows_vips_warnings_and_errors() {
    let file = format!("prefix: 24\nattach: xdp\n{PAIR}");
    let document = report(&read(&[], [], Some(&file), "node-a"), None);
    for format in [OutputFormat::Table, OutputFormat::Json, OutputFormat::Yaml] {
        let text = document.print(format).unwrap();
        for part in [
            "node-a",
            "192.0.2.100",
            "2001:db8::100",
            "attach",
            "xdp",
            "24",
        ] {
            assert!(text.contains(part), "{format:?} lacks {part}:\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
    let json: Value = serde_json::from_str(&document.print(OutputFormat::Json).unwrap()).unwrap();
    let yaml: Value = serde_saphyr::from_str(&document.print(OutputFormat::Yaml).unwrap()).unwrap();
    assert_eq!(json, yaml);
}
