//! The first of the README's two commands: from a fresh clone to the example shop in a browser.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    install::{self, SHOP},
    stage::{self, Stages, build_interface, cargo, npm_packages, say, target_directory},
};

const SHOP_FOLDER: &str = "examples/shop";
/// Root's own home is closed to the users that services run as, so a clone in it would be as well.
const DATA_OF_ROOT: &str = "/var/lib/stead-demo";
const LISTEN: &str = "127.0.0.1:7070";
const GATEWAY_LISTEN: &str = "127.0.0.1:8080";
const ANY_PORT: &str = "127.0.0.1:0";
/// An upgrade in place has so long.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory [default: .stead/demo here, /var/lib/stead-demo for root]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Environment of the shop: `embedded` wants no PostgreSQL and no Redis [default: what the machine allows]
    #[arg(long)]
    environment: Option<String>,
    /// Install no Debian packages
    #[arg(long)]
    no_install: bool,
    /// Address of API and web interface [default: 127.0.0.1:7070, or any free port]
    #[arg(long)]
    listen: Option<String>,
    /// Address of the shop [default: 127.0.0.1:8080, or any free port]
    #[arg(long)]
    gateway_listen: Option<String>,
}

/// # Errors
/// A tool is missing, a build failed, or the shop did not become healthy.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new();
    let Some(environment) = prepare(&mut stages, args) else { return stages.finish("demo") };
    let stead =
        Stead { program: target_directory().join("release/stead"), data: data_directory(args)?, environment };
    let up = stages.run("deliver the shop", || stead.up(args));
    let about = up.and_then(|()| stages.run("find it", || stead.about()));
    let Some(about) = about else {
        say(&format!("\n`{} doctor` says what this machine lacks", stead.line()));
        return stages.finish("demo");
    };
    stages.finish("demo")?;
    say_where(&stead, &about);
    Ok(())
}

/// Installs and builds. Gives the shop's environment, or nothing when a stage failed.
fn prepare(stages: &mut Stages, args: &Args) -> Option<String> {
    stages.run("tools", install::node)?;
    let environment = match &args.environment {
        Some(chosen) => chosen.clone(),
        None => stages.run("PostgreSQL and Redis", || Ok(environment(!args.no_install)))?,
    };
    stages.run("web interface", build_interface)?;
    stages.run("stead (release build)", || {
        stage::run(cargo().args(["build", "--release", "--locked", "--package", "stead"]))
    })?;
    stages.run("the shop's packages", || npm_packages(SHOP_FOLDER))?;
    Some(environment)
}

/// The environment that this machine can serve.
fn environment(install: bool) -> String {
    let lacking = install::ensure(SHOP, install);
    if lacking.is_empty() {
        return "default".into();
    }
    let names: Vec<&str> = lacking.iter().map(|package| package.name).collect();
    say(&format!(
        "  without {} the shop runs on its embedded profile: SQLite for catalog and orders, carts in memory",
        names.join(" and ")
    ));
    "embedded".into()
}

fn data_directory(args: &Args) -> anyhow::Result<PathBuf> {
    let chosen = match &args.data {
        Some(chosen) => chosen.clone(),
        None if install::is_root() => PathBuf::from(DATA_OF_ROOT),
        None => stage::root().join(".stead/demo"),
    };
    std::path::absolute(&chosen).with_context(|| chosen.display().to_string())
}

/// The built program with the demo's data directory.
struct Stead {
    program: PathBuf,
    data: PathBuf,
    environment: String,
}

/// Where everything is.
struct About {
    shop: Option<String>,
    sign_in: String,
}

impl Stead {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data);
        command.args(["--environment", &self.environment]);
        command
    }

    /// As a person types it.
    fn line(&self) -> String {
        let here = stage::root();
        let program = self.program.strip_prefix(&here).unwrap_or(&self.program);
        let mut line = format!("{} --data {}", program.display(), self.data.display());
        if self.environment != "default" {
            line.push_str(&format!(" --environment {}", self.environment));
        }
        line
    }

    /// A server of an earlier build goes over to this one, which its gateway and services outlive.
    fn renew(&self) -> anyhow::Result<()> {
        let file = self.data.join("server.json");
        let Ok(about) = file.metadata() else { return Ok(()) };
        let is_newer = self.program.metadata()?.modified()? > about.modified()?;
        let answers =
            || self.command().args(["events", "--limit", "1"]).output().is_ok_and(|one| one.status.success());
        if !is_newer || !answers() {
            return Ok(());
        }
        let before = fs::read(&file)?;
        stage::run(self.command().arg("upgrade"))?;
        let deadline = Instant::now() + RENEWED_WITHIN;
        while fs::read(&file).unwrap_or_default() == before {
            anyhow::ensure!(
                Instant::now() < deadline,
                "the server did not go over to {}",
                self.program.display()
            );
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }

    fn up(&self, args: &Args) -> anyhow::Result<()> {
        self.renew()?;
        let listen = args.listen.clone().unwrap_or_else(|| free(LISTEN));
        let gateway = args.gateway_listen.clone().unwrap_or_else(|| free(GATEWAY_LISTEN));
        let mut command = self.command();
        command.arg("up").arg(SHOP_FOLDER).args(["--yes", "--detach"]);
        command.args(["--listen", &listen, "--gateway-listen", &gateway]);
        stage::run(&mut command)
    }

    fn about(&self) -> anyhow::Result<About> {
        let text = stage::read(self.command().args(["--output", "json", "status"]))?;
        let services: serde_json::Value = serde_json::from_str(&text).context("stead status")?;
        let list = services.as_array().or_else(|| services["services"].as_array()).context("stead status")?;
        let web = list.iter().find(|service| service["name"] == "web").context("no service `web`")?;
        let sign_in = stage::read(self.command().arg("open"))?.trim().to_owned();
        if sign_in.is_empty() {
            bail!("`stead open` printed no link");
        }
        Ok(About { shop: web["url"].as_str().map(str::to_owned), sign_in })
    }
}

/// The address when nobody listens there, else one with any port.
fn free(address: &str) -> String {
    match TcpListener::bind(address) {
        Ok(_) => address.to_owned(),
        Err(_) => ANY_PORT.to_owned(),
    }
}

fn say_where(stead: &Stead, about: &About) {
    let line = stead.line();
    let shop = about.shop.as_deref().unwrap_or("see `status`");
    println!("\nThe shop           {shop}");
    println!("Stead, signed in   {}", about.sign_in);
    println!("                   (good once; `{line} open` prints another)");
    println!("\nLook around        {line} status");
    println!("Put load on it     cargo xtask load --url {shop} --rate 50 --verify");
    println!("Stop everything    {line} stop --everything");
    println!("Data               {}", shown(&stead.data));
}

fn shown(path: &Path) -> String {
    format!("{} (kept; remove it when you are done)", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_insisted_on() {
        let taken = TcpListener::bind(ANY_PORT).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert_eq!(free(&address), ANY_PORT);
        drop(taken);
        assert_eq!(free(&address), address);
    }

    #[test]
    fn the_line_to_type_names_the_environment_only_where_it_matters() {
        let mut stead = Stead {
            program: stage::root().join("target/release/stead"),
            data: "/d".into(),
            environment: "default".into(),
        };
        assert_eq!(stead.line(), "target/release/stead --data /d");
        stead.environment = "embedded".into();
        assert_eq!(stead.line(), "target/release/stead --data /d --environment embedded");
    }
}
