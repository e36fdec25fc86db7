//! Subqueries whose steps are counted back from the time of evaluation, `[range::step]`.
//!
//! Those of neighbouring evaluations lie on one grid only when the query's step is a multiple of the
//! subquery's. Otherwise what is around the subquery is evaluated for each step on its own.

use std::collections::HashMap;

use metrics_api::Labels;

use crate::{
    ast::{Expr, Subquery},
    eval::{
        Result,
        node::Evaluator,
        row::{Matrix, Row, Series, Sink, Steps},
    },
};

fn aligned(expr: &Expr) -> Option<&Subquery> {
    match expr.unwrapped() {
        Expr::Subquery(subquery) if subquery.aligned => Some(subquery),
        _ => None,
    }
}

impl Evaluator {
    /// Whether `expr` calls a function on a subquery whose steps do not lie on one grid.
    pub fn needs_each_step(&self, expr: &Expr, steps: &Steps) -> Result<bool> {
        let Expr::Call(call) = expr else {
            return Ok(false);
        };
        if steps.count < 2 {
            return Ok(false);
        }
        for subquery in call.args.iter().filter_map(aligned).filter(|subquery| subquery.at.is_none()) {
            if steps.interval_ms % self.subquery_interval_ms(subquery)? != 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Evaluates `expr` at each step alone and puts its series together.
    pub fn stream_each_step(&self, expr: &Expr, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let mut all = Matrix::default();
        // A series of a step is that with the same labels before, the second such the second.
        let mut known: HashMap<(Labels, bool, usize), usize> = HashMap::new();
        for at in 0..steps.count {
            let step = Steps { start_ms: steps.time(at), count: 1, ..*steps };
            let mut seen: HashMap<(Labels, bool), usize> = HashMap::new();
            self.stream(expr, &step, &mut |labels, drop_name, row| {
                let count = seen.entry((labels.clone(), drop_name)).or_default();
                *count += 1;
                let key = (labels.clone(), drop_name, *count);
                let index = match known.get(&key) {
                    Some(index) => *index,
                    None => {
                        let row = Row::of(steps.count);
                        all.push(Series { labels: labels.clone(), drop_name, row }, &self.budget)?;
                        known.insert(key, all.series.len() - 1);
                        all.series.len() - 1
                    }
                };
                all.series[index].row.copy_from(at, row, 0);
                Ok(())
            })?;
        }
        for series in &mut all.series {
            sink(&series.labels, series.drop_name, &mut series.row)?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use crate::conformance::run_script;

    #[test]
    fn steps_are_counted_back_from_each_evaluation() {
        let script = "
load 1s
  second{a=\"b\"} 0+1x100

eval instant at 50s sum_over_time(second[20s:6s])
  {a=\"b\"} 126

eval instant at 50s sum_over_time(second[20s::6s])
  {a=\"b\"} 164

eval range from 50s to 55s step 5s sum_over_time(second[20s::6s])
  {a=\"b\"} 164 184

eval range from 50s to 62s step 6s sum_over_time(second[20s::6s])
  {a=\"b\"} 164 188 212

eval range from 50s to 60s step 5s sum_over_time(second[20s::6s] @ end() offset 10s)
  {a=\"b\"} 164 164 164

eval range from 0s to 10s step 5s count_over_time(second[1s::6s] offset 5s)
  {a=\"b\"} _ 1 1
";
        let report = run_script(script, "aligned");
        assert_eq!(report.failures, []);
        assert_eq!(report.passed, 6);
    }
}
