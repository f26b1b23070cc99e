//! A container image as a file: the layout of the OCI image specification (`image-layout.md`) in a
//! tar archive, which `ctr images import`, `podman load` and `skopeo copy oci-archive:` take.
//!
//! ```text
//! oci-layout
//! index.json            names the image, and points at
//! blobs/sha256/INDEX    which points, for each platform, at
//! blobs/sha256/MANIFEST which points at a configuration and one layer, blobs too
//! ```
//!
//! The same content gives the same bytes: times are an argument, and nothing else changes.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::platform::Platform;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a container finds in its root.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// A program, with its content.
    Program(&'a str, Vec<u8>),
    /// A symbolic link, and where it leads.
    Link(&'a str, &'a str),
}

/// What is the same for every platform.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// With its registry and tag: `docker.io/library/vip-agent:v1`.
    pub(super) reference: &'a str,
    /// Program and arguments.
    pub(super) entrypoint: &'a [&'a str],
    pub(super) labels: &'a [(&'a str, &'a str)],
    /// When its content came to be, RFC 3339.
    pub(super) created: &'a str,
}

impl Image<'_> {
    /// Writes the archive.
    pub(super) fn write(
        &self,
        to: impl Write,
        platforms: Vec<(Platform, Vec<Entry<'_>>)>,
    ) -> io::Result<()> {
        let mut blobs = Blobs(tar::Builder::new(to));
        blobs.file("oci-layout", json!({"imageLayoutVersion": "1.0.0"}))?;
        let mut manifests = Vec::new();
        for (platform, content) in platforms {
            manifests.push(self.platform(&mut blobs, platform, &content)?);
        }
        let images = blobs.json(INDEX, &index(manifests))?;
        let tag = self.reference.rsplit(':').next().unwrap_or_default();
        let names = json!({
            // containerd takes the whole name from here, others the tag from the second.
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag,
        });
        let named = with(images, "annotations", names);
        blobs.file("index.json", index(vec![named]))?;
        blobs.0.into_inner()?.flush()
    }

    /// Adds what one platform takes, and gives the descriptor of its manifest.
    fn platform(
        &self,
        blobs: &mut Blobs<impl Write>,
        platform: Platform,
        content: &[Entry<'_>],
    ) -> io::Result<Value> {
        let tree = tree(content)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&tree)?;
        let layer = blobs.blob(LAYER, &packed.finish()?)?;
        let labels: Map<_, _> = self
            .labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let config = json!({
            "created": self.created,
            "architecture": platform.name(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(&tree)]},
            "history": [{"created": self.created, "created_by": "cargo xtask image"}],
        });
        let config = blobs.json(CONFIG, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
        });
        let manifest = blobs.json(MANIFEST, &manifest)?;
        let runs_on = json!({"architecture": platform.name(), "os": "linux"});
        Ok(with(manifest, "platform", runs_on))
    }
}

fn index(manifests: Vec<Value>) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}

fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The layer, not yet packed.
fn tree(content: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut tree = tar::Builder::new(Vec::new());
    for entry in content {
        match entry {
            Entry::Program(path, bytes) => {
                let mut header = header(bytes.len(), 0o755);
                tree.append_data(&mut header, path, bytes.as_slice())?;
            }
            Entry::Link(path, to) => {
                let mut header = header(0, 0o777);
                header.set_entry_type(tar::EntryType::Symlink);
                tree.append_link(&mut header, path, to)?;
            }
        }
    }
    tree.into_inner()
}

/// Of a file that belongs to root and is as old as the epoch.
fn header(size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

struct Blobs<W: Write>(tar::Builder<W>);

impl<W: Write> Blobs<W> {
    fn file(&mut self, path: &str, content: Value) -> io::Result<()> {
        let bytes = content.to_string().into_bytes();
        let mut header = header(bytes.len(), 0o644);
        self.0.append_data(&mut header, path, bytes.as_slice())
    }

    /// Adds a blob and gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
        let digest = digest(bytes);
        let mut header = header(bytes.len(), 0o644);
        let path = format!("blobs/{}", digest.replace(':', "/"));
        self.0.append_data(&mut header, path, bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    fn json(&mut self, media_type: &str, document: &Value) -> io::Result<Value> {
        self.blob(media_type, document.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use super::*;

    type Files = BTreeMap<String, Vec<u8>>;

    fn written() -> Vec<u8> {
        let image = Image {
            reference: "registry.test/agent:v7",
            entrypoint: &["/agent"],
            labels: &[("version", "7")],
            created: "2026-01-01T00:00:00Z",
        };
        let content = |byte| {
            vec![
                Entry::Program("agent", vec![byte; 700]),
                Entry::Link("sh", "agent"),
            ]
        };
        let platforms = vec![(Platform::Amd64, content(1)), (Platform::Arm64, content(2))];
        let mut bytes = Vec::new();
        image.write(&mut bytes, platforms).unwrap();
        bytes
    }

    fn files(archive: &[u8]) -> Files {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, bytes)
        });
        entries.collect()
    }

    /// What a descriptor points at, whose digest and size are right.
    fn follow<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
        let name = descriptor["digest"].as_str().unwrap();
        let bytes = &files[&format!("blobs/{}", name.replace(':', "/"))];
        assert_eq!(digest(bytes), name);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }

    fn document(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn each_platform_is_found_by_the_images_name_and_holds_its_program() {
        let files = files(&written());
        let top = document(&files["index.json"]);
        let named = &top["manifests"][0];
        let annotations = &named["annotations"];
        assert_eq!(
            annotations["io.containerd.image.name"],
            "registry.test/agent:v7"
        );
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "v7");
        let images = document(follow(&files, named));
        for (place, (name, byte)) in [("amd64", 1), ("arm64", 2)].into_iter().enumerate() {
            let image = &images["manifests"][place];
            assert_eq!(image["platform"]["architecture"], name);
            let manifest = document(follow(&files, image));
            let config = document(follow(&files, &manifest["config"]));
            assert_eq!(config["architecture"], name);
            assert_eq!(config["config"]["Entrypoint"], json!(["/agent"]));
            assert_eq!(config["config"]["Labels"]["version"], "7");
            let mut tree = Vec::new();
            let packed = follow(&files, &manifest["layers"][0]);
            flate2::read::GzDecoder::new(packed)
                .read_to_end(&mut tree)
                .unwrap();
            // The runtime compares what it unpacked with this.
            assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&tree)]));
            assert_eq!(self::files(&tree)["agent"], [byte; 700]);
        }
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        assert_eq!(written(), written());
    }
}
