//! Which level counts, and which cannot be.

use super::{Level, Levels};
use crate::rpc::{
    CREATE_PREBUILD, CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec,
};

fn levels(text: &str) -> Levels {
    toml::from_str(text).unwrap()
}

#[test]
fn the_narrowest_word_counts() {
    let levels = levels(
        "default = 'request'\n\
         [methods]\nread = 'metadata'\nListPrebuilds = 'request_response'\n\
         [orgs.acme]\ndefault = 'request_response'\nmethods = { read = 'none', GetPrebuild = 'request' }\n\
         [orgs.globex.methods]\nmutate = 'metadata'",
    );
    let expected: [(&str, &MethodSpec, Level); 9] = [
        ("initech", &CREATE_PREBUILD, Level::Request),
        ("initech", &GET_PREBUILD, Level::Metadata),
        ("initech", &LIST_PREBUILDS, Level::RequestResponse),
        ("acme", &CREATE_PREBUILD, Level::RequestResponse),
        ("acme", &LIST_PREBUILDS, Level::None),
        ("acme", &GET_PREBUILD, Level::Request),
        ("globex", &CREATE_PREBUILD, Level::Metadata),
        ("globex", &CREATE_PREBUILD_LOGS_TOKEN, Level::Request),
        ("globex", &LIST_WARM_POOLS, Level::Metadata),
    ];
    for (org, method, level) in expected {
        assert_eq!(levels.of(&org.into(), method), level, "{org} {}", method.name);
    }
    assert_eq!(Levels::default().of(&"acme".into(), &GET_PREBUILD), Level::Metadata);
}

#[test]
fn what_is_no_read_always_has_a_record() {
    let unchecked = levels("default = 'none'");
    assert_eq!(unchecked.of(&"acme".into(), &CREATE_PREBUILD), Level::Metadata);
    assert_eq!(unchecked.of(&"acme".into(), &CREATE_PREBUILD_LOGS_TOKEN), Level::Metadata);
    assert_eq!(unchecked.of(&"acme".into(), &GET_PREBUILD), Level::None);
}

#[test]
fn what_cannot_be_is_told_by_its_key() {
    let check = |text: &str| {
        levels(text).check(|org| org.as_str() == "acme").map_err(|invalid| invalid.to_string()).err()
    };
    for (text, key) in [
        ("default = 'none'", "audit.level.default: must not be `none`"),
        ("methods = { mutate = 'none' }", "audit.level.methods.mutate: must not be `none`"),
        (
            "methods = { CreatePrebuildLogsToken = 'none' }",
            "audit.level.methods.CreatePrebuildLogsToken: must not be `none`",
        ),
        ("methods = { Create = 'request' }", "audit.level.methods.Create: must be `read`"),
        ("orgs = { globex = {} }", "audit.level.orgs.globex: is the id of no org"),
        ("orgs = { acme = { default = 'none' } }", "audit.level.orgs.acme.default: must not be `none`"),
        (
            "orgs = { acme = { methods = { secret = 'none' } } }",
            "audit.level.orgs.acme.methods.secret: must not",
        ),
    ] {
        let said = check(text).unwrap_or_default();
        assert!(said.starts_with(key), "{text}: {said}");
    }
    assert_eq!(
        check("methods = { read = 'none' }\norgs = { acme = { methods = { ListPrebuilds = 'none' } } }"),
        None
    );
    assert!(toml::from_str::<Levels>("default = 'all'").is_err());
}
