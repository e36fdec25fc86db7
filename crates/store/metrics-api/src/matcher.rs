//! What a series has to have: a label that equals, differs from, or matches an expression.

use std::{fmt, sync::Arc};

use regex::{Regex, RegexBuilder};

use crate::{Error, Labels, Result};

/// Size of a compiled regular expression.
pub const REGEX_SIZE_BYTES_MAX: usize = 10 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// One condition on one label. A missing label counts as an empty value; expressions are anchored
/// on both ends, `.` matches a line feed too, and they are read as Prometheus does ([`crate::from_re2`]).
#[derive(Debug, Clone)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    regex: Option<Arc<Regex>>,
}

impl Matcher {
    /// # Errors
    /// [`Error::Regex`] when the value of `=~` or `!~` is no regular expression, or compiles to more
    /// than [`REGEX_SIZE_BYTES_MAX`].
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => {
                let whole = format!("^(?s:{})$", crate::from_re2(&value));
                let built = RegexBuilder::new(&whole).size_limit(REGEX_SIZE_BYTES_MAX).build();
                Some(Arc::new(built.map_err(|why| Error::regex(&value, &why))?))
            }
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name` equals `value`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether a label of this value (empty: no such label) meets the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let found = self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => found,
            MatchOp::NotRegex => !found,
        }
    }

    #[must_use]
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }

    /// Whether a series without the label meets it: then an index of that label alone cannot answer.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}
impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if crate::labels::is_classic_name(&self.name, false) {
            f.write_str(&self.name)?;
        } else {
            crate::labels::write_quoted(f, &self.name)?;
        }
        write!(f, "{}", self.op)?;
        crate::labels::write_quoted(f, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_anchored_and_missing_is_empty() {
        let matcher = Matcher::new("a", MatchOp::Regex, "b.*|c").unwrap();
        assert!(matcher.matches("b\nx") && matcher.matches("c") && !matcher.matches("cc"));
        assert!(!matcher.matches_empty());
        assert!(Matcher::new("a", MatchOp::NotEqual, "x").unwrap().matches_labels(&Labels::empty()));
        assert!(Matcher::new("a", MatchOp::Regex, "(").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "/api/{id}").unwrap().matches("/api/{id}"));
    }

    #[test]
    fn a_huge_expression_is_refused() {
        let refused = Matcher::new("a", MatchOp::Regex, "(a{1000}){1000}").unwrap_err();
        assert!(refused.to_string().contains("regular expression"), "{refused}");
    }
}
