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
    let bad = trusted_namespaces.iter().flatten().find(|name| !is_namespace_pattern(name));
    if let Some(bad) = bad {
        return Err(format!(
            ".trusted_namespaces: {bad:?} names no namespace: allowed is a name, or its beginning and a *"
        ));
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
    if let Some(rename) = &rename {
        check_rename(rename, pattern.as_ref())?;
    }
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

/// A name of a namespace, or its beginning and a `*`.
fn is_namespace_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Each group that the text names must be one of the pattern: another would silently be empty, and make all users
/// one.
fn check_rename(rename: &str, pattern: Option<&Regex>) -> Result<(), String> {
    let groups = |name: &str| match (pattern, name.parse::<usize>()) {
        (_, Ok(0)) => true,
        (Some(pattern), Ok(number)) => number < pattern.captures_len(),
        (Some(pattern), Err(_)) => pattern.capture_names().flatten().any(|group| group == name),
        (None, _) => false,
    };
    let mut rest = rename;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$').filter(|_| pattern.is_some()) {
            rest = after;
            continue;
        }
        let (name, left) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((name, left)) => (name, left),
            None => {
                after.split_at(after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count())
            }
        };
        if !groups(name) {
            return Err(format!(
                ".rename: ${name} in {rename:?} is no group of the pattern: allowed are $0 for the whole match and, \
                 of a pattern, $1 or ${{name}} (write ${{1}}_x where letters follow)"
            ));
        }
        rest = left;
    }
    Ok(())
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

    #[test]
    fn what_could_never_name_anyone_rightly_is_refused() {
        for (text, wanted) in [
            (
                "[{ from: namespace, pattern: '^(?P<login>.+)$', rename: 'corp/${loign}' }]",
                "users.rules[0].rename",
            ),
            ("[{ from: namespace, pattern: '^user-(.+)$', rename: '$2' }]", "users.rules[0].rename"),
            ("[{ from: namespace, pattern: '^user-(.+)$', rename: '$1_x' }]", "users.rules[0].rename"),
            ("[{ from: namespace, rename: 'x-$1' }]", "users.rules[0].rename"),
            ("[{ from: label, key: x, trusted_namespaces: ['a*b'] }]", "trusted_namespaces"),
            ("[{ from: label, key: x, trusted_namespaces: [''] }]", "trusted_namespaces"),
        ] {
            let error = read(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
