//! MetalLB before its objects: the ConfigMap `config`, up to version 0.12.
//!
//! ```yaml
//! data:
//!   config: |
//!     address-pools:
//!     - { name: default, protocol: layer2, addresses: [192.0.2.0/28], auto-assign: true }
//! ```

use serde_json::Value;

use super::{
    Draft, metallb,
    objects::{Objects, shown},
};
use crate::api::VipPoolSpec;

const NAME: &str = "config";
const KEY: &str = "/data/config";

pub(super) fn convert(objects: &Objects, draft: &mut Draft) {
    for object in objects.of("ConfigMap").filter(|object| object.name == NAME) {
        let Some(text) = object.at(KEY).and_then(Value::as_str) else {
            continue;
        };
        let shown = format!("{}: config", object.shown());
        match serde_saphyr::from_str::<Value>(text) {
            Ok(config) => pools(&config, &shown, draft),
            Err(error) => {
                let message = format!("no YAML: {error}");
                draft.refuse(shown, "", (&message, "give it as MetalLB has it"));
            }
        }
    }
}

fn pools(config: &Value, at: &str, draft: &mut Draft) {
    for key in ["peers", "bgp-communities", "peer-autodiscovery"] {
        if let Some(value) = config.get(key) {
            let why = (
                "BGP is not part of xvip, which answers by ARP and Neighbour Discovery",
                "leave it out, or keep MetalLB for the pools that need it",
            );
            draft.refuse(format!("{at}.{key}"), value, why);
        }
    }
    let pools = config.get("address-pools").and_then(Value::as_array);
    for (index, pool) in pools.into_iter().flatten().enumerate() {
        let field = format!("{at}.address-pools[{index}]");
        let text = |key: &str| pool.get(key).map(shown).unwrap_or_default();
        let is_true = |key: &str| pool.get(key) == Some(&Value::Bool(true));
        let protocol = text("protocol");
        if protocol != "layer2" {
            let why = (
                "only pools of protocol layer2 can be answered by xvip",
                "leave it out, or keep MetalLB for it",
            );
            draft.refuse(format!("{field}.protocol"), protocol, why);
            continue;
        }
        let addresses = pool.get("addresses").and_then(Value::as_array);
        let addresses: Vec<String> = addresses.into_iter().flatten().map(shown).collect();
        let at = format!("{field}.addresses");
        let spec = VipPoolSpec {
            addresses: metallb::spans(&addresses, is_true("avoid-buggy-ips"), &at, draft),
            auto_assign: pool.get("auto-assign") != Some(&Value::Bool(false)),
            ..VipPoolSpec::default()
        };
        draft.pool(&field, &text("name"), spec);
    }
}
