//! The start: takes the log, and closes what crashes left open in it and in logs beside it.

use std::io;

use super::{
    Config,
    instance::Instance,
    journal::{Journal, Settings},
    reach::Positions,
    recover::is_ended,
    retention::Retention,
    signer::Signer,
};
use crate::file::stable;

#[cfg(test)]
mod tests;

/// `shipped` is what is known of the sinks.
pub(super) fn journal(config: &Config, shipped: Positions) -> io::Result<Journal> {
    let Config { directory, .. } = config;
    // For the gateway's own user alone: it says who did what.
    stable::make_directory(directory)?;
    let signer = Signer::of(config)?;
    let settings = Settings {
        directory: directory.clone(),
        segment_bytes: config.segment_bytes,
        segment_age: config.segment_age,
        retention: Retention {
            bytes: config.keep_bytes.unwrap_or_else(|| Config::kept_by_default(0)),
            age: config.keep_age,
        },
        shipped,
    };
    let journal = Journal::open(settings.clone(), &config.instance, &signer)?;
    for other in Instance::others(directory, journal.name())? {
        if let Err(error) = recover_other(&settings, &other, &signer) {
            tracing::warn!(log = other, %error, "the audit log of another instance cannot be closed");
        }
    }
    Ok(journal)
}

/// A log that nobody writes, and whose last writer did not end in order: a pod that is gone, for instance.
fn recover_other(settings: &Settings, name: &str, signer: &Signer) -> io::Result<()> {
    let Some(instance) = Instance::hold(&settings.directory, name)? else { return Ok(()) };
    if is_ended(&instance)? {
        return Ok(());
    }
    let is_own = signer.named(name).is_ok_and(|signer| signer.is_of(instance.path()));
    if !is_own {
        // Who verifies it would need a key that nobody has told of.
        return Err(io::Error::other("another key signs it: a start with that one closes it"));
    }
    Journal::resume(settings.clone(), instance, signer)?.close()?;
    Ok(())
}
