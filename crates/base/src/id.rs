//! Typed ids: a UUIDv7 behind a prefix that names the kind, and checked names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An id that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {expected}")]
pub struct InvalidId {
    pub given: String,
    pub expected: &'static str,
}

/// Declares a typed id with its prefix: `typed_id!(/// Docs. pub FlowId, "flow");`.
///
/// The text form is `prefix_` plus 32 hexadecimal digits of a UUIDv7, so ids sort by creation.
#[macro_export]
macro_rules! typed_id {
    ($(#[$meta:meta])* pub $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id; the time part is the wall clock's, the rest is random.
            #[must_use]
            pub fn new() -> Self {
                Self($crate::id::fresh($prefix))
            }

            /// Parses the text form.
            ///
            /// # Errors
            /// Another prefix, or not 32 hexadecimal digits after it.
            pub fn parse(text: &str) -> Result<Self, $crate::id::InvalidId> {
                $crate::id::check(text, $prefix, concat!("an id like ", $prefix, "_0193…"))?;
                Ok(Self(text.to_owned()))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(from)?;
                Self::parse(&text).map_err(::serde::de::Error::custom)
            }
        }
    };
}

/// Used by [`typed_id!`].
#[must_use]
pub fn fresh(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// Used by [`typed_id!`].
///
/// # Errors
/// See [`typed_id!`].
pub fn check(text: &str, prefix: &str, expected: &'static str) -> Result<(), InvalidId> {
    let ok = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).is_some_and(|hex| {
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if ok { Ok(()) } else { Err(InvalidId { given: text.to_owned(), expected }) }
}

typed_id!(
    /// An entity of the graph: a service, a need, a host.
    pub EntityId, "ent"
);
typed_id!(
    /// One release: an immutable version of a service.
    pub ReleaseId, "rel"
);
typed_id!(
    /// One replica of a release: one run of one process.
    pub ReplicaId, "rep"
);
typed_id!(
    /// One plan.
    pub PlanId, "plan"
);
typed_id!(
    /// One durable workflow run.
    pub FlowId, "flow"
);
typed_id!(
    /// One ledger entry, and so one change.
    pub EventId, "evt"
);

/// A name as users give it: an RFC 1123 label (lowercase letters, digits and `-`, at most 63,
/// starting with a letter and ending with a letter or digit).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameId(String);

impl NameId {
    pub const LENGTH_MAX: usize = 63;

    /// # Errors
    /// The text is not a label.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        let ok = !bytes.is_empty()
            && bytes.len() <= Self::LENGTH_MAX
            && bytes[0].is_ascii_lowercase()
            && bytes[bytes.len() - 1] != b'-'
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId {
                given: text.to_owned(),
                expected: "a name of lowercase letters, digits and `-`, at most 63, starting with a letter",
            })
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for NameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for NameId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
impl TryFrom<String> for NameId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}
impl From<NameId> for String {
    fn from(name: NameId) -> Self {
        name.0
    }
}
impl std::borrow::Borrow<str> for NameId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_kind() {
        let id = ReleaseId::new();
        assert_eq!(ReleaseId::parse(id.as_str()), Ok(id.clone()));
        assert!(ReplicaId::parse(id.as_str()).is_err());
    }

    #[test]
    fn ids_sort_by_creation() {
        let ids: Vec<_> = (0..100).map(|_| FlowId::new()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn names_are_labels() {
        for good in ["a", "checkout", "a-1", "x".repeat(63).as_str()] {
            assert!(NameId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "1a", "a_b", "a.b", "x".repeat(64).as_str(), "ä"] {
            assert!(NameId::parse(bad).is_err(), "{bad}");
        }
    }
}
