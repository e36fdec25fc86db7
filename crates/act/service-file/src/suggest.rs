//! Did you mean: the nearest of the words that would have been right.

/// At most this many characters are compared; longer texts are no typos.
const COMPARED_CHARS_MAX: usize = 64;

/// The word nearest to `given`, if it is near enough to be a slip of the hand.
pub fn nearest<'w>(given: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if given.is_empty() || given.len() > COMPARED_CHARS_MAX {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(given);
    let allowed = if wanted.chars().count() <= 4 { 1 } else { wanted.chars().count().div_ceil(3) };
    words
        .into_iter()
        .filter(|word| word.len() <= COMPARED_CHARS_MAX)
        .map(|word| (distance(&wanted, &plain(word)), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// An edit distance in which a beginning of the other word is near: `env` and `environment`.
fn distance(given: &str, word: &str) -> usize {
    let edits = strsim::damerau_levenshtein(given, word);
    if given.len() >= 3 && (word.starts_with(given) || given.starts_with(word) && word.len() >= 3) {
        edits.min(1)
    } else {
        edits
    }
}

/// ``did you mean `x`?``, or the list of all words when none is near and they are few.
pub fn hint(given: &str, words: &[&str]) -> Option<String> {
    if let Some(word) = nearest(given, words.iter().copied()) {
        return Some(format!("did you mean `{word}`?"));
    }
    const LISTED_MAX: usize = 24;
    match words {
        [] => None,
        [only] => Some(format!("only `{only}` is possible here")),
        _ if words.len() <= LISTED_MAX => Some(format!("possible are {}", list(words))),
        _ => None,
    }
}

/// `` `a`, `b` and `c` ``.
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["environment", "command", "working_directory", "port", "ports"];
        for (given, want) in [
            ("comand", Some("command")),
            ("env", Some("environment")),
            ("workingDirectory", Some("working_directory")),
            ("prot", Some("port")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, words), want, "{given}");
        }
    }
}
