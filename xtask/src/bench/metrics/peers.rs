//! The servers that are compared, each on a data directory of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{capture::version_of, http::Connection};

const READY: Duration = Duration::from_secs(30);
/// Background work after the samples gets this long at most.
const SETTLE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A server is at rest when it uses less than this share of a core over [`REST_LOOKS`] looks.
const REST_SHARE: f64 = 0.04;
const REST_LOOKS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stead,
    Prometheus,
    VictoriaMetrics,
}

pub struct Server {
    pub kind: Kind,
    pub name: &'static str,
    pub version: String,
    program: PathBuf,
}

/// Ends a process when dropped.
pub struct Child(pub std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file of a Debian package: the installed one, else unpacked into the cache without installing.
pub fn fetch(cache: &Path, package: &str, file: &str) -> anyhow::Result<PathBuf> {
    let installed = Path::new("/").join(file);
    if installed.exists() {
        return Ok(installed);
    }
    let folder = cache.join("debian").join(package);
    let program = folder.join(file);
    if !program.exists() {
        eprintln!("fetching {package} from Debian");
        fs::create_dir_all(&folder)?;
        let done = Command::new("sh")
            .current_dir(&folder)
            .args([
                "-ec",
                "apt-get -qq download \"$1\"; dpkg -x \"$1\"_*.deb .; rm -f ./*.deb",
                "fetch",
                package,
            ])
            .stdout(Stdio::null())
            .status()?;
        ensure!(
            done.success() && program.exists(),
            "{package} could not be fetched: apt-get download {package}"
        );
    }
    Ok(program)
}

pub fn find(cache: &Path, stead: &Path) -> anyhow::Result<Vec<Server>> {
    let prometheus = fetch(cache, "prometheus", "usr/bin/prometheus")?;
    let victoria = fetch(cache, "victoria-metrics", "usr/bin/victoria-metrics")?;
    let version = |program: &Path, flag: &str| -> anyhow::Result<String> {
        let output = Command::new(program).arg(flag).output()?;
        version_of(&[output.stdout, output.stderr].concat())
    };
    Ok(vec![
        Server {
            kind: Kind::Stead,
            name: "stead",
            version: version(stead, "--version")?,
            program: stead.to_owned(),
        },
        Server {
            kind: Kind::Prometheus,
            name: "prometheus",
            version: version(&prometheus, "--version")?,
            program: prometheus,
        },
        Server {
            kind: Kind::VictoriaMetrics,
            name: "victoria-metrics",
            version: debian_version("victoria-metrics")?,
            program: victoria,
        },
    ])
}

/// Debian's build says no version of its own.
fn debian_version(package: &str) -> anyhow::Result<String> {
    let output = Command::new("apt-cache").args(["policy", package]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(line.context("apt-cache names no version")?.to_owned())
}

/// A server that runs on a directory.
pub struct Running {
    kind: Kind,
    child: Child,
    /// The process whose CPU and memory count.
    pid: u32,
    address: SocketAddr,
    authorization: Option<String>,
    folder: PathBuf,
    program: PathBuf,
}

/// Stead's gateway outlives its server; here nothing shall.
impl Drop for Running {
    fn drop(&mut self) {
        if self.kind == Kind::Stead {
            let mut stop = Command::new(&self.program);
            stop.arg("--data").arg(&self.folder).args(["stop", "--everything"]);
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

impl Server {
    pub fn start(&self, folder: &Path) -> anyhow::Result<Running> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Stead => {
                command.arg("serve").arg("--data").arg(folder);
                command.args(["--listen", &address.to_string(), "--gateway-listen", "127.0.0.1:0"]);
                // What it measures of itself would be among the samples.
                command.env("STEAD_NO_VITALS", "true").env("STEAD_METRICS_RETENTION", "36500d");
            }
            Kind::Prometheus => {
                fs::write(folder.join("empty.yml"), "{}\n")?;
                command.arg(format!("--config.file={}", folder.join("empty.yml").display()));
                command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
                command.arg(format!("--web.listen-address={address}"));
                command.args([
                    "--web.enable-remote-write-receiver",
                    "--web.enable-admin-api",
                    "--storage.tsdb.retention.time=100y",
                ]);
            }
            Kind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", folder.join("data").display()));
                command.arg(format!("-httpListenAddr={address}"));
                command.args(["-retentionPeriod=100y", "-search.disableCache", "-search.latencyOffset=0s"]);
            }
        }
        let child =
            Child(command.stdout(Stdio::null()).stderr(fs::File::create(folder.join("log.txt"))?).spawn()?);
        let pid = child.0.id();
        let mut running = Running {
            kind: self.kind,
            child,
            pid,
            address,
            authorization: None,
            folder: folder.to_owned(),
            program: self.program.clone(),
        };
        running.wait_until_ready().with_context(|| running.log())?;
        Ok(running)
    }
}

impl Running {
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let path = match self.kind {
            Kind::Stead => "/prometheus/-/ready",
            Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        };
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = self.child.0.try_wait()? {
                bail!("the server ended with {status}");
            }
            let ready = Connection::open(self.address, None).and_then(|mut to| to.get(path));
            match ready {
                Ok(_) => break,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => pause(LOOK_AGAIN / 5),
            }
        }
        if self.kind == Kind::Stead {
            let token = fs::read_to_string(self.folder.join("token"))?;
            self.authorization = Some(format!("Bearer {}", token.trim()));
        }
        Ok(())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address, self.authorization.clone())
    }

    fn prefix(&self) -> &'static str {
        if self.kind == Kind::Stead { "/prometheus" } else { "" }
    }

    pub fn write_path(&self) -> &'static str {
        if self.kind == Kind::Stead { "/prometheus/api/v1/write" } else { "/api/v1/write" }
    }

    pub fn query_path(&self, rest: &str) -> String {
        format!("{}/api/v1/{rest}", self.prefix())
    }

    /// User and system time so far, seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).context("no time in /proc");
        // Debian's kernels count a hundred ticks a second.
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    pub fn resident_bytes(&self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// Waits until the server is at rest.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLE;
        let mut rested = 0;
        let mut before = self.cpu_seconds()?;
        while rested < REST_LOOKS && Instant::now() < deadline {
            pause(LOOK_AGAIN);
            let now = self.cpu_seconds()?;
            rested = if now - before < REST_SHARE * LOOK_AGAIN.as_secs_f64() { rested + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Has the server merge all it has, as far as it can be told to.
    pub fn compact(&mut self) -> anyhow::Result<()> {
        let mut to = self.connect()?;
        match self.kind {
            Kind::Stead => {
                let path = "/prometheus/api/v1/admin/tsdb/clean_tombstones";
                let response = to.request("POST", path, &[], &[])?;
                ensure!(response.status == 204, "{path}: {}", String::from_utf8_lossy(&response.body));
            }
            Kind::Prometheus => {
                // The head becomes a block; what it was logged in is not counted.
                let response = to.request("POST", "/api/v1/admin/tsdb/snapshot", &[], &[])?;
                ensure!(response.status == 200, "snapshot: {}", String::from_utf8_lossy(&response.body));
            }
            Kind::VictoriaMetrics => {
                to.get("/internal/force_flush")?;
                to.get("/internal/force_merge")?;
            }
        }
        self.settle()
    }

    /// Bytes of the files of the store, as the disk counts them.
    pub fn disk_bytes(&self) -> anyhow::Result<f64> {
        let folder = match self.kind {
            Kind::Stead => self.folder.join("metrics"),
            Kind::Prometheus => self.folder.join("data/snapshots"),
            Kind::VictoriaMetrics => self.folder.join("data"),
        };
        let output = Command::new("du").arg("-sb").arg(&folder).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).context("du says nothing")
    }
}

/// Time has to pass between two looks.
#[allow(clippy::disallowed_methods)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
