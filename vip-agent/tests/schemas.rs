//! The published JSON schemas are those of the code. `XVIP_BLESS=1` writes them anew.

use std::{env, fs, path::Path};

use schemars::{Schema, schema_for};
use vip_agent::{
    cli::{check, doctor},
    convert::Conversion,
    explain::Explanation,
    history::Events,
    status::Status,
    survey::{ClusterExplanation, ClusterStatus},
    trace::Decision,
};

#[test]
fn every_document_has_the_schema_that_is_published() {
    let documents: [(&str, Schema); 9] = [
        ("check", schema_for!(check::Document)),
        ("cluster-status", schema_for!(ClusterStatus)),
        ("cluster-explain", schema_for!(ClusterExplanation)),
        ("convert", schema_for!(Conversion)),
        ("events", schema_for!(Events)),
        ("explain", schema_for!(Explanation)),
        ("doctor", schema_for!(doctor::Diagnosis)),
        ("status", schema_for!(Status)),
        ("trace", schema_for!(Decision)),
    ];
    for (name, schema) in documents {
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/schema")
            .join(format!("{name}.json"));
        if env::var_os("XVIP_BLESS").is_some() {
            fs::write(&path, &schema).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, schema, "{name}: XVIP_BLESS=1 writes it anew");
    }
}
