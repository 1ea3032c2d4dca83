//! What a JSON message had that the schema does not know.

/// Kinds of unknown things that are kept of one message: enough to name a release's news, and a bound for an
/// upstream that sends junk.
const MAX_ITEMS: usize = 32;

/// Characters of a name that are kept: longer than any field or enum name of the API.
const MAX_NAME: usize = 64;

/// What was there and the schema does not know. At most 32 different things are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Unknown keys; they were skipped.
    pub fields: Vec<DriftItem>,
    /// Unknown enum names; the field was left out, or the element of its list dropped.
    pub enums: Vec<DriftItem>,
    /// How often something came that is not among those kept.
    pub rest: usize,
    /// How often a field came again in the same message. A reader of the text itself may take another one than the
    /// last, which is the one that counts here.
    pub repeats: usize,
}

/// One unknown thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftItem {
    /// The known part of the path, as the proto spells it: `prebuilds.status`. Of an enum, the field itself.
    pub path: String,
    /// The unknown key or enum name as it was sent, cut to 64 characters. It may hold anything.
    pub name: String,
    /// How often it came.
    pub count: usize,
}

impl Drift {
    /// Nothing unknown was there.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.enums.is_empty() && self.rest == 0
    }

    pub(super) fn field(&mut self, path: &[&str], name: &str) {
        let room = self.has_room();
        self.rest += usize::from(!note(&mut self.fields, room, path, name));
    }

    pub(super) fn enum_name(&mut self, path: &[&str], name: &str) {
        let room = self.has_room();
        self.rest += usize::from(!note(&mut self.enums, room, path, name));
    }

    fn has_room(&self) -> bool {
        self.fields.len() + self.enums.len() < MAX_ITEMS
    }
}

/// Whether the thing is among those kept.
fn note(items: &mut Vec<DriftItem>, room: bool, path: &[&str], name: &str) -> bool {
    let name = name.char_indices().nth(MAX_NAME).map_or(name, |(end, _)| &name[..end]);
    let same = |item: &&mut DriftItem| item.name == name && item.path.split('.').eq(path_parts(path));
    if let Some(item) = items.iter_mut().find(same) {
        item.count += 1;
        return true;
    }
    if room {
        items.push(DriftItem { path: path.join("."), name: name.to_owned(), count: 1 });
    }
    room
}

/// The top is one empty part, as `"".split('.')` has it.
fn path_parts<'p>(path: &'p [&'p str]) -> impl Iterator<Item = &'p str> {
    path.is_empty().then_some("").into_iter().chain(path.iter().copied())
}
