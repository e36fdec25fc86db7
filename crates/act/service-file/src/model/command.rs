//! A command: words, or a line for the shell when it uses what only a shell understands.

use serde::{Deserialize, Serialize};

use crate::template::{MissingValue, Reference, Rendered, Template};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Program and arguments. References in them are never secret.
    Words(Vec<Template>),
    /// A line for `/bin/sh -c`; the environment is its only source of values.
    Shell(String),
}

/// What a text turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedCommand {
    Words(Vec<String>),
    Shell(String),
    Unbalanced,
    Empty,
}

impl Command {
    /// Words that stand for themselves.
    pub fn words<I: IntoIterator<Item = S>, S: AsRef<str>>(words: I) -> Self {
        Self::Words(words.into_iter().map(|word| Template::literal(word.as_ref())).collect())
    }

    /// Program and arguments, references filled in.
    ///
    /// # Errors
    /// A reference that `values` does not know.
    pub fn argv(
        &self,
        mut values: impl FnMut(&Reference) -> Option<Rendered>,
    ) -> Result<Vec<String>, MissingValue> {
        match self {
            Self::Words(words) => {
                words.iter().map(|word| word.render(&mut values).map(|rendered| rendered.text)).collect()
            }
            Self::Shell(line) => Ok(["/bin/sh", "-c", line].map(str::to_owned).into()),
        }
    }

    /// Splits a line as a POSIX shell would, or leaves it to the shell when it needs one.
    #[must_use]
    pub fn parse(line: &str) -> ParsedCommand {
        if line.trim().is_empty() {
            return ParsedCommand::Empty;
        }
        match shell_words::split(line) {
            Err(_) => ParsedCommand::Unbalanced,
            Ok(_) if needs_shell(line.trim()) => ParsedCommand::Shell(line.trim().to_owned()),
            Ok(words) if words.is_empty() => ParsedCommand::Empty,
            Ok(words) => ParsedCommand::Words(words),
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(words) => f.write_str(&shell_words::join(words.iter().map(Template::as_str))),
            Self::Shell(line) => f.write_str(line),
        }
    }
}

/// Whether an unquoted part means something to a shell: pipes, lists, redirections, expansions,
/// patterns, comments, assignments before the program, several lines, or a shell's own word.
fn needs_shell(line: &str) -> bool {
    const OWN_WORDS: &[&str] =
        &["cd", "exec", "export", "set", "source", ".", "if", "for", "while", "ulimit"];
    let first = line.split_whitespace().next().unwrap_or_default();
    if OWN_WORDS.contains(&first) || is_assignment(first) {
        return true;
    }
    let mut quote = None;
    let mut word_start = true;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => {
                chars.next();
            }
            (_, '$' | '`') => return true,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '\n') => return true,
            (None, '~' | '#' | '!' | '{') if word_start => return true,
            (None, _) => {}
        }
        word_start = quote.is_none() && c.is_whitespace();
    }
    false
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| crate::names::is_variable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_split_and_shell_lines_are_not() {
        for line in ["node server.js", "a 'b c' \"d\" e\\ f", "x '$HOME' '|' a=b", "x --flag=a#b"] {
            assert!(matches!(Command::parse(line), ParsedCommand::Words(_)), "{line}");
        }
        for line in [
            "a | b",
            "a && b",
            "a > f",
            "echo $HOME",
            "echo \"$HOME\"",
            "A=1 b",
            "ls *.js",
            "cd x",
            "a\nb",
            "a `b`",
            "a # b",
            "ls ~",
        ] {
            assert!(matches!(Command::parse(line), ParsedCommand::Shell(_)), "{line}");
        }
        assert_eq!(Command::parse("a 'b"), ParsedCommand::Unbalanced);
        assert_eq!(Command::parse("  "), ParsedCommand::Empty);
    }
}
