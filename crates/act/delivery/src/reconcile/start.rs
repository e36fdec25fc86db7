//! Makes the specification of a replica: files, environment, ports, user, limits.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use base::{Class, Problem, Scope, id::ReplicaId};
use runtime_api::{EnvValue, Limits, LogBounds, ReplicaSpec, Restart, Stop, WorkloadFile};
use secrets_api::{SecretName, Value, Which};
use service_file::{
    model::{Content, Job, NeedKind, Run, SecretDelivery, Service},
    template::{Reference, Rendered, Template},
};

use super::{
    live::{Definition, LABEL_JOB, LABEL_PASSWORD_PREFIX, LABEL_PORT_PREFIX, LABEL_REVISION},
    user,
};
use crate::{
    books::{self, Books},
    need::{self, Credentials, Login, Place},
    planner,
    ports::Ports,
    record::{BindingRecord, ReleaseRecord, ServiceRecord},
};

/// All that one start needs; owned, so that it can be made while the reconciler goes on.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub scope: Scope,
    pub record: ServiceRecord,
    pub release: ReleaseRecord,
    pub definition: Arc<Definition>,
    pub revision: String,
    pub job: Option<String>,
}

/// Largest configuration file taken from an artifact.
const CONFIG_FILE_BYTES_MAX: u64 = 4 << 20;

impl Start {
    /// # Errors
    /// Something it needs is missing: a binding, a secret, the artifact, the software.
    pub(crate) async fn specification(&self, ports: &Ports) -> Result<ReplicaSpec, Problem> {
        match &*self.definition {
            Definition::Need(need) => self.of_need(need, ports).await,
            Definition::Service(service) => self.of_service(service, ports).await,
        }
    }

    fn user(&self) -> Option<(u32, u32)> {
        self.record.user.map(|user| (user, user))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([(LABEL_REVISION.to_owned(), self.revision.clone())]);
        if let Some(job) = &self.job {
            labels.insert(LABEL_JOB.to_owned(), job.clone());
        }
        labels
    }

    async fn of_need(&self, need: &need::Need, ports: &Ports) -> Result<ReplicaSpec, Problem> {
        let place = place(ports, &self.scope, &self.record)?;
        let credentials = credentials(ports, &self.scope, &self.record, &self.release, None).await?;
        let workload = need::workload(need, &place, &credentials)?;
        let mut labels = self.labels();
        labels.insert(format!("{LABEL_PORT_PREFIX}{}", Run::PORT_MAIN), place.port.to_string());
        Ok(ReplicaSpec {
            id: ReplicaId::new(),
            scope: self.scope.clone(),
            service: self.record.name.clone(),
            release: self.release.id.clone(),
            command: workload.command,
            source: None,
            working_directory: place.directory.clone(),
            environment: plain_environment(&place.directory),
            files: workload.files,
            user: place.user,
            limits: Limits::default(),
            stop: workload.stop,
            log: LogBounds::default(),
            restart: Restart::Never,
            data_directories: Vec::new(),
            labels,
        })
    }

    async fn of_service(&self, service: &Service, ports: &Ports) -> Result<ReplicaSpec, Problem> {
        let run = service.run.as_ref();
        let job = self.job.as_deref().and_then(|name| service.jobs.get(name));
        let data = data_directory(ports, &self.scope, &self.record.name);
        let id = ReplicaId::new();
        let mut labels = self.labels();
        let numbers = self.ports(run, &mut labels)?;
        let values = Values::collect(self, service, ports, &numbers).await?;
        for (need, version) in &values.passwords {
            labels.insert(format!("{LABEL_PASSWORD_PREFIX}{need}"), version.to_string());
        }

        let mut environment = plain_environment(&data);
        // Loopback unless told otherwise, for the many programs that ask this variable.
        environment.insert("HOST".into(), EnvValue::Plain("127.0.0.1".into()));
        self.identity(&id, service, &mut environment);
        for (name, port) in run.iter().flat_map(|run| &run.ports) {
            if let Some(number) = numbers.get(name) {
                environment.insert(port.environment.clone(), EnvValue::Plain(number.to_string()));
            }
        }
        let own = match job {
            Some(job) => &job.environment,
            None => run.map_or(&EMPTY, |run| &run.environment),
        };
        for (name, template) in service.environment(own) {
            environment.insert(name.to_owned(), env_value(values.render(&template)?));
        }
        let source = match &self.release.artifact {
            Some(digest) => Some(ports.artifacts.checkout(digest.clone()).await?),
            None => None,
        };
        let mut files = self.config_files(service, &values, source.as_ref())?;
        values.deliver_secrets(service, &mut environment, &mut files)?;

        let (command, working_directory, limits, stop) = shape(run, job)?;
        Ok(ReplicaSpec {
            id,
            scope: self.scope.clone(),
            service: self.record.name.clone(),
            release: self.release.id.clone(),
            command: command
                .argv(|reference| values.get(reference))
                .map_err(|missing| values.no_value(&missing.0))?,
            source,
            working_directory: PathBuf::from(working_directory),
            environment,
            files,
            user: self.chosen_user(run, job, ports)?,
            limits,
            stop,
            log: LogBounds::default(),
            restart: Restart::Never,
            data_directories: vec![data],
            labels,
        })
    }

    /// Numbers of the ports by name: fixed ones as they are, others freshly chosen.
    fn ports(
        &self,
        run: Option<&Run>,
        labels: &mut BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, u16>, Problem> {
        let mut numbers = BTreeMap::new();
        if self.job.is_some() {
            return Ok(numbers);
        }
        let mut taken = Vec::new();
        for (name, port) in run.iter().flat_map(|run| &run.ports) {
            let number = match port.number {
                Some(number) => books::fixed_port(number)?,
                None => books::free_port(&taken)?,
            };
            taken.push(number);
            labels.insert(format!("{LABEL_PORT_PREFIX}{name}"), number.to_string());
            numbers.insert(name.clone(), number);
        }
        Ok(numbers)
    }

    /// Who it is, in Stead's and in OpenTelemetry's words.
    fn identity(&self, id: &ReplicaId, service: &Service, environment: &mut BTreeMap<String, EnvValue>) {
        let name = service.name.as_str();
        let attributes = format!(
            "service.namespace={},service.version={},service.instance.id={id},deployment.environment.name={}",
            self.scope.tenant, self.release.number, self.scope.environment
        );
        for (variable, value) in [
            ("STEAD_TENANT", self.scope.tenant.to_string()),
            ("STEAD_ENVIRONMENT", self.scope.environment.to_string()),
            ("STEAD_SERVICE", name.to_owned()),
            ("STEAD_RELEASE", self.release.number.to_string()),
            ("STEAD_REPLICA", id.to_string()),
            ("OTEL_SERVICE_NAME", name.to_owned()),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ] {
            environment.insert(variable.to_owned(), EnvValue::Plain(value));
        }
    }

    fn config_files(
        &self,
        service: &Service,
        values: &Values,
        source: Option<&PathBuf>,
    ) -> Result<Vec<WorkloadFile>, Problem> {
        let mut files = Vec::new();
        for (path, file) in &service.config.files {
            let (text, secret) = match &file.content {
                Content::Literal(text) => (text.clone(), false),
                Content::Template(template) => {
                    let rendered = values.render(template)?;
                    (rendered.text, rendered.secret)
                }
                Content::From { path: from, template } => {
                    let text = read_artifact(source, from)?;
                    if *template {
                        let template = Template::parse(&text).map_err(|_| {
                            Problem::new(
                                Class::Invalid,
                                "delivery.template",
                                format!("{from} has a reference that does not parse"),
                            )
                        })?;
                        let rendered = values.render(&template)?;
                        (rendered.text, rendered.secret)
                    } else {
                        (text, false)
                    }
                }
            };
            files.push(WorkloadFile {
                path: path.into(),
                content: text.into_bytes(),
                secret,
                linked: secret,
                // The secret is its reader's alone, whatever the file says for others.
                mode: if secret { file.mode & 0o700 } else { file.mode },
            });
        }
        Ok(files)
    }

    fn chosen_user(
        &self,
        run: Option<&Run>,
        job: Option<&Job>,
        ports: &Ports,
    ) -> Result<Option<(u32, u32)>, Problem> {
        let named = job.and_then(|job| job.user.as_ref()).or_else(|| run.and_then(|run| run.user.as_ref()));
        let Some(named) = named else { return Ok(self.user()) };
        if self.record.user.is_none() {
            return Ok(None); // Not root: everything runs as Stead's own user, and `doctor` says so.
        }
        user::unprivileged(named, &user::allowed(&ports.data_directory)?).map(Some)
    }
}

static EMPTY: BTreeMap<String, Template> = BTreeMap::new();

type Shape<'a> = (&'a service_file::model::Command, &'a str, Limits, Stop);

/// What a job and a service have in common.
fn shape<'a>(run: Option<&'a Run>, job: Option<&'a Job>) -> Result<Shape<'a>, Problem> {
    let limits = |limits: &service_file::model::Limits| Limits {
        memory: limits.memory,
        cpu: limits.cpu,
        processes: limits.processes,
        open_files: limits.open_files,
    };
    let stop =
        |stop: &service_file::model::Stop| Stop { signal: stop.signal.clone(), grace: stop.grace.get() };
    match (job, run) {
        (Some(job), _) => {
            let directory = job.working_directory.as_deref().unwrap_or(".");
            Ok((&job.command, directory, limits(&job.limits), stop(&job.stop)))
        }
        (None, Some(run)) => Ok((&run.command, &run.working_directory, limits(&run.limits), stop(&run.stop))),
        (None, None) => {
            Err(Problem::new(Class::Invalid, "delivery.nothing_to_run", "it has no `run` section"))
        }
    }
}

fn env_value(rendered: Rendered) -> EnvValue {
    if rendered.secret { EnvValue::Secret(rendered.text) } else { EnvValue::Plain(rendered.text) }
}

/// Bytes that are no text go into a file as they are, and nowhere else.
fn not_text(secret: &str) -> Problem {
    let message = format!("secret `{secret}` is not text, so it fits into no variable and no template");
    Problem::new(Class::Invalid, "delivery.secret_not_text", message)
        .with_hint(format!("deliver it as a file: `{secret}: {{as: file}}` under `secrets`"))
}

/// A file of the pinned artifact, as text.
fn read_artifact(source: Option<&PathBuf>, from: &str) -> Result<String, Problem> {
    let wrong = |why: String| Problem::new(Class::Invalid, "delivery.config_file", format!("{from}: {why}"));
    let root = source.ok_or_else(|| wrong("the service has no files".into()))?;
    let path = root.join(from).canonicalize().map_err(|error| wrong(error.to_string()))?;
    let inside = root.canonicalize().is_ok_and(|root| path.starts_with(root));
    let small =
        std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= CONFIG_FILE_BYTES_MAX);
    if !inside || !small {
        return Err(wrong("it is not a file of the service of at most 4MiB".into()));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))
}

fn plain_environment(home: &std::path::Path) -> BTreeMap<String, EnvValue> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    [
        ("PATH", path),
        ("HOME", &*home.to_string_lossy()),
        ("STEAD_DATA_DIR", &home.to_string_lossy()),
        ("LANG", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), EnvValue::Plain(value.to_owned())))
    .collect()
}

/// Where the data of a service or need lives. It outlives releases and replicas.
pub(crate) fn data_directory(ports: &Ports, scope: &Scope, name: &str) -> PathBuf {
    ports.data_directory.join("data").join(scope.environment.as_str()).join(name)
}

pub(crate) fn place(ports: &Ports, scope: &Scope, record: &ServiceRecord) -> Result<Place, Problem> {
    let port = record.port.ok_or_else(|| {
        Problem::new(Class::Internal, "delivery.no_port", format!("`{}` has no port", record.name))
    })?;
    Ok(Place {
        directory: data_directory(ports, scope, &record.name),
        port,
        user: record.user.map(|user| (user, user)),
    })
}

/// Name of a generated credential.
pub(crate) fn credential_secret(need: &str, credential: &str) -> Result<SecretName, Problem> {
    SecretName::parse(&format!("stead.need.{need}.{credential}")).map_err(|error| Problem::from_fault(&error))
}

/// The credentials of a need at the versions its record and release say. `wish` is the version that a
/// release pins: it is what that release's replicas are given, as long as it is taken.
pub(crate) async fn credentials(
    ports: &Ports,
    scope: &Scope,
    record: &ServiceRecord,
    release: &ReleaseRecord,
    wish: Option<u64>,
) -> Result<Credentials, Problem> {
    let secret = credential_secret(&record.name, need::PASSWORD)?;
    let pinned = release.secrets.get(secret.as_str()).copied();
    let current = record.password.as_ref().map(|password| password.current).or(pinned);
    let wish = wish.filter(|wish| match &record.password {
        Some(password) => password.takes(*wish),
        None => current == Some(*wish),
    });
    let current = login(ports, scope, &secret, wish.or(current)).await?;
    let taken: Vec<u64> = match &record.password {
        Some(password) => [password.current].into_iter().chain(password.also.clone()).collect(),
        None => Vec::new(),
    };
    let mut also = Vec::new();
    for version in taken {
        if version != current.version {
            also.push(login(ports, scope, &secret, Some(version)).await?);
        }
    }
    let superuser = match record.kind {
        delivery_api::Kind::Postgres => {
            let secret = credential_secret(&record.name, need::SUPERUSER)?;
            let version = release.secrets.get(secret.as_str()).copied();
            Some(login(ports, scope, &secret, version).await?.password)
        }
        _ => None,
    };
    Ok(Credentials { current, also, superuser })
}

/// One version of a password; the newest when none is named.
pub(crate) async fn login(
    ports: &Ports,
    scope: &Scope,
    secret: &SecretName,
    version: Option<u64>,
) -> Result<Login, Problem> {
    let which = version.map_or(Which::Latest, Which::Version);
    let opened = ports
        .secrets
        .get(scope.clone(), secret.clone(), which)
        .await
        .map_err(|error| Problem::from_fault(&error))?;
    let text = opened.value.expose_str().map_err(|_| {
        Problem::new(Class::Internal, "delivery.credential", format!("secret `{secret}` is not text"))
    })?;
    Ok(Login { version: opened.version, password: text.to_owned() })
}

/// Values for the references of one start.
struct Values {
    service: BTreeMap<String, String>,
    ports: BTreeMap<String, u16>,
    config: BTreeMap<String, Rendered>,
    needs: BTreeMap<(String, String), Rendered>,
    /// Versions of the passwords of needs, by need.
    passwords: BTreeMap<String, u64>,
    secrets: BTreeMap<String, Value>,
}

impl Values {
    async fn collect(
        start: &Start,
        service: &Service,
        ports: &Ports,
        numbers: &BTreeMap<String, u16>,
    ) -> Result<Self, Problem> {
        let mut values = Self {
            service: BTreeMap::from([
                ("name".to_owned(), service.name.to_string()),
                ("environment".to_owned(), start.scope.environment.to_string()),
                ("tenant".to_owned(), start.scope.tenant.to_string()),
                ("tier".to_owned(), service.tier.as_str().to_owned()),
                ("owner".to_owned(), service.owner.clone().unwrap_or_default()),
                ("release".to_owned(), start.release.number.to_string()),
            ]),
            ports: numbers.clone(),
            config: BTreeMap::new(),
            needs: BTreeMap::new(),
            passwords: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        values.collect_secrets(start, service, ports).await?;
        values.collect_needs(start, service, ports).await?;
        for (name, template) in &service.config.values {
            let rendered = values.render(template)?;
            values.config.insert(name.clone(), rendered);
        }
        Ok(values)
    }

    async fn collect_secrets(
        &mut self,
        start: &Start,
        service: &Service,
        ports: &Ports,
    ) -> Result<(), Problem> {
        for (name, secret) in &service.secrets {
            let stored = SecretName::parse(&secret.from).map_err(|error| Problem::from_fault(&error))?;
            let which = start
                .release
                .secrets
                .get(&secret.from)
                .map_or(Which::Latest, |version| Which::Version(*version));
            let opened = ports
                .secrets
                .get(start.scope.clone(), stored, which)
                .await
                .map_err(|error| Problem::from_fault(&error))?;
            self.secrets.insert(name.clone(), opened.value);
        }
        Ok(())
    }

    async fn collect_needs(
        &mut self,
        start: &Start,
        service: &Service,
        ports: &Ports,
    ) -> Result<(), Problem> {
        let books = Books { state: Arc::clone(&ports.state) };
        for (need, wish) in &service.needs {
            if let NeedKind::Service { .. } = &wish.kind {
                let id = BindingRecord::id(service.name.as_str(), need.as_str());
                let binding = books
                    .get::<BindingRecord>(&start.scope, crate::record::BINDING, &id)
                    .await?
                    .ok_or_else(|| missing_need(need.as_str()))?
                    .body;
                for (output, text) in [
                    ("host", "127.0.0.1".to_owned()),
                    ("port", binding.port.to_string()),
                    ("url", format!("http://127.0.0.1:{}", binding.port)),
                ] {
                    self.needs.insert((need.to_string(), output.to_owned()), Rendered::plain(text));
                }
                continue;
            }
            let name = planner::need_name(service.name.as_str(), need.as_str());
            let record = books.service(&start.scope, &name).await?.body;
            let spec: need::Need =
                serde_json::from_value(record.definition.clone()).map_err(|_| missing_need(need.as_str()))?;
            let release = match &record.release {
                Some(id) => books.release(&start.scope, id.as_str()).await?,
                None => None,
            };
            let (Some(port), Some(release)) = (record.port, release) else {
                return Err(missing_need(need.as_str()));
            };
            let secret = credential_secret(&name, need::PASSWORD)?;
            let wish = start.release.secrets.get(secret.as_str()).copied();
            let credentials = credentials(ports, &start.scope, &record, &release, wish).await?;
            self.passwords.insert(need.to_string(), credentials.current.version);
            for (output, value) in need::binding(&spec, port, &credentials) {
                let rendered = match value {
                    EnvValue::Plain(text) => Rendered::plain(text),
                    EnvValue::Secret(text) => Rendered::secret(text),
                };
                self.needs.insert((need.to_string(), output), rendered);
            }
        }
        Ok(())
    }

    fn get(&self, reference: &Reference) -> Option<Rendered> {
        match reference {
            Reference::Need { need, output } => self.needs.get(&(need.clone(), output.clone())).cloned(),
            Reference::Config(name) => self.config.get(name).cloned(),
            Reference::Secret(name) => {
                self.secrets.get(name).and_then(|value| value.expose_str().ok()).map(Rendered::secret)
            }
            Reference::Service(field) => self.service.get(field.as_str()).map(Rendered::plain),
            Reference::Port(name) => {
                let name = name.as_deref().unwrap_or(Run::PORT_MAIN);
                self.ports.get(name).map(|number| Rendered::plain(number.to_string()))
            }
        }
    }

    fn render(&self, template: &Template) -> Result<Rendered, Problem> {
        template.render(|reference| self.get(reference)).map_err(|missing| self.no_value(&missing.0))
    }

    fn no_value(&self, reference: &Reference) -> Problem {
        match reference {
            Reference::Secret(name) if self.secrets.contains_key(name) => not_text(name),
            _ => {
                Problem::new(Class::Invalid, "delivery.no_value", format!("`${{{reference}}}` has no value"))
            }
        }
    }

    fn deliver_secrets(
        &self,
        service: &Service,
        environment: &mut BTreeMap<String, EnvValue>,
        files: &mut Vec<WorkloadFile>,
    ) -> Result<(), Problem> {
        for (name, secret) in &service.secrets {
            let Some(value) = self.secrets.get(name) else { continue };
            match &secret.delivery {
                SecretDelivery::Environment => {
                    // A variable ends at its first zero byte.
                    let text = value.expose_str().ok().filter(|text| !text.contains('\0'));
                    let text = text.ok_or_else(|| not_text(name))?.to_owned();
                    environment.insert(name.clone(), EnvValue::Secret(text));
                }
                SecretDelivery::File { path } => files.push(WorkloadFile {
                    path: path.into(),
                    content: value.expose().to_vec(),
                    secret: true,
                    linked: false,
                    mode: 0o400,
                }),
                SecretDelivery::Template => {}
            }
        }
        Ok(())
    }
}

fn missing_need(need: &str) -> Problem {
    Problem::new(Class::Unavailable, "delivery.need", format!("its need `{need}` is not provided yet"))
}

#[cfg(test)]
mod tests;
