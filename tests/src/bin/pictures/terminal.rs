//! What a command prints, as SVG: text, so that a change of it shows in a diff.

use std::fmt::Write;

/// Of a character; every viewer has another font, and fits it into this.
const WIDTH: f64 = 7.8;
const HEIGHT: usize = 18;
const MARGIN: usize = 14;
/// Lines that are longer go on below.
const COLUMNS: usize = 132;

/// A prompt with a command, and below it what it printed.
pub(crate) fn picture(command: &str, printed: &str) -> String {
    let printed = printed.trim_end().lines().flat_map(wrapped);
    let lines: Vec<String> = [command.to_owned()].into_iter().chain(printed).collect();
    let columns = lines.iter().map(|line| line.chars().count()).max();
    let columns = columns.unwrap_or_default();
    let width = (columns as f64 * WIDTH).ceil() as usize + 2 * MARGIN;
    let height = lines.len() * HEIGHT + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n\
         <style>text {{ font: 13px ui-monospace, 'DejaVu Sans Mono', monospace; fill: #d6deeb; \
         white-space: pre }} .command {{ font-weight: bold; fill: #fff }}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1b2330\"/>\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        if text.is_empty() {
            continue;
        }
        let before = line.chars().count() - text.chars().count();
        let x = MARGIN as f64 + before as f64 * WIDTH;
        let y = MARGIN + number * HEIGHT + 13;
        let length = text.chars().count() as f64 * WIDTH;
        let class = if number == 0 {
            " class=\"command\""
        } else {
            ""
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text{class} x=\"{x:.1}\" y=\"{y}\" textLength=\"{length:.1}\" \
             xml:space=\"preserve\">{}</text>",
            escaped(text)
        );
    }
    svg + "</svg>\n"
}

/// A line in as many as it takes; the further ones are indented.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let filled = lines[lines.len() - 1].chars().count();
        if filled > 4 && filled + word.trim_end().chars().count() > COLUMNS {
            lines.push("    ".to_owned());
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(word);
        }
    }
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_below_each_other_and_nothing_is_markup() {
        let svg = picture("node# a", "A  B\n   <&>\n");
        assert!(
            svg.contains("x=\"14.0\" y=\"45\" textLength=\"31.2\" xml:space=\"preserve\">A  B<")
        );
        assert!(svg.contains(
            "x=\"37.4\" y=\"63\" textLength=\"23.4\" xml:space=\"preserve\">&lt;&amp;&gt;<"
        ));
    }

    #[test]
    fn a_long_line_goes_on_below_and_loses_no_word() {
        let line = "word ".repeat(60);
        let lines = wrapped(&line);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= COLUMNS));
        let words: usize = lines
            .iter()
            .map(|line| line.split_whitespace().count())
            .sum();
        assert_eq!(words, 60);
    }
}
