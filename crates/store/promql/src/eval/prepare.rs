//! What a query selects: time windows of selectors, and the readers of their series.

use std::{collections::HashMap, fmt, sync::Arc};

use base::Tenant;
use metrics_api::{Budget, Matcher, Reader, Select, SeriesReader, TimeRange};

use crate::{
    ast::{At, DurationExpr, Expr, Extended, Place, VectorSelector},
    eval::{Answer, Error, Options, Places, Query, Result, When, info, node::Evaluator},
};

/// How far from the epoch times may lie: far enough for every clock, and near enough that offsets
/// and ranges can be added. Milliseconds.
pub(crate) const TIME_MS_MAX: i64 = 1 << 60;

/// Times of the whole query, which `@ start()`, `step()` and the like name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0 of an instant query.
    pub step_ms: i64,
    pub lookback_ms: i64,
    pub subquery_step_ms: i64,
}

impl Frame {
    pub fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Time(time) => time.clamp(-TIME_MS_MAX, TIME_MS_MAX),
            At::Start => self.start_ms,
            At::End => self.end_ms,
        })
    }

    pub fn offset_ms(&self, offset: Option<&DurationExpr>, text: &str) -> Result<i64> {
        let Some(offset) = offset else { return Ok(0) };
        let resolved = offset.resolve_offset_ms(self.step_ms, self.end_ms - self.start_ms);
        resolved.map_err(|error| no_duration(error.place, error.why, text))
    }

    pub fn duration_ms(&self, of: &DurationExpr, text: &str) -> Result<i64> {
        let resolved = of.resolve_ms(self.step_ms, self.end_ms - self.start_ms);
        resolved.map_err(|error| no_duration(error.place, error.why, text))
    }
}

fn no_duration(place: Place, why: &str, text: &str) -> Error {
    let before = text.get(..place.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::BadQuery(format!("{line}:{column}: parse error: {why}"))
}

/// A query with the series it needs. [`Prepared::run`] computes it.
pub struct Prepared {
    pub(crate) query: Query,
    pub(crate) options: Options,
    pub(crate) frame: Frame,
    pub(crate) budget: Arc<Budget>,
    pub(crate) places: Places,
    pub(crate) selected: Vec<Vec<Box<dyn SeriesReader>>>,
    pub(crate) warnings: Vec<String>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("query", &self.query.text)
            .field("when", &self.query.when)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// Computes the answer. Reads samples, which may touch the disk, and takes CPU: for a blocking
    /// thread. It ends early when its budget is cancelled.
    ///
    /// # Errors
    /// Series that the expression does not fit, a bound of the budget, a store that fails.
    pub fn run(self) -> Result<Answer> {
        Evaluator::run(self)
    }
}

pub(crate) async fn prepare(
    reader: &dyn Reader,
    options: Options,
    tenant: &Tenant,
    query: Query,
    budget: Arc<Budget>,
) -> Result<Prepared> {
    let frame = frame_of(&query, options, &budget)?;
    let mut wanted = Wanted { frame, text: &query.text, selects: Vec::new(), places: HashMap::new() };
    wanted.walk(&query.expr, frame.start_ms, frame.end_ms)?;
    let Wanted { selects, places, .. } = wanted;
    let (mut selected, mut warnings) = (Vec::with_capacity(selects.len()), Vec::new());
    for select in &selects {
        let mut set = reader.select(tenant, select, &budget).await?;
        // One order, whatever the store: what ties among series falls the same way each time.
        set.series.sort_by(|a, b| a.labels().as_bytes().cmp(b.labels().as_bytes()));
        selected.push(set.series);
        warnings.append(&mut set.warnings);
    }
    Ok(Prepared { query, options, frame, budget, places, selected, warnings })
}

fn frame_of(query: &Query, options: Options, budget: &Budget) -> Result<Frame> {
    let (start_ms, end_ms, step_ms) = match query.when {
        When::Instant(time_ms) => (time_ms, time_ms, 0),
        When::Range { start_ms, end_ms, step_ms } => (start_ms, end_ms, step_ms),
    };
    if [start_ms, end_ms].iter().any(|time| !(-TIME_MS_MAX..=TIME_MS_MAX).contains(time)) {
        return Err(Error::BadQuery("the time of the query is out of range".into()));
    }
    if end_ms < start_ms {
        return Err(Error::BadQuery("end timestamp must not be before start time".into()));
    }
    if let When::Range { .. } = query.when {
        if step_ms <= 0 {
            return Err(Error::BadQuery(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .into(),
            ));
        }
        let limit = budget.limits().points_max;
        if end_ms.saturating_sub(start_ms) as u64 / step_ms as u64 > limit {
            return Err(Error::BadQuery(format!(
                "exceeded maximum resolution of {limit} points per timeseries. Try decreasing the query \
                 resolution (?step=XX)"
            )));
        }
    }
    Ok(Frame {
        start_ms,
        end_ms,
        step_ms,
        lookback_ms: query.lookback_ms.unwrap_or(options.lookback_ms),
        subquery_step_ms: options.subquery_step_ms,
    })
}

struct Wanted<'a> {
    frame: Frame,
    text: &'a str,
    selects: Vec<Select>,
    places: Places,
}

impl Wanted<'_> {
    fn want(&mut self, place: Place, matchers: &[Matcher], start_ms: i64, end_ms: i64) {
        let known = self.selects.iter().position(|select| select.matchers == matchers);
        let at = known.unwrap_or_else(|| {
            let range = TimeRange::new(start_ms, end_ms);
            self.selects.push(Select { matchers: matchers.to_vec(), range });
            self.selects.len() - 1
        });
        let range = &mut self.selects[at].range;
        range.start_ms = range.start_ms.min(start_ms);
        range.end_ms = range.end_ms.max(end_ms);
        self.places.insert(place, at);
    }

    /// The window that a selector reads, when it is evaluated from `start_ms` to `end_ms`.
    fn selector(&mut self, of: &VectorSelector, range_ms: i64, start_ms: i64, end_ms: i64) -> Result<()> {
        let offset = self.frame.offset_ms(of.offset.as_ref(), self.text)?;
        let at = self.frame.at(of.at);
        let (start, end) = (at.unwrap_or(start_ms), at.unwrap_or(end_ms));
        let lookback = self.frame.lookback_ms;
        let before = if range_ms == 0 || of.extended.is_some() { lookback } else { 0 };
        let after = if of.extended == Some(Extended::Smoothed) { lookback } else { 0 };
        // Windows are open on the left.
        let first = start.saturating_sub(offset + range_ms + before).saturating_add(1);
        self.want(of.place, &of.matchers, first, end.saturating_sub(offset).saturating_add(after));
        Ok(())
    }

    fn walk(&mut self, expr: &Expr, start_ms: i64, end_ms: i64) -> Result<()> {
        match expr {
            Expr::Vector(selector) => self.selector(selector, 0, start_ms, end_ms),
            Expr::Matrix(matrix) => {
                let range = self.frame.duration_ms(&matrix.range, self.text)?;
                self.selector(&matrix.selector, range, start_ms, end_ms)
            }
            Expr::Subquery(subquery) => {
                let offset = self.frame.offset_ms(subquery.offset.as_ref(), self.text)?;
                let range = self.frame.duration_ms(&subquery.range, self.text)?;
                if let Some(step) = &subquery.step {
                    self.frame.duration_ms(step, self.text)?;
                }
                let at = self.frame.at(subquery.at);
                let start = at.unwrap_or(start_ms) - offset - range;
                self.walk(&subquery.expr, start, at.unwrap_or(end_ms) - offset)
            }
            Expr::Call(call) if call.function.name == "info" => {
                self.walk(&call.args[0], start_ms, end_ms)?;
                self.info(call, start_ms, end_ms)
            }
            other => {
                for child in other.children() {
                    self.walk(child, start_ms, end_ms)?;
                }
                Ok(())
            }
        }
    }

    fn info(&mut self, call: &crate::ast::Call, start_ms: i64, end_ms: i64) -> Result<()> {
        let matchers = info::selecting_matchers(call)?;
        let reference = info::Reference::of(&call.args[0], &self.frame, self.text)?;
        let (start, end) = (reference.time(start_ms), reference.time(end_ms));
        self.want(call.place, &matchers, start - self.frame.lookback_ms + 1, end);
        Ok(())
    }
}
