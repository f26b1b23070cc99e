//! What users put into the cluster: the agents, a page, and Services.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::{
    kubernetes::{NAMESPACE, load_balancer, manifest},
    netns::{BedError, system},
};

use super::{
    NODES,
    bed::Cluster,
    client::{NoPage, fetch},
    settings::POD_IMAGE,
};

/// DaemonSet, container and ConfigMap of the agents.
pub const AGENT: &str = "xvip-agent";
/// The image that the manifest names.
pub const IMAGE: &str = concat!("vip-agent:v", env!("CARGO_PKG_VERSION"));
const PAGE: &str = "page";

impl Cluster {
    /// Installs the agents: what `vip-agent manifest` prints, with a user's lines in the ConfigMap
    /// and a user's environment (`name=value`), and waits until all are available.
    pub fn install(&self, config: &str, environment: &[(&str, &str)]) -> Result<(), BedError> {
        for kind in ["crds", "rbac"] {
            self.control.apply(&manifest(&[kind])?)?;
        }
        // kubectl alone reads the YAML, so that we write what a user would.
        let read = ["create", "--dry-run=client", "-o", "json", "-f", "-"];
        let printed = self.control.kubectl(&read, &manifest(&["daemonset"])?)?;
        let objects = serde_json::Deserializer::from_str(&printed).into_iter();
        let objects: Result<Vec<Value>, _> = objects.collect();
        let mut objects = objects.map_err(|error| system("kubectl")(error.into()))?;
        for object in &mut objects {
            match object["kind"].as_str() {
                Some("ConfigMap") => {
                    let text = &mut object["data"]["config.yaml"];
                    *text = json!(format!("{}{config}", text.as_str().unwrap_or_default()));
                }
                Some("DaemonSet") => {
                    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                    let variables = container["env"].as_array_mut();
                    let given = environment
                        .iter()
                        .map(|(name, value)| json!({"name": name, "value": value}));
                    variables
                        .into_iter()
                        .for_each(|all| all.extend(given.clone()));
                }
                _ => {}
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.control.apply(&list.to_string())?;
        self.wait_agents()
    }

    /// Waits until all agents are of the last template, and available.
    pub fn wait_agents(&self) -> Result<(), BedError> {
        let is_so = || {
            let set = self.json(&["daemonset", AGENT, "-n", NAMESPACE])?;
            let status = &set["status"];
            let all = [
                "desiredNumberScheduled",
                "updatedNumberScheduled",
                "numberAvailable",
            ];
            Ok(
                status["observedGeneration"] == set["metadata"]["generation"]
                    && all.iter().all(|field| status[field] == NODES),
            )
        };
        self.wait("all agents to be available", is_so, || self.agents_shown())
    }

    fn agents_shown(&self) -> String {
        let pods = self
            .control
            .kubectl(&["get", "pods", "-A", "-o", "wide"], "");
        let events = self
            .control
            .kubectl(&["get", "events", "-n", NAMESPACE], "");
        format!("{pods:?}\n{events:?}\n{:?}", self.agent_logs())
    }

    /// What all agents wrote.
    pub fn agent_logs(&self) -> Result<String, BedError> {
        let selector = "app.kubernetes.io/name=xvip";
        let logs = [
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            selector,
            "--tail=-1",
            "--prefix",
        ];
        self.control.kubectl(&logs, "")
    }

    /// How often the agents' containers restarted, one number for each pod.
    pub fn restarts(&self) -> Result<Vec<Option<u64>>, BedError> {
        let pods = self.json(&["pods", "-n", NAMESPACE])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let restarts = pods.iter().map(|pod| {
            let container = &pod["status"]["containerStatuses"][0];
            container["restartCount"].as_u64()
        });
        Ok(restarts.collect())
    }

    /// Serves a page from a pod on each node. It tells the node's name.
    pub fn serve_page(&self) -> Result<(), BedError> {
        self.control.apply(&page(NODES).to_string())?;
        self.wait_page()
    }

    /// Waits until a page is served on each node.
    pub fn wait_page(&self) -> Result<(), BedError> {
        let ready = || {
            let deployment = self.json(&["deployment", PAGE])?;
            Ok(deployment["status"]["readyReplicas"] == NODES)
        };
        let shown = || format!("{:?}", self.control.kubectl(&["describe", "pods"], ""));
        self.wait("the page on every node", ready, shown)
    }

    /// Fetches a page from a VIP over a new connection.
    ///
    /// # Panics
    /// When `vip` is no address, or the client is gone.
    pub fn fetch(&self, vip: &str, port: u16) -> Result<String, NoPage> {
        let address = vip.parse().expect("an address");
        fetch(&self.client, address, port).expect("the client is there")
    }

    /// Waits until kube-proxy forwards a VIP on the node that answers for it, which may be later
    /// than the answer.
    pub fn wait_page_at(&self, vip: &str, port: u16) -> Result<(), BedError> {
        let what = format!("a page at {vip} port {port}");
        let is_there = || Ok(self.fetch(vip, port).is_ok());
        self.wait(&what, is_there, || format!("{:?}", self.fetch(vip, port)))
    }

    /// Waits until the status of a Service has these addresses, and returns it.
    pub fn wait_ingress(&self, service: &str, vips: &[&str]) -> Result<Value, BedError> {
        let points = || {
            let service = self.json(&["service", service])?;
            Ok::<_, BedError>(service["status"]["loadBalancer"]["ingress"].clone())
        };
        let are = |points: &Value| -> Vec<String> {
            let points = points.as_array().into_iter().flatten();
            let ips = points.filter_map(|point| point["ip"].as_str());
            ips.map(str::to_owned).collect()
        };
        let shown = || {
            let described = self.control.kubectl(&["describe", "service", service], "");
            format!("{described:?}\n{:?}", self.agent_logs())
        };
        self.wait(
            &format!("{service} to have {vips:?}"),
            || Ok(are(&points()?) == vips),
            shown,
        )?;
        points()
    }

    /// The node that a VIP's object names, once one does.
    pub fn wait_holder(&self, vip: &str) -> Result<usize, BedError> {
        self.wait_held(vip, |_| true)
    }

    /// The node that a VIP's object names, once it is a `wanted` one.
    pub fn wait_held(&self, vip: &str, wanted: impl Fn(usize) -> bool) -> Result<usize, BedError> {
        let mut holder = None;
        let is_wanted = || {
            let object = self.json(&["vip", &vip.replace(':', "-")])?;
            let node = &object["status"]["node"];
            let mut nodes = self.nodes.iter();
            holder = nodes.position(|held_by| *node == *held_by.seat.name());
            Ok(holder.is_some_and(&wanted))
        };
        let get = ["get", "vips", "-o", "yaml"];
        let shown = || format!("{:?}", self.control.kubectl(&get, ""));
        self.wait(&format!("a holder of {vip}"), is_wanted, shown)?;
        Ok(holder.unwrap_or_default())
    }
}

/// A Service for the page; port 80, of these families, with these addresses.
pub fn page_service(name: &str, families: &[&str], vips: &[&str]) -> Service {
    let mut service = load_balancer(name, families);
    let annotation = ("xvip.io/addresses".to_owned(), vips.join(","));
    service.metadata.annotations = Some([annotation].into());
    if let Some(spec) = &mut service.spec {
        spec.selector = Some([("app".to_owned(), PAGE.to_owned())].into());
    }
    service
}

/// Pods on so many nodes that serve a page. It tells the node's name.
pub fn page(nodes: usize) -> Value {
    // The first process of a container ignores SIGTERM unless it handles it: the server goes
    // on serving for as long as proxies may still send connections, as a good one does.
    let serve = "mkdir -p /www && echo $NODE > /www/index.html && exec httpd -f -p 8080 -h /www";
    let labels = json!({"app": PAGE});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": PAGE},
        "spec": {
            "replicas": nodes,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 3,
                    "affinity": {"podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{
                            "labelSelector": {"matchLabels": labels},
                            "topologyKey": "kubernetes.io/hostname",
                        }],
                    }},
                    "containers": [{
                        "name": PAGE,
                        "image": POD_IMAGE,
                        "command": ["/bin/sh", "-c", serve],
                        "env": [{
                            "name": "NODE",
                            "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                        }],
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": 8080},
                            "periodSeconds": 1,
                        },
                    }],
                },
            },
        },
    })
}
