//! What upstream says that is not so, or not the caller's to know.

use http::StatusCode;

use super::{
    world::{Dice, KINDS},
    *,
};

/// A call that upstream has carried out.
pub(super) struct About<'a> {
    pub(super) mode: Mode,
    pub(super) method: &'a str,
    pub(super) request: &'a Value,
    /// Anybody's, by kind.
    pub(super) objects: &'a [Vec<Value>; 2],
}

impl About<'_> {
    /// Changes the answer; `None` if there is nothing to lie with yet. Nothing here is what the gateway leaves to
    /// upstream's word.
    pub(super) fn lie(&self, dice: &mut Dice, answer: &mut Value) -> Option<StatusCode> {
        let kind = usize::from(self.method.contains("WarmPool"));
        let other = dice.pick(&self.objects[kind])?.clone();
        if dice.once_in(4)
            && let Some(code) = self.refusal(dice)
        {
            return Some(refuse(answer, code, &other));
        }
        if self.mode == Mode::Strict && dice.once_in(4) {
            answer[["data", "Prebuild", "neighbours"][dice.roll(3)]] = other;
            return Some(StatusCode::OK);
        }
        let name = KINDS[kind];
        if answer[name].is_object() {
            about_one(dice, answer, name, other);
            return Some(StatusCode::OK);
        }
        let items = answer.get_mut(format!("{name}s"))?.as_array_mut()?;
        if dice.once_in(2) {
            items.clear();
        }
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(items.len() + 1);
            items.insert(at, dice.pick(&self.objects[kind])?.clone());
        }
        if self.mode == Mode::Strict {
            answer["pagination"]["last"] = other["id"].clone();
        }
        Some(StatusCode::OK)
    }

    /// A code that upstream's words do not pass with.
    fn refusal(&self, dice: &mut Dice) -> Option<&'static str> {
        let codes =
            ["not_found", "permission_denied", "failed_precondition", "resource_exhausted", "internal"];
        let names_one = self.request["prebuildId"].is_string() || self.request["warmPoolId"].is_string();
        let is_read = self.method.starts_with("Get") || self.method.starts_with("List");
        match (self.mode, names_one) {
            (Mode::Strict, true) if is_read => Some(codes[dice.roll(codes.len())]),
            (Mode::Strict, false) => Some(codes[dice.roll(codes.len())]),
            (_, true) => Some(codes[0]),
            (Mode::Organization, false) => None,
        }
    }
}

/// The answer becomes an error that names an object in every place.
fn refuse(answer: &mut Value, code: &str, named: &Value) -> StatusCode {
    let id = named["id"].as_str().unwrap();
    *answer = value!({
        "code": code,
        "message": format!("no, because of {id}"),
        "details": [{"type": "google.rpc.DebugInfo", "value": STANDARD_NO_PAD.encode(id), "debug": named}],
    });
    match code {
        "not_found" => StatusCode::NOT_FOUND,
        "permission_denied" => StatusCode::FORBIDDEN,
        "failed_precondition" => StatusCode::BAD_REQUEST,
        "resource_exhausted" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Any object in place of the true one, or nothing, or one that says less or something else of whose it is.
fn about_one(dice: &mut Dice, answer: &mut Value, name: &str, other: Value) {
    let metadata = answer[name]["metadata"].as_object_mut().unwrap();
    match dice.roll(8) {
        0 => drop(metadata.remove("organizationId")),
        1 => drop(metadata.remove("projectId")),
        2 => drop(metadata.insert("organizationId".to_owned(), value!(Uuid::from_u128(0xbad).to_string()))),
        3 => *answer = value!({}),
        4 => *answer = value!({ "Prebuild": other, "warmpool": other }),
        _ => answer[name] = other,
    }
}
