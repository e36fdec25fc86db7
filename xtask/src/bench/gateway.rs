//! CPU per request of our gateway and of Debian's nginx, on the same machine and the same work.
//!
//! Both: one thread or worker, HTTP/1.1 without TLS, access log on, connections to the service
//! kept. The service is a second nginx that answers 115 bytes. Load comes from `wrk`, in rounds
//! that alternate; CPU is user and system time of the proxy's processes from `/proc/PID/stat`.
//! A ratio of CPU times in one run stands also on a machine that does other work meanwhile.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::{Figure, median};

const GOAL_RATIO: f64 = 1.15;
const CONNECTIONS: [u32; 2] = [32, 128];
const READY: Duration = Duration::from_secs(10);

/// Runs the comparison and prints it. `quick` makes fewer and shorter rounds.
///
/// # Errors
/// nginx or wrk is missing, the gateway does not build, or a proxy answers wrongly.
pub fn run(quick: bool, json: bool) -> anyhow::Result<()> {
    let version = nginx_version()?;
    let gateway = build()?;
    let dir = tempfile::tempdir()?;
    let service = Nginx::start(&dir.path().join("service"), &service_config)?;
    let peer = Nginx::start(&dir.path().join("peer"), &|port| proxy_config(port, service.address))?;
    let ours = Gateway::start(&gateway, dir.path(), service.address)?;
    let (rounds, seconds) = if quick { (5, 2) } else { (9, 5) };
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let load = Load { connections, seconds };
        load.measure(ours.address, &[ours.child.id()])?; // warm up
        load.measure(peer.address, &peer.processes()?)?;
        let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let mut our_round =
                || load.measure(ours.address, &[ours.child.id()]).map(|cpu| our_rounds.push(cpu));
            let mut peer_round =
                || load.measure(peer.address, &peer.processes()?).map(|cpu| peer_rounds.push(cpu));
            if round % 2 == 0 {
                our_round()?;
                peer_round()?;
            } else {
                peer_round()?;
                our_round()?;
            }
        }
        figures.push(figure(connections, &our_rounds, &peer_rounds, &version));
    }
    super::print(&figures, json)
}

fn figure(connections: u32, ours: &[Round], peer: &[Round], version: &str) -> Figure {
    let cpu = |rounds: &[Round]| rounds.iter().map(|round| round.cpu_us).collect::<Vec<_>>();
    let (our_cpu, peer_cpu) = (cpu(ours), cpu(peer));
    let (our_median, peer_median) = (median(&our_cpu), median(&peer_cpu));
    let ratio = our_median / peer_median;
    let lowest = our_cpu.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = our_cpu.iter().copied().fold(0.0, f64::max);
    Figure {
        name: format!("gateway CPU/request c={connections}"),
        unit: "us",
        better: "lower",
        ours: our_median,
        peer: Some(peer_median),
        peer_name: Some("nginx".into()),
        peer_version: Some(version.into()),
        ratio: Some(ratio),
        spread: [lowest, highest],
        runs: ours.len(),
        goal: Some(GOAL_RATIO),
        met: Some(ratio <= GOAL_RATIO),
    }
}

fn nginx_version() -> anyhow::Result<String> {
    let output =
        Command::new("nginx").arg("-v").output().context("nginx is missing; apt-get install nginx-light")?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

/// Builds the gateway as it is released and says where it is.
fn build() -> anyhow::Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "-p", "gateway", "--bin", "gateway-alone", "--message-format=json"])
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "the gateway does not build");
    let messages = String::from_utf8(output.stdout)?;
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .find(|path| path.ends_with("gateway-alone"));
    path.context("cargo does not say where the gateway is")
}

/// Ends a process when dropped.
struct Process(Child);

impl Process {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Nginx {
    master: Process,
    address: SocketAddr,
}

impl Nginx {
    fn start(dir: &Path, config: &dyn Fn(u16) -> String) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        let address = free_address()?;
        fs::write(dir.join("nginx.conf"), config(address.port()))?;
        // In the foreground, so that ending this process ends it; its worker follows its master.
        let child =
            Command::new("nginx").arg("-p").arg(dir).args(["-c", "nginx.conf", "-e", "error.log"]).spawn()?;
        let nginx = Self { master: Process(child), address };
        wait_for(address)?;
        Ok(nginx)
    }

    fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let master = self.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([master]).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A killed master would leave its worker behind.
        let _ = Command::new("kill").args(["-TERM", &self.master.id().to_string()]).status();
        let _ = self.master.0.wait();
    }
}

const COMMON: &str = "daemon off; worker_processes 1; pid nginx.pid; user root;
events { worker_connections 4096; }
http { client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi; scgi_temp_path scgi; keepalive_requests 100000000;";

fn service_config(port: u16) -> String {
    let body = "x".repeat(115);
    format!(
        "{COMMON} access_log off; server {{ listen 127.0.0.1:{port} backlog=4096;
location / {{ default_type text/plain; return 200 {body}; }} }} }}"
    )
}

fn proxy_config(port: u16, service: SocketAddr) -> String {
    format!(
        "{COMMON} access_log access.log combined;
upstream service {{ server {service}; keepalive 256; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://service;
proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; }} }} }}"
    )
}

struct Gateway {
    child: Process,
    address: SocketAddr,
}

impl Gateway {
    fn start(program: &Path, dir: &Path, service: SocketAddr) -> anyhow::Result<Self> {
        let address = free_address()?;
        let snapshot = serde_json::json!({
            "version": 1,
            "listeners": [{"name": "public", "address": address}],
            "routes": [{
                "name": "bench", "scope": {"tenant": "default", "environment": "default"}, "service": "bench",
                "listener": "public", "path": "/",
                "targets": [{"release": "rel_0192f5a8c0de7000800000000000000a", "weight": 100, "endpoints": [
                    {"replica": "rep_0192f5a8c0de7000800000000000000b", "address": service}]}],
            }],
        });
        let routes = dir.join("routes.json");
        fs::write(&routes, snapshot_file(&snapshot.to_string()))?;
        let child = Command::new(program)
            .args([&routes, &dir.join("admin.sock"), Path::new("1"), &dir.join("access.log")])
            .spawn()?;
        let gateway = Self { child: Process(child), address };
        wait_for(address)?;
        Ok(gateway)
    }
}

/// The gateway's snapshot format, written here by hand so that building xtask does not build the
/// gateway.
fn snapshot_file(body: &str) -> String {
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{{\"format\":1,\"checksum\":\"sha256:{digest}\",\"snapshot\":{body}}}\n")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&"x".repeat(115)) {
                return Ok(());
            }
            bail!("{address} answers wrongly: {answer}");
        }
        if Instant::now() > deadline {
            bail!("{address} does not answer");
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

struct Round {
    cpu_us: f64,
}

struct Load {
    connections: u32,
    seconds: u32,
}

impl Load {
    fn measure(&self, address: SocketAddr, processes: &[u32]) -> anyhow::Result<Round> {
        let before = cpu_us(processes)?;
        let output = Command::new("wrk")
            .args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", self.seconds)])
            .arg(format!("http://{address}/"))
            .output()
            .context("wrk is missing; apt-get install wrk")?;
        let used = cpu_us(processes)? - before;
        let text = String::from_utf8(output.stdout)?;
        if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
            bail!("the load on {address} had errors: {text}");
        }
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests: f64 = requests.context("wrk does not say how many requests it made")?.0.parse()?;
        Ok(Round { cpu_us: used / requests })
    }
}

/// User and system time of all threads of these processes.
fn cpu_us(processes: &[u32]) -> anyhow::Result<f64> {
    let mut ticks = 0;
    for process in processes {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        for field in [11, 12] {
            ticks += fields.get(field).context("a line of /proc that is too short")?.parse::<u64>()?;
        }
    }
    // Linux counts in hundredths of a second for user space on every architecture we build for.
    Ok(ticks as f64 * 10_000.0)
}
