//! The document for people.

use std::fmt::Write;

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;

use super::{Candidate, Explanation, Standing};
use crate::status::age;

impl Explanation {
    /// The document as text, `now` giving ages.
    pub fn table(&self, now: Timestamp) -> String {
        let mut text = format!("{}\n", self.summary);
        for finding in &self.findings {
            // Writing to a String fails never.
            let _ = write!(text, "\n{finding}");
        }
        let mut facts = Table::new();
        facts.load_preset(NOTHING);
        for (name, value) in self.facts(now) {
            facts.add_row([name.to_owned(), value]);
        }
        let mut blocks = vec![facts];
        blocks.extend(candidate_table(&self.candidates));
        blocks.extend(self.event_rows(now));
        for block in blocks {
            let _ = write!(text, "\n{block}\n");
        }
        // comfy-table fills the last column with blanks too.
        let lines = text.lines().map(str::trim_end);
        lines.fold(String::new(), |text, line| text + line + "\n")
    }

    fn facts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut facts = vec![("NODE", format!("{}, version {}", self.node, self.version))];
        if let Some(vip) = &self.vip {
            let prefix = vip
                .prefix
                .map_or("?".to_owned(), |prefix| prefix.to_string());
            let interface = vip.interface.as_deref().unwrap_or("no interface");
            let since = age(vip.since, now);
            facts.push((
                "VIP",
                format!(
                    "{}/{prefix} on {interface}, {} for {since}, {} answers, {} conflicts",
                    self.address,
                    vip.state.label(),
                    vip.answers,
                    vip.conflicts
                ),
            ));
        }
        if let Some(assignment) = &self.assignment {
            facts.push(("OBJECT", assignment.to_string()));
        }
        if let Some(row) = &self.row {
            let since = row.since.map(|since| format!(" for {}", age(since, now)));
            let node = row.node.as_deref().unwrap_or("nobody");
            let text = format!("{} names {node}{}", row.name, since.unwrap_or_default());
            facts.push(("ROW", text));
        }
        let in_ms = |ms: Option<i64>| ms.map_or("never".to_owned(), |ms| format!("in {ms} ms"));
        let session = &self.session;
        facts.push((
            "SESSION",
            format!(
                "{}, epoch {}, silent {}, yields {}",
                session.id.as_deref().unwrap_or("none"),
                session.epoch,
                in_ms(session.deadline_in_ms),
                in_ms(session.confirmed_in_ms)
            ),
        ));
        for entry in &self.entries {
            let interface = entry.interface.as_deref().unwrap_or("all others");
            let text = format!(
                "{interface}: {}, slot {}, epoch {}, {}",
                entry.mac,
                entry.slot,
                entry.epoch,
                entry.standing.words()
            );
            facts.push(("ENTRY", text));
        }
        for bound in &self.bound {
            let whose = if bound.ours { "by xvip" } else { "by another" };
            let lifetime = match bound.seconds {
                Some(seconds) => format!(", for {seconds} s"),
                None => String::new(),
            };
            let net = format!("{}/{}", self.address, bound.prefix);
            facts.push((
                "BOUND",
                format!("{net} on {} {whose}{lifetime}", bound.interface),
            ));
        }
        facts
    }

    fn event_rows(&self, now: Timestamp) -> Option<Table> {
        if self.events.is_empty() {
            return None;
        }
        let mut rows = Table::new();
        rows.load_preset(NOTHING)
            .set_header(["LAST", "COUNT", "EVENT", "MESSAGE"]);
        for event in &self.events {
            rows.add_row([
                format!("{} ago", age(event.latest, now)),
                event.count.to_string(),
                event.reason.clone(),
                event.message.clone(),
            ]);
        }
        Some(rows)
    }
}

/// A line for each node; none without nodes.
pub fn candidate_table(candidates: &[Candidate]) -> Option<Table> {
    if candidates.is_empty() {
        return None;
    }
    let mut rows = Table::new();
    rows.load_preset(NOTHING)
        .set_header(["CANDIDATE", "ELIGIBLE", "SILENT", "WHY"]);
    for candidate in candidates {
        let silent = candidate.silent_in_ms;
        rows.add_row([
            candidate.node.clone(),
            if candidate.eligible { "yes" } else { "no" }.to_owned(),
            silent.map_or("-".to_owned(), |ms| format!("in {ms} ms")),
            candidate.why.clone(),
        ]);
    }
    Some(rows)
}

impl Standing {
    fn words(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unconfirmed => "answered, yields to a rival",
            Self::Passed => "silent: its deadline has passed",
            Self::Fenced => "silent",
            Self::Outdated => "silent: of another epoch",
            Self::Yielded => "silent: yielded to a rival",
        }
    }
}
