//! The commands as an operator types them.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use prebuild_gateway::audit::{
    hash::Keys,
    key::{SigningKey, VerifierKey},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::forge::{Forge, file, request_id, small};

const PROGRAM: &str = env!("CARGO_BIN_EXE_prebuild-gateway");

fn audit(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    let (verb, rest) = arguments.split_first().unwrap();
    command.args(["audit", verb]).arg(directory).args(rest).stdin(Stdio::null()).output().unwrap()
}

/// Exit code and output.
fn told(output: Output) -> (i32, String) {
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn good(directory: &Path, arguments: &[&str]) -> String {
    let (code, text) = told(audit(directory, arguments));
    assert_eq!(code, 0, "{text}");
    text
}

/// Two instances in a directory, and what is kept elsewhere.
fn two() -> (TempDir, [Forge; 2], TempDir) {
    let (logs, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let forges = [small("gateway-0"), small("gateway-1")];
    for forge in &forges {
        forge.store(logs.path());
        fs::write(elsewhere.path().join(&forge.name), forge.note()).unwrap();
        fs::write(elsewhere.path().join(format!("{}.pem", forge.name)), forge.key.public().to_pem()).unwrap();
    }
    let keys = forges.iter().map(|forge| format!("{}\n", forge.verifier()));
    fs::write(elsewhere.path().join("keys"), keys.collect::<String>()).unwrap();
    (logs, forges, elsewhere)
}

#[test]
fn verify_says_what_is_good_and_how_far() {
    let (logs, forges, elsewhere) = two();
    let text = good(logs.path(), &["verify"]);
    let next = forges[0].next();
    for part in [
        &format!("gateway-0: consistent up to {next}:"),
        &format!("gateway-1: signed up to {} ", next - 1),
        "gateway-0: good; roll-back not excluded",
        "gateway-1: the key is the one beside the log: this proves nothing",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let at = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let kept = [at("gateway-0"), at("gateway-1")];
    let keys = at("keys");
    let all = ["verify", "--public-key", &keys, "--checkpoint", &kept[0], "--checkpoint", &kept[1]];
    let text = good(logs.path(), &all);
    assert_eq!(text.matches("good, and not rolled back").count(), 2, "{text}");
    assert!(!text.contains("proves nothing") && !text.contains("not excluded"), "{text}");
    let one = logs.path().join("gateway-1");
    good(&one, &["verify", "--public-key", &at("gateway-1.pem"), "--checkpoint", &kept[1]]);
    // The key of another log, a checkpoint of another log, and one of a log that is gone.
    assert_eq!(told(audit(&one, &["verify", "--public-key", &at("gateway-0.pem")])).0, 1);
    assert_eq!(told(audit(&one, &["verify", "--checkpoint", &kept[0]])).0, 1);
    fs::remove_dir_all(logs.path().join("gateway-0")).unwrap();
    let (code, text) = told(audit(logs.path(), &all));
    assert_eq!(code, 1);
    assert!(text.contains("gateway-0: BAD: the log of this checkpoint is not there"), "{text}");
}

/// As `audit.checkpoints` has it: each log has a file of its own.
#[test]
fn verify_takes_a_directory_of_checkpoints() {
    let (logs, forges, elsewhere) = two();
    let kept = elsewhere.path().join("checkpoints");
    fs::create_dir(&kept).unwrap();
    for forge in &forges {
        fs::write(kept.join(&forge.name), forge.note()).unwrap();
    }
    fs::write(kept.join(".gateway-0.new"), "not whole").unwrap();
    let kept = kept.to_str().unwrap();
    let text = good(logs.path(), &["verify", "--checkpoint", kept]);
    assert_eq!(text.matches("good, and not rolled back").count(), 2, "{text}");
    // Of one log by itself, whatever its directory is called.
    let copy = logs.path().join("copy");
    fs::rename(logs.path().join("gateway-1"), &copy).unwrap();
    assert!(good(&copy, &["verify", "--checkpoint", kept]).contains("good, and not rolled back"));
    fs::rename(copy, elsewhere.path().join("gone")).unwrap();
    let (code, text) = told(audit(logs.path(), &["verify", "--checkpoint", kept]));
    assert_eq!((code, text.contains("gateway-1: BAD: the log of this checkpoint")), (1, true), "{text}");
}

#[test]
fn a_log_without_a_record_is_not_good() {
    let (logs, _, elsewhere) = two();
    for entry in fs::read_dir(logs.path().join("gateway-1")).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().ends_with(".jsonl") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    // Nor does what is beside the logs hide any of them.
    fs::copy(elsewhere.path().join("keys"), logs.path().join("key.pub")).unwrap();
    let (code, text) = told(audit(logs.path(), &["verify"]));
    assert_eq!(code, 1);
    assert!(text.contains("gateway-0: good;") && text.contains("gateway-1: BAD: record 0 in "), "{text}");
}

#[test]
fn verify_names_the_first_bad_record() {
    let (logs, mut forges, _elsewhere) = two();
    let segment = &mut forges[1].segments[2];
    let text = String::from_utf8(segment.lines[3].clone()).unwrap();
    segment.lines[3] = text.replace("subject-", "Subject-").into_bytes();
    let (bad, name) = (segment.first + 3, file(segment.first));
    forges[1].store(logs.path());
    let (code, text) = told(audit(logs.path(), &["verify"]));
    assert_eq!(code, 1);
    assert!(text.contains("gateway-0: good"), "{text}");
    assert!(text.contains(&format!("gateway-1: BAD: record {bad} in ")), "{text}");
    assert!(text.contains(&name) && text.contains("altered"), "{text}");
}

#[test]
fn verify_says_what_was_signed_and_is_lost() {
    let (logs, mut forges, _elsewhere) = two();
    let signed = forges[1].next();
    forges[1].segment_after_loss(signed - 3, signed - 1);
    forges[1].checkpoint();
    forges[1].store(logs.path());
    let (code, text) = told(audit(logs.path(), &["verify"]));
    assert_eq!(code, 1);
    let range = format!("records {} to {} were signed and are gone", signed - 3, signed - 2);
    assert!(text.contains(&format!("gateway-1: LOST: {range}")), "{text}");
    assert!(text.contains("gateway-0: good") && !text.contains("gateway-1: good"), "{text}");
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let (logs, _, elsewhere) = two();
    let nothing = elsewhere.path().join("nothing").to_str().unwrap().to_owned();
    let key = elsewhere.path().join("keys").to_str().unwrap().to_owned();
    for arguments in [
        vec!["verify", "--public-key", &nothing],
        vec!["verify", "--checkpoint", &nothing],
        vec!["verify", "--checkpoint", &key],
        vec!["verify", "--misspelt"],
        vec!["find", "--since", "yesterday"],
        vec!["prove"],
        vec!["prove", "--record", "1", "--between", &key],
        vec!["prove", "--record", "1"],
        vec!["prove", "--record", "1", "--instance", "gateway-7"],
    ] {
        let (code, text) = told(audit(logs.path(), &arguments));
        assert_eq!(code, 2, "{arguments:?}: {text}");
    }
    for verb in ["verify", "tail", "find", "stats"] {
        let (code, text) = told(audit(elsewhere.path(), &[verb]));
        assert_eq!((code, text.contains("there is no audit log")), (1, true), "{verb}: {text}");
    }
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn find_joins_the_instances_by_time() {
    let (logs, forges, _elsewhere) = two();
    let all = records(&good(logs.path(), &["find"]));
    assert_eq!(all.len() as u64, 2 * forges[0].next());
    assert!(all.is_sorted_by_key(|record| record["time"].as_u64()));
    for (arguments, count) in [
        (vec!["--request-id", &*request_id(7)], 4),
        (vec!["--value", &*request_id(7)], 4),
        (vec!["--value", &*request_id(7).to_uppercase()], 4),
        (vec!["--value", "0198c0de"], 0),
        (vec!["--org", "org-1", "--stage", "intent"], 2 * 23),
        (vec!["--subject", "subject-3", "--stage", "intent"], 2 * 11),
        (vec!["--code", "NOT_FOUND"], 2 * 15),
        (vec!["--method", "CreatePrebuild"], 2 * 90),
        (vec!["--method", "gitpod.v1.PrebuildService/CreatePrebuild"], 2 * 90),
        (vec!["--method", "Prebuild"], 0),
        (vec!["--stage", "checkpoint"], 2 * 11),
        (vec!["--since", "2026-11-30T00:53:30Z", "--until", "2026-11-30T00:53:32Z"], 2 * 2),
        (vec!["--since", "1h"], 0),
    ] {
        let found = records(&good(logs.path(), &[vec!["find"], arguments.clone()].concat()));
        assert_eq!(found.len(), count, "{arguments:?}");
    }
}

/// What is not printable ASCII is escaped in the log.
#[test]
fn find_knows_a_value_in_any_script() {
    let (logs, mut forges, _elsewhere) = two();
    forges[0].record("outcome", &json!({}), json!({ "actor": { "user": { "uid": "@@" } } }));
    let last = forges[0].segments.last_mut().unwrap().lines.last_mut().unwrap();
    *last = String::from_utf8(last.clone()).unwrap().replace("@@", "Zo\\u00eb").into_bytes();
    forges[0].store(logs.path());
    assert_eq!(records(&good(logs.path(), &["find", "--value", "Zo\u{eb}"])).len(), 1);
}

/// Also after the keys were rotated, and by keys that stand elsewhere.
#[test]
fn find_knows_a_value_by_its_keyed_hash() {
    let (logs, mut forges, elsewhere) = two();
    let path = Keys::beside(logs.path());
    let keys = |text: &str, path: &Path| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        Keys::read(path).unwrap()
    };
    let (first, second) = (format!("a {}=\n", "A".repeat(43)), format!("b {}=\n", "E".repeat(43)));
    for text in [first.clone(), format!("{first}{second}")] {
        let token = keys(&text, &path).digest("a page token");
        assert!(!token.contains("page"));
        forges[0].record("outcome", &json!({ "token": token }), json!({}));
    }
    forges[0].store(logs.path());
    let find = |more: &[&str]| {
        records(&good(logs.path(), &[&["find", "--value", "a page token"], more].concat())).len()
    };
    assert_eq!(find(&[]), 2);
    keys(&second, &path);
    assert_eq!(find(&[]), 1, "what an older key has hashed is found by it alone");
    let kept = elsewhere.path().join("hash-keys");
    keys(&first, &kept);
    assert_eq!(find(&["--hash-keys", kept.to_str().unwrap()]), 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(find(&[]), 0);
    let nothing = elsewhere.path().join("nothing");
    let (code, _) =
        told(audit(logs.path(), &["find", "--value", "x", "--hash-keys", nothing.to_str().unwrap()]));
    assert_eq!(code, 2);
}

#[test]
fn tail_shows_the_newest_and_those_that_come() {
    let (logs, mut forges, _elsewhere) = two();
    let next = forges[0].next();
    let numbers = |text: &str| -> Vec<_> {
        records(text).iter().map(|record| record["metadata"]["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&good(logs.path(), &["tail", "-n", "3"])), [next - 2, next - 1, next - 1]);
    assert_eq!(numbers(&good(logs.path(), &["tail"])).len(), 10);
    assert_eq!(numbers(&good(logs.path(), &["tail", "-n", "100000"])).len() as u64, 2 * next);
    let mut command = Command::new(PROGRAM);
    command.args(["audit", "tail", "-n", "1", "--follow"]).arg(logs.path().join("gateway-0"));
    let mut tail = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut number = || numbers(&lines.next().unwrap().unwrap())[0];
    assert_eq!(number(), next - 1);
    // In the same file, in two pieces, and in the next one.
    forges[0].call();
    let segment = &forges[0].segments[4];
    let path = logs.path().join("gateway-0").join(file(segment.first));
    let mut written = OpenOptions::new().append(true).open(path).unwrap();
    let (intent, outcome) =
        (&segment.lines[segment.lines.len() - 2], &segment.lines[segment.lines.len() - 1]);
    written.write_all(&[intent.as_slice(), &outcome[..100]].concat()).unwrap();
    assert_eq!(number(), next);
    written.write_all(&outcome[100..]).unwrap();
    assert_eq!(number(), next + 1);
    forges[0].segment();
    forges[0].store(logs.path());
    assert_eq!(number(), next + 2);
    // It ends when nobody reads any more.
    drop(lines);
    forges[0].call();
    forges[0].store(logs.path());
    let ended = (0..300).any(|_| {
        thread::sleep(Duration::from_millis(100));
        tail.try_wait().unwrap().is_some()
    });
    tail.kill().unwrap();
    assert!(ended && tail.wait().unwrap().success());
}

/// What is written again behind a file that failed is not shown twice.
#[test]
fn tail_shows_no_void_record() {
    let (logs, mut forges, _elsewhere) = two();
    let trusted = forges[0].next();
    forges[0].call();
    let void = forges[0].next();
    forges[0].segment_after_failure(trusted);
    forges[0].call();
    forges[0].store(logs.path());
    for count in ["4", "100"] {
        let shown = records(&good(&logs.path().join("gateway-0"), &["tail", "-n", count]));
        let numbers: Vec<_> =
            shown.iter().map(|record| record["metadata"]["sequence"].as_u64().unwrap()).collect();
        assert_eq!(numbers[numbers.len() - 4..], [trusted - 1, void, void + 1, void + 2], "{count}");
    }
}

#[test]
fn stats_counts() {
    let (logs, mut forges, _elsewhere) = two();
    let open = forges[1].next();
    forges[1].intent();
    forges[1].store(logs.path());
    let text = good(logs.path(), &["stats"]);
    let (_, second) = text.split_once("gateway-1\n").unwrap();
    for part in [
        format!("records      {}\n", open + 1),
        format!("checkpoint   of {} records\n", open - 1),
        format!("open intents 1, the oldest is record {open}\n"),
        "        46  intent\n".to_owned(),
        "        45  gitpod.v1.PrebuildService/CreatePrebuild\n".to_owned(),
        "        15  NOT_FOUND\n".to_owned(),
    ] {
        assert!(second.contains(&part), "{part} in {second}");
    }
}

#[test]
fn prove_prints_what_can_be_checked_elsewhere() {
    let (logs, mut forges, elsewhere) = two();
    let text = good(logs.path(), &["prove", "--record", "41", "--instance", "gateway-1"]);
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{text}");
    assert!(text.contains("\nindex 41\n") && text.contains("\naudit.example.com/gateway-1\n"), "{text}");
    forges[0].call();
    forges[0].checkpoint();
    forges[0].store(logs.path());
    let old = elsewhere.path().join("gateway-0").to_str().unwrap().to_owned();
    let text = good(logs.path(), &["prove", "--between", &old]);
    assert!(text.starts_with(&format!("old {}\n", forges[0].next() - 3)), "{text}");
    // Of a log that is bad nothing is proven.
    forges[0].segments[1].lines.remove(4);
    forges[0].store(logs.path());
    assert_eq!(told(audit(logs.path(), &["prove", "--record", "1", "--instance", "gateway-0"])).0, 1);
    let behind = forges[1].next().to_string();
    let (code, text) = told(audit(logs.path(), &["prove", "--record", &behind, "--instance", "gateway-1"]));
    assert_eq!((code, text.contains("no checkpoint")), (1, true), "{text}");
}

/// Each line, by a shell, where its files are.
#[test]
fn the_readme_can_be_followed() {
    let (logs, mut forges, elsewhere) = two();
    forges[0].checkpoint();
    forges[0].store(logs.path());
    fs::rename(elsewhere.path().join("gateway-0"), elsewhere.path().join("kept")).unwrap();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("### Reading and checking it").nth(1).unwrap();
    let block = section.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let lines: Vec<_> =
        block.lines().map(|line| line.strip_prefix("$ prebuild-gateway audit ").unwrap()).collect();
    let verbs = ["keygen", "key", "verify", "tail", "find", "stats", "prove"];
    assert!(verbs.iter().all(|verb| lines.iter().any(|line| line.starts_with(verb))), "{lines:?}");
    for line in lines {
        let line = line.replace("/var/lib/prebuild-gateway/audit", logs.path().to_str().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{PROGRAM} audit {line}")]).current_dir(elsewhere.path());
        let (code, text) = told(shell.stdin(Stdio::null()).output().unwrap());
        assert_eq!(code, 0, "{line}: {text}");
    }
    assert!(fs::read_to_string(elsewhere.path().join("41.tlog-proof")).unwrap().contains("\nindex 41\n"));
}

#[test]
fn keys_are_made_and_named() {
    let directory = tempdir().unwrap();
    let made = Command::new(PROGRAM).args(["audit", "keygen"]).output().unwrap();
    let key = SigningKey::from_pem(&made.stdout).unwrap();
    let private = directory.path().join("private.pem");
    fs::write(&private, key.to_pem().unwrap().expose_secret()).unwrap();
    let public = directory.path().join("public.pem");
    let pem = good(&private, &["key"]);
    assert_eq!(pem, key.public().to_pem());
    fs::write(&public, pem).unwrap();
    let origin = "audit.example.com/gateway-0";
    let verifier = VerifierKey::new(origin.parse().unwrap(), key.public());
    for path in [&private, &public] {
        assert_eq!(good(path, &["key", "--origin", origin]), format!("{verifier}\n"));
    }
    assert_eq!(told(audit(&private, &["key", "--origin", "a b"])).0, 2);
    fs::write(&public, "garbage").unwrap();
    assert_eq!(told(audit(&public, &["key"])).0, 2);
}
