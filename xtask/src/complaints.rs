//! What failed tests said, kept for the end of a long run.

use std::fmt;

/// Lines per test; the rest is in the run's own output.
const LINES: usize = 12;

/// Read from the section that cargo prints after a binary's tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaints {
    tests: Vec<Complaint>,
    /// Whether the lines that come belong to the last test.
    open: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    test: String,
    lines: Vec<String>,
}

impl Complaints {
    /// The next line of `cargo test`.
    pub(crate) fn hear(&mut self, line: &str) {
        let named = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = named {
            self.tests.push(Complaint {
                test: test.to_owned(),
                lines: Vec::new(),
            });
            self.open = true;
        } else if line == "failures:" || line == "stack backtrace:" {
            self.open = false;
        } else if let Some(last) = self.tests.last_mut()
            && self.open
            && !line.trim().is_empty()
            && last.lines.len() < LINES
        {
            last.lines.push(line.to_owned());
        }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for complaint in &self.tests {
            writeln!(f, "{}", complaint.test)?;
            for line in &complaint.lines {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_test_printed_is_kept_without_its_backtrace() {
        let mut complaints = Complaints::default();
        let said = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\nthread 'a' panicked:\n\
                    left: 1\nstack backtrace:\n   0: rust\n---- b::c stdout ----\nlate\n\n\
                    failures:\n    a\n    b::c\n";
        for line in said.lines() {
            complaints.hear(line);
        }
        let expected = "a\n    thread 'a' panicked:\n    left: 1\nb::c\n    late\n";
        assert_eq!(complaints.to_string(), expected);
    }
}
