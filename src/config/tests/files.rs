//! What stands in files of its own.

use super::*;
use crate::{
    rpc::LIST_PREBUILDS,
    rule::{Applied, Draw, Quota},
};

#[test]
fn a_policy_is_read_from_a_file_of_its_own_that_others_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let text = format!("policy.file = {file:?}\n{GOOD}");
    let said = || resolve(&text).map(|_| ()).unwrap_err().to_string();
    let path = file.display();
    assert_eq!(said(), format!("policy.file: `{path}` cannot be read: entity not found"));
    fs::write(&file, "rates.org.all = { per_second = 7, burst = 9 }\nrules.files = [\"more.cedar\"]")
        .unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let missing = "rules.files[0]: `more.cedar` cannot be read: entity not found";
    assert_eq!(said(), format!("policy.file: `{path}`: {missing}"));
    let rules = directory.path().join("more.cedar");
    fs::write(&rules, "").unwrap();
    fs::set_permissions(&rules, Permissions::from_mode(0o644)).unwrap();
    let resolved = resolve(&text).unwrap();
    let (_, bound) = resolved.policy.apply(&"acme".into(), &"ci".into(), &LIST_PREBUILDS, Draw::new(0));
    let [Quota { rate: Applied { value: rate, .. }, .. }] = &bound.quotas[..] else { panic!("{bound:?}") };
    assert_eq!((rate.calls.get(), rate.burst.get()), (7, 9));
    let followed = resolved.policy_file.unwrap();
    assert_eq!(resolved.policy.version(), followed.edition(followed.first()).unwrap().version());
    fs::set_permissions(&rules, Permissions::from_mode(0o666)).unwrap();
    assert!(said().contains("rules.files[0]: `more.cedar` must be written by its owner alone"));
    fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    assert!(said().starts_with(&format!("policy.file: `{path}` must be written by its owner alone")));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "limits.max_timeouts = \"1h\"").unwrap();
    assert!(said().starts_with(&format!("policy.file: `{path}`: limits.max_timeouts: is not a key")));
}

#[test]
fn a_key_file_that_takes_the_id_of_something_else_is_not_taken_later_either() {
    let directory = tempfile::tempdir().unwrap();
    let file = key_file(directory.path(), KEYS_EXAMPLE);
    let text = format!(
        "{GOOD}\nidentity.keys_file = \"{}\"\nidentity.jwt = [{{ id = \"idp\", issuer = \"https://idp.example.com\", \
         audiences = [\"gateway\"], jwks_url = \"https://idp.example.com/keys\", org = \"acme\" }}]",
        file.display()
    );
    let file = resolve(&text).unwrap().callers.key_file.unwrap();
    let key = |id: &str| {
        let sha256 = "0".repeat(64);
        format!(
            "[[identity.api_keys]]\nid = \"{id}\"\nsubject = \"ci\"\norg = \"acme\"\nsha256 = \"{sha256}\"\n"
        )
    };
    assert!(file.keys(&key("another")).is_ok());
    let error = file.keys(&key("idp")).unwrap_err().to_string();
    assert!(error.ends_with("identity.api_keys[0].id: id `idp` is used twice"), "{error}");
}
