//! Configurations of what runs on a node.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    agent::{VIP4, VIP6},
    kubernetes::Seat,
};

use super::node::ProxyMode;

/// Image of the containers that hold the pods' namespaces, and of the bed's own pods.
pub(super) const POD_IMAGE: &str = "registry.test/pod:1";
/// Where the kubelet and kubeadm find containerd.
pub(super) const RUNTIME: &str = "unix:///run/containerd/containerd.sock";
/// Static Pods that kubeadm makes.
pub(super) const CONTROL_PLANE: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
/// What `kubeadm init` gives to those who join.
pub(super) const TOKEN: &str = "abcdef.0123456789abcdef";
/// By which it locks the keys of the control plane away in a Secret.
pub(super) const CERTIFICATE_KEY: &str =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Pods of all nodes, both families.
const PODS: &str = "10.244.0.0/16,fd44::/48";

/// Of the pods of a node.
pub(super) fn pod_networks(seat: Seat) -> [String; 2] {
    let number = seat.0;
    [
        format!("10.244.{number}.0/24"),
        format!("fd44:0:0:{number}::/64"),
    ]
}

/// A bridge for the pods, with addresses of both families.
pub(super) fn pod_network(seat: Seat) -> String {
    let [ipv4, ipv6] = pod_networks(seat);
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
  "ipam": {{
    "type": "host-local", "dataDir": "/run/cni",
    "ranges": [[{{"subnet": "{ipv4}"}}], [{{"subnet": "{ipv6}"}}]],
    "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]
  }}
}}]}}
"#
    )
}

pub(super) fn containerd(directory: &Path, plugins: &Path) -> String {
    let (directory, plugins) = (directory.display(), plugins.display());
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  # The bed may lack CAP_SYS_RESOURCE, and then cannot lower the score of anything.
  restrict_oom_score_adj = true
  sandbox_image = "{POD_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"#
    )
}

pub(super) fn kubelet(cgroup: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         failCgroupV1: false\n\
         cgroupDriver: cgroupfs\n\
         cgroupRoot: {cgroup}\n\
         enforceNodeAllocatable: [pods]\n\
         failSwapOn: false\n\
         authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}\n\
         authorization: {{mode: AlwaysAllow}}\n\
         containerRuntimeEndpoint: {RUNTIME}\n\
         staticPodPath: /etc/kubernetes/manifests\n\
         volumePluginDir: /run/kubernetes/volume-plugins\n\
         resolvConf: \"\"\n\
         clusterDNS: [10.96.0.10]\n\
         clusterDomain: cluster.local\n\
         evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}\n\
         imageGCHighThresholdPercent: 100\n\
         nodeStatusUpdateFrequency: 1s\n\
         nodeLeaseDurationSeconds: 4\n\
         fileCheckFrequency: 2s\n"
    )
}

pub(super) fn proxy(seat: Seat, mode: ProxyMode, kubeconfig: &Path) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
         kind: KubeProxyConfiguration\n\
         mode: {}\n\
         hostnameOverride: {}\n\
         clusterCIDR: {PODS}\n\
         clientConnection: {{kubeconfig: {}}}\n\
         # The limits of connection tracking are the machine's.\n\
         conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}\n",
        mode.name(),
        seat.name(),
        kubeconfig.display()
    )
}

/// Configuration of `kubeadm init`: in all but the two VIPs what a user would write, and no add-ons.
pub(super) fn init(seat: Seat, version: &str, patches: &Path) -> String {
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"token": TOKEN}],
        "certificateKey": CERTIFICATE_KEY,
        "localAPIEndpoint": {"advertiseAddress": seat.ipv4()},
        "nodeRegistration": {"name": seat.name(), "criSocket": RUNTIME},
        "patches": {"directory": patches},
        // They are for a machine, and for images from afar.
        "skipPhases": ["preflight", "addon", "show-join-command"],
    });
    let cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": version,
        "controlPlaneEndpoint": format!("{VIP4}:6443"),
        "networking": {"serviceSubnet": "10.96.0.0/16,fd00:96::/112"},
        "apiServer": {
            "certSANs": [VIP6],
            // Of both families.
            "extraArgs": [{"name": "bind-address", "value": "::"}],
        },
        // What is stored need not outlive the machine.
        "etcd": {"local": {
            "dataDir": "/var/lib/etcd",
            "extraArgs": [{"name": "unsafe-no-fsync", "value": "true"}],
        }},
    });
    format!("{init}\n---\n{cluster}\n")
}

/// Changes a static Pod of kubeadm's: the program comes from a folder of the machine.
pub(super) fn static_pod(name: &str, programs: &Path) -> Value {
    json!({"spec": {
        "containers": [{
            "name": name,
            "image": POD_IMAGE,
            "volumeMounts": [{
                "name": "programs", "mountPath": "/usr/local/bin", "readOnly": true,
            }],
        }],
        "volumes": [{
            "name": "programs", "hostPath": {"path": programs, "type": "Directory"},
        }],
    }})
}
