//! File patterns with `*` and `?`, which stand within one name of a path.

use std::path::{Component, Path, PathBuf};

/// Entries that are looked at for one pattern.
const ENTRIES_MAX: usize = 100_000;

/// The files that `pattern` names, in order. A pattern without a wildcard names itself, whether it is
/// there or not.
///
/// # Errors
/// More than `most` files, or folders too large to look through, in words.
pub fn files_matching(pattern: &Path, most: usize) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    let mut looked_at = 0;
    for component in pattern.components() {
        let name = match component {
            Component::Normal(name) => name.to_string_lossy().into_owned(),
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(&name));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.filter_map(Result::ok) {
                looked_at += 1;
                if looked_at > ENTRIES_MAX {
                    return Err(format!("the pattern passes {ENTRIES_MAX} files"));
                }
                if matches(name.as_bytes(), entry.file_name().as_encoded_bytes()) {
                    next.push(folder.join(entry.file_name()));
                }
            }
        }
        next.sort();
        found = next;
    }
    if found.len() > most {
        return Err(format!("the pattern names {} files, at most {most} are read", found.len()));
    }
    Ok(found)
}

/// Whether `name` is of the form of `pattern`; time grows with the product of their lengths at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.json", false),
            ("a?c*", "abcd", true),
            ("*a*b", "xaxxb", true),
            ("a*", "b", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }
}
