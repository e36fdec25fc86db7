//! A small graph for a terminal: lines of dots in Braille letters, one kind of mark a series.

/// Dots of one letter: two across, four down.
const ACROSS: usize = 2;
const DOWN: usize = 4;
/// First letter of the Braille block; the low eight bits say which dots are set.
const BRAILLE: u32 = 0x2800;
/// The bit of each dot, by row and column (Unicode, Braille Patterns).
const BITS: [[u32; ACROSS]; DOWN] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// A line to draw: points in order of time; a gap where nothing is known.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Time in milliseconds and value.
    pub(crate) points: Vec<(i64, f64)>,
}

/// Where time begins and ends, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) step_ms: i64,
}

/// Draws `lines` into `width` times `height` letters, with the values' scale at the left. Empty when
/// there is nothing finite to draw.
pub(crate) fn draw(lines: &[Line], window: Window, width: usize, height: usize) -> String {
    let values =
        || lines.iter().flat_map(|line| &line.points).map(|point| point.1).filter(|value| value.is_finite());
    let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
        return String::new();
    };
    let (low, high) = spread(low, high);
    let labels: Vec<String> = (0..height).map(|row| label(low, high, row, height)).collect();
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let mut canvas = Canvas::new(width.saturating_sub(margin + 3).max(10), height);
    for line in lines {
        canvas.line(line, window, low, high);
    }
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate() {
        text.push_str(&format!("{label:>margin$} ┤{}\n", canvas.row(row)));
    }
    text
}

/// A flat line stands in the middle.
fn spread(low: f64, high: f64) -> (f64, f64) {
    if low < high {
        return (low, high);
    }
    let half = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
    (low - half, high + half)
}

/// The value of a row; only every third row has one, and the last.
fn label(low: f64, high: f64, row: usize, height: usize) -> String {
    if !row.is_multiple_of(3) && row + 1 != height {
        return String::new();
    }
    let share = row as f64 / (height.max(2) - 1) as f64;
    short(high - share * (high - low))
}

/// A number in few letters: `1.25k`, `0.003`.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".into()
        } else if value > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    let size = value.abs();
    let (scaled, unit) = match size {
        _ if size >= 1e15 => return format!("{value:.2e}"),
        _ if size >= 1e12 => (value / 1e12, "T"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ if size != 0.0 && size < 1e-3 => return format!("{value:.2e}"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 {
        1
    } else if scaled.abs() >= 1.0 {
        2
    } else {
        4
    };
    let text = format!("{scaled:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

struct Canvas {
    width: usize,
    height: usize,
    dots: Vec<u32>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, dots: vec![0; width * height] }
    }

    fn set(&mut self, x: usize, y: usize) {
        let (column, row) = (x / ACROSS, y / DOWN);
        if column < self.width && row < self.height {
            self.dots[row * self.width + column] |= BITS[y % DOWN][x % ACROSS];
        }
    }

    fn line(&mut self, line: &Line, window: Window, low: f64, high: f64) {
        let time = (window.end_ms - window.start_ms).max(1) as f64;
        let (across, down) = ((self.width * ACROSS - 1) as f64, (self.height * DOWN - 1) as f64);
        let mut before: Option<(i64, usize, usize)> = None;
        for &(time_ms, value) in line.points.iter().filter(|point| point.1.is_finite()) {
            let x = ((time_ms - window.start_ms) as f64 / time * across).round().max(0.0) as usize;
            let y = ((high - value) / (high - low) * down).round().max(0.0) as usize;
            match before {
                // A missing step is a gap.
                Some((at, from_x, from_y)) if time_ms - at <= window.step_ms => {
                    self.between(from_x, from_y, x, y)
                }
                _ => self.set(x, y),
            }
            before = Some((time_ms, x, y));
        }
    }

    fn between(&mut self, from_x: usize, from_y: usize, to_x: usize, to_y: usize) {
        let steps = to_x.abs_diff(from_x).max(to_y.abs_diff(from_y)).max(1);
        for step in 0..=steps {
            let share = step as f64 / steps as f64;
            let on =
                |from: usize, to: usize| (from as f64 + (to as f64 - from as f64) * share).round() as usize;
            self.set(on(from_x, to_x), on(from_y, to_y));
        }
    }

    fn row(&self, row: usize) -> String {
        let dots = &self.dots[row * self.width..(row + 1) * self.width];
        let text: String = dots.iter().filter_map(|dots| char::from_u32(BRAILLE + dots)).collect();
        text.trim_end_matches('\u{2800}').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start_ms: 0, end_ms: 9, step_ms: 1 };

    #[test]
    fn a_rising_line_goes_from_corner_to_corner() {
        let line = Line { points: (0..10).map(|x| (x, x as f64)).collect() };
        let drawn = draw(&[line], WINDOW, 30, 4);
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[0].starts_with("9 ┤") && rows[3].starts_with("0 ┤"), "{drawn}");
        assert!(rows[3].chars().nth(3) != Some('\u{2800}'), "{drawn}");
    }

    #[test]
    fn gaps_stay_gaps_and_nothing_finite_draws_nothing() {
        assert_eq!(draw(&[Line { points: vec![(0, f64::NAN)] }], WINDOW, 30, 4), "");
        let gap = draw(&[Line { points: vec![(0, 1.0), (9, 1.0)] }], WINDOW, 30, 3);
        let marks = gap.chars().filter(|letter| (0x2801..0x2900).contains(&u32::from(*letter))).count();
        assert_eq!(marks, 2, "{gap}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (1234.5, "1234.5"), (12_345.0, "12.35k"), (0.25, "0.25"), (2e9, "2G")]
        {
            assert_eq!(short(value), text);
        }
    }
}
