//! A command of a page.

/// What a user pastes into a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The heading above it; empty before the first.
    pub section: String,
    /// Where it stands in the page, from 1.
    pub line: usize,
    /// With its comments, and with the lines that belong to it.
    pub text: String,
    /// The lines below it that show what it prints.
    pub shown: Vec<String>,
}

impl Command {
    /// What tables of tests call it: one line, without comment, and without a document that follows.
    pub fn name(&self) -> String {
        let mut lines = self.text.lines();
        let mut name = lines.next().unwrap_or_default().to_owned();
        while let Some(start) = name.strip_suffix('\\') {
            let next = lines.next().unwrap_or_default().trim();
            name = format!("{} {next}", start.trim_end());
        }
        let name = name.split("  #").next().unwrap_or_default();
        name.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_one_line_without_comment_and_document() {
        for (text, name) in [
            ("a b    # why", "a b"),
            ("a \\\n    --b \\\n    c", "a --b c"),
            ("a -f - <<END\nb\nEND", "a -f - <<END"),
        ] {
            let command = Command {
                section: String::new(),
                line: 1,
                text: text.to_owned(),
                shown: Vec::new(),
            };
            assert_eq!(command.name(), name);
        }
    }
}
