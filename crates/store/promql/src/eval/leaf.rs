//! Rows of the series of a selector, computed by several threads and handed on in order.
//!
//! Batches of series go round among the threads, the caller's own among them. What another thread
//! computed waits in a short queue until its turn, so that the answer, its notes and its memory do
//! not depend on how many threads there are.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use metrics_api::{Budget, Labels, Samples, SeriesReader};

use crate::{
    ast::Place,
    eval::{
        Error, Result,
        annotation::Annotations,
        node::Evaluator,
        row::{Row, Sink},
    },
};

/// Series that a thread computes at a stretch.
const BATCH_SERIES: usize = 16;
/// Batches of one thread that wait for their turn.
const QUEUE_BATCHES: usize = 2;
/// Fewer series are not worth a thread.
const PARALLEL_SERIES_MIN: usize = 4 * BATCH_SERIES;
/// Fewer steps are not either.
const PARALLEL_POINTS_MIN: usize = 16_384;

/// Buffers of one thread, kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub samples: Samples,
    pub scratch: Vec<f64>,
    pub resets: Vec<usize>,
    pub annotations: Annotations,
}

/// Computes the row of one series.
pub(crate) type Work<'w> = dyn Fn(&mut dyn SeriesReader, &mut Buffers, &mut Row) -> Result<()> + Sync + 'w;

type Batch<'r> = &'r mut [Box<dyn SeriesReader>];
type Rows = Result<Vec<(Labels, Row)>>;

impl Evaluator {
    /// Hands on the row of each series of a selector that has any value.
    pub fn each_row(
        &self,
        place: Place,
        steps: usize,
        drop_name: bool,
        work: &Work<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let Some(cell) = self.places.get(&place).and_then(|at| self.selected.get(*at)) else { return Ok(()) };
        let mut readers = std::mem::take(&mut *cell.borrow_mut());
        let threads = self.options.parallel_max.min(readers.len() / BATCH_SERIES);
        let worth = readers.len() >= PARALLEL_SERIES_MIN && readers.len() * steps >= PARALLEL_POINTS_MIN;
        let waiting = threads * (QUEUE_BATCHES + 1) * BATCH_SERIES * steps * 8;
        // Without room for rows that wait, one thread does it all.
        let held = if worth && threads > 1 { self.budget.reserve(waiting as u64).ok() } else { None };
        let result = match held {
            Some(_held) => self.in_parallel(&mut readers, threads, drop_name, work, sink),
            None => {
                let mut buffers = Buffers::default();
                let mut row = Row::default();
                let result = readers.chunks_mut(BATCH_SERIES).try_for_each(|batch| {
                    self.own_batch(batch, drop_name, work, &mut buffers, &mut row, sink)
                });
                self.annotations.borrow_mut().merge(buffers.annotations);
                result
            }
        };
        *cell.borrow_mut() = readers;
        result
    }

    fn own_batch(
        &self,
        batch: Batch<'_>,
        drop_name: bool,
        work: &Work<'_>,
        buffers: &mut Buffers,
        row: &mut Row,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        self.budget.check()?;
        for reader in batch {
            work(&mut **reader, buffers, row)?;
            if !row.is_empty() {
                sink(reader.labels(), drop_name, row)?;
            }
        }
        Ok(())
    }

    fn in_parallel(
        &self,
        readers: &mut [Box<dyn SeriesReader>],
        threads: usize,
        drop_name: bool,
        work: &Work<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut shares: Vec<Vec<Batch<'_>>> = (0..threads).map(|_| Vec::new()).collect();
        for (at, batch) in readers.chunks_mut(BATCH_SERIES).enumerate() {
            shares[at % threads].push(batch);
        }
        let budget = &*self.budget;
        thread::scope(|scope| {
            let mut shares = shares.into_iter();
            let own = shares.next().unwrap_or_default();
            let mut queues: Vec<Receiver<Rows>> = Vec::new();
            let mut others = Vec::new();
            for share in shares {
                let (sender, queue) = sync_channel(QUEUE_BATCHES);
                queues.push(queue);
                others.push(scope.spawn(move || other_batches(share, budget, work, &sender)));
            }
            let mut buffers = Buffers::default();
            let mut row = Row::default();
            let result = own.into_iter().try_for_each(|batch| {
                self.own_batch(batch, drop_name, work, &mut buffers, &mut row, sink)?;
                for queue in &queues {
                    // The last round may have fewer batches than threads.
                    let Ok(rows) = queue.recv() else { continue };
                    for (labels, mut row) in rows? {
                        sink(&labels, drop_name, &mut row)?;
                    }
                }
                Ok(())
            });
            // Whoever still waits to hand over ends now.
            drop(queues);
            let mut annotations = buffers.annotations;
            for other in others {
                match other.join() {
                    Ok(found) => annotations.merge(found),
                    Err(_) => return result.and(Err(Error::execution("a thread of the query failed"))),
                }
            }
            self.annotations.borrow_mut().merge(annotations);
            result
        })
    }
}

/// The batches of another thread, one after the other, until nobody takes them any more.
fn other_batches(
    share: Vec<Batch<'_>>,
    budget: &Budget,
    work: &Work<'_>,
    queue: &SyncSender<Rows>,
) -> Annotations {
    let mut buffers = Buffers::default();
    for batch in share {
        let mut rows = Vec::with_capacity(batch.len());
        let compute = || {
            budget.check()?;
            for reader in batch {
                let mut row = Row::default();
                work(&mut **reader, &mut buffers, &mut row)?;
                if !row.is_empty() {
                    rows.push((reader.labels().clone(), row));
                }
            }
            Ok(())
        };
        let computed = compute();
        let failed = computed.is_err();
        if queue.send(computed.map(|()| rows)).is_err() || failed {
            break;
        }
    }
    buffers.annotations
}
