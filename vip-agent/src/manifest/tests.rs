use serde_json::{Value, json};

use super::*;
use crate::api::GROUP;

fn kinds(manifest: &Manifest) -> Vec<&str> {
    manifest
        .objects()
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect()
}

fn only<'a>(manifest: &'a Manifest, kind: &str) -> &'a Value {
    let mut found = manifest
        .objects()
        .iter()
        .filter(|object| object["kind"] == kind);
    let object = found.next().unwrap();
    assert_eq!(found.next(), None, "one {kind}");
    object
}

fn all() -> Vec<Manifest> {
    vec![
        crds().unwrap(),
        rbac(NAMESPACE).unwrap(),
        daemon_set(NAMESPACE, "image", false).unwrap(),
        cleanup(NAMESPACE, "image").unwrap(),
        static_pod(&of_first_node()).unwrap(),
    ]
}

fn of_first_node() -> StaticPod {
    StaticPod {
        image: "image".into(),
        namespace: NAMESPACE.into(),
        kubeconfig: "/etc/kubernetes/super-admin.conf".into(),
        addresses: vec![
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ],
        port: 6443,
        interfaces: Vec::new(),
    }
}

fn container(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

#[test]
fn yaml_says_what_the_objects_say() {
    for manifest in all() {
        let text = manifest.to_yaml().unwrap();
        let documents: Vec<&str> = text.split("---\n").skip(1).collect();
        assert_eq!(documents.len(), manifest.objects().len());
        for (document, object) in documents.iter().zip(manifest.objects()) {
            let read: Value = serde_saphyr::from_str(document).unwrap();
            assert_eq!(read, *object);
            assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string());
            assert_eq!(
                object["metadata"]["labels"]["app.kubernetes.io/name"],
                "xvip"
            );
        }
    }
}

#[test]
fn the_namespace_comes_first() {
    assert_eq!(
        kinds(&rbac(NAMESPACE).unwrap())[..2],
        ["Namespace", "ServiceAccount"]
    );
}

#[test]
fn every_permission_of_the_group_is_of_a_kind_that_is_defined() {
    let definitions = api::definitions();
    let kinds: Vec<&str> = definitions
        .iter()
        .map(|definition| definition.spec.names.plural.as_str())
        .collect();
    let mut seen = 0;
    for object in rbac(NAMESPACE).unwrap().objects() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            if rule["apiGroups"] == json!([GROUP]) {
                for resource in rule["resources"].as_array().unwrap() {
                    let resource = resource.as_str().unwrap();
                    let (kind, _) = resource.split_once('/').unwrap_or((resource, ""));
                    assert!(kinds.contains(&kind), "{resource}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= kinds.len());
}

#[test]
fn no_permission_is_a_wildcard() {
    for object in rbac(NAMESPACE).unwrap().objects() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            assert!(!rule.to_string().contains('*'), "{rule}");
        }
    }
}

#[test]
fn all_bindings_name_the_account_and_a_role_that_exists() {
    let manifest = rbac("elsewhere").unwrap();
    let mut bindings = 0;
    for object in manifest
        .objects()
        .iter()
        .filter(|object| !object["roleRef"].is_null())
    {
        let subjects =
            json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "elsewhere"}]);
        assert_eq!(object["subjects"], subjects);
        let role = manifest.objects().iter().find(|role| {
            role["kind"] == object["roleRef"]["kind"]
                && role["metadata"]["name"] == object["roleRef"]["name"]
                && role["metadata"]["namespace"] == object["metadata"]["namespace"]
        });
        assert!(role.is_some(), "{object}");
        bindings += 1;
    }
    assert_eq!(bindings, 3);
    let policy = only(&manifest, "ValidatingAdmissionPolicy");
    let rule = policy["spec"]["validations"][0]["expression"]
        .as_str()
        .unwrap();
    assert!(
        rule.ends_with("'system:serviceaccount:elsewhere:xvip-agent'"),
        "{rule}"
    );
    let flow = only(&manifest, "FlowSchema");
    let level = only(&manifest, "PriorityLevelConfiguration");
    assert_eq!(
        flow["spec"]["priorityLevelConfiguration"]["name"],
        level["metadata"]["name"]
    );
}

#[test]
fn pods_have_three_capabilities_and_nothing_else() {
    let set = daemon_set(NAMESPACE, "image", false).unwrap();
    let template = only(&set, "DaemonSet")["spec"]["template"].clone();
    let pod = static_pod(&of_first_node()).unwrap();
    let end = cleanup(NAMESPACE, "image").unwrap();
    let end = &only(&end, "DaemonSet")["spec"]["template"];
    assert_eq!(end["spec"]["serviceAccountName"], Value::Null);
    let first = &end["spec"]["initContainers"][0];
    assert_eq!(first["securityContext"], container(end)["securityContext"]);
    assert_eq!(first["command"], json!(["/vip-agent", "cleanup"]));
    assert_eq!(first["args"], Value::Null);
    assert_eq!(container(end)["args"], json!(["--stay"]));
    for pod in [&template, end, only(&pod, "Pod")] {
        let security = &container(pod)["securityContext"];
        let capabilities = json!({"add": ["BPF", "NET_ADMIN", "NET_RAW"], "drop": ["ALL"]});
        assert_eq!(security["capabilities"], capabilities);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["privileged"], false);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["spec"]["hostNetwork"], true);
        assert_eq!(pod["spec"]["hostPID"], Value::Null);
        let mounts = container(pod)["volumeMounts"].as_array().unwrap();
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert_eq!(mounts.len(), volumes.len());
        for mount in mounts {
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]));
            assert_eq!(
                mount["readOnly"] == true,
                mount["name"] != "bpffs",
                "{mount}"
            );
        }
    }
}

#[test]
fn a_static_pod_needs_nothing_of_ours_in_the_cluster() {
    let manifest = static_pod(&of_first_node()).unwrap();
    let pod = only(&manifest, "Pod");
    assert_eq!(pod["metadata"]["namespace"], CONTROL_PLANE_NAMESPACE);
    assert_eq!(pod["spec"]["serviceAccountName"], Value::Null);
    let text = pod.to_string();
    assert!(
        !text.contains("configMap") && !text.contains("secret"),
        "{text}"
    );
    let arguments = container(pod)["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--control-plane-addresses=192.0.2.10,2001:db8::10")));
    assert_eq!(
        container(pod)["volumeMounts"][1]["mountPath"],
        "/etc/kubernetes/super-admin.conf"
    );
}

#[test]
fn beside_static_pods_the_daemon_set_leaves_the_control_plane_out() {
    for beside in [false, true] {
        let manifest = daemon_set(NAMESPACE, "image", beside).unwrap();
        let affinity = &only(&manifest, "DaemonSet")["spec"]["template"]["spec"]["affinity"];
        let text = affinity.to_string();
        assert_eq!(
            text.contains("node-role.kubernetes.io/control-plane"),
            beside,
            "{text}"
        );
    }
}

#[test]
fn the_daemon_set_finds_its_own_pods() {
    let manifest = daemon_set(NAMESPACE, "image", false).unwrap();
    let spec = &only(&manifest, "DaemonSet")["spec"];
    assert_eq!(
        spec["selector"]["matchLabels"],
        spec["template"]["metadata"]["labels"]
    );
}

/// The configuration that a Pod's agent reads.
fn configuration(pod: &Value, file: Option<&str>) -> crate::config::Config {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        flags: crate::cli::flags::Flags,
    }
    let arguments = container(pod)["args"].as_array().unwrap();
    // As the kubelet does.
    let arguments = arguments.iter().map(|argument| {
        let argument = argument.as_str().unwrap();
        argument.replace("$(HOST_IP)", "192.0.2.11")
    });
    let command = <Command as clap::Parser>::try_parse_from(
        ["vip-agent".to_owned()].into_iter().chain(arguments),
    );
    let flags = command.unwrap().flags.given();
    let reading = crate::config::read(&flags, [], file, "node-a");
    let (config, warnings) = reading.into_config().unwrap();
    assert_eq!(warnings, []);
    config
}

#[test]
fn the_agent_takes_what_its_pods_are_started_with() {
    use crate::config::Ownership;

    let set = daemon_set("elsewhere", "image", false).unwrap();
    let file = only(&set, "ConfigMap")["data"]["config.yaml"]
        .as_str()
        .unwrap();
    let template = &only(&set, "DaemonSet")["spec"]["template"];
    let Ownership::Kubernetes(taken) = configuration(template, Some(file)).ownership else {
        panic!("not by Kubernetes");
    };
    assert_eq!(taken.namespace, "elsewhere");
    assert!(taken.control_plane.is_none());

    let pod = static_pod(&of_first_node()).unwrap();
    let Ownership::Kubernetes(taken) = configuration(only(&pod, "Pod"), None).ownership else {
        panic!("not by Kubernetes");
    };
    assert_eq!(taken.kubeconfig, Some(of_first_node().kubeconfig));
    let plane = taken.control_plane.unwrap();
    assert_eq!(
        (plane.addresses, plane.port.get()),
        (of_first_node().addresses, 6443)
    );
}
