//! The remaining time of a request, in gRPC's form of a timeout: up to eight digits and a unit.

use std::time::Duration;

/// The key of the entry, as of gRPC's header.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

const MAX_DIGITS: u64 = 99_999_999;

/// A timeout as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; 9],
    len: u8,
}

impl Text {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Microseconds if they fit, else milliseconds, else seconds; rounded up, so that no time is never meant.
pub(crate) fn format(timeout: Duration) -> Text {
    let (secs, nanos) = (timeout.as_secs(), u64::from(timeout.subsec_nanos()));
    let micros = secs.saturating_mul(1_000_000).saturating_add(nanos.div_ceil(1_000));
    let (value, unit) = if micros <= MAX_DIGITS {
        (micros, b'u')
    } else if micros.div_ceil(1_000) <= MAX_DIGITS {
        (micros.div_ceil(1_000), b'm')
    } else {
        (micros.div_ceil(1_000_000).min(MAX_DIGITS), b'S')
    };
    let mut bytes = [0; 9];
    let mut digits = value as u32;
    let len = digits.checked_ilog10().unwrap_or(0) as usize + 1;
    for digit in bytes[..len].iter_mut().rev() {
        *digit = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    bytes[len] = unit;
    Text { bytes, len: len as u8 + 1 }
}

/// `None` for what is not a timeout.
pub(crate) fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match unit {
        b'n' => Some(Duration::from_nanos(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'S' => Some(Duration::from_secs(value)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'H' => Some(Duration::from_secs(value * 3_600)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(timeout: Duration) -> String {
        String::from_utf8(format(timeout).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn known_forms() {
        assert_eq!(text(Duration::ZERO), "0u");
        assert_eq!(text(Duration::from_nanos(1)), "1u");
        assert_eq!(text(Duration::from_secs(5)), "5000000u");
        assert_eq!(text(Duration::from_secs(100)), "100000m");
        assert_eq!(text(Duration::from_secs(200_000)), "200000S");
        assert_eq!(text(Duration::MAX), "99999999S");
        assert_eq!(parse(b"2M"), Some(Duration::from_secs(120)));
        for bad in ["", "u", "5", "123456789u", "-1u", "1x", "1.5S"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn comes_back_no_shorter_and_hardly_longer(nanos in 0..u64::from(u32::MAX) * 1_000_000) {
            let timeout = Duration::from_nanos(nanos);
            let back = parse(text(timeout).as_bytes()).unwrap();
            prop_assert!(back >= timeout);
            let longer = back.saturating_sub(timeout);
            prop_assert!(longer < Duration::from_secs(1).min(timeout / 10_000 + Duration::from_micros(1)));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
