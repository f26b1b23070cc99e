//! What an indented block of a page is: commands, commands with what they print, or a file.

/// A block without its indentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Of its first line.
    pub line: usize,
    pub lines: &'a [&'a str],
}

/// A command of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub line: usize,
    pub text: String,
    pub shown: Vec<String>,
}

const PROMPT: &str = "$ ";

impl Block<'_> {
    /// Whether it is the text of a file: it begins with a comment, or with a key of YAML.
    pub(super) fn is_file(&self) -> bool {
        let first = self.lines.first().copied().unwrap_or_default();
        let key = first.split_once(':').is_some_and(|(key, value)| {
            let is_word = |key: &str| key.chars().all(|it| it.is_alphanumeric() || it == '-');
            is_word(key) && (value.is_empty() || value.starts_with(' '))
        });
        key || first.starts_with('#')
    }

    /// Its commands, in order.
    pub(super) fn commands(&self) -> Vec<Entry> {
        if self.is_file() {
            return Vec::new();
        }
        let has_prompts = self.lines.iter().any(|line| line.starts_with(PROMPT));
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines = (self.line..).zip(self.lines.iter().copied());
        while let Some((line, text)) = lines.next() {
            let command = match text.strip_prefix(PROMPT) {
                Some(command) => command,
                None if !has_prompts => text,
                None => {
                    let shown = text.trim_end().to_owned();
                    entries.iter_mut().last().into_iter().for_each(|entry| {
                        entry.shown.push(shown.clone());
                    });
                    continue;
                }
            };
            if command.trim().is_empty() {
                continue;
            }
            let mut text = command.trim_end().to_owned();
            let end = command.split_once("<<").map(|(_, end)| end.trim());
            let goes_on = |text: &str| match end {
                Some(end) => text.lines().last() != Some(end),
                None => text.ends_with('\\'),
            };
            while goes_on(&text) {
                let Some((_, next)) = lines.next() else { break };
                text.push('\n');
                text.push_str(next.trim_end());
            }
            let shown = Vec::new();
            entries.push(Entry { line, text, shown });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String, Vec<String>)> {
        let lines: Vec<_> = text.lines().collect();
        let block = Block {
            line: 10,
            lines: &lines,
        };
        let commands = block.commands().into_iter();
        commands.map(|it| (it.line, it.text, it.shown)).collect()
    }

    #[test]
    fn each_line_is_a_command_with_the_lines_that_continue_it() {
        let text =
            "helm install \\\n    --wait\nkubectl apply -f - <<END\nkind: A\nEND\nkubectl get a";
        let expected = [
            (10, "helm install \\\n    --wait"),
            (12, "kubectl apply -f - <<END\nkind: A\nEND"),
            (15, "kubectl get a"),
        ];
        let expected = expected.map(|(line, text)| (line, text.to_owned(), Vec::new()));
        assert_eq!(texts(text), expected);
    }

    #[test]
    fn below_a_prompt_stands_what_is_printed() {
        let text = "$ kubectl get a\nNAME\nweb\n$ true";
        let shown = vec!["NAME".to_owned(), "web".to_owned()];
        let expected = [
            (10, "kubectl get a".to_owned(), shown),
            (13, "true".to_owned(), Vec::new()),
        ];
        assert_eq!(texts(text), expected);
    }

    #[test]
    fn a_file_holds_no_command() {
        for text in [
            "# /etc/xvip.yaml\ninterfaces: [eth0]",
            "kind: A",
            "vips:\n  - a",
        ] {
            assert_eq!(texts(text), [], "{text}");
        }
        assert_eq!(texts("curl http://192.0.2.100").len(), 1);
    }
}
