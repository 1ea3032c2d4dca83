//! Makes logs as `docs/audit-log.md` has them, with the pieces that the gateway itself writes them with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prebuild_gateway::audit::{
    checkpoint::Checkpoint,
    key::{Origin, SigningKey, VerifierKey},
    line::{self, Place},
    tree::{Frontier, Hash},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// 2026-11-30T00:53:20Z, in milliseconds since 1970; each record is made a second after the one before.
const BEGIN: u64 = 1_796_000_000_000;

/// A log while it is made. Each segment is a list of lines until the log is [stored](Self::store).
pub(crate) struct Forge {
    pub(crate) name: String,
    /// What its origin begins with.
    pub(crate) site: &'static str,
    pub(crate) key: SigningKey,
    pub(crate) tree: Frontier,
    prev: Hash,
    pub(crate) segments: Vec<Segment>,
    calls: u64,
    /// Added to every record, so that it is as long as a real one.
    pub(crate) padding: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    /// With their ends.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Of each record what is behind `prev`.
    tails: Vec<String>,
    /// The tree behind each record.
    trees: Vec<Frontier>,
}

impl Forge {
    /// A log with its first segment.
    pub(crate) fn new(name: &str) -> Self {
        let key = SigningKey::generate().unwrap();
        let mut forge = Self {
            name: name.to_owned(),
            site: "audit.example.com",
            key,
            tree: Frontier::default(),
            prev: Hash::default(),
            segments: Vec::new(),
            calls: 0,
            padding: 0,
        };
        forge.segment();
        forge
    }

    pub(crate) fn origin(&self) -> Origin {
        format!("{}/{}", self.site, self.name).parse().unwrap()
    }

    pub(crate) fn verifier(&self) -> VerifierKey {
        VerifierKey::new(self.origin(), self.key.public())
    }

    /// The number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.tree.size()
    }

    pub(crate) fn segment(&mut self) {
        let next = self.next();
        self.segments.push(Segment { first: next, ..Segment::default() });
        let fields = json!({ "tree": self.tree.roots(), "trusted": next, "open_from": next });
        self.record("segment", &fields, json!({}));
    }

    /// A segment behind one that has failed: only `trusted` records before it count.
    pub(crate) fn segment_after_failure(&mut self, trusted: u64) {
        self.segment_after(trusted, None);
    }

    /// A segment behind one that was removed after so many records were signed.
    pub(crate) fn segment_after_loss(&mut self, trusted: u64, signed: u64) {
        self.segment_after(trusted, Some(signed));
    }

    fn segment_after(&mut self, trusted: u64, signed: Option<u64>) {
        let next = self.next();
        let tree = self.tree_of(trusted);
        self.segments.push(Segment { first: next, ..Segment::default() });
        let mut fields = json!({
            "tree": self.tree.roots(),
            "trusted": trusted,
            "trusted_tree": tree.roots(),
            "open_from": next,
        });
        if let Some(signed) = signed {
            fields["signed"] = signed.into();
        }
        self.record("segment", &fields, json!({}));
    }

    /// A mutation: an intent and its outcome.
    pub(crate) fn call(&mut self) {
        let id = self.intent();
        self.end("outcome", id);
    }

    pub(crate) fn intent(&mut self) -> u64 {
        self.calls += 1;
        self.end("intent", self.calls);
        self.calls
    }

    /// A record of the call.
    pub(crate) fn end(&mut self, stage: &str, call: u64) {
        let response = match stage {
            "intent" => Value::Null,
            _ if call.is_multiple_of(3) => json!({ "code": 5, "message": "NOT_FOUND" }),
            _ => json!({ "code": 0, "message": "OK" }),
        };
        let mut api = json!({
            "operation": "gitpod.v1.PrebuildService/CreatePrebuild",
            "request": { "uid": request_id(call) },
        });
        if !response.is_null() {
            api["response"] = response;
        }
        let actor = json!({ "user": {
            "uid": format!("subject-{}", call % 4),
            "org": { "uid": format!("org-{}", call % 2) },
        } });
        self.record(stage, &json!({}), json!({ "actor": actor, "api": api }));
    }

    /// A record of this stage, with these fields in `unmapped` and beside it.
    pub(crate) fn record(&mut self, stage: &str, unmapped: &Value, beside: Value) {
        let mut tail = format!(r#""stage":"{stage}""#);
        for (name, value) in unmapped.as_object().unwrap() {
            tail += &format!(r#","{name}":{value}"#);
        }
        tail += &format!(r#"}},"class_uid":6003,"time":{}"#, BEGIN + 1000 * self.next());
        for (name, value) in beside.as_object().unwrap() {
            tail += &format!(r#","{name}":{value}"#);
        }
        if self.padding > 0 {
            let fields: Vec<_> = (0..self.padding / 48)
                .map(|n| json!({ "type": "Prebuild", "uid": request_id(n as u64) }))
                .collect();
            tail += &format!(r#","resources":{}"#, Value::Array(fields));
        }
        tail += "}";
        let place = Place { log: &self.name, sequence: self.tree.size(), prev: self.prev };
        let mut lines = Vec::new();
        self.prev = line::write(place, tail.as_bytes(), &mut lines);
        self.tree.push(self.prev);
        let segment = self.segments.last_mut().unwrap();
        segment.lines.push(lines);
        segment.trees.push(self.tree.clone());
        segment.tails.push(tail);
    }

    /// The same log once more, with the same key.
    pub(crate) fn fork(&self) -> Self {
        let pem = self.key.to_pem().unwrap();
        Self {
            name: self.name.clone(),
            key: SigningKey::from_pem(pem.expose_secret().as_bytes()).unwrap(),
            tree: self.tree.clone(),
            segments: self.segments.clone(),
            ..*self
        }
    }

    /// The log with a record altered, and everything behind it made to fit but for what takes the key.
    pub(crate) fn rechained(&self, altered: u64, alter: impl Fn(&str) -> String) -> Self {
        let mut forge = self.fork();
        (forge.tree, forge.prev) = (Frontier::default(), Hash::default());
        for segment in &mut forge.segments {
            let before = segment.trees[0].size() - 1;
            let old = json!(self.tree_of(before).roots()).to_string();
            segment.tails[0] = segment.tails[0].replace(&old, &json!(forge.tree.roots()).to_string());
            for (tail, line) in segment.tails.iter_mut().zip(&mut segment.lines) {
                if forge.tree.size() == altered {
                    *tail = alter(tail);
                }
                let place = Place { log: &self.name, sequence: forge.tree.size(), prev: forge.prev };
                line.clear();
                forge.prev = line::write(place, tail.as_bytes(), line);
                forge.tree.push(forge.prev);
            }
        }
        forge
    }

    /// A checkpoint of all before it.
    pub(crate) fn checkpoint(&mut self) -> String {
        let note = self.note();
        self.record("checkpoint", &json!({ "checkpoint": note }), json!({}));
        note
    }

    /// The checkpoint of the log as it stands, which nobody has written down yet.
    pub(crate) fn note(&self) -> String {
        Checkpoint { origin: self.origin(), size: self.next(), root: self.tree.root() }.sign(&self.key)
    }

    /// Says that everything before the segment is removed. The removal comes with [`forget`](Self::forget).
    pub(crate) fn prune(&mut self, segments: usize) {
        let size = self.segments[segments].first;
        let root = STANDARD.encode(self.tree_of(size).root().as_bytes());
        let first = self.segments[0].first;
        self.record("pruned", &json!({ "first": first, "size": size, "root": root }), json!({}));
    }

    pub(crate) fn forget(&mut self, segments: usize) {
        self.segments.drain(..segments);
    }

    /// Writes the files of the log into a directory below `parent`, and says which.
    pub(crate) fn store(&self, parent: &Path) -> PathBuf {
        let directory = parent.join(&self.name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("key.pub"), format!("{}\n", self.verifier())).unwrap();
        fs::write(directory.join("lock"), "").unwrap();
        for segment in &self.segments {
            fs::write(directory.join(file(segment.first)), segment.lines.concat()).unwrap();
        }
        directory
    }

    fn tree_of(&self, size: u64) -> Frontier {
        let mut trees = self.segments.iter().flat_map(|segment| &segment.trees);
        trees.rfind(|tree| tree.size() == size).cloned().unwrap_or_default()
    }
}

pub(crate) fn file(first: u64) -> String {
    format!("{first:020}.jsonl")
}

pub(crate) fn request_id(call: u64) -> String {
    format!("0198c0de-0000-7000-8000-{call:012x}")
}

/// Some 110 records in five segments, each with checkpoints in it; the last one is a checkpoint.
pub(crate) fn small(name: &str) -> Forge {
    let mut forge = Forge::new(name);
    for segment in 0..5 {
        if segment > 0 {
            forge.segment();
        }
        for call in 1..=9 {
            forge.call();
            if call % 4 == 0 {
                forge.checkpoint();
            }
        }
    }
    forge.checkpoint();
    forge
}
