//! What rules may speak of, in Cedar's schema language: made from the method table and the messages' own fields.
//!
//! [`PATHS`] says of each field of each request what rules see of it. A field that is not there fails a test: whether
//! rules should see it is a decision.

use std::fmt::{self, Write as _};

use cedar_policy::RestrictedExpression;

use super::{Question, entities::Types, values};
use crate::rpc::{self, Class, Form, Kind, MessageSchema, MethodSpec, Required, Schema};

/// What every method of a kind is about besides its own attributes.
const ENTITIES: &str = r#"// The caller's org, by its name in the gateway's config.
entity Org;
// The caller: Subject::"<org>/<subject>". `id` is the subject alone.
entity Subject in [Org] { org: Org, scopes: Set<String>, id: String };
// By id: a UUID in lower case, as the three below.
entity Project in [Org];
entity EnvironmentClass;
entity Prebuild in [Project] { project: Project, environment_class?: EnvironmentClass };
// A pool with neither bound has both at its desired size.
entity WarmPool in [Project] {
  project: Project, environment_class?: EnvironmentClass, min_size?: Long, max_size?: Long, desired_size?: Long
};
"#;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Org,
    Project,
    Prebuild,
    WarmPool,
}

/// What rules see of a call.
#[derive(Clone, Copy)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    /// In the schema's words.
    pub(super) kind: &'static str,
    pub(super) optional: bool,
    pub(super) value: fn(&Question<'_>, &Types) -> Option<RestrictedExpression>,
}

/// What rules see of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// It names what the call is about.
    As(About),
    In(&'static [Attribute]),
    Not,
}

macro_rules! attributes {
    ($($name:ident: $kind:literal $(? $optional:tt)? = $value:expr),* $(,)?) => {
        &[$(Attribute {
            name: stringify!($name),
            kind: $kind,
            optional: stringify!($($optional)?).len() > 0,
            value: $value,
        }),*]
    };
}

/// Of every call.
const COMMON: &[Attribute] = attributes![
    time: "datetime" = values::time,
    hour: "Long" = values::hour,
    weekday: "String" = values::weekday,
    client_address: "ipaddr" ?yes = values::client_address,
    protocol: "String" = values::protocol,
];

/// Of each field that a request may have.
pub(super) const PATHS: &[(&str, Shown)] = &[
    ("project_id", Shown::As(About::Project)),
    ("prebuild_id", Shown::As(About::Prebuild)),
    ("warm_pool_id", Shown::As(About::WarmPool)),
    (
        "environment_class_id",
        Shown::In(attributes![environment_class: "EnvironmentClass" ?yes = values::environment_class]),
    ),
    (
        "spec.timeout",
        Shown::In(attributes![
            timeout_seconds: "Long" = values::timeout_seconds,
            timeout_given: "Bool" = values::timeout_given,
        ]),
    ),
    // Upstream's counter: no request sets it.
    ("spec.spec_version", Shown::Not),
    ("spec.desired_phase", Shown::In(attributes![desired_phase: "String" ?yes = values::desired_phase])),
    ("desired_size", Shown::In(attributes![desired_size: "Long" ?yes = values::desired_size])),
    (
        "min_size",
        Shown::In(attributes![
            min_size: "Long" = values::min_size,
            min_size_given: "Bool" = values::min_size_given,
        ]),
    ),
    (
        "max_size",
        Shown::In(attributes![
            max_size: "Long" = values::max_size,
            max_size_given: "Bool" = values::max_size_given,
            largest_size: "Long" = values::largest_size,
        ]),
    ),
    (
        "pagination.page_size",
        Shown::In(attributes![
            page_size: "Long" = values::page_size,
            page_size_given: "Bool" = values::page_size_given,
        ]),
    ),
    // Upstream's own and opaque.
    ("pagination.token", Shown::Not),
    ("filter.project_ids", Shown::In(attributes![filter_projects: "Set<Project>" = values::filter_projects])),
    (
        "filter.environment_class_ids",
        Shown::In(attributes![
            filter_environment_classes: "Set<EnvironmentClass>" = values::filter_environment_classes,
        ]),
    ),
    ("filter.creator_ids", Shown::In(attributes![filter_creators: "Set<String>" = values::filter_creators])),
    (
        "filter.executor_ids",
        Shown::In(attributes![filter_executors: "Set<String>" = values::filter_executors]),
    ),
    ("filter.phases", Shown::In(attributes![filter_phases: "Set<String>" = values::filter_phases])),
    ("filter.triggered_by", Shown::In(attributes![filter_triggers: "Set<String>" = values::filter_triggers])),
];

/// The schema that rules are checked against, in Cedar's own words.
pub fn text() -> String {
    let mut text = ENTITIES.to_owned();
    for class in Class::ALL {
        line(&mut text, format_args!("action {};", class.as_str()));
    }
    line(&mut text, format_args!("action expensive;"));
    for method in rpc::methods() {
        let groups = groups(method).join(", ");
        line(&mut text, format_args!("action {} in [{groups}] appliesTo {{", method.name));
        let about = about(method).as_str();
        line(&mut text, format_args!("  principal: Subject, resource: {about}, context: {{"));
        for attribute in attributes(method) {
            let mark = if attribute.optional { "?" } else { "" };
            line(&mut text, format_args!("    {}{mark}: {},", attribute.name, attribute.kind));
        }
        line(&mut text, format_args!("  }}\n}};"));
    }
    text
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    // A string takes whatever is written to it.
    let _ = writeln!(text, "{line}");
}

pub(super) fn groups(method: &MethodSpec) -> Vec<&'static str> {
    let mut groups = vec![method.class.as_str()];
    groups.extend(method.expensive.then_some("expensive"));
    groups
}

/// What a method is about: what its request names, else the caller's org.
pub(super) fn about(method: &MethodSpec) -> About {
    let named = paths(method).into_iter().find_map(|path| match shown(&path) {
        Some(Shown::As(about)) => Some(about),
        _ => None,
    });
    named.unwrap_or(About::Org)
}

/// All that rules see of a method's calls.
pub(super) fn attributes(method: &MethodSpec) -> Vec<Attribute> {
    let mut attributes = COMMON.to_vec();
    for path in paths(method) {
        if let Some(Shown::In(more)) = shown(&path) {
            attributes.extend(more);
        }
    }
    if method.requires.contains(&Required::Class) {
        let classes = attributes.iter_mut().filter(|attribute| attribute.name == "environment_class");
        classes.for_each(|attribute| attribute.optional = false);
    }
    attributes
}

pub(super) fn shown(path: &str) -> Option<Shown> {
    PATHS.iter().find(|(known, _)| *known == path).map(|(_, shown)| *shown)
}

/// The fields of a method's request, those of messages in it by their path.
pub(super) fn paths(method: &MethodSpec) -> Vec<String> {
    let mut paths = Vec::new();
    if let Some(message) = method.input() {
        walk((method.schema)(), message, "", &mut paths);
    }
    paths
}

/// No request message holds itself.
fn walk(schema: &Schema, message: &MessageSchema, prefix: &str, paths: &mut Vec<String>) {
    for field in &message.fields {
        let path = format!("{prefix}{}", field.name);
        match field.kind {
            Kind::Message(index) if schema.message_at(index).form == Form::Object => {
                walk(schema, schema.message_at(index), &format!("{path}."), paths);
            }
            Kind::Message(_) | Kind::Map(_) | Kind::Enum(_) | Kind::Scalar(_) => paths.push(path),
        }
    }
}

impl About {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Org => "Org",
            Self::Project => "Project",
            Self::Prebuild => "Prebuild",
            Self::WarmPool => "WarmPool",
        }
    }

    /// It has to be looked up.
    pub(super) const fn is_object(self) -> bool {
        matches!(self, Self::Prebuild | Self::WarmPool)
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
