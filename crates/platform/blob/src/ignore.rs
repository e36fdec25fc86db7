//! Which paths to leave out, in the words of `.gitignore`.

use crate::{Error, Result, tree::invalid};

/// The file at the top of a folder that names what is left out.
pub(crate) const IGNORE_FILE: &str = ".steadignore";
/// Patterns of one set.
const PATTERNS_MAX: usize = 1_000;
/// One pattern.
const PATTERN_BYTES_MAX: usize = 512;

/// A set of patterns; the last one that matches decides.
///
/// As in `.gitignore`: empty lines and those with `#` in front say nothing; `!` in front takes a
/// path back in; `/` behind means folders only; a `/` elsewhere ties the pattern to the top, and
/// without one it matches a name in any folder; `*` and `?` match within a name, `**` across
/// names, `[a-z]` and `[!a-z]` one character; `\` takes the next one as it is. What is in a folder
/// that is left out cannot be taken back.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Names of the path, with `**` as one of its own.
    names: Vec<Vec<Token>>,
    folders_only: bool,
    take_back: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    One(char),
    Any,
    Star,
    /// All folders in between, none too. It stands alone.
    Across,
    Class {
        ranges: Vec<(char, char)>,
        not: bool,
    },
}

impl Ignore {
    /// # Errors
    /// [`Error::Invalid`] names the line; [`Error::Limit`] for too many or too long patterns.
    pub fn parse(text: &str) -> Result<Self> {
        let mut ignore = Self::default();
        ignore.extend(text)?;
        Ok(ignore)
    }

    /// Adds the patterns of `text` behind those that are there.
    ///
    /// # Errors
    /// As [`Ignore::parse`].
    pub fn extend(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            if line.len() > PATTERN_BYTES_MAX {
                let what = format!("bytes of pattern {}", number + 1);
                return Err(Error::Limit { what, limit: PATTERN_BYTES_MAX as u64 });
            }
            let wrong = |why| invalid(format!("pattern {} ({line:?}) {why}", number + 1));
            if let Some(pattern) = Pattern::parse(line).map_err(wrong)? {
                if self.patterns.len() == PATTERNS_MAX {
                    return Err(Error::Limit { what: "ignore patterns".into(), limit: PATTERNS_MAX as u64 });
                }
                self.patterns.push(pattern);
            }
        }
        Ok(())
    }

    /// Whether `path` (names separated by `/`) is left out.
    #[must_use]
    pub fn matches(&self, path: &str, is_folder: bool) -> bool {
        let names: Vec<Vec<char>> = path.split('/').map(|name| name.chars().collect()).collect();
        let decides = self
            .patterns
            .iter()
            .rev()
            .find(|p| (is_folder || !p.folders_only) && match_names(&p.names, &names));
        decides.is_some_and(|p| !p.take_back)
    }
}

impl Pattern {
    fn parse(line: &str) -> std::result::Result<Option<Self>, &'static str> {
        let line = line.trim_end_matches(['\r', ' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (take_back, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let tied = line.contains('/');
        let line = line.strip_prefix('/').unwrap_or(line);
        if line.is_empty() {
            return Err("is empty");
        }
        let mut names = Vec::new();
        if !tied {
            names.push(vec![Token::Across]);
        }
        for name in line.split('/') {
            if name == "**" {
                if names.last().is_none_or(|last| *last != [Token::Across]) {
                    names.push(vec![Token::Across]);
                }
            } else {
                names.push(tokens(name)?);
            }
        }
        // `a/**` is all in `a`, not `a` itself.
        if names.len() > 1 && tied && names.last().is_some_and(|last| *last == [Token::Across]) {
            names.push(vec![Token::Star]);
        }
        Ok(Some(Self { names, folders_only, take_back }))
    }
}

fn tokens(name: &str) -> std::result::Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => tokens.push(Token::One(chars.next().ok_or("ends with a backslash")?)),
            '?' => tokens.push(Token::Any),
            '*' if tokens.last() != Some(&Token::Star) => tokens.push(Token::Star),
            '*' => {}
            '[' => {
                let rest: String = chars.clone().collect();
                // A `]` right at the start is one of the characters.
                let skip = usize::from(rest.starts_with('!') || rest.starts_with('^'));
                let body = rest.get(skip..).unwrap_or("");
                let first = body.chars().next().map_or(0, char::len_utf8);
                let end = body.get(first..).and_then(|b| b.find(']')).ok_or("has a [ without its ]")? + first;
                tokens.push(Token::Class { ranges: ranges(&body[..end]), not: skip == 1 });
                for _ in 0..skip + body[..end].chars().count() + 1 {
                    chars.next();
                }
            }
            c => tokens.push(Token::One(c)),
        }
    }
    Ok(tokens)
}

fn ranges(class: &str) -> Vec<(char, char)> {
    let chars: Vec<char> = class.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            ranges.push((chars[at], chars[at + 2]));
            at += 3;
        } else {
            ranges.push((chars[at], chars[at]));
            at += 1;
        }
    }
    ranges
}

fn match_names(pattern: &[Vec<Token>], names: &[Vec<char>]) -> bool {
    wildcard(
        pattern,
        names,
        |token| *token == [Token::Across],
        |token, name| wildcard(token, name, |t| *t == Token::Star, match_one),
    )
}

fn match_one(token: &Token, c: &char) -> bool {
    match token {
        Token::One(one) => one == c,
        Token::Any => true,
        Token::Star | Token::Across => false,
        Token::Class { ranges, not } => ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != *not,
    }
}

/// Matches all of `text`, where what `is_star` matches any number of items. It goes back to the
/// last star only, and so never takes more than pattern times text steps.
fn wildcard<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && is_star(&pattern[p]) {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && matches(&pattern[p], &text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_git() {
        for (pattern, path, is_folder, left_out) in [
            ("target/", "target", true, true),
            ("target/", "a/target", true, true),
            ("target/", "target", false, false),
            ("*.log", "a/b/x.log", false, true),
            ("*.log", "x.log.gz", false, false),
            ("/build", "build", false, true),
            ("/build", "a/build", false, false),
            ("a/b", "a/b", false, true),
            ("a/b", "c/a/b", false, false),
            ("**/b", "b", false, true),
            ("**/b", "x/y/b", false, true),
            ("a/**/b", "a/b", false, true),
            ("a/**/b", "a/x/y/b", false, true),
            ("a/**", "a/x/y", false, true),
            ("a/**", "a", true, false),
            ("?at", "cat", false, true),
            ("?at", "at", false, false),
            ("[a-c]x", "bx", false, true),
            ("[!a-c]x", "bx", false, false),
            ("[]x]y", "]y", false, true),
            ("\\#x", "#x", false, true),
            ("\\!x", "!x", false, true),
            ("a*b*c", "aXbYc", false, true),
            ("a*b*c", "a/b/c", false, false),
            ("node_modules", "web/node_modules", true, true),
            ("# note", "# note", false, false),
        ] {
            let ignore = Ignore::parse(pattern).unwrap();
            assert_eq!(ignore.matches(path, is_folder), left_out, "{pattern} on {path}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        let ignore = Ignore::parse("*.log\n!keep.log\nkeep.log/\r\n\n  \n").unwrap();
        assert!(ignore.matches("a.log", false));
        assert!(!ignore.matches("keep.log", false));
        assert!(ignore.matches("keep.log", true));
    }

    #[test]
    fn wrong_patterns_are_named() {
        for bad in ["[ab", "/", "a\\"] {
            let Err(Error::Invalid { what }) = Ignore::parse(&format!("fine\n{bad}")) else {
                panic!("{bad} was taken")
            };
            assert!(what.contains("pattern 2"), "{what}");
        }
        assert!(matches!(Ignore::parse(&"x".repeat(PATTERN_BYTES_MAX + 1)), Err(Error::Limit { .. })));
        assert!(matches!(Ignore::parse(&"x\n".repeat(PATTERNS_MAX + 1)), Err(Error::Limit { .. })));
    }

    proptest! {
        #[test]
        fn parsing_and_matching_never_panic(pattern in "[a!*?\\[\\]/\\\\é-]{0,12}", path in "[aé/-]{0,12}") {
            if let Ok(ignore) = Ignore::parse(&pattern) {
                let _ = ignore.matches(&path, false);
            }
        }

        #[test]
        fn a_literal_matches_itself_only(a in "[a-z]{1,6}", b in "[a-z]{1,6}") {
            let ignore = Ignore::parse(&a).unwrap();
            prop_assert_eq!(ignore.matches(&b, false), a == b);
        }
    }
}
