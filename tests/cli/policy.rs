//! The policy of a process: taken at start or not at all, and looked at again at SIGHUP.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{EX_CONFIG, GOOD, Running, command, run, text, write_closed};

/// A configuration whose policy says this, and is not looked at again for a minute.
pub(super) fn configured(directory: &Path, policy: &str) -> String {
    set(directory, policy);
    let (config, file) = (directory.join("gateway.toml"), directory.join("policy.toml"));
    let good = GOOD.replace("AUDIT", directory.join("audit").to_str().unwrap());
    write_closed(
        &config,
        format!("policy = {{ file = '{}', reload_interval = '1min' }}\n{good}", file.display()),
    );
    config.to_str().unwrap().to_owned()
}

fn set(directory: &Path, policy: &str) {
    let (beside, file) = (directory.join("policy.new"), directory.join("policy.toml"));
    fs::write(&beside, policy).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(beside, file).unwrap();
}

#[test]
fn a_bad_policy_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "limits.max_timeout = \"3h\"");
    let file = directory.path().join("policy.toml");
    let why = format!("policy.file: `{}`: limits.max_timeout: must be from 1s to 2h", file.display());
    for name in ["check", "serve"] {
        let output = run(&[name, "--config", &config]);
        assert_eq!(output.status.code(), Some(EX_CONFIG));
        assert_eq!(text(&output.stderr), format!("prebuild-gateway: {why}\n"));
    }
}

#[test]
fn sighup_brings_the_policy_as_it_is_written_now() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "limits.max_timeout = \"1h\"");
    let serve = Running::start(command(&["serve", "--config", &config]), true);
    serve.lines_to("\"serving\"");
    let hang_up = || {
        let id = serve.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };
    set(directory.path(), "limits.max_timeout = \"3h\"");
    hang_up();
    let lines = serve.lines_to("is not taken; the last good state stays");
    assert!(lines.last().unwrap().contains("limits.max_timeout: must be from 1s to 2h"), "{lines:?}");
    set(directory.path(), "limits.max_timeout = \"2h\"");
    hang_up();
    let lines = serve.lines_to("what the file holds now is in force");
    assert!(lines.last().unwrap().contains("policy.file"), "{lines:?}");
    assert_eq!(serve.stop(), Some(0));
}
