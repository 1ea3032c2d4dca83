//! The certificate that a client has shown: whom it names, and whether it still stands.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use super::{Fault, InForce, Shared};
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
    since: SystemTime,
    /// One of the certificates begins or ends then; none if nothing changes any more.
    until: Option<SystemTime>,
}

/// What every request on the connection carries; none if the certificate cannot be read. The handshake that has verified
/// it began at `begun`.
pub(super) fn certificate(
    shared: &Arc<Shared>,
    in_force: &InForce,
    chain: &[CertificateDer<'_>],
    begun: SystemTime,
) -> Option<PeerCertificate> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = names(&leaf);
    // What had ended before was not needed to verify it.
    let ends = times(chain).map(|(_, end)| end).filter(|end| *end > begun).min()?;
    let standing = Standing::new(shared, in_force, chain, begun);
    Some(PeerCertificate::new(names, ends, move || standing.is_good(SystemTime::now())))
}

/// When a certificate ends, in seconds since 1970; none if it cannot be read.
pub(super) fn end_of(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

impl Standing {
    pub(super) fn new(
        shared: &Arc<Shared>,
        in_force: &InForce,
        chain: &[CertificateDer<'_>],
        begun: SystemTime,
    ) -> Self {
        let judged = Judged::at(begun, in_force, true, chain);
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Self { shared: shared.clone(), chain, judged: Mutex::new(judged) }
    }

    /// Whether a handshake of this moment would let the certificate in. The signatures are looked at again once for each
    /// new set of CAs, and when one of the certificates has begun or ended, or the clock was set back: not at every
    /// request.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        let in_force = self.shared.current.borrow().clone();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if !judged.holds(in_force.generation, now) {
            *judged = Judged::at(now, &in_force, self.is_verified(&in_force, now), &self.chain);
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

impl Judged {
    fn at(now: SystemTime, in_force: &InForce, is_good: bool, chain: &[CertificateDer<'_>]) -> Self {
        let changes = times(chain).flat_map(|(begin, end)| [begin, end]);
        let until = changes.filter(|change| *change > now).min();
        Self { generation: in_force.generation, is_good, since: now, until }
    }

    fn holds(&self, generation: u64, now: SystemTime) -> bool {
        self.generation == generation && self.since <= now && self.until.is_none_or(|until| now < until)
    }
}

/// From when on and until when each of the certificates is in its time.
fn times(chain: &[CertificateDer<'_>]) -> impl Iterator<Item = (SystemTime, SystemTime)> {
    chain.iter().filter_map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        // The last second counts as a whole (RFC 5280, section 4.1.2.5).
        Some((time(validity.not_before), time(validity.not_after) + Duration::from_secs(1)))
    })
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

/// What in a bundle of CAs cannot be one's certificate. Roots are trusted for being there, so that nobody else looks.
pub(super) fn judge_authority(certificate: &[u8], now: SystemTime) -> Result<(), Fault> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| Fault::BadCertificate)?;
    let constraints = certificate.basic_constraints().map_err(|_| Fault::BadCertificate)?;
    let usage = certificate.key_usage().map_err(|_| Fault::BadCertificate)?;
    let is_authority = constraints.is_some_and(|found| found.value.ca);
    if !is_authority || usage.is_some_and(|found| !found.value.key_cert_sign()) {
        return Err(Fault::NoAuthority);
    }
    let end = time(certificate.validity().not_after) + Duration::from_secs(1);
    if end <= now { Err(Fault::Ended) } else { Ok(()) }
}

/// Whether it may sign others: no leaf may (X509-SVID, section 5.2).
fn is_authority(leaf: &X509Certificate<'_>) -> bool {
    let is_ca = leaf.basic_constraints().map(|found| found.is_some_and(|constraints| constraints.value.ca));
    let signs = leaf
        .key_usage()
        .map(|found| found.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign()));
    is_ca.unwrap_or(true) || signs.unwrap_or(true)
}
