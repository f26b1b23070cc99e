//! Debian's Prometheus with our alerts, and what our dashboard asks it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::Value;

use crate::{
    kubernetes::Daemon,
    netns::{BedError, Peer, output_of, system},
};

/// Where it listens, in its namespace.
pub const URL: &str = "http://127.0.0.1:9090";

/// It is killed when dropped, and its data is gone.
pub struct Prometheus {
    host: Arc<Peer>,
    daemon: Daemon,
    folder: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes agents each second: names of instances, and their addresses.
    pub fn start(host: &Arc<Peer>, targets: &[(&str, &str)]) -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            env::temp_dir().join(format!("xvip-prometheus-{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(system("mkdir"))?;
        let rules = shipped("prometheus/xvip.rules.yaml").canonicalize();
        let mut config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs:\n- job_name: xvip-agent\n  static_configs:\n",
            rules.map_err(system("the rules"))?.display()
        );
        for (instance, address) in targets {
            config +=
                &format!("  - {{targets: ['{address}'], labels: {{instance: {instance}}}}}\n");
        }
        fs::write(folder.join("config.yaml"), config).map_err(system("write"))?;
        let shown = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            format!("--config.file={}", shown("config.yaml")),
            format!("--storage.tsdb.path={}", shown("data")),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ];
        let program = Path::new("/usr/bin/prometheus");
        Ok(Self {
            host: Arc::clone(host),
            daemon: Daemon::start(host, program, arguments.into(), folder.join("log"))?,
            folder,
        })
    }

    /// What a query finds now, as promtool prints it.
    pub fn answer(&self, query: &str) -> Result<String, BedError> {
        let mut promtool = self.host.command("promtool");
        promtool.args(["query", "instant", URL, query]);
        output_of(promtool.stdin(Stdio::null()))
    }

    /// A document of its API.
    pub fn document(&self, path: &str) -> Result<String, BedError> {
        let mut curl = self.host.command("curl");
        output_of(curl.args(["-s", &format!("{URL}/api/v1/{path}")]))
    }

    /// The last lines that it wrote.
    pub fn last_words(&self) -> String {
        self.daemon.last_words()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.daemon.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A panel of the dashboard.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// What it asks, as Grafana would send it.
    pub queries: Vec<String>,
}

/// The dashboard's panels: of all nodes, rates over `interval`.
pub fn panels(interval: &str) -> Result<Vec<Panel>, BedError> {
    let dashboard = fs::read(shipped("grafana/xvip.json")).map_err(system("the dashboard"))?;
    let dashboard: Value =
        serde_json::from_slice(&dashboard).map_err(|it| system("the dashboard")(it.into()))?;
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = each(&dashboard["panels"]).into_iter().map(|panel| Panel {
        title: text(&panel["title"]),
        queries: (each(&panel["targets"]).iter())
            .map(|target| text(&target["expr"]))
            .map(|query| query.replace("$__rate_interval", interval))
            .map(|query| query.replace("$node", ".*"))
            .collect(),
    });
    Ok(panels.collect())
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}
