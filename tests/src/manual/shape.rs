//! Whether a command printed what its page shows, but for what differs from one run to the next.

use std::net::IpAddr;

/// Every shown line was printed, in this order. `...` stands for anything.
pub(super) fn fits(shown: &[String], printed: &str) -> bool {
    let mut printed = printed.lines().map(shape);
    let shown = shown
        .iter()
        .filter(|line| !line.trim_end().ends_with("..."));
    let mut shapes = shown
        .map(|line| shape(line))
        .filter(|line| !line.is_empty());
    shapes.all(|line| printed.any(|printed| printed == line))
}

fn shape(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().map(word).collect();
    words.join(" ")
}

/// A word without what is chance in it: numbers, ages, addresses, the ends of Pods' names.
fn word(word: &str) -> String {
    let bare = word.trim_matches(['(', ')', ',', ';', '"']);
    let is_age = |text: &str| {
        text.starts_with(|it: char| it.is_ascii_digit())
            && text
                .chars()
                .all(|it| it.is_ascii_digit() || "dhms".contains(it))
    };
    if bare.parse::<IpAddr>().is_ok() {
        return word.replace(bare, "ADDRESS");
    }
    if is_age(bare) {
        return word.replace(bare, "AGE");
    }
    if let Some((name, end)) = bare.rsplit_once('-') {
        let is_chance = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
        if name.starts_with("xvip-agent") && end.len() == 5 && end.chars().all(is_chance) {
            return word.replace(bare, "xvip-agent-POD");
        }
    }
    word.replace(|it: char| it.is_ascii_digit(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ages_and_addresses_are_chance_and_words_are_not() {
        let shown = [
            "NAME  AGE",
            "web  192.0.2.65  node-2  80:31380/TCP  3s",
            "...",
        ];
        let shown = shown.map(str::to_owned);
        let fitting = "NAME AGE\na b\nweb 2001:db8::1 node-1 80:30001/TCP 2m10s\nc";
        assert!(fits(&shown, fitting));
        for other in [
            "NAME AGE",
            "NAME AGE\nweb 192.0.2.65 node-2 80:31380/UDP 3s",
            "web 192.0.2.65 node-2 80:31380/TCP 3s\nNAME AGE",
            "NAME AGE\nweb <pending> node-2 80:31380/TCP 3s",
        ] {
            assert!(!fits(&shown, other), "{other}");
        }
    }
}
