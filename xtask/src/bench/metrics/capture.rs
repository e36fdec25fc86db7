//! A capture of Debian's node_exporter: what real series look like over some minutes.

use std::{
    collections::HashMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::{
    http::Connection,
    peers::{Child, fetch},
};

/// Scrapes of a full capture, one each second.
const SCRAPES: usize = 600;
const SCRAPES_QUICK: usize = 30;
const READY: Duration = Duration::from_secs(10);

/// One series over the time of the capture.
pub struct Series {
    pub name: String,
    /// Labels in order of name.
    pub labels: Vec<(String, String)>,
    pub is_counter: bool,
    pub values: Vec<f64>,
}

/// The capture in the cache; makes it first when there is none, or a longer one is needed.
pub fn get(cache: &Path, quick: bool) -> anyhow::Result<Vec<Series>> {
    let folder = cache.join("node");
    let wanted = if quick { SCRAPES_QUICK } else { SCRAPES };
    fs::create_dir_all(&folder)?;
    let mut scrapes = list(&folder)?;
    if scrapes.len() < wanted {
        record(cache, &folder, scrapes.len(), wanted)?;
        scrapes = list(&folder)?;
    }
    scrapes.truncate(SCRAPES);
    let mut all: Vec<Series> = Vec::new();
    let mut known = HashMap::<String, usize>::new();
    for (at, path) in scrapes.iter().enumerate() {
        read(&fs::read_to_string(path)?, at, &mut all, &mut known);
    }
    // Series that come and go are no ground to replicate.
    all.retain(|series| series.values.len() == scrapes.len());
    all.extend(durations(scrapes.len()));
    ensure!(all.len() > 200, "the capture in {} has {} whole series only", folder.display(), all.len());
    Ok(all)
}

/// node_exporter has no histogram, and one of the shapes of queries needs one: requests whose
/// durations wander between a tenth of a second and one, in cumulative buckets.
fn durations(scrapes: usize) -> Vec<Series> {
    const BOUNDS: [f64; 8] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, f64::INFINITY];
    let mut buckets: Vec<Series> = BOUNDS
        .iter()
        .map(|bound| Series {
            name: "http_request_duration_seconds_bucket".into(),
            labels: vec![
                ("handler".into(), "/metrics".into()),
                ("le".into(), if bound.is_finite() { bound.to_string() } else { "+Inf".into() }),
            ],
            is_counter: true,
            values: Vec::with_capacity(scrapes),
        })
        .collect();
    let mut totals = [0.0; BOUNDS.len()];
    for at in 0..scrapes {
        let middle = 0.35 + 0.25 * (at as f64 / 40.0).sin();
        for (bucket, (total, bound)) in buckets.iter_mut().zip(totals.iter_mut().zip(BOUNDS)) {
            let share = if bound.is_finite() { 1.0 - (-(bound / middle).powi(2)).exp() } else { 1.0 };
            *total += (share * (40 + at % 7) as f64).round();
            bucket.values.push(*total);
        }
    }
    buckets
}

fn list(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    found.sort();
    Ok(found)
}

fn record(cache: &Path, folder: &Path, from: usize, to: usize) -> anyhow::Result<()> {
    let program = fetch(cache, "prometheus-node-exporter", "usr/bin/prometheus-node-exporter")?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let child = Command::new(program)
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _child = Child(child);
    let deadline = Instant::now() + READY;
    let mut connection = loop {
        match Connection::open(address, None) {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => {
                return Err(error.context("node_exporter does not answer"));
            }
            Err(_) => pause(Duration::from_millis(50)),
        }
    };
    eprintln!("recording {} scrapes of node_exporter, one each second", to - from);
    let start = Instant::now();
    for at in from..to {
        let body = connection.get("/metrics")?;
        let path = folder.join(format!("{at:06}.txt"));
        let draft = path.with_extension("new");
        fs::write(&draft, body)?;
        fs::rename(draft, path)?;
        let next = start + Duration::from_secs((at - from + 1) as u64);
        pause(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Time has to pass between two scrapes: there is nothing to wait for.
#[allow(clippy::disallowed_methods)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Takes the samples of one scrape. Exemplars and times do not occur in what node_exporter writes.
fn read(text: &str, at: usize, all: &mut Vec<Series>, known: &mut HashMap<String, usize>) {
    let mut counters = HashMap::<&str, bool>::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            if let Some((name, kind)) = rest.split_once(' ') {
                counters.insert(name, matches!(kind, "counter" | "summary" | "histogram"));
            }
            continue;
        }
        let Some((key, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let index = *known.entry(key.to_owned()).or_insert_with(|| {
            all.push(describe(key, &counters));
            all.len() - 1
        });
        if let Some(series) = all.get_mut(index).filter(|series| series.values.len() == at) {
            series.values.push(value);
        }
    }
}

fn describe(key: &str, counters: &HashMap<&str, bool>) -> Series {
    let (name, rest) = key.split_once('{').unwrap_or((key, ""));
    let mut labels = Vec::new();
    let mut rest = rest.trim_end_matches('}');
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = quote_end(after);
        let value = after[..end].replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        if !value.is_empty() {
            labels.push((label.trim_start_matches(',').to_owned(), value));
        }
        rest = after.get(end + 1..).unwrap_or_default();
    }
    labels.sort();
    let base = ["_sum", "_count", "_bucket"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let is_counter = counters.get(name).or_else(|| counters.get(base)).copied().unwrap_or(false);
    Series { name: name.to_owned(), labels, is_counter, values: Vec::new() }
}

fn quote_end(text: &str) -> usize {
    let mut escaped = false;
    text.bytes()
        .position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })
        .unwrap_or(text.len())
}

/// Where a peer's package and version are found.
pub fn version_of(output: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(output);
    let word =
        text.split_whitespace().find(|word| word.contains('.') && word.chars().any(|c| c.is_ascii_digit()));
    Ok(word.context("no version")?.trim_matches(',').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_become_series() {
        let (mut all, mut known) = (Vec::new(), HashMap::new());
        let text = "# TYPE a counter\na{x=\"1,\\\"=\",y=\"\"} 1\n# TYPE b gauge\nb 2.5e+06\n";
        read(text, 0, &mut all, &mut known);
        read("a{x=\"1,\\\"=\",y=\"\"} 3\n", 1, &mut all, &mut known);
        assert_eq!((all[0].name.as_str(), all[0].is_counter), ("a", true));
        assert_eq!(all[0].labels, [("x".to_owned(), "1,\"=".to_owned())]);
        assert_eq!(all[0].values, [1.0, 3.0]);
        assert_eq!((all[1].is_counter, all[1].values.as_slice()), (false, [2.5e6].as_slice()));
    }
}
