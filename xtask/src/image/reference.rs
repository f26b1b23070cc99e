//! The name of an image, as a registry and containerd spell it.

/// `NAME:TAG` with its registry. containerd and the kubelet's runtime interface look images up by
/// the whole name, and complete a short one like Docker did: `vip-agent` is
/// `docker.io/library/vip-agent`.
pub(super) fn complete(name: &str, tag: &str) -> String {
    let place = match name.split_once('/') {
        // A registry has a dot or a port in its name; else it is a user of Docker's.
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => "",
        Some(_) => "docker.io/",
        None => "docker.io/library/",
    };
    format!("{place}{name}:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_completed_as_docker_did() {
        for (name, whole) in [
            ("vip-agent", "docker.io/library/vip-agent:v1"),
            ("somebody/vip-agent", "docker.io/somebody/vip-agent:v1"),
            ("registry.test/vip-agent", "registry.test/vip-agent:v1"),
            ("localhost/vip-agent", "localhost/vip-agent:v1"),
            ("registry:5000/a/b", "registry:5000/a/b:v1"),
        ] {
            assert_eq!(complete(name, "v1"), whole);
        }
    }
}
