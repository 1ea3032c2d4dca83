//! What a creation may name.

use std::{collections::HashMap, sync::Arc};

use super::{Holding, Parting};
use crate::{
    call::tests::call, error::Reason, proto::gitpod::v1::CreatePrebuildRequest, rpc::CREATE_PREBUILD,
    upstream::PageKey,
};

const PROJECT: &str = "0198c0de-0000-7000-8000-000000000abc";
const CLASS: &str = "0198c0de-0000-7000-8000-000000000def";

fn parting(org: &str, classes: &[&str]) -> Parting {
    let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    let holding = Holding { projects: ids(&[PROJECT]), classes: ids(classes) };
    Parting::ByProject {
        holdings: Arc::new(HashMap::from([(org.into(), holding)])),
        key: PageKey::new(vec![7; 32]).unwrap(),
    }
}

#[test]
fn only_what_is_the_orgs_may_be_named() {
    let capitals = PROJECT.to_ascii_uppercase();
    for (parting, project, class, is_ours) in [
        (Parting::ByOrganization, CLASS, Some(PROJECT), true),
        (parting("acme", &[]), PROJECT, None, true),
        (parting("acme", &[]), &capitals, None, true),
        (parting("acme", &[]), CLASS, None, false),
        (parting("acme", &[]), PROJECT, Some(CLASS), false),
        (parting("acme", &[CLASS]), PROJECT, Some(CLASS), true),
        (parting("acme", &[CLASS]), PROJECT, Some(""), false),
        (parting("acme", &[CLASS]), "", Some(CLASS), false),
        (parting("globex", &[CLASS]), PROJECT, Some(CLASS), false),
    ] {
        let mut call = call(&CREATE_PREBUILD, &CreatePrebuildRequest::default());
        call.facts.project = Some(project.to_owned());
        call.facts.class = class.map(str::to_owned);
        let admitted = parting.admit(&call);
        assert_eq!(admitted.is_ok(), is_ours, "{project:?} {class:?}");
        assert!(admitted.err().is_none_or(|error| error.reason == Some(Reason::NotFound)));
    }
}
