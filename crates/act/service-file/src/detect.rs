//! `stead init`: a first service file from what stands in a folder.
//!
//! It reads what other tools left there (compose.yaml, Procfile, package.json, Cargo.toml, Python's
//! files, Dockerfile, index.html), runs nothing, and says every guess as a sentence. The text is
//! meant to be read and changed; it is always one that [`crate::parse`] takes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use self::draft::{Draft, Port};

mod cargo;
mod compose;
mod docker;
mod draft;
mod node;
mod procfile;
mod python;
mod sources;

/// A first service file and what was assumed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The text of the file.
    pub text: String,
    /// One sentence each, in the order of the file.
    pub assumptions: Vec<String>,
    /// False when nothing was recognised: the text is then a form to fill in.
    pub recognised: bool,
}

/// Larger files are not looked into.
const LOOKED_AT_BYTES_MAX: u64 = 256 << 10;

/// Looks at a folder and writes a first service file for it.
///
/// # Errors
/// The folder cannot be read.
pub fn detect(folder: &Path) -> io::Result<Detected> {
    fs::read_dir(folder)?;
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let named = whole.file_name().and_then(|name| crate::names::label(&name.to_string_lossy()));
    let name = named.unwrap_or_else(|| "service".to_owned());
    let folder = Folder::new(folder);
    let mut notes = Notes::default();
    let mut drafts = compose::drafts(&folder, &mut notes).unwrap_or_default();
    if drafts.is_empty() {
        drafts = services(&folder, &name, &mut notes);
        compose::add_needs(&folder, &mut drafts, &mut notes);
    }
    settle(&mut drafts, &mut notes);
    let recognised = drafts.iter().any(|draft| draft.command.is_some());
    if drafts.is_empty() {
        notes.say("Nothing in this folder says how to run it; fill in `run.command`.");
        drafts.push(Draft::named(&name));
    }
    Ok(Detected { text: draft::write(&drafts, &notes.sources), assumptions: notes.sentences, recognised })
}

/// The services that a folder's own files describe.
fn services(folder: &Folder, name: &str, notes: &mut Notes) -> Vec<Draft> {
    if let Some(all) = node::workspaces(folder, notes).or_else(|| cargo::workspace(folder, notes)) {
        return all;
    }
    let mut app = App::default();
    node::app(folder, &mut app, notes);
    python::app(folder, &mut app, notes);
    cargo::app(folder, &mut app, notes);
    docker::app(folder, &mut app, notes);
    python::guess(folder, &mut app, notes);
    let mut drafts = procfile::drafts(folder, name, &app, notes);
    if drafts.is_empty() {
        let Some(command) = app.command.clone().or_else(|| static_site(folder, &mut app, notes)) else {
            return Vec::new();
        };
        drafts.push(app.draft(name, command));
    }
    sources::settle_port(folder, &mut drafts[0], &app);
    drafts
}

/// What can only be said once all services are known: how each listens, and who has the front door.
fn settle(drafts: &mut [Draft], notes: &mut Notes) {
    let several = drafts.len() > 1;
    for draft in drafts.iter() {
        if let Some(listens) = &draft.listens {
            notes.say(if several { format!("`{}`: {listens}", draft.name) } else { listens.clone() });
        }
    }
    let mut exposed: Vec<&mut Draft> = drafts.iter_mut().filter(|draft| draft.expose).collect();
    if exposed.len() < 2 {
        return;
    }
    let is_front =
        |draft: &Draft| matches!(draft.name.as_str(), "web" | "frontend" | "front" | "app" | "www");
    let front = exposed.iter().position(|draft| is_front(draft)).unwrap_or(0);
    for (at, draft) in exposed.iter_mut().enumerate() {
        if at != front {
            draft.path = Some(format!("/{}", draft.name));
            notes.say(format!("`{0}` is reached under /{0}, which is taken off the path.", draft.name));
        }
    }
    notes.say(format!("`{}` is reached under /.", exposed[front].name));
}

fn static_site(folder: &Folder, app: &mut App, notes: &mut Notes) -> Option<String> {
    folder.has("index.html").then(|| {
        notes.source("index.html");
        notes.say("There is an index.html and no program, so Python's web server serves the folder.");
        app.reads_port = true;
        "python3 -m http.server --bind 127.0.0.1 $PORT".to_owned()
    })
}

/// What was learned of an application before it is written down.
#[derive(Debug, Clone, Default)]
struct App {
    build: Vec<String>,
    command: Option<String>,
    environment: BTreeMap<String, String>,
    jobs: Vec<(String, String, bool)>,
    /// A port that a Dockerfile or a command names.
    port: Option<u16>,
    /// Whether the program is known to listen where `PORT` says.
    reads_port: bool,
    /// Files of source to look into for how it listens.
    sources: Vec<PathBuf>,
    /// Python packages are installed beside the program.
    python: bool,
    /// A dependency that talks to a database or a cache, with the need that would fit.
    suggested: Vec<(String, &'static str)>,
}

impl App {
    fn draft(&self, name: &str, command: String) -> Draft {
        Draft {
            build: self.build.clone(),
            command: Some(if self.python { python::adapt(&command) } else { command }),
            environment: self.environment.clone(),
            jobs: self.jobs.clone(),
            expose: true,
            port: self.port.filter(|_| !self.reads_port).map_or(Port::Given, Port::Fixed),
            suggested: self.suggested.clone(),
            ..Draft::named(name)
        }
    }
}

/// The sentences, and the files that were used.
#[derive(Debug, Default)]
struct Notes {
    sentences: Vec<String>,
    sources: Vec<String>,
}

impl Notes {
    fn say(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.sentences.contains(&sentence) {
            self.sentences.push(sentence);
        }
    }

    fn source(&mut self, file: &str) {
        if !self.sources.iter().any(|known| known == file) {
            self.sources.push(file.to_owned());
        }
    }
}

/// A folder whose small files can be read.
#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn inner(&self, path: &str) -> Self {
        Self { path: self.path.join(path) }
    }

    fn has(&self, file: &str) -> bool {
        self.path.join(file).is_file()
    }

    /// The text of a file, if it is there, small and text.
    fn read(&self, file: impl AsRef<Path>) -> Option<String> {
        let path = self.path.join(file);
        let found = fs::metadata(&path).ok()?;
        if !found.is_file() || found.len() > LOOKED_AT_BYTES_MAX {
            return None;
        }
        fs::read_to_string(path).ok()
    }

    /// The first of these files that is there, with its text.
    fn first<'f>(&self, files: &[&'f str]) -> Option<(&'f str, String)> {
        files.iter().find_map(|file| self.read(file).map(|text| (*file, text)))
    }

    /// Folders that `packages/*` or `api` name, relative to this one, in order.
    fn matching(&self, pattern: &str) -> Vec<String> {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        let Some(parent) = pattern.strip_suffix("/*") else {
            return if self.path.join(pattern).is_dir() { vec![pattern.to_owned()] } else { Vec::new() };
        };
        let mut found: Vec<String> = fs::read_dir(self.path.join(parent))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(|name| format!("{parent}/{name}"))
            .collect();
        found.sort();
        found
    }
}
