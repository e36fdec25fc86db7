//! Regular expressions as Prometheus takes them (RE2 syntax, Go's `regexp`), in the syntax of the
//! `regex` crate.

/// `pattern`, written for the `regex` crate so that it matches what it matches in Go.
///
/// The two differ in what people do write: `\d`, `\w`, `\s` and `\b` are ASCII in Go; a brace that
/// repeats nothing stands for itself (`/api/{id}`); `[` within a class does, and so do `&&` and `~~`;
/// `\Q…\E` quotes; `\123` is octal. What is an error in Go may be accepted.
#[must_use]
pub fn from_re2(pattern: &str) -> String {
    let mut translator = Translator { rest: pattern, out: String::with_capacity(pattern.len() + 16) };
    while let Some(letter) = translator.take() {
        match letter {
            '\\' => translator.escape(false),
            '[' => translator.class(),
            '{' => translator.brace(),
            other => translator.out.push(other),
        }
    }
    translator.out
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Translator<'a> {
    fn take(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let letter = letters.next()?;
        self.rest = letters.as_str();
        Some(letter)
    }

    fn accept(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes up to the end of `end`, or nothing when it does not come.
    fn take_through(&mut self, end: &str) -> Option<&'a str> {
        let at = self.rest.find(end)? + end.len();
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        Some(taken)
    }

    /// A brace repeats when a number or a range of numbers is in it.
    fn brace(&mut self) {
        let is_repetition = self.rest.split_once('}').is_some_and(|(inner, _)| {
            let (min, max) = inner.split_once(',').unwrap_or((inner, ""));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            !min.is_empty() && digits(min) && digits(max)
        });
        self.out.push_str(if is_repetition { "{" } else { "\\{" });
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some(letter) = self.take() else {
            self.out.push('\\');
            return;
        };
        let (inner, negated) = match letter {
            'd' | 'D' => ("0-9", letter == 'D'),
            'w' | 'W' => ("0-9A-Za-z_", letter == 'W'),
            's' | 'S' => ("\\t\\n\\f\\r ", letter == 'S'),
            _ => return self.other_escape(letter, in_class),
        };
        match (in_class, negated) {
            (true, false) => self.out.push_str(inner),
            (_, true) => self.out.extend(["[^", inner, "]"]),
            (false, false) => self.out.extend(["[", inner, "]"]),
        }
    }

    fn other_escape(&mut self, letter: char, in_class: bool) {
        match letter {
            'b' if !in_class => self.out.push_str("(?-u:\\b)"),
            'B' if !in_class => self.out.push_str("(?-u:\\B)"),
            'Q' if !in_class => {
                let quoted = self.take_through("\\E").map(|taken| &taken[..taken.len() - 2]);
                let quoted = quoted.unwrap_or_else(|| std::mem::take(&mut self.rest));
                self.out.push_str(&regex::escape(quoted));
            }
            '0' => self.octal(0, 2),
            // A digit alone would be a reference back, which neither has.
            '1'..='7' if self.rest.starts_with(|next: char| next.is_digit(8)) => {
                self.octal(letter.to_digit(8).unwrap_or(0), 2);
            }
            'p' | 'P' | 'x' if self.rest.starts_with('{') => {
                self.out.extend(['\\', letter]);
                let name = self.take_through("}").unwrap_or_default();
                self.out.push_str(name);
            }
            // These are boundaries of words in the `regex` crate.
            '<' | '>' => self.out.push(letter),
            other => self.out.extend(['\\', other]),
        }
    }

    fn octal(&mut self, first: u32, more: usize) {
        let mut value = first;
        for _ in 0..more {
            let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else { break };
            value = value * 8 + digit;
            self.take();
        }
        self.out.push_str(&format!("\\x{{{value:x}}}"));
    }

    /// What follows an opening bracket, up to the closing one.
    fn class(&mut self) {
        self.out.push('[');
        if self.accept('^') {
            self.out.push('^');
        }
        if self.accept(']') {
            self.out.push_str("\\]");
        }
        while let Some(letter) = self.take() {
            match letter {
                ']' => return self.out.push(']'),
                '\\' => self.escape(true),
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    self.out.push('[');
                    let name = self.take_through(":]").unwrap_or_default();
                    self.out.push_str(name);
                }
                '[' | '&' | '~' => self.out.extend(['\\', letter]),
                other => self.out.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Regex::new(&format!("^(?s:{})$", from_re2(pattern))).unwrap().is_match(text)
    }

    #[test]
    fn what_differs_from_go_is_translated() {
        for (pattern, yes, no) in [
            ("/api/{id}", "/api/{id}", "/api/id"),
            ("a{2}", "aa", "a"),
            ("a{2,}b{,3}", "aaab{,3}", "ab"),
            ("{a}", "{a}", "a"),
            ("\\d+", "12", "٣"),
            ("\\w", "a", "é"),
            ("\\W", "é", "a"),
            ("[\\w.]+", "a.b", "é"),
            ("[^\\s]", "\u{a0}", " "),
            ("[\\S]", "a", " "),
            ("a\\b.*", "aé", "ab"),
            ("a\\Bb", "ab", "a b"),
            ("[[]", "[", "]"),
            ("[]a]+", "]a", "["),
            ("[^]]", "a", "]"),
            ("[a&&b]+", "&ab", "c"),
            ("[~~x]+", "~x", "y"),
            ("[[:alpha:]_]+", "a_b", "1"),
            ("\\Qa.b\\E+", "a.bb", "aXb"),
            ("\\Q(x", "(x", "x"),
            ("\\101\\060", "A0", "B"),
            ("\\p{Greek}\\x{41}", "αA", "aA"),
            ("\\<b\\>", "<b>", "b"),
            ("(?i)ab|c{1}", "AB", "abc"),
            ("\\{x\\}", "{x}", "x"),
        ] {
            assert!(matches(pattern, yes), "{pattern} has to match {yes}: {}", from_re2(pattern));
            assert!(!matches(pattern, no), "{pattern} must not match {no}: {}", from_re2(pattern));
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for pattern in ["(", "a)", "[a", "*", "\\1", "a**b(", "\\", "[\\", "\\p{", "[[:alpha:"] {
            let translated = from_re2(pattern);
            assert!(Regex::new(&translated).is_err(), "{pattern}: {translated}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_translated(pattern in "[a-c\\[\\](){}\\\\^$.*+?|&~:,0-9QEdDwWsSbBpx<>-]{0,20}|.{0,20}") {
            let _ = Regex::new(&from_re2(&pattern));
        }

        #[test]
        fn escaped_text_matches_itself(text in ".{0,20}") {
            prop_assert!(matches(&regex::escape(&text), &text));
        }
    }
}
