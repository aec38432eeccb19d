//! Numbers as people read them.

use std::time::Duration;

/// A count in at most five characters: `987`, `12.3k`, `4.5M`.
pub(crate) fn count(number: u64) -> String {
    scaled(number as f64, number, 1000.0, &["k", "M", "G", "T", "P", "E"])
}

/// Octets: `512 B`, `1.5 KiB`, `64.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    scaled(number as f64, number, 1024.0, &[" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// An amount a second: `0`, `0.4`, `987`, `12.3k`.
pub(crate) fn rate(number: f64) -> String {
    match number {
        number if !number.is_finite() || number < 0.05 => "0".to_owned(),
        number if number < 10.0 => format!("{number:.1}"),
        number => scaled(number, number.round() as u64, 1000.0, &["k", "M", "G", "T", "P", "E"]),
    }
}

fn scaled(number: f64, whole: u64, step: f64, names: &[&str]) -> String {
    // Below 0.05 of the next step, rounding to one digit does not say 1000.0.
    let mut scaled = number;
    let mut name = "";
    for next in names {
        if scaled < step - 0.05 {
            break;
        }
        scaled /= step;
        name = next;
    }
    if name.is_empty() { whole.to_string() } else { format!("{scaled:.1}{name}") }
}

/// All digits of a number, with a comma between thousands.
pub(crate) fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 1 as per cent.
pub(crate) fn ratio(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// A length of time in its two largest units at most: `8s`, `5m12s`, `3h`, `12d`.
pub(crate) fn duration(length: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |large: u64, large_name, small: u64, small_name| match small {
        0 => format!("{large}{large_name}"),
        small => format!("{large}{large_name}{small}{small_name}"),
    };
    match length.as_secs() {
        seconds if seconds < MINUTE => format!("{seconds}s"),
        seconds if seconds < HOUR => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        seconds if seconds < DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        seconds if seconds < 10 * DAY => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        seconds => format!("{}d", seconds / DAY),
    }
}

/// How long ago `then` was; `-` where it is not known (0). Clocks of two machines differ: what is to come is `0s`.
pub(crate) fn age_of(then: f64, now: f64) -> String {
    if then <= 0.0 || !then.is_finite() {
        return "-".to_owned();
    }
    let seconds = (now - then).clamp(0.0, 1e12);
    duration(Duration::from_secs_f64(seconds))
}

/// A moment in UTC, `2026-11-21 13:52:32`; `-` where it is not known (0).
pub(crate) fn moment(seconds: f64) -> String {
    if seconds <= 0.0 || !seconds.is_finite() || seconds > 2e11 {
        return "-".to_owned();
    }
    let seconds = seconds as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from March, so that the leap day is the last one (proleptic Gregorian calendar, eras of 400 years).
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_octets_are_short() {
        let counts = [0, 999, 1_000, 12_345, 999_949, 999_999, 4_500_000, u64::MAX].map(count);
        assert_eq!(counts, ["0", "999", "1.0k", "12.3k", "999.9k", "1.0M", "4.5M", "18.4E"]);
        let octets = [0, 1_023, 1_536, 64 << 20, u64::MAX].map(bytes);
        assert_eq!(octets, ["0 B", "1023 B", "1.5 KiB", "64.0 MiB", "16.0 EiB"]);
        let rates = [0.0, 0.01, 0.44, 9.96, 10.4, 1_234.0, f64::NAN].map(rate);
        assert_eq!(rates, ["0", "0", "0.4", "10.0", "10", "1.2k", "0"]);
        assert_eq!([0.0, 0.001, 0.5, 1.0].map(ratio), ["0%", "<1%", "50%", "100%"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn times_have_two_units() {
        let seconds = [0, 59, 60, 312, 3_600, 10_920, 86_400, 93_600, 1_000_000];
        let shown = seconds.map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "59s", "1m", "5m12s", "1h", "3h2m", "1d", "1d2h", "11d"]);
        assert_eq!(age_of(0.0, 5.0), "-");
        assert_eq!(age_of(9.0, 5.0), "0s");
        assert_eq!(age_of(1.0, f64::MAX), "11574074d");
    }

    #[test]
    fn moments_are_of_the_calendar() {
        for (seconds, text) in [
            (1.0, "1970-01-01 00:00:01"),
            (951_827_696.0, "2000-02-29 12:34:56"),
            (1_795_269_152.0, "2026-11-21 13:52:32"),
            (4_107_542_400.0, "2100-03-01 00:00:00"),
            (0.0, "-"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }
}
