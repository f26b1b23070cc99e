//! Settings of kube-vip and MetalLB, and what becomes of them. Each folder of `convert` is a case:
//! its input, the arguments, and what was printed. `XVIP_BLESS=1` writes the latter anew.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{env, fs, path::Path, process::Command};

use serde_json::Value;
use vip_agent::{config, manifest};

fn cases() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert");
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

struct Ran {
    out: String,
    remarks: String,
    code: i32,
}

fn ran(case: &str, more: &[&str]) -> Ran {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/convert")
        .join(case);
    let arguments = fs::read_to_string(folder.join("arguments")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vip-agent"))
        .current_dir(&folder)
        .arg("convert")
        .args(arguments.split_whitespace())
        .args(more)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        out: text(output.stdout),
        remarks: text(output.stderr),
        code: output.status.code().unwrap(),
    }
}

#[test]
fn every_case_prints_what_stands_beside_it() {
    for case in cases() {
        let Ran { out, remarks, code } = ran(&case, &[]);
        let refused = remarks.contains("refused: ");
        assert_eq!(code, if refused { 2 } else { 0 }, "{case}: {remarks}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/convert")
            .join(&case);
        for (name, text) in [("out.yaml", out), ("remarks.txt", remarks)] {
            let path = folder.join(name);
            if env::var_os("XVIP_BLESS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, expected, "{case}/{name}: XVIP_BLESS=1 writes it anew");
        }
    }
}

/// The documents of a text, as JSON.
fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("---\n").skip(1);
    documents
        .map(|it| serde_saphyr::from_str(it).unwrap())
        .collect()
}

#[test]
fn every_configuration_that_is_printed_is_one_without_errors() {
    for case in cases() {
        let objects = documents(&ran(&case, &["--keep-going"]).out);
        let maps: Vec<_> = objects
            .iter()
            .filter(|it| it["kind"] == "ConfigMap")
            .collect();
        assert!(maps.len() <= 1, "{case}");
        for map in maps {
            assert_eq!(map["metadata"]["name"], manifest::ACCOUNT);
            let text = map["data"]["config.yaml"].as_str().unwrap();
            let reading = config::read(&[], Vec::new(), Some(text), "node");
            assert_eq!(reading.errors(), [], "{case}: {text}");
            assert_eq!(reading.warnings(), [], "{case}: {text}");
        }
    }
}

#[test]
fn the_document_holds_what_the_lines_say() {
    for case in cases() {
        let Ran { remarks, .. } = ran(&case, &[]);
        let Ran { out, code, .. } = ran(&case, &["-o", "json"]);
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["ok"], code == 0, "{case}");
        let errors = document["errors"].as_array().unwrap();
        let warnings = document["warnings"].as_array().unwrap();
        assert_eq!(
            remarks.lines().count(),
            errors.len() + warnings.len(),
            "{case}"
        );
        for error in errors {
            for part in ["field", "message", "fix"] {
                let part = error[part].as_str().unwrap();
                assert!(
                    !part.is_empty() && remarks.contains(part),
                    "{case}: {error}"
                );
            }
        }
    }
}

#[test]
fn an_empty_input_is_no_conversion() {
    let empty = Command::new(env!("CARGO_BIN_EXE_vip-agent"))
        .args(["convert", "metallb", "-f", "/dev/null"])
        .output()
        .unwrap();
    assert_eq!(empty.status.code(), Some(2));
    let said = String::from_utf8(empty.stderr).unwrap();
    assert!(said.contains("it holds no settings"), "{said}");
}
