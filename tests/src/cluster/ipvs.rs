//! What kube-proxy does to a node in IPVS mode, without it.

use crate::netns::BedError;

use super::Cluster;

impl Cluster {
    /// kube-proxy in IPVS mode binds every LoadBalancer address on `kube-ipvs0` of every node
    /// (`syncProxyRules`). This kernel may have neither ip_vs nor dummy devices: a bridge without
    /// ports stands for one.
    pub fn bind_like_ipvs(&self, vips: &[&str]) -> Result<(), BedError> {
        for node in &self.nodes {
            let device = "ip link add kube-ipvs0 type bridge && ip link set kube-ipvs0 up";
            node.peer.run(device)?;
            for vip in vips {
                let nodad = if vip.contains(':') { "nodad" } else { "" };
                let bind = format!("ip addr add {vip} dev kube-ipvs0 {nodad}");
                node.peer.run(&bind)?;
            }
        }
        Ok(())
    }

    /// All of it is gone.
    pub fn unbind_like_ipvs(&self) -> Result<(), BedError> {
        for node in &self.nodes {
            node.peer.run("ip link del kube-ipvs0")?;
        }
        Ok(())
    }

    /// `strictARP: true` as kube-proxy sets it (`NewProxier`), or what the kernel has without.
    pub fn set_strict_arp(&self, strict: bool) -> Result<(), BedError> {
        let (ignore, announce) = if strict { (1, 2) } else { (0, 0) };
        for node in &self.nodes {
            let conf = "/proc/sys/net/ipv4/conf/all";
            node.peer.run(&format!(
                "echo {ignore} > {conf}/arp_ignore && echo {announce} > {conf}/arp_announce"
            ))?;
        }
        Ok(())
    }
}
