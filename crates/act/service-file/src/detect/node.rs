//! package.json and its lock files.

use serde_json::Value;

use super::{App, Draft, Folder, Notes, draft::Port, sources};
use crate::model::{Command, ParsedCommand};

/// The most packages of one workspace that become services.
const PACKAGES_MAX: usize = 50;

/// What starts an application that says nothing, in the order in which it is looked for.
const ENTRIES: &[&str] = &[
    "server.js",
    "index.js",
    "app.js",
    "main.js",
    "server.mjs",
    "index.mjs",
    "src/server.js",
    "src/index.js",
    "src/app.js",
    "bin/www",
];

pub(super) fn app(folder: &Folder, app: &mut App, notes: &mut Notes) {
    let Some(package) = read(folder) else { return };
    notes.source("package.json");
    let manager = Manager::of(folder, &package);
    manager.build(&package, app, notes);
    if let Some(wanted) = package["engines"]["node"].as_str() {
        notes.say(format!("package.json asks for Node {wanted}; the `node` on the machine's PATH is used."));
    }
    app.command = start(folder, &package, &manager, false, app, notes);
    if app.command.is_some() {
        app.environment.insert("NODE_ENV".into(), "production".into());
    }
    suggest(&package, app);
}

/// One service for each package of a workspace that can be started; none without such packages.
pub(super) fn workspaces(folder: &Folder, notes: &mut Notes) -> Option<Vec<Draft>> {
    let package = read(folder)?;
    let listed = package["workspaces"].as_array().or_else(|| package["workspaces"]["packages"].as_array());
    let patterns: Vec<String> = match listed {
        Some(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => pnpm_packages(folder)?,
    };
    let manager = Manager::of(folder, &package);
    let mut drafts = Vec::new();
    for path in patterns.iter().flat_map(|pattern| folder.matching(pattern)).take(PACKAGES_MAX) {
        let inner = folder.inner(&path);
        let Some(member) = read(&inner) else { continue };
        let last = path.rsplit('/').next().unwrap_or(&path);
        let (Some(name), Some(_)) = (crate::names::label(last), member["scripts"]["start"].as_str()) else {
            continue;
        };
        let mut app = App::default();
        manager.build(&package, &mut app, notes);
        if member["scripts"]["build"].is_string() && !package["scripts"]["build"].is_string() {
            app.build.push(manager.run_in(&path, "build"));
        }
        let Some(command) = start(&inner, &member, &manager, true, &mut app, notes) else { continue };
        app.environment.insert("NODE_ENV".into(), "production".into());
        suggest(&member, &mut app);
        let mut draft = app.draft(&name, command);
        draft.expose = false;
        draft.working_directory = Some(path.clone());
        if name.contains("worker") {
            draft.port = Port::None;
            notes.say(format!("`{name}` is a worker by its name and listens on nothing."));
        }
        sources::settle_port(&inner, &mut draft, &app);
        drafts.push(draft);
    }
    if drafts.is_empty() || package["scripts"]["start"].is_string() {
        return None;
    }
    notes.source("package.json");
    let names: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
    notes.say(format!("The workspace's packages with a start script become services: {}.", names.join(", ")));
    if let Some(front) =
        drafts.iter().position(|draft| matches!(draft.name.as_str(), "web" | "frontend" | "app" | "www"))
    {
        drafts[front].expose = true;
        notes.say(format!("`{}` is the one that people reach from outside.", drafts[front].name));
    } else {
        notes.say("None of them is reached from outside until it gets an `expose`.");
    }
    Some(drafts)
}

fn read(folder: &Folder) -> Option<Value> {
    serde_json::from_str(&folder.read("package.json")?).ok().filter(Value::is_object)
}

fn pnpm_packages(folder: &Folder) -> Option<Vec<String>> {
    let text = folder.read("pnpm-workspace.yaml")?;
    let (documents, _) = crate::yaml::parse(&crate::Source::new("pnpm-workspace.yaml", text));
    let packages = documents.first()?.get("packages")?.list()?;
    Some(packages.iter().filter_map(|item| item.text()).map(str::to_owned).collect())
}

struct Manager {
    name: &'static str,
    install: String,
    why: String,
}

impl Manager {
    fn of(folder: &Folder, package: &Value) -> Self {
        let asked = package["packageManager"].as_str().unwrap_or_default();
        let table: &[(&str, &[&str], &str)] = &[
            ("npm", &["package-lock.json", "npm-shrinkwrap.json"], "npm ci"),
            ("pnpm", &["pnpm-lock.yaml"], "pnpm install --frozen-lockfile"),
            ("yarn", &["yarn.lock"], "yarn install --frozen-lockfile"),
            ("bun", &["bun.lock", "bun.lockb"], "bun install --frozen-lockfile"),
        ];
        let locked = table
            .iter()
            .filter(|(name, ..)| asked.is_empty() || asked.starts_with(&format!("{name}@")))
            .find_map(|(name, files, install)| {
                files.iter().find(|file| folder.has(file)).map(|file| (*name, *file, *install))
            });
        match locked {
            Some(("yarn", file, _)) if folder.has(".yarnrc.yml") => Self {
                name: "yarn",
                install: "yarn install --immutable".into(),
                why: format!("There is a {file}, so yarn installs exactly what it lists."),
            },
            Some((name, file, install)) => Self {
                name,
                install: install.into(),
                why: format!("There is a {file}, so {name} installs exactly what it lists."),
            },
            None => {
                let name = table
                    .iter()
                    .map(|(name, ..)| *name)
                    .find(|name| asked.starts_with(name))
                    .unwrap_or("npm");
                Self {
                    name,
                    install: format!("{name} install"),
                    why: format!(
                        "There is no lock file, so {name} installs what is newest; a lock file makes it repeatable."
                    ),
                }
            }
        }
    }

    fn build(&self, package: &Value, app: &mut App, notes: &mut Notes) {
        let any =
            ["dependencies", "devDependencies", "optionalDependencies", "workspaces"].iter().any(|key| {
                package[*key].as_object().is_some_and(|all| !all.is_empty()) || package[*key].is_array()
            });
        if any {
            notes.say(self.why.clone());
            app.build.push(self.install.clone());
        }
        if package["scripts"]["build"].is_string() {
            notes.say("package.json has a build script, which runs before a release is made.");
            app.build.push(format!("{} run build", self.name));
        }
    }

    fn run_in(&self, path: &str, script: &str) -> String {
        match self.name {
            "npm" => format!("npm run {script} --workspace={path}"),
            "pnpm" => format!("pnpm --dir {path} run {script}"),
            "bun" => format!("bun run --cwd {path} {script}"),
            _ => format!("yarn --cwd {path} run {script}"),
        }
    }
}

/// What starts it. Without a wrapper where that is possible, so that signals reach the program.
fn start(
    folder: &Folder,
    package: &Value,
    manager: &Manager,
    hoisted: bool,
    app: &mut App,
    notes: &mut Notes,
) -> Option<String> {
    let scripts = &package["scripts"];
    if let Some(script) = scripts["start"].as_str() {
        let alone = !scripts["prestart"].is_string() && !scripts["poststart"].is_string();
        let ParsedCommand::Words(words) = Command::parse(script) else {
            notes.say(format!("`{} start` runs the service.", manager.name));
            return Some(format!("{} start", manager.name));
        };
        note_sources(folder, &words, app);
        let program = words.first().cloned().unwrap_or_default();
        let is_dependency =
            ["dependencies", "devDependencies"].iter().any(|key| package[*key][&program].is_string());
        let direct = match program.as_str() {
            "node" => Some(script.to_owned()),
            // In a workspace the programs stand with the root, where only the manager finds them.
            _ if is_dependency && !hoisted => Some(format!("node_modules/.bin/{script}")),
            _ => None,
        };
        match direct.filter(|_| alone) {
            Some(command) => {
                notes.say(format!("package.json's start script runs the service: `{script}`."));
                if is_dependency {
                    app.reads_port = matches!(
                        program.as_str(),
                        "next" | "nuxt" | "react-scripts" | "remix-serve" | "probot"
                    );
                }
                return Some(command);
            }
            None => {
                notes.say(format!("`{} start` runs the service.", manager.name));
                return Some(format!("{} start", manager.name));
            }
        }
    }
    let main = package["main"].as_str().map(|main| main.trim_start_matches("./"));
    let main = main.filter(|main| folder.has(main));
    let entry = main.or_else(|| ENTRIES.iter().copied().find(|entry| folder.has(entry)))?;
    notes.say(format!("package.json has no start script, so `node {entry}` runs the service."));
    note_sources(folder, &["node".to_owned(), entry.to_owned()], app);
    Some(format!("node {entry}"))
}

/// The file that is started, and others that often listen.
fn note_sources(folder: &Folder, words: &[String], app: &mut App) {
    for word in words.iter().skip(1) {
        for file in [word.clone(), format!("{word}.js"), format!("{word}/index.js")] {
            if folder.has(&file) {
                app.sources.push(file.into());
            }
        }
    }
    app.sources.extend(ENTRIES.iter().filter(|entry| folder.has(entry)).map(Into::into));
    app.sources
        .extend(["src/index.ts", "src/server.ts", "src/main.ts", "server.ts", "index.ts"].map(Into::into));
}

fn suggest(package: &Value, app: &mut App) {
    for (dependency, kind) in
        [("pg", "postgres"), ("postgres", "postgres"), ("redis", "redis"), ("ioredis", "redis")]
    {
        let known = app.suggested.iter().any(|(_, other)| *other == kind);
        if package["dependencies"][dependency].is_string() && !known {
            app.suggested.push((dependency.to_owned(), kind));
        }
    }
}
