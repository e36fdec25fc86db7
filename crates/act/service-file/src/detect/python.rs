//! Python: requirements.txt, pyproject.toml, and the frameworks that say how they are served.

use std::path::PathBuf;

use super::{App, Folder, Notes};

/// Where packages are put: beside the program, so that a release holds them.
const PACKAGES: &str = ".stead-packages";
/// Programs that Python can run as modules, wherever they are installed.
const MODULES: &[&str] =
    &["gunicorn", "uvicorn", "hypercorn", "flask", "celery", "daphne", "streamlit", "alembic", "rq", "huey"];
const FILES: &[&str] = &[
    "main.py",
    "app.py",
    "wsgi.py",
    "asgi.py",
    "server.py",
    "application.py",
    "app/main.py",
    "app/__init__.py",
    "src/main.py",
    "src/app.py",
];

/// Packages and what they say; not yet how it is run.
pub(super) fn app(folder: &Folder, app: &mut App, notes: &mut Notes) {
    if app.command.is_some() {
        return;
    }
    let requirements = folder.has("requirements.txt");
    let project = folder.read("pyproject.toml");
    let is_project =
        project.as_ref().is_some_and(|text| text.contains("[project]") || text.contains("[tool.poetry]"));
    if requirements {
        notes.source("requirements.txt");
        notes.say(format!(
            "pip installs requirements.txt into {PACKAGES}, so that a release holds its packages."
        ));
        app.build.push(format!(
            "python3 -m pip install --upgrade --target {PACKAGES} --requirement requirements.txt"
        ));
    } else if is_project {
        notes.source("pyproject.toml");
        notes.say(format!(
            "pip installs the project and what it depends on into {PACKAGES}, so that a release holds them."
        ));
        app.build.push(format!("python3 -m pip install --upgrade --target {PACKAGES} ."));
    } else if !folder.has("manage.py") && !FILES.iter().any(|file| folder.has(file)) {
        return;
    }
    if requirements || is_project {
        app.environment.insert("PYTHONPATH".into(), PACKAGES.into());
    }
    app.python = true;
    app.environment.insert("PYTHONUNBUFFERED".into(), "1".into());
    app.sources.extend(FILES.iter().map(PathBuf::from));
    let listed = listed(folder);
    for (package, kind) in [("psycopg", "postgres"), ("asyncpg", "postgres"), ("redis", "redis")] {
        if listed.iter().any(|name| name.starts_with(package))
            && !app.suggested.iter().any(|(_, other)| *other == kind)
        {
            app.suggested.push((package.to_owned(), kind));
        }
    }
    let released =
        folder.read("Procfile").is_some_and(|text| text.lines().any(|line| line.starts_with("release:")));
    if folder.has("manage.py") && !released {
        notes.say("There is a manage.py, so Django's migrations run before each release.");
        app.jobs.push(("migrate".into(), "python3 manage.py migrate --noinput".into(), true));
    }
}

/// How it is run, when nothing said so.
pub(super) fn guess(folder: &Folder, app: &mut App, notes: &mut Notes) {
    if !app.python || app.command.is_some() || folder.has("Procfile") {
        return;
    }
    let listed = listed(folder);
    let has = |package: &str| listed.iter().any(|name| name == package);
    let gunicorn = |target: &str| format!("python3 -m gunicorn --bind 127.0.0.1:$PORT {target}");
    if folder.has("manage.py") {
        let site = wsgi_module(folder);
        app.command = Some(match site {
            Some(site) if has("gunicorn") => {
                notes.say(format!("Gunicorn serves the Django site `{site}`."));
                gunicorn(&format!("{site}.wsgi"))
            }
            _ => {
                notes.say("Django's own server runs the site; for more than trying out, add gunicorn to its requirements.");
                "python3 manage.py runserver --noreload 127.0.0.1:$PORT".to_owned()
            }
        });
        return;
    }
    for file in FILES {
        let Some(text) = folder.read(file) else { continue };
        let module = file.trim_end_matches(".py").trim_end_matches("/__init__").replace('/', ".");
        if let Some(variable) = assigned(&text, &["FastAPI(", "Starlette(", "Quart(", "Litestar("]) {
            notes.say(format!("{file} makes an ASGI application, which uvicorn serves."));
            let target = format!("{module}:{variable}");
            app.command = Some(format!("python3 -m uvicorn {target} --host 127.0.0.1 --port $PORT"));
            return;
        }
        if let Some(variable) = assigned(&text, &["Flask(", "Bottle(", "falcon.App("]) {
            let target = format!("{module}:{variable}");
            app.command = Some(if has("gunicorn") {
                notes.say(format!("{file} makes a WSGI application, which gunicorn serves."));
                gunicorn(&target)
            } else {
                notes.say(format!(
                    "{file} makes a Flask application, run by Flask's own server; for more than trying out, add gunicorn."
                ));
                format!("python3 -m flask --app {target} run --host 127.0.0.1 --port $PORT")
            });
            return;
        }
    }
    if let Some(file) = FILES.iter().find(|file| folder.has(file) && !file.contains("__init__")) {
        notes.say(format!("`python3 {file}` runs the service."));
        app.command = Some(format!("python3 {file}"));
    }
}

/// A command that finds its packages: programs become modules, `python` becomes `python3`.
pub(super) fn adapt(command: &str) -> String {
    let (program, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
    match program {
        "python" => format!("python3{rest}"),
        module if MODULES.contains(&module) => format!("python3 -m {module}{rest}"),
        _ => command.to_owned(),
    }
}

/// Debian calls it `python3`.
pub(super) fn interpreter(command: &str) -> String {
    match command.strip_prefix("python ") {
        Some(rest) => format!("python3 {rest}"),
        None => command.to_owned(),
    }
}

/// Names of required packages, in lower case.
fn listed(folder: &Folder) -> Vec<String> {
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
        text[..end].to_lowercase()
    };
    let requirements = folder.read("requirements.txt").unwrap_or_default();
    let mut all: Vec<String> = requirements.lines().map(|line| name(line.trim())).collect();
    let project: Option<toml::Table> = folder.read("pyproject.toml").and_then(|text| text.parse().ok());
    if let Some(project) = project {
        let listed = project
            .get("project")
            .and_then(|project| project.get("dependencies"))
            .and_then(|all| all.as_array());
        all.extend(listed.into_iter().flatten().filter_map(|item| item.as_str()).map(name));
        let poetry = project
            .get("tool")
            .and_then(|tool| tool.get("poetry"))
            .and_then(|poetry| poetry.get("dependencies"));
        all.extend(
            poetry
                .and_then(|all| all.as_table())
                .into_iter()
                .flat_map(|all| all.keys().map(|key| key.to_lowercase())),
        );
    }
    all.retain(|name| !name.is_empty());
    all
}

/// The folder with Django's wsgi.py.
fn wsgi_module(folder: &Folder) -> Option<String> {
    let mut found: Vec<String> = std::fs::read_dir(&folder.path)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().join("wsgi.py").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    found.sort();
    found.into_iter().next()
}

/// The variable at the start of a line that one of these is assigned to.
fn assigned(text: &str, made_by: &[&str]) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next()?.trim_end();
        let good =
            crate::names::is_variable(name) && made_by.iter().any(|make| value.trim_start().contains(make));
        good.then(|| name.to_owned())
    })
}
