//! A call in Cedar's terms: who asks for what, and what is known of both.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr as _,
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, Request,
    RestrictedExpression, Schema,
};
use uuid::Uuid;

use super::{
    Question,
    schema::{About, Attribute},
    values,
};
use crate::{call::Identity, rpc::Object};

/// The entity types of the schema.
#[derive(Clone, Debug)]
pub(super) struct Types {
    pub(super) org: EntityTypeName,
    pub(super) subject: EntityTypeName,
    pub(super) project: EntityTypeName,
    pub(super) class: EntityTypeName,
    pub(super) prebuild: EntityTypeName,
    pub(super) pool: EntityTypeName,
    pub(super) action: EntityTypeName,
}

/// A call that Cedar cannot be asked about: its rules have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call cannot be put in the rules' terms")]
pub(super) struct Unsaid;

/// What Cedar is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

impl Types {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        let name = |name| EntityTypeName::from_str(name).map_err(Box::new);
        Ok(Self {
            org: name("Org")?,
            subject: name("Subject")?,
            project: name("Project")?,
            class: name("EnvironmentClass")?,
            prebuild: name("Prebuild")?,
            pool: name("WarmPool")?,
            action: name("Action")?,
        })
    }

    pub(super) fn action(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(name))
    }

    pub(super) fn org(&self, identity: &Identity) -> EntityUid {
        EntityUid::from_type_name_and_id(self.org.clone(), EntityId::new(identity.org.as_str()))
    }

    /// With its org, as two orgs may each have a subject of one name.
    pub(super) fn subject(&self, identity: &Identity) -> EntityUid {
        let id = EntityId::new(format!("{}/{}", identity.org, identity.subject));
        EntityUid::from_type_name_and_id(self.subject.clone(), id)
    }

    /// What a call is about.
    pub(super) fn resource(&self, about: About, question: &Question<'_>) -> EntityUid {
        let facts = question.facts;
        match about {
            About::Org => self.org(question.identity),
            About::Project => uid(&self.project, facts.project.as_deref().unwrap_or_default()),
            About::Prebuild => uid(&self.prebuild, facts.prebuild.as_deref().unwrap_or_default()),
            About::WarmPool => uid(&self.pool, facts.pool.as_deref().unwrap_or_default()),
        }
    }
}

/// A UUID is the same in capitals, and Cedar compares letters: rules and calls have them in lower case.
pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    let id = Uuid::try_parse(id).map_or_else(|_| EntityId::new(id), |id| EntityId::new(id.to_string()));
    EntityUid::from_type_name_and_id(kind.clone(), id)
}

impl Asked {
    /// With a schema the request is checked against it, which tests do for every method. At run time both come from one
    /// table, and a check on each call would only tell that again.
    pub(super) fn new(
        types: &Types,
        about: About,
        attributes: &[Attribute],
        action: &Entity,
        question: &Question<'_>,
        schema: Option<&Schema>,
    ) -> Result<Self, Unsaid> {
        let seen = attributes.iter().filter_map(|attribute| {
            (attribute.value)(question, types).map(|value| (attribute.name.to_owned(), value))
        });
        let context = Context::from_pairs(seen).map_err(|_| Unsaid)?;
        let (subject, resource) = (types.subject(question.identity), types.resource(about, question));
        let request = Request::new(subject, action.uid(), resource, context, schema).map_err(|_| Unsaid)?;
        let mut entities = entities(types, about, question)?;
        // The schema brings its actions along.
        entities.extend(schema.is_none().then(|| action.clone()));
        let entities = Entities::from_entities(entities, schema).map_err(|_| Unsaid)?;
        Ok(Self { request, entities })
    }
}

fn entities(types: &Types, about: About, question: &Question<'_>) -> Result<Vec<Entity>, Unsaid> {
    let identity = question.identity;
    let org = types.org(identity);
    let subject = HashMap::from([
        ("org".to_owned(), RestrictedExpression::new_entity_uid(org.clone())),
        ("id".to_owned(), values::text(identity.subject.as_str()).ok_or(Unsaid)?),
        ("scopes".to_owned(), values::texts(identity.scopes.names()).ok_or(Unsaid)?),
    ]);
    let mut entities = vec![
        Entity::with_uid(org.clone()),
        Entity::new(types.subject(identity), subject, HashSet::from([org.clone()])).map_err(|_| Unsaid)?,
    ];
    match (about, question.facts.resource.as_ref()) {
        (About::Org, _) => {}
        (About::Project, _) => {
            let project = types.resource(about, question);
            entities.push(Entity::new_no_attrs(project, HashSet::from([org])));
        }
        (About::Prebuild | About::WarmPool, Some(object)) => {
            let project = uid(&types.project, &object.project);
            let parents = HashSet::from([project.clone()]);
            let object = Entity::new(types.resource(about, question), shown(types, about, object), parents);
            entities.push(object.map_err(|_| Unsaid)?);
            entities.push(Entity::new_no_attrs(project, HashSet::from([org])));
        }
        // Without attributes: a rule that reads one fails.
        (About::Prebuild | About::WarmPool, None) => {
            entities.push(Entity::with_uid(types.resource(about, question)));
        }
    }
    Ok(entities)
}

/// What rules see of an object. Its organization upstream is not theirs to judge, its log URL may be a secret, and
/// whether it has ended, and in which version, is for budgets.
fn shown(types: &Types, about: About, object: &Object) -> HashMap<String, RestrictedExpression> {
    let Object { id: _, organization: _, project, class, sizes, log_url: _, has_ended: _, version: _ } =
        object;
    let entity = |kind: &EntityTypeName, id: &str| {
        (!id.is_empty()).then(|| RestrictedExpression::new_entity_uid(uid(kind, id)))
    };
    let (min, max) = sizes.bounds();
    let size = |size: Option<i32>| size.filter(|_| about == About::WarmPool).and_then(values::long);
    let shown = [
        ("project", entity(&types.project, project)),
        ("environment_class", entity(&types.class, class)),
        ("min_size", size(min)),
        ("max_size", size(max)),
        ("desired_size", size(sizes.desired)),
    ];
    shown.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
