//! Links between pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::packages::repository;

/// The links of pages that lead nowhere: to a file or a heading that is not there. What is outside
/// of the repository is not asked.
///
/// # Panics
/// When a page cannot be read.
pub fn broken_links(pages: &[String]) -> Vec<String> {
    let mut broken = Vec::new();
    for page in pages {
        let path = repository(page);
        let text = fs::read_to_string(&path).unwrap();
        for target in targets(&text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to: PathBuf = match file {
                "" => path.clone(),
                file => path.parent().unwrap_or(Path::new("")).join(file),
            };
            let has_heading = || {
                let text = fs::read_to_string(&to).unwrap_or_default();
                text.lines()
                    .any(|line| line.starts_with('#') && anchor_of(line) == anchor)
            };
            if !to.exists() || !anchor.is_empty() && !has_heading() {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    broken
}

/// What stands in the parentheses of `[text](target)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("](").skip(1);
    after
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

/// As GitHub and Forgejo make it of a heading.
fn anchor_of(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_linked_by_its_words() {
        assert_eq!(
            anchor_of("## A VIP for the API server"),
            "a-vip-for-the-api-server"
        );
        assert_eq!(anchor_of("# Read it, now: `/readyz`"), "read-it-now-readyz");
        let found: Vec<_> = targets("[a](b.md#c), [d](e)").collect();
        assert_eq!(found, ["b.md#c", "e"]);
    }

    #[test]
    fn a_link_to_what_is_not_there_is_found() {
        let folder = std::env::temp_dir().join(format!("xvip-links-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let page = folder.join("page.md");
        fs::write(
            &page,
            "# One\n[a](#one) [b](#two) [c](none.md) [d](page.md)",
        )
        .unwrap();
        let page = page.display().to_string();
        let broken = broken_links(std::slice::from_ref(&page));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            broken,
            [format!("{page}: #two"), format!("{page}: none.md")]
        );
    }
}
