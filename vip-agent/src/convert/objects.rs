//! What the input holds: objects of Kubernetes, and environment files.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_saphyr::Options;

use crate::config::Problem;

/// A file, or what came in by the standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// An object as it was written.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) value: Value,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: Vec<Object>,
    /// Environment files, with their names.
    pub(super) environments: Vec<(String, BTreeMap<String, String>)>,
}

impl Objects {
    /// Reads YAML and JSON documents, lists of objects in them, and files of `NAME=VALUE` lines.
    pub(super) fn read(sources: &[Source], errors: &mut Vec<Problem>) -> Self {
        let mut objects = Self::default();
        for source in sources {
            if let Some(environment) = environment(&source.text) {
                objects
                    .environments
                    .push((source.name.clone(), environment));
                continue;
            }
            let mut options = Options::default();
            options.with_snippet = false;
            // What is written is what is shown.
            options.strict_booleans = true;
            match serde_saphyr::from_multiple_with_options::<Value>(&source.text, options) {
                Ok(documents) => documents.into_iter().for_each(|value| objects.add(value)),
                Err(error) => errors.push(Problem::new(
                    &source.name,
                    "",
                    format!("neither manifests nor an environment file: {error}"),
                    "give YAML or JSON of Kubernetes objects, or lines of NAME=VALUE",
                )),
            }
        }
        objects
    }

    fn add(&mut self, value: Value) {
        if let Some(Value::Array(items)) = value.get("items") {
            return items.clone().into_iter().for_each(|item| self.add(item));
        }
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let Some(kind) = text("/kind") else {
            return;
        };
        self.objects.push(Object {
            kind: kind.to_owned(),
            namespace: text("/metadata/namespace").map(str::to_owned),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            value,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.environments.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter()
    }

    /// Those of a kind.
    pub(super) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects
            .iter()
            .filter(move |object| object.kind == kind)
    }
}

impl Object {
    /// `Kind namespace/name`, for messages.
    pub(super) fn shown(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }

    /// A part of it.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer).filter(|value| !value.is_null())
    }

    /// The elements of a list in it.
    pub(super) fn list(&self, pointer: &str) -> &[Value] {
        match self.at(pointer) {
            Some(Value::Array(elements)) => elements,
            _ => &[],
        }
    }

    /// The texts of a list in it.
    pub(super) fn texts(&self, pointer: &str) -> Vec<String> {
        let elements = self.list(pointer).iter();
        elements.map(shown).collect()
    }

    /// The entries of a mapping of texts in it.
    pub(super) fn entries(&self, pointer: &str) -> BTreeMap<String, String> {
        match self.at(pointer) {
            Some(Value::Object(map)) => (map.iter())
                .map(|(key, value)| (key.clone(), shown(value)))
                .collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// A value as it was written.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The variables of a file that has nothing but assignments, comments and empty lines.
fn environment(text: &str) -> Option<BTreeMap<String, String>> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let assignments: Option<BTreeMap<_, _>> = lines.map(assignment).collect();
    assignments.filter(|assignments| !assignments.is_empty())
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let quoted = |quote: char| {
        let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.to_owned())
    };
    let value = quoted('"')
        .or_else(|| quoted('\''))
        .unwrap_or_else(|| value.trim().to_owned());
    is_name(name).then(|| (name.to_owned(), value))
}
