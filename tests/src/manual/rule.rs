//! What a test knows of a command beside the page.

use super::Place;

/// How a command is run, or why it is not.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) page: &'static str,
    pub(super) command: &'static str,
    pub(super) place: Place,
    pub(super) prints: Vec<String>,
    pub(super) says: Vec<String>,
    pub(super) how: How,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is run to its end, and must succeed.
    Run,
    /// It goes on beside the next ones.
    Beside,
    /// It cannot be run here.
    NotHere(&'static str),
}

/// Of the command of a page that is called so ([`Command::name`](super::Command::name)): it is run
/// once, with a kubeconfig, and must succeed.
pub fn rule(page: &'static str, command: &'static str) -> Rule {
    Rule {
        page,
        command,
        place: Place::Anywhere,
        prints: Vec::new(),
        says: Vec::new(),
        how: How::Run,
    }
}

impl Rule {
    pub(super) fn is_of(&self, path: &str, command: &str) -> bool {
        path.ends_with(self.page) && self.command == command
    }

    /// Where it is run.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// What it is to print. It is repeated until it does, so it must only look.
    #[must_use]
    pub fn prints(mut self, text: &str) -> Self {
        self.prints.push(text.to_owned());
        self
    }

    /// What it is to print the first time, for one that does something.
    #[must_use]
    pub fn says(mut self, text: &str) -> Self {
        self.says.push(text.to_owned());
        self
    }

    /// It goes on until [`Reader::stop`](super::Reader::stop).
    #[must_use]
    pub fn goes_on(mut self) -> Self {
        self.how = How::Beside;
        self
    }

    /// Why it is not run.
    #[must_use]
    pub fn not_here(mut self, why: &'static str) -> Self {
        self.how = How::NotHere(why);
        self
    }
}
