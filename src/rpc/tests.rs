//! The method tables against the descriptors they are written from.

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

use super::{
    Class, Facts, Fill, GET_PREBUILD, IDENTITY_METHODS, IDENTITY_SERVICE, MethodSpec, PREBUILD_METHODS,
    PREBUILD_SERVICE, Part, Required, Sizes, Timeout, Turn, methods,
};

/// The methods of a service as the proto has them.
fn declared(full_name: &str) -> Vec<MethodDescriptorProto> {
    let set = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
    set.file
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
        .find(|(package, service)| format!("{package}.{}", service.name()) == full_name)
        .map(|(_, service)| service.method.clone())
        .unwrap()
}

fn says_the_same(row: &MethodSpec, service: &str, method: &MethodDescriptorProto) {
    assert_eq!((row.service, row.name), (service, method.name()));
    assert_eq!(row.path, format!("/{}/{}", row.service, row.name));
    assert_eq!(method.input_type(), format!(".{}", row.input));
    assert_eq!(method.output_type(), format!(".{}", row.output));
    let idempotency = method.options.clone().unwrap_or_default().idempotency_level();
    assert_eq!(idempotency == IdempotencyLevel::NoSideEffects, row.no_side_effects, "{}", row.name);
    assert_eq!(row.no_side_effects, row.class == Class::Read, "{}", row.name);
    assert!(row.input().is_some() && row.output().is_some(), "{}", row.name);
}

#[test]
fn every_rpc_of_the_proto_has_a_row_that_says_the_same() {
    for (service, rows) in [(PREBUILD_SERVICE, PREBUILD_METHODS), (IDENTITY_SERVICE, IDENTITY_METHODS)] {
        let declared = declared(service);
        assert_eq!(declared.len(), rows.len());
        for (method, row) in declared.iter().zip(rows) {
            says_the_same(row, service, method);
        }
    }
}

#[test]
fn all_methods_are_those_of_both_tables() {
    let names: Vec<_> = methods().map(|row| row.name).collect();
    assert_eq!(names.len(), 12);
    assert!(names.contains(&"CreatePrebuild") && names.contains(&"GetAuthenticatedIdentity"));
}

#[test]
fn only_the_logs_token_is_a_secret() {
    let secrets: Vec<_> = methods().filter(|row| row.class == Class::Secret).map(|row| row.name).collect();
    assert_eq!(secrets, ["CreatePrebuildLogsToken"]);
}

/// Whatever is about one object can be looked up first, by a read that shows it.
#[test]
fn what_is_about_one_object_has_a_look_up() {
    for row in PREBUILD_METHODS {
        let facts = Facts { prebuild: Some("a".to_owned()), pool: Some("b".to_owned()), ..Facts::default() };
        let is_about_one =
            row.requires.iter().any(|fact| matches!(fact, Required::Prebuild | Required::Pool));
        assert_eq!(row.lookup.is_some(), is_about_one, "{}", row.name);
        let Some(lookup) = row.lookup else { continue };
        assert_eq!(row.is_look_up(), row.class == Class::Read, "{row:?}");
        let (_, asked) = lookup.method.decode(&(lookup.request)(&facts)).unwrap();
        let expected = if row.requires.contains(&Required::Prebuild) { "a" } else { "b" };
        assert_eq!((lookup.method.class, asked.object()), (Class::Read, Some(expected)), "{}", row.name);
    }
}

#[test]
fn what_shows_one_object_is_known() {
    let showing: Vec<_> = methods().filter(|row| row.shows_one).map(|row| row.name).collect();
    assert_eq!(
        showing,
        [
            "CreatePrebuild",
            "GetPrebuild",
            "CancelPrebuild",
            "CreateWarmPool",
            "GetWarmPool",
            "UpdateWarmPool"
        ]
    );
}

#[test]
fn a_list_can_be_narrowed_and_led_on_and_nothing_else_can() {
    let lists: Vec<_> = methods().filter(|row| row.paged().is_some()).map(|row| row.name).collect();
    assert_eq!(lists, ["ListPrebuilds", "ListWarmPools"]);
    for row in methods() {
        let is_list = row.paged().is_some();
        assert_eq!(row.listed().is_some(), is_list, "{}", row.name);
        let part =
            Part { projects: Some(vec!["p".to_owned()]), page: Turn::To("t".to_owned()), ..Part::default() };
        let narrowed = row.part(&[], part.clone()).unwrap();
        let (_, facts) = row.decode(&narrowed).unwrap();
        let expected = is_list.then(|| (part.projects.clone().unwrap(), Some("t".to_owned())));
        assert_eq!((facts.filter.projects, facts.page_token), expected.unwrap_or_default(), "{}", row.name);
        for page in [Turn::First, Turn::Any] {
            let again = row.part(&narrowed, Part { page, ..Part::default() }).unwrap();
            let (_, facts) = row.decode(&again).unwrap();
            assert_eq!((facts.filter.projects.len(), facts.page_token), (usize::from(is_list), None));
        }
        let led = row.lead(&[], Some("n")).unwrap();
        assert_eq!(row.view(&led).unwrap().next, is_list.then(|| "n".to_owned()), "{}", row.name);
        assert_eq!(row.view(&row.lead(&led, None).unwrap()).unwrap().next, None);
    }
}

#[test]
fn one_bound_alone_needs_the_present_other_one() {
    for (desired, min, max, needed) in [
        (None, None, None, false),
        (None, Some(1), None, true),
        (None, None, Some(1), true),
        (None, Some(0), None, true),
        (None, Some(1), Some(2), false),
        (Some(1), None, None, false),
        (Some(1), Some(1), None, true),
        (Some(1), None, Some(1), true),
        (Some(1), Some(1), Some(1), false),
    ] {
        assert_eq!(Sizes { desired, min, max }.lack_one_bound(), needed, "{desired:?} {min:?} {max:?}");
    }
}

#[test]
fn a_path_is_taken_where_the_request_has_it() {
    for (path, expected) in [
        ("spec.timeout", vec!["CreatePrebuild"]),
        ("spec.timeout.seconds", vec!["CreatePrebuild"]),
        ("max_size", vec!["CreateWarmPool", "UpdateWarmPool"]),
        ("pagination.page_size", vec!["ListPrebuilds", "ListWarmPools"]),
        ("environment_class_id", vec!["CreatePrebuild", "CreateWarmPool"]),
        ("project_id.x", vec![]),
        ("timeout", vec![]),
        ("", vec![]),
    ] {
        let taking: Vec<_> = methods().filter(|row| row.takes(path)).map(|row| row.name).collect();
        assert_eq!(taking, expected, "{path}");
    }
}

#[test]
fn what_is_filled_in_is_stated_and_named() {
    let fill = Fill {
        timeout: Some(Timeout { seconds: 60, nanos: 0 }),
        class: Some("c".to_owned()),
        page_size: Some(3),
    };
    for row in methods() {
        let (wire, facts) = row.fill(&[], fill.clone()).unwrap();
        let (canonical, again) = row.decode(&wire).unwrap();
        assert_eq!((canonical, Facts { written: facts.written.clone(), ..again }), (wire, facts.clone()));
        let expected: &[&str] = match row.name {
            // Without a spec there is no place for a timeout.
            "CreatePrebuild" => &["environment_class_id"],
            "ListPrebuilds" | "ListWarmPools" => &["pagination.page_size"],
            _ => &[],
        };
        assert_eq!(facts.written.iter().copied().collect::<Vec<_>>(), expected, "{}", row.name);
    }
}

/// A row that is its own look-up has no end.
#[test]
fn a_row_can_be_shown() {
    assert!(format!("{GET_PREBUILD:?}").contains(r#"lookup: Some(Lookup("GetPrebuild"))"#));
}
