//! The packages below `deploy`: the Helm chart, what of it is generated, and the flat manifest.

mod helm;
mod parts;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use helm::{Helm, NAMESPACE, RELEASE};
pub use parts::{Part, parts};

/// The chart's folder.
pub const CHART: &str = "deploy/helm/xvip";
/// The flat manifest.
pub const FLAT: &str = "deploy/xvip.yaml";

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The objects of a text with YAML documents.
///
/// # Panics
/// When it is none.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = format!("\n{text}");
    let documents = documents.split("\n---");
    let read = documents.map(|document| {
        let value: Option<Value> =
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
        value.unwrap_or_default()
    });
    read.filter(|object| !object.is_null()).collect()
}

/// The one object of a kind and a name.
///
/// # Panics
/// When there is none.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}
