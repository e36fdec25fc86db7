//! Procfile: `web` is the service, `release` a job before each release, others workers of their own.

use super::{App, Draft, Folder, Notes, draft::Port};

pub(super) fn drafts(folder: &Folder, name: &str, app: &App, notes: &mut Notes) -> Vec<Draft> {
    let Some(text) = folder.read("Procfile") else { return Vec::new() };
    let entries: Vec<(&str, &str)> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(kind, command)| (kind.trim(), command.trim()))
        .filter(|(kind, command)| !kind.is_empty() && !command.is_empty())
        .collect();
    if entries.is_empty() {
        return Vec::new();
    }
    notes.source("Procfile");
    let adapt = |command: &str| if app.python { super::python::adapt(command) } else { command.to_owned() };
    let release = entries.iter().find(|(kind, _)| *kind == "release");
    let mut drafts = Vec::new();
    if let Some((_, command)) = entries.iter().find(|(kind, _)| *kind == "web") {
        notes.say(format!("The Procfile's `web` runs the service: `{command}`."));
        let mut draft = app.draft(name, (*command).to_owned());
        if command.contains("$PORT") || command.contains("${PORT") {
            draft.port = Port::Given;
        }
        drafts.push(draft);
    }
    for (kind, command) in entries.iter().filter(|(kind, _)| !matches!(*kind, "web" | "release")) {
        let Some(label) = crate::names::label(kind) else { continue };
        notes.say(format!("The Procfile's `{kind}` becomes a service of its own, which listens on nothing."));
        let mut draft = app.draft(&format!("{name}-{label}"), (*command).to_owned());
        draft.port = Port::None;
        draft.expose = false;
        draft.jobs.clear();
        drafts.push(draft);
    }
    if let Some((_, command)) = release {
        notes.say(format!("The Procfile's `release` runs before each release: `{command}`."));
        match drafts.first_mut() {
            Some(first) => first.jobs = vec![("release".into(), adapt(command), true)],
            None => notes.say("There is no process to go with it, so it is left out."),
        }
    }
    if drafts.len() > 1 && drafts.iter().any(|draft| !draft.suggested.is_empty()) {
        notes.say(
            "Each service has needs of its own: one database for all of them has to be given by its address.",
        );
    }
    drafts
}
