//! `users.rules` of the configuration file.

use gpu_session_core::rules::{Origin, Rule, Rules};
use gpu_session_core::text;
use regex_lite::Regex;
use serde::Deserialize;

/// One rule, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRule {
    from: From,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    rename: Option<String>,
    #[serde(default)]
    trusted_namespaces: Option<Vec<String>>,
}

/// What a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    Annotation,
    Label,
    Namespace,
    NamespaceAnnotation,
    NamespaceLabel,
    UnixUser,
    SlurmJobOwner,
}

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

/// The rules in force: those written, else the default ones.
pub fn resolve(written: Option<Vec<WrittenRule>>) -> Result<Rules, String> {
    let Some(written) = written else { return Ok(Rules::default()) };
    let rule = |(index, rule)| resolve_one(rule).map_err(|e| format!("users.rules[{index}]{e}"));
    Ok(Rules::new(written.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?))
}

fn resolve_one(written: WrittenRule) -> Result<Rule, String> {
    let WrittenRule { from, key, name, pattern, rename, trusted_namespaces } = written;
    let on_host = matches!(from, From::UnixUser | From::SlurmJobOwner);
    if on_host && trusted_namespaces.is_some() {
        return Err(".trusted_namespaces: what runs on the host is in no namespace; leave it out".to_owned());
    }
    if trusted_namespaces.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            ".trusted_namespaces: the list is empty, so the rule would believe nobody; leave it out to \
                    believe all, or name namespaces (a trailing * stands for any rest)"
                .to_owned(),
        );
    }
    let plain = Rule::plain(origin(from, key)?);
    let name = match name.as_deref().map(str::trim) {
        Some("") => {
            return Err(".name: it is empty; leave it out, or say what user_rule shall show".to_owned());
        }
        Some(name) => text::clean(name).into(),
        None => plain.name,
    };
    let trusted = trusted_namespaces.unwrap_or_default().into_iter().map(Into::into).collect();
    let pattern = pattern.map(|pattern| compile(&pattern)).transpose()?;
    Ok(Rule {
        name,
        pattern,
        rename: rename.map(Into::into),
        trusted_namespaces: trusted,
        origin: plain.origin,
    })
}

fn origin(from: From, key: Option<String>) -> Result<Origin, String> {
    let bare = match from {
        From::Namespace => Some(Origin::Namespace),
        From::UnixUser => Some(Origin::UnixUser),
        From::SlurmJobOwner => Some(Origin::SlurmJobOwner),
        From::Annotation | From::Label | From::NamespaceAnnotation | From::NamespaceLabel => None,
    };
    match (bare, key.filter(|key| !key.is_empty())) {
        (Some(origin), None) => Ok(origin),
        (Some(_), Some(key)) => {
            Err(format!(".key: {key:?} has no meaning here: only labels and annotations have keys"))
        }
        (None, None) => Err(".key: it is missing: which label or annotation?".to_owned()),
        (None, Some(key)) => Ok(match from {
            From::Label => Origin::Label(key.into()),
            From::NamespaceAnnotation => Origin::NamespaceAnnotation(key.into()),
            From::NamespaceLabel => Origin::NamespaceLabel(key.into()),
            _ => Origin::Annotation(key.into()),
        }),
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!(".pattern: it is longer than {MAX_PATTERN} bytes"));
    }
    Regex::new(pattern).map_err(|e| format!(".pattern: {pattern:?} is no regular expression: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rules, String> {
        resolve(Some(serde_saphyr::from_str(text).map_err(|e: serde_saphyr::Error| e.to_string())?))
    }

    #[test]
    fn every_key_is_read() {
        let text = "- { from: annotation, key: a/b, pattern: '^(.+)@', rename: 'x-$1', name: site, \
                    trusted_namespaces: [astrago, 'u-*'] }\n- { from: namespace_label, key: owner }\n\
                    - { from: slurm_job_owner }\n- { from: namespace }\n";
        let origins: Vec<Origin> = read(text).unwrap().origins().cloned().collect();
        let wanted = [
            Origin::Annotation("a/b".into()),
            Origin::NamespaceLabel("owner".into()),
            Origin::SlurmJobOwner,
            Origin::Namespace,
        ];
        assert_eq!(origins, wanted);
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let docs = include_str!("../../../docs/attribution.md");
        let yaml = docs.split("```yaml\n").find_map(|part| part.strip_prefix("users:\n")).unwrap();
        let text = format!("users:\n{}", yaml.split("```").next().unwrap());
        let rules = crate::config::Config::parse(&text).unwrap().users.rules;
        assert_eq!(resolve(rules).unwrap().origins().count(), 4);
    }

    #[test]
    fn nonsense_is_named_with_its_place() {
        for (text, wanted) in [
            ("[{ from: annotation }]", "users.rules[0].key"),
            ("[{ from: namespace }, { from: namespace, key: x }]", "users.rules[1].key"),
            ("[{ from: label, key: x, pattern: '(' }]", "users.rules[0].pattern"),
            ("[{ from: label, key: x, trusted_namespaces: [] }]", "trusted_namespaces"),
            ("[{ from: unix_user, trusted_namespaces: [a] }]", "trusted_namespaces"),
            ("[{ from: label, key: x, name: ' ' }]", "users.rules[0].name"),
            ("[{ from: somewhere }]", "somewhere"),
            ("[{ from: namespace, patern: x }]", "patern"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
