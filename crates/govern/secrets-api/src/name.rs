//! Checked names of secrets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The name of a secret: letters, digits, `_`, `-` and `.`, at most 160, starting with a letter, a
/// digit or `_`, without `..`. It is safe as a file name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    pub const LENGTH_MAX: usize = 160;
    /// Names that start so are made by the platform.
    pub const RESERVED_PREFIX: &'static str = "stead.";

    /// # Errors
    /// [`Error::Name`] with what a name looks like.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        let ok = bytes.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
            && bytes.len() <= Self::LENGTH_MAX
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && !text.contains("..");
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            // Whoever mixes up name and value must not find the value in a log.
            let given = if text.len() > 24 {
                format!("{} characters", text.chars().count())
            } else {
                format!("{text:?}")
            };
            Err(Error::Name { given })
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(Self::RESERVED_PREFIX)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for SecretName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}
impl TryFrom<String> for SecretName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}
impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names() {
        for good in
            ["a", "_a", "1a", "STRIPE_KEY", "db.password", "a-b", "stead.need.db", "x".repeat(160).as_str()]
        {
            assert!(SecretName::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a..b", "../x", "a/b", ".a", "-a", "a b", "a\0", "ä", "x".repeat(161).as_str()]
        {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_given_as_a_name_is_not_echoed() {
        let value = "sk_live_ /0123456789abcdef0123456789";
        assert!(!SecretName::parse(value).unwrap_err().to_string().contains("0123"));
    }

    #[test]
    fn serde_checks() {
        assert!(serde_json::from_str::<SecretName>("\"a/b\"").is_err());
    }
}
