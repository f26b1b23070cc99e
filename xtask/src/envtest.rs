//! `cargo xtask envtest`: the real Kubernetes that tests run against, built from Go modules once.
//!
//! `KUBEBUILDER_ASSETS` names a folder that has the binaries already; then it is only looked
//! through. Else they come to stand in `target/envtest/VERSIONS/bin`.

mod binary;
mod module;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{command, error::Error, helm, workspace};
use binary::Binary;

/// Of Kubernetes.
pub(crate) const KUBERNETES: &str = "1.37.2";
/// Of etcd; bookmarks need 3.5.13.
pub(crate) const ETCD: &str = "3.7.3";
/// Names the folder with the binaries, by the convention of Kubernetes' own test tools.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Between two lines that show progress.
const PROGRESS: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what a cluster of real nodes takes: controllers, scheduler, kubelet, kube-proxy, kubeadm
    #[arg(long)]
    full: bool,
}

/// Which of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// An API server, its store, and kubectl.
    Light,
    /// All.
    Full,
}

pub(crate) fn run(Args { full }: Args) -> Result<(), Error> {
    let assets = ensure(if full { Set::Full } else { Set::Light })?;
    println!("{ASSETS}={}", assets.display());
    println!("{}={}", helm::HELM, helm::ensure()?.display());
    Ok(())
}

/// The folder that holds a set; builds what is missing.
pub(crate) fn ensure(set: Set) -> Result<PathBuf, Error> {
    let wanted = binary::ALL.iter().filter(|binary| binary.is_in(set));
    if let Some(given) = env::var_os(ASSETS).filter(|given| !given.is_empty()) {
        let assets = workspace::root().join(given);
        let missing = wanted.filter(|binary| !assets.join(binary.name).is_file());
        let missing: Vec<_> = missing.map(|binary| binary.name).collect();
        if !missing.is_empty() {
            return Err(Error::Assets { assets, missing });
        }
        return Ok(assets);
    }
    let home = workspace::made().join(format!("envtest/{KUBERNETES}-etcd-{ETCD}"));
    let assets = home.join("bin");
    let missing: Vec<_> = wanted
        .filter(|binary| !assets.join(binary.name).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(assets);
    }
    let names: Vec<_> = missing.iter().map(|binary| binary.name).collect();
    println!(
        "building {} (Kubernetes {KUBERNETES}, etcd {ETCD}), once: some minutes",
        names.join(", ")
    );
    let module = home.join("module");
    module::ensure(&module)?;
    fs::create_dir_all(&assets).map_err(Error::file(&assets))?;
    for binary in missing {
        build(&module, binary, &assets)?;
    }
    Ok(assets)
}

/// Builds one binary and moves it to its place when it is whole.
fn build(module: &Path, binary: &Binary, assets: &Path) -> Result<(), Error> {
    let name = binary.name;
    let flag =
        |field: &str, value: &str| format!("-X k8s.io/component-base/version.{field}={value}");
    let mut parts = KUBERNETES.split('.');
    let ldflags = [
        "-s -w".to_owned(),
        // Else the server reports v0.0.0, and clients judge features by it.
        flag("gitVersion", &format!("v{KUBERNETES}")),
        flag("gitMajor", parts.next().unwrap_or_default()),
        flag("gitMinor", parts.next().unwrap_or_default()),
    ]
    .join(" ");
    let partial = assets.join(format!("{name}.partial"));
    let mut go = module::go(module);
    go.env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-ldflags", &ldflags, "-o"])
        .arg(&partial)
        .arg(format!("./{name}"));
    compile(name, &mut go)?;
    let done = assets.join(name);
    fs::rename(&partial, &done).map_err(Error::file(done))
}

/// Runs `go build -v`, which names each package that it compiles on its standard error; shows
/// their number from time to time, and what is no package's name when it fails.
fn compile(name: &str, go: &mut Command) -> Result<(), Error> {
    let started = Instant::now();
    let shown = command::shown(go);
    let failed = |source| Error::Start {
        command: shown.clone(),
        source,
    };
    let mut child = go.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (mut packages, mut said) = (0_u32, Vec::new());
    let mut last = started;
    let lines = child
        .stderr
        .take()
        .map(|stderr| BufReader::new(stderr).lines());
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        packages += 1;
        if line.contains([' ', ':']) {
            said.push(line);
        }
        if last.elapsed() > PROGRESS {
            last = Instant::now();
            let seconds = started.elapsed().as_secs();
            println!("  {name}: {packages} packages compiled, {seconds} s");
        }
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        eprintln!("{}", said.join("\n"));
        return Err(Error::Failed {
            command: shown,
            status,
        });
    }
    println!(
        "  {name}: built in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
