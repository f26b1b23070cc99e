//! Label selectors.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What labels must say. Without requirements: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<(String, Requirement)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

/// An operator that Kubernetes does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operator:?} is no operator of a selector: use In, NotIn, Exists or DoesNotExist")]
pub struct NoOperator {
    /// As written.
    pub operator: String,
}

impl Selector {
    /// Reads a selector.
    pub fn parse(selector: &LabelSelector) -> Result<Self, NoOperator> {
        let labels = selector.match_labels.iter().flatten();
        let equal = labels.map(|(key, value)| {
            let values = [value.clone()].into();
            Ok((key.clone(), Requirement::In(values)))
        });
        let expressions = selector.match_expressions.iter().flatten();
        let all = equal.chain(expressions.map(Requirement::parse));
        Ok(Self(all.collect::<Result<_, _>>()?))
    }

    /// Whether the labels meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, requirement)| {
            let value = labels.get(key);
            match requirement {
                Requirement::In(values) => value.is_some_and(|value| values.contains(value)),
                Requirement::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
                Requirement::Exists => value.is_some(),
                Requirement::DoesNotExist => value.is_none(),
            }
        })
    }
}

impl Requirement {
    fn parse(expression: &LabelSelectorRequirement) -> Result<(String, Self), NoOperator> {
        let values = || expression.values.iter().flatten().cloned().collect();
        let requirement = match expression.operator.as_str() {
            "In" => Self::In(values()),
            "NotIn" => Self::NotIn(values()),
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            other => {
                return Err(NoOperator {
                    operator: other.to_owned(),
                });
            }
        };
        Ok((expression.key.clone(), requirement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: serde_json::Value, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        let selector = serde_json::from_value(selector).unwrap();
        Selector::parse(&selector)
            .unwrap()
            .matches(&labels.collect())
    }

    #[test]
    fn a_selector_means_what_it_means_in_kubernetes() {
        use serde_json::json;
        let web = [("app", "web"), ("tier", "front")];
        assert!(selects(json!({}), &web));
        assert!(selects(json!({"matchLabels": {"app": "web"}}), &web));
        assert!(!selects(
            json!({"matchLabels": {"app": "web", "tier": "back"}}),
            &web
        ));
        let expression = |operator: &str, key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        assert!(selects(expression("In", "app", &["db", "web"]), &web));
        assert!(!selects(expression("In", "zone", &["a"]), &web));
        assert!(!selects(expression("NotIn", "app", &["db", "web"]), &web));
        assert!(selects(expression("NotIn", "zone", &["a"]), &web));
        assert!(selects(expression("Exists", "app", &[]), &web));
        assert!(!selects(expression("DoesNotExist", "app", &[]), &web));
    }

    #[test]
    fn an_operator_that_kubernetes_does_not_have_is_refused() {
        let selector = serde_json::from_value(serde_json::json!(
            {"matchExpressions": [{"key": "a", "operator": "Like"}]}
        ))
        .unwrap();
        assert!(Selector::parse(&selector).is_err());
    }
}
