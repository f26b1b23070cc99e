//! The Go module that requires Kubernetes and etcd, and holds a package for each binary.

use std::{env, fs, path::Path, process::Command};

use super::{ETCD, KUBERNETES, binary};
use crate::{command, error::Error};

/// Modules that Kubernetes' own go.mod requires at this version are folders of its repository,
/// published one by one: whoever requires Kubernetes as a module replaces each.
const STAGED: &str = "v0.0.0";

/// Go in a directory.
pub(super) fn go(directory: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(directory);
    go
}

/// Writes the module and has Go complete its requirements; nothing when that is done already for
/// all the binaries.
pub(super) fn ensure(module: &Path) -> Result<(), Error> {
    let stamp = module.join("tidy");
    let sources: String = binary::ALL.iter().map(binary::Binary::source).collect();
    if fs::read_to_string(&stamp).is_ok_and(|tidied| tidied == sources) {
        return Ok(());
    }
    if !command::succeeds(Command::new("go").arg("version")) {
        return Err(Error::NoGo);
    }
    for binary in &binary::ALL {
        let package = module.join(binary.name);
        fs::create_dir_all(&package).map_err(Error::file(&package))?;
        write(&package.join("main.go"), &binary.source())?;
    }
    println!("  fetching the Go modules");
    let kubernetes = format!("k8s.io/kubernetes@v{KUBERNETES}");
    // A list of one module, by path and version, needs no module around it.
    let list = ["list", "-m", "-f", "{{.GoMod}}", &kubernetes];
    let own = command::output(go(&env::temp_dir()).args(list))?;
    let own = Path::new(own.trim());
    let own = fs::read_to_string(own).map_err(Error::file(own))?;
    write(&module.join("go.mod"), &requirements(&own))?;
    command::run(go(module).args(["mod", "tidy"]))?;
    write(&stamp, &sources)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file(path))
}

/// Our go.mod; `kubernetes` is that of Kubernetes.
fn requirements(kubernetes: &str) -> String {
    let language = kubernetes
        .lines()
        .find(|line| line.starts_with("go "))
        .unwrap_or("go 1.26");
    let mut text = format!(
        "module xvip.test/envtest\n\n{language}\n\nrequire (\n\tk8s.io/kubernetes v{KUBERNETES}\n\
         \tgo.etcd.io/etcd/server/v3 v{ETCD}\n)\n\n"
    );
    // Kubernetes 1.N.P publishes them as 0.N.P.
    let published = KUBERNETES.replacen("1.", "v0.", 1);
    for line in kubernetes.lines() {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        if let (Some(staged), Some(STAGED)) = (words.next(), words.next()) {
            text.push_str(&format!("replace {staged} => {staged} {published}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_requires_unpublished_is_replaced_and_nothing_else() {
        let own = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\
                   \tk8s.io/api v0.0.0\n\tk8s.io/utils v0.0.0-20260108 // indirect\n\
                   \tk8s.io/kubelet v0.0.0 // indirect\n)\n\nreplace k8s.io/api => ./staging/api\n";
        let text = requirements(own);
        let replaced: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("replace"))
            .collect();
        assert_eq!(
            replaced,
            [
                "replace k8s.io/api => k8s.io/api v0.37.2",
                "replace k8s.io/kubelet => k8s.io/kubelet v0.37.2",
            ]
        );
        assert!(text.contains("\ngo 1.26.0\n"), "{text}");
    }
}
