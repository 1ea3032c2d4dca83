//! Comparisons that always come to the same: of numbers that no valid call has.

use std::{cmp::Ordering, collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use cedar_policy::Policy;
use serde_json::Value;

use crate::policy::{
    Stricter,
    bounds::{
        MAX_PAGE_SIZE, MAX_POOL_SIZE, MAX_TIMEOUT, MIN_POOL_SIZE, STRICTER_MIN_POOL_SIZE,
        STRICTER_MIN_TIMEOUT,
    },
};

/// Of the sizes that a pool would have, the smallest first.
const SIZES: [&str; 3] = ["min_size", "max_size", "largest_size"];

/// Signs, and the same with both sides changed.
const SIGNS: [(&str, &str); 6] =
    [("==", "=="), ("!=", "!="), ("<", ">"), ("<=", ">="), (">", "<"), (">=", "<=")];

/// An attribute of the context against a number.
#[derive(Clone, Copy, Debug)]
struct Comparison<'j> {
    name: &'j str,
    sign: &'static str,
    number: i64,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
enum Side<'j> {
    Attribute(&'j str),
    Number(i64),
}

/// What in the rule's conditions always comes to the same.
pub(super) fn problems(policy: &Policy, stricter: Stricter) -> Vec<String> {
    let mut problems = Vec::new();
    let Ok(json) = policy.to_json() else { return problems };
    let conditions = json.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let mut needed = Vec::new();
    for condition in conditions {
        let Some(body) = condition.get("body") else { continue };
        walk(body, stricter, &mut problems);
        gather(body, condition.get("kind").and_then(Value::as_str) == Some("when"), &mut needed);
    }
    if problems.is_empty() {
        // Over several `when` and `unless`.
        let crossed = contradiction(&needed, stricter);
        problems.extend(crossed.map(|crossed| format!("never matches: not {}", joined(&crossed, " && "))));
    }
    problems.dedup();
    problems
}

/// As deep as a rule may nest, which is bounded.
fn walk(json: &Value, stricter: Stricter, problems: &mut Vec<String>) {
    let before = problems.len();
    match json {
        Value::Array(values) => values.iter().for_each(|value| walk(value, stricter, problems)),
        Value::Object(values) => {
            problems.extend(alone(json, stricter));
            values.values().for_each(|value| walk(value, stricter, problems));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    // Of what is wrong by itself nothing more is said.
    if problems.len() == before {
        problems.extend(together(json, stricter));
    }
}

/// Comparisons that only all together always come to the same.
fn together(json: &Value, stricter: Stricter) -> Option<String> {
    let is_and = json.get("&&").is_some();
    if !is_and && json.get("||").is_none() {
        return None;
    }
    let mut needed = Vec::new();
    gather(json, is_and, &mut needed);
    let crossed = contradiction(&needed, stricter)?;
    let told = match is_and {
        true => joined(&crossed, " && "),
        false => joined(&crossed.into_iter().map(Comparison::negated).collect::<Vec<_>>(), " || "),
    };
    Some(format!("{told} is {}", said(!is_and)))
}

fn joined(comparisons: &[Comparison<'_>], by: &str) -> String {
    format!("`{}`", comparisons.iter().map(ToString::to_string).collect::<Vec<_>>().join(by))
}

/// A comparison that needs no other one to always come to the same.
fn alone(json: &Value, stricter: Stricter) -> Option<String> {
    if let Some(comparison) = Comparison::of(json) {
        let range = range(comparison.name, stricter)?;
        let is = comparison.is_always(&range)?;
        let (from, to) = (range.start(), range.end());
        return Some(format!("`{comparison}` is {}: it is from {from} to {to}", said(is)));
    }
    let (sign, left, right) = sides(json)?;
    let (Side::Attribute(left), Side::Attribute(right)) = (left, right) else { return None };
    let [least, most] = [left, right].map(|name| SIZES.iter().position(|size| *size == name));
    let (least, most) = least.zip(most)?;
    let is = match (sign, least.cmp(&most)) {
        ("<=", Ordering::Less) | (">=", Ordering::Greater) => true,
        (">", Ordering::Less) | ("<", Ordering::Greater) => false,
        _ => return None,
    };
    Some(format!("`context.{left} {sign} context.{right}` is {} of a valid call", said(is)))
}

fn said(is: bool) -> &'static str {
    if is { "always true" } else { "never true" }
}

/// The comparisons that have to hold for an expression to come to that.
fn gather<'j>(json: &'j Value, is: bool, needed: &mut Vec<Comparison<'j>>) {
    let sides = json.get(if is { "&&" } else { "||" });
    if let Some((left, right)) = sides.and_then(|node| Some((node.get("left")?, node.get("right")?))) {
        gather(left, is, needed);
        gather(right, is, needed);
    } else if let Some(negated) = json.pointer("/!/arg") {
        gather(negated, !is, needed);
    } else if let Some(comparison) = Comparison::of(json) {
        needed.push(if is { comparison } else { comparison.negated() });
    }
}

/// Comparisons of one attribute that cannot hold together.
fn contradiction<'j>(needed: &[Comparison<'j>], stricter: Stricter) -> Option<Vec<Comparison<'j>>> {
    let mut by_name = BTreeMap::<&str, Vec<(Comparison<'j>, RangeInclusive<i64>)>>::new();
    for (comparison, numbers) in needed.iter().filter_map(|one| Some((*one, one.numbers()?))) {
        by_name.entry(comparison.name).or_default().push((comparison, numbers));
    }
    let is_crossed = |(name, comparisons): &(&str, Vec<(Comparison<'j>, RangeInclusive<i64>)>)| {
        let all = comparisons.iter().map(|(_, numbers)| numbers.clone()).chain(range(name, stricter));
        let (from, to) = all.fold((i64::MIN, i64::MAX), |(from, to), numbers| {
            (from.max(*numbers.start()), to.min(*numbers.end()))
        });
        from > to && comparisons.len() > 1
    };
    let (_, crossed) = by_name.into_iter().find(is_crossed)?;
    Some(crossed.into_iter().map(|(comparison, _)| comparison).collect())
}

/// The numbers that a valid call may have.
fn range(name: &str, stricter: Stricter) -> Option<RangeInclusive<i64>> {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let is_stricter = stricter == Stricter::Enforce;
    let (min, max) = (i64::from(MIN_POOL_SIZE), i64::from(MAX_POOL_SIZE));
    match name {
        "hour" => Some(0..=23),
        "timeout_seconds" if is_stricter => Some(seconds(STRICTER_MIN_TIMEOUT)..=seconds(MAX_TIMEOUT)),
        "timeout_seconds" => Some(1..=seconds(MAX_TIMEOUT)),
        "page_size" => Some(0..=i64::from(MAX_PAGE_SIZE)),
        "desired_size" if is_stricter => Some(i64::from(STRICTER_MIN_POOL_SIZE)..=max),
        "desired_size" => Some(min..=max),
        name if SIZES.contains(&name) => Some(min..=max),
        _ => None,
    }
}

/// Both sides of a comparison of two numbers.
fn sides(json: &Value) -> Option<(&'static str, Side<'_>, Side<'_>)> {
    SIGNS.iter().find_map(|(sign, _)| {
        let node = json.get(sign)?;
        Some((*sign, Side::of(node.get("left")?)?, Side::of(node.get("right")?)?))
    })
}

impl<'j> Side<'j> {
    fn of(json: &'j Value) -> Option<Self> {
        if let Some(number) = json.get("Value").and_then(Value::as_i64) {
            return Some(Self::Number(number));
        }
        if let Some(number) = json.pointer("/neg/arg/Value").and_then(Value::as_i64) {
            return number.checked_neg().map(Self::Number);
        }
        let is_context = json.pointer("/./left/Var").and_then(Value::as_str) == Some("context");
        json.pointer("/./attr").and_then(Value::as_str).filter(|_| is_context).map(Self::Attribute)
    }
}

impl<'j> Comparison<'j> {
    fn of(json: &'j Value) -> Option<Self> {
        let (sign, left, right) = sides(json)?;
        let turned = SIGNS.iter().find(|(one, _)| *one == sign).map_or(sign, |(_, other)| other);
        match (left, right) {
            (Side::Attribute(name), Side::Number(number)) => Some(Self { name, sign, number }),
            (Side::Number(number), Side::Attribute(name)) => Some(Self { name, sign: turned, number }),
            _ => None,
        }
    }

    fn negated(self) -> Self {
        let sign = match self.sign {
            "==" => "!=",
            "!=" => "==",
            "<" => ">=",
            "<=" => ">",
            ">" => "<=",
            _ => "<",
        };
        Self { sign, ..self }
    }

    /// That keep it; none where they are no stretch.
    fn numbers(&self) -> Option<RangeInclusive<i64>> {
        let number = self.number;
        match self.sign {
            "==" => Some(number..=number),
            "<" => Some(i64::MIN..=number.saturating_sub(1)),
            "<=" => Some(i64::MIN..=number),
            ">" => Some(number.saturating_add(1)..=i64::MAX),
            ">=" => Some(number..=i64::MAX),
            _ => None,
        }
    }

    /// What it always comes to.
    fn is_always(&self, range: &RangeInclusive<i64>) -> Option<bool> {
        match self.numbers() {
            None => (!range.contains(&self.number)).then_some(true),
            Some(numbers) if numbers.start() > range.end() || numbers.end() < range.start() => Some(false),
            Some(numbers) => {
                (numbers.start() <= range.start() && range.end() <= numbers.end()).then_some(true)
            }
        }
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context.{} {} {}", self.name, self.sign, self.number)
    }
}
