//! The table of functions: what each takes and gives.

use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// Types of the arguments. Of a variadic function the last one may be left out or repeated.
    pub args: &'static [ValueType],
    pub variadic: Variadic,
    pub returns: ValueType,
    /// Upstream has it behind a feature flag.
    pub experimental: bool,
}

/// How often the last argument of [`Function::args`] may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly once.
    No,
    /// Not at all, or up to so many times in all; of type of the last.
    UpTo(usize),
    /// Not at all, or any number of times.
    Any,
}

impl Function {
    /// How many arguments it needs at least.
    #[must_use]
    pub fn args_min(&self) -> usize {
        if self.variadic == Variadic::No { self.args.len() } else { self.args.len().saturating_sub(1) }
    }

    /// How many arguments it takes at most; `None` is any number.
    #[must_use]
    pub fn args_max(&self) -> Option<usize> {
        match self.variadic {
            Variadic::No => Some(self.args.len()),
            Variadic::UpTo(count) => Some(self.args_min() + count),
            Variadic::Any => None,
        }
    }

    /// The type of the argument at `index`, counted from 0.
    #[must_use]
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        self.args.get(index).or(self.args.last()).copied()
    }
}

/// The function of this name; names are exact in case.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    let at = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
    FUNCTIONS.get(at)
}

const fn f(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: Variadic::No, returns, experimental: false }
}

impl Function {
    const fn up_to(mut self, count: usize) -> Self {
        self.variadic = Variadic::UpTo(count);
        self
    }
    const fn any(mut self) -> Self {
        self.variadic = Variadic::Any;
        self
    }
    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }
}

/// All functions in order of name.
#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    f("abs", &[Vector], Vector),
    f("absent", &[Vector], Vector),
    f("absent_over_time", &[Matrix], Vector),
    f("acos", &[Vector], Vector),
    f("acosh", &[Vector], Vector),
    f("asin", &[Vector], Vector),
    f("asinh", &[Vector], Vector),
    f("atan", &[Vector], Vector),
    f("atanh", &[Vector], Vector),
    f("avg_over_time", &[Matrix], Vector),
    f("ceil", &[Vector], Vector),
    f("changes", &[Matrix], Vector),
    f("clamp", &[Vector, Scalar, Scalar], Vector),
    f("clamp_max", &[Vector, Scalar], Vector),
    f("clamp_min", &[Vector, Scalar], Vector),
    f("cos", &[Vector], Vector),
    f("cosh", &[Vector], Vector),
    f("count_over_time", &[Matrix], Vector),
    f("day_of_month", &[Vector], Vector).up_to(1),
    f("day_of_week", &[Vector], Vector).up_to(1),
    f("day_of_year", &[Vector], Vector).up_to(1),
    f("days_in_month", &[Vector], Vector).up_to(1),
    f("deg", &[Vector], Vector),
    f("delta", &[Matrix], Vector),
    f("deriv", &[Matrix], Vector),
    f("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector).experimental(),
    f("end", &[], Scalar).experimental(),
    f("exp", &[Vector], Vector),
    f("first_over_time", &[Matrix], Vector).experimental(),
    f("floor", &[Vector], Vector),
    f("histogram_avg", &[Vector], Vector),
    f("histogram_count", &[Vector], Vector),
    f("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    f("histogram_quantile", &[Scalar, Vector], Vector),
    f("histogram_quantiles", &[Vector, String, Scalar, Scalar], Vector).up_to(9).experimental(),
    f("histogram_stddev", &[Vector], Vector),
    f("histogram_stdvar", &[Vector], Vector),
    f("histogram_sum", &[Vector], Vector),
    f("hour", &[Vector], Vector).up_to(1),
    f("idelta", &[Matrix], Vector),
    f("increase", &[Matrix], Vector),
    f("info", &[Vector, Vector], Vector).up_to(1).experimental(),
    f("irate", &[Matrix], Vector),
    f("label_join", &[Vector, String, String, String], Vector).any(),
    f("label_replace", &[Vector, String, String, String, String], Vector),
    f("last_over_time", &[Matrix], Vector),
    f("ln", &[Vector], Vector),
    f("log10", &[Vector], Vector),
    f("log2", &[Vector], Vector),
    f("mad_over_time", &[Matrix], Vector).experimental(),
    f("max_of", &[Scalar, Scalar], Scalar).experimental(),
    f("max_over_time", &[Matrix], Vector),
    f("min_of", &[Scalar, Scalar], Scalar).experimental(),
    f("min_over_time", &[Matrix], Vector),
    f("minute", &[Vector], Vector).up_to(1),
    f("month", &[Vector], Vector).up_to(1),
    f("pi", &[], Scalar),
    f("predict_linear", &[Matrix, Scalar], Vector),
    f("present_over_time", &[Matrix], Vector),
    f("quantile_over_time", &[Scalar, Matrix], Vector),
    f("rad", &[Vector], Vector),
    f("range", &[], Scalar).experimental(),
    f("rate", &[Matrix], Vector),
    f("resets", &[Matrix], Vector),
    f("round", &[Vector, Scalar], Vector).up_to(1),
    f("scalar", &[Vector], Scalar),
    f("sgn", &[Vector], Vector),
    f("sin", &[Vector], Vector),
    f("sinh", &[Vector], Vector),
    f("sort", &[Vector], Vector),
    f("sort_by_label", &[Vector, String], Vector).any().experimental(),
    f("sort_by_label_desc", &[Vector, String], Vector).any().experimental(),
    f("sort_desc", &[Vector], Vector),
    f("sqrt", &[Vector], Vector),
    f("start", &[], Scalar).experimental(),
    f("stddev_over_time", &[Matrix], Vector),
    f("stdvar_over_time", &[Matrix], Vector),
    f("step", &[], Scalar).experimental(),
    f("sum_over_time", &[Matrix], Vector),
    f("tan", &[Vector], Vector),
    f("tanh", &[Vector], Vector),
    f("time", &[], Scalar),
    f("timestamp", &[Vector], Vector),
    f("ts_of_first_over_time", &[Matrix], Vector).experimental(),
    f("ts_of_last_over_time", &[Matrix], Vector).experimental(),
    f("ts_of_max_over_time", &[Matrix], Vector).experimental(),
    f("ts_of_min_over_time", &[Matrix], Vector).experimental(),
    f("vector", &[Scalar], Vector),
    f("year", &[Vector], Vector).up_to(1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_name() {
        for known in FUNCTIONS {
            assert_eq!(function(known.name), Some(known), "{} is out of order", known.name);
        }
        assert_eq!(function("Rate"), None);
    }

    #[test]
    fn variadic_functions_count_their_arguments() {
        let round = function("round").unwrap();
        assert_eq!((round.args_min(), round.args_max()), (1, Some(2)));
        let join = function("label_join").unwrap();
        assert_eq!((join.args_min(), join.args_max()), (3, None));
        assert_eq!(join.arg_type(7), Some(String));
        let time = function("time").unwrap();
        assert_eq!((time.args_min(), time.args_max(), time.arg_type(0)), (0, Some(0), None));
    }
}
