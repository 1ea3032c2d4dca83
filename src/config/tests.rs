//! The shipped example, its schema, and a folder of configurations that must not start.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Config, ConfigError, Identity, Resolved, keys};
use crate::{
    audit::{self, key::SigningKey},
    front, limit, policy, server, telemetry,
    upstream::{self, Parting},
};

mod files;

const EXAMPLE: &str = include_str!("../../deploy/gateway.example.toml");
const KEYS_EXAMPLE: &str = include_str!("../../deploy/keys.example.toml");
const GOOD: &str = r#"
    identity.api_keys = [
        { id = "ci", subject = "ci", org = "acme", sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" },
    ]
    audit.directory = "audit"
    upstream.base_url = "https://app.gitpod.io/api"
    orgs = [{ id = "acme", credential = { env = "TOKEN" } }]
"#;

/// The example with what is optional switched on: a `#` right before a key. Some of it only counts with strict tenancy.
fn full_example() -> String {
    let switch_on = |line: &'static str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => key,
        _ => line,
    };
    let example = EXAMPLE.lines().map(switch_on).collect::<Vec<_>>().join("\n");
    example.replace("tenancy = \"organization\"\n", "tenancy = \"strict\"\n")
}

/// A key file as it has to be.
fn key_file(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("keys.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" | "GLOBEX_TOKEN" | "COLLECTOR_TOKEN" | "AUDIT_ACCESS_KEY_ID" | "AUDIT_SECRET_ACCESS_KEY" => {
            Some("good-token".to_owned())
        }
        "PAGE_KEY" => Some("a-page-key-of-32-bytes-and-more--".to_owned()),
        "EMPTY" => Some(String::new()),
        "TWO_LINES" => Some("first\nsecond".to_owned()),
        _ => None,
    }
}

fn resolve(text: &str) -> Result<Resolved, ConfigError> {
    Config::parse(text)?.resolve(&env)
}

fn same(section: &str, one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"), "{section}");
}

#[test]
fn the_example_resolves_with_and_without_what_is_optional() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("acme-token");
    fs::write(&token, "\n  acme-token-1 \n").unwrap();
    let page_key = directory.path().join("page-key");
    fs::write(&page_key, "acme-token-1-which-is-long-enough\n").unwrap();
    fs::set_permissions(&page_key, Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let (ca, jwks) = (directory.path().join("server.crt"), directory.path().join("jwks.json"));
    fs::write(&jwks, "{\"keys\": []}").unwrap();
    fs::set_permissions(&jwks, Permissions::from_mode(0o644)).unwrap();
    let policy = directory.path().join("policy.toml");
    fs::write(&policy, "").unwrap();
    fs::set_permissions(&policy, Permissions::from_mode(0o644)).unwrap();
    let (key, file) = (certificate(directory.path()), key_file(directory.path(), KEYS_EXAMPLE));
    let redis_password = directory.path().join("redis-password");
    fs::write(&redis_password, "acme-token-1-of-redis\n").unwrap();
    fs::set_permissions(&redis_password, Permissions::from_mode(0o600)).unwrap();
    let hash_keys = directory.path().join("hash-keys");
    fs::write(&hash_keys, "acme-token-1 CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=\n").unwrap();
    fs::set_permissions(&hash_keys, Permissions::from_mode(0o440)).unwrap();
    let signing_key = directory.path().join("audit-signing-key.pem");
    fs::write(&signing_key, SigningKey::generate().unwrap().to_pem().unwrap().expose_secret()).unwrap();
    fs::set_permissions(&signing_key, Permissions::from_mode(0o400)).unwrap();
    for (text, count) in [(EXAMPLE.to_owned(), 2), (full_example(), 4)] {
        let text = text.replace("/run/secrets/acme-token", &token.display().to_string());
        let text = text.replace("/run/secrets/page-key", &page_key.display().to_string());
        let text = text.replace("/etc/prebuild-gateway/tls", &directory.path().display().to_string());
        let text = text.replace("/etc/prebuild-gateway/keys.toml", &file.display().to_string());
        let text = text.replace("/etc/prebuild-gateway/policy.toml", &policy.display().to_string());
        let text = text.replace("/etc/prebuild-gateway/idp-ca.pem", &ca.display().to_string());
        let text = text.replace("/etc/prebuild-gateway/ci-jwks.json", &jwks.display().to_string());
        let text = text.replace("/run/secrets/audit-hash-keys", &hash_keys.display().to_string());
        let text = text.replace("/run/secrets/audit-signing-key.pem", &signing_key.display().to_string());
        let text = text.replace("/run/secrets/redis-password", &redis_password.display().to_string());
        let text = text.replace("/etc/prebuild-gateway/redis-ca.pem", &ca.display().to_string());
        // As it stands it is no cluster, and has but one server.
        let text = text.replace("nodes = [\"rediss://redis-2.example.com:6379\"]", "nodes = []");
        let resolved = resolve(&text).unwrap();
        assert_eq!(resolved.callers.keys.len(), count);
        assert_eq!(resolved.callers.certificates.all().len(), count - 2);
        let shown = format!("{resolved:?}");
        assert!(!shown.contains("acme-token-1"), "a token shows");
        assert!(!key.lines().any(|line| shown.contains(line)), "a key shows");
    }
}

/// A pair, and a CA of client certificates, as the example names them; the key.
fn certificate(directory: &Path) -> String {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = pair.signing_key.serialize_pem();
    fs::write(directory.join("server.crt"), pair.cert.pem()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    fs::write(directory.join("client-ca.crt"), ca.pem()).unwrap();
    fs::set_permissions(directory.join("client-ca.crt"), Permissions::from_mode(0o644)).unwrap();
    fs::write(directory.join("server.key"), &key).unwrap();
    fs::set_permissions(directory.join("server.key"), Permissions::from_mode(0o600)).unwrap();
    key
}

#[test]
fn the_example_has_the_defaults() {
    let example = Config::parse(EXAMPLE).unwrap();
    let least = Config::parse(GOOD).unwrap();
    same("listen", &example.listen, &least.listen);
    same("admin", &example.admin, &least.admin);
    let full = Config::parse(&full_example()).unwrap().tls.unwrap();
    let tls = server::tls::Config {
        client_ca: full.client_ca.clone(),
        client_certificates: Some(server::tls::ClientCertificates::default()),
        ..server::tls::Config::of(&full.certificate, &full.key)
    };
    same("tls", &full, &tls);
    same("tls", &(&example.tls, &least.tls), &(None::<()>, None::<()>));
    same("server", &example.server, &server::Config::default());
    same("shutdown", &example.shutdown, &server::Shutdown::default());
    same("telemetry", &example.telemetry, &telemetry::Config::default());
    same("identity", &example.identity.reload_interval, &Identity::default().reload_interval);
    same("identity", &example.identity.upstream_tokens, &Identity::default().upstream_tokens);
    same("requests", &example.requests, &front::Config::default());
    same("cors", &example.cors, &front::cors::Config::default());
    same("reflection", &example.reflection, &front::reflect::Config::default());
    same("deadline", &example.deadline, &front::deadline::Config::default());
    same("limits", &example.limits, &limit::Config::default());
    same("audit", &example.audit, &audit::Config::at(example.audit.directory.clone()));
    same("tenancy", &example.tenancy, &upstream::Mode::default());
    same("policy", &example.policy, &policy::Source::default());
    same("validation", &example.validation, &policy::Config::default());
    same("upstream", &example.upstream, &upstream::Config::at(&example.upstream.base_url));
    same("upstream", &least.upstream, &upstream::Config::at("https://app.gitpod.io/api"));
}

#[test]
fn the_example_and_the_schema_have_the_same_keys() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let mut declared = BTreeSet::new();
    properties(&schema, &schema, "", &mut declared);
    let example: Value = toml::from_str(&full_example()).unwrap();
    let mut shown = BTreeSet::new();
    names(&example, "", &mut shown);
    // The one of the two places that is not shown there, and other lengths of time than a second.
    for key in [
        "pages.key.env",
        "audit.ship[].token.file",
        "audit.ship[].access_key_id.file",
        "audit.ship[].secret_access_key.file",
        "limits.redis.password.env",
        "limits.refusals.per_minute",
        "limits.refusals.per_hour",
    ] {
        shown.insert(key.to_owned());
    }
    // What stands there in a table has the names of methods and orgs.
    shown.retain(|key| !key.starts_with("audit.level.methods.") && !key.starts_with("audit.level.orgs."));
    assert_eq!(shown, declared);
    assert!(declared.contains("orgs[].credential.env") && declared.contains("limits.refusals.burst"));
}

/// The paths of all properties: of objects, of the items of arrays, and of every alternative.
fn properties(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        properties(root, target, path, found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        properties(root, property, &path, found);
        found.insert(path);
    }
    if schema["items"].is_object() {
        properties(root, &schema["items"], &format!("{path}[]"), found);
    }
    for alternative in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema[word].as_array()).flatten()
    {
        properties(root, alternative, path, found);
    }
}

/// The same of a value.
fn names(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // Its names are the issuer's values.
        if path != "identity.jwt[].orgs" {
            names(value, &path, found);
        }
        found.insert(path);
    }
    for item in value.as_array().into_iter().flatten() {
        names(item, &format!("{path}[]"), found);
    }
}

#[test]
fn the_schema_refuses_unknown_keys_everywhere() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let definitions = schema["$defs"].as_object().unwrap().iter();
    for (name, definition) in definitions.chain([(&"Config".to_owned(), &schema)]) {
        if definition["properties"].is_object() {
            assert_eq!(definition["additionalProperties"], json!(false), "{name}");
        }
    }
}

#[test]
fn every_bad_configuration_says_in_one_line_what_is_wrong() {
    let files = bad_configs();
    // Version control does not keep modes.
    let folders = ["cas", "jwks"].map(|folder| Path::new("tests/bad-configs").join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    for file in entries.map(|entry| entry.unwrap().path()) {
        let mode = if file.ends_with("jwks/writable.json") { 0o664 } else { 0o644 };
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    for file in ["keys", "tokens"].iter().flat_map(|folder| {
        let entries = fs::read_dir(Path::new("tests/bad-configs").join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    }) {
        let mode = if file.ends_with("open") { 0o644 } else { 0o600 };
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    assert!(files.len() >= 100, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).unwrap();
        let said = resolve(&text).map(|_| ()).unwrap_err().to_string();
        if said != expected || said.contains('\n') {
            wrong.push(format!("{}\n  expected {expected}\n  said     {said}", file.display()));
        }
        let shown = said.replace("`secret`", "the scope of that name");
        assert!(!shown.contains("secret"), "{}: a secret shows: {said}", file.display());
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn bad_configs() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-configs");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn what_the_bad_ones_are_made_from_is_good() {
    let resolved = resolve(GOOD).unwrap();
    assert!(resolved.policy_file.is_none());
    for good in [
        "listen = \"0.0.0.0:0\"\nadmin = \"0.0.0.0:0\"\nserver.plaintext = true",
        "listen = \"[::1]:8080\"",
        "listen = \"[::ffff:127.0.0.1]:8080\"",
        "deadline = { default = \"24h\", max = \"24h\" }",
        "limits = { refusals = { per_second = 1000000, burst = 1000000 }, in_flight = 1 }",
        "requests = { max_bytes = 4194304, unknown_fields = \"drop\" }",
        "cors.origins = [\"https://console.example.com\", \"http://localhost:3000\"]",
        "cors.origins = [\"*\"]",
        "upstream.mutation_timeout = \"1h\"",
        "upstream.request_metadata = [\"x-team\", \"x-trace-bin\"]",
        "telemetry.level = \"warn,prebuild_gateway=debug\"",
        "identity.upstream_tokens = { enabled = true, ttl = \"10min\", refused_ttl = \"599s\", scopes = [\"read\"] }",
    ] {
        resolve(&format!("{good}\n{GOOD}")).unwrap();
    }
    for url in ["http://127.0.0.1:8081/api", "http://[::1]:8081", "http://localhost", "https://a.example/"] {
        resolve(&GOOD.replace("https://app.gitpod.io/api", url)).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("none/gateway.toml")).unwrap_err();
    assert_eq!(error.to_string(), "none/gateway.toml: cannot be read: entity not found");
}

#[test]
fn a_key_file_adds_to_the_keys_and_may_be_the_only_place() {
    let directory = tempfile::tempdir().unwrap();
    let entry = "[[identity.api_keys]]\nid = 'b'\nsubject = 'ci'\norg = 'acme'\n\
                 sha256 = '60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752'\n";
    let line = |text: &str| format!("identity.keys_file = {:?}", key_file(directory.path(), text));
    let both = resolve(&format!("{}\n{GOOD}", line(entry))).unwrap();
    assert_eq!((both.callers.keys.len(), both.callers.key_file.unwrap().first()), (2, entry));
    let alone: String = GOOD.lines().filter(|line| !line.contains("sha256")).collect::<Vec<_>>().join("\n");
    assert_eq!(resolve(&format!("{}\n{alone}", line(entry))).unwrap().callers.keys.len(), 1);
    // The last key can be taken away, too, in so many words.
    let none = resolve(&format!("{}\n{alone}", line("identity.api_keys = []"))).unwrap();
    assert!(none.callers.keys.is_empty());
    assert!(resolve(GOOD).unwrap().callers.key_file.is_none());
}

#[test]
fn a_key_file_is_closed_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = key_file(directory.path(), "identity.api_keys = []");
    let text = format!("identity.keys_file = {file:?}\n{GOOD}");
    fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
    let error = resolve(&text).unwrap_err();
    assert_eq!(error.key, "identity.keys_file");
    assert!(error.problem.contains("must be closed to others"), "{error}");
}

#[test]
fn the_example_of_a_key_file_is_one() {
    let entries = keys::entries(KEYS_EXAMPLE).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().any(|entry| entry.expires.is_some()), "it shows an expiry");
    assert!(entries.iter().any(|entry| entry.scopes.len() == 2), "it shows scopes");
}

#[test]
fn with_tokens_of_upstreams_own_no_key_is_needed() {
    let alone: String = GOOD.lines().filter(|line| !line.contains("sha256")).collect::<Vec<_>>().join("\n");
    resolve(&format!("identity.upstream_tokens.enabled = true\n{alone}")).unwrap();
    let error = resolve(&format!("identity.upstream_tokens.enabled = false\n{alone}")).unwrap_err();
    assert_eq!(error.key, "identity.api_keys");
}

#[test]
fn certificates_may_be_the_only_way_to_be_known() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    let alone: String = GOOD.lines().filter(|line| !line.contains("sha256")).collect::<Vec<_>>().join("\n");
    let file = |name: &str| directory.path().join(name);
    let text = format!(
        "tls = {{ certificate = {:?}, key = {:?}, client_ca = {:?} }}\nidentity.certificates = \
         [{{ id = 'ci', subject = 'ci', org = 'acme', dns_name = 'CI.example.com' }}]\n{alone}",
        file("server.crt"),
        file("server.key"),
        file("client-ca.crt")
    );
    let resolved = resolve(&text).unwrap();
    assert!(resolved.callers.keys.is_empty());
    assert_eq!(resolved.callers.certificates.all()[0].1, "ci.example.com");
}

#[test]
fn an_org_may_say_what_upstream_calls_it() {
    assert!(resolve(GOOD).unwrap().way.organizations.is_empty());
    let own = "upstream_organization_id = \"0198c0de-0000-7000-8000-000000000001\", credential";
    let organizations = resolve(&GOOD.replace("credential", own)).unwrap().way.organizations;
    assert_eq!(organizations, [("acme".into(), "0198c0de-0000-7000-8000-000000000001".to_owned())]);
}

#[test]
fn orgs_that_share_a_credential_are_parted_by_their_projects() {
    let (one, other) = ("0198c0de-0000-7000-8000-0000000000a1", "0198C0DE-0000-7000-8000-0000000000B1");
    let sharing = GOOD.replace(
        r#"orgs = [{ id = "acme", credential = { env = "TOKEN" } }]"#,
        &format!(
            r#"tenancy = "strict"
            pages.key = {{ env = "PAGE_KEY" }}
            orgs = [
                {{ id = "acme", credential = {{ env = "TOKEN" }}, projects = ["{one}"] }},
                {{ id = "globex", credential = {{ env = "TOKEN" }}, projects = ["{other}"] }},
            ]"#
        ),
    );
    let Parting::ByProject { holdings, .. } = resolve(&sharing).unwrap().way.parting else {
        panic!("they are not parted")
    };
    assert_eq!(holdings[&"acme".into()].projects, [one.parse().unwrap()].into());
    assert_eq!(holdings[&"globex".into()].projects, [other.parse().unwrap()].into());
    assert!(holdings.values().all(|holding| holding.classes.is_empty()));
    assert!(matches!(resolve(GOOD).unwrap().way.parting, Parting::ByOrganization));
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("deploy/Dockerfile")).unwrap();
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let mut copied = 0;
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY") && !line.contains("--from")) {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(root.join(source).exists(), "{source} is not there");
            assert!(ignore.lines().any(|kept| kept == format!("!{source}")), "{source} is ignored");
            copied += 1;
        }
    }
    assert_eq!(copied, ignore.lines().filter(|line| line.starts_with('!')).count());
    let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).unwrap();
    assert!(dockerfile.contains("--profile dist --locked"));
    assert!(manifest["profile"]["dist"].is_table(), "no such profile");
    for line in [
        "USER 65532:65532",
        "EXPOSE 8080 9090",
        "ENTRYPOINT [\"prebuild-gateway\"]",
        "CMD [\"serve\", \"--config\", \"/etc/prebuild-gateway/gateway.toml\"]",
        "VOLUME /var/lib/prebuild-gateway/audit",
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
    let example = Config::parse(EXAMPLE).unwrap();
    assert_eq!(example.audit.directory, Path::new("/var/lib/prebuild-gateway/audit"));
}
