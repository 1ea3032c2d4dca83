//! `google.protobuf.Duration` and `Timestamp`: two numbers on the wire, one string in JSON.

use prost::encoding::{WireType, encode_key, encode_varint};

use super::{
    problem::{ReadProblem, WireError, WriteProblem},
    wire::{Records, Value},
};

/// The range that protobuf gives durations, about 10,000 years either way.
const MAX_DURATION: i64 = 315_576_000_000;
/// 0001-01-01T00:00:00Z
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z
const LAST_SECOND: i64 = 253_402_300_799;
const NANOS_PER_SECOND: i32 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// 0000-03-01 to 1970-01-01: years that begin in March have their leap day last.
const DAYS_TO_EPOCH: i64 = 719_468;

/// What both messages hold: `seconds` (1) and `nanos` (2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seconds {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
}

/// What is left of a text.
struct Text<'a>(&'a [u8]);

impl Seconds {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf: int32 takes the low bits of a longer varint"
    )]
    pub(super) fn from_wire(wire: &[u8]) -> Result<Self, WireError> {
        let mut value = Self::default();
        for record in Records::new(wire) {
            match record? {
                (1, Value::Varint(raw)) => value.seconds = raw.cast_signed(),
                (2, Value::Varint(raw)) => value.nanos = raw as i32,
                (1 | 2, _) => return Err(WireError::Malformed),
                _ => {}
            }
        }
        Ok(value)
    }

    pub(super) fn write_wire(self, out: &mut Vec<u8>) {
        for (number, part) in [(1, self.seconds), (2, i64::from(self.nanos))] {
            if part != 0 {
                encode_key(number, WireType::Varint, out);
                encode_varint(part.cast_unsigned(), out);
            }
        }
    }

    /// `3600s`, `-0.500s`, `+1.5s`.
    pub(super) fn from_duration(text: &str) -> Result<Self, ReadProblem> {
        parse_duration(text).ok_or(ReadProblem::Duration)
    }

    /// RFC 3339 with any offset and up to nine digits of a second.
    pub(super) fn from_timestamp(text: &str) -> Result<Self, ReadProblem> {
        parse_timestamp(text).ok_or(ReadProblem::Timestamp)
    }

    pub(super) fn write_duration(self, out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        let mixed = self.seconds.signum() * i64::from(self.nanos.signum()) < 0;
        let fraction = self.nanos.unsigned_abs();
        if mixed
            || fraction >= NANOS_PER_SECOND.unsigned_abs()
            || self.seconds.abs_diff(0) > MAX_DURATION.abs_diff(0)
        {
            return Err(WriteProblem::Duration);
        }
        if self.seconds < 0 || self.nanos < 0 {
            out.push(b'-');
        }
        write_number(out, self.seconds.unsigned_abs(), 1);
        write_fraction(out, fraction);
        out.push(b's');
        Ok(())
    }

    pub(super) fn write_timestamp(self, out: &mut Vec<u8>) -> Result<(), WriteProblem> {
        let in_range = (FIRST_SECOND..=LAST_SECOND).contains(&self.seconds)
            && (0..NANOS_PER_SECOND).contains(&self.nanos);
        if !in_range {
            return Err(WriteProblem::Timestamp);
        }
        let (year, month, day) = civil(self.seconds.div_euclid(SECONDS_PER_DAY));
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let parts = [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (second / 3600, 2, b':'),
            (second / 60 % 60, 2, b':'),
        ];
        for (part, width, separator) in parts {
            write_number(out, part.unsigned_abs(), width);
            out.push(separator);
        }
        write_number(out, (second % 60).unsigned_abs(), 2);
        write_fraction(out, self.nanos.unsigned_abs());
        out.push(b'Z');
        Ok(())
    }
}

impl Text<'_> {
    fn take(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn digit(&mut self) -> Option<i64> {
        let (digit, rest) = self.0.split_first().filter(|(byte, _)| byte.is_ascii_digit())?;
        self.0 = rest;
        Some(i64::from(digit - b'0'))
    }

    /// A number of exactly so many digits, up to `most`.
    fn number(&mut self, width: usize, most: i64) -> Option<i64> {
        let number = (0..width).try_fold(0, |number, _| Some(number * 10 + self.digit()?))?;
        (number <= most).then_some(number)
    }

    /// Up to nine digits of a second, as nanoseconds, and how many there were.
    fn fraction(&mut self) -> (i32, u32) {
        let (mut nanos, mut digits) = (0, 0);
        let mut weight = NANOS_PER_SECOND;
        while digits < 9
            && let Some(digit) = self.digit().and_then(|digit| i32::try_from(digit).ok())
        {
            weight /= 10;
            nanos += digit * weight;
            digits += 1;
        }
        (nanos, digits)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn parse_duration(text: &str) -> Option<Seconds> {
    let mut text = Text(text.as_bytes());
    let negative = text.take(b'-').is_some();
    if !negative {
        text.take(b'+');
    }
    let mut seconds = text.digit()?;
    while let Some(digit) = text.digit() {
        // The bound keeps the next step from overflowing.
        seconds = Some(seconds * 10 + digit).filter(|seconds| *seconds <= MAX_DURATION)?;
    }
    let nanos = if text.take(b'.').is_some() { text.fraction().0 } else { 0 };
    text.take(b's')?;
    text.end()?;
    let sign = if negative { -1 } else { 1 };
    Some(Seconds { seconds: seconds * i64::from(sign), nanos: nanos * sign })
}

fn parse_timestamp(text: &str) -> Option<Seconds> {
    let mut text = Text(text.as_bytes());
    let year = text.number(4, 9999)?;
    text.take(b'-')?;
    let month = text.number(2, 12)?;
    text.take(b'-')?;
    let day = text.number(2, days_in(year, month))?;
    text.take(b'T')?;
    let hour = text.number(2, 23)?;
    text.take(b':')?;
    let minute = text.number(2, 59)?;
    text.take(b':')?;
    // No leap second: protobuf's time has none.
    let second = text.number(2, 59)?;
    let nanos = match text.take(b'.').map(|()| text.fraction()) {
        None => 0,
        Some((_, 0)) => return None,
        Some((nanos, _)) => nanos,
    };
    let offset = offset(&mut text)?;
    text.end()?;
    if month == 0 || day == 0 {
        return None;
    }
    let seconds = days(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some(Seconds { seconds, nanos })
}

/// Seconds east of UTC: `Z`, `+02:00`.
fn offset(text: &mut Text<'_>) -> Option<i64> {
    if text.take(b'Z').is_some() {
        return Some(0);
    }
    let sign = if text.take(b'-').is_some() {
        -1
    } else {
        text.take(b'+')?;
        1
    };
    let hours = text.number(2, 23)?;
    text.take(b':')?;
    Some(sign * (hours * 3600 + text.number(2, 59)? * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH
}

/// The other way: year, month and day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// None, three, six or nine digits.
fn write_fraction(out: &mut Vec<u8>, nanos: u32) {
    let (fraction, width) = match nanos {
        0 => return,
        nanos if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
        nanos if nanos % 1_000 == 0 => (nanos / 1_000, 6),
        nanos => (nanos, 9),
    };
    out.push(b'.');
    write_number(out, u64::from(fraction), width);
}

/// In at least so many digits.
fn write_number(out: &mut Vec<u8>, number: u64, width: usize) {
    // The longest u64 has 20 digits.
    let mut digits = [b'0'; 20];
    let (mut rest, mut start) = (number, digits.len());
    while rest > 0 {
        start -= 1;
        // A remainder of ten fits.
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width)..]);
}
