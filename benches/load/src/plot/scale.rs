//! Numbers at an axis.

/// A range that begins and ends with 1, 2 or 5 times a power of ten, and has all values within it.
pub(super) fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return (1.0, 10.0);
    }
    let (low, high) = (below(low), above(high));
    if low < high { (low, high) } else { (low, high * 2.0) }
}

/// The ticks between two numbers: 1, 2 and 5 times powers of ten, or these powers alone if there are many.
pub(super) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high / low > 2_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    all.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect()
}

fn below(value: f64) -> f64 {
    let decade = 10_f64.powi(value.log10().floor() as i32);
    [5.0, 2.0].into_iter().map(|step| step * decade).find(|edge| *edge <= value).unwrap_or(decade)
}

fn above(value: f64) -> f64 {
    let decade = 10_f64.powi(value.log10().floor() as i32);
    [1.0, 2.0, 5.0].into_iter().map(|step| step * decade).find(|edge| *edge >= value).unwrap_or(10.0 * decade)
}

/// A count, in short.
pub(super) fn count(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{} M", short(value / 1e6)),
        1_000.0.. => format!("{} k", short(value / 1e3)),
        _ => short(value),
    }
}

/// A time that is given in microseconds, in short.
pub(super) fn time(us: f64) -> String {
    match us {
        1_000_000.0.. => format!("{} s", short(us / 1e6)),
        1_000.0.. => format!("{} ms", short(us / 1e3)),
        _ => format!("{} µs", short(us)),
    }
}

/// Three digits at most, without zeros that say nothing.
fn short(value: f64) -> String {
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_all_values() {
        assert_eq!(decades([3.0, 170.0, 0.0].into_iter()), (2.0, 200.0));
        assert_eq!(decades([10.0].into_iter()), (10.0, 20.0));
        assert_eq!(decades([].into_iter()), (1.0, 10.0));
        let (low, high) = decades([0.7, 0.71].into_iter());
        assert!((0.49..=0.7).contains(&low) && (0.71..=1.01).contains(&high), "{low} {high}");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(2.0, 200.0), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
        assert_eq!(ticks(1.0, 10_000.0), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([12.0, 1_500.0, 20_000.0, 2_500_000.0].map(count), ["12", "1.5 k", "20 k", "2.5 M"]);
        assert_eq!([0.5, 24.34, 1_200.0, 3e6].map(time), ["0.5 µs", "24.3 µs", "1.2 ms", "3 s"]);
    }
}
