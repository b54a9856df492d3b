//! TLS by the web configuration.

use super::live::LARGEST;
use super::sans::{AllowedSans, San};
use super::web_config::TlsServer;
use crate::files;
use anyhow::{Context as _, anyhow, bail};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CURVES: [(&str, &dyn SupportedKxGroup); 3] = [
    ("CurveP256", ring::kx_group::SECP256R1),
    ("CurveP384", ring::kx_group::SECP384R1),
    ("X25519", ring::kx_group::X25519),
];

const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("TLS12", &TLS12), ("TLS13", &TLS13)];

/// How clients' certificates are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// Not at all.
    None,
    /// Whoever has one must have a good one.
    IfGiven,
    /// Nobody gets in without a good one.
    Required,
}

/// What a handshake needs, and what it proves.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) policy: Arc<Policy>,
}

/// What a connection has met when its handshake is over. The server's own certificate is no part of it: renewing that
/// ends nobody's connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) clients: ClientAuth,
    authorities: Vec<CertificateDer<'static>>,
    allowed_sans: Vec<String>,
    versions: [Option<String>; 2],
    cipher_suites: Vec<String>,
    curves: Vec<String>,
}

impl Policy {
    fn new(written: &TlsServer, clients: ClientAuth, authorities: Vec<CertificateDer<'static>>) -> Self {
        Self {
            clients,
            authorities,
            allowed_sans: written.client_allowed_sans.clone(),
            versions: [written.min_version.clone(), written.max_version.clone()],
            cipher_suites: written.cipher_suites.clone(),
            curves: written.curve_preferences.clone(),
        }
    }
}

impl Tls {
    /// Reads the files; their paths are seen from `folder`. The error says what, where and the remedy.
    pub(super) fn load(written: &TlsServer, folder: &Path) -> anyhow::Result<Self> {
        let chain = certificates("cert", written.cert.as_deref(), written.cert_file.as_deref(), folder)?
            .context("neither cert_file nor cert is there: name the server's certificate")?;
        let key = private_key(written, folder)?;
        let clients = client_auth(written.client_auth_type.as_deref())?;
        let provider = Arc::new(provider(written)?);
        let authorities = authorities(written, clients, folder)?;
        let verifier = verifier(written, clients, &authorities, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(written)?)
            .context("cipher_suites and versions leave nothing to speak")?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| {
            anyhow!("certificate and key cannot be used together ({e}): see that they belong to each other")
        })?;
        config.ignore_client_order = written.prefer_server_cipher_suites.unwrap_or(true);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let policy = Arc::new(Policy::new(written, clients, authorities));
        Ok(Self { config: Arc::new(config), policy })
    }
}

/// The file with the key, where others than its owner and group may read it; that is the configuration itself where the
/// key is in it.
pub(super) fn exposed_key(written: &TlsServer, config: &Path) -> Option<PathBuf> {
    let path = match &written.key_file {
        Some(file) => config.parent().unwrap_or(Path::new(".")).join(file),
        None => config.to_owned(),
    };
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then_some(path)
}

fn client_auth(written: Option<&str>) -> anyhow::Result<ClientAuth> {
    Ok(match written {
        None | Some("" | "NoClientCert") => ClientAuth::None,
        Some("VerifyClientCertIfGiven") => ClientAuth::IfGiven,
        Some("RequireAndVerifyClientCert") => ClientAuth::Required,
        Some(unverified @ ("RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert")) => bail!(
            "client_auth_type: {unverified} takes certificates that nobody has verified, which keeps nobody out; write \
             RequireAndVerifyClientCert and name client_ca_file, or NoClientCert"
        ),
        Some(other) => bail!(
            "client_auth_type: {other:?} is not known: NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
        ),
    })
}

/// Who vouches for clients.
fn authorities(
    written: &TlsServer,
    clients: ClientAuth,
    folder: &Path,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let (ca, file) = (written.client_ca.as_deref(), written.client_ca_file.as_deref());
    if clients == ClientAuth::None {
        if ca.is_some() || file.is_some() || !written.client_allowed_sans.is_empty() {
            bail!(
                "client_ca_file and client_allowed_sans mean nothing without client_auth_type: RequireAndVerifyClientCert"
            );
        }
        return Ok(Vec::new());
    }
    certificates("client_ca", ca, file, folder)?
        .context("client_ca_file is missing: name the certificates of those who vouch for clients")
}

fn verifier(
    written: &TlsServer,
    clients: ClientAuth,
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    if clients == ClientAuth::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|e| anyhow!("client_ca_file: a certificate cannot be used ({e})"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients == ClientAuth::IfGiven { builder.allow_unauthenticated() } else { builder };
    let verifier = builder.build().map_err(|e| anyhow!("client_ca_file: {e}"))?;
    if written.client_allowed_sans.is_empty() {
        return Ok(Some(verifier));
    }
    let names = written.client_allowed_sans.iter().map(|name| San::parse(name));
    Ok(Some(Arc::new(AllowedSans::new(verifier, names.collect::<anyhow::Result<_>>()?))))
}

fn provider(written: &TlsServer) -> anyhow::Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    if !written.cipher_suites.is_empty() {
        let known: Vec<_> = ring::ALL_CIPHER_SUITES.iter().map(|suite| (go_name(suite), *suite)).collect();
        let mut suites = Vec::new();
        for name in &written.cipher_suites {
            suites.push(pick("cipher_suites", name, &known)?);
        }
        // In Go those of TLS 1.3 are not chosen by this list.
        if !suites.iter().any(|suite| suite.tls13().is_some()) {
            suites.extend(known.iter().map(|(_, suite)| *suite).filter(|suite| suite.tls13().is_some()));
        }
        provider.cipher_suites = suites;
    }
    if !written.curve_preferences.is_empty() {
        let picked = written.curve_preferences.iter().map(|name| pick("curve_preferences", name, &CURVES));
        provider.kx_groups = picked.collect::<anyhow::Result<_>>()?;
    }
    Ok(provider)
}

/// The name of a suite in Go, and so in the files of Prometheus exporters.
fn go_name(suite: &rustls::SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_")
}

fn versions(written: &TlsServer) -> anyhow::Result<Vec<&'static SupportedProtocolVersion>> {
    let place = |key: &str, name: &Option<String>, default: usize| -> anyhow::Result<usize> {
        let Some(name) = name else { return Ok(default) };
        pick(key, name, &[("TLS12", 0), ("TLS13", 1)])
    };
    let least = place("min_version", &written.min_version, 0)?;
    let most = place("max_version", &written.max_version, 1)?;
    if least > most {
        bail!("min_version: it is above max_version");
    }
    Ok(VERSIONS[least..=most].iter().map(|(_, version)| *version).collect())
}

fn pick<N: AsRef<str>, T: Copy>(key: &str, name: &str, known: &[(N, T)]) -> anyhow::Result<T> {
    let found = known.iter().find(|(own, _)| own.as_ref() == name);
    found.map(|(_, value)| *value).with_context(|| {
        let names: Vec<&str> = known.iter().map(|(own, _)| own.as_ref()).collect();
        format!("{key}: {name:?} is not spoken here: {}", names.join(", "))
    })
}

/// The PEM of a key of the file; `None` where neither form of it is there.
fn pem<'a>(
    key: &str,
    inline: Option<&'a str>,
    file: Option<&Path>,
    folder: &Path,
) -> anyhow::Result<Option<(String, Cow<'a, [u8]>)>> {
    Ok(match (inline, file) {
        (Some(_), Some(_)) => bail!("{key} and {key}_file are both there: one of them is enough"),
        (Some(text), None) => Some((key.to_owned(), text.as_bytes().into())),
        (None, Some(file)) => {
            let path = folder.join(file);
            let bytes = files::read_regular(&path, LARGEST)
                .with_context(|| format!("{key}_file: {}", path.display()))?;
            Some((format!("{key}_file: {}", path.display()), bytes.into()))
        }
        (None, None) => None,
    })
}

fn certificates(
    key: &str,
    inline: Option<&str>,
    file: Option<&Path>,
    folder: &Path,
) -> anyhow::Result<Option<Vec<CertificateDer<'static>>>> {
    let Some((place, bytes)) = pem(key, inline, file, folder)? else { return Ok(None) };
    // What the parser says may quote the file.
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(list) if !list.is_empty() => Ok(Some(list)),
        _ => bail!("{place}: no certificate in PEM can be read"),
    }
}

fn private_key(written: &TlsServer, folder: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let inline = written.key.as_ref().map(super::web_config::Secret::reveal);
    let (place, bytes) = pem("key", inline, written.key_file.as_deref(), folder)?
        .context("neither key_file nor key is there: name the private key of the certificate")?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        anyhow!("{place}: no private key in PEM can be read; one with a passphrase cannot be used")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// YAML under `tls_server_config`, with a certificate in place unless it says otherwise.
    fn load(folder: &Path, yaml: &str) -> anyhow::Result<Tls> {
        let config = super::super::web_config::WebConfig::parse(&format!("tls_server_config: {yaml}\n"))?;
        Tls::load(&config.tls_server_config.unwrap(), folder)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            std::fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        std::fs::write(folder.path().join("bad.key"), "-----BEGIN s3cr3t\nx\n").unwrap();
        folder
    }

    #[test]
    fn what_can_be_spoken_is_chosen() {
        let folder = folder();
        let of = |yaml: &str| {
            load(folder.path(), &format!("{{cert_file: a.crt, key_file: a.key{yaml}}}")).unwrap()
        };
        let suites = |tls: &Tls| {
            let all = tls.config.crypto_provider().cipher_suites.iter();
            all.filter(|suite| suite.tls13().is_none()).map(go_name).collect::<Vec<_>>()
        };
        let one = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        let tls =
            of(&format!(", cipher_suites: [{one}], curve_preferences: [CurveP384], min_version: TLS12"));
        assert_eq!(suites(&tls), [one]);
        assert_eq!(tls.config.crypto_provider().kx_groups[0].name(), rustls::NamedGroup::secp384r1);
        assert!(tls.config.ignore_client_order && tls.policy.clients == ClientAuth::None);
        let clients = of(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: b.crt");
        assert_eq!(clients.policy.clients, ClientAuth::Required);
        let given =
            of(", client_auth_type: VerifyClientCertIfGiven, client_ca_file: b.crt, min_version: TLS13");
        assert_eq!(given.policy.clients, ClientAuth::IfGiven);
    }

    #[test]
    fn what_cannot_be_done_is_said_with_the_remedy() {
        let folder = folder();
        for (yaml, wanted) in [
            ("{}", "cert_file"),
            ("{cert_file: a.crt}", "key_file"),
            ("{cert_file: absent.crt, key_file: a.key}", "absent.crt"),
            ("{cert_file: a.key, key_file: a.key}", "no certificate"),
            ("{cert_file: a.crt, key_file: b.key}", "belong to each other"),
            ("{cert_file: a.crt, key_file: bad.key}", "no private key"),
            ("{cert_file: a.crt, cert: x, key_file: a.key}", "both there"),
        ] {
            let error = format!("{:#}", load(folder.path(), yaml).err().unwrap());
            assert!(error.contains(wanted) && !error.contains("s3cr3t"), "{yaml}: {error}");
        }
        for (yaml, wanted) in [
            ("client_auth_type: RequireAnyClientCert", "RequireAndVerifyClientCert"),
            ("client_auth_type: Always", "VerifyClientCertIfGiven"),
            ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file"),
            ("client_ca_file: b.crt", "client_auth_type"),
            ("min_version: TLS11", "TLS12, TLS13"),
            ("{min_version: TLS13, max_version: TLS12}", "above max_version"),
            ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "TLS_AES_128_GCM_SHA256"),
            ("curve_preferences: [CurveP521]", "X25519"),
            (
                "{client_auth_type: VerifyClientCertIfGiven, client_ca_file: b.crt, client_allowed_sans: [a@b.c]}",
                "a@b.c",
            ),
        ] {
            let yaml = yaml.trim_start_matches('{').trim_end_matches('}');
            let whole = format!("{{cert_file: a.crt, key_file: a.key, {yaml}}}");
            let error = format!("{:#}", load(folder.path(), &whole).err().unwrap());
            assert!(error.contains(wanted), "{yaml}: {error}");
        }
    }
}
