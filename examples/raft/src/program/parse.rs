//! Values on the command line and in the file.

use std::time::Duration;

/// A node: `id=host:port`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn node(text: &str) -> Result<(u32, String), String> {
    let (id, address) = text.split_once('=').ok_or("a node is given as id=host:port")?;
    let id = id.trim().parse().map_err(|_| format!("{id:?} is not the id of a node"))?;
    if !(1..1 << 20).contains(&id) {
        return Err("ids go from 1 to 1048575".to_owned());
    }
    Ok((id, address.trim().to_owned()))
}

/// A duration: `2s`, `500ms`, or a number of seconds.
///
/// # Errors
///
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{unit:?} is not ms, s or m")),
    };
    let seconds: f64 = number.trim().parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(seconds * scale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("2s", 2_000), ("500ms", 500), ("0.25", 250), ("1.5m", 90_000), ("3", 3_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1h", "NaN", "1e400"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nodes() {
        assert_eq!(node("3=a:1"), Ok((3, "a:1".to_owned())));
        for text in ["a:1", "0=a:1", "x=a:1", "1048576=a:1"] {
            assert!(node(text).is_err(), "{text}");
        }
    }
}
