//! The method table against the descriptors it is written from.

use prost::Message;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use super::{Class, PREBUILD_METHODS, PREBUILD_SERVICE};

#[test]
fn every_rpc_of_the_proto_has_a_row_that_says_the_same() {
    let set = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
    let service = set
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
        .find(|(package, service)| format!("{package}.{}", service.name()) == PREBUILD_SERVICE)
        .map(|(_, service)| service)
        .unwrap();
    assert_eq!(service.method.len(), PREBUILD_METHODS.len());
    for (method, row) in service.method.iter().zip(PREBUILD_METHODS) {
        assert_eq!(method.name(), row.name);
        assert_eq!(row.path, format!("/{}/{}", row.service, row.name));
        assert_eq!(method.input_type(), format!(".{}", row.input));
        assert_eq!(method.output_type(), format!(".{}", row.output));
        let idempotency = method.options.clone().unwrap_or_default().idempotency_level();
        assert_eq!(idempotency == IdempotencyLevel::NoSideEffects, row.no_side_effects, "{}", row.name);
        assert_eq!(row.no_side_effects, row.class == Class::Read, "{}", row.name);
        assert!(row.input().is_some() && row.output().is_some(), "{}", row.name);
    }
}

#[test]
fn only_the_logs_token_is_a_secret() {
    let secrets: Vec<_> =
        PREBUILD_METHODS.iter().filter(|row| row.class == Class::Secret).map(|row| row.name).collect();
    assert_eq!(secrets, ["CreatePrebuildLogsToken"]);
}
