//! Values that options take.

/// A size, such as `16`, `1k` or `4MiB`, in bytes.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        _ => {
            return Err("a size is a number of bytes, or of KiB as in `16k`, or of MiB as in `1m`".to_owned());
        }
    };
    let number: usize = number.parse().map_err(|_| "a size begins with a number".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|size| *size <= crate::message::MAX_REPLY - OVERHEAD)
        .ok_or_else(|| "messages are limited to 4 MiB, with what goes around the payload".to_owned())
}

/// Room for all that goes around a payload.
const OVERHEAD: usize = 1 << 10;

/// A number from 1 up.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("a number from 1 up is needed".to_owned()),
    }
}

/// Bytes, for people.
pub(crate) fn display_bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [("0", 0), ("16", 16), ("1k", 1_024), ("16KiB", 16 << 10), ("2 MiB", 2 << 20)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "k", "-1", "1.5k", "1g", "4MiB", "99999999999999999999", "18446744073709551615k"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for size in [0, 16, 1_000, 1_024, 1_025, 3 << 20] {
            assert_eq!(bytes(&display_bytes(size)), Ok(size));
        }
    }
}
