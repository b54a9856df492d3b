//! `fieldSelector` and `labelSelector`.

use serde_json::Value;

/// Which objects a request wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    /// Namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    fields: Vec<Term>,
    labels: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    key: String,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Is(String),
    IsNot(String),
    Exists,
    IsAbsent,
}

impl Selector {
    /// Reads the two parameters; the error is what Kubernetes says of a bad one.
    pub(crate) fn parse(
        fields: Option<&str>,
        labels: Option<&str>,
        allowed: &[&str],
    ) -> Result<Self, String> {
        let fields = terms(fields.unwrap_or_default())?;
        if let Some(bad) = fields.iter().find(|term| !allowed.contains(&term.key.as_str())) {
            return Err(format!("field label not supported: {}", bad.key));
        }
        if let Some(bad) = fields.iter().find(|term| matches!(term.wanted, Wanted::Exists | Wanted::IsAbsent))
        {
            return Err(format!("invalid selector: '{}'; can't understand '{}'", bad.key, bad.key));
        }
        Ok(Self { namespace: None, fields, labels: terms(labels.unwrap_or_default())? })
    }

    /// Only the object of this name.
    pub(crate) fn and_name(&mut self, name: &str) {
        self.fields.push(Term { key: "metadata.name".to_owned(), wanted: Wanted::Is(name.to_owned()) });
    }

    /// The only name that it lets pass.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(|term| match &term.wanted {
            Wanted::Is(name) if term.key == "metadata.name" => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it lets only some objects of the namespace pass.
    pub(crate) fn is_selective(&self) -> bool {
        !self.fields.is_empty() || !self.labels.is_empty()
    }

    /// Whether it lets an object pass.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let here =
            self.namespace.as_ref().is_none_or(|namespace| metadata["namespace"] == namespace.as_str());
        // A field that is not set is an empty string, a label that is not set is not there.
        let field = |term: &Term| {
            let path = term.key.split('.');
            let value = path.fold(object, |at, part| &at[part]).as_str().unwrap_or_default();
            term.wanted.holds(Some(value))
        };
        let label = |term: &Term| term.wanted.holds(metadata["labels"][&term.key].as_str());
        here && self.fields.iter().all(field) && self.labels.iter().all(label)
    }
}

impl Wanted {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(wanted) => value == Some(wanted),
            Self::IsNot(unwanted) => value != Some(unwanted),
            Self::Exists => value.is_some(),
            Self::IsAbsent => value.is_none(),
        }
    }
}

fn terms(text: &str) -> Result<Vec<Term>, String> {
    text.split(',').map(str::trim).filter(|term| !term.is_empty()).map(term).collect()
}

fn term(text: &str) -> Result<Term, String> {
    let (key, wanted) = if let Some((key, value)) = text.split_once("!=") {
        (key, Wanted::IsNot(value.trim().to_owned()))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Wanted::Is(value.trim().to_owned()))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Wanted::IsAbsent)
    } else {
        (text, Wanted::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains([' ', '(', ')', '=']) {
        return Err(format!("unable to parse requirement: found '{text}'"));
    }
    Ok(Term { key: key.to_owned(), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALLOWED: &[&str] = &["metadata.name", "spec.nodeName", "status.phase"];

    #[test]
    fn selectors_choose_by_fields_and_labels() {
        let pod = json!({
            "metadata": { "name": "a", "namespace": "n", "labels": { "app": "x" } },
            "spec": { "nodeName": "node-a" },
        });
        for (fields, labels, wanted) in [
            ("", "", true),
            ("spec.nodeName=node-a", "", true),
            ("spec.nodeName==node-a,metadata.name=a", "app=x", true),
            ("spec.nodeName=node-b", "", false),
            ("spec.nodeName!=node-b", "", true),
            ("status.phase=", "", true),
            ("status.phase!=Running", "", true),
            ("", "app=y", false),
            ("", "app,!other", true),
            ("", "!app", false),
            ("", "other!=y", true),
        ] {
            let selector = Selector::parse(Some(fields), Some(labels), ALLOWED).unwrap();
            assert_eq!(selector.matches(&pod), wanted, "{fields} {labels}");
        }
    }

    #[test]
    fn a_selector_of_a_namespace_leaves_the_others() {
        let mut selector = Selector::parse(None, None, ALLOWED).unwrap();
        selector.namespace = Some("n".to_owned());
        assert!(selector.matches(&json!({ "metadata": { "namespace": "n" } })));
        assert!(!selector.matches(&json!({ "metadata": { "namespace": "m" } })));
    }

    #[test]
    fn bad_selectors_are_refused() {
        for (fields, labels) in
            [("spec.image=x", ""), ("spec.nodeName", ""), ("", "a in (b)"), ("", "=b"), ("", "!")]
        {
            assert!(Selector::parse(Some(fields), Some(labels), ALLOWED).is_err(), "{fields} {labels}");
        }
    }
}
