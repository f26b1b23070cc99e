//! MetalLB's objects: IPAddressPools, and the L2Advertisements that say who answers for them.
//!
//! A pool that no L2Advertisement names is answered by nobody there, and is not converted. One
//! that several name is answered by the nodes and on the interfaces of all of them; here a pool
//! has one node selector.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::Value;

use super::{
    Draft,
    objects::{Object, Objects, shown},
    spans::{ENTRIES, Span},
};
use crate::{
    api::VipPoolSpec,
    cluster::{Labels, Selector},
};

/// Kinds whose feature is not here.
const REFUSED: [(&str, &str); 5] = [
    ("BGPPeer", "BGP"),
    ("BGPAdvertisement", "BGP"),
    ("BFDProfile", "BGP with BFD"),
    ("Community", "BGP communities"),
    ("FRRConfiguration", "BGP"),
];
const HOST_NAME: &str = "kubernetes.io/hostname";

pub(super) fn convert(objects: &Objects, draft: &mut Draft) {
    for object in objects.all() {
        if let Some((_, feature)) = REFUSED.iter().find(|(kind, _)| *kind == object.kind) {
            let message = format!(
                "{feature} is not part of xvip, which answers by ARP and Neighbour Discovery"
            );
            let fix = "leave it out, or keep MetalLB for the pools that need it";
            draft.refuse(object.shown(), "", (&message, fix));
        }
    }
    let advertisements: Vec<&Object> = objects.of("L2Advertisement").collect();
    for object in objects.of("IPAddressPool") {
        pool(object, &advertisements, draft);
    }
    for object in objects.of("AddressPool") {
        old_pool(object, draft);
    }
    for object in &advertisements {
        for name in object.texts("/spec/ipAddressPools") {
            let exists = objects.of("IPAddressPool").any(|pool| pool.name == name);
            if !exists {
                draft.warn(
                    format!("{}: spec.ipAddressPools", object.shown()),
                    name,
                    "there is no such IPAddressPool in the input",
                );
            }
        }
    }
}

fn pool(object: &Object, advertisements: &[&Object], draft: &mut Draft) {
    let shown = object.shown();
    let addresses = addresses(object, draft);
    let named: Vec<&&Object> = advertisements
        .iter()
        .filter(|advertisement| names(advertisement, object))
        .collect();
    if named.is_empty() {
        let why = (
            "no L2Advertisement names it, so that nobody answers for its addresses by ARP and Neighbour Discovery",
            "leave it out if it is for BGP, or add the L2Advertisement that it has in the cluster",
        );
        draft.refuse(shown, object.texts("/spec/addresses").join(","), why);
        return;
    }
    let mut spec = VipPoolSpec {
        addresses,
        namespaces: object.texts("/spec/serviceAllocation/namespaces"),
        auto_assign: object.at("/spec/autoAssign") != Some(&Value::Bool(false)),
        ..VipPoolSpec::default()
    };
    let allocation = |part: &str| format!("/spec/serviceAllocation/{part}");
    spec.namespace_selector = one_selector(object, &allocation("namespaceSelectors"), draft);
    spec.service_selector = one_selector(object, &allocation("serviceSelectors"), draft);
    if let Some(priority) = object.at(&allocation("priority")) {
        let message = "no effect: pools with a selector or namespaces come first, then by name; \
                       rename pools, or name one in xvip.io/pool";
        draft.warn(
            format!("{shown}: spec.serviceAllocation.priority"),
            priority,
            message,
        );
    }
    if advertisements_differ(&named) {
        let why = (
            "several L2Advertisements name it, with different nodes or interfaces",
            "split the pool, one for each of them",
        );
        let names: Vec<&str> = named.iter().map(|it| it.name.as_str()).collect();
        draft.refuse(&shown, names.join(","), why);
    }
    if let Some(first) = named.first() {
        spec.interfaces = first.texts("/spec/interfaces");
        spec.node_selector = node_selector(first, draft);
    }
    draft.pool(&shown, &object.name, spec);
}

/// The former kind, which says itself by which protocol it is announced.
fn old_pool(object: &Object, draft: &mut Draft) {
    let protocol = object.at("/spec/protocol").map(shown).unwrap_or_default();
    if protocol != "layer2" {
        let why = (
            "only pools of protocol layer2 can be answered by xvip",
            "leave it out, or keep MetalLB for it",
        );
        draft.refuse(format!("{}: spec.protocol", object.shown()), protocol, why);
        return;
    }
    let spec = VipPoolSpec {
        addresses: addresses(object, draft),
        auto_assign: object.at("/spec/autoAssign") != Some(&Value::Bool(false)),
        ..VipPoolSpec::default()
    };
    draft.pool(&object.shown(), &object.name, spec);
}

fn addresses(object: &Object, draft: &mut Draft) -> Vec<String> {
    let avoids = object.at("/spec/avoidBuggyIPs") == Some(&Value::Bool(true));
    let field = format!("{}: spec.addresses", object.shown());
    let texts = object.texts("/spec/addresses");
    spans(&texts, avoids, &field, draft)
}

/// Also for the former ConfigMap. `avoids`: addresses that end in 0 or 255 are left out.
pub(super) fn spans(texts: &[String], avoids: bool, field: &str, draft: &mut Draft) -> Vec<String> {
    let mut written = Vec::new();
    for text in texts {
        match Span::parse(text) {
            Ok(span) if avoids => {
                written.extend(span.without_buggy().into_iter().map(Span::written))
            }
            Ok(span) => written.push(span.written()),
            Err(why) => draft.refuse(field, text, (why, "correct it, or remove it")),
        }
    }
    if written.len() > ENTRIES {
        let message = format!("more than {ENTRIES} ranges, which is what a VipPool takes");
        let fix = match avoids {
            true => {
                "avoidBuggyIPs cuts a range at every .0 and .255: set it to false, or split the pool"
            }
            false => "split the pool",
        };
        draft.refuse(field, texts.join(","), (&message, fix));
        written.truncate(ENTRIES);
    }
    written
}

/// An L2Advertisement names a pool by its name, by its labels, or all pools by naming none.
fn names(advertisement: &Object, pool: &Object) -> bool {
    let by_name = advertisement.texts("/spec/ipAddressPools");
    let by_labels = advertisement.list("/spec/ipAddressPoolSelectors");
    if by_name.is_empty() && by_labels.is_empty() {
        return true;
    }
    let labels: Labels = pool.entries("/metadata/labels");
    by_name.contains(&pool.name)
        || by_labels.iter().any(|selector| {
            let selector = serde_json::from_value::<LabelSelector>(selector.clone()).ok();
            let parsed = selector.and_then(|selector| Selector::parse(&selector).ok());
            parsed.is_some_and(|selector| selector.matches(&labels))
        })
}

fn advertisements_differ(named: &[&&Object]) -> bool {
    let parts = named.iter().map(|it| {
        let part = |pointer: &str| it.list(pointer).to_vec();
        (part("/spec/interfaces"), part("/spec/nodeSelectors"))
    });
    let mut parts: Vec<_> = parts.collect();
    parts.dedup();
    parts.len() > 1
}

/// Several selectors mean: one of them. Ours is one; those that name hosts become one.
fn node_selector(advertisement: &Object, draft: &mut Draft) -> Option<LabelSelector> {
    let selectors = advertisement.list("/spec/nodeSelectors");
    let hosts: Option<Vec<String>> = selectors.iter().map(host).collect();
    match (selectors.len(), hosts) {
        (0 | 1, _) => one_selector(advertisement, "/spec/nodeSelectors", draft),
        (_, Some(hosts)) => Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: HOST_NAME.to_owned(),
                operator: "In".to_owned(),
                values: Some(hosts),
            }]),
            match_labels: None,
        }),
        (_, None) => one_selector(advertisement, "/spec/nodeSelectors", draft),
    }
}

/// The host that a selector names, and nothing else.
fn host(selector: &Value) -> Option<String> {
    let labels = selector.get("matchLabels")?.as_object()?;
    let named = labels.get(HOST_NAME)?.as_str()?;
    let alone = labels.len() == 1 && selector.get("matchExpressions").is_none();
    alone.then(|| named.to_owned())
}

fn one_selector(object: &Object, pointer: &str, draft: &mut Draft) -> Option<LabelSelector> {
    let selectors = object.list(pointer);
    let field = format!(
        "{}: {}",
        object.shown(),
        pointer.trim_start_matches('/').replace('/', ".")
    );
    let shown = |selectors: &[Value]| Value::Array(selectors.to_vec()).to_string();
    match selectors {
        [] => None,
        [one] => match serde_json::from_value::<LabelSelector>(one.clone()) {
            Ok(selector) => Some(selector),
            Err(error) => {
                let message = format!("no label selector: {error}");
                draft.refuse(field, one, (&message, "correct it"));
                None
            }
        },
        several => {
            let why = (
                "several selectors, of which one has to match; a VipPool has one",
                "give what they select a label of its own and select by that, or split the pool",
            );
            draft.refuse(field, shown(several), why);
            None
        }
    }
}
