//! `up`, `plan` and `down`: make a plan, show it, apply it, wait for what it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use base::{Class, Environment, Problem, id::NameId};
use client::Client;
use delivery_api::{
    Document, Health, Kind, Plan, Removal, Rotation, Run, RunState, Service, StepState, Submission,
};
use serde_json::json;
use service_file::Workspace;

use crate::{
    Host, Server, ServerOptions,
    args::{Down, Global, Listen, Plan as PlanArgs, Up},
    artifacts::{self, Local},
    failed, json, print_json, render, source,
};

/// How often a run is asked how it goes.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Plans that `up --yes` makes at most while others change the same environment.
const PLANS_MAX: u32 = 5;
/// After the run, the services have so long to be healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn up(global: &Global, args: Up, host: &dyn Host) -> Result<ExitCode, Problem> {
    let workspace = load(&args.path, global, host).await?;
    if !args.no_build {
        build(global, &workspace)?;
    }
    let (server, started) = host.ensure(options(global, &args.listen)).await?;
    if started && !json(global) {
        eprintln!("started a server on {} (pid {})", global.data().display(), server.pid);
    }
    let client = client_of(global, &server);
    if !deliver(&client, global, &args, &workspace).await? {
        return Ok(ExitCode::from(1));
    }
    let names: Vec<String> = workspace.services.iter().map(|file| file.base().name.to_string()).collect();
    let services = wait_healthy(&client, &names).await?;
    finish(&client, global, &server, services, started).await?;
    if !args.detach && !json(global) && std::io::stdout().is_terminal() {
        eprintln!(
            "everything goes on in the background; `stead logs NAME -f` follows, `stead down` stops it"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a plan, shows it, asks and carries it out; false when the answer was no. Others may change
/// the environment in between: whoever said yes to whatever comes gets a new plan, a few times.
async fn deliver(
    client: &Client,
    global: &Global,
    args: &Up,
    workspace: &Workspace,
) -> Result<bool, Problem> {
    for attempt in 1.. {
        let (plan, trees) = make_plan(client, global, &args.path, workspace).await?;
        if !json(global) {
            eprint!("{}", render::plan(&plan));
        }
        if plan.changes_nothing() {
            break;
        }
        if !args.yes && !confirm("Apply this plan?")? {
            eprintln!("nothing was changed; `stead up` makes a new plan");
            return Ok(false);
        }
        if !plan.missing_blobs.is_empty() {
            let count = artifacts::upload(client, &trees, &plan.missing_blobs).await?;
            if !json(global) {
                eprintln!("uploaded {count} files");
            }
        }
        match client.post_plan_apply(&plan.id).await {
            Ok(run) => {
                follow(client, global, run).await?;
                break;
            }
            Err(client::Error::Refused(problem))
                if args.yes && attempt < PLANS_MAX && problem.code == "delivery.stale_plan" =>
            {
                eprintln!("{}; planning again", problem.message);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(true)
}

pub(crate) async fn plan(global: &Global, args: PlanArgs, host: &dyn Host) -> Result<ExitCode, Problem> {
    let workspace = load(&args.path, global, host).await?;
    let (server, _) = host.ensure(options(global, &args.listen)).await?;
    let client = client_of(global, &server);
    let (plan, _) = make_plan(&client, global, &args.path, &workspace).await?;
    if json(global) {
        print_json(&plan);
    } else {
        print!("{}", render::plan(&plan));
    }
    let differs = args.detailed_exitcode && !plan.changes_nothing();
    Ok(if differs { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

pub(crate) async fn down(global: &Global, args: Down, host: &dyn Host) -> Result<ExitCode, Problem> {
    let client = crate::connect(global, host).await?;
    let removal = Removal { services: args.services, delete_data: args.delete_data };
    let submission = Submission { removal: Some(removal), ..Submission::default() };
    let question = if args.delete_data { "Take this down and DELETE its data?" } else { "Take this down?" };
    settle(&client, global, submission, question, args.yes).await
}

/// `stead secret rotate`: a new password for what a service needs.
pub(crate) async fn rotate(
    client: &Client,
    global: &Global,
    rotation: Rotation,
    yes: bool,
) -> Result<ExitCode, Problem> {
    let submission = Submission { rotation: Some(rotation), ..Submission::default() };
    settle(client, global, submission, "Rotate this?", yes).await
}

/// Plans, shows, asks, applies and follows.
async fn settle(
    client: &Client,
    global: &Global,
    submission: Submission,
    question: &str,
    yes: bool,
) -> Result<ExitCode, Problem> {
    let plan = client.post_plans(&submission).await.map_err(failed)?;
    if !json(global) {
        eprint!("{}", render::plan(&plan));
    }
    if plan.changes_nothing() {
        if json(global) {
            print_json(&plan);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !yes && !confirm(question)? {
        eprintln!("nothing was changed");
        return Ok(ExitCode::from(1));
    }
    let run = client.post_plan_apply(&plan.id).await.map_err(failed)?;
    let run = follow(client, global, run).await?;
    if json(global) {
        print_json(&run);
    }
    Ok(ExitCode::SUCCESS)
}

/// The services of a path. Needs may name services that a running server has already: it is asked
/// only when they are not all there without.
async fn load(path: &Path, global: &Global, host: &dyn Host) -> Result<Workspace, Problem> {
    let mut loaded = service_file::load(path);
    if loaded.is_err() {
        let known_services = known(global, host).await;
        if !known_services.is_empty() {
            let options = service_file::Options { known_services, ..service_file::Options::default() };
            loaded = service_file::load_with(path, &options);
        }
    }
    loaded.map_err(|problems| {
        eprint!("{}", problems.render(false));
        let count = problems.items.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        Problem::new(Class::Invalid, "cli.service_file", format!("{count} {noun} in {}", path.display()))
            .with_hint("nothing was changed; mend the file and run the command again")
    })
}

/// Names of the services that a running server has; none without one.
async fn known(global: &Global, host: &dyn Host) -> BTreeSet<NameId> {
    let Ok(Some(server)) = host.find(global.data()).await else { return BTreeSet::new() };
    let services = client_of(global, &server).get_services().await.unwrap_or_default();
    services.iter().filter_map(|service| NameId::parse(&service.name).ok()).collect()
}

/// Runs the build commands of the services, each in its folder, as the user who asked.
fn build(global: &Global, workspace: &Workspace) -> Result<(), Problem> {
    let environment = Environment::parse(&global.environment).unwrap_or_default();
    for file in &workspace.services {
        let service = file.in_environment(&environment);
        for command in service.run.iter().flat_map(|run| &run.build) {
            let words = command.argv(|_| None).map_err(|_| {
                Problem::new(Class::Invalid, "cli.build", "a build command takes no references")
            })?;
            let Some((program, arguments)) = words.split_first() else { continue };
            eprintln!("building `{}`: {command}", service.name);
            let status = std::process::Command::new(program)
                .args(arguments)
                .current_dir(file.folder())
                // What a build fetches and runs has no business with these.
                .env_remove("STEAD_TOKEN")
                .env_remove("STEAD_PASSPHRASE")
                .stdout(std::io::stderr())
                .status()
                .map_err(|error| {
                    Problem::new(
                        Class::Invalid,
                        "cli.build",
                        format!("`{command}` of `{}`: {error}", service.name),
                    )
                    .with_hint("install the program, or build by hand and use `--no-build`")
                })?;
            if !status.success() {
                return Err(Problem::new(
                    Class::Invalid,
                    "cli.build",
                    format!("`{command}` of `{}` ended with {status}", service.name),
                )
                .with_hint("nothing was changed; its output above says what is wrong"));
            }
        }
    }
    Ok(())
}

async fn make_plan(
    client: &Client,
    global: &Global,
    path: &Path,
    workspace: &Workspace,
) -> Result<(Plan, Vec<Arc<Local>>), Problem> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // git takes its time on a large repository; the folders are read meanwhile.
    let (source, trees) = std::thread::scope(|scope| {
        let source = scope.spawn(|| source::of(folder));
        let trees = artifacts::read(&workspace.services);
        let source = source.join().map_err(|_| Problem::new(Class::Internal, "cli.source", "git was lost"));
        Ok::<_, Problem>((source?, trees?))
    })?;
    let artifacts = trees.iter().map(|(name, local)| (name.clone(), local.wire())).collect();
    let trees = trees.into_iter().map(|(_, local)| local).collect();
    let documents = workspace
        .sources()
        .into_iter()
        .map(|source| Document { path: source.path().display().to_string(), text: source.text().to_owned() })
        .collect();
    let submission = Submission { source, documents, artifacts, ..Submission::default() };
    let _ = global;
    let plan = client.post_plans(&submission).await.map_err(failed)?;
    Ok((plan, trees))
}

fn confirm(question: &str) -> Result<bool, Problem> {
    if !std::io::stdin().is_terminal() {
        return Err(Problem::new(
            Class::Invalid,
            "cli.not_asked",
            "a plan needs a yes, and nobody can be asked here",
        )
        .with_hint("look at the plan above and repeat the command with `--yes`"));
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Follows a run to its end, telling each step as it changes.
async fn follow(client: &Client, global: &Global, mut run: Run) -> Result<Run, Problem> {
    let mut said: BTreeMap<String, (StepState, Option<String>)> = BTreeMap::new();
    loop {
        for step in &run.steps {
            let now = (step.state, step.message.clone());
            if said.get(&step.name) != Some(&now) && !json(global) {
                if let Some(line) = render::step(step) {
                    eprintln!("{line}");
                }
                said.insert(step.name.clone(), now);
            }
        }
        match run.state {
            RunState::Running => {}
            RunState::Done => return Ok(run),
            state => return Err(why_not(&run, state)),
        }
        tokio::time::sleep(ASK_EVERY).await;
        run = client.get_run(&run.id).await.map_err(failed)?;
    }
}

fn why_not(run: &Run, state: RunState) -> Problem {
    let why = run.problem.clone().unwrap_or_else(|| "no reason was given".into());
    let (what, hint) = match state {
        RunState::Undone => (
            "the plan failed and what it had done was undone",
            "`stead events` shows each step; `stead logs NAME` what the service said",
        ),
        RunState::Parked => {
            ("the plan waits for a person", "open the run in the web interface (`stead open`) and decide")
        }
        _ => ("the plan was cancelled", "`stead events` shows by whom"),
    };
    Problem::new(Class::Conflict, "cli.run", format!("{what}: {why}")).with_hint(hint)
}

/// Waits until the named services are healthy, or says which are not.
async fn wait_healthy(client: &Client, names: &[String]) -> Result<Vec<Service>, Problem> {
    let deadline = tokio::time::Instant::now() + HEALTHY_WITHIN;
    loop {
        let services = client.get_services().await.map_err(failed)?;
        let waiting: Vec<&Service> = services
            .iter()
            .filter(|service| names.contains(&service.name))
            .filter(|service| !matches!(service.health, Health::Healthy | Health::Stopped))
            .collect();
        let all_there = names.iter().all(|name| services.iter().any(|service| service.name == *name));
        if waiting.is_empty() && all_there {
            return Ok(services);
        }
        if tokio::time::Instant::now() >= deadline {
            let list: Vec<String> = waiting
                .iter()
                .map(|service| format!("`{}` ({})", service.name, service.reason.clone().unwrap_or_default()))
                .collect();
            return Err(Problem::new(
                Class::Timeout,
                "cli.not_healthy",
                format!("not healthy: {}", list.join(", ")),
            )
            .with_hint("`stead status` shows more, `stead logs NAME` what it said"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Says where everything is.
async fn finish(
    client: &Client,
    global: &Global,
    server: &Server,
    services: Vec<Service>,
    started: bool,
) -> Result<(), Problem> {
    let info = client.get_info().await.map_err(failed)?;
    let api = format!("{}/api/stead/v1", server.endpoint.url);
    if json(global) {
        let list: Vec<_> = services
            .iter()
            .filter(|service| matches!(service.kind, Kind::Service | Kind::Job))
            .map(|service| json!({"name": service.name, "state": service.health, "url": service.url}))
            .collect();
        print_json(&json!({
            "api": api, "ui": server.endpoint.url, "gateway": info.gateway,
            "prometheus_url": format!("{}/prometheus", server.endpoint.url),
            "otlp_http_url": format!("{}/otlp", server.endpoint.url),
            "otlp_grpc": server.endpoint.url.split_once("://").map(|(_, authority)| authority),
            "token_file": server.token_file, "services": list,
        }));
        return Ok(());
    }
    println!("{}", render::services(&services));
    println!("web interface  {}", server.endpoint.url);
    if let Some(gateway) = info.gateway {
        println!("services        {gateway}");
    }
    if started {
        println!("\n`stead open` prints a link to sign in");
    }
    Ok(())
}

fn client_of(global: &Global, server: &Server) -> Client {
    let mut endpoint = server.endpoint.clone();
    endpoint.environment.clone_from(&global.environment);
    Client::new(endpoint)
}

pub(crate) fn options(global: &Global, listen: &Listen) -> ServerOptions {
    ServerOptions {
        data: global.data(),
        listen: listen.listen.clone(),
        gateway_listen: listen.gateway_listen.clone(),
        tls_certificate: listen.tls_certificate.clone(),
        tls_key: listen.tls_key.clone(),
        insecure_plaintext: listen.insecure_plaintext,
    }
}
