//! A service on its way to being text.

use std::collections::BTreeMap;

use crate::template::Template;

#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) build: Vec<String>,
    pub(super) command: Option<String>,
    pub(super) working_directory: Option<String>,
    /// Values may have references already.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) port: Port,
    /// Name, command, whether it runs before a release.
    pub(super) jobs: Vec<(String, String, bool)>,
    pub(super) needs: Vec<Need>,
    pub(super) expose: bool,
    /// How its port was guessed, in words.
    pub(super) listens: Option<String>,
    /// The path it is reached under, when `/` is another's.
    pub(super) path: Option<String>,
    pub(super) secrets: Vec<String>,
    pub(super) suggested: Vec<(String, &'static str)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) name: String,
    /// `postgres`, `redis`, or the name of a service.
    pub(super) kind: String,
    pub(super) version: Option<String>,
    /// A variable for its URL other than the usual one.
    pub(super) url: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Port {
    /// Told in `PORT`.
    #[default]
    Given,
    Fixed(u16),
    None,
}

impl Draft {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// The text of the file: one document for each service.
pub(super) fn write(drafts: &[Draft], sources: &[String]) -> String {
    let made_from = match sources {
        [] => String::new(),
        files => format!(" from {}", files.join(", ")),
    };
    let mut out = format!("# Written by `stead init`{made_from}. Change what does not fit.\n");
    for (at, draft) in drafts.iter().enumerate() {
        if drafts.len() > 1 {
            out.push_str(if at == 0 { "---\n" } else { "\n---\n" });
        }
        document(&mut out, draft);
    }
    out
}

fn document(out: &mut String, draft: &Draft) {
    line(out, 0, &format!("name: {}", scalar(&draft.name)));
    match &draft.command {
        Some(command) => run(out, draft, command),
        None => {
            line(out, 0, "# run:");
            line(out, 0, "#   command: ./serve    # listens on the port that PORT names");
            line(out, 0, "# expose: /");
        }
    }
    jobs(out, draft);
    needs(out, draft);
    if !draft.secrets.is_empty() {
        line(out, 0, "# Set each with `stead secret set NAME`.");
        line(out, 0, "secrets:");
        for name in &draft.secrets {
            line(out, 1, &format!("- {}", scalar(name)));
        }
    }
    if draft.expose && draft.command.is_some() {
        match &draft.path {
            Some(path) => line(out, 0, &format!("expose: {{path: {path}, strip_prefix: true}}")),
            None => line(out, 0, "expose: /"),
        }
    }
}

fn run(out: &mut String, draft: &Draft, command: &str) {
    line(out, 0, "run:");
    match draft.build.as_slice() {
        [] => {}
        [only] => line(out, 1, &format!("build: {}", scalar(only))),
        all => {
            line(out, 1, "build:");
            for step in all {
                line(out, 2, &format!("- {}", scalar(step)));
            }
        }
    }
    line(out, 1, &format!("command: {}", scalar(command)));
    if let Some(folder) = &draft.working_directory {
        line(out, 1, &format!("working_directory: {}", scalar(folder)));
    }
    match draft.port {
        Port::Given => {}
        Port::Fixed(number) => {
            line(out, 1, "# It listens here whatever PORT says, so that one replica fits on a machine.");
            line(out, 1, &format!("port: {number}"));
        }
        Port::None => line(out, 1, "port: none"),
    }
    if !draft.environment.is_empty() {
        line(out, 1, "environment:");
        for (name, value) in &draft.environment {
            line(out, 2, &format!("{name}: {}", scalar(value)));
        }
    }
}

fn jobs(out: &mut String, draft: &Draft) {
    if draft.jobs.is_empty() {
        return;
    }
    line(out, 0, "jobs:");
    for (name, command, before_release) in &draft.jobs {
        line(out, 1, &format!("{}:", scalar(name)));
        line(out, 2, &format!("command: {}", scalar(command)));
        if *before_release {
            line(out, 2, "when: before_release");
        }
    }
}

fn needs(out: &mut String, draft: &Draft) {
    if draft.needs.is_empty() {
        for (dependency, kind) in &draft.suggested {
            let name = if *kind == "redis" { "cache" } else { "db" };
            line(out, 0, &format!("# It depends on `{dependency}`; if it wants a server of its own:"));
            line(out, 0, &format!("# needs: {{{name}: {{{kind}: {{}}}}}}"));
        }
        return;
    }
    line(out, 0, "needs:");
    for need in &draft.needs {
        let what = match (need.kind.as_str(), &need.version) {
            (kind @ ("postgres" | "redis"), Some(version)) => {
                format!("{kind}: {{version: {}}}", scalar(version))
            }
            (kind @ ("postgres" | "redis"), None) => format!("{kind}: {{}}"),
            (service, _) => format!("service: {}", scalar(service)),
        };
        let environment = match &need.url {
            Some(variable) => format!(", environment: {{url: {variable}}}"),
            None => String::new(),
        };
        line(out, 1, &format!("{}: {{{what}{environment}}}", scalar(&need.name)));
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    out.push_str(&"  ".repeat(depth));
    out.push_str(text);
    out.push('\n');
}

/// Text as a YAML value: plain where nothing in it means something, else in double quotes.
fn scalar(text: &str) -> String {
    let safe_start = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_./$".contains(c));
    let safe = safe_start
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains(['{', '}', '[', ']', ',', '\n', '\t', '"', '\'', '\\'])
        && !text.contains(|c: char| c.is_control())
        && !is_special(text);
    if safe { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn is_special(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~"
    ) || text.starts_with('.') && text.parse::<f64>().is_ok()
}

/// Text in which nothing is a reference.
pub(super) fn literal(text: &str) -> String {
    Template::literal(text).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back_from_the_file(value in "[ -~\u{e4}\n\t]{0,30}", command in "[a-z][ -~]{0,20}") {
            let mut draft = Draft::named("a");
            draft.environment.insert("K".into(), literal(&value));
            draft.command = Some("x".into());
            draft.build = vec![command];
            let text = write(&[draft], &[]);
            let parsed = crate::parse("a/stead.yaml", &text);
            if let Some(file) = parsed.services.first() {
                let run = file.base().run.as_ref().unwrap();
                let got = run.environment["K"].as_literal();
                prop_assert_eq!(got, Some(value.as_str()));
            } else {
                // Only the command can be wrong, by an open quote.
                prop_assert!(parsed.problems.to_string().contains("quote"), "{}\n{}", text, parsed.problems);
            }
        }
    }
}
