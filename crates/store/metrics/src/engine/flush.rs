//! From a buffer to a part.

use std::{
    collections::BTreeMap,
    io::BufWriter,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use disk::{Create, Disk, Sink, Sync};
use metrics_api::{Error, Labels, Result, Samples};

use super::{
    Stats,
    head::{Sealed, StoredPart, Tombstone},
    manifest::{Manifest, PartEntry, part_name, registry_name},
    registry,
    tenant::{FlushState, TenantStore, blocking, lock, read, storage, write},
    wal,
};
use crate::part::{Part, PartWriter};

pub const DAY_MS: i64 = 86_400_000;
/// Parts written at once by one pass over a buffer; one that spans more days takes more passes.
const DAYS_AT_ONCE: i64 = 64;
const WRITE_BYTES: usize = 256 << 10;
/// A look for series to forget is not taken more often.
const FORGET_EVERY: Duration = Duration::from_secs(60);

impl TenantStore {
    /// Makes parts of all that is in memory. Without anything there it does nothing.
    ///
    /// # Errors
    /// What is in memory stays there and in the log.
    pub async fn flush(self: &Arc<Self>) -> Result<()> {
        let mut flushing = Arc::clone(&self.flushing).lock_owned().await;
        let mut again = true;
        while again {
            let mut pipeline = Arc::clone(&self.pipeline).lock_owned().await;
            let store = Arc::clone(self);
            let sealed = blocking(move || {
                let mut head = write(&store.head);
                // One that was sealed before is written first.
                let was = head.sealed.is_some();
                was || store.seal(&mut head, &mut pipeline)
            });
            if !sealed.await? {
                return Ok(());
            }
            let store = Arc::clone(self);
            let mut state = flushing;
            (flushing, again) = blocking(move || {
                let written = store.write_sealed(&mut state);
                let left = !read(&store.head).active.is_empty();
                written.map(|()| (state, left && store.is_due()))
            })
            .await??;
        }
        self.forget_idle(&mut flushing).await
    }

    /// Makes parts of all that is in memory now, the newest included.
    ///
    /// # Errors
    /// As [`TenantStore::flush`].
    pub async fn flush_all(self: &Arc<Self>) -> Result<()> {
        // The first may have found a buffer sealed earlier, and leave the active one.
        self.flush().await?;
        self.flush().await
    }

    /// Whether the active buffer should become a part by its size or age.
    pub fn is_due(&self) -> bool {
        let head = read(&self.head);
        let old = |since: Duration| {
            self.shared.clock.monotonic().saturating_sub(since) >= self.settings.flush_after
        };
        head.sealed.is_some()
            || head.active.filled_bytes() >= self.settings.flush_bytes()
            || head.active_since.is_some_and(old)
            || (self.shared.near_memory() && !head.active.is_empty())
    }

    pub fn write_sealed(&self, state: &mut FlushState) -> Result<()> {
        let Some(sealed) = read(&self.head).sealed.clone() else { return Ok(()) };
        let written = self.try_write_sealed(&sealed, state);
        if let Err(error) = &written {
            Stats::add(&self.stats.flush_failures, 1);
            tracing::warn!(tenant = %self.name, %error, "samples in memory could not be made a part; they stay in the log");
        }
        written
    }

    fn try_write_sealed(&self, sealed: &Sealed, state: &mut FlushState) -> Result<()> {
        let order = {
            let mut head = write(&self.head);
            head.registry.sort();
            head.registry.order.clone()
        };
        let mut written = Vec::new();
        let drafted = self.write_parts(sealed, &order, &mut written);
        drop(order);
        let registry =
            drafted.and_then(|()| self.save_registry(state)).and_then(|file| self.save_side().map(|()| file));
        let registry = match registry {
            Ok(file) => file,
            Err(error) => {
                for part in &written {
                    let _ = self.shared.disk.remove(&self.part_path(part.entry.file));
                }
                return Err(error);
            }
        };
        let (parts, bytes) = (written.len() as u64, written.iter().map(|part| part.entry.size_bytes).sum());
        let published = self.publish(written, &[], |manifest| {
            manifest.wal_first = sealed.wal_first;
            manifest.registry = registry;
        });
        // What was saved may stand in a file that nothing names.
        state.registry_torn |= published.is_err();
        published?;
        {
            let mut head = write(&self.head);
            head.count_slow_bytes();
            self.account(&head);
        }
        Stats::add(&self.stats.flushes, 1);
        Stats::add(&self.stats.parts_written, parts);
        Stats::add(&self.stats.part_bytes_written, bytes);
        // What cannot be removed now is at the next start.
        let _ = wal::remove_before(&*self.shared.disk, &self.dir.join("wal"), sealed.wal_first);
        Ok(())
    }

    /// One part for each day that the buffer has samples of.
    fn write_parts(&self, sealed: &Sealed, order: &[u32], written: &mut Vec<Arc<StoredPart>>) -> Result<()> {
        let range = sealed.buffer.range();
        let (first, last) = (range.start_ms.div_euclid(DAY_MS), range.end_ms.div_euclid(DAY_MS));
        let mut from = first;
        while from <= last {
            let to = last.min(from.saturating_add(DAYS_AT_ONCE - 1));
            let mut drafts: BTreeMap<i64, Draft> = BTreeMap::new();
            sealed.buffer.each_sorted(order, |series, samples| {
                let labels = read(&self.head).registry.labels(series);
                if first == last {
                    return self.draft(&mut drafts, first)?.push(&labels, samples);
                }
                for (day, samples) in by_day(samples) {
                    if (from..=to).contains(&day) {
                        self.draft(&mut drafts, day)?.push(&labels, &samples)?;
                    }
                }
                Ok::<(), Error>(())
            })?;
            for draft in drafts.into_values() {
                written.extend(draft.finish(self, None)?);
            }
            from = to.saturating_add(1);
        }
        Ok(())
    }

    fn draft<'d>(&self, drafts: &'d mut BTreeMap<i64, Draft>, day: i64) -> Result<&'d mut Draft> {
        if let std::collections::btree_map::Entry::Vacant(entry) = drafts.entry(day) {
            entry.insert(Draft::begin(self)?);
        }
        drafts.get_mut(&day).ok_or_else(|| Error::Unavailable { why: "a part was not begun".into() })
    }

    pub fn part_path(&self, file: u64) -> PathBuf {
        self.dir.join("parts").join(part_name(file))
    }

    pub fn take_file_number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// Appends what is new to the registry's file, or writes another when half of it is out of date.
    fn save_registry(&self, state: &mut FlushState) -> Result<u64> {
        let current = lock(&self.manifest).registry;
        let (bytes, fresh, anew, live) = {
            let mut head = write(&self.head);
            let unsaved = std::mem::take(&mut head.registry.unsaved);
            let live = head.registry.len();
            let entries = state.registry_entries + unsaved.len() as u64;
            let anew = current == 0 || state.registry_torn || entries > 2 * live + 10_000;
            let mut bytes = Vec::new();
            if anew {
                let all: Vec<u32> = head.registry.live().iter().collect();
                registry::save(&head.registry, &all, &mut bytes);
            } else {
                registry::save(&head.registry, &unsaved, &mut bytes);
            }
            (bytes, unsaved, anew, live)
        };
        if bytes.is_empty() && !anew {
            return Ok(current);
        }
        let file = if anew { self.take_file_number() } else { current };
        let path = self.dir.join(registry_name(file));
        let disk = &*self.shared.disk;
        let saved = disk.create(&path, Create { append: !anew, ..Create::PRIVATE }).and_then(|mut sink| {
            sink.write_all(&bytes).map_err(|error| disk::Error::from_io(&path, &error))?;
            sink.sync()?;
            if anew { disk.sync(Sync::Dir(&self.dir)) } else { Ok(()) }
        });
        match saved {
            Ok(()) => {
                state.registry_entries =
                    if anew { live } else { state.registry_entries + fresh.len() as u64 };
                state.registry_torn = false;
                Ok(file)
            }
            Err(error) => {
                // Half a frame may stand there now.
                state.registry_torn = true;
                write(&self.head).registry.unsaved.extend(fresh);
                Err(storage(error))
            }
        }
    }

    fn save_side(&self) -> Result<()> {
        let bytes = {
            let mut head = write(&self.head);
            if !std::mem::take(&mut head.side.changed) {
                return Ok(());
            }
            head.side.save()
        };
        let saved = disk::write_atomic(&*self.shared.disk, &self.dir.join("side"), &bytes, 0o600);
        if saved.is_err() {
            write(&self.head).side.changed = true;
        }
        saved.map_err(storage)
    }

    /// Writes a manifest with these parts more and those less, and lets answers see it. Parts that
    /// came out of a buffer take its place.
    ///
    /// # Errors
    /// Nothing changed for answers; on the disk it may have.
    pub fn publish(
        &self,
        added: Vec<Arc<StoredPart>>,
        removed: &[u64],
        edit: impl FnOnce(&mut Manifest),
    ) -> Result<()> {
        let believed_ms = self.believed_ms();
        let mut manifest = lock(&self.manifest);
        let mut next = manifest.clone();
        next.parts.retain(|part| !removed.contains(&part.file));
        next.parts.extend(added.iter().map(|part| part.entry.clone()));
        next.parts.sort_by_key(|part| part.order);
        edit(&mut next);
        let tombstones: Vec<Tombstone> = next.deletions.iter().filter_map(Tombstone::from_entry).collect();
        let open = |number: u64| {
            tombstones
                .iter()
                .any(|one| one.number == number && next.parts.iter().any(|part| one.concerns(part)))
        };
        let done: Vec<u64> =
            next.deletions.iter().map(|one| one.number).filter(|number| !open(*number)).collect();
        next.deletions.retain(|one| !done.contains(&one.number));
        next.believed_ms = Some(believed_ms);
        next.next_file = self.next_file.load(Ordering::Relaxed);
        next.write(&*self.shared.disk, &self.dir).map_err(storage)?;
        let mut head = write(&self.head);
        let mut parts: Vec<Arc<StoredPart>> =
            head.parts.iter().filter(|part| !removed.contains(&part.entry.file)).cloned().collect();
        parts.extend(added);
        parts.sort_by_key(|part| part.entry.order);
        head.parts = Arc::new(parts);
        head.deletions = Arc::new(tombstones.into_iter().filter(|one| !done.contains(&one.number)).collect());
        if head.sealed.as_ref().is_some_and(|sealed| sealed.wal_first <= next.wal_first) {
            head.sealed = None;
        }
        self.account(&head);
        drop(head);
        if next.registry != manifest.registry && manifest.registry != 0 {
            let _ = self.shared.disk.remove(&self.dir.join(registry_name(manifest.registry)));
        }
        *manifest = next;
        drop(manifest);
        for file in removed {
            // Readers that hold it have it open.
            let _ = self.shared.disk.remove(&self.part_path(*file));
        }
        Ok(())
    }

    /// Lets go of series that got no sample for long.
    async fn forget_idle(self: &Arc<Self>, state: &mut FlushState) -> Result<()> {
        let now = self.shared.clock.monotonic();
        if now.saturating_sub(state.forgot_idle_at) < FORGET_EVERY {
            return Ok(());
        }
        state.forgot_idle_at = now;
        let before_s = now.saturating_sub(self.settings.series_idle_after).as_secs() as u32;
        let mut pipeline = Arc::clone(&self.pipeline).lock_owned().await;
        let store = Arc::clone(self);
        blocking(move || {
            let mut head = write(&store.head);
            let sealed = head.sealed.clone();
            let in_use = |series: &u32| {
                head.active.has(*series) || sealed.as_ref().is_some_and(|sealed| sealed.buffer.has(*series))
            };
            let gone: roaring::RoaringBitmap =
                pipeline.idle(before_s).filter(|series| !in_use(series)).collect();
            if !gone.is_empty() {
                gone.iter().for_each(|series| pipeline.forget(series));
                head.registry.remove(&gone);
                Stats::add(&store.stats.series_forgotten, gone.len());
                store.account(&head);
            }
        })
        .await
    }
}

/// Samples apart by day.
fn by_day(samples: &Samples) -> BTreeMap<i64, Samples> {
    let mut days: BTreeMap<i64, Samples> = BTreeMap::new();
    for (&time_ms, &value) in samples.float_times.iter().zip(&samples.floats) {
        days.entry(time_ms.div_euclid(DAY_MS)).or_default().push_float(time_ms, value);
    }
    for (&time_ms, value) in samples.histogram_times.iter().zip(&samples.histograms) {
        days.entry(time_ms.div_euclid(DAY_MS)).or_default().push_histogram(time_ms, Arc::clone(value));
    }
    days
}

/// A part that is being written.
#[derive(Debug)]
pub struct Draft {
    file: u64,
    path: PathBuf,
    pub writer: PartWriter<BufWriter<SinkWriter>>,
    /// Of the tenant when it was begun.
    pub deletions_applied: u64,
}

pub struct SinkWriter(Box<dyn Sink>);

impl std::fmt::Debug for SinkWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SinkWriter")
    }
}

impl std::io::Write for SinkWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Draft {
    pub fn begin(store: &TenantStore) -> Result<Self> {
        let file = store.take_file_number();
        let path = store.part_path(file);
        let deletions_applied = lock(&store.manifest).last_deletion;
        let sink = store.shared.disk.create(&path, Create::PRIVATE).map_err(storage)?;
        let writer = PartWriter::new(BufWriter::with_capacity(WRITE_BYTES, SinkWriter(sink)))?;
        Ok(Self { file, path, writer, deletions_applied })
    }

    fn push(&mut self, labels: &Labels, samples: &Samples) -> Result<()> {
        self.writer.push_series(labels, samples)
    }

    /// Syncs it and opens it to read; none when there is nothing in it. `order` is that of the newest
    /// part it was made of; its own when it was made of a buffer.
    pub fn finish(self, store: &TenantStore, order: Option<u64>) -> Result<Option<Arc<StoredPart>>> {
        let disk: &dyn Disk = &*store.shared.disk;
        let Self { file, path, writer, deletions_applied } = self;
        let finished = Self::sync(writer, &path).and_then(|info| {
            if info.series == 0 {
                disk.remove(&path).map_err(storage)?;
                return Ok(None);
            }
            disk.sync(Sync::Dir(&store.dir.join("parts"))).map_err(storage)?;
            let entry = PartEntry {
                file,
                order: order.unwrap_or(file),
                min_time_ms: info.min_time_ms,
                max_time_ms: info.max_time_ms,
                samples: info.samples,
                series: info.series,
                size_bytes: info.size_bytes,
                written_ms: store.believed_ms(),
                deletions_applied,
            };
            let part = open_part(store, file)?;
            Ok(Some(Arc::new(StoredPart::new(entry, Ok(Arc::new(part))))))
        });
        if finished.is_err() {
            let _ = disk.remove(&path);
        }
        finished
    }

    /// Gives it up.
    pub fn discard(self, store: &TenantStore) {
        let path = self.path.clone();
        drop(self);
        let _ = store.shared.disk.remove(&path);
    }

    fn sync(
        writer: PartWriter<BufWriter<SinkWriter>>,
        path: &std::path::Path,
    ) -> Result<crate::part::PartInfo> {
        let (buffered, info) = writer.finish()?;
        let mut sink =
            buffered.into_inner().map_err(|error| storage(disk::Error::from_io(path, error.error())))?;
        sink.0.sync().map_err(storage)?;
        Ok(info)
    }
}

pub fn open_part(store: &TenantStore, file: u64) -> Result<Part> {
    open_part_at(&*store.shared.disk, &store.part_path(file), &store.shared.cache)
}

pub fn open_part_at(
    disk: &dyn Disk,
    path: &std::path::Path,
    cache: &crate::part::BlockCache,
) -> Result<Part> {
    let place = path.display().to_string();
    let size_bytes = disk.stat(path).map_err(storage)?.map_or(0, |found| found.size_bytes);
    let source = disk.open(path).map_err(storage)?;
    Part::open(&place, source, size_bytes, cache)
}
