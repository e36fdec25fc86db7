//! A folder of services: found, read, checked against each other, in dependency order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use base::{Environment, id::NameId};

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    file::{FILE_NAME, Parsed, ServiceFile, parse_source},
    model::{Content, NeedKind},
    source::Source,
    suggest, yaml,
};

mod order;

/// Folders below the given one that are looked at.
pub const FOLDER_DEPTH_MAX: usize = 6;
/// Folders that are looked at in all.
pub const FOLDERS_MAX: usize = 20_000;
/// Services of one workspace.
pub const SERVICES_MAX: usize = 10_000;
/// Never looked into, besides folders whose name starts with a dot.
const IGNORED_FOLDERS: &[&str] =
    &["node_modules", "target", "vendor", "dist", "build", "__pycache__", "venv", "bower_components"];

/// What is known besides the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Services that exist already, so that needs may name them.
    pub known_services: BTreeSet<NameId>,
    /// For documents whose path has no folder: the name of the folder they come from, which is the
    /// default name of their service. Reading from disk finds it itself.
    pub root_name: Option<String>,
}

/// The services of a path, each after those it needs.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub services: Vec<ServiceFile>,
}

impl Workspace {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ServiceFile> {
        self.services.iter().find(|file| file.base().name.as_str() == name)
    }

    /// The services in the order in which to start them in an environment.
    #[must_use]
    pub fn in_environment(&self, environment: &Environment) -> Vec<&ServiceFile> {
        let edges = edges(&self.services, Some(environment));
        match order::sort(&edges) {
            Ok(order) => order.into_iter().map(|at| &self.services[at]).collect(),
            // Loading has refused cycles in every environment.
            Err(_) => self.services.iter().collect(),
        }
    }
}

/// Reads a file, a folder with a `stead.yaml`, or a folder with several in its subfolders.
///
/// # Errors
/// All that is wrong in all files and between them.
pub fn load(path: impl AsRef<Path>) -> Result<Workspace, Diagnostics> {
    load_with(path, &Options::default())
}

/// As [`load`], with what is known besides.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Workspace, Diagnostics> {
    let mut gathered = Gathered::new(options);
    for file in find(path.as_ref())? {
        match read(&file) {
            Ok(source) => gathered.add(parse_source(&source, folder_name(&file).as_deref())),
            Err(unreadable) => gathered.unreadable(unreadable),
        }
    }
    for file in &gathered.services {
        check_files(file, &mut gathered.problems);
    }
    gathered.checked()
}

impl Workspace {
    /// Takes texts that were read elsewhere, by path. Whether the files exist that `config.files`
    /// takes from the folder is not checked.
    ///
    /// # Errors
    /// All that is wrong in all texts and between them.
    pub fn from_documents(
        documents: impl IntoIterator<Item = (PathBuf, String)>,
        options: &Options,
    ) -> Result<Self, Diagnostics> {
        let mut gathered = Gathered::new(options);
        for (path, text) in documents {
            if text.len() > yaml::FILE_BYTES_MAX {
                gathered.unreadable(yaml::too_large(&path, text.len() as u64).into());
                continue;
            }
            let folder =
                path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
            let folder = folder.as_ref().or(options.root_name.as_ref());
            gathered.add(parse_source(&Source::new(path, text), folder.map(String::as_str)));
        }
        gathered.checked()
    }

    /// The files that the services were read from, each once.
    #[must_use]
    pub fn sources(&self) -> Vec<&Source> {
        let mut seen = BTreeSet::new();
        self.services.iter().map(ServiceFile::source).filter(|source| seen.insert(source.path())).collect()
    }
}

/// What all files say, before it is checked against each other.
struct Gathered {
    services: Vec<ServiceFile>,
    problems: Diagnostics,
    /// All services there are; none when some name cannot be known because its file is broken.
    names: Option<BTreeSet<NameId>>,
}

impl Gathered {
    fn new(options: &Options) -> Self {
        let names = Some(options.known_services.clone());
        Self { services: Vec::new(), problems: Diagnostics::default(), names }
    }

    fn add(&mut self, parsed: Parsed) {
        self.problems.append(parsed.problems);
        self.services.extend(parsed.services);
        self.names = self.names.take().zip(parsed.names).map(|(mut all, names)| {
            all.extend(names);
            all
        });
    }

    fn unreadable(&mut self, problems: Diagnostics) {
        self.problems.append(problems);
        self.names = None;
    }

    /// Checks the services against each other and orders them.
    fn checked(mut self) -> Result<Workspace, Diagnostics> {
        let (services, problems) = (&self.services, &mut self.problems);
        if services.len() > SERVICES_MAX {
            let message = format!("more than {SERVICES_MAX} services in one workspace");
            return Err(Diagnostic::new(message).into());
        }
        check_names(services, problems);
        if let Some(names) = &self.names {
            check_needs(services, names, problems);
        }
        check_routes(services, problems);
        let order = check_cycles(services, problems);
        if !problems.is_empty() {
            problems.sort();
            return Err(self.problems);
        }
        let mut slots: Vec<Option<ServiceFile>> = self.services.into_iter().map(Some).collect();
        Ok(Workspace { services: order.into_iter().filter_map(|at| slots[at].take()).collect() })
    }
}

fn folder_name(file: &Path) -> Option<String> {
    let folder = file.parent()?;
    let name = match folder.file_name() {
        Some(name) => name.to_owned(),
        // `stead up .`, `stead up ..`
        None => {
            let whole = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs::canonicalize(whole).ok()?.file_name()?.to_owned()
        }
    };
    Some(name.to_string_lossy().into_owned())
}

/// The files to read, in order of their paths.
fn find(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    let shown = path.display();
    let kind =
        fs::metadata(path).map_err(|error| Diagnostic::new(format!("cannot read {shown}: {error}")))?;
    if !kind.is_dir() && !kind.is_file() {
        return Err(Diagnostic::new(format!("{shown} is neither a file nor a folder")).into());
    }
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let own = path.join(FILE_NAME);
    if own.is_file() {
        return Ok(vec![own]);
    }
    let mut files = Vec::new();
    let mut other_spelling = path.join("stead.yml").is_file().then(|| path.join("stead.yml"));
    let mut folders = vec![(path.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((folder, depth)) = folders.pop() {
        looked_at += 1;
        if looked_at > FOLDERS_MAX {
            return Err(Diagnostic::new(format!("more than {FOLDERS_MAX} folders below {shown}"))
                .hint("name a folder nearer to the services")
                .into());
        }
        // A folder that cannot be read holds no service of ours.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else { continue };
            if !kind.is_dir() || name.starts_with('.') || IGNORED_FOLDERS.contains(&&*name) {
                continue;
            }
            let folder = entry.path();
            let own = folder.join(FILE_NAME);
            if own.is_file() {
                files.push(own);
            } else if depth + 1 < FOLDER_DEPTH_MAX {
                other_spelling =
                    other_spelling.or(Some(folder.join("stead.yml")).filter(|file| file.is_file()));
                folders.push((folder, depth + 1));
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Diagnostic::new(format!("no {FILE_NAME} in {shown} or its subfolders"))
            .hint(match other_spelling {
                Some(other) => format!("rename {} to {FILE_NAME}", other.display()),
                None => "write a first one with `stead init`".to_owned(),
            })
            .into());
    }
    Ok(files)
}

/// Reads at most [`yaml::FILE_BYTES_MAX`] bytes.
fn read(path: &Path) -> Result<Source, Diagnostics> {
    let shown = path.display();
    let failed = |error: std::io::Error| Diagnostic::new(format!("cannot read {shown}: {error}"));
    let file = fs::File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > yaml::FILE_BYTES_MAX as u64 {
        return Err(yaml::too_large(path, length).into());
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(yaml::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > yaml::FILE_BYTES_MAX {
        return Err(yaml::too_large(path, bytes.len() as u64).into());
    }
    String::from_utf8(bytes).map(|text| Source::new(path, text)).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let source = Source::new(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
        Diagnostic::new(format!("byte {good} is not UTF-8"))
            .at(&source, crate::TextRange::new(good, good + '\u{fffd}'.len_utf8()))
            .hint("save the file as UTF-8")
            .into()
    })
}

fn check_names(services: &[ServiceFile], problems: &mut Diagnostics) {
    let mut first: HashMap<&NameId, &ServiceFile> = HashMap::new();
    for file in services {
        let name = &file.base().name;
        match first.get(name) {
            Some(other) => problems.push(
                Diagnostic::new(format!("two services are called `{name}`"))
                    .at(file.source(), file.name_at())
                    .related("the other one is here", other.source(), other.name_at())
                    .hint("give each a `name` of its own"),
            ),
            None => {
                first.insert(name, file);
            }
        }
    }
}

/// Files that `config.files` takes from the folder: there, readable, and good templates.
fn check_files(file: &ServiceFile, problems: &mut Diagnostics) {
    for (environment, service) in file.variants() {
        for (name, config) in &service.config.files {
            let Content::From { path, .. } = &config.content else { continue };
            let whole = file.folder().join(path);
            if !whole.is_file() {
                let at = file.range_of(environment, &["config", "files", name, "from"]);
                problems.push(
                    Diagnostic::new(format!("no file {} to make `{name}` from", whole.display()))
                        .at(file.source(), at)
                        .hint("the path is relative to the folder of the service file"),
                );
            }
        }
    }
}

fn check_needs(services: &[ServiceFile], names: &BTreeSet<NameId>, problems: &mut Diagnostics) {
    for file in services {
        for (environment, service) in file.variants() {
            for (need, wanted) in &service.needs {
                let NeedKind::Service { service: wanted } = &wanted.kind else { continue };
                if names.contains(wanted) {
                    continue;
                }
                let at = file.range_of(environment, &["needs", need.as_str(), "service"]);
                let others = names.iter().map(NameId::as_str).filter(|name| *name != service.name.as_str());
                let hint = match suggest::nearest(wanted.as_str(), others) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "load it together with this one, or deliver it first".to_owned(),
                };
                problems.push(
                    Diagnostic::new(format!(
                        "`{}` needs a service `{wanted}` that does not exist",
                        service.name
                    ))
                    .at(file.source(), at)
                    .hint(hint),
                );
            }
        }
    }
}

/// The same way in may lead to one service only.
fn check_routes(services: &[ServiceFile], problems: &mut Diagnostics) {
    let environments: BTreeSet<Option<&Environment>> =
        services.iter().flat_map(|file| file.variants().map(|(environment, _)| environment)).collect();
    for environment in environments {
        let mut taken: HashMap<(Option<&str>, &str), &ServiceFile> = HashMap::new();
        for file in services {
            let service = environment.map_or(file.base(), |environment| file.in_environment(environment));
            for expose in &service.expose {
                let Some(other) = taken.insert((expose.host.as_deref(), &expose.path), file) else {
                    continue;
                };
                if other.base().name == service.name {
                    continue;
                }
                let host = expose.host.as_deref().unwrap_or("any host");
                problems.push(
                    Diagnostic::new(format!(
                        "`{}` on {host} is exposed by `{}` and by `{}`",
                        expose.path,
                        other.base().name,
                        service.name
                    ))
                    .at(file.source(), file.range_of(environment, &["expose"]))
                    .related(
                        "the other one is here",
                        other.source(),
                        other.range_of(environment, &["expose"]),
                    )
                    .hint("give one of them another path or host"),
                );
            }
        }
    }
}

/// For each service the services it needs, by index; unknown ones are left out.
fn edges(services: &[ServiceFile], environment: Option<&Environment>) -> Vec<Vec<usize>> {
    let index: BTreeMap<&NameId, usize> =
        services.iter().enumerate().map(|(at, file)| (&file.base().name, at)).collect();
    let variant = |file: &'_ ServiceFile| match environment {
        Some(environment) => file.in_environment(environment).called_services().cloned().collect::<Vec<_>>(),
        None => file.base().called_services().cloned().collect(),
    };
    services
        .iter()
        .map(|file| variant(file).iter().filter_map(|name| index.get(name).copied()).collect())
        .collect()
}

/// The order of the base; cycles of it and of every environment are reported.
fn check_cycles(services: &[ServiceFile], problems: &mut Diagnostics) -> Vec<usize> {
    let mut environments: BTreeSet<Option<&Environment>> =
        services.iter().flat_map(|file| file.environments().map(Some)).collect();
    environments.insert(None);
    let mut base_order = Vec::new();
    for environment in environments {
        match order::sort(&edges(services, environment)) {
            Ok(order) if environment.is_none() => base_order = order,
            Ok(_) => {}
            Err(cycle) => problems.push(cycle_problem(services, environment, &cycle)),
        }
    }
    base_order
}

fn cycle_problem(services: &[ServiceFile], environment: Option<&Environment>, cycle: &[usize]) -> Diagnostic {
    const SHOWN_MAX: usize = 12;
    let name = |at: usize| services[at].base().name.as_str();
    let mut names: Vec<&str> = cycle.iter().take(SHOWN_MAX).map(|at| name(*at)).collect();
    if cycle.len() > SHOWN_MAX {
        names.push("…");
    }
    names.push(name(cycle[0]));
    let mut diagnostic =
        Diagnostic::new(format!("services need each other in a cycle: {}", names.join(" -> ")));
    for (step, at) in cycle.iter().take(SHOWN_MAX).enumerate() {
        let file = &services[*at];
        let next = &services[cycle[(step + 1) % cycle.len()]].base().name;
        let service = environment.map_or(file.base(), |environment| file.in_environment(environment));
        let need =
            service.needs.iter().find(|(_, need)| need.kind == NeedKind::Service { service: next.clone() });
        let Some((need, _)) = need else { continue };
        let range = file.range_of(environment, &["needs", need.as_str(), "service"]);
        diagnostic = if step == 0 {
            diagnostic.at(file.source(), range)
        } else {
            diagnostic.related(format!("`{}` needs `{next}`", name(*at)), file.source(), range)
        };
    }
    diagnostic.hint(
        "take one of these needs out; a service that only calls back can take the address as configuration",
    )
}
