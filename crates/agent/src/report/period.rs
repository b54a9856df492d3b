//! The period of a report, as it is written on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ALLOWED: &str = "write now, a time ago as in 90m, 12h or 7d, or a time as in 2026-11-01, '2026-11-01 12:00' (UTC) or \
     2026-11-01T12:00:00+09:00";

/// A point in time, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long before now.
    Ago(Duration),
    /// Unix microseconds.
    At(i64),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(Self::Ago(Duration::ZERO));
        }
        if text.as_bytes().get(4) == Some(&b'-') {
            let time = time(text).and_then(micros);
            return time.map(Self::At).ok_or_else(|| format!("{text:?} is no time that there is: {ALLOWED}"));
        }
        humantime::parse_duration(text)
            .map(Self::Ago)
            .map_err(|e| format!("{text:?} is neither a time nor a duration ({e}): {ALLOWED}"))
    }
}

/// A date, with or without a time and its distance from UTC.
fn time(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let Some(clock) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest
            .is_empty()
            .then(|| humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).ok())
            .flatten();
    };
    let (clock, ahead_minutes) = match clock.find(['Z', 'z', '+', '-']) {
        Some(at) => (&clock[..at], zone(&clock[at..])?),
        None => (clock, 0),
    };
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    let utc = humantime::parse_rfc3339(&format!("{date}T{clock}{seconds}Z")).ok()?;
    let ahead = Duration::from_secs(60 * u64::from(i32::unsigned_abs(ahead_minutes)));
    if ahead_minutes < 0 { utc.checked_add(ahead) } else { utc.checked_sub(ahead) }
}

/// Minutes that a clock is ahead of UTC: `Z`, `+09:00`.
fn zone(text: &str) -> Option<i32> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let digits = text.get(1..)?;
    let shaped = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let (hours, minutes) = digits.split_once(':').filter(|_| shaped)?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let ahead = (hours < 24 && minutes < 60).then_some(60 * hours + minutes)?;
    Some(if text.starts_with('-') { -ahead } else { ahead })
}

fn micros(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

/// From when to when, Unix microseconds, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its begin.
    pub since_us: i64,
    /// Its end.
    pub until_us: i64,
}

const SECOND_US: i64 = 1_000_000;

/// The last second of the year 9999.
const LAST_US: i64 = 253_402_300_799 * SECOND_US;

impl Period {
    /// What was written, now; fails where that is no period that can have been.
    pub fn resolve(since: When, until: When, now_us: i64) -> Result<Self, String> {
        let at = |flag: &str, when| match when {
            When::At(us) => Ok(us),
            When::Ago(ago) => i64::try_from(ago.as_micros())
                .ok()
                .map(|ago| now_us - ago)
                .filter(|us| *us >= 0)
                .ok_or_else(|| format!("{flag}: that is before 1970; name a shorter time")),
        };
        let (since, until) = (at("--since", since)?, at("--until", until)?);
        if until > now_us {
            return Err(format!(
                "--until {} is in the future (it is {} now): leave it out, or name an earlier time",
                shown(until),
                shown(now_us)
            ));
        }
        let whole = |us: i64| us - us.rem_euclid(SECOND_US);
        let period = Self { since_us: whole(since), until_us: whole(until) };
        if period.since_us >= period.until_us {
            return Err(format!(
                "--since {} is not before --until {}: name an earlier --since or a later --until",
                shown(since),
                shown(until)
            ));
        }
        Ok(period)
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        Duration::from_micros((self.until_us - self.since_us).unsigned_abs())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = humantime::format_duration(self.length());
        write!(f, "{} to {} ({length})", shown(self.since_us), shown(self.until_us))
    }
}

/// RFC 3339, in UTC, to the second.
pub(super) fn shown(us: i64) -> String {
    // The greatest year that there is a text for is 9999: a zone can lead beyond it.
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(us.clamp(0, LAST_US).unsigned_abs()))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_leads_out_of_the_last_year_is_refused_in_words() {
        let (since, until): (When, When) =
            ("2026-01-01".parse().unwrap(), "9999-12-31T23:59-01:00".parse().unwrap());
        let error = Period::resolve(since, until, 1_800_000_000_000_000).unwrap_err();
        assert!(error.contains("future"), "{error}");
    }

    /// 2026-11-28T01:00:00Z
    const NOW: i64 = 1_795_827_600_000_000;

    fn at(text: &str) -> i64 {
        match text.parse() {
            Ok(When::At(us)) => us,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_way_to_write_a_time() {
        assert_eq!("now".parse(), Ok(When::Ago(Duration::ZERO)));
        assert_eq!("90m".parse(), Ok(When::Ago(Duration::from_secs(5_400))));
        assert_eq!("1day 12h".parse(), Ok(When::Ago(Duration::from_secs(129_600))));
        assert_eq!(at("2026-11-28T01:00:00Z"), NOW);
        for same in [
            "2026-11-28 01:00",
            "2026-11-28 01:00:00",
            "2026-11-28t01:00:00z",
            "2026-11-28T10:00:00+09:00",
            "2026-11-27T20:30-04:30",
        ] {
            assert_eq!(at(same), NOW, "{same}");
        }
        assert_eq!(at("2026-11-28"), NOW - 3_600_000_000);
        assert_eq!(at("2024-02-29T00:00:00.25Z"), 1_709_164_800_250_000);
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_allowed() {
        for wrong in [
            "",
            "yesterday",
            "7",
            "-7d",
            "7 parsecs",
            "2026-02-29",
            "2026-13-01",
            "2026-11-01T25:00",
            "2026-11-01X",
            "2026-11-01+09:00",
            "2026-11-01T12",
            "2026-11-01T12:00+9",
            "2026-11-01T12:00+ab:cd",
            "2026-11-0é",
            "2026-11-01T12:00+25:00",
            "1969-12-31",
            "1970-01-01T00:00+09:00",
            "99999999999999999999d",
            "한국-말",
        ] {
            let error = wrong.parse::<When>().unwrap_err();
            assert!(error.contains("12h"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_period_is_in_the_past_and_in_whole_seconds() {
        let week = Period::resolve("7d".parse().unwrap(), "now".parse().unwrap(), NOW + 999_999).unwrap();
        assert_eq!(week, Period { since_us: NOW - 7 * 86_400_000_000, until_us: NOW });
        assert_eq!(week.to_string(), "2026-11-21T01:00:00Z to 2026-11-28T01:00:00Z (7days)");
        for (since, until, wanted) in [
            ("7d", "2026-11-28T01:00:01Z", "in the future"),
            ("1h", "2h", "not before"),
            ("now", "now", "not before"),
            ("0s", "now", "not before"),
            ("2026-12-01", "now", "not before"),
            ("99999d", "now", "before 1970"),
        ] {
            let error = Period::resolve(since.parse().unwrap(), until.parse().unwrap(), NOW).unwrap_err();
            assert!(error.contains(wanted), "{since} {until}: {error}");
        }
    }
}
