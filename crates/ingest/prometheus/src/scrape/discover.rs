//! Watches one discovery and hands over its groups whenever they change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, header};
use tokio::{
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use super::{
    Shared, TARGETS_MAX,
    dns::{self, Srv},
    fetch::{Ask, Client},
};
use crate::config::{Discovery, DnsKind, Group, HttpClient, files_matching, groups_from_text};

/// How often files of targets are looked at.
const FILES_POLL: Duration = Duration::from_secs(5);
/// Files that the patterns of one discovery may name.
const FILES_MAX: usize = 10_000;
/// Bytes of one file or answer with targets.
const TARGETS_BYTES_MAX: u64 = 1 << 20;
/// Time for an answer of `http_sd_configs`.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Groups of the discovery with this place in its job.
pub(super) type Found = (usize, Vec<Group>);

/// Goes on until it is dropped. What fails is logged, and the groups that were known stay.
pub(super) async fn watch(at: usize, discovery: Discovery, shared: Arc<Shared>, found: Sender<Found>) {
    match discovery {
        Discovery::Static(groups) => drop(found.send((at, groups)).await),
        Discovery::File { files, refresh } => watch_files(at, files, refresh, &shared, &found).await,
        Discovery::Http { url, refresh, http } => watch_http(at, &url, &http, refresh, &shared, &found).await,
        Discovery::Dns { names, kind, port, refresh } => loop {
            match resolve(&names, kind, port, &shared).await {
                Ok(groups) => drop(found.send((at, groups)).await),
                Err(why) => tracing::warn!(why, "targets cannot be found by DNS"),
            }
            sleep(refresh).await;
        },
        Discovery::Stead => {
            let Some(services) = &shared.options.services else {
                tracing::warn!("stead_sd_configs finds nothing: this server has no services of its own");
                return drop(found.send((at, Vec::new())).await);
            };
            let mut groups = services.watch();
            loop {
                let now = groups.borrow_and_update().to_vec();
                if found.send((at, now)).await.is_err() || groups.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

type Stamps = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

async fn watch_files(
    at: usize,
    files: Vec<PathBuf>,
    refresh: Duration,
    shared: &Shared,
    found: &Sender<Found>,
) {
    let mut known = Stamps::new();
    let mut groups = BTreeMap::<PathBuf, Vec<Group>>::new();
    let mut first = true;
    loop {
        let (patterns, before, mut kept) = (files.clone(), known.clone(), std::mem::take(&mut groups));
        let work = move || {
            let (now, changed) = look(&patterns, &before);
            kept.retain(|path, _| now.contains_key(path));
            for path in &changed {
                match read_file(path) {
                    Ok(groups) => drop(kept.insert(path.clone(), groups)),
                    Err(why) => tracing::warn!(file = %path.display(), why, "targets cannot be read"),
                }
            }
            (now, !changed.is_empty(), kept)
        };
        let Ok((now, mut changed, kept)) = shared.options.tasks.blocking("scrape.files", work).await else {
            return;
        };
        changed |= now.len() != known.len();
        (known, groups) = (now, kept);
        if changed || first {
            first = false;
            let all = groups.values().flatten().cloned().collect();
            if found.send((at, all)).await.is_err() {
                return;
            }
        }
        sleep(refresh.min(FILES_POLL)).await;
    }
}

/// The files that are there, and those of them that are not as they were.
fn look(patterns: &[PathBuf], before: &Stamps) -> (Stamps, Vec<PathBuf>) {
    let mut now = Stamps::new();
    for pattern in patterns {
        match files_matching(pattern, FILES_MAX) {
            Ok(files) => {
                for file in files {
                    if let Ok(stamp) = std::fs::metadata(&file) {
                        now.insert(file, (stamp.modified().ok(), stamp.len()));
                    }
                }
            }
            Err(why) => {
                tracing::warn!(pattern = %pattern.display(), why, "files of targets cannot be listed")
            }
        }
    }
    let changed = now.iter().filter(|(path, stamp)| before.get(*path) != Some(stamp));
    let changed = changed.map(|(path, _)| path.clone()).collect();
    (now, changed)
}

fn read_file(path: &Path) -> Result<Vec<Group>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > TARGETS_BYTES_MAX {
        return Err(format!("it has {size} bytes, at most {TARGETS_BYTES_MAX} are read"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let name = path.display().to_string();
    let mut groups = groups_from_text(&name, text)?;
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_owned(), name.clone());
    }
    Ok(groups)
}

async fn watch_http(
    at: usize,
    url: &str,
    http: &HttpClient,
    refresh: Duration,
    shared: &Shared,
    found: &Sender<Found>,
) {
    let mut client = Client::new(shared.options.tasks.clone(), Arc::clone(&shared.held));
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(seconds) = HeaderValue::from_str(&refresh.as_secs_f64().to_string()) {
        headers.insert("x-prometheus-refresh-interval-seconds", seconds);
    }
    let ask = Ask { headers, gzip: true, body_bytes_max: TARGETS_BYTES_MAX };
    loop {
        let answer = timeout(ANSWER_TIME_MAX, client.get(url, http, &ask)).await;
        let groups = match answer {
            Ok(Ok(fetched)) => read_answer(url, &fetched.body.bytes),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no answer in {ANSWER_TIME_MAX:?}")),
        };
        match groups {
            Ok(groups) => {
                if found.send((at, groups)).await.is_err() {
                    return;
                }
            }
            Err(why) => tracing::warn!(url, why, "targets cannot be asked for"),
        }
        sleep(refresh).await;
    }
}

fn read_answer(url: &str, body: &[u8]) -> Result<Vec<Group>, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut groups = groups_from_text(url, text.to_owned())?;
    for group in &mut groups {
        group.labels.insert("__meta_url".to_owned(), url.to_owned());
    }
    Ok(groups)
}

/// All names or none: a name that cannot be asked must not make its targets vanish.
async fn resolve(
    names: &[String],
    kind: DnsKind,
    port: Option<u16>,
    shared: &Shared,
) -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    for name in names {
        let found = match kind {
            DnsKind::Srv => dns::srv(name, &shared.dns_servers).await?,
            DnsKind::A | DnsKind::Aaaa => addresses(name, kind, port.unwrap_or_default()).await?,
        };
        let mut group = Group { source: name.clone(), ..Group::default() };
        group.labels.insert("__meta_dns_name".to_owned(), name.clone());
        for Srv { target, port } in found.into_iter().take(TARGETS_MAX) {
            let host = target.trim_end_matches('.');
            let mut labels = BTreeMap::from([("__address__".to_owned(), format!("{host}:{port}"))]);
            if kind == DnsKind::Srv {
                labels.insert("__meta_dns_srv_record_target".to_owned(), target.clone());
                labels.insert("__meta_dns_srv_record_port".to_owned(), port.to_string());
            }
            group.targets.push(labels);
        }
        groups.push(group);
    }
    Ok(groups)
}

async fn addresses(name: &str, kind: DnsKind, port: u16) -> Result<Vec<Srv>, String> {
    let found = tokio::net::lookup_host((name, port)).await.map_err(|error| format!("{name}: {error}"))?;
    let wanted = found.filter(|address| address.is_ipv4() == (kind == DnsKind::A));
    Ok(wanted
        .map(|address| {
            let ip = address.ip();
            Srv { target: if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }, port }
        })
        .collect())
}
