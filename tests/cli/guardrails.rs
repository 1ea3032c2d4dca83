//! The README's chapter on guardrails is a run that took place: here it takes place again.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, PROGRAM, Running, text};

/// What the chapter types for what `dev` chose.
const ADMIN: &str = "http://127.0.0.1:9090";
const AUDIT: &str = "/tmp/prebuild-gateway-dev-*";
/// Calls of the step that is for half of them.
const CALLS: u32 = 20;
/// Between two looks at a gateway that reads its policy.
const LOOK: Duration = Duration::from_millis(20);

/// A command, and what it printed.
#[derive(Debug)]
struct Step {
    command: String,
    printed: String,
}

/// Where the commands are typed.
struct Terminal {
    directory: TempDir,
    gateway: Option<Gateway>,
}

/// What the first terminal shows.
struct Gateway {
    running: Running,
    address: String,
    admin: String,
    key: String,
    audit: String,
}

fn steps(chapter: &str) -> Vec<Step> {
    let blocks = chapter.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
            (Some(command), ..) => {
                steps.push(Step { command: command.to_owned(), printed: String::new() });
            }
            (None, Some(more), Some(step)) if step.printed.is_empty() => {
                step.command.extend(["\n", more]);
            }
            (None, _, step) => step.unwrap().printed.extend([line, "\n"]),
        }
    }
    steps
}

/// What is another in every run reads the same: ids that are drawn, how many of the calls a share is for, and how much of
/// a rate has come back.
fn normal(printed: &str) -> String {
    let lines = printed.lines().map(|line| match line.parse::<u32>() {
        Ok(1..CALLS) => "some".to_owned(),
        _ if line.starts_with("  rate ") => "  rate".to_owned(),
        _ => line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(word).collect(),
    });
    lines.map(|line| line + "\n").collect()
}

/// Ids of the demo's orgs follow from their names, version 8; others are drawn.
fn word(word: &str) -> String {
    let (id, end) = word.split_at_checked(36).unwrap_or((word, ""));
    let is_drawn = uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() != 8);
    if is_drawn { format!("ID{end}") } else { word.to_owned() }
}

impl Terminal {
    fn run(&mut self, step: &Step) -> String {
        if step.command.starts_with("prebuild-gateway dev ") {
            self.gateway = Some(Gateway::start(&step.command, self.directory.path()));
            return String::new();
        }
        let Some(gateway) = &self.gateway else { return self.type_in(&step.command) };
        let is_edit = step.command.contains("> policy.toml") || step.command.starts_with("sed -i");
        let reloads = gateway.reloads();
        let printed = self.type_in(&step.command);
        if is_edit {
            gateway.await_reload(reloads);
        }
        printed
    }

    fn type_in(&self, command: &str) -> String {
        let mut shell = Command::new("sh");
        let mut command = command.to_owned();
        let path = std::env::var("PATH").unwrap();
        let programs = Path::new(PROGRAM).parent().unwrap().display();
        if let Some(gateway) = &self.gateway {
            shell.env("PREBUILD_GATEWAY_ADDRESS", &gateway.address);
            shell.env("PREBUILD_GATEWAY_KEY", &gateway.key);
            command = command.replace(AUDIT, &gateway.audit);
            // Not every machine that builds has curl.
            if let Some((asked, rest)) = command.strip_prefix("curl -s ").and_then(|url| url.split_once(' '))
            {
                let path = asked.strip_prefix(ADMIN).unwrap();
                fs::write(self.directory.path().join("answer"), gateway.get(path)).unwrap();
                command = format!("cat answer {rest}");
            }
        }
        // A policy that a group may write is none.
        let script = format!("umask 022; exec 2>&1; {command}");
        let shell = shell.args(["-c", &script]).env("PATH", format!("{programs}:{path}"));
        let output = shell.current_dir(self.directory.path()).stdin(Stdio::null()).output().unwrap();
        text(&output.stdout).replace(&format!("{}/", self.directory.path().display()), "")
    }
}

impl Gateway {
    /// As the command says, but on any ports.
    fn start(command: &str, directory: &Path) -> Self {
        let policy = command.strip_prefix("prebuild-gateway dev --policy ").unwrap();
        let policy = directory.join(policy);
        let running = Running::dev(&["--print", "json", "--policy", policy.to_str().unwrap()]);
        let told: Value = serde_json::from_str(&running.line()).unwrap();
        let of = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            address: format!("http://{}", of(&told["gateway"])),
            admin: of(&told["admin"]),
            key: of(&told["orgs"][0]["key"]),
            audit: of(&told["audit"]),
            running,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn reloads(&self) -> u32 {
        let metrics = self.get("/metrics");
        let counted = metrics.lines().filter_map(|line| {
            let of_policy = "prebuild_gateway_file_reloads_total{key=\"policy.file\"";
            line.strip_prefix(of_policy)?.rsplit_once(' ')?.1.parse::<u32>().ok()
        });
        counted.sum()
    }

    fn await_reload(&self, before: u32) {
        let id = self.running.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
        let begun = Instant::now();
        while self.reloads() == before {
            assert!(begun.elapsed() < PATIENCE, "the policy was not read");
            thread::sleep(LOOK);
        }
    }
}

#[test]
fn the_readme_s_way_from_audit_to_enforce_is_as_it_says() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let chapter = readme.split("\n## Guardrails\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let steps = steps(chapter);
    assert!(steps.len() >= 15, "{steps:?}");
    let mut terminal = Terminal { directory: tempfile::tempdir().unwrap(), gateway: None };
    let (mut read, mut seen, mut raw) = (String::new(), String::new(), String::new());
    for step in &steps {
        let printed = terminal.run(step);
        let command = format!("$ {}\n", step.command.replace('\n', "\n> "));
        read.extend([command.clone(), normal(&step.printed)]);
        seen.extend([command.clone(), normal(&printed)]);
        raw.extend([command, printed]);
    }
    assert_eq!(read, seen, "what was printed:\n{raw}");
    assert_eq!(terminal.gateway.unwrap().running.stop(), Some(0));
}
