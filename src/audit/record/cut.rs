//! A record that would be too long loses what can be missed most easily, and says what.

use serde_json::Value;

use super::{About, REQUEST, RESOURCES, RESPONSE, RULINGS, Record, UNKNOWN_FIELDS, event::MAX_TAIL};

/// What is cut, in this order: as it is named in `unmapped.truncated`, and how it gets shorter. What policy saw goes last.
const CUTS: [(&str, Cut); 7] = [
    (RESPONSE, response),
    (REQUEST, request),
    ("unmapped.drift", drift),
    (UNKNOWN_FIELDS, unknown),
    (RESOURCES, resources),
    ("unmapped.attempts", attempts),
    (RULINGS, rulings),
];

/// Makes a record shorter; false where there is nothing left to cut.
type Cut = fn(&mut About) -> bool;

impl Record {
    /// The tail, once as much is cut as it takes.
    pub(super) fn cut(mut self) -> Vec<u8> {
        for (name, cut) in CUTS {
            while self.about.as_deref_mut().is_some_and(cut) {
                self.lacks(name, true);
                let tail = self.whole();
                if tail.len() <= MAX_TAIL {
                    return tail;
                }
            }
        }
        self.whole()
    }
}

/// Of an answer that is a list, half as many objects; what is left of it goes.
fn response(about: &mut About) -> bool {
    let Some(end) = &mut about.end else { return false };
    let Some(data) = &mut end.response else { return false };
    let lists = data.as_object_mut().into_iter().flat_map(|data| data.values_mut());
    let list = lists.filter_map(Value::as_array_mut).find(|list| list.len() > 1);
    match list {
        Some(list) => list.truncate(list.len() / 2),
        None => end.response = None,
    }
    true
}

fn request(about: &mut About) -> bool {
    about.request.take().is_some()
}

fn drift(about: &mut About) -> bool {
    about.end.as_mut().is_some_and(|end| halve(&mut end.drift))
}

fn unknown(about: &mut About) -> bool {
    halve(&mut about.unknown.names) | halve(&mut about.unknown.places)
}

fn resources(about: &mut About) -> bool {
    about.end.as_mut().is_some_and(|end| halve(&mut end.objects))
}

fn attempts(about: &mut About) -> bool {
    halve(&mut about.attempts)
}

fn rulings(about: &mut About) -> bool {
    halve(&mut about.rulings)
}

/// Whether there was anything left to cut.
fn halve<T>(list: &mut Vec<T>) -> bool {
    let had = !list.is_empty();
    list.truncate(list.len() / 2);
    had
}
