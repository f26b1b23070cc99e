//! MetalLB, whose place xvip takes: the real one, by the manifest of its own module.

use std::fs;

use serde_json::{Value, json};

use crate::netns::{BedError, system};

use super::{Cluster, machine::part};

const NAMESPACE: &str = "metallb-system";
const MANIFEST: &str = "peers/metallb.yaml";

/// What its manifest installs.
pub struct MetalLb {
    objects: Vec<Value>,
}

impl MetalLb {
    /// Loads its images on all nodes; none where it could not be built.
    pub fn find(cluster: &Cluster) -> Result<Option<Self>, BedError> {
        for node in &cluster.nodes {
            for name in ["controller", "speaker"] {
                if !node.load_image(&format!("peers/metallb-{name}.tar"))? {
                    println!("MetalLB could not be built here: nothing moves from it");
                    return Ok(None);
                }
            }
        }
        let text = fs::read_to_string(part(MANIFEST)?).map_err(system(MANIFEST))?;
        let read = ["create", "--dry-run=client", "-o", "json", "-f", "-"];
        let printed = cluster.control.kubectl(&read, &text)?;
        let objects = serde_json::Deserializer::from_str(&printed).into_iter();
        let objects: Result<Vec<Value>, _> = objects.collect();
        let mut objects = objects.map_err(|error| system("kubectl")(error.into()))?;
        // The API server of this bed is on no node, and reaches no webhook of a pod.
        objects.retain(|object| object["kind"] != "ValidatingWebhookConfiguration");
        for object in &mut objects {
            let Some(container) = object.pointer_mut("/spec/template/spec/containers/0") else {
                continue;
            };
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            container["image"] = json!(format!("registry.test/metallb-{name}:1"));
            container["imagePullPolicy"] = json!("Never");
            if let (Some(arguments), "controller") = (container["args"].as_array_mut(), &*name) {
                arguments.push(json!("--webhook-mode=disabled"));
            }
        }
        Ok(Some(Self { objects }))
    }

    /// Has it give out these addresses, and answer for them by ARP and Neighbour Discovery.
    pub fn start(&self, cluster: &Cluster, addresses: &[&str]) -> Result<(), BedError> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.objects});
        cluster.control.apply(&list.to_string())?;
        let established = ["wait", "--for=condition=Established", "--timeout=30s"];
        for kind in ["ipaddresspools", "l2advertisements"] {
            let definition = format!("crd/{kind}.metallb.io");
            let wait = [&established[..], &[&definition]].concat();
            cluster.control.kubectl(&wait, "")?;
        }
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "metallb.io/v1beta1", "kind": kind,
                "metadata": {"name": "lan", "namespace": NAMESPACE}, "spec": spec,
            })
        };
        let pool = object("IPAddressPool", json!({"addresses": addresses}));
        let advertisement = object("L2Advertisement", json!({"ipAddressPools": ["lan"]}));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [pool, advertisement]});
        cluster.control.apply(&list.to_string())?;
        for set in ["deployment/controller", "daemonset/speaker"] {
            let wait = ["rollout", "status", "-n", NAMESPACE, set, "--timeout=90s"];
            cluster.control.kubectl(&wait, "")?;
        }
        Ok(())
    }
}
