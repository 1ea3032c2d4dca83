//! The commands as an operator types them: output, exit codes, signals.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[path = "../src/audit/tests/read.rs"]
mod audit;
#[path = "cli/check.rs"]
mod check;
#[path = "cli"]
mod cli {
    mod canaries;
    mod explain;
    mod guardrails;
    mod listening;
    mod organizations;
    mod policy;
    mod policy_tests;
    mod replay;
    mod unread;
    mod upstream_tokens;
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_prebuild-gateway");
/// No test waits longer for a process; a busy machine is given time.
const PATIENCE: Duration = Duration::from_secs(60);
const EX_CONFIG: i32 = 78;
/// 64 plus the gRPC status code.
const INVALID_ARGUMENT: i32 = 64 + 3;
const UNAUTHENTICATED: i32 = 64 + 16;

const GOOD: &str = r#"
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
identity.api_keys = [
    { id = "ci", subject = "ci", org = "acme", sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" },
]
audit.directory = "AUDIT"
upstream.base_url = "http://127.0.0.1:1/api"
orgs = [{ id = "acme", credential = { env = "TOKEN" } }]
"#;

/// A command of ours with an environment of its own.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("TOKEN", "good-token").stdin(Stdio::null());
    for variable in ["PREBUILD_GATEWAY_ADDRESS", "PREBUILD_GATEWAY_KEY"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A process that runs until it is told to stop, or until the test ends.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Reads what it prints on standard output or, as `serve` does, on standard error.
    fn start(mut command: Command, stderr: bool) -> Self {
        let (out, err) =
            if stderr { (Stdio::null(), Stdio::piped()) } else { (Stdio::piped(), Stdio::null()) };
        let mut child = command.stdout(out).stderr(err).spawn().unwrap();
        let output: Box<dyn Read + Send> = match stderr {
            true => Box::new(child.stderr.take().unwrap()),
            false => Box::new(child.stdout.take().unwrap()),
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            let printed = BufReader::new(output).lines().map_while(Result::ok);
            printed.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Self { child, lines }
    }

    /// `dev` on any ports, where no certificates are installed.
    fn dev(arguments: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let mut dev = command(&["dev", "--listen", any, "--admin", any, "--sandbox", any]);
        dev.args(arguments).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        // Its audit log goes where a build leaves its own.
        dev.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
        // As typed in the directory where it lies.
        dev.arg0("./prebuild-gateway");
        Self::start(dev, false)
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The lines up to one that contains `last`.
    fn lines_to(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(last)) {
            lines.push(self.line());
        }
        lines
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        // The output ends with the process.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        assert!(
            self.lines.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Disconnected)
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A file that others cannot read.
fn write_closed(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_configuration_that_others_can_read_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    write_closed(&config, GOOD);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    for name in ["check", "serve"] {
        let output = run(&[name, "--config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(EX_CONFIG));
        let expected = format!("prebuild-gateway: {}: must be closed to others", config.display());
        assert!(text(&output.stderr).starts_with(&expected), "{}", text(&output.stderr));
    }
}

/// What `keys new` prints: the key, and the entry that follows.
fn new_key(arguments: &[&str]) -> (String, String) {
    let output = run(&[&["keys", "new"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let key = printed.lines().find_map(|line| line.strip_prefix("key ")).unwrap();
    let key = key.split_whitespace().next().unwrap().to_owned();
    let hash: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = &printed[printed.find("[[identity.api_keys]]").unwrap()..];
    assert!(entry.contains(&format!("sha256 = \"{hash}\"\n")) && !entry.contains(&key), "{printed}");
    (key, entry.to_owned())
}

/// New keys go into the config and into the key file as they are printed, and `check` says whose they are.
#[test]
fn a_new_keys_entry_is_taken_as_it_is_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let (config, keys) = (directory.path().join("gateway.toml"), directory.path().join("keys.toml"));
    let (_, written) = new_key(&["--id", "a", "--subject", "ci@example.com", "--org", "acme"]);
    let limits = ["--scopes", "read,CreatePrebuild", "--expires", "2030-01-31T00:00:00Z"];
    let (_, narrow) = new_key(&[&["--id", "b", "--subject", "ci", "--org", "acme"][..], &limits].concat());
    let (_, past) =
        new_key(&["--id", "c", "--subject", "ci", "--org", "acme", "--expires", "2020-01-01T00:00:00+01:00"]);
    let (head, tail) = GOOD.split_once("identity.api_keys").unwrap();
    let rest = &tail[tail.find(']').unwrap() + 2..];
    write_closed(&config, format!("{head}identity.keys_file = {keys:?}\n{rest}\n{written}"));
    fs::write(&keys, format!("{narrow}\n{past}")).unwrap();
    let check = || run(&["check", "--config", config.to_str().unwrap()]);

    let output = check();
    assert_eq!(output.status.code(), Some(EX_CONFIG), "others can read the file");
    assert!(text(&output.stderr).starts_with("prebuild-gateway: identity.keys_file: "));

    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let callers: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(
        callers,
        [
            "  org acme, subject ci, key b: read, CreatePrebuild; expires 2030-01-31T00:00:00Z",
            "  org acme, subject ci, key c: read, mutate, secret; expired 2020-01-01T00:00:00+01:00",
            "  org acme, subject ci@example.com, key a: read, mutate, secret; does not expire",
        ]
    );
    for entry in [written, narrow, past] {
        let hash = entry.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap();
        assert!(!said.contains(&hash[..8]), "{said}");
    }
}

#[test]
fn a_new_key_is_another_each_time_and_refuses_what_no_gateway_would_take() {
    let ((one, first), (other, second)) = (new_key(&[]), new_key(&[]));
    assert_ne!(one, other);
    let id = |entry: &str| entry.lines().find(|line| line.starts_with("id = ")).unwrap().to_owned();
    assert_ne!(id(&first), id(&second));
    for (arguments, expected) in [
        (["--scopes", "write"], "identity.api_keys[0].scopes[0]: must be `read`"),
        (["--expires", "soon"], "identity.api_keys[0].expires: must be a time"),
        (["--subject", "two words"], "identity.api_keys[0].subject: must be 1 to 255"),
        (["--id", "a/b"], "identity.api_keys[0].id: must be 1 to 64"),
    ] {
        let output = run(&[&["keys", "new"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn call_without_a_gateway_says_so() {
    let output = run(&["call", "ListPrebuilds", "--address", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "prebuild-gateway: no connection to http://127.0.0.1:1\n");
    for (arguments, expected) in [
        (&["call", "ListPrebuilds", "{"][..], "the request is no gitpod.v1.ListPrebuildsRequest"),
        (&["call", "ListPrebuilds", r#"{"filtre": {}}"#], "gitpod.v1.ListPrebuildsRequest has no `filtre`"),
        (&["call", "ListPrebuilds", "--address", "no address"], "is not an address"),
        (
            &["call", "ListPrebuilds", "--ca-file", "ca.pem"],
            "--ca-file and --certificate need an https address",
        ),
        (
            &["call", "ListPrebuilds", "--certificate", "a.crt", "--certificate-key", "a.key"],
            "--ca-file and --certificate need an https address",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    assert_eq!(run(&["call", "NoSuchMethod"]).status.code(), Some(2));
}

#[test]
fn dev_tells_scripts_where_it_is_answers_and_ends() {
    let dev = Running::dev(&["--print", "json"]);
    let running: Value = serde_json::from_str(&dev.line()).unwrap();
    assert_eq!(running["orgs"].as_array().unwrap().len(), 2);
    let (address, key) = (running["gateway"].as_str().unwrap(), running["orgs"][0]["key"].as_str().unwrap());
    let call = |key: &str, json: &str| {
        run(&["call", "ListPrebuilds", json, "--address", &format!("http://{address}"), "--key", key])
    };

    let output = call(key, "{}");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(serde_json::from_slice::<Value>(&output.stdout).unwrap().is_object());

    let output = call("wrong", "{}");
    assert_eq!(output.status.code(), Some(UNAUTHENTICATED));
    assert!(text(&output.stderr).starts_with("UNAUTHENTICATED: missing or unknown credentials\n"));

    let output = call(key, r#"{"pagination": {"pageSize": 101}}"#);
    assert_eq!(output.status.code(), Some(INVALID_ARGUMENT));
    let said = text(&output.stderr);
    assert!(said.contains("GUARDRAIL") && said.contains("pagination.page_size"), "{said}");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn the_commands_that_dev_prints_work_when_pasted() {
    let dev = Running::dev(&["--step", "1ms"]);
    let lines = dev.lines_to("Ctrl-C ends it.");
    let mut commands =
        lines.iter().skip_while(|line| !line.starts_with("export ")).take_while(|line| !line.is_empty());
    let export = commands.next().unwrap();
    let paste = |command: &str| {
        let script = format!("{export}\n{command}");
        let mut sh = Command::new("sh");
        // Another terminal is in another directory.
        let output = sh.args(["-c", &script]).current_dir("/").stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let mut refused = 0;
    let mut calls = 0;
    for command in commands {
        let (code, said) = paste(command);
        let over_the_bound = command.contains("7201s") || command.contains("\"maxSize\":21");
        if over_the_bound && command.contains(" call Create") {
            assert_eq!(code, INVALID_ARGUMENT, "{command}\n{said}");
            assert!(said.contains("GUARDRAIL"), "{said}");
            refused += 1;
        } else {
            assert_eq!(code, 0, "{command}\n{said}");
        }
        calls += 1;
        if command.contains(" audit tail ") {
            for stage in ["intent", "outcome", "reject"] {
                assert!(said.contains(&format!("\"stage\":\"{stage}\"")), "no {stage}: {said}");
            }
        }
    }
    assert_eq!((calls, refused), (8, 2));
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_missing_certificate_store_is_not_blamed_on_the_ca_file() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    let audit = directory.path().join("audit");
    fs::create_dir(&audit).unwrap();
    let good = GOOD.replace("AUDIT", audit.to_str().unwrap());
    write_closed(&config, good.replace("http://127.0.0.1:1", "https://127.0.0.1:1"));
    for name in ["check", "serve"] {
        let mut command = command(&[name, "--config", config.to_str().unwrap()]);
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(EX_CONFIG), "{name}: {said}");
        assert!(said.contains("upstream: the platform's root certificates"), "{name}: {said}");
    }
}

#[test]
fn serve_serves_until_sigterm_and_refuses_an_audit_log_it_cannot_open() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    let audit = directory.path().join("audit");
    write_closed(&config, GOOD.replace("AUDIT", audit.to_str().unwrap()));
    let serve = Running::start(command(&["serve", "--config", config.to_str().unwrap()]), true);
    serve.lines_to("\"serving\"");
    assert!(audit.join("hash-keys").exists());
    assert_eq!(serve.stop(), Some(0));

    write_closed(&config, GOOD.replace("AUDIT", config.to_str().unwrap()));
    let output = run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(EX_CONFIG));
    assert!(text(&output.stderr).contains("prebuild-gateway: audit.directory: cannot open the audit log"));
}

/// A gateway behind TLS, its folder, and its address once it serves.
fn serve_with_tls(directory: &Path) -> (Running, String) {
    let config = directory.join("gateway.toml");
    let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
    let good = GOOD.replace("AUDIT", directory.join("audit").to_str().unwrap());
    let tls = format!(
        "tls = {{ certificate = '{}', key = '{}', reload_interval = '1h' }}",
        certificate.display(),
        key.display()
    );
    write_closed(&config, format!("{tls}\n{good}"));
    let serve = Running::start(command(&["serve", "--config", config.to_str().unwrap()]), true);
    let lines = serve.lines_to("\"serving\"");
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let address = line["gateway"].as_str().or(line["fields"]["gateway"].as_str()).unwrap();
    (serve, format!("https://{address}"))
}

/// A pair for `127.0.0.1`.
fn certify(directory: &Path) {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = directory.join("server.key");
    fs::write(directory.join("server.crt"), pair.cert.pem()).unwrap();
    fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn call_speaks_tls_and_sighup_brings_a_new_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    certify(directory);
    let (serve, address) = serve_with_tls(directory);
    let (trusted, old) = (directory.join("server.crt"), directory.join("old.crt"));
    fs::copy(&trusted, &old).unwrap();
    let call =
        |ca: &Path| run(&["call", "ListPrebuilds", "--address", &address, "--ca-file", ca.to_str().unwrap()]);
    assert_eq!(call(&old).status.code(), Some(UNAUTHENTICATED), "{}", text(&call(&old).stderr));

    certify(directory);
    let id = serve.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    serve.lines_to("what the file holds now is in force");
    assert_eq!(call(&trusted).status.code(), Some(UNAUTHENTICATED));
    let refused = call(&old);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains(&format!("no connection to {address}: invalid peer certificate")), "{said}");

    let output = call(Path::new("/nonexistent"));
    assert!(text(&output.stderr).contains("the CA file `/nonexistent` cannot be read"));
    assert_eq!(serve.stop(), Some(0));
}

#[test]
fn a_key_that_others_can_read_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let (serve, _) = serve_with_tls(directory.path());
    assert_eq!(serve.stop(), Some(0));
    let key = directory.path().join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for name in ["check", "serve"] {
        let output = run(&[name, "--config", directory.path().join("gateway.toml").to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(EX_CONFIG));
        let said = text(&output.stderr);
        assert!(said.starts_with("prebuild-gateway: tls.key: ") && said.lines().count() == 1, "{said}");
    }
}
