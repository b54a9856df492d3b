//! Clients by the names in their certificates.

use anyhow::bail;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;

/// A subject alternative name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum San {
    /// A name of DNS, letter by letter: a wildcard is itself.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// `spiffe://…`
    Uri(String),
}

impl San {
    /// As it is written in the web configuration.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains("://") {
            return Ok(Self::Uri(text.to_owned()));
        }
        if text.contains('@') {
            bail!(
                "client_allowed_sans: {text:?}: mail addresses are not looked for; name one of DNS, an IP address or a URI"
            );
        }
        Ok(text.parse().map_or_else(|_| Self::Dns(text.to_owned()), Self::Ip))
    }

    fn is_of(&self, certificate: &webpki::EndEntityCert<'_>) -> bool {
        match self {
            Self::Dns(name) => certificate.valid_dns_names().any(|own| own.eq_ignore_ascii_case(name)),
            Self::Uri(name) => certificate.valid_uri_names().any(|own| own == name),
            Self::Ip(address) => certificate
                .verify_is_valid_for_subject_name(&ServerName::IpAddress((*address).into()))
                .is_ok(),
        }
    }
}

/// Takes those whom another one takes, if they have one of the names.
#[derive(Debug)]
pub(super) struct AllowedSans {
    inner: Arc<dyn ClientCertVerifier>,
    allowed: Vec<San>,
}

impl AllowedSans {
    /// Over this one.
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>, allowed: Vec<San>) -> Self {
        Self { inner, allowed }
    }
}

impl ClientCertVerifier for AllowedSans {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let parsed = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.allowed.iter().any(|san| san.is_of(&parsed)) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    #[test]
    fn a_name_is_of_its_kind_and_whole() {
        let names = ["Prom.example.com", "*.wild.example.com", "10.0.0.7"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://a/b".try_into().unwrap()));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = webpki::EndEntityCert::try_from(der.der()).unwrap();
        let is_of = |text: &str| San::parse(text).unwrap().is_of(&certificate);
        for own in ["prom.example.com", "10.0.0.7", "spiffe://a/b", "*.wild.example.com"] {
            assert!(is_of(own), "{own}");
        }
        for other in ["example.com", "x.wild.example.com", "10.0.0.8", "spiffe://a", "::1"] {
            assert!(!is_of(other), "{other}");
        }
    }
}
