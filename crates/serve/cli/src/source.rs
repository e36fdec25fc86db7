//! Where a project comes from: what git knows of it, asked with git itself.

use std::{path::Path, process::Command};

use delivery_api::Source;

/// Repository, commit, author and whether there are changes in no commit; all absent without git.
pub(crate) fn of(folder: &Path) -> Source {
    let project = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(&project).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut source = Source { project: project.display().to_string(), ..Source::default() };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return source };
    source.commit = Some(commit);
    source.dirty = git(&["status", "--porcelain", "--", "."]).is_some_and(|changes| !changes.is_empty());
    source.author = git(&["log", "-1", "--format=%an <%ae>"]);
    source.committed_at = git(&["log", "-1", "--format=%cI"]);
    source.repository = git(&["config", "--get", "remote.origin.url"]).map(|url| without_password(&url));
    source
}

/// An address may carry credentials; they are nobody's business.
fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn credentials_are_left_out() {
        assert_eq!(without_password("https://me:pw@host/x.git"), "https://host/x.git");
        assert_eq!(without_password("git@host:x.git"), "git@host:x.git");
    }
}
