//! `/query` and `/query_range`.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use metrics_api::{Budget, Histogram, Labels, Limits};
use promql::eval::{self, Answer, Engine, Options, Points, Query, Sample, Value, When};

use crate::{
    ANSWER_BYTES_MAX, Ports,
    answer::{ErrorType, Failure, enveloped},
    json,
    params::Params,
};

pub(crate) async fn instant(State(ports): State<Ports>, params: Params) -> Result<Response, Failure> {
    let time_ms = params.time("time")?.unwrap_or_else(|| ports.clock.now().millis());
    answer(&ports, &params, When::Instant(time_ms)).await
}

pub(crate) async fn range(State(ports): State<Ports>, params: Params) -> Result<Response, Failure> {
    let time = |name| {
        params.time(name)?.ok_or_else(|| Failure::parameter(name, "cannot parse \"\" to a valid timestamp"))
    };
    let (start_ms, end_ms) = (time("start")?, time("end")?);
    if end_ms < start_ms {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params
        .duration("step")?
        .ok_or_else(|| Failure::parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Failure::parameter("step", why));
    }
    if (end_ms.saturating_sub(start_ms)) / step_ms
        > i64::try_from(ports.settings.limits.points_max).unwrap_or(i64::MAX)
    {
        return Err(Failure::bad_data(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            ports.settings.limits.points_max
        )));
    }
    answer(&ports, &params, When::Range { start_ms, end_ms, step_ms }).await
}

/// Cancels the query when the client goes away and the handler is dropped.
struct CancelOnDrop(Arc<Budget>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn answer(ports: &Ports, params: &Params, when: When) -> Result<Response, Failure> {
    let text = params.required("query")?;
    let mut query =
        Query::parse(text, when).map_err(|error| Failure::parameter("query", &error.to_string()))?;
    query.lookback_ms = params.duration("lookback_delta")?;
    let limit = params.limit()?;
    let limits = limits(ports, params)?;
    let seat = tokio::time::timeout(limits.time_max, Arc::clone(&ports.queries).acquire_owned())
        .await
        .map_err(|_| Failure::new(ErrorType::Timeout, "query timed out in query queue"))?
        .map_err(|_| Failure::new(ErrorType::Unavailable, "Stead is shutting down"))?;
    let budget = Budget::new(limits);
    let _cancel = CancelOnDrop(Arc::clone(&budget));
    let lookback_ms = i64::try_from(ports.settings.lookback_delta.as_millis()).unwrap_or(i64::MAX);
    let engine = Engine::new(Arc::clone(&ports.reader), Options { lookback_ms, ..Options::default() });
    let prepared = engine.prepare(&params.tenant, query, budget).await.map_err(failure)?;
    let stats = params.get("stats").is_some();
    let written = ports.tasks.blocking("evaluate a query", move || {
        let _seat = seat;
        prepared.run().map_err(failure).and_then(|answer| write(answer, limit, stats))
    });
    written.await.map_err(|error| Failure::new(ErrorType::Unavailable, error.to_string()))?
}

/// A request may ask for less time than the settings give.
fn limits(ports: &Ports, params: &Params) -> Result<Limits, Failure> {
    let mut limits = ports.settings.limits;
    if let Some(timeout_ms) = params.duration("timeout")? {
        limits.time_max = limits.time_max.min(Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)));
    }
    Ok(limits)
}

fn failure(error: eval::Error) -> Failure {
    let kind = match &error {
        eval::Error::Parse(_) | eval::Error::BadQuery(_) => ErrorType::BadData,
        eval::Error::Execution(_) => ErrorType::Execution,
        eval::Error::Timeout => ErrorType::Timeout,
        eval::Error::Cancelled => ErrorType::Canceled,
        eval::Error::Limit(_) => ErrorType::Execution,
        eval::Error::Store(_) => ErrorType::Internal,
    };
    let hint = base::Fault::hint(&error).filter(|_| matches!(error, eval::Error::Limit(_)));
    match hint {
        Some(hint) => Failure::new(kind, format!("{error}: {hint}")),
        None => Failure::new(kind, error.to_string()),
    }
}

fn write(answer: Answer, limit: usize, stats: bool) -> Result<Response, Failure> {
    let mut data = Vec::new();
    let mut warnings = answer.warnings;
    let cut = match &answer.value {
        Value::Scalar { time_ms, value } => {
            data.extend_from_slice(b"{\"resultType\":\"scalar\",\"result\":");
            json::point(&mut data, *time_ms, *value);
            false
        }
        Value::String { time_ms, value } => {
            data.extend_from_slice(b"{\"resultType\":\"string\",\"result\":[");
            json::time(&mut data, *time_ms);
            data.push(b',');
            json::text(&mut data, value);
            data.push(b']');
            false
        }
        Value::Vector(samples) => {
            data.extend_from_slice(b"{\"resultType\":\"vector\",\"result\":[");
            let shown = shown(samples.len(), limit);
            list(&mut data, &samples[..shown], |data, sample| {
                metric(data, &sample.labels);
                match &sample.value {
                    Sample::Float(value) => {
                        data.extend_from_slice(b",\"value\":");
                        json::point(data, sample.time_ms, *value);
                    }
                    Sample::Histogram(histogram) => {
                        data.extend_from_slice(b",\"histogram\":");
                        histogram_point(data, sample.time_ms, histogram);
                    }
                }
                data.push(b'}');
            })?;
            shown < samples.len()
        }
        Value::Matrix(series) => {
            data.extend_from_slice(b"{\"resultType\":\"matrix\",\"result\":[");
            let shown = shown(series.len(), limit);
            list(&mut data, &series[..shown], one_series)?;
            shown < series.len()
        }
    };
    if cut {
        warnings.push("results truncated due to limit".to_owned());
    }
    if stats {
        let samples = answer.stats.samples;
        let text = format!(
            ",\"stats\":{{\"timings\":{{}},\"samples\":{{\"totalQueryableSamples\":{samples},\"peakSamples\":{samples}}}}}"
        );
        data.extend_from_slice(text.as_bytes());
    }
    data.push(b'}');
    Ok(enveloped(&data, &warnings, &answer.infos))
}

fn shown(len: usize, limit: usize) -> usize {
    if limit == 0 { len } else { len.min(limit) }
}

/// Writes all with commas, closes the list, and stops before the answer is too large.
fn list<T>(data: &mut Vec<u8>, all: &[T], mut each: impl FnMut(&mut Vec<u8>, &T)) -> Result<(), Failure> {
    for (at, one) in all.iter().enumerate() {
        if at > 0 {
            data.push(b',');
        }
        each(data, one);
        if data.len() > ANSWER_BYTES_MAX {
            let message =
                format!("the answer is larger than {ANSWER_BYTES_MAX} bytes: ask for fewer series or points");
            return Err(Failure::new(ErrorType::Execution, message));
        }
    }
    data.push(b']');
    Ok(())
}

fn metric(data: &mut Vec<u8>, labels: &Labels) {
    data.extend_from_slice(b"{\"metric\":");
    json::labels(data, labels);
}

fn one_series(data: &mut Vec<u8>, series: &Points) {
    metric(data, &series.labels);
    if !series.floats.is_empty() {
        data.extend_from_slice(b",\"values\":[");
        for (at, (time_ms, value)) in series.floats.iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            json::point(data, *time_ms, *value);
        }
        data.push(b']');
    }
    if !series.histograms.is_empty() {
        data.extend_from_slice(b",\"histograms\":[");
        for (at, (time_ms, histogram)) in series.histograms.iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            histogram_point(data, *time_ms, histogram);
        }
        data.push(b']');
    }
    data.push(b'}');
}

/// `[time,{"count":…,"sum":…,"buckets":[[boundaries,low,high,count],…]}]`, empty buckets left out.
/// Boundaries: 0 open on the left, 1 open on the right, 2 open on both, 3 closed on both.
fn histogram_point(data: &mut Vec<u8>, time_ms: i64, histogram: &Histogram) {
    data.push(b'[');
    json::time(data, time_ms);
    data.extend_from_slice(b",{\"count\":");
    json::value(data, histogram.count);
    data.extend_from_slice(b",\"sum\":");
    json::value(data, histogram.sum);
    let mut first = true;
    for bucket in promql::histogram::all_buckets(histogram) {
        if bucket.count == 0.0 {
            continue;
        }
        data.extend_from_slice(if first { b",\"buckets\":[[" } else { b",[" });
        first = false;
        // Buckets are closed away from zero; the one around it on both sides.
        let zero = bucket.lower == -bucket.upper;
        let boundaries = match (zero || bucket.lower < 0.0, zero || bucket.upper > 0.0) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        };
        data.push(boundaries);
        for value in [bucket.lower, bucket.upper, bucket.count] {
            data.push(b',');
            json::value(data, value);
        }
        data.push(b']');
    }
    data.extend_from_slice(if first { b"}]" } else { b"]}]" });
}
