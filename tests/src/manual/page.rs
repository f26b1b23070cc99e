//! A page of the documentation, and what stands in it.

use std::fs;

use crate::packages::repository;

use super::{
    block::{Block, Entry},
    command::Command,
};

/// What a code span within a sentence begins with when it is a command; `prefix: 24` is none.
const PROGRAMS: [&str; 22] = [
    "arping",
    "bpftool",
    "cargo",
    "crictl",
    "ctr",
    "curl",
    "helm",
    "ip",
    "ipvsadm",
    "journalctl",
    "kubeadm",
    "kubectl",
    "ln",
    "modprobe",
    "ndisc6",
    "nsenter",
    "ping",
    "skopeo",
    "sysctl",
    "systemctl",
    "tcpdump",
    "vip-agent",
];
/// Markdown's own: a block of code is indented by so much.
const INDENTATION: usize = 4;

/// A page, read.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its path in the repository.
    pub path: String,
    /// In order.
    pub commands: Vec<Command>,
    /// Blocks that are files, in order.
    pub files: Vec<String>,
}

/// Paths of all pages that are for users: `README.md` and `docs/*.md`.
///
/// # Panics
/// When the folder cannot be read.
pub fn pages() -> Vec<String> {
    let entries = fs::read_dir(repository("docs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.ends_with(".md"));
    let mut pages: Vec<_> = pages.map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

impl Page {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not there.
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(repository(path));
        Self::of(
            path,
            &text.unwrap_or_else(|error| panic!("{path}: {error}")),
        )
    }

    fn of(path: &str, text: &str) -> Self {
        assert!(!text.contains("\n```"), "{path}: code is indented here");
        let mut page = Self {
            path: path.to_owned(),
            commands: Vec::new(),
            files: Vec::new(),
        };
        let lines: Vec<_> = text.lines().collect();
        let (mut section, mut at, mut is_after_blank) = (String::new(), 0, true);
        while at < lines.len() {
            let line = lines[at];
            let is_code = line.starts_with(&" ".repeat(INDENTATION)) && is_after_blank;
            is_after_blank = line.trim().is_empty();
            if is_code {
                let end = end_of_block(&lines, at);
                page.add_block(&section, at, &lines[at..end]);
                (at, is_after_blank) = (end, true);
                continue;
            }
            if let Some(heading) = line.strip_prefix('#') {
                section = heading.trim_matches(['#', ' ']).to_owned();
            }
            // A sentence goes on over lines, and so may a span; a row of a table does not.
            let mut sentence = line.to_owned();
            let first = at;
            while !line.starts_with('|')
                && sentence.matches('`').count() % 2 == 1
                && lines
                    .get(at + 1)
                    .is_some_and(|next| !next.trim().is_empty())
            {
                at += 1;
                sentence = format!("{sentence} {}", lines[at].trim());
            }
            page.add_spans(&section, first, &sentence);
            at += 1;
        }
        page
    }

    fn add_block(&mut self, section: &str, at: usize, lines: &[&str]) {
        let indentation = |line: &&str| line.len() - line.trim_start().len();
        let least = lines.iter().map(indentation).min().unwrap_or_default();
        let lines: Vec<_> = lines
            .iter()
            .map(|line| line.get(least..).unwrap_or_default())
            .collect();
        let block = Block {
            line: at + 1,
            lines: &lines,
        };
        if block.is_file() {
            self.files.push(lines.join("\n"));
        }
        for Entry { line, text, shown } in block.commands() {
            self.commands.push(Command {
                section: section.to_owned(),
                line,
                text,
                shown,
            });
        }
    }

    fn add_spans(&mut self, section: &str, at: usize, sentence: &str) {
        for span in sentence.split('`').skip(1).step_by(2) {
            let Some((program, _)) = span.split_once(' ') else {
                continue;
            };
            if PROGRAMS.contains(&program) {
                self.commands.push(Command {
                    section: section.to_owned(),
                    line: at + 1,
                    text: span.to_owned(),
                    shown: Vec::new(),
                });
            }
        }
    }
}

/// The line behind a block: an empty one ends it, since a file may stand between commands.
fn end_of_block(lines: &[&str], from: usize) -> usize {
    let indentation = " ".repeat(INDENTATION);
    let is_code = |line: &&&str| line.starts_with(&indentation) && !line.trim().is_empty();
    from + lines[from..].iter().take_while(is_code).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A page

It says `kubectl get vips`, `prefix: 24` and `vip-agent
status` of a node.

## How

1. First.

       ip link
       ip address

   then

    ip rule

    # /etc/a.yaml
    a: b
    c: d

    ip -6 rule

| `helm ls` | `ls` |
";

    #[test]
    fn commands_stand_in_blocks_of_lists_and_in_sentences() {
        let page = Page::of("a.md", TEXT);
        let told = page.commands.iter();
        let told: Vec<_> = told
            .map(|it| (it.section.as_str(), it.line, it.text.as_str()))
            .collect();
        let expected = [
            ("A page", 3, "kubectl get vips"),
            ("A page", 3, "vip-agent status"),
            ("How", 10, "ip link"),
            ("How", 11, "ip address"),
            ("How", 15, "ip rule"),
            ("How", 21, "ip -6 rule"),
            ("How", 23, "helm ls"),
        ];
        assert_eq!(told, expected);
        assert_eq!(page.files, ["# /etc/a.yaml\na: b\nc: d"]);
    }
}
