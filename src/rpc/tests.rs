//! The method tables against the descriptors they are written from.

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

use super::{
    Class, IDENTITY_METHODS, IDENTITY_SERVICE, MethodSpec, PREBUILD_METHODS, PREBUILD_SERVICE, methods,
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
