//! `/federate`: the newest sample of each series that was asked for, as text another server scrapes.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use metrics_api::{
    Budget, Labels, METRIC_NAME, MetricType, Samples, Select, SeriesReader, TimeRange, is_stale,
};

use crate::{
    ANSWER_BYTES_MAX, Ports,
    answer::{ErrorType, Failure},
    params::Params,
};

type Newest = BTreeMap<Labels, (i64, f64)>;

pub(crate) async fn federate(State(ports): State<Ports>, params: Params) -> Result<Response, Failure> {
    let query = params.label_query()?;
    if query.any_of.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided".into()));
    }
    let now_ms = ports.clock.now().millis();
    let lookback_ms = i64::try_from(ports.settings.lookback_delta.as_millis()).unwrap_or(i64::MAX);
    let range = TimeRange { start_ms: now_ms.saturating_sub(lookback_ms).saturating_add(1), end_ms: now_ms };
    let budget = Budget::new(ports.settings.limits);
    let mut series = Vec::new();
    for matchers in query.any_of {
        let select = Select { matchers, range };
        series.extend(ports.reader.select(&params.tenant, &select, &budget).await?.series);
    }
    let newest = ports
        .tasks
        .blocking("federate metrics", move || read_newest(series, range))
        .await
        .map_err(|error| Failure::new(ErrorType::Unavailable, error.to_string()))??;
    let known = ports.reader.metadata(&params.tenant, None).await?;
    let kinds = known.into_iter().filter_map(|(name, said)| Some((name, said.first()?.kind))).collect();
    let body = write_text(&newest, &kinds)?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

fn read_newest(series: Vec<Box<dyn SeriesReader>>, range: TimeRange) -> metrics_api::Result<Newest> {
    let (mut newest, mut samples) = (Newest::new(), Samples::default());
    for mut one in series {
        samples.clear();
        one.read(range, &mut samples)?;
        if let (Some(&time_ms), Some(&value)) = (samples.float_times.last(), samples.floats.last())
            && !is_stale(value)
        {
            newest.insert(one.labels().clone(), (time_ms, value));
        }
    }
    Ok(newest)
}

/// Text format 0.0.4. Native histograms have no form in it and are left out.
fn write_text(newest: &Newest, kinds: &BTreeMap<String, MetricType>) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut by_name = BTreeMap::<&str, Vec<(&Labels, i64, f64)>>::new();
    for (labels, &(time_ms, value)) in newest {
        by_name.entry(labels.metric_name()).or_default().push((labels, time_ms, value));
    }
    for (name, rows) in by_name {
        let kind = match kinds.get(name) {
            Some(MetricType::Counter) => "counter",
            Some(MetricType::Gauge) => "gauge",
            _ => "untyped",
        };
        // Writing to a vector cannot fail.
        let _ = writeln!(body, "# TYPE {} {kind}", written_name(name));
        for (labels, time_ms, value) in rows {
            let _ = writeln!(body, "{} {} {time_ms}", Arc::new(labels), number(value));
        }
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Failure::new(
                ErrorType::Execution,
                format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"),
            ));
        }
    }
    Ok(body)
}

fn written_name(name: &str) -> String {
    Labels::from_pairs([(METRIC_NAME, name)])
        .to_string()
        .trim_start_matches('{')
        .trim_end_matches('}')
        .to_owned()
}

fn number(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_grouped_under_their_type() {
        let newest = Newest::from([
            (Labels::from_pairs([(METRIC_NAME, "up"), ("job", "a b")]), (5, 1.0)),
            (Labels::from_pairs([(METRIC_NAME, "x.y")]), (6, f64::INFINITY)),
        ]);
        let text = write_text(&newest, &BTreeMap::from([("up".into(), MetricType::Gauge)])).unwrap();
        let expected = "# TYPE up gauge\nup{job=\"a b\"} 1 5\n# TYPE \"x.y\" untyped\n{\"x.y\"} +Inf 6\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
