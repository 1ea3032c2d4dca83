//! `check` of a policy: what it says, what it can hardly mean, and the tests next to it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;

use super::policy::configured;
use crate::{EX_CONFIG, GOOD, run, text, write_closed};

const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// A key's entry, with a hash of its own.
fn key(index: usize, subject: &str) -> String {
    let hash = format!("{index:064x}");
    format!("{{ id = 'key-{index}', subject = '{subject}', org = 'acme', sha256 = '{hash}' }},")
}

#[test]
fn check_shows_what_stands_for_whom() {
    let directory = tempfile::tempdir().unwrap();
    let policy = format!(
        "revision = 'r1'\n\
         [limits]\n\
         max_timeout = '1h'\n\
         max_pool_size = {{ value = 5, mode = 'warn', share = 0.1, candidate = 3 }}\n\
         projects = {{ deny = ['{PROJECT}'] }}\n\
         default_timeout = '45m'\n\
         [rates.subject]\n\
         expensive = {{ per_minute = 5, burst = 5, mode = 'audit' }}\n\
         [budgets.project]\n\
         creates = {{ count = 20, window = '1h' }}\n\
         [rules]\n\
         files = ['rules.cedar']\n\
         default = 'forbid'\n\
         [orgs.acme.limits]\n\
         max_timeout = '2h'\n\
         methods = {{ allow = ['read', 'CreatePrebuild'], deny = ['ListWarmPools'], mode = 'audit' }}\n\
         [orgs.acme.subjects.ci.limits]\n\
         default_timeout = '30m'\n"
    );
    let rules = "@id(\"no-pools\") @mode(\"warn\") @share(\"0.5\")\n\
                 forbid (principal, action == Action::\"CreateWarmPool\", resource);\n\
                 @id(\"reads\") permit (principal, action in Action::\"read\", resource);\n";
    write(&directory.path().join("rules.cedar"), rules);
    let config = configured(directory.path(), &policy);
    let output = run(&["check", "--config", &config]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let said = text(&output.stdout);
    let (head, lines) = said.split_once("\npolicy ").unwrap().1.split_once('\n').unwrap();
    let path = directory.path().join("policy.toml");
    assert_eq!(&head[16..], format!(" (r1) of {}; rates of each replica by itself", path.display()));
    let expected = "  \
  every org
    enforce  limits.max_timeout       1h
    warn     limits.max_pool_size     5, for 0.1 of the calls, tried beside it: 3
    enforce  limits.projects          any, but not 0198c0de-0000-7000-8000-0000000000a1
    enforce  limits.in_flight         256 (built in)
    audit    rates.subject.expensive  5 per minute, bursts of 5
    enforce  rates.org.all            50 per second, bursts of 100 (built in)
    enforce  budgets.project.creates  20 in 1h
    default  spec.timeout             45m
  org acme
    audit    limits.methods           only CreatePrebuild, GetAuthenticatedIdentity, GetPrebuild, GetWarmPool, \
                    ListPrebuilds, ListWarmPools, but not ListWarmPools
    enforce  limits.max_timeout       2h
  org acme, subject ci
    default  spec.timeout             30m
  rules
    warn     rules.no-pools           for 0.5 of the calls
    enforce  rules.reads
    enforce  rules.default            a rule must permit the call
";
    assert_eq!(lines, expected);
}

#[test]
fn check_warns_of_what_can_hardly_be_meant() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "orgs.acme.subjects.ada.limits.max_page_size = 100");
    let path = directory.path().join("policy.toml");
    let warnings = format!(
        "warning: {0}: orgs.acme.subjects.ada: is for nobody: no credential of the config is this subject's\n\
         warning: {0}: orgs.acme.subjects.ada.limits.max_page_size: is the API's own bound, and makes no difference\n",
        path.display()
    );
    let output = run(&["check", "--config", &config]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), warnings.clone()));
    let output = run(&["check", "--config", &config, "--strict"]);
    let expected = format!("{warnings}prebuild-gateway: {}: 2 warnings\n", path.display());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(EX_CONFIG), expected));
}

#[test]
fn check_warns_of_rules_where_they_stand() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "rules.files = ['night.cedar']");
    let rule = "\n@id(\"night\") forbid(principal, action, resource) when { context.hour > 22 && context.hour < 6 };";
    write(&directory.path().join("night.cedar"), rule);
    let path = directory.path().join("policy.toml");
    let warning = format!(
        "warning: {}: night.cedar:2: rule `night`: `context.hour > 22 && context.hour < 6` is never true\n",
        path.display()
    );
    let output = run(&["check", "--config", &config]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), warning));
}

#[test]
fn check_runs_the_tests_of_the_policy() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), "limits.methods = { deny = ['DeletePrebuild'] }");
    let (check, tests) =
        (|| run(&["check", "--config", &config, "--test"]), directory.path().join("policy.test.toml"));
    let output = check();
    assert_eq!(output.status.code(), Some(1), "there are none");
    assert!(
        text(&output.stderr).starts_with(&format!("prebuild-gateway: `{}`: cannot be read", tests.display()))
    );

    let case = "[[case]]\nname = 'nothing is deleted'\nas = 'acme/ci'\nmethod = 'DeletePrebuild'\n\
                request = { prebuildId = '0198c0de-0000-7000-8000-0000000000e1' }\n";
    write(&tests, &format!("{case}expect = 'refuse'\nrules = ['limits.methods']\n"));
    let output = check();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(text(&output.stdout).ends_with(&format!("\n{}: 1 cases pass\n", tests.display())));

    write(&tests, &format!("{case}expect = 'forward'\nrules = []\n"));
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    let at = format!("{}: case[0] `nothing is deleted`", tests.display());
    assert!(
        lines[0].starts_with(&format!(
            "{at}: expect: expected forward, said `would be refused: PERMISSION_DENIED, POLICY_DENIED, limits.methods"
        )),
        "{said}"
    );
    assert_eq!(lines[1], format!("{at}: rules: expected none, said limits.methods"));
    let path = tests.display();
    assert_eq!(lines[2], format!("prebuild-gateway: {path}: 2 expectations of 1 cases failed"));

    write(&tests, "");
    assert_eq!(
        text(&check().stderr),
        format!("prebuild-gateway: {path}: case: must name one case at least\n")
    );
}

/// Every policy that is shipped loads, is free of warnings, and passes tests of its own.
#[test]
fn the_examples_keep_their_tests() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policy");
    let directory = tempfile::tempdir().unwrap();
    let mut policies = Vec::new();
    for entry in fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        write(&directory.path().join(&name), &fs::read_to_string(&path).unwrap());
        if name.ends_with(".toml") && !name.ends_with(".test.toml") {
            policies.push(name);
        }
    }
    assert!(policies.len() >= 2, "{policies:?}");
    let subjects = ["ci@example.com", "ada", "janitor"];
    let keys: String = subjects.iter().enumerate().map(|(index, subject)| key(index, subject)).collect();
    let good = GOOD.replace("identity.api_keys = [", &format!("identity.api_keys = [{keys}"));
    for policy in policies {
        let (config, file) = (directory.path().join("gateway.conf"), directory.path().join(&policy));
        write_closed(&config, format!("policy.file = '{}'\n{good}", file.display()));
        let output = run(&["check", "--config", config.to_str().unwrap(), "--strict", "--test"]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{policy}");
        assert!(text(&output.stdout).trim_end().ends_with(" cases pass"), "{policy}");
    }
}

#[test]
fn check_prints_the_schemas_of_policies() {
    let output = run(&["check", "--schema", "policy"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["budgets"].is_object());
    let output = run(&["check", "--schema", "cedar"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("action CreatePrebuild in ["));
    for arguments in [&["check", "--strict"][..], &["check", "--schema", "rules"], &["check", "--test"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
