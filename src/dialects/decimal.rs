//! Amounts in JSON numbers: read from their digits, never through a floating-point value.

use aipipe_actors::money::NanoUsd;

/// Nano-dollars of a JSON number in USD, rounded up, and whether that was exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// The amount, rounded up.
    pub nanos: NanoUsd,
    /// Whether nothing was rounded.
    pub exact: bool,
}

/// Reads a non-negative JSON number (`0.25`, `3.6e-06`) times 10^`shift`, rounded up to a whole number. `None` for a negative number or
/// one beyond 64 bits.
pub fn scaled(number: &str, shift: i32) -> Option<Amount> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    let places = exponent.checked_add(shift)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let kept = i64::try_from(whole.len() + fraction.len()).ok()? + i64::from(places.min(0));
    let mut value: i128 = 0;
    let mut exact = true;
    for (position, digit) in (0_i64..).zip(digits) {
        if !digit.is_ascii_digit() {
            return None;
        }
        if position < kept {
            value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        } else if digit != b'0' {
            exact = false;
        }
    }
    if value != 0 {
        for _ in 0..places.max(0) {
            value = value.checked_mul(10)?;
        }
    }
    let nanos = i64::try_from(value + i128::from(!exact)).ok()?;
    Some(Amount { nanos: NanoUsd(nanos), exact })
}

/// Reads a JSON number in USD.
pub fn usd(number: &str) -> Option<Amount> {
    scaled(number, 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_nano_dollars() {
        for (text, nanos, exact) in [
            ("0", 0, true),
            ("0.0", 0, true),
            ("0e9999", 0, true),
            ("3.6e-06", 3_600, true),
            ("0.00007159", 71_590, true),
            ("0.0076509169000000005", 7_650_917, false),
            ("1E2", 100_000_000_000, true),
            ("1e-12", 1, false),
            ("12.5", 12_500_000_000, true),
        ] {
            assert_eq!(usd(text), Some(Amount { nanos: NanoUsd(nanos), exact }), "{text}");
        }
        for bad in ["-1", "1e99", "99999999999999", "1e99999999999"] {
            assert_eq!(usd(bad), None, "{bad}");
        }
    }

    #[test]
    fn ticks_of_a_tenth_of_a_nano_dollar_round_up() {
        assert_eq!(scaled("6306000", -1).map(|amount| amount.nanos), Some(NanoUsd(630_600)));
        assert_eq!(scaled("1", -1).map(|amount| amount.nanos), Some(NanoUsd(1)));
    }
}
