//! The configuration's flags, shared by every subcommand that reads it. They stay text here,
//! so that their errors are reported together with all others.

use std::path::PathBuf;

use clap::Args;

use crate::config::Key;

/// One flag per key of the configuration; lists are separated by commas.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE", env = "XVIP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of this node [default: $NODE_NAME, then the host name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Interfaces or globs that VIPs live on [default: that of the default route]
    #[arg(long, value_name = "NAMES")]
    interfaces: Option<String>,
    /// Prefix lengths of VIPs: `32,128`, `32`, `128`, `auto`, `24,auto` [default: 32,128]
    #[arg(long, value_name = "LENGTHS", allow_negative_numbers = true)]
    prefix: Option<String>,
    /// How programs are attached: auto, native, tc or generic [default: auto]
    #[arg(long, value_name = "MODE")]
    attach: Option<String>,
    /// Whether VIPs are bound: interface or none [default: interface]
    #[arg(long, value_name = "MODE")]
    bind: Option<String>,
    /// Interfaces or globs that are left alone
    #[arg(long, value_name = "NAMES")]
    ignore_interfaces: Option<String>,
    /// Announcements a second and interface [default: 5000]
    #[arg(long, value_name = "FRAMES", allow_negative_numbers = true)]
    announce_rate: Option<String>,
    /// Who decides what this node owns: static or kubernetes [default: static]
    #[arg(long, value_name = "MODE")]
    ownership: Option<String>,
    /// Addresses of the VIPs
    #[arg(long, value_name = "ADDRESSES")]
    vips: Option<String>,
    /// Where metrics, health and status are served [default: 127.0.0.1:9470]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// Where metrics alone are served besides, such as the node's address [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Directory of the pins on bpffs [default: /sys/fs/bpf/xvip]
    #[arg(long, value_name = "DIR")]
    pin_dir: Option<String>,
    /// Whose addresses are taken over when they equal a VIP: kube-vip
    #[arg(long, value_name = "WHOSE")]
    adopt: Option<String>,
    /// In place of the kernel's boot id, for tests
    #[arg(long, value_name = "ID")]
    boot_id: Option<String>,
    /// What SIGTERM does to the VIPs: withdraw or keep [default: withdraw]
    #[arg(long, value_name = "ACTION")]
    on_exit: Option<String>,
    /// Least level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Form of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Credentials for the API server [default: in-cluster, else $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
    /// The agent's namespace, where its Leases live [default: xvip-system]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Time after which another node takes over [default: 5s]
    #[arg(long, value_name = "TIME")]
    lease_duration: Option<String>,
    /// Time between renewals [default: 1500ms]
    #[arg(long, value_name = "TIME")]
    lease_renew: Option<String>,
    /// Time for which the kernel answers without a renewal [default: 4s]
    #[arg(long, value_name = "TIME")]
    lease_hold: Option<String>,
    /// Nodes that hold a session without need [default: 8]
    #[arg(long, value_name = "NODES")]
    lease_max_announcers: Option<String>,
    /// What VIPs do without the API server: hold or fence [default: hold]
    #[arg(long, value_name = "ACTION")]
    on_api_loss: Option<String>,
    /// Classes of Services that are served [default: xvip.io/vip]
    #[arg(long, value_name = "CLASSES")]
    services_load_balancer_classes: Option<String>,
    /// Whether Services without a class are served [default: true]
    #[arg(long, value_name = "BOOL")]
    services_default: Option<String>,
    /// Namespaces whose Services are served [default: all]
    #[arg(long, value_name = "NAMES")]
    services_namespaces: Option<String>,
    /// VIPs of the API server
    #[arg(long, value_name = "ADDRESSES")]
    control_plane_addresses: Option<String>,
    /// Port of the API server [default: 6443]
    #[arg(long, value_name = "PORT")]
    control_plane_port: Option<String>,
}

impl Flags {
    /// The flags that were given, for [`crate::config::read`].
    pub fn given(&self) -> Vec<(Key, String)> {
        Key::ALL
            .into_iter()
            .filter_map(|key| Some((key, self.of(key)?.clone())))
            .collect()
    }

    fn of(&self, key: Key) -> Option<&String> {
        match key {
            Key::Node => self.node.as_ref(),
            Key::Interfaces => self.interfaces.as_ref(),
            Key::Prefix => self.prefix.as_ref(),
            Key::Attach => self.attach.as_ref(),
            Key::Bind => self.bind.as_ref(),
            Key::IgnoreInterfaces => self.ignore_interfaces.as_ref(),
            Key::AnnounceRate => self.announce_rate.as_ref(),
            Key::Ownership => self.ownership.as_ref(),
            Key::Vips => self.vips.as_ref(),
            Key::Http => self.http.as_ref(),
            Key::Metrics => self.metrics.as_ref(),
            Key::PinDir => self.pin_dir.as_ref(),
            Key::Adopt => self.adopt.as_ref(),
            Key::BootId => self.boot_id.as_ref(),
            Key::OnExit => self.on_exit.as_ref(),
            Key::LogLevel => self.log_level.as_ref(),
            Key::LogFormat => self.log_format.as_ref(),
            Key::Kubeconfig => self.kubeconfig.as_ref(),
            Key::Namespace => self.namespace.as_ref(),
            Key::LeaseDuration => self.lease_duration.as_ref(),
            Key::LeaseRenew => self.lease_renew.as_ref(),
            Key::LeaseHold => self.lease_hold.as_ref(),
            Key::LeaseMaxAnnouncers => self.lease_max_announcers.as_ref(),
            Key::OnApiLoss => self.on_api_loss.as_ref(),
            Key::ServicesLoadBalancerClasses => self.services_load_balancer_classes.as_ref(),
            Key::ServicesDefault => self.services_default.as_ref(),
            Key::ServicesNamespaces => self.services_namespaces.as_ref(),
            Key::ControlPlaneAddresses => self.control_plane_addresses.as_ref(),
            Key::ControlPlanePort => self.control_plane_port.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn every_key_has_its_flag() {
        for key in Key::ALL {
            let flag = key.flag();
            let command = Command::try_parse_from(["vip-agent", &flag, "value"]).unwrap();
            assert_eq!(command.flags.given(), [(key, "value".to_owned())]);
        }
    }

    #[test]
    fn a_negative_number_reaches_the_configuration() {
        let command = Command::try_parse_from(["vip-agent", "--prefix", "-1"]).unwrap();
        assert_eq!(command.flags.given(), [(Key::Prefix, "-1".to_owned())]);
    }
}
