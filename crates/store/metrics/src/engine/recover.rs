//! Opening a tenant's store: manifest, parts, registry, log.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use base::Tenant;
use disk::{Disk, Sync};
use metrics_api::Result;

use super::{
    Stats,
    flush::open_part_at,
    head::{Head, StoredPart, Tombstone},
    manifest::{Found, Manifest, PartEntry, file_number, part_name, registry_name},
    pipeline::Pipeline,
    registry,
    tenant::{FlushState, Shared, TenantStore, storage, write},
    wal::{
        self,
        record::{self, KIND_EXEMPLARS, KIND_FLOATS, KIND_HISTOGRAMS, KIND_METADATA, KIND_SERIES},
    },
};

const MODE: u32 = 0o700;
/// The registry of a tenant as a file.
const REGISTRY_BYTES_MAX: u64 = 8 << 30;
const SIDE_BYTES_MAX: u64 = 1 << 30;

/// Opens the store of a tenant, or makes an empty one. Damage is said in words and contained.
///
/// # Errors
/// The disk cannot be read or written at all.
pub fn open(name: Tenant, shared: Arc<Shared>) -> Result<TenantStore> {
    let dir = PathBuf::from("tenants").join(name.as_str());
    let mut recovery = Recovery { disk: Arc::clone(&shared.disk), dir, shared, damage: Vec::new() };
    let store = recovery.run(name)?;
    for damage in &store.damage {
        tracing::warn!(tenant = %store.name, damage, "stored metrics are damaged");
    }
    Stats::add(&store.stats.wal_damaged, store.damage.len() as u64);
    // Numbers of series that were lost with a record must not be given again while samples of
    // theirs stand in the log: make it a part and begin a new log.
    if !store.damage.is_empty() {
        store.leave_log_behind();
    }
    Ok(store)
}

struct Recovery {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    dir: PathBuf,
    damage: Vec<String>,
}

impl Recovery {
    fn run(&mut self, name: Tenant) -> Result<TenantStore> {
        for folder in ["wal", "parts"] {
            disk::create_dirs(&*self.disk, &self.dir.join(folder), MODE).map_err(storage)?;
        }
        // A folder may be there and not durable, when an earlier try failed between the two.
        for folder in ["tenants".as_ref(), self.dir.as_path()] {
            self.disk.sync(Sync::Dir(folder)).map_err(storage)?;
        }
        disk::sweep(&*self.disk, &self.dir).map_err(storage)?;
        let manifest = self.manifest()?;
        let mut head = Head { parts: Arc::new(self.parts(&manifest)?), ..Head::default() };
        head.deletions = Arc::new(manifest.deletions.iter().filter_map(Tombstone::from_entry).collect());
        if head.deletions.len() < manifest.deletions.len() {
            self.damage.push("a deletion has a condition that this program does not know".into());
        }
        let flush = self.registry(&manifest, &mut head)?;
        self.side(&mut head)?;
        let pipeline = self.log(&manifest, &mut head)?;
        if !head.active.is_empty() {
            head.active_since = Some(self.shared.clock.monotonic());
        }
        head.count_slow_bytes();
        let damage = std::mem::take(&mut self.damage);
        let (dir, shared) = (self.dir.clone(), Arc::clone(&self.shared));
        let store = TenantStore::new(name, dir, shared, pipeline, head, manifest, flush, damage);
        store.account(&super::tenant::read(&store.head));
        Ok(store)
    }

    fn manifest(&mut self) -> Result<Manifest> {
        let why = match Manifest::read(&*self.disk, &self.dir).map_err(storage)? {
            Found::Absent => return Ok(Manifest::default()),
            Found::Good(manifest) => return Ok(manifest),
            Found::Damaged(why) => why,
        };
        self.damage.push(format!(
            "the manifest: {why}; it is made anew from the parts, and deletions not carried out yet are undone"
        ));
        let mut manifest = Manifest::default();
        for listed in self.disk.list(&self.dir.join("parts")).map_err(storage)? {
            let Some(file) = file_number(&listed.name) else { continue };
            manifest.next_file = manifest.next_file.max(file + 1);
            let path = self.dir.join("parts").join(&listed.name);
            match open_part_at(&*self.disk, &path, &self.shared.cache) {
                Ok(part) => manifest.parts.push(PartEntry {
                    file,
                    order: file,
                    min_time_ms: part.info().min_time_ms,
                    max_time_ms: part.info().max_time_ms,
                    samples: part.info().samples,
                    series: part.info().series,
                    size_bytes: listed.size_bytes,
                    written_ms: 0,
                    deletions_applied: 0,
                }),
                Err(error) => self.damage.push(format!("{}: {error}", path.display())),
            }
        }
        for listed in self.disk.list(&self.dir).map_err(storage)? {
            if let Some(file) = file_number(&listed.name) {
                manifest.next_file = manifest.next_file.max(file + 1);
                manifest.registry = manifest.registry.max(file);
            }
        }
        manifest.write(&*self.disk, &self.dir).map_err(storage)?;
        Ok(manifest)
    }

    /// Opens the parts and removes what a crash left beside them.
    fn parts(&mut self, manifest: &Manifest) -> Result<Vec<Arc<StoredPart>>> {
        let folder = self.dir.join("parts");
        let named: HashSet<String> = manifest.parts.iter().map(|part| part_name(part.file)).collect();
        for listed in self.disk.list(&folder).map_err(storage)? {
            // What cannot be opened when the manifest was lost is kept for a person to look at.
            if !named.contains(&listed.name) && self.damage.is_empty() {
                self.disk.remove(&folder.join(&listed.name)).map_err(storage)?;
            }
        }
        let mut parts = Vec::new();
        for entry in &manifest.parts {
            let path = folder.join(part_name(entry.file));
            let part = open_part_at(&*self.disk, &path, &self.shared.cache).map_err(|error| {
                let why = error.to_string();
                self.damage.push(format!(
                    "{}: {why}; its {} samples are left out",
                    path.display(),
                    entry.samples
                ));
                Stats::add(&self.shared.stats.parts_damaged, 1);
                why
            });
            parts.push(Arc::new(StoredPart::new(entry.clone(), part.map(Arc::new))));
        }
        Ok(parts)
    }

    fn registry(&mut self, manifest: &Manifest, head: &mut Head) -> Result<FlushState> {
        let mut state = FlushState::default();
        let current = registry_name(manifest.registry);
        for listed in self.disk.list(&self.dir).map_err(storage)? {
            if listed.name.starts_with("registry-") && listed.name != current {
                self.disk.remove(&self.dir.join(&listed.name)).map_err(storage)?;
            }
        }
        if manifest.registry == 0 {
            return Ok(state);
        }
        let bytes = match disk::read(&*self.disk, &self.dir.join(&current), REGISTRY_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(disk::Error::NotFound { .. }) => {
                self.damage.push(format!("{current} is not there"));
                Vec::new()
            }
            Err(error) => return Err(storage(error)),
        };
        let loaded = registry::load(&bytes, &mut head.registry);
        if loaded.damaged > 0 {
            let count = loaded.damaged;
            self.damage.push(format!("{current}: {count} places are damaged; series named there are known again when they get samples"));
        }
        state.registry_entries = loaded.entries;
        state.registry_torn = loaded.torn || loaded.damaged > 0 || bytes.is_empty();
        Ok(state)
    }

    fn side(&mut self, head: &mut Head) -> Result<()> {
        let settings = &self.shared.settings;
        match disk::read(&*self.disk, &self.dir.join("side"), SIDE_BYTES_MAX) {
            Ok(bytes) => {
                if !head.side.load(&bytes, settings.metadata_max, settings.exemplars_max) {
                    self.damage.push("side: some metadata or exemplars are lost".into());
                }
                Ok(())
            }
            Err(disk::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage(error)),
        }
    }

    fn log(&mut self, manifest: &Manifest, head: &mut Head) -> Result<Pipeline> {
        let folder = self.dir.join("wal");
        let settings = self.shared.settings.clone();
        let mut unknown = 0u64;
        let mut bad: Vec<String> = Vec::new();
        // The pipeline needs the log, which is opened by reading it; so what is learnt of series is
        // told to the pipeline afterwards.
        let registry = &mut head.registry;
        let (active, side) = (&mut head.active, &mut head.side);
        let mut floats: Vec<record::Float> = Vec::new();
        let each = |frame: wal::frame::Frame<'_>, place: &str| {
            let taken = match frame.kind {
                KIND_SERIES => record::each_series(frame.payload, |series, labels| {
                    if !registry.live().contains(series) || registry.id(series) != labels.id() {
                        registry.place(series, labels.id(), &labels);
                    }
                }),
                KIND_FLOATS => {
                    floats.clear();
                    let read = record::each_float(frame.payload, |float| {
                        if registry.live().contains(float.series) {
                            floats.push(float);
                        } else {
                            unknown += 1;
                        }
                    });
                    active.push(&floats, registry.numbers());
                    read
                }
                KIND_HISTOGRAMS => record::each_histogram(frame.payload, |sample| {
                    if registry.live().contains(sample.0) {
                        active.push_histograms(vec![sample]);
                    } else {
                        unknown += 1;
                    }
                }),
                KIND_METADATA | KIND_EXEMPLARS => {
                    side.take(frame.kind, frame.payload, settings.metadata_max, settings.exemplars_max)
                }
                _ => None,
            };
            if taken.is_none() {
                bad.push(format!("{place}: record {} is not one that this program writes", frame.seq));
            }
        };
        let (log, damage) = wal::recover(
            &self.disk,
            &folder,
            manifest.wal_first,
            self.shared.settings.wal_segment_bytes,
            each,
        )
        .map_err(storage)?;
        self.damage.extend(damage);
        self.damage.extend(bad);
        if unknown > 0 {
            self.damage.push(format!("{unknown} samples of the log are of series whose record is lost"));
        }
        head.registry.free_the_rest();
        let mut pipeline = Pipeline::new(log);
        let now_s = self.shared.clock.monotonic().as_secs() as u32;
        pipeline.know_all(&head.registry, now_s);
        head.active.each_row(|float| pipeline.replayed(&float));
        head.active.each_histogram(|sample| pipeline.replayed_histogram(&sample));
        Ok(pipeline)
    }
}

impl TenantStore {
    fn leave_log_behind(&self) {
        let (Ok(mut pipeline), Ok(mut state)) = (self.pipeline.try_lock(), self.flushing.try_lock()) else {
            return;
        };
        state.registry_torn = true;
        let mut head = write(&self.head);
        let sealed = self.seal(&mut head, &mut pipeline);
        drop(head);
        // A failure is counted and said by the flush itself; the log stays then.
        if sealed {
            let _ = self.write_sealed(&mut state);
        } else {
            let first = pipeline.wal.rotate();
            if self.publish(Vec::new(), &[], |manifest| manifest.wal_first = first).is_ok() {
                let _ = wal::remove_before(&*self.shared.disk, &self.dir.join("wal"), first);
            }
        }
    }
}

/// Names of tenants that have a folder.
///
/// # Errors
/// The disk cannot list.
pub fn tenants(disk: &dyn Disk) -> Result<Vec<Tenant>> {
    let folder = Path::new("tenants");
    disk::create_dirs(disk, folder, MODE).map_err(storage)?;
    disk.sync(Sync::Dir(Path::new(""))).map_err(storage)?;
    let listed = disk.list(folder).map_err(storage)?;
    Ok(listed
        .into_iter()
        .filter(|found| found.kind == disk::Kind::Dir)
        .filter_map(|found| Tenant::parse(&found.name).ok())
        .collect())
}
