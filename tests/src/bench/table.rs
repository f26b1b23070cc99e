//! The one table.

use std::fmt;

/// A measured number beside the wanted one.
pub(super) struct Aim {
    wanted: f64,
    measured: f64,
    bound: Bound,
}

enum Bound {
    /// A ratio.
    AtLeast,
    /// A cost.
    AtMost,
}

impl Aim {
    pub(super) fn at_least(wanted: f64, measured: f64) -> Self {
        Self {
            wanted,
            measured,
            bound: Bound::AtLeast,
        }
    }

    pub(super) fn at_most(wanted: f64, measured: f64) -> Self {
        Self {
            wanted,
            measured,
            bound: Bound::AtMost,
        }
    }

    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast => self.measured >= self.wanted,
            Bound::AtMost => self.measured <= self.wanted,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wanted, measured, ..
        } = self;
        match self.bound {
            Bound::AtLeast => write!(f, "xvip {measured:.2}x, aim {wanted}x")?,
            Bound::AtMost => write!(f, "aim {wanted} or less")?,
        }
        if self.is_met() {
            write!(f, ": met")
        } else {
            write!(f, ": missed by {:.2}", (wanted - measured).abs())
        }
    }
}

/// Rows of what, how much, remark, aim.
pub(super) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            rows: vec![["what", "measured", "remark", "aim"].map(str::to_owned)],
        }
    }

    pub(super) fn row(&mut self, what: String, value: String, remark: String, aim: Option<Aim>) {
        let aim = aim.map_or_else(String::new, |aim| aim.to_string());
        self.rows.push([what, value, remark, aim]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        for [what, value, remark, aim] in &self.rows {
            let [a, b, c] = widths;
            writeln!(f, "{what:a$}  {value:>b$}  {remark:c$}  {aim}")?;
        }
        Ok(())
    }
}

/// The middle one; 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_says_by_how_much_it_is_missed() {
        assert_eq!(
            Aim::at_least(0.9, 0.95).to_string(),
            "xvip 0.95x, aim 0.9x: met"
        );
        assert_eq!(
            Aim::at_most(6.0, 7.5).to_string(),
            "aim 6 or less: missed by 1.50"
        );
    }

    #[test]
    fn the_median_is_not_moved_by_one_interrupted_slice() {
        assert_eq!(median([2.0, 900.0, 1.0, 3.0, 2.0].into_iter()), 2.0);
    }
}
