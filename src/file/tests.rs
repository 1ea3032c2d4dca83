//! Which files are taken.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use super::{Access, Fault, MAX_FILE, is_inside, read, read_text};

#[test]
fn a_closed_file_is_one_that_its_owner_alone_writes_and_others_do_not_see() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "text").unwrap();
    for (mode, expected) in [
        (0o600, Ok("text")),
        (0o400, Ok("text")),
        (0o640, Ok("text")),
        (0o440, Ok("text")),
        (0o660, Err(Fault::Exposed)),
        (0o604, Err(Fault::Exposed)),
        (0o602, Err(Fault::Exposed)),
        (0o610, Err(Fault::Exposed)),
        (0o644, Err(Fault::Exposed)),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(read_text(&path, Access::Closed).as_deref(), expected.as_deref(), "{mode:o}");
        assert_eq!(read_text(&path, Access::Open).as_deref(), Ok("text"));
    }
}

#[test]
fn a_guarded_file_is_one_that_its_owner_alone_writes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (mode, expected) in [
        (0o644, Ok("")),
        (0o444, Ok("")),
        (0o600, Ok("")),
        (0o664, Err(Fault::Writable)),
        (0o646, Err(Fault::Writable)),
        (0o602, Err(Fault::Writable)),
    ] {
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(read_text(file.path(), Access::Guarded).as_deref(), expected.as_deref(), "{mode:o}");
    }
}

#[test]
fn what_is_no_file_of_modest_size_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let largest = usize::try_from(MAX_FILE).unwrap();
    fs::write(path("large"), vec![0; largest]).unwrap();
    fs::write(path("larger"), vec![0; largest + 1]).unwrap();
    fs::write(path("binary"), [0xff]).unwrap();
    assert_eq!(read(&path("pipe"), Access::Open), Err(Fault::NotAFile));
    assert_eq!(read(directory.path(), Access::Open), Err(Fault::NotAFile));
    assert_eq!(read(&path("none"), Access::Open), Err(Fault::Unreadable(ErrorKind::NotFound)));
    assert_eq!(read(&path("large"), Access::Open).map(|bytes| bytes.len()), Ok(largest));
    assert_eq!(read(&path("larger"), Access::Open), Err(Fault::TooLarge));
    assert_eq!(read_text(&path("binary"), Access::Open), Err(Fault::Unreadable(ErrorKind::InvalidData)));
}

/// However the path is written, and through whatever links.
#[test]
fn what_is_inside_a_directory_is_known() {
    let place = tempfile::tempdir().unwrap();
    let (audit, link) = (place.path().join("audit"), place.path().join("link"));
    fs::create_dir_all(audit.join("deep")).unwrap();
    std::os::unix::fs::symlink(&audit, &link).unwrap();
    for (path, expected) in [
        ("audit", true),
        ("audit/new/file", true),
        ("./audit/file", true),
        ("nothing/../audit/file", true),
        ("audit/deep/../file", true),
        ("link/file", true),
        ("link/deep/../new/file", true),
        ("audit/../file", false),
        ("link/../file", false),
        ("audits/file", false),
    ] {
        assert_eq!(is_inside(&place.path().join(path), &audit), expected, "{path}");
        assert_eq!(is_inside(&place.path().join(path), &link), expected, "{path}");
    }
    assert!(is_inside("./audit/kept".as_ref(), "audit".as_ref()));
    assert!(!is_inside("kept".as_ref(), "audit".as_ref()));
}
