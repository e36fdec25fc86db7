//! Dockerfile: what its last stage starts, and hints on port and environment.

use super::{App, Folder, Notes, draft::literal, sources};

/// Settings that only matter inside an image.
const IMAGE_ONLY: &[&str] = &["PATH", "HOME", "DEBIAN_FRONTEND", "LANG", "LC_ALL", "TZ"];

pub(super) fn app(folder: &Folder, app: &mut App, notes: &mut Notes) {
    let Some((file, text)) = folder.first(&["Dockerfile", "Containerfile"]) else { return };
    let image = Image::read(&text);
    notes.source(file);
    for (name, value) in &image.environment {
        if name == "PORT" {
            app.reads_port = true;
        } else if !IMAGE_ONLY.contains(&name.as_str()) && !value.contains('$') && !value.starts_with('/') {
            app.environment.entry(name.clone()).or_insert_with(|| literal(value));
        }
    }
    app.port = app.port.or(image.port);
    if app.command.is_some() || folder.has("Procfile") {
        return;
    }
    let Some(command) = image.command() else { return };
    let command = super::python::interpreter(&image.outside(&command));
    if command.starts_with('/') || command.contains(" /") && image.directory.is_none() {
        notes.say(format!("The {file} starts `{command}`, which names paths inside its image: check it."));
    } else {
        notes.say(format!("The {file} says how it is started: `{command}`."));
    }
    if sources::port_argument(&command).is_none() && app.port.is_some() && !app.reads_port {
        notes.say(format!("The {file} exposes port {}.", app.port.unwrap_or_default()));
    }
    if image.installs {
        notes.say(format!("Packages that the {file} installs into its image must be on the machine; Stead does not install them."));
    }
    app.command = Some(command);
}

#[derive(Default)]
struct Image {
    entrypoint: Vec<String>,
    command: Vec<String>,
    port: Option<u16>,
    environment: Vec<(String, String)>,
    directory: Option<String>,
    installs: bool,
}

impl Image {
    fn read(text: &str) -> Self {
        let mut image = Self::default();
        for (instruction, rest) in instructions(text) {
            match instruction.as_str() {
                // Each stage starts anew; the last one is what runs.
                "FROM" => image = Self::default(),
                "CMD" => image.command = words(&rest),
                "ENTRYPOINT" => image.entrypoint = words(&rest),
                "EXPOSE" => {
                    image.port =
                        rest.split_whitespace().next().and_then(|port| port.split('/').next()?.parse().ok());
                }
                "WORKDIR" => image.directory = Some(rest.trim_end_matches('/').to_owned()),
                "ENV" => image.environment.extend(assignments(&rest)),
                "RUN" => {
                    image.installs |=
                        ["apt-get", "apk add", "yum ", "dnf "].iter().any(|tool| rest.contains(tool))
                }
                _ => {}
            }
        }
        image
    }

    fn command(&self) -> Option<String> {
        let all: Vec<&String> = self.entrypoint.iter().chain(&self.command).collect();
        match all.as_slice() {
            [] => None,
            // The shell form is kept as it was written.
            [line] if line.contains(' ') => Some((*line).clone()),
            words => Some(shell_words::join(words)),
        }
    }

    /// Paths in the image's working directory, seen from the folder.
    fn outside(&self, command: &str) -> String {
        match &self.directory {
            Some(directory) if directory.len() > 1 => {
                let inner = format!("{directory}/");
                let first = command.strip_prefix(&inner).map(|rest| format!("./{rest}"));
                first.unwrap_or_else(|| command.to_owned()).replace(&format!(" {inner}"), " ")
            }
            _ => command.to_owned(),
        }
    }
}

/// Instructions in capitals with what follows, continued lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                whole.push(' ');
            }
            None => {
                whole.push_str(line);
                if let Some((name, rest)) = whole.split_once(char::is_whitespace) {
                    all.push((name.to_uppercase(), rest.trim().to_owned()));
                }
                whole.clear();
            }
        }
    }
    all
}

/// The exec form's words, or the shell form as one.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| vec![text.to_owned()])
}

/// `A=1 B="two"`, or the old form `A 1`.
fn assignments(text: &str) -> Vec<(String, String)> {
    let words = shell_words::split(text).unwrap_or_default();
    let pairs: Vec<(String, String)> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| crate::names::is_variable(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match (pairs.is_empty(), words.split_first()) {
        (true, Some((name, rest))) if crate::names::is_variable(name) => vec![(name.clone(), rest.join(" "))],
        _ => pairs,
    }
}
