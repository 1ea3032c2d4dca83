//! What a credential is good for: classes of methods, or single ones.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::rpc::{self, Class, MethodSpec};

/// One thing that a credential is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(with = "String")]
pub enum Scope {
    /// Every method of a class: `read`, `mutate` or `secret`.
    Class(Class),
    /// One method, by its name.
    Method(&'static str),
    /// To ask what would become of a call (`x-policy-dry-run`), of which the verdict tells rules: `explain`.
    Explain,
}

/// All that a credential is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scopes(Arc<[Scope]>);

/// Neither a class nor a method that is served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `read`, `mutate`, `secret`, `explain` or the name of a method, like `CreatePrebuild`")]
pub struct UnknownScope;

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Method(name) => name,
            Self::Explain => "explain",
        }
    }

    fn covers(self, method: &MethodSpec) -> bool {
        match self {
            Self::Class(class) => class == method.class,
            Self::Method(name) => name == method.name,
            Self::Explain => false,
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;

    fn try_from(text: String) -> Result<Self, UnknownScope> {
        let classes = Class::ALL.into_iter().map(Self::Class);
        let methods = rpc::methods().map(|method| Self::Method(method.name));
        classes.chain(methods).chain([Self::Explain]).find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

impl Scopes {
    pub fn new(scopes: &[Scope]) -> Self {
        Self(scopes.into())
    }

    /// Every class: what a credential is good for unless somebody says less.
    pub fn all() -> Self {
        Self::new(&Class::ALL.map(Scope::Class))
    }

    /// Whether the method may be called.
    pub fn cover(&self, method: &MethodSpec) -> bool {
        self.0.iter().any(|scope| scope.covers(method))
    }

    /// Whether it may be asked what would become of a call.
    pub fn explain(&self) -> bool {
        self.0.contains(&Scope::Explain)
    }

    /// What both are good for.
    pub fn within(&self, other: &Self) -> Self {
        let (here, there) = (self.0.iter(), other.0.iter());
        let narrower = there.filter(|scope| self.includes(**scope));
        let mut both: Vec<Scope> = here.filter(|scope| other.includes(**scope)).copied().collect();
        for scope in narrower {
            if !both.contains(scope) {
                both.push(*scope);
            }
        }
        Self::new(&both)
    }

    fn includes(&self, scope: Scope) -> bool {
        match scope {
            Scope::Class(_) | Scope::Explain => self.0.contains(&scope),
            Scope::Method(name) => rpc::methods().any(|method| method.name == name && self.cover(method)),
        }
    }

    /// Their names, in the order in which they are written.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|scope| scope.as_str())
    }
}
