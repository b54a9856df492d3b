//! The configuration file as it is installed: every key, commented out.

use crate::generate::{Setting, options};
use gpu_session_monitor::config::Config;
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration of gpu-session-monitor.
#
# A line that begins with `#` and a space explains; one in which a key follows the `#` at once is a setting.
# Take that `#` away, and that of the section's name, to use it: the value that stands there is the default, and a
# key without a value means what is written above it. A flag or an environment variable stands over what is written here.
# `serve` reads the file anew when it changes; what needs a restart is told in the log.
#
# Generated from the command line by `make generate`.
";

/// Keys that are no flags: their meaning.
const FILE_ONLY: [(&str, &str); 1] =
    [("users.rules", "Whose a session is, by rules of your own: a list, see docs/attribution.md")];

/// Longest line of an explanation.
const WIDTH: usize = 100;

/// A key of a section, or, without one, of the file.
struct Key {
    name: String,
    default: String,
    help: String,
}

/// The file.
pub(crate) fn text() -> String {
    let mut out = HEAD.to_owned();
    for (section, keys) in sections() {
        out.push('\n');
        if let Some(section) = &section {
            let _ = writeln!(out, "#{section}:");
        }
        for key in keys {
            key.write(section.as_deref(), &mut out);
        }
    }
    out
}

/// The keys by section, in the order of the reference; each key without a section is one of its own.
fn sections() -> Vec<(Option<String>, Vec<Key>)> {
    let mut sections: Vec<(Option<String>, Vec<Key>)> = Vec::new();
    for (path, key) in keys() {
        let Some((section, _)) = path.split_once('.') else {
            sections.push((None, vec![key]));
            continue;
        };
        match sections.iter_mut().find(|(known, _)| known.as_deref() == Some(section)) {
            Some((_, keys)) => keys.push(key),
            None => sections.push((Some(section.to_owned()), vec![key])),
        }
    }
    sections
}

fn keys() -> impl Iterator<Item = (String, Key)> {
    let file_only = FILE_ONLY.iter().map(|(path, help)| Setting {
        key: Some((*path).to_owned()),
        help: (*help).to_owned(),
        ..Setting::default()
    });
    options().into_iter().chain(file_only).filter_map(|Setting { key, default, help, .. }| {
        // The short form of a file that is a mapping here.
        let path = key.map(|key| if key == "textfile" { "textfile.path".to_owned() } else { key })?;
        let name = path.rsplit('.').next().unwrap_or(&path).to_owned();
        Some((path, Key { name, default, help }))
    })
}

impl Key {
    fn write(&self, section: Option<&str>, out: &mut String) {
        let indent = if section.is_some() { "  " } else { "" };
        let value = self.literal(section);
        let mut help = self.help.trim_end_matches('.').to_owned() + ".";
        if value.is_empty() && !self.default.is_empty() {
            let _ = write!(help, " Default: {}.", self.default);
        }
        for line in wrap(&help, WIDTH - indent.len()) {
            let _ = writeln!(out, "{indent}# {line}");
        }
        let _ = writeln!(out, "{}", format!("{indent}#{}: {value}", self.name).trim_end());
    }

    /// The default as it can be written in the file; where it is only words, what means the same as no key.
    fn literal(&self, section: Option<&str>) -> &str {
        let accepted = |value: &&str| {
            let text = match section {
                Some(section) => format!("{section}: {{ {}: {value} }}\n", self.name),
                None => format!("{}: {value}\n", self.name),
            };
            !value.contains(char::is_whitespace) && Config::parse(&text).is_ok()
        };
        [&*self.default, "", "{}"].into_iter().find(accepted).unwrap_or_default()
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file with the comment sign of its keys taken away.
    fn uncommented() -> String {
        let line = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                line.replacen('#', "", 1) + "\n"
            }
            _ => format!("{line}\n"),
        };
        text().lines().map(line).collect()
    }

    #[test]
    fn as_it_is_it_sets_nothing() {
        let (parsed, default) = (Config::parse(&text()).unwrap(), Config::default());
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
        assert!(text().lines().all(|line| line.is_empty() || line.trim_start().starts_with('#')));
    }

    #[test]
    fn every_key_is_there_and_with_its_default_it_is_accepted() {
        let text = uncommented();
        let config = Config::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let seconds = |duration: Option<std::time::Duration>| duration.map(|duration| duration.as_secs());
        assert_eq!(seconds(config.interval), Some(5), "{text}");
        assert_eq!(seconds(config.ledger.age), Some(90 * 24 * 60 * 60));
        assert_eq!((config.users.limit, config.sessions.limit), (Some(5000), Some(1000)));
        assert_eq!(config.listen.as_deref(), Some("127.0.0.1:9836"));
        // Words are no values.
        assert!(config.cri.socket.is_none() && config.otlp.ca_file.is_none() && config.state.dir.is_none());
        assert!(config.gpu.devices.is_empty() && config.labels.is_empty());
        for key in options().into_iter().filter_map(|option| option.key) {
            let name = key.rsplit('.').next().unwrap().to_owned() + ":";
            assert!(text.lines().any(|line| line.trim_start().starts_with(&name)), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_would_be_noticed() {
        let text = uncommented().replace("limit:", "limitt:");
        assert!(Config::parse(&text).is_err());
    }

    #[test]
    fn lines_end_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 3), ["incomprehensible"]);
        assert!(wrap("", 3).is_empty());
    }
}
