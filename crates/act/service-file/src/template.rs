//! Text with `${…}` references, filled in when a replica is started.
//!
//! `$${` stands for a plain `${`. A `$` before anything else is itself.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// `${needs.db.url}`
    Need { need: String, output: String },
    /// `${config.LOG_LEVEL}`
    Config(String),
    /// `${secrets.STRIPE_KEY}`; makes the whole text secret.
    Secret(String),
    /// `${service.name}`; one of [`Reference::SERVICE_FIELDS`].
    Service(String),
    /// `${port}` (the main port) or `${ports.admin}`.
    Port(Option<String>),
}

impl Reference {
    pub const SERVICE_FIELDS: &'static [&'static str] = &["environment", "name", "tenant", "tier"];
    pub(crate) const ROOTS: &'static [&'static str] =
        &["config", "needs", "port", "ports", "secrets", "service"];

    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) || text.contains(char::is_whitespace) {
            return Err(format!("`${{{text}}}` is no reference"));
        }
        let own = |text: &str| text.to_owned();
        match parts.as_slice() {
            ["needs", need, output] => Ok(Self::Need { need: own(need), output: own(output) }),
            ["needs", ..] => Err(format!("`${{{text}}}` does not say which value of which need")),
            ["config", name] => Ok(Self::Config(own(name))),
            ["secrets", name] => Ok(Self::Secret(own(name))),
            ["service", field] => Ok(Self::Service(own(field))),
            ["port"] => Ok(Self::Port(None)),
            ["ports", name] => Ok(Self::Port(Some(own(name)))),
            // Names in config and secrets may have dots of their own.
            ["config", ..] if parts.len() > 2 => Ok(Self::Config(own(&text["config.".len()..]))),
            ["secrets", ..] if parts.len() > 2 => Ok(Self::Secret(own(&text["secrets.".len()..]))),
            _ => Err(format!("nothing is called `{text}`")),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Need { need, output } => write!(f, "needs.{need}.{output}"),
            Self::Config(name) => write!(f, "config.{name}"),
            Self::Secret(name) => write!(f, "secrets.{name}"),
            Self::Service(field) => write!(f, "service.{field}"),
            Self::Port(None) => f.write_str("port"),
            Self::Port(Some(name)) => write!(f, "ports.{name}"),
        }
    }
}

/// A value for a reference. Its debug form hides a secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    pub text: String,
    /// The text holds something secret: it never reaches a disk, a log or an argument list.
    pub secret: bool,
}

impl Rendered {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: false }
    }
    pub fn secret(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: true }
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("<secret>") } else { write!(f, "{:?}", self.text) }
    }
}

/// A text with references, checked for form. Serialised as it was written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Reference(Reference, Range<usize>),
}

/// Why a text is no template, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidTemplate {
    pub message: String,
    /// Bytes of the text.
    pub range: Range<usize>,
    pub hint: Option<String>,
}

/// A reference that had no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`${{{0}}}` has no value")]
pub struct MissingValue(pub Reference);

impl Template {
    /// # Errors
    /// All `${` that are not closed or name nothing that exists.
    pub fn parse(text: &str) -> Result<Self, Vec<InvalidTemplate>> {
        let mut parts = Vec::new();
        let mut wrong = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("${") {
            let start = at + found;
            if text[..start].ends_with('$') && start > at {
                plain.push_str(&text[at..start - 1]);
                plain.push_str("${");
                at = start + 2;
                continue;
            }
            plain.push_str(&text[at..start]);
            let Some(length) = text[start..].find(['}', '\n']).filter(|n| text.as_bytes()[start + n] == b'}')
            else {
                wrong.push(unclosed(text, start));
                at = start + 2;
                continue;
            };
            let end = start + length + 1;
            match Reference::parse(&text[start + 2..end - 1]) {
                Ok(reference) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Reference(reference, start..end));
                }
                Err(message) => wrong.push(unknown(message, &text[start + 2..end - 1], start..end)),
            }
            at = end;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if wrong.is_empty() { Ok(Self { source: text.to_owned(), parts }) } else { Err(wrong) }
    }

    /// A template that is exactly this text.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Self { source: text.replace("${", "$${"), parts }
    }

    /// A template that is one reference.
    #[must_use]
    pub fn reference(reference: &Reference) -> Self {
        let source = format!("${{{reference}}}");
        let range = 0..source.len();
        Self { source, parts: vec![Part::Reference(reference.clone(), range)] }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The text, if it needs no values.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What it refers to, each with its bytes in [`Template::as_str`].
    pub fn references(&self) -> impl Iterator<Item = (&Reference, Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Reference(reference, range) => Some((reference, range.clone())),
        })
    }

    /// Fills in the references. The outcome is secret when any value in it is.
    ///
    /// # Errors
    /// The first reference that `values` does not know.
    pub fn render(
        &self,
        mut values: impl FnMut(&Reference) -> Option<Rendered>,
    ) -> Result<Rendered, MissingValue> {
        let mut out = Rendered::default();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.text.push_str(text),
                Part::Reference(reference, _) => {
                    let value = values(reference).ok_or_else(|| MissingValue(reference.clone()))?;
                    out.text.push_str(&value.text);
                    out.secret |= value.secret;
                }
            }
        }
        Ok(out)
    }
}

fn unclosed(text: &str, start: usize) -> InvalidTemplate {
    let end = text[start..].find('\n').map_or(text.len(), |n| start + n);
    InvalidTemplate {
        message: "this `${` is never closed".into(),
        range: start..end,
        hint: Some("close it with `}`, or write `$${` for a plain `${`".into()),
    }
}

fn unknown(message: String, inner: &str, range: Range<usize>) -> InvalidTemplate {
    let root = inner.split('.').next().unwrap_or_default();
    let shape = "a reference is one of `needs.NEED.VALUE`, `config.NAME`, `secrets.NAME`, \
                 `service.name`, `port` and `ports.NAME`; `$${` stands for a plain `${`";
    let hint = match crate::suggest::nearest(root, Reference::ROOTS.iter().copied()) {
        Some(near) if near != root => {
            format!("did you mean `${{{near}{}}}`? `$${{` stands for a plain `${{`", &inner[root.len()..])
        }
        _ => shape.to_owned(),
    };
    InvalidTemplate { message, range, hint: Some(hint) }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.source
    }
}
impl TryFrom<String> for Template {
    type Error = InvalidTemplate;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).map_err(|mut wrong| wrong.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str) -> Rendered {
        let values = |reference: &Reference| match reference {
            Reference::Secret(_) => Some(Rendered::secret("s3cret")),
            Reference::Port(None) => Some(Rendered::plain("8080")),
            Reference::Need { output, .. } => Some(Rendered::plain(output.to_uppercase())),
            _ => None,
        };
        Template::parse(text).unwrap().render(values).unwrap()
    }

    #[test]
    fn references_are_filled_in_and_secrets_mark_the_text() {
        assert_eq!(render("http://x:${port}/"), Rendered::plain("http://x:8080/"));
        assert_eq!(render("a ${needs.db.host} $b"), Rendered::plain("a HOST $b"));
        assert_eq!(render("Bearer ${secrets.K}"), Rendered::secret("Bearer s3cret"));
        assert_eq!(format!("{:?}", render("${secrets.K}")), "<secret>");
        assert_eq!(render("$${port} $$${port}"), Rendered::plain("${port} $${port}"));
        assert_eq!(render("cost $5"), Rendered::plain("cost $5"));
    }

    #[test]
    fn wrong_references_say_where() {
        let wrong = Template::parse("x ${prt} ${needs.db} ${ports.a").unwrap_err();
        let at: Vec<_> = wrong.iter().map(|w| w.range.clone()).collect();
        assert_eq!(at, [2..8, 9..20, 21..30]);
        assert!(wrong[0].hint.as_deref().unwrap().contains("`${port}`"), "{wrong:?}");
    }

    #[test]
    fn a_missing_value_is_named() {
        let template = Template::parse("${config.X}").unwrap();
        assert_eq!(template.render(|_| None).unwrap_err().to_string(), "`${config.X}` has no value");
    }

    proptest! {
        #[test]
        fn any_literal_renders_as_itself(text in "[${}a-z.\n]{0,40}") {
            let literal = Template::literal(&text);
            prop_assert_eq!(&literal.render(|_| None).unwrap().text, &text);
            let again = Template::parse(literal.as_str()).unwrap();
            prop_assert_eq!(&again.render(|_| None).unwrap().text, &text);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}|[${}a-z.\u{e4}]{0,40}") {
            if let Err(wrong) = Template::parse(&text) {
                for one in wrong {
                    prop_assert!(text.get(one.range).is_some());
                }
            }
        }
    }
}
