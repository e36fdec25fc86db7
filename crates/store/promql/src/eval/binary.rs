//! Operators between vectors and scalars.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use metrics_api::{CounterReset, Histogram, Labels, LabelsBuilder, METRIC_NAME};

use crate::{
    ast::{Binary, BinaryOp, Cardinality, Matching, ValueType},
    eval::{
        Error, Result,
        annotation::{Note, Operation},
        labels::{METADATA_LABELS, give},
        node::Evaluator,
        row::{Cell, Matrix, Row, Series, Sink, Steps, absent, is_absent},
        text,
    },
    histogram,
};

/// Arithmetic, and comparison as 0 or 1.
#[inline]
pub(crate) fn scalar_binop(op: BinaryOp, left: f64, right: f64) -> f64 {
    match float_binop(op, left, right) {
        (_, keep) if op.is_comparison() => f64::from(u8::from(keep)),
        (value, _) => value,
    }
}

/// The value, and whether a comparison holds.
#[inline]
fn float_binop(op: BinaryOp, left: f64, right: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (left + right, true),
        BinaryOp::Sub => (left - right, true),
        BinaryOp::Mul => (left * right, true),
        BinaryOp::Div => (left / right, true),
        BinaryOp::Mod => (left % right, true),
        BinaryOp::Pow => (left.powf(right), true),
        BinaryOp::Atan2 => (left.atan2(right), true),
        BinaryOp::Equal => (left, left == right),
        BinaryOp::NotEqual => (left, left != right),
        BinaryOp::LessOrEqual => (left, left <= right),
        BinaryOp::Less => (left, left < right),
        BinaryOp::GreaterOrEqual => (left, left >= right),
        BinaryOp::Greater => (left, left > right),
        _ => (f64::NAN, false),
    }
}

/// The operator gives something new, which is not of the metric any more.
fn changes_metric(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

/// One value, owned.
#[derive(Debug, Clone)]
enum Element {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Element {
    fn of(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::None => None,
            Cell::Float(value) => Some(Self::Float(value)),
            Cell::Histogram(histogram) => Some(Self::Histogram(Arc::clone(histogram))),
        }
    }
}

impl Evaluator {
    pub fn stream_binary(&self, binary: &Binary, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let is_scalar = |side: &crate::ast::Expr| side.value_type() == ValueType::Scalar;
        if is_scalar(&binary.right) || is_scalar(&binary.left) {
            return self.stream_with_scalar(binary, is_scalar(&binary.left), steps, sink);
        }
        let matching = binary.matching.clone().unwrap_or(Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        });
        let left = self.collect(&binary.left, steps)?;
        let right = self.collect(&binary.right, steps)?;
        let mut signatures = Signatures::new(&matching);
        let left_signatures: Vec<usize> = left.series.iter().map(|s| signatures.of(&s.labels)).collect();
        let right_signatures: Vec<usize> = right.series.iter().map(|s| signatures.of(&s.labels)).collect();
        let count = signatures.known.len();
        if binary.op.is_set() {
            let sides = [(left, left_signatures), (right, right_signatures)];
            return self.stream_set(binary.op, sides, count, steps, sink);
        }
        let mut sides = [(&left.series, &left_signatures), (&right.series, &right_signatures)];
        if matching.cardinality == Cardinality::OneToMany {
            sides.reverse();
        }
        let [(many, many_signatures), (one, one_signatures)] = sides;
        let mut pairing = Pairing {
            evaluator: self,
            binary,
            matching: &matching,
            many,
            one,
            steps: *steps,
            out: Matrix::default(),
            seen: Vec::new(),
            by_pair: HashMap::new(),
            by_labels: HashMap::new(),
        };
        if let Some(pairs) = pairing.lasting_pairs(many_signatures, one_signatures, count) {
            return pairing.stream_rows(pairs, sink);
        }
        pairing.run(many_signatures, one_signatures, count)?;
        give(pairing.out, sink)
    }

    fn stream_with_scalar(
        &self,
        binary: &Binary,
        scalar_left: bool,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let (op, return_bool) = (binary.op, binary.return_bool);
        let (vector, scalar) =
            if scalar_left { (&binary.right, &binary.left) } else { (&binary.left, &binary.right) };
        let scalars = self.scalars(scalar, steps)?;
        let drops = changes_metric(op) || return_bool;
        self.stream(vector, steps, &mut |labels, drop_name, row| {
            for at in 0..row.floats.len() {
                let value = row.floats[at];
                if is_absent(value) {
                    continue;
                }
                let scalar = scalars.get(at);
                let (left, right) = if scalar_left { (scalar, value) } else { (value, scalar) };
                if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
                    self.note(Note::IncompatibleTypes("float", op.as_str(), "float"), binary.place);
                    row.floats[at] = absent();
                    continue;
                }
                let (result, keep) = float_binop(op, left, right);
                row.floats[at] = if return_bool {
                    f64::from(u8::from(keep))
                } else if !keep {
                    absent()
                } else if op.is_comparison() {
                    value
                } else {
                    result
                };
            }
            for at in 0..row.histograms.len() {
                let Some(histogram) = row.histograms[at].take() else { continue };
                let (scalar, histogram) = (Element::Float(scalars.get(at)), Element::Histogram(histogram));
                let (left, right) = if scalar_left { (scalar, histogram) } else { (histogram, scalar) };
                if let Some((Element::Histogram(result), _)) = self.element_binop(binary, &left, &right) {
                    row.histograms[at] = Some(result);
                }
            }
            if row.is_empty() { Ok(()) } else { sink(labels, drop_name || drops, row) }
        })
    }

    /// The operator on one pair, and whether a comparison holds. None when it means nothing for the
    /// two, which is noted.
    fn element_binop(&self, binary: &Binary, left: &Element, right: &Element) -> Option<(Element, bool)> {
        let op = binary.op;
        let place = binary.place;
        let refuse = |left: &str, right: &str| {
            self.note(Note::IncompatibleTypes(left, op.as_str(), right), place);
            None
        };
        let changed = |histogram: &Histogram, change: &dyn Fn(&mut Histogram)| {
            let mut changed = histogram.clone();
            change(&mut changed);
            Some((Element::Histogram(Arc::new(histogram::compact(changed))), true))
        };
        match (left, right) {
            (Element::Float(left), Element::Float(right)) => {
                if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
                    return refuse("float", "float");
                }
                let (value, keep) = float_binop(op, *left, *right);
                Some((Element::Float(value), keep))
            }
            (Element::Float(factor), Element::Histogram(histogram)) => match op {
                BinaryOp::Mul => changed(histogram, &|h| histogram::scale(h, *factor)),
                _ => refuse("float", "histogram"),
            },
            (Element::Histogram(histogram), Element::Float(value)) => match op {
                BinaryOp::Mul => changed(histogram, &|h| histogram::scale(h, *value)),
                BinaryOp::Div => changed(histogram, &|h| histogram::divide(h, *value)),
                BinaryOp::TrimUpper | BinaryOp::TrimLower => {
                    let trimmed = histogram::trim::trim(histogram, *value, op == BinaryOp::TrimUpper);
                    Some((Element::Histogram(Arc::new(trimmed)), true))
                }
                _ => refuse("histogram", "float"),
            },
            (Element::Histogram(left), Element::Histogram(right)) => match op {
                BinaryOp::Add | BinaryOp::Sub => self.add_histograms(binary, left, right),
                BinaryOp::Equal => {
                    Some((Element::Histogram(Arc::clone(left)), histogram::equal(left, right)))
                }
                BinaryOp::NotEqual => {
                    Some((Element::Histogram(Arc::clone(left)), !histogram::equal(left, right)))
                }
                _ => refuse("histogram", "histogram"),
            },
        }
    }

    fn add_histograms(
        &self,
        binary: &Binary,
        left: &Histogram,
        right: &Histogram,
    ) -> Option<(Element, bool)> {
        let subtract = binary.op == BinaryOp::Sub;
        let during = if subtract { Operation::Subtraction } else { Operation::Addition };
        let Ok((mut result, merged)) = histogram::combine(left, right, subtract) else {
            self.note(Note::IncompatibleLayout(binary.op.as_str()), binary.place);
            return None;
        };
        if merged.reconciled {
            self.note(Note::Reconciled(during), binary.place);
        }
        if merged.collision {
            self.note(Note::Collision(during), binary.place);
        }
        if subtract {
            result.counter_reset = CounterReset::Gauge;
        }
        Some((Element::Histogram(Arc::new(result)), true))
    }

    /// `and`, `or`, `unless`: which signatures a side has at each step decides about the other.
    fn stream_set(
        &self,
        op: BinaryOp,
        sides: [(Matrix, Vec<usize>); 2],
        signatures: usize,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let _held = self.budget.reserve((signatures * steps.count) as u64)?;
        let mut present = vec![false; signatures * steps.count];
        let [(left, left_signatures), (right, right_signatures)] = sides;
        let (deciding, deciders) =
            if op == BinaryOp::Or { (&left, &left_signatures) } else { (&right, &right_signatures) };
        for (series, signature) in deciding.series.iter().zip(deciders) {
            for at in 0..steps.count {
                present[signature * steps.count + at] |= series.row.has(at);
            }
        }
        let wanted = op == BinaryOp::And;
        let (kept, filtered, signatures) = match op {
            BinaryOp::Or => (Some(left), right, right_signatures),
            _ => (None, left, left_signatures),
        };
        if let Some(kept) = kept {
            give(kept, sink)?;
        }
        for (mut series, signature) in filtered.series.into_iter().zip(signatures) {
            for at in 0..steps.count {
                if present[signature * steps.count + at] != wanted {
                    series.row.clear(at);
                }
            }
            if !series.row.is_empty() {
                sink(&series.labels, series.drop_name, &mut series.row)?;
            }
        }
        Ok(())
    }
}

/// Labels that two series have to share, by number.
struct Signatures<'a> {
    matching: &'a Matching,
    known: HashMap<Labels, usize>,
}

impl<'a> Signatures<'a> {
    fn new(matching: &'a Matching) -> Self {
        Self { matching, known: HashMap::new() }
    }

    fn of(&mut self, labels: &Labels) -> usize {
        let next = self.known.len();
        *self.known.entry(shared_labels(labels, self.matching)).or_insert(next)
    }
}

/// Of a series' labels those that decide what it matches.
fn shared_labels(labels: &Labels, matching: &Matching) -> Labels {
    if matching.on {
        labels.only(&matching.labels)
    } else {
        labels.filter(|label| {
            label.name != METRIC_NAME && !matching.labels.iter().any(|name| name == label.name)
        })
    }
}

/// Matches the series of two vectors at each step, the second one being the side of one.
struct Pairing<'a> {
    evaluator: &'a Evaluator,
    binary: &'a Binary,
    matching: &'a Matching,
    many: &'a [Series],
    one: &'a [Series],
    steps: Steps,
    out: Matrix,
    /// The last step, counted from 1, at which a series of the result got a value.
    seen: Vec<usize>,
    by_pair: HashMap<(Option<usize>, Option<usize>), usize>,
    by_labels: HashMap<Labels, usize>,
}

/// A series of many, one of one, and the labels of their result.
type LastingPair = (usize, usize, Labels);

impl Pairing<'_> {
    /// The pairs, when they are the same at every step: each signature stands once on the side of
    /// one, each result comes of one pair, and nothing is filled in.
    fn lasting_pairs(&self, many: &[usize], one: &[usize], count: usize) -> Option<Vec<LastingPair>> {
        if self.matching.fill_left.is_some() || self.matching.fill_right.is_some() {
            return None;
        }
        let mut found: Vec<Option<usize>> = vec![None; count];
        for (index, signature) in one.iter().enumerate() {
            if found[*signature].replace(index).is_some() {
                return None;
            }
        }
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let mut taken = vec![false; count];
        let mut results = HashSet::with_capacity(many.len());
        let mut pairs = Vec::with_capacity(many.len());
        for (index, signature) in many.iter().enumerate() {
            let Some(one) = found[*signature] else { continue };
            if one_to_one && std::mem::replace(&mut taken[*signature], true) {
                return None;
            }
            let labels = self.result_labels(&self.many[index].labels, &self.one[one].labels);
            if !results.insert(labels.clone()) {
                return None;
            }
            pairs.push((index, one, labels));
        }
        Some(pairs)
    }

    /// Hands on the rows of pairs one after the other.
    fn stream_rows(&self, pairs: Vec<LastingPair>, sink: &mut Sink<'_>) -> Result<()> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (op, return_bool) = (self.binary.op, self.binary.return_bool);
        let plain = !matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
        let mut row = Row::default();
        for (many, one, labels) in pairs {
            self.evaluator.budget.check()?;
            row.reset(self.steps.count);
            let (many, one) = (&self.many[many], &self.one[one]);
            let (left, right) = if swapped { (&one.row, &many.row) } else { (&many.row, &one.row) };
            if plain && !left.has_histograms() && !right.has_histograms() {
                for ((into, left), right) in row.floats.iter_mut().zip(&left.floats).zip(&right.floats) {
                    if !is_absent(*left) && !is_absent(*right) {
                        let (value, keep) = float_binop(op, *left, *right);
                        if return_bool {
                            *into = f64::from(u8::from(keep));
                        } else if keep {
                            *into = value;
                        }
                    }
                }
            } else {
                for at in 0..self.steps.count {
                    let (Some(left), Some(right)) = (Element::of(left.get(at)), Element::of(right.get(at)))
                    else {
                        continue;
                    };
                    match self.evaluator.element_binop(self.binary, &left, &right) {
                        Some((_, keep)) if return_bool => row.floats[at] = f64::from(u8::from(keep)),
                        Some((Element::Float(value), true)) => row.floats[at] = value,
                        Some((Element::Histogram(histogram), true)) => row.set_histogram(at, histogram),
                        _ => {}
                    }
                }
            }
            if !row.is_empty() {
                sink(&labels, return_bool || many.drop_name, &mut row)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, many_signatures: &[usize], one_signatures: &[usize], count: usize) -> Result<()> {
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        // As upstream has it, the left filling is for the side of many also when that is the right.
        let (fill_one, fill_many) = (self.matching.fill_right, self.matching.fill_left);
        let mut found: Vec<Option<usize>> = vec![None; count];
        let mut matched = vec![false; count];
        for at in 0..self.steps.count {
            self.evaluator.budget.check()?;
            found.fill(None);
            matched.fill(false);
            for (index, signature) in one_signatures.iter().enumerate() {
                if !self.one[index].row.has(at) {
                    continue;
                }
                if let Some(known) = found[*signature] {
                    return Err(self.duplicate(known, index));
                }
                found[*signature] = Some(index);
            }
            for (index, signature) in many_signatures.iter().enumerate() {
                let Some(left) = Element::of(self.many[index].row.get(at)) else { continue };
                let one = found[*signature];
                let right = match one.and_then(|one| Element::of(self.one[one].row.get(at))) {
                    Some(right) => right,
                    None => match fill_one {
                        Some(fill) => Element::Float(fill),
                        None => continue,
                    },
                };
                let was_matched = std::mem::replace(&mut matched[*signature], true);
                self.pair(at, (Some(index), one), &left, &right, one_to_one && was_matched)?;
            }
            let Some(fill) = fill_many else { continue };
            for (index, signature) in one_signatures.iter().enumerate() {
                let Some(right) = Element::of(self.one[index].row.get(at)) else { continue };
                if !matched[*signature] {
                    matched[*signature] = true;
                    self.pair(at, (None, Some(index)), &Element::Float(fill), &right, false)?;
                }
            }
        }
        Ok(())
    }

    fn duplicate(&self, first: usize, second: usize) -> Error {
        let side = if self.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let group = shared_labels(&self.one[first].labels, self.matching);
        let mut both = [&self.one[first].labels, &self.one[second].labels];
        both.sort();
        Error::execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, \
             {}];many-to-many matching not allowed: matching labels must be unique on one side",
            text::labels(&group),
            text::labels(both[0]),
            text::labels(both[1]),
        ))
    }

    fn pair(
        &mut self,
        at: usize,
        pair: (Option<usize>, Option<usize>),
        many: &Element,
        one: &Element,
        matched_before: bool,
    ) -> Result<()> {
        let swapped = self.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one, many) } else { (many, one) };
        let Some((value, keep)) = self.evaluator.element_binop(self.binary, left, right) else {
            return Ok(());
        };
        if matched_before {
            return Err(Error::execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        let out = self.out_series(pair)?;
        if self.seen[out] == at + 1 {
            return Err(Error::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        self.seen[out] = at + 1;
        let row = &mut self.out.series[out].row;
        if self.binary.return_bool {
            row.floats[at] = f64::from(u8::from(keep));
        } else if keep {
            match value {
                Element::Float(value) => row.floats[at] = value,
                Element::Histogram(histogram) => row.set_histogram(at, histogram),
            }
        }
        Ok(())
    }

    /// The series of the result that a pair belongs to.
    fn out_series(&mut self, pair: (Option<usize>, Option<usize>)) -> Result<usize> {
        if let Some(known) = self.by_pair.get(&pair) {
            return Ok(*known);
        }
        // Of a series that is filled in only what it was matched by is known.
        let (many, one) = match pair {
            (Some(many), Some(one)) => (self.many[many].labels.clone(), self.one[one].labels.clone()),
            (Some(many), None) => {
                let labels = &self.many[many].labels;
                (labels.clone(), shared_labels(labels, self.matching))
            }
            (None, Some(one)) => {
                let labels = &self.one[one].labels;
                (shared_labels(labels, self.matching), labels.clone())
            }
            (None, None) => (Labels::empty(), Labels::empty()),
        };
        let labels = self.result_labels(&many, &one);
        let drop_name = self.binary.return_bool || pair.0.is_some_and(|many| self.many[many].drop_name);
        let known = self.by_labels.get(&labels).copied();
        let index = match known {
            Some(index) => index,
            None => {
                let index = self.out.series.len();
                self.by_labels.insert(labels.clone(), index);
                let row = Row::of(self.steps.count);
                self.out.push(Series { labels, drop_name, row }, &self.evaluator.budget)?;
                self.seen.push(0);
                index
            }
        };
        self.by_pair.insert(pair, index);
        Ok(index)
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = many.clone();
        if changes_metric(self.binary.op) {
            labels = labels.without(&METADATA_LABELS);
        }
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on {
                labels.only(&self.matching.labels)
            } else {
                labels.without(&self.matching.labels)
            };
        }
        if self.matching.include.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::from(&labels);
        for name in &self.matching.include {
            builder.set(name, one.get(name));
        }
        builder.build()
    }
}
