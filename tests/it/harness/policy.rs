//! The policy of a gateway, in a file in its own directory.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Rates that no test meets by chance.
pub(crate) const LOOSE: &str =
    "rates.org.all = { per_second = 100000, burst = 100000 }\nlimits.in_flight = 1000000\n";

/// The same, and one call a second for one org.
pub(crate) fn tight(org: &str) -> String {
    format!("{LOOSE}orgs.{org}.rates.org.all = {{ per_second = 1, burst = 1 }}\n")
}

pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("policy.toml")
}

pub(crate) fn write(directory: &Path, text: &str) {
    replace(&file(directory), text);
}

/// As an operator should: beside it, then in its place.
pub(crate) fn replace(file: &Path, text: &str) {
    let mut beside = NamedTempFile::new_in(file.parent().unwrap()).unwrap();
    beside.write_all(text.as_bytes()).unwrap();
    beside.as_file().set_permissions(Permissions::from_mode(0o644)).unwrap();
    beside.persist(file).unwrap();
}
