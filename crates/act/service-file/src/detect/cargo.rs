//! Cargo.toml: programs of a package, or of the packages of a workspace.

use toml::{Table, Value};

use super::{App, Draft, Folder, Notes, sources};

const PROGRAMS_MAX: usize = 50;

pub(super) fn app(folder: &Folder, app: &mut App, notes: &mut Notes) {
    let Some(manifest) = read(folder) else { return };
    let programs = programs(folder, &manifest);
    let wanted =
        manifest.get("package").and_then(|package| package.get("default-run")).and_then(Value::as_str);
    let Some(program) = wanted.map(str::to_owned).or_else(|| programs.first().cloned()) else { return };
    notes.source("Cargo.toml");
    if programs.len() > 1 {
        notes.say(format!("Of its programs {} the service runs `{program}`.", programs.join(", ")));
    } else {
        notes.say(format!("Cargo builds the program `{program}`, which runs the service."));
    }
    app.build.push(build(folder, ""));
    app.command = Some(format!("target/release/{program}"));
    app.sources.extend(["src/main.rs".to_owned(), format!("src/bin/{program}.rs")].map(Into::into));
    suggest(&manifest, app);
}

/// One service for each program of a workspace that is no package itself.
pub(super) fn workspace(folder: &Folder, notes: &mut Notes) -> Option<Vec<Draft>> {
    let manifest = read(folder)?;
    if manifest.contains_key("package") {
        return None;
    }
    let members = manifest.get("workspace")?.get("members")?.as_array()?;
    let paths = members.iter().filter_map(Value::as_str).flat_map(|pattern| folder.matching(pattern));
    let mut drafts = Vec::new();
    for path in paths.take(PROGRAMS_MAX) {
        let inner = folder.inner(&path);
        let Some(member) = read(&inner) else { continue };
        for program in programs(&inner, &member) {
            let Some(name) = crate::names::label(&program) else { continue };
            let mut app = App { build: vec![build(folder, &program)], ..App::default() };
            app.sources.extend(["src/main.rs".to_owned(), format!("src/bin/{program}.rs")].map(Into::into));
            suggest(&member, &mut app);
            let mut draft = app.draft(&name, format!("target/release/{program}"));
            draft.expose = false;
            sources::settle_port(&inner, &mut draft, &app);
            drafts.push(draft);
        }
    }
    if drafts.is_empty() {
        return None;
    }
    notes.source("Cargo.toml");
    if let [only] = drafts.as_mut_slice() {
        only.expose = true;
    } else {
        let names: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        notes.say(format!("Each program of the workspace becomes a service: {}.", names.join(", ")));
        notes.say("None of them is reached from outside until it gets an `expose`.");
    }
    Some(drafts)
}

fn read(folder: &Folder) -> Option<Table> {
    folder.read("Cargo.toml")?.parse().ok()
}

fn build(folder: &Folder, program: &str) -> String {
    let locked = if folder.has("Cargo.lock") { " --locked" } else { "" };
    let only = if program.is_empty() { String::new() } else { format!(" --bin {program}") };
    // Wherever the machine's settings or a workspace around it would put it.
    format!("cargo build --release{locked}{only} --target-dir target")
}

/// Names of the programs: those listed, `src/main.rs`, and the files of `src/bin`.
fn programs(folder: &Folder, manifest: &Table) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if folder.has("src/main.rs")
        && let Some(name) =
            manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str)
    {
        all.push(name.to_owned());
    }
    let listed = manifest.get("bin").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(|bin| bin.get("name").and_then(Value::as_str).map(str::to_owned));
    let files = std::fs::read_dir(folder.path.join("src/bin")).into_iter().flatten().flatten();
    let mut files: Vec<String> = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".rs").map(str::to_owned))
        .collect();
    files.sort();
    for name in listed.chain(files) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn suggest(manifest: &Table, app: &mut App) {
    let Some(dependencies) = manifest.get("dependencies").and_then(Value::as_table) else { return };
    for (name, kind) in
        [("tokio-postgres", "postgres"), ("postgres", "postgres"), ("redis", "redis"), ("fred", "redis")]
    {
        if dependencies.contains_key(name) && !app.suggested.iter().any(|(_, other)| *other == kind) {
            app.suggested.push((name.to_owned(), kind));
        }
    }
}
