//! The agent's Pods: a DaemonSet, and a static Pod for the control plane.

use std::{net::IpAddr, path::PathBuf};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
        core::v1::{
            Affinity, Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort,
            EnvVar, EnvVarSource, HTTPGetAction, HostPathVolumeSource, NodeAffinity, NodeSelector,
            NodeSelectorRequirement, NodeSelectorTerm, ObjectFieldSelector, Pod, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
            Toleration, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    ACCOUNT, CONTROL_PLANE_NAMESPACE, Manifest, ManifestError, label, metadata, metadata_in, texts,
};

/// The configuration file in the DaemonSet's ConfigMap.
pub const DAEMON_SET_CONFIG: &str = "ownership: kubernetes\n";
const CONFIG_DIR: &str = "/etc/xvip";
/// The key of that file in the ConfigMap.
pub const CONFIG_KEY: &str = "config.yaml";
const BPFFS: &str = "/sys/fs/bpf";
const HTTP_PORT: i32 = 9470;
/// Name of the port that Prometheus asks, at the node's address.
const METRICS: &str = "metrics";
const CONTROL_PLANE_ROLE: &str = "node-role.kubernetes.io/control-plane";

/// A static Pod for control-plane nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPod {
    /// The agent's image.
    pub image: String,
    /// The agent's namespace, once it exists.
    pub namespace: String,
    /// Credentials on the node.
    pub kubeconfig: PathBuf,
    /// VIPs of the API server.
    pub addresses: Vec<IpAddr>,
    /// Where the API server listens.
    pub port: u16,
    /// Interfaces of VIPs; none: that of the default route.
    pub interfaces: Vec<String>,
}

/// The ConfigMap and the DaemonSet. `beside_static_pods` leaves control-plane nodes out, which run
/// the agent as a static Pod: there is one agent per node.
pub fn daemon_set(
    namespace: &str,
    image: &str,
    beside_static_pods: bool,
) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    manifest.add(ConfigMap {
        metadata: metadata_in(namespace, ACCOUNT),
        data: Some([(CONFIG_KEY.to_owned(), DAEMON_SET_CONFIG.to_owned())].into()),
        ..ConfigMap::default()
    })?;
    let labels = std::collections::BTreeMap::from([label()]);
    let mut pod = pod_spec(
        image,
        vec![
            format!("--config={CONFIG_DIR}/{CONFIG_KEY}"),
            format!("--namespace={namespace}"),
            // The kubelet puts the node's address in, of either family.
            format!("--metrics=[$(HOST_IP)]:{HTTP_PORT}"),
        ],
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: ACCOUNT.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        CONFIG_DIR,
    );
    for container in &mut pod.containers {
        container.ports = Some(vec![ContainerPort {
            name: Some(METRICS.to_owned()),
            container_port: HTTP_PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]);
        let variables = container.env.get_or_insert_default();
        variables.push(variable("HOST_IP", "status.hostIP"));
    }
    pod.service_account_name = Some(ACCOUNT.to_owned());
    pod.affinity = beside_static_pods.then(no_control_plane);
    manifest.add(DaemonSet {
        metadata: metadata_in(namespace, ACCOUNT),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                match_expressions: None,
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::Int(1)),
                    max_surge: None,
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    })?;
    Ok(manifest)
}

/// A file for the kubelet's manifest directory. It needs nothing of ours in the cluster: no
/// ConfigMap, no service account, no namespace.
pub fn static_pod(of: &StaticPod) -> Result<Manifest, ManifestError> {
    let addresses: Vec<String> = of.addresses.iter().map(IpAddr::to_string).collect();
    let kubeconfig = of.kubeconfig.display().to_string();
    let mut arguments = vec![
        "--ownership=kubernetes".to_owned(),
        format!("--namespace={}", of.namespace),
        format!("--kubeconfig={kubeconfig}"),
        format!("--control-plane-addresses={}", addresses.join(",")),
        format!("--control-plane-port={}", of.port),
    ];
    if !of.interfaces.is_empty() {
        arguments.push(format!("--interfaces={}", of.interfaces.join(",")));
    }
    let mut manifest = Manifest::default();
    manifest.add(Pod {
        metadata: ObjectMeta {
            namespace: Some(CONTROL_PLANE_NAMESPACE.to_owned()),
            ..metadata(ACCOUNT)
        },
        spec: Some(pod_spec(
            &of.image,
            arguments,
            host_path("kubeconfig", &kubeconfig, "File"),
            &kubeconfig,
        )),
        status: None,
    })?;
    Ok(manifest)
}

/// What both have in common. `given` is mounted read-only.
fn pod_spec(image: &str, arguments: Vec<String>, given: Volume, given_at: &str) -> PodSpec {
    let mut spec = bare_spec(image, ACCOUNT, texts(["/vip-agent", "run"]));
    for container in &mut spec.containers {
        container.args = Some(arguments.clone());
        container.env = Some(vec![variable("NODE_NAME", "spec.nodeName")]);
        container.liveness_probe = Some(probe("/livez", 10, 3));
        container.readiness_probe = Some(probe("/readyz", 5, 1));
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.push(VolumeMount {
            read_only: Some(true),
            ..mount(&given.name, given_at)
        });
    }
    spec.volumes.get_or_insert_default().push(given);
    spec
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

/// The agent's program with its rights, on the node's network and bpffs.
pub(super) fn bare_spec(image: &str, name: &str, command: Vec<String>) -> PodSpec {
    let container = Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(texts(["BPF", "NET_ADMIN", "NET_RAW"])),
                drop: Some(texts(["ALL"])),
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            // Capabilities that are added reach root alone.
            run_as_user: Some(0),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..SecurityContext::default()
        }),
        // No limit of memory: the kernel charges the pinned maps to whoever made them.
        resources: Some(ResourceRequirements {
            requests: Some(
                [
                    ("cpu".to_owned(), Quantity("10m".to_owned())),
                    ("memory".to_owned(), Quantity("64Mi".to_owned())),
                ]
                .into(),
            ),
            ..ResourceRequirements::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            // Also when the node mounts it after this Pod began.
            mount_propagation: Some("HostToContainer".to_owned()),
            ..mount("bpffs", BPFFS)
        }]),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        host_network: Some(true),
        // Names are looked up by the node's resolver: the cluster's may stand behind a VIP.
        dns_policy: Some("Default".to_owned()),
        enable_service_links: Some(false),
        priority_class_name: Some("system-node-critical".to_owned()),
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]),
        termination_grace_period_seconds: Some(30),
        volumes: Some(vec![host_path("bpffs", BPFFS, "Directory")]),
        ..PodSpec::default()
    }
}

/// What a field of the Pod says.
fn variable(name: &str, field: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: field.to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn host_path(name: &str, path: &str, kind: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: path.to_owned(),
            type_: Some(kind.to_owned()),
        }),
        ..Volume::default()
    }
}

/// The kubelet asks from the node, whose loopback is the Pod's.
fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            host: Some("127.0.0.1".to_owned()),
            path: Some(path.to_owned()),
            port: IntOrString::Int(HTTP_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn no_control_plane() -> Affinity {
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(vec![NodeSelectorRequirement {
                        key: CONTROL_PLANE_ROLE.to_owned(),
                        operator: "DoesNotExist".to_owned(),
                        values: None,
                    }]),
                    match_fields: None,
                }],
            }),
            preferred_during_scheduling_ignored_during_execution: None,
        }),
        ..Affinity::default()
    }
}
