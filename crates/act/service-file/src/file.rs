//! One service of one file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base::{Environment, id::NameId};

use crate::{
    decode::service::document,
    diagnostic::Diagnostics,
    model::Service,
    source::{Location, Source, TextRange},
    yaml,
};

/// The file's name in a service's folder.
pub const FILE_NAME: &str = "stead.yaml";

/// A service with where it was described and how environments change it.
#[derive(Debug, Clone)]
pub struct ServiceFile {
    source: Source,
    /// Which document of the file, from 0.
    document: usize,
    name_at: TextRange,
    base: Service,
    overlays: BTreeMap<Environment, Service>,
}

impl ServiceFile {
    /// The file that describes it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The folder of the file: what the service's artifact is made of.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        match self.path().parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("."),
        }
    }

    /// The service without any environment's changes.
    #[must_use]
    pub fn base(&self) -> &Service {
        &self.base
    }

    /// The service as it is in an environment.
    #[must_use]
    pub fn in_environment(&self, environment: &Environment) -> &Service {
        self.overlays.get(environment).unwrap_or(&self.base)
    }

    /// The environments that change something.
    pub fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.overlays.keys()
    }

    /// The base and each overlay.
    pub(crate) fn variants(&self) -> impl Iterator<Item = (Option<&Environment>, &Service)> {
        std::iter::once((None, &self.base))
            .chain(self.overlays.iter().map(|(environment, service)| (Some(environment), service)))
    }

    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn name_at(&self) -> TextRange {
        self.name_at
    }

    /// Where a value stands, such as `["run", "command"]`, in the file's main part or, when
    /// `environment` says something about it, there. The nearest value around it if it is absent.
    #[must_use]
    pub fn locate(&self, environment: Option<&Environment>, path: &[&str]) -> Location {
        self.source.locate(self.range_of(environment, path))
    }

    pub(crate) fn range_of(&self, environment: Option<&Environment>, path: &[&str]) -> TextRange {
        let (documents, _) = yaml::parse(&self.source);
        let Some(root) = documents.get(self.document) else { return TextRange::default() };
        let overlay = environment.and_then(|environment| {
            let overlays = root.get("environments").or_else(|| root.get("environment"))?;
            overlays.get(environment.as_str())
        });
        let follow = |from: &yaml::Node| {
            let mut node = from.clone();
            let mut depth = 0;
            for key in path {
                let next = match key.parse::<usize>() {
                    Ok(at) => node.list().and_then(|items| items.get(at)).cloned(),
                    Err(_) => node.get(key).cloned(),
                };
                let Some(next) = next else { break };
                node = next;
                depth += 1;
            }
            (depth, node.range)
        };
        let (base_depth, base) = follow(root);
        match overlay.map(follow) {
            Some((depth, range)) if depth > 0 && depth >= base_depth => range,
            _ => base,
        }
    }
}

/// What a text says, and all that is wrong with it.
#[derive(Debug)]
pub struct Parsed {
    /// The documents without mistakes.
    pub services: Vec<ServiceFile>,
    pub problems: Diagnostics,
    /// Names of all documents, those with mistakes too; none when one cannot be known.
    pub(crate) names: Option<Vec<NameId>>,
}

/// Reads a service file from a text. A service without a name takes that of `path`'s folder.
#[must_use]
pub fn parse(path: impl Into<PathBuf>, text: &str) -> Parsed {
    let path = path.into();
    if text.len() > yaml::FILE_BYTES_MAX {
        let problems = yaml::too_large(&path, text.len() as u64).into();
        return Parsed { services: Vec::new(), problems, names: None };
    }
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    parse_source(&Source::new(path, text.to_owned()), folder.as_deref())
}

pub(crate) fn parse_source(source: &Source, folder: Option<&str>) -> Parsed {
    let (mut documents, mut problems) = yaml::parse(source);
    // An empty file is a service without sections: only its folder is known of it.
    if documents.is_empty() && problems.is_empty() {
        documents.push(yaml::Node::empty_map());
    }
    let mut services = Vec::new();
    let mut names = Some(Vec::new()).filter(|_| problems.is_empty());
    for (at, node) in documents.iter().enumerate() {
        let (document, found) = document(source, node, folder);
        let good = found.is_empty();
        problems.append(found);
        let Some(document) = document else {
            names = None;
            continue;
        };
        names = names.zip(document.name).map(|(mut all, name)| {
            all.push(name);
            all
        });
        if let Some(base) = document.service.filter(|_| good) {
            services.push(ServiceFile {
                source: source.clone(),
                document: at,
                name_at: document.name_at,
                base,
                overlays: document.overlays,
            });
        }
    }
    problems.sort();
    Parsed { services, problems, names }
}
