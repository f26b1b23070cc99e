//! What users and controllers write, short.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            Node as NodeObject, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo,
            ObjectReference, Service, ServicePort, ServiceSpec,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, Time},
        util::intstr::IntOrString,
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use vip_agent::api::VipPool;

use super::{CLASS, Node, bed::Bed};
use crate::netns::BedError;

/// Where tests put their Services.
const DEFAULT: &str = "default";

/// An endpoint of a Service.
#[derive(Clone, Copy, Debug)]
pub struct Backend<'a> {
    /// Of the pod.
    pub address: &'a str,
    /// Name of its Node.
    pub node: &'a str,
    /// Whether it serves; not serving means not ready either.
    pub serving: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// A LoadBalancer Service of our class with port 80 and the selector `app=NAME`; tests change the
/// rest. `families` as in `spec.ipFamilies`: `IPv4`, `IPv6`; two of them require both.
pub fn load_balancer(name: &str, families: &[&str]) -> Service {
    let policy = match families {
        [_, _, ..] => "RequireDualStack",
        _ => "SingleStack",
    };
    Service {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(DEFAULT.into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some("LoadBalancer".into()),
            load_balancer_class: Some(CLASS.into()),
            allocate_load_balancer_node_ports: Some(false),
            ip_families: Some(families.iter().map(|family| (*family).into()).collect()),
            ip_family_policy: Some(policy.into()),
            selector: Some(BTreeMap::from([("app".into(), name.into())])),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: 80,
                target_port: Some(IntOrString::Int(8080)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The endpoints of a Service of one family (`IPv4` or `IPv6`).
pub fn endpoint_slice(service: &str, family: &str, backends: &[Backend<'_>]) -> EndpointSlice {
    let endpoints = backends.iter().map(|backend| Endpoint {
        addresses: vec![backend.address.into()],
        node_name: Some(backend.node.into()),
        conditions: Some(EndpointConditions {
            ready: Some(backend.serving && !backend.terminating),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some(DEFAULT.into()),
            name: Some(format!("{service}-{}", backend.node)),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    });
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{service}-{}", family.to_lowercase())),
            namespace: Some(DEFAULT.into()),
            labels: Some(BTreeMap::from([(
                "kubernetes.io/service-name".into(),
                service.into(),
            )])),
            ..ObjectMeta::default()
        },
        address_type: family.into(),
        endpoints: endpoints.collect(),
        ports: Some(vec![EndpointPort {
            name: Some("http".into()),
            port: Some(8080),
            ..EndpointPort::default()
        }]),
    }
}

impl Bed {
    /// Creates a Service; the API server's answer is back when it returns.
    pub fn create_service(&self, service: &Service) -> Result<Service, BedError> {
        self.control.call(async |client| {
            services_of(client, service)
                .create(&PostParams::default(), service)
                .await
        })
    }

    /// Creates a Service; says what `now` says when the request leaves, and when the answer is back.
    pub fn create_service_at<T: Send>(
        &self,
        service: &Service,
        now: impl Fn() -> T + Sync,
    ) -> Result<[T; 2], BedError> {
        self.control.call(async |client| {
            let sent = now();
            let services = services_of(client, service);
            services.create(&PostParams::default(), service).await?;
            Ok([sent, now()])
        })
    }

    /// Creates a pool, or gives it another spec.
    pub fn put_pool(&self, name: &str, spec: Value) -> Result<(), BedError> {
        let pool = json!({
            "apiVersion": "xvip.io/v1alpha1",
            "kind": "VipPool",
            "metadata": {"name": name},
            "spec": spec,
        });
        self.control.call(async |client| {
            let pools: Api<VipPool> = Api::all(client);
            let force = PatchParams::apply("bed").force();
            pools
                .patch(name, &force, &Patch::Apply(pool))
                .await
                .map(drop)
        })
    }

    /// Merges a change into a Service (`name`, or `namespace/name`).
    pub fn patch_service(&self, name: &str, change: Value) -> Result<Service, BedError> {
        let (namespace, name) = place(name);
        self.control.call(async |client| {
            let change = Patch::Merge(change);
            Api::namespaced(client, namespace)
                .patch(name, &PatchParams::default(), &change)
                .await
        })
    }

    /// A Service as it is.
    pub fn service(&self, name: &str) -> Result<Service, BedError> {
        let (namespace, name) = place(name);
        self.control
            .call(async |client| Api::namespaced(client, namespace).get(name).await)
    }

    /// Deletes a Service.
    pub fn delete_service(&self, name: &str) -> Result<(), BedError> {
        let (namespace, name) = place(name);
        self.control.call(async |client| {
            Api::<Service>::namespaced(client, namespace)
                .delete(name, &DeleteParams::default())
                .await
                .map(drop)
        })
    }

    /// The addresses in a Service's status.
    pub fn ingress(&self, name: &str) -> Result<Vec<String>, BedError> {
        let status = self
            .service(name)?
            .status
            .and_then(|status| status.load_balancer);
        let points = status.and_then(|status| status.ingress).unwrap_or_default();
        Ok(points.into_iter().filter_map(|point| point.ip).collect())
    }

    /// Writes endpoints anew, whatever they were.
    pub fn put_endpoints(&self, slice: &EndpointSlice) -> Result<(), BedError> {
        let name = slice.metadata.name.clone().unwrap_or_default();
        self.control.call(async |client| {
            let slices: Api<EndpointSlice> = Api::namespaced(client, DEFAULT);
            let force = PatchParams::apply("bed").force();
            slices
                .patch(&name, &force, &Patch::Apply(slice))
                .await
                .map(drop)
        })
    }

    /// Merges a change into the Node object of `nodes[index]`: cordon, labels.
    pub fn patch_node(&self, index: usize, change: Value) -> Result<(), BedError> {
        let name = self.nodes[index].name();
        self.control.call(async |client| {
            let nodes: Api<NodeObject> = Api::all(client);
            let change = Patch::Merge(change);
            nodes
                .patch(&name, &PatchParams::default(), &change)
                .await
                .map(drop)
        })
    }

    /// `kubectl cordon`, or `uncordon`.
    pub fn cordon(&self, index: usize, unschedulable: bool) -> Result<(), BedError> {
        self.patch_node(index, json!({"spec": {"unschedulable": unschedulable}}))
    }

    /// Sets or clears the label that excludes a node from load balancers.
    pub fn exclude(&self, index: usize, excluded: bool) -> Result<(), BedError> {
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        let value = if excluded { json!("") } else { Value::Null };
        self.patch_node(index, json!({"metadata": {"labels": {label: value}}}))
    }

    /// The Ready condition of `nodes[index]`, as kubelet or the node controller writes it; its
    /// addresses and boot id too.
    pub fn set_ready(&self, index: usize, ready: bool) -> Result<(), BedError> {
        let node = &self.nodes[index];
        let (name, status) = (node.name(), status(node, ready));
        self.control.call(async |client| {
            let nodes: Api<NodeObject> = Api::all(client);
            let status = Patch::Merge(json!({"status": status}));
            let params = PatchParams::default();
            nodes.patch_status(&name, &params, &status).await.map(drop)
        })
    }

    /// Registers the Node objects of all nodes, Ready, as their kubelets would.
    pub(super) fn register(&self) -> Result<(), BedError> {
        let nodes: Vec<_> = self.nodes.iter().map(object).collect();
        self.control.call(async |client| {
            let api: Api<NodeObject> = Api::all(client);
            for node in &nodes {
                api.create(&PostParams::default(), node).await?;
                let name = node.metadata.name.as_deref().unwrap_or_default();
                let status = Patch::Merge(json!({"status": node.status}));
                api.patch_status(name, &PatchParams::default(), &status)
                    .await?;
            }
            Ok(())
        })
    }
}

/// Namespace and name of `namespace/name`, or of a name alone.
pub(super) fn place(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((DEFAULT, name))
}

fn services_of(client: Client, service: &Service) -> Api<Service> {
    let namespace = service.metadata.namespace.as_deref();
    Api::namespaced(client, namespace.unwrap_or(DEFAULT))
}

fn object(node: &Node) -> NodeObject {
    let labels = [
        ("kubernetes.io/hostname", node.name()),
        ("kubernetes.io/os", "linux".into()),
    ];
    NodeObject {
        metadata: ObjectMeta {
            name: Some(node.name()),
            labels: Some(labels.map(|(label, value)| (label.into(), value)).into()),
            ..ObjectMeta::default()
        },
        status: Some(status(node, true)),
        ..NodeObject::default()
    }
}

fn status(node: &Node, ready: bool) -> NodeStatus {
    let now = Time(k8s_openapi::jiff::Timestamp::now());
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.into(),
        address,
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", node.ipv4().to_string()),
            address("InternalIP", node.ipv6().to_string()),
            address("Hostname", node.name()),
        ]),
        conditions: Some(vec![NodeCondition {
            type_: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            reason: Some("Bed".into()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now),
            ..NodeCondition::default()
        }]),
        node_info: Some(NodeSystemInfo {
            boot_id: node.boot_id(),
            machine_id: node.name(),
            operating_system: "linux".into(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}
