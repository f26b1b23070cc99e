//! Where values come from, and their form there: text on the command line and in the
//! environment, YAML in the file.

use std::str::FromStr;

use serde_json::{Map, Value};
use serde_saphyr::{Error, Options, UserMessageFormatter, options::DuplicateKeyPolicy};

use super::{
    key::{Key, OF_KUBERNETES, closest},
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
    Yaml(&'a Value),
}

impl<'a> Given<'a> {
    pub(super) fn text(field: impl Into<String>, text: &'a str) -> Self {
        Self {
            field: field.into(),
            form: Form::Text(text),
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
            Form::Text(text) => text.to_owned(),
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
            Form::Text(text) => Ok(text.trim()),
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
            Form::Text(text) => text.trim().to_owned(),
            Form::Yaml(Value::Number(number)) => number.to_string(),
            Form::Yaml(value) => {
                let message = format!("{} where a number belongs", kind(value));
                return Err(self.problem(message, format!("{}, without quotes", fix())));
            }
        };
        digits.parse().map_err(|_| self.problem(message, fix()))
    }

    /// The elements of a list; in a text they are separated by commas.
    pub(super) fn list(&self, example: &str) -> Result<Vec<Given<'a>>, Problem> {
        match self.form {
            Form::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Form::Text(text) => Ok(text
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
        let mut top: Vec<&str> = Key::ALL
            .iter()
            .map(|key| key.path().split('.').next().unwrap_or_default())
            .collect();
        top.dedup();
        for (key, value) in &self.0 {
            if OF_KUBERNETES.contains(&key.as_str()) {
                problems.push(Problem::new(
                    key,
                    value,
                    "belongs to `ownership: kubernetes`, which this build does not know",
                    "remove it and list the addresses under `vips`",
                ));
            } else if !top.contains(&key.as_str()) {
                problems.push(unknown(key.clone(), key, value, &top));
            }
        }
        if let Some(log) = self.0.get("log").filter(|log| !log.is_null()) {
            let example = "log: {level: info, format: text}";
            Given::yaml("log", log).mapping(["level", "format"], example, problems);
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
