//! Where values come from, and their form there: text on the command line and in the
//! environment, YAML in the file.

use std::{str::FromStr, time::Duration};

use serde_json::{Map, Value};
use serde_saphyr::{Error, Options, UserMessageFormatter, options::DuplicateKeyPolicy};

use super::{
    key::{Key, closest},
    problem::Problem,
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Given<'a> {
    /// As the user wrote it: `vips[0].address`, `XVIP_PREFIX`, `--prefix`.
    pub field: String,
    pub form: Form<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    Text(&'a str),
    /// A text that counts seconds, as kube-vip's durations do.
    Seconds(&'a str),
    Yaml(&'a Value),
}

impl<'a> Given<'a> {
    pub(super) fn text(field: impl Into<String>, text: &'a str) -> Self {
        Self {
            field: field.into(),
            form: Form::Text(text),
        }
    }

    pub(super) fn seconds(field: impl Into<String>, text: &'a str) -> Self {
        Self {
            field: field.into(),
            form: Form::Seconds(text),
        }
    }

    fn yaml(field: impl Into<String>, value: &'a Value) -> Self {
        Self {
            field: field.into(),
            form: Form::Yaml(value),
        }
    }

    /// A key of this mapping; null counts as not set.
    fn child(&self, map: &'a Map<String, Value>, key: &str) -> Option<Self> {
        map.get(key)
            .filter(|value| !value.is_null())
            .map(|value| Self::yaml(format!("{}.{key}", self.field), value))
    }

    /// The value as messages show it.
    pub(super) fn shown(&self) -> String {
        match self.form {
            Form::Text(text) | Form::Seconds(text) => text.to_owned(),
            Form::Yaml(Value::String(text)) => text.clone(),
            Form::Yaml(value) => value.to_string(),
        }
    }

    /// A problem with it.
    pub(super) fn problem(&self, message: impl Into<String>, fix: impl Into<String>) -> Problem {
        Problem::new(&self.field, self.shown(), message, fix)
    }

    /// A text. `example` is what could stand there.
    pub(super) fn string(&self, example: &str) -> Result<&'a str, Problem> {
        match self.form {
            Form::Text(text) | Form::Seconds(text) => Ok(text.trim()),
            Form::Yaml(Value::String(text)) => Ok(text),
            Form::Yaml(value @ (Value::Number(_) | Value::Bool(_))) => Err(self.problem(
                format!("{} where a text belongs", kind(value)),
                format!("write it in quotes: \"{value}\""),
            )),
            Form::Yaml(value) => Err(self.problem(
                format!("{} where a text belongs", kind(value)),
                format!("write {example}"),
            )),
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let list = || {
            let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
            format!("write one of: {}", names.join(", "))
        };
        let text = self
            .string("")
            .map_err(|problem| self.problem(problem.message, list()))?;
        match words.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => Err(self.problem("not a value of this key", list())),
        }
    }

    /// What parses from a text.
    pub(super) fn parsed<T: FromStr>(&self, message: &str, example: &str) -> Result<T, Problem> {
        self.string(example)?
            .parse()
            .map_err(|_| self.problem(message, format!("write {example}")))
    }

    /// A whole number; on the command line and in the environment, its digits.
    pub(super) fn number<T: FromStr>(&self, message: &str, example: &str) -> Result<T, Problem> {
        let fix = || format!("write {example}");
        let digits = match self.form {
            Form::Text(text) | Form::Seconds(text) => text.trim().to_owned(),
            Form::Yaml(Value::Number(number)) => number.to_string(),
            Form::Yaml(value) => {
                let message = format!("{} where a number belongs", kind(value));
                return Err(self.problem(message, format!("{}, without quotes", fix())));
            }
        };
        digits.parse().map_err(|_| self.problem(message, fix()))
    }

    /// A duration: a number and its unit. Without a unit only where it counts seconds.
    pub(super) fn duration(&self, example: &str) -> Result<Duration, Problem> {
        let fix = match self.form {
            Form::Seconds(_) => "write seconds, as in 15".to_owned(),
            _ => format!("write a number with ms, s or m, as in {example}"),
        };
        let (text, unit) = match self.form {
            Form::Seconds(text) => (text.trim(), "s"),
            Form::Yaml(Value::Number(number)) => {
                let fix = format!("write a unit: \"{number}s\" or \"{number}ms\"");
                return Err(self.problem("a duration without a unit", fix));
            }
            _ => {
                let text = self.string(example)?;
                text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()))
            }
        };
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "" => return Err(self.problem("a duration without a unit", fix)),
            _ => return Err(self.problem("not a duration", fix)),
        };
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse::<f64>()
            .ok()
            .filter(|_| plain)
            .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
            .ok_or_else(|| self.problem("not a duration", fix))
    }

    /// True or false; on the command line and in the environment, the word.
    pub(super) fn boolean(&self) -> Result<bool, Problem> {
        let text = match self.form {
            Form::Yaml(Value::Bool(value)) => return Ok(*value),
            Form::Yaml(_) => None,
            Form::Text(text) | Form::Seconds(text) => text.trim().parse().ok(),
        };
        text.ok_or_else(|| self.problem("not true or false", "write true or false"))
    }

    /// The elements of a list; in a text they are separated by commas.
    pub(super) fn list(&self, example: &str) -> Result<Vec<Given<'a>>, Problem> {
        match self.form {
            Form::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Form::Text(text) | Form::Seconds(text) => Ok(text
                .split(',')
                .map(|element| Given::text(&self.field, element.trim()))
                .collect()),
            Form::Yaml(Value::Array(values)) => Ok(values
                .iter()
                .enumerate()
                .map(|(index, value)| Given::yaml(format!("{}[{index}]", self.field), value))
                .collect()),
            Form::Yaml(value) => Err(self.problem(
                format!("{} where a list belongs", kind(value)),
                format!("write {example}"),
            )),
        }
    }

    /// A mapping with these keys. Others are problems; what stands under the known ones is
    /// returned in their order.
    pub(super) fn mapping<const N: usize>(
        &self,
        keys: [&str; N],
        example: &str,
        problems: &mut Vec<Problem>,
    ) -> [Option<Given<'a>>; N] {
        match self.form {
            Form::Yaml(Value::Object(map)) => {
                for (key, value) in map {
                    if !keys.contains(&key.as_str()) {
                        let field = format!("{}.{key}", self.field);
                        problems.push(unknown(field, key, value, &keys));
                    }
                }
                keys.map(|key| self.child(map, key))
            }
            _ => {
                problems.push(self.problem("a mapping belongs here", format!("write {example}")));
                keys.map(|_| None)
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn unknown(field: String, key: &str, value: &Value, known: &[&str]) -> Problem {
    let fix = match closest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("remove it; known are {}", known.join(", ")),
    };
    Problem::new(field, value, "there is no such key", fix)
}

/// The configuration file.
#[derive(Debug, Default)]
pub(super) struct File(Map<String, Value>);

impl File {
    /// Reads the text; its unknown keys are problems. An empty file sets nothing.
    pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Self {
        let file = Self(match parse(text, DuplicateKeyPolicy::Error) {
            Ok(map) => map,
            Err(error) => {
                problems.push(syntax(text, &error));
                // A key given twice hides no error of the other keys.
                match *error {
                    Error::DuplicateMappingKey { .. } => {
                        parse(text, DuplicateKeyPolicy::LastWins).unwrap_or_default()
                    }
                    _ => Map::new(),
                }
            }
        });
        file.refuse_unknown(problems);
        file
    }

    fn refuse_unknown(&self, problems: &mut Vec<Problem>) {
        let mut top: Vec<&str> = Key::ALL.map(|key| head(key.path()).0).into();
        top.dedup();
        for (key, value) in &self.0 {
            if !top.contains(&key.as_str()) {
                problems.push(unknown(key.clone(), key, value, &top));
                continue;
            }
            let parts: Vec<&str> = Key::ALL
                .iter()
                .filter_map(|other| head(other.path()).1.filter(|_| head(other.path()).0 == key))
                .collect();
            match value {
                Value::Null => {}
                _ if parts.is_empty() => {}
                Value::Object(map) => {
                    for (part, value) in map {
                        if !parts.contains(&part.as_str()) {
                            problems.push(unknown(format!("{key}.{part}"), part, value, &parts));
                        }
                    }
                }
                _ => {
                    let fix = format!("write {key}: {{{}: ...}}", parts.join(": ..., "));
                    problems.push(Problem::new(key, value, "a mapping belongs here", fix));
                }
            }
        }
    }

    /// The value of a key; null counts as not set.
    pub(super) fn get(&self, key: Key) -> Option<Given<'_>> {
        let mut path = key.path().split('.');
        let mut value = self.0.get(path.next()?)?;
        for part in path {
            value = value.as_object()?.get(part)?;
        }
        (!value.is_null()).then(|| Given::yaml(key.path(), value))
    }
}

/// The first part of a key's path, and the second where there is one.
fn head(path: &'static str) -> (&'static str, Option<&'static str>) {
    match path.split_once('.') {
        Some((first, second)) => (first, Some(second)),
        None => (path, None),
    }
}

fn parse(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Map<String, Value>, Box<Error>> {
    let mut options = Options::default();
    options.duplicate_keys = duplicate_keys;
    options.with_snippet = false;
    // What is written is what is shown: `no` and `032` stay texts.
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_saphyr::from_str_with_options::<Option<Map<String, Value>>>(text, options)
        .map(Option::unwrap_or_default)
        .map_err(Box::new)
}

fn syntax(text: &str, error: &Error) -> Problem {
    let place = error.location();
    let line = place
        .and_then(|at| usize::try_from(at.line()).ok()?.checked_sub(1))
        .and_then(|index| text.lines().nth(index));
    let field = place.map_or_else(
        || "file".to_owned(),
        |at| format!("file:{}:{}", at.line(), at.column()),
    );
    Problem::new(
        field,
        line.unwrap_or_default().trim(),
        error.render_with_formatter(&UserMessageFormatter),
        "correct the line: a mapping of keys, each once, indented by spaces, texts with special \
         characters in quotes",
    )
}
