//! kube-apiserver and etcd in a namespace of their own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::runtime;
use vip_agent::vip::Mac;

use super::{Bridge, Call, Daemon, NAMESPACE, Node, Seat, audit, kubectl};
use crate::{
    agent::until,
    netns::{BedError, Peer, api, system},
    scratch,
};

/// The API server's, on the management bridge.
const ADDRESS: &str = "198.51.100.1";
/// Where API servers listen.
pub const PORT: u16 = 6443;
const ETCD: &str = "http://127.0.0.1:2379";
/// For API servers of nodes.
const ETCD_OF_NODES: &str = "http://198.51.100.1:2379";
/// Tokens are for so many nodes.
const NODES: usize = 16;
/// And for so many strangers.
const CROWD: usize = 16;
/// Their group.
pub(super) const STRANGERS: &str = "bed:strangers";
/// A test's own call to the API server.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who asks the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Of the group `system:masters`.
    Admin,
    /// The agent's service account; the uid in the audit log names the node, 1 for the first.
    Agent(usize),
    /// One of several service accounts of somebody else, who may do everything.
    Stranger(usize),
    /// Of a node, 1 for the first.
    Kubelet(usize),
    /// kube-controller-manager.
    Controllers,
    /// kube-scheduler.
    Scheduler,
    /// kube-proxy, of every node.
    Proxy,
}

/// What the API server has around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    /// Nothing: tests write what kubelets and controllers would.
    Alone,
    /// Controllers, kubelets, and Pods with accounts of their own.
    Cluster,
}

/// Without controllers nobody makes the accounts that the plugin asks for.
const WITHOUT_CONTROLLERS: [&str; 2] = [
    "--authorization-mode=RBAC",
    "--disable-admission-plugins=ServiceAccount",
];

impl Surroundings {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Alone => &WITHOUT_CONTROLLERS,
            Self::Cluster => &[
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--kubelet-preferred-address-types=InternalIP",
            ],
        }
    }
}

impl User {
    /// Also its bearer token.
    fn name(self) -> String {
        match self {
            Self::Admin => "admin".into(),
            Self::Agent(node) => format!("agent-{node}"),
            Self::Stranger(number) => format!("stranger-{number}"),
            Self::Kubelet(node) => format!("kubelet-{node}"),
            Self::Controllers => "controllers".into(),
            Self::Scheduler => "scheduler".into(),
            Self::Proxy => "proxy".into(),
        }
    }

    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        let nodes = 1..=NODES;
        [Self::Admin, Self::Controllers, Self::Scheduler, Self::Proxy]
            .into_iter()
            .chain(nodes.clone().map(Self::Agent))
            .chain(nodes.map(Self::Kubelet))
            .chain((1..=CROWD).map(Self::Stranger))
    }

    /// A line of the file of tokens: token, user, uid, groups.
    fn row(self) -> String {
        let token = self.name();
        match self {
            Self::Admin => format!("{token},admin,admin,system:masters\n"),
            Self::Agent(node) => format!(
                "{token},system:serviceaccount:{NAMESPACE}:xvip-agent,node-{node},\
                 \"system:serviceaccounts,system:serviceaccounts:{NAMESPACE}\"\n"
            ),
            Self::Stranger(number) => format!(
                "{token},system:serviceaccount:strangers:{number},{token},\
                 \"{STRANGERS},system:serviceaccounts,system:serviceaccounts:strangers\"\n"
            ),
            Self::Kubelet(node) => {
                let name = Seat(node).name();
                format!("{token},system:node:{name},{name},system:nodes\n")
            }
            // Kubernetes' own roles are bound to these names.
            Self::Controllers => format!("{token},system:kube-controller-manager,{token}\n"),
            Self::Scheduler => format!("{token},system:kube-scheduler,{token}\n"),
            Self::Proxy => format!("{token},system:kube-proxy,{token}\n"),
        }
    }
}

/// A control plane without controllers. Gone when dropped, with all that it stored.
#[derive(Debug)]
pub struct ControlPlane {
    /// Stopped, frozen and started by tests.
    pub apiserver: Daemon,
    /// Stopped, frozen and started by tests.
    pub etcd: Daemon,
    /// Its namespace.
    pub host: Arc<Peer>,
    /// Where the nodes come in.
    pub management: Bridge,
    files: Files,
}

/// Keys, tokens, stored data and logs, in a directory that goes with them.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    fn new() -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xvip-api-{}-{number}", std::process::id());
        let files = Self(scratch::directory().join(name));
        fs::create_dir(&files.0).map_err(system("mkdir"))?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), BedError> {
        fs::write(self.path(name), text).map_err(system("write"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nothing can be done about a file that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A binary of the set that `cargo xtask envtest` builds.
pub(crate) fn binary(name: &str) -> Result<PathBuf, BedError> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").unwrap_or_default();
    let path = Path::new(&assets).join(name);
    match path.is_file() {
        true => Ok(path),
        false => Err(BedError::Assets(path)),
    }
}

pub(crate) fn line(arguments: &[&str]) -> Vec<String> {
    arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect()
}

impl ControlPlane {
    /// Starts it and waits until it is ready; `more` are further arguments of the API server.
    pub fn start(more: &[&str]) -> Result<Self, BedError> {
        Self::within(Surroundings::Alone, more)
    }

    /// Starts one for nodes with kubelets, and waits until it is ready.
    pub fn start_for_cluster() -> Result<Self, BedError> {
        Self::within(Surroundings::Cluster, &[])
    }

    fn within(surroundings: Surroundings, more: &[&str]) -> Result<Self, BedError> {
        let (etcd, apiserver) = (binary("etcd")?, binary("kube-apiserver")?);
        let host = Arc::new(Peer::new()?);
        let management = Bridge::within(&host)?;
        management.add_addresses(&[&format!("{ADDRESS}/24")])?;
        let files = Files::new()?;
        let data = format!("--data-dir={}", files.shown("data"));
        let listen = format!("--listen-client-urls={ETCD},{ETCD_OF_NODES}");
        let advertise = format!("--advertise-client-urls={ETCD}");
        // What is stored need not outlive the machine.
        let arguments = line(&[&data, &listen, &advertise, "--unsafe-no-fsync"]);
        let etcd = Daemon::start(&host, &etcd, arguments, files.path("etcd.log"))?;

        let mut key = Command::new("openssl");
        key.args(["genrsa", "-out", &files.shown("sa.key"), "2048"]);
        let made = key
            .stderr(Stdio::null())
            .status()
            .map_err(system("openssl"))?;
        if !made.success() {
            return Err(system("openssl")(std::io::ErrorKind::Other.into()));
        }
        let rows: String = User::all().map(User::row).collect();
        files.write("tokens.csv", &rows)?;
        files.write("audit.yaml", audit::POLICY)?;
        let mut arguments = server_line(&files, surroundings);
        arguments.extend(line(more));
        let apiserver = Daemon::start(&host, &apiserver, arguments, files.path("apiserver.log"))?;
        let mut control = Self {
            apiserver,
            etcd,
            host,
            management,
            files,
        };
        for user in User::all() {
            let kubeconfig = control.kubeconfig_text(user);
            control
                .files
                .write(&format!("{}.conf", user.name()), &kubeconfig)?;
        }
        control.wait_ready()?;
        Ok(control)
    }

    /// Starts one more API server, on a node: the same keys, the same etcd, and registered in
    /// `default/kubernetes` under an address of the node.
    pub(super) fn start_server(&self, node: &Node) -> Result<Daemon, BedError> {
        let files = &self.files;
        let mut arguments = common_line(files);
        arguments.extend(line(&WITHOUT_CONTROLLERS));
        arguments.extend(line(&[
            &format!("--etcd-servers={ETCD_OF_NODES}"),
            "--bind-address=::",
            &format!("--advertise-address={}", node.ipv4()),
            &format!("--tls-cert-file={}", files.shown("apiserver.crt")),
            &format!("--tls-private-key-file={}", files.shown("apiserver.key")),
            &format!("--audit-policy-file={}", files.shown("audit.yaml")),
            &format!("--audit-log-path={}", files.shown(&audit_of(node))),
        ]));
        let log = files.path(&format!("apiserver-{}.log", node.number));
        Daemon::start(node.peer(), &binary("kube-apiserver")?, arguments, log)
    }

    /// A kubeconfig as kubeadm writes it for administrators: it names an address of the control
    /// plane as the server.
    pub fn kubeconfig_for(&self, server: &str) -> Result<PathBuf, BedError> {
        let own = format!("{ADDRESS}:{PORT}");
        let text = self.kubeconfig_text(User::Admin);
        let name = format!("at-{server}.conf");
        let there = text.replace(&own, &format!("{server}:{PORT}"));
        self.files.write(&name, &there)?;
        Ok(self.files.path(&name))
    }

    fn kubeconfig_text(&self, user: User) -> String {
        let name = user.name();
        // Signed by itself, and with its authority in the same file.
        let authority = self.files.shown("apiserver.crt");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: bed\n\
             clusters: [{{name: bed, cluster: {{server: \"https://{ADDRESS}:{PORT}\", \
             certificate-authority: {authority}}}}}]\n\
             users: [{{name: {name}, user: {{token: {name}}}}}]\n\
             contexts: [{{name: bed, context: {{cluster: bed, user: {name}}}}}]\n"
        )
    }

    /// Connects a node with it.
    pub(crate) fn plug(&self, seat: Seat, peer: &Peer) -> Result<(), BedError> {
        let address = format!("{}/24", seat.management());
        let mac = Mac([2, 0, 0, 0, 2, seat.0 as u8]);
        // Nobody answers in XDP there: its cable's program may go.
        self.management
            .plug(&seat.port(), peer, ("mgmt0", mac), &[&address])
            .map(drop)
    }

    /// Where it keeps what it has: keys, logs, what is stored.
    pub fn directory(&self) -> &Path {
        &self.files.0
    }

    /// The certificate of the authority that every API server's is signed by.
    pub fn authority(&self) -> PathBuf {
        self.files.path("apiserver.crt")
    }

    /// Path of a user's kubeconfig.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.files.path(&format!("{}.conf", user.name()))
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&mut self) -> Result<(), BedError> {
        let ready = until(
            "the API server",
            || {
                if self.apiserver.has_ended()? || self.etcd.has_ended()? {
                    return Err(system("the API server or etcd")(
                        std::io::ErrorKind::BrokenPipe.into(),
                    ));
                }
                Ok(self.kubectl(&["get", "--raw", "/readyz"], "").is_ok())
            },
            String::new,
        );
        ready.inspect_err(|_| {
            eprintln!("--- etcd\n{}", self.etcd.last_words());
            eprintln!("--- kube-apiserver\n{}", self.apiserver.last_words());
        })
    }

    /// Ends the API server, as a crash does, and starts it again with what is stored.
    pub fn restart(&mut self) -> Result<(), BedError> {
        self.apiserver.kill()?;
        self.apiserver.run()?;
        self.wait_ready()
    }

    /// Runs kubectl as admin and returns what it wrote; `input` is for `-f -`.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, BedError> {
        self.kubectl_as(User::Admin, arguments, input)
    }

    /// Runs kubectl as a user.
    pub fn kubectl_as(
        &self,
        user: User,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, BedError> {
        let (kubeconfig, cache) = (self.kubeconfig(user), self.files.path("kubectl"));
        kubectl(&self.host, &kubeconfig, &cache, arguments, input)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<String, BedError> {
        self.kubectl(&["apply", "-f", "-"], manifests)
    }

    /// Does work with a client as admin, whose connection is made before the work begins.
    pub fn call<T: Send>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<T, kube::Error> + Send,
    ) -> Result<T, BedError> {
        self.call_as(User::Admin, work)
    }

    /// Does work with a client of a user.
    pub fn call_as<T: Send>(
        &self,
        user: User,
        work: impl AsyncFnOnce(Client) -> Result<T, kube::Error> + Send,
    ) -> Result<T, BedError> {
        let kubeconfig = self.kubeconfig(user);
        self.host.enter(|| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(system("runtime"))?.block_on(async {
                let client = client(&kubeconfig).await?;
                client.apiserver_version().await.map_err(api)?;
                work(client).await.map_err(api)
            })
        })
    }

    /// The API calls since the start that a node's own API server took.
    pub fn calls_at(&self, node: &Node) -> Result<Vec<Call>, BedError> {
        audit::read(&self.files.path(&audit_of(node)))
    }

    /// The API calls since the start, of all users, in the order in which they ended.
    pub fn calls(&self) -> Result<Vec<Call>, BedError> {
        audit::read(&self.files.path("audit.log"))
    }
}

fn audit_of(node: &Node) -> String {
    format!("audit-{}.log", node.number)
}

/// Arguments of the one API server that is no node's.
fn server_line(files: &Files, surroundings: Surroundings) -> Vec<String> {
    let mut arguments = common_line(files);
    arguments.extend(line(surroundings.arguments()));
    if surroundings == Surroundings::Alone {
        arguments.push("--endpoint-reconciler-type=none".to_owned());
    }
    arguments.extend(line(&[
        &format!("--etcd-servers={ETCD}"),
        "--bind-address=0.0.0.0",
        &format!("--advertise-address={ADDRESS}"),
        &format!("--cert-dir={}", files.shown("")),
        &format!("--audit-policy-file={}", files.shown("audit.yaml")),
        &format!("--audit-log-path={}", files.shown("audit.log")),
    ]));
    arguments
}

/// Arguments of every API server.
fn common_line(files: &Files) -> Vec<String> {
    let (key, tokens) = (files.shown("sa.key"), files.shown("tokens.csv"));
    line(&[
        &format!("--secure-port={PORT}"),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
        "--service-account-issuer=https://kubernetes.default.svc",
        &format!("--service-account-key-file={key}"),
        &format!("--service-account-signing-key-file={key}"),
        &format!("--token-auth-file={tokens}"),
        "--allow-privileged=true",
    ])
}

async fn client(kubeconfig: &Path) -> Result<Client, BedError> {
    let unreadable = |error| system("kubeconfig")(std::io::Error::other(error));
    let read = Kubeconfig::read_from(kubeconfig).map_err(unreadable)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(unreadable)?;
    config.read_timeout = Some(PATIENCE);
    Client::try_from(config).map_err(api)
}
