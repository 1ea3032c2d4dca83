//! What `check` says.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;

use super::{EX_CONFIG, GOOD, command, run, text, write_closed};

#[test]
fn check_says_what_is_wrong_by_key_and_exits_with_78() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    for (name, command) in [("base-url-plaintext", "check"), ("missing-base-url", "serve")] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bad-configs/{name}.toml"));
        let config = fs::read_to_string(source).unwrap();
        write_closed(&path, &config);
        let expected = config.lines().next().unwrap().strip_prefix("# expect: ").unwrap().to_owned();
        let output = run(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(EX_CONFIG));
        assert_eq!(text(&output.stderr), format!("prebuild-gateway: {expected}\n"));
        assert_eq!(text(&output.stdout), "");
    }
    let output = run(&["check", "--config", "/nonexistent/gateway.toml"]);
    assert_eq!(output.status.code(), Some(EX_CONFIG));
    assert!(text(&output.stderr).contains("/nonexistent/gateway.toml: cannot be read"));
}

#[test]
fn check_passes_a_good_configuration_and_reads_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let (config, ca) = (directory.path().join("gateway.toml"), directory.path().join("ca.pem"));
    write_closed(&config, GOOD);
    let output = run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert_eq!(
        said,
        format!(
            "{}: ok (1 orgs, 1 keys, upstream http://127.0.0.1:1/api)\n  \
             org acme, subject ci, key ci: read, mutate, secret; does not expire\n",
            config.display()
        )
    );

    fs::write(&ca, "no certificate\n").unwrap();
    write_closed(&config, format!("{GOOD}\nupstream.ca_file = \"{}\"\n", ca.display()));
    for (mode, problem) in [
        (0o644, "holds no usable CA certificate"),
        (0o664, "must be written by its owner alone: mode 0644, for instance"),
    ] {
        fs::set_permissions(&ca, fs::Permissions::from_mode(mode)).unwrap();
        let output = run(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(EX_CONFIG));
        let expected = format!("prebuild-gateway: upstream.ca_file: `{}` {problem}\n", ca.display());
        assert_eq!(text(&output.stderr), expected);
    }
}

/// The shipped example, with the files that it names put where they are.
#[test]
fn check_says_whose_tokens_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let (config, token) = (directory.path().join("gateway.toml"), directory.path().join("acme-token"));
    write_closed(&token, "token\n");
    let keys = directory.path().join("jwks.json");
    write_closed(&keys, include_str!("../bad-configs/jwks/rsa.json"));
    let (token, keys) = (token.display().to_string(), keys.display().to_string());
    let example = include_str!("../../deploy/identity-jwt.example.toml")
        .replace("/etc/prebuild-gateway/cluster-jwks.json", &keys)
        .replace("/run/secrets/acme-token", &token);
    write_closed(&config, &example);
    let output = command(&["check", "--config", config.to_str().unwrap()])
        .env("GLOBEX_TOKEN", "globex-token")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "  org by claim group.name (\"acme-inc\" is acme, \"globex-corp\" is globex), subject by claim sub, \
             tokens idp of https://idp.example.com for prebuild-gateway: read, mutate, secret and by its claim scope; \
             RS256, PS256, ES256, EdDSA; keys fetched from https://idp.example.com/.well-known/jwks.json",
            "    typ JWT or at+jwt; leeway 30s; age until exp; keys again after 30s to 10m",
            &format!(
                "  org by claim /kubernetes.io/namespace (\"acme-ci\" is acme), subject by claim sub, tokens cluster of https://kubernetes.default.svc.cluster.local for \
                 prebuild-gateway: read, mutate; RS256; 1 keys in {keys}"
            ),
            "    typ JWT or at+jwt or none; leeway 30s; age at most 1day",
            "  org by claim repository_owner_id (\"9919\" is acme), subject by claim sub, tokens github of \
             https://token.actions.githubusercontent.com for prebuild-gateway: read, mutate; RS256; keys fetched \
             from https://token.actions.githubusercontent.com/.well-known/jwks",
            "    typ JWT or at+jwt; leeway 30s; age until exp; keys again after 30s to 10m",
        ]
    );
}

#[test]
fn check_prints_the_schema() {
    let output = run(&["check", "--schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["upstream"].is_object());
    assert_eq!(run(&["check"]).status.code(), Some(2), "neither asked for");
}
