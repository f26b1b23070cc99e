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
    /// What tables of tests call it: its first line, without what continues it and without comment.
    pub fn name(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        let first = first.split("  #").next().unwrap_or_default();
        first.trim_end_matches(['\\', ' '])
    }
}
