//! A call of any method about anything, and what has to become of it.

use super::{
    world::{Dice, List, World},
    *,
};

/// Of each kind and org. There are as many pools as projects at most.
const OBJECTS: usize = 40;

/// A call.
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) json: Value,
    pub(super) expected: Expected,
    /// The list that it asks for.
    pub(super) list: Option<List>,
}

/// How it ends where upstream tells the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The caller's own: it succeeds, or upstream says that the object's state forbids it.
    Own,
    /// Foreign or not there: the same to the caller.
    Absent,
    /// What upstream itself says of a project or class that it does not have.
    Unknown,
    /// Another list's token.
    Token,
}

impl Expected {
    pub(super) fn judge(self, result: &Result<bytes::Bytes, crate::harness::spoken::Wrong>, case: &str) {
        let code = result.as_ref().map_or_else(|wrong| wrong.code, |_| 0);
        let reason = result.as_ref().err().and_then(|wrong| wrong.reason.as_deref());
        let is_right = match self {
            Self::Own => matches!((code, reason), (0 | 6 | 9, None)),
            Self::Absent => (code, reason) == (5, Some("NOT_FOUND")),
            Self::Unknown => matches!((code, reason), (5 | 9, None)),
            Self::Token => matches!((code, reason), (3, None | Some("PAGE_TOKEN"))),
        };
        assert!(is_right, "{case}: {self:?} expected: {result:?}");
    }
}

pub(super) fn any(world: &World, dice: &mut Dice, caller: usize) -> Asked {
    match dice.roll(12) {
        0 => list(world, dice, caller, "ListPrebuilds"),
        1 => list(world, dice, caller, "ListWarmPools"),
        2 => create(world, dice, caller, "CreatePrebuild"),
        3 => create(world, dice, caller, "CreateWarmPool"),
        4 => about_one(world, dice, caller, "CancelPrebuild"),
        5 => about_one(world, dice, caller, "DeletePrebuild"),
        6 => about_one(world, dice, caller, "CreatePrebuildLogsToken"),
        7 => about_one(world, dice, caller, "GetWarmPool"),
        8 => about_one(world, dice, caller, "UpdateWarmPool"),
        9 => about_one(world, dice, caller, "DeleteWarmPool"),
        _ => about_one(world, dice, caller, "GetPrebuild"),
    }
}

/// Own, foreign or made up; now and then of the other kind.
fn about_one(world: &World, dice: &mut Dice, caller: usize, method: &'static str) -> Asked {
    let kind = usize::from(method.contains("WarmPool"));
    let org = if dice.once_in(2) { caller } else { dice.roll(3) };
    let shown = if dice.once_in(20) { 1 - kind } else { kind };
    let found = world.id(dice, shown, org).filter(|_| !dice.once_in(6));
    let is_own = found.is_some() && org == caller && shown == kind;
    let id = found.unwrap_or_else(|| Uuid::new_v4().to_string());
    let id = if dice.once_in(8) { id.to_ascii_uppercase() } else { id };
    let json = match (method, dice.roll(3)) {
        // Bounds that no pool crosses.
        ("UpdateWarmPool", 0) => value!({"warmPoolId": id, "minSize": 0}),
        ("UpdateWarmPool", 1) => value!({"warmPoolId": id, "maxSize": 20}),
        ("UpdateWarmPool", _) => value!({"warmPoolId": id, "minSize": 0, "maxSize": 20}),
        (_, _) if kind == 1 => value!({"warmPoolId": id}),
        (_, _) => value!({"prebuildId": id}),
    };
    let expected = if is_own { Expected::Own } else { Expected::Absent };
    Asked { method, json, expected, list: None }
}

fn create(world: &World, dice: &mut Dice, caller: usize, method: &'static str) -> Asked {
    let kind = usize::from(method == "CreateWarmPool");
    let is_enough = world.count(kind, caller) >= OBJECTS;
    let whose = |dice: &mut Dice| if dice.once_in(2) { caller } else { dice.roll(4) };
    let (owner, class_owner) = (whose(dice), whose(dice));
    // With all the objects that it needs, an org creates no more; it still tries others' projects.
    let owner =
        if owner == caller && is_enough && kind == 0 { (caller + 1 + dice.roll(3)) % 4 } else { owner };
    let made_up = Uuid::new_v4().to_string();
    let project = world.projects.get(owner).map_or(&made_up, |projects| &projects[dice.roll(projects.len())]);
    let class = world.classes.get(class_owner).unwrap_or(&made_up);
    let names_class = kind == 1 || dice.once_in(2);
    let is_own = owner == caller && (!names_class || class_owner == caller);
    let mut json = match kind {
        0 => value!({"projectId": project, "spec": {}}),
        _ => value!({"projectId": project, "maxSize": 1}),
    };
    if names_class {
        json["environmentClassId"] = value!(class);
    }
    let expected = match (is_own, world.mode) {
        (true, _) => Expected::Own,
        (false, Mode::Strict) => Expected::Absent,
        (false, Mode::Organization) => Expected::Unknown,
    };
    Asked { method, json, expected, list: None }
}

/// From its beginning, or on by any token that anybody was given for any list.
fn list(world: &World, dice: &mut Dice, caller: usize, method: &'static str) -> Asked {
    let token = if dice.once_in(2) { world.token(dice) } else { None };
    // Half of the tokens are used as they are meant.
    let meant = token.as_ref().map(|(list, _)| list.clone()).filter(|list| list.org == caller);
    let meant = meant.filter(|list| list.method == method && dice.once_in(2));
    let project = match meant {
        Some(list) => list.project,
        None if dice.once_in(2) => None,
        None => Some(world.projects[caller][dice.roll(4)].clone()),
    };
    let mut json = value!({"pagination": {"pageSize": 1 + dice.roll(6)}});
    if let Some(project) = &project {
        let foreign = world.projects[(caller + 1) % 3][0].clone();
        let projects = if dice.once_in(2) { vec![project.clone()] } else { vec![foreign, project.clone()] };
        json["filter"] = value!({ "projectIds": projects });
    }
    let list = List { org: caller, method, project };
    let mut expected = Expected::Own;
    if let Some((others, token)) = token {
        json["pagination"]["token"] = value!(token);
        let is_good = match world.mode {
            Mode::Strict => others == list,
            // Upstream's tokens are for any filter.
            Mode::Organization => (others.org, others.method) == (list.org, list.method),
        };
        expected = if is_good { Expected::Own } else { Expected::Token };
    }
    Asked { method, json, expected, list: Some(list) }
}
