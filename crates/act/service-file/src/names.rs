//! What names and paths may look like.

/// An environment variable: letters, digits and `_`, not starting with a digit.
pub(crate) fn is_variable(text: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A name in the secret store: letters, digits, `_`, `-`, `.` and `/`.
pub(crate) fn is_secret(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// Whether the secret store takes it as a name that people may use: no `/`, no `..`, and not one of
/// the platform's own, which hold what it made up for databases.
pub(crate) fn is_stored(text: &str) -> bool {
    is_secret(text) && !text.contains('/') && !text.contains("..") && !text.starts_with("stead.")
}

/// A path inside a folder: relative, no `..`, no NUL.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path.starts_with('/')
        && !path.contains('\0')
        && path.split('/').all(|part| part != "..")
}

/// Makes a label of a folder's name, if that is possible.
pub(crate) fn label(text: &str) -> Option<String> {
    let lower: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let trimmed = lower.trim_matches('-').trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    let cut: String = trimmed.chars().take(base::id::NameId::LENGTH_MAX).collect();
    let label = cut.trim_end_matches('-').to_owned();
    (!label.is_empty()).then_some(label)
}

/// A host name, or one with `*` as its first label.
pub(crate) fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    !name.is_empty()
        && text.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}
