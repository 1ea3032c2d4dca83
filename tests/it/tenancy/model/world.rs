//! All that there is and whose it is; and the witness at upstream.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use http::StatusCode;
use prebuild_gateway::sandbox::{Project, Seen};

use super::{lies::About, *};

/// Of each org: more than one batch.
const PROJECTS: u128 = 30;
/// Of each kind that are remembered to be shown in place of others.
const REMEMBERED: usize = 400;
/// Often enough to matter, seldom enough that most calls can be held against the reference.
const LIE_EVERY: usize = 20;
pub(super) const KINDS: [&str; 2] = ["prebuild", "warmPool"];
/// Those that change something, or return a secret.
const CHANGES: [&str; 7] = [
    "CreatePrebuild",
    "CancelPrebuild",
    "DeletePrebuild",
    "CreatePrebuildLogsToken",
    "CreateWarmPool",
    "UpdateWarmPool",
    "DeleteWarmPool",
];

/// Xorshift: good enough to mix, and the same everywhere.
pub(super) struct Dice(u64);

/// A list that a token leads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) org: usize,
    pub(super) method: &'static str,
    /// The only project of it, where it is narrowed.
    pub(super) project: Option<String>,
}

pub(super) struct World {
    pub(super) mode: Mode,
    pub(super) projects: [Vec<String>; 3],
    pub(super) classes: [String; 3],
    /// By id: of projects, classes, objects and, where each org has its own, organizations.
    owners: Mutex<HashMap<Uuid, usize>>,
    /// By kind and org.
    ids: Mutex<[[Vec<String>; 3]; 2]>,
    /// As upstream shows them, by kind.
    objects: Mutex<[Vec<Value>; 2]>,
    tokens: Mutex<Vec<(List, String)>>,
    dice: Mutex<Dice>,
    pub(super) lies: AtomicUsize,
    /// Whether the lies have ended.
    pub(super) is_honest: AtomicBool,
    pub(super) changes: AtomicUsize,
    pub(super) foreign_changes: Mutex<Vec<String>>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    /// Once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        if from.is_empty() { None } else { from.get(self.roll(from.len())) }
    }
}

impl World {
    pub(super) fn new(mode: Mode) -> Self {
        let id = |org: usize, number: u128| Uuid::from_u128(((org as u128 + 1) << 100) + number).to_string();
        let projects = [0, 1, 2].map(|org| (1..=PROJECTS).map(|number| id(org, number)).collect::<Vec<_>>());
        let classes = [0, 1, 2].map(|org| id(org, 0xc1a5));
        let mut owners = HashMap::new();
        for org in 0..3 {
            owners.extend(projects[org].iter().map(|project| (project.parse().unwrap(), org)));
            owners.insert(classes[org].parse().unwrap(), org);
            if mode == Mode::Organization {
                owners.insert(Org::demo(ORGS[org].0, String::new().into()).organization_id, org);
            }
        }
        Self {
            mode,
            projects,
            classes,
            owners: Mutex::new(owners),
            ids: Mutex::default(),
            objects: Mutex::default(),
            tokens: Mutex::default(),
            dice: Mutex::new(Dice::new(SEED)),
            lies: AtomicUsize::new(0),
            is_honest: AtomicBool::new(false),
            changes: AtomicUsize::new(0),
            foreign_changes: Mutex::default(),
        }
    }

    /// The organizations there: one for each org, or the first one for all.
    pub(super) fn upstream(&self) -> Vec<Org> {
        let projects = |org: usize| {
            let classes = vec![self.classes[org].parse().unwrap()];
            self.projects[org]
                .iter()
                .map(move |id| Project { id: id.parse().unwrap(), classes: classes.clone() })
        };
        let organization = |org: usize| Org::demo(ORGS[org].0, ORGS[org].2.into());
        match self.mode {
            Mode::Organization => {
                (0..3).map(|org| Org { projects: projects(org).collect(), ..organization(org) }).collect()
            }
            Mode::Strict => {
                vec![Org { projects: (0..3).flat_map(projects).collect(), ..organization(0) }]
            }
        }
    }

    pub(super) fn owner(&self, id: &str) -> Option<usize> {
        self.owners.lock().unwrap().get(&Uuid::try_parse(id).ok()?).copied()
    }

    /// An object of that kind (0 prebuild, 1 pool) and org; none if it has none yet.
    pub(super) fn id(&self, dice: &mut Dice, kind: usize, org: usize) -> Option<String> {
        dice.pick(&self.ids.lock().unwrap()[kind][org]).cloned()
    }

    /// All of that kind and org, in order.
    pub(super) fn all(&self, kind: usize, org: usize) -> Vec<String> {
        let mut all = self.ids.lock().unwrap()[kind][org].clone();
        all.sort_unstable();
        all
    }

    pub(super) fn count(&self, kind: usize, org: usize) -> usize {
        self.ids.lock().unwrap()[kind][org].len()
    }

    pub(super) fn token(&self, dice: &mut Dice) -> Option<(List, String)> {
        dice.pick(&self.tokens.lock().unwrap()).cloned()
    }

    /// Remembers a token that a caller was given.
    pub(super) fn lead(&self, list: List, token: String) {
        let mut tokens = self.tokens.lock().unwrap();
        match tokens.len() {
            _ if token.is_empty() => {}
            REMEMBERED => {
                let at = self.dice.lock().unwrap().roll(REMEMBERED);
                tokens[at] = (list, token);
            }
            _ => tokens.push((list, token)),
        }
    }

    /// Looks for every id in what a caller got. How many of its own there are.
    pub(super) fn only_own(&self, caller: usize, shown: &str, case: &str) -> usize {
        let owners = self.owners.lock().unwrap();
        let mut own = 0;
        for id in uuids(shown.as_bytes()) {
            match owners.get(&id) {
                Some(owner) if *owner == caller => own += 1,
                Some(owner) => panic!("{case}: {id} is {owner}'s: {shown}"),
                None => {}
            }
        }
        own
    }

    /// What upstream has done, and what it says about it.
    pub(super) fn witness(&self, seen: &Seen, answer: &mut Value) -> StatusCode {
        let method = seen.path.rsplit('/').next().unwrap();
        let caller =
            seen.headers.get(CALLER).map(|caller| caller.to_str().unwrap().parse::<usize>().unwrap());
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        if CHANGES.contains(&method) {
            self.changes.fetch_add(1, Ordering::SeqCst);
            let named = ["prebuildId", "warmPoolId", "projectId", "environmentClassId"];
            for id in named.iter().filter_map(|name| request[name].as_str()) {
                if caller.is_none() || self.owner(id) != caller {
                    self.foreign_changes.lock().unwrap().push(format!("{caller:?} {method} {request}"));
                }
            }
        }
        for (kind, name) in KINDS.iter().enumerate().filter(|(_, name)| answer[**name].is_object()) {
            self.learn(kind, &answer[name], method.starts_with("Create"));
        }
        let mut dice = self.dice.lock().unwrap();
        let is_time = !self.is_honest.load(Ordering::SeqCst) && dice.once_in(LIE_EVERY);
        let objects = self.objects.lock().unwrap();
        let about = About { mode: self.mode, method, request: &request, objects: &objects };
        match is_time.then(|| about.lie(&mut dice, answer)).flatten() {
            Some(status) => {
                self.lies.fetch_add(1, Ordering::SeqCst);
                status
            }
            None => StatusCode::OK,
        }
    }

    fn learn(&self, kind: usize, object: &Value, is_new: bool) {
        let id = object["id"].as_str().unwrap();
        let owner = self.owner(object["metadata"]["projectId"].as_str().unwrap()).unwrap();
        if is_new {
            self.owners.lock().unwrap().insert(id.parse().unwrap(), owner);
            self.ids.lock().unwrap()[kind][owner].push(id.to_owned());
        }
        let objects = &mut self.objects.lock().unwrap()[kind];
        if objects.len() < REMEMBERED {
            objects.push(object.clone());
        }
    }
}

/// Every UUID in the hyphenated form, wherever it stands.
fn uuids(bytes: &[u8]) -> impl Iterator<Item = Uuid> {
    let hyphens = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'-').map(|(at, _)| at);
    hyphens.filter_map(|at| {
        let id = bytes.get(at.checked_sub(8)?..at + 28)?;
        // Only the first one of an id has another one there.
        if id[13] == b'-' { Uuid::try_parse_ascii(id).ok() } else { None }
    })
}
