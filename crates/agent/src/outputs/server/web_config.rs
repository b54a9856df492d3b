//! The web configuration file, in the format of the Prometheus exporters. What is wrong with it is told by its place and
//! key: the lines themselves may hold secrets.

use anyhow::{Context as _, bail};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// What `http_server_config.headers` may set.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebConfig {
    /// Without it there is no TLS.
    pub(super) tls_server_config: Option<TlsServer>,
    /// HTTP.
    pub(super) http_server_config: Option<HttpServer>,
    /// bcrypt hashes by user.
    #[serde(deserialize_with = "written")]
    basic_auth_users: Written<BTreeMap<String, Secret>>,
    /// Read, so that a file for other exporters is good here, and not followed.
    pub(super) rate_limit: Option<IgnoredAny>,
}

/// `None` where the key is not there, `Some(None)` where nothing is below it.
type Written<T> = Option<Option<T>>;

fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Written<T>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Nothing below a key, or an empty text, is as if the key were not there.
fn absent_if_empty<'de, D: Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + AsRef<OsStr>,
{
    Ok(Option::<T>::deserialize(from)?.filter(|text| !text.as_ref().is_empty()))
}

fn empty_if_absent<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// `tls_server_config:`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsServer {
    /// Certificate and its chain, PEM.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) cert_file: Option<PathBuf>,
    /// The same, here.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) cert: Option<String>,
    /// Private key, PEM.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) key_file: Option<PathBuf>,
    /// The same, here.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) key: Option<Secret>,
    /// What is asked of clients.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) client_auth_type: Option<String>,
    /// Who vouches for clients, PEM.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) client_ca_file: Option<PathBuf>,
    /// The same, here.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) client_ca: Option<String>,
    /// A client's certificate must have one of these names.
    #[serde(deserialize_with = "empty_if_absent")]
    pub(super) client_allowed_sans: Vec<String>,
    /// `TLS12` or `TLS13`.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) min_version: Option<String>,
    /// `TLS12` or `TLS13`.
    #[serde(deserialize_with = "absent_if_empty")]
    pub(super) max_version: Option<String>,
    /// Names as in Go.
    #[serde(deserialize_with = "empty_if_absent")]
    pub(super) cipher_suites: Vec<String>,
    /// Names as in Go.
    #[serde(deserialize_with = "empty_if_absent")]
    pub(super) curve_preferences: Vec<String>,
    /// Whose order of cipher suites counts.
    pub(super) prefer_server_cipher_suites: Option<bool>,
}

/// `http_server_config:`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpServer {
    /// Read, so that a file for other exporters is good here; HTTP/1.1 is spoken in any case.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    /// Headers of every answer.
    #[serde(deserialize_with = "empty_if_absent")]
    headers: BTreeMap<String, String>,
}

/// What must not be shown.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    /// The secret.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl AsRef<OsStr> for Secret {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl WebConfig {
    /// Reads the text; an empty one is a configuration of nothing.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|e| anyhow::anyhow!(harmless(&e.without_snippet().to_string())))
    }

    /// bcrypt hashes by user. A list that lost its users is an error: it would let everybody in.
    pub(super) fn users(self) -> anyhow::Result<BTreeMap<String, Secret>> {
        match self.basic_auth_users {
            None => Ok(BTreeMap::new()),
            Some(Some(users)) if !users.is_empty() => Ok(users),
            Some(_) => bail!("basic_auth_users: nobody is below it: name users, or leave the key out"),
        }
    }

    /// Headers of every answer.
    pub(super) fn headers(&self) -> anyhow::Result<HeaderMap> {
        let written = self.http_server_config.iter().flat_map(|http| &http.headers);
        let mut headers = HeaderMap::new();
        for (name, value) in written {
            if !HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
                bail!("http_server_config.headers: {name:?} is not allowed: {}", HEADERS.join(", "));
            }
            let name = HeaderName::try_from(name)?;
            let value = HeaderValue::try_from(value)
                .with_context(|| format!("http_server_config.headers.{name}: it is no value of a header"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

impl TlsServer {
    /// The files that it names, as seen from the folder of the configuration.
    pub(super) fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        files.into_iter().flatten().map(|file| folder.join(file)).collect()
    }
}

/// What the parser says, without what it quotes: that may be a secret. Names of keys and their places stay.
fn harmless(said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    if said.contains("unknown field") || said.contains("missing field") {
        return said.to_owned();
    }
    let mut quote = None;
    let mut kept = String::new();
    for c in said.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') => {
                quote = Some(c);
                kept.push('…');
            }
            None => kept.push(c),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_every_key_is_read() {
        let text = "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: NoClientCert\n  \
            client_ca_file: c\n  client_allowed_sans: [x]\n  min_version: TLS12\n  max_version: TLS13\n  cipher_suites: [y]\n  \
            curve_preferences: [z]\n  prefer_server_cipher_suites: true\nhttp_server_config:\n  http2: true\n  headers:\n    \
            X-Frame-Options: deny\nbasic_auth_users:\n  alice: $2y$x\n";
        let config = WebConfig::parse(text).unwrap();
        assert_eq!(config.headers().unwrap()["x-frame-options"], "deny");
        let files = config.tls_server_config.as_ref().unwrap().files(Path::new("/f"));
        assert_eq!(config.users().unwrap()["alice"].reveal(), "$2y$x");
        assert_eq!(files, ["/f/a", "/f/b", "/f/c"].map(PathBuf::from));
        for empty in ["", "# nothing\n", "tls_server_config:\n"] {
            assert!(WebConfig::parse(empty).unwrap().users().unwrap().is_empty(), "{empty}");
        }
        let absent = "tls_server_config: {cert_file: '', key: '', client_ca: , cipher_suites: , client_allowed_sans: , \
            curve_preferences: , min_version: ''}\nhttp_server_config: {headers: }\nrate_limit: {interval: 1s, burst: 5}\n";
        let config = WebConfig::parse(absent).unwrap();
        assert!(config.rate_limit.is_some() && config.headers().unwrap().is_empty());
        let tls = config.tls_server_config.unwrap();
        assert!(tls.cert_file.is_none() && tls.key.is_none() && tls.client_ca.is_none());
        assert!(tls.min_version.is_none() && tls.cipher_suites.is_empty());
        for nobody in ["basic_auth_users:\n", "basic_auth_users: {}\n"] {
            let error = WebConfig::parse(nobody).unwrap().users().err().unwrap().to_string();
            assert!(error.contains("nobody is below it"), "{nobody}: {error}");
        }
    }

    #[test]
    fn errors_have_the_place_and_no_secret() {
        for (text, wanted) in [
            ("basic_auth_user: {alice: s3cr3t}\n", "basic_auth_user"),
            ("basic_auth_users:\n  alice: {s3cr3t: 1}\n", "line 2"),
            ("basic_auth_users:\n  - s3cr3t\n", "line 2"),
            ("basic_auth_users: s3cr3t\n", "line 1"),
            ("tls_server_config:\n  key: [s3cr3t]\n", "line 2"),
            ("tls_server_config:\n  key: \"s3cr3t\n", "line"),
            ("basic_auth_users:\n  alice: s3cr3t: s3cr3t\n", "line 2"),
            ("basic_auth_users:\n  alice: a\n  alice: s3cr3t\n", "line 3"),
            ("tls_server_config: {cert_flie: a, key: s3cr3t}\n", "cert_file"),
            ("http_server_config: {http2: s3cr3t}\n", "line 1"),
        ] {
            let error = format!("{:#}", WebConfig::parse(text).unwrap_err());
            assert!(error.contains(wanted) && !error.contains("s3cr3t"), "{text}: {error}");
        }
        let config = WebConfig::parse("http_server_config: {headers: {Server: x}}\n").unwrap();
        assert!(config.headers().unwrap_err().to_string().contains("Strict-Transport-Security"));
    }
}
