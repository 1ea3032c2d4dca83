//! The certificate that a client has shown: whom it names, and whether it still stands.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use super::{InForce, Shared};
use crate::call::{Names, PeerCertificate};

/// The chain as it was shown in the handshake, which has verified it.
pub(super) struct Standing {
    shared: Arc<Shared>,
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Judged>,
}

/// What was found last, and for how long that holds.
#[derive(Clone, Copy, Debug)]
struct Judged {
    /// By the CAs of that generation.
    generation: u64,
    is_good: bool,
    /// One of the certificates ends then.
    until: SystemTime,
}

/// What every request on the connection carries; none if the certificate cannot be read.
pub(super) fn certificate(
    shared: &Arc<Shared>,
    in_force: &InForce,
    chain: &[CertificateDer<'_>],
) -> Option<PeerCertificate> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = names(&leaf);
    let ends = time(leaf.validity().not_after);
    let standing = Standing::new(shared, in_force, chain);
    Some(PeerCertificate::new(names, ends, move || standing.is_good(SystemTime::now())))
}

/// When a certificate ends, in seconds since 1970; none if it cannot be read.
pub(super) fn end_of(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

impl Standing {
    pub(super) fn new(shared: &Arc<Shared>, in_force: &InForce, chain: &[CertificateDer<'_>]) -> Self {
        // A session that was resumed was verified when it began: the first request looks again.
        let generation = in_force.generation;
        let judged = Judged { generation, is_good: true, until: SystemTime::UNIX_EPOCH };
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Self { shared: shared.clone(), chain, judged: Mutex::new(judged) }
    }

    /// Whether a handshake of this moment would let the certificate in. The signatures are looked at again once for each
    /// new set of CAs, and when one of the certificates has ended: not at every request.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        let in_force = self.shared.current.borrow().clone();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.generation != in_force.generation || (judged.is_good && judged.until <= now) {
            *judged = Judged {
                generation: in_force.generation,
                is_good: self.is_verified(&in_force, now),
                until: next_end(&self.chain, now),
            };
        }
        judged.is_good
    }

    fn is_verified(&self, in_force: &InForce, now: SystemTime) -> bool {
        let (Some(verifier), Some((leaf, others))) = (&in_force.verifier, self.chain.split_first()) else {
            return false;
        };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        verifier.verify_client_cert(leaf, others, UnixTime::since_unix_epoch(now)).is_ok()
    }
}

/// The next time at which one of the certificates ends.
fn next_end(chain: &[CertificateDer<'_>], now: SystemTime) -> SystemTime {
    let ends = chain.iter().filter_map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(time(certificate.validity().not_after))
    });
    // The last second counts as a whole (RFC 5280, section 4.1.2.5).
    ends.map(|end| end + Duration::from_secs(1)).filter(|end| *end > now).min().unwrap_or(now)
}

fn time(time: ASN1Time) -> SystemTime {
    // What ended before 1970 has ended.
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Whom a certificate names. The common name is no name (RFC 9525, section 2); an extension that cannot be read, or has
/// a name in it that cannot be, names nobody.
pub(super) fn names(leaf: &X509Certificate<'_>) -> Names {
    let Some(alternatives) = leaf.subject_alternative_name().ok().flatten() else { return Names::default() };
    let mut names = Names { is_authority: is_authority(leaf), ..Names::default() };
    for name in &alternatives.value.general_names {
        match name {
            GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => names.dns_names.push(name.to_ascii_lowercase()),
            GeneralName::Invalid(..) => return Names::default(),
            _ => {}
        }
    }
    names
}

/// Whether it may sign others: no leaf may (X509-SVID, section 5.2).
fn is_authority(leaf: &X509Certificate<'_>) -> bool {
    let is_ca = leaf.basic_constraints().map(|found| found.is_some_and(|constraints| constraints.value.ca));
    let signs = leaf
        .key_usage()
        .map(|found| found.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign()));
    is_ca.unwrap_or(true) || signs.unwrap_or(true)
}
