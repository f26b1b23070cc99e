//! What `cargo xtask pictures` drew, and where the documentation shows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees only functions with #[test] as tests"
)]

use std::{collections::BTreeSet, fs, path::Path};

/// A page with a few of them still opens at once.
const BYTES: u64 = 200_000;

/// Pictures that a page shows, by their names.
fn shown(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let links = text.split("![").skip(1);
    let targets = links.filter_map(|link| link.split_once("](")?.1.split(')').next());
    let pictures = targets.filter_map(|target| target.split_once("pictures/"));
    pictures.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn every_picture_is_shown_somewhere_and_none_is_missing_or_large() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let pages = docs.map(|entry| entry.unwrap().path());
    let mut seen: BTreeSet<String> = shown(&root.join("README.md")).into_iter().collect();
    for page in pages.filter(|path| path.extension().is_some_and(|it| it == "md")) {
        seen.extend(shown(&page));
    }
    let mut drawn = BTreeSet::new();
    for entry in fs::read_dir(root.join("docs/pictures")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(entry.metadata().unwrap().len() < BYTES, "{name}");
        drawn.insert(name);
    }
    assert_eq!(seen, drawn);
}
