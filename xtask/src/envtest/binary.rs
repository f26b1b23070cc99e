//! The binaries, each a `main` of a few lines around a command that its module exports.

use super::Set;

/// A program of Kubernetes or of etcd.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) name: &'static str,
    /// Package that exports its command.
    package: &'static str,
    /// What `main` does.
    main: &'static str,
    /// Further imports of `main`.
    imports: &'static [&'static str],
    set: Set,
}

const CLI: &str = "k8s.io/component-base/cli";
const SERVER: [&str; 3] = [
    CLI,
    // Imported for what they register: metrics of the client and of the version.
    "_ k8s.io/component-base/metrics/prometheus/clientgo",
    "_ k8s.io/component-base/metrics/prometheus/version",
];

/// In the order in which they are built: what the light set needs comes first.
pub(super) const ALL: [Binary; 8] = [
    Binary {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3/etcdmain",
        main: "etcdmain.Main(os.Args)",
        imports: &[],
        set: Set::Light,
    },
    Binary {
        name: "kubectl",
        package: "k8s.io/kubectl/pkg/cmd",
        main: "os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))",
        imports: &[CLI],
        set: Set::Light,
    },
    Binary {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver/app",
        main: "os.Exit(cli.Run(app.NewAPIServerCommand()))",
        imports: &SERVER,
        set: Set::Light,
    },
    Binary {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager/app",
        main: "os.Exit(cli.Run(app.NewControllerManagerCommand()))",
        imports: &SERVER,
        set: Set::Full,
    },
    Binary {
        name: "kube-scheduler",
        package: "k8s.io/kubernetes/cmd/kube-scheduler/app",
        main: "os.Exit(cli.Run(app.NewSchedulerCommand()))",
        imports: &SERVER,
        set: Set::Full,
    },
    Binary {
        name: "kubelet",
        package: "k8s.io/kubernetes/cmd/kubelet/app",
        main: "os.Exit(cli.Run(app.NewKubeletCommand(context.Background())))",
        imports: &["context", SERVER[0], SERVER[1], SERVER[2]],
        set: Set::Full,
    },
    Binary {
        name: "kube-proxy",
        package: "k8s.io/kubernetes/cmd/kube-proxy/app",
        main: "os.Exit(cli.Run(app.NewProxyCommand()))",
        imports: &SERVER,
        set: Set::Full,
    },
    Binary {
        name: "kubeadm",
        package: "k8s.io/kubernetes/cmd/kubeadm/app",
        main: "errors.HandleError(app.Run())",
        imports: &["k8s.io/kubernetes/cmd/kubeadm/app/util/errors"],
        set: Set::Full,
    },
];

impl Binary {
    pub(super) fn is_in(&self, set: Set) -> bool {
        set == Set::Full || self.set == Set::Light
    }

    /// Its `main.go`.
    pub(super) fn source(&self) -> String {
        let os = self.main.contains("os.").then_some(&"os");
        let imports = self.imports.iter().chain(os).chain([&self.package]);
        let imports: String = imports
            .map(|import| match import.strip_prefix("_ ") {
                Some(import) => format!("import _ \"{import}\"\n"),
                None => format!("import \"{import}\"\n"),
            })
            .collect();
        format!(
            "package main\n\n{imports}\nfunc main() {{ {} }}\n",
            self.main
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_imports_what_it_names() {
        let source = ALL[0].source();
        assert_eq!(
            source,
            "package main\n\nimport \"os\"\nimport \"go.etcd.io/etcd/server/v3/etcdmain\"\n\n\
             func main() { etcdmain.Main(os.Args) }\n"
        );
    }

    #[test]
    fn the_light_set_is_the_api_server_its_store_and_kubectl() {
        let light = ALL.iter().filter(|binary| binary.is_in(Set::Light));
        let light: Vec<_> = light.map(|binary| binary.name).collect();
        assert_eq!(light, ["etcd", "kubectl", "kube-apiserver"]);
        assert!(ALL.iter().all(|binary| binary.is_in(Set::Full)));
    }
}
