//! Client certificates: who is known by which name in them.
//!
//! The listener has verified the certificate. Here is decided whom it names: by its one SPIFFE ID (X509-SVID, sections 2
//! and 5.2), or by its DNS names, each as a whole. The common name, addresses and wildcards name nobody.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::every_class;
use crate::call::{CredentialId, Identity, OrgId, PeerCertificate, Scope, Scopes, SubjectId};

/// SPIFFE ID, section 2.3.
const MAX_SPIFFE_ID: usize = 2048;
/// SPIFFE ID, section 2.1.
const MAX_TRUST_DOMAIN: usize = 255;
/// RFC 1035, section 2.3.4, as text.
const MAX_DNS_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// One entry of `[[identity.certificates]]`: exactly one of `spiffe_id` and `dns_name`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the entry in the audit log.
    pub id: CredentialId,
    /// Who calls with such a certificate.
    pub subject: SubjectId,
    /// For which org; one of `[[orgs]]`.
    pub org: OrgId,
    /// The certificate's only URI, `spiffe://domain/path`.
    #[serde(default)]
    pub spiffe_id: Option<SpiffeId>,
    /// One of the certificate's DNS names.
    #[serde(default)]
    pub dns_name: Option<DnsName>,
    /// What may be called with it: `read`, `mutate`, `secret`, `explain`, or names of methods; at least one. The first three by default.
    #[serde(default = "every_class")]
    pub scopes: Vec<Scope>,
}

/// A SPIFFE ID, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct SpiffeId(String);

/// A host's whole name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct DnsName(String);

/// The text is no SPIFFE ID of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a SPIFFE ID like spiffe://example.org/ci (lower-case domain; no port, query or empty segment)"
)]
pub struct NoSpiffeId;

/// The text is no name of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the whole DNS name of a host, like ci.example.com: no wildcard, no address, no dot at its end"
)]
pub struct NoDnsName;

/// All entries by their names.
#[derive(Debug, Default)]
pub struct Certificates {
    by_spiffe_id: HashMap<String, Identity>,
    by_dns_name: HashMap<String, Identity>,
    /// As they are written.
    all: Vec<(Identity, String)>,
}

/// What is wrong with a set of entries, and with which of them, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("id `{id}` is used twice")]
    DuplicateId { index: usize, id: CredentialId },
    #[error("`{name}` stands in an earlier entry")]
    Duplicate { index: usize, name: String, key: &'static str },
    #[error("must have exactly one of spiffe_id and dns_name")]
    NotOneName { index: usize },
}

/// Two entries are for the same certificate: which one counts would be a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl TryFrom<String> for SpiffeId {
    type Error = NoSpiffeId;

    fn try_from(id: String) -> Result<Self, NoSpiffeId> {
        let (domain, path) =
            id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or(NoSpiffeId)?;
        let of_domain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_path);
        let is_good = (1..=MAX_TRUST_DOMAIN).contains(&domain.len())
            && domain.bytes().all(of_domain)
            && path.split('/').all(is_segment)
            && id.len() <= MAX_SPIFFE_ID;
        if is_good { Ok(Self(id)) } else { Err(NoSpiffeId) }
    }
}

impl TryFrom<String> for DnsName {
    type Error = NoDnsName;

    fn try_from(name: String) -> Result<Self, NoDnsName> {
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // No top-level domain is a number; an IPv4 address would be.
        let is_address = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let is_good = name.len() <= MAX_DNS_NAME && name.split('.').all(is_label) && !is_address;
        if is_good { Ok(Self(name.to_ascii_lowercase())) } else { Err(NoDnsName) }
    }
}

impl Certificates {
    /// # Errors
    /// An id or a name that stands twice, or an entry without a name or with two.
    pub fn new(configs: &[Config]) -> Result<Self, CertificateError> {
        let (mut certificates, mut ids) = (Self::default(), HashSet::new());
        for (index, config) in configs.iter().enumerate() {
            let id = config.id.clone();
            if !ids.insert(id.clone()) {
                return Err(CertificateError::DuplicateId { index, id });
            }
            let (named, name, key) = match (&config.spiffe_id, &config.dns_name) {
                (Some(id), None) => (&mut certificates.by_spiffe_id, id.0.clone(), "spiffe_id"),
                (None, Some(name)) => (&mut certificates.by_dns_name, name.0.clone(), "dns_name"),
                _ => return Err(CertificateError::NotOneName { index }),
            };
            if named.insert(name.clone(), config.identity()).is_some() {
                return Err(CertificateError::Duplicate { index, name, key });
            }
            certificates.all.push((config.identity(), name));
        }
        Ok(certificates)
    }

    /// Whom the certificate names, if anybody.
    ///
    /// # Errors
    /// More than one entry is for it.
    pub fn find(&self, certificate: &PeerCertificate) -> Result<Option<&Identity>, Ambiguous> {
        let names = certificate.names();
        if names.is_authority {
            return Ok(None);
        }
        let by_spiffe_id = match &names.uris[..] {
            [only] => self.by_spiffe_id.get(only),
            _ => None,
        };
        // A name may stand twice in a certificate; it is one name.
        let dns_names: HashSet<_> = names.dns_names.iter().collect();
        let by_dns_name = dns_names.into_iter().filter_map(|name| self.by_dns_name.get(name));
        let mut found = by_spiffe_id.into_iter().chain(by_dns_name);
        match (found.next(), found.next()) {
            (only, None) => Ok(only),
            (_, Some(_)) => Err(Ambiguous),
        }
    }

    /// Each entry with its name, as they are written.
    pub fn all(&self) -> &[(Identity, String)] {
        &self.all
    }
}

impl Config {
    fn identity(&self) -> Identity {
        Identity {
            subject: self.subject.clone(),
            org: self.org.clone(),
            credential: self.id.clone(),
            scopes: Scopes::new(&self.scopes),
            passed: None,
        }
    }
}
