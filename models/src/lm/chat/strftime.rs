//! Dates as C's `strftime` writes them, in UTC and English.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A point in time in the Gregorian calendar.
struct Date {
    year: i64,
    /// From 0.
    month: usize,
    /// From 1.
    day: i64,
    /// From 0.
    day_of_year: i64,
    /// From 0, Sunday.
    weekday: usize,
    /// Of the day.
    second: i64,
}

/// Formats `now`; the error says what is wrong with the format.
pub(super) fn format(now: SystemTime, format: &str) -> Result<String, String> {
    let date = Date::of(now);
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let directive = letters.next().ok_or("a date format ends with `%`")?;
        // `%-d` is `%d` without padding.
        let (directive, padded) = match directive {
            '-' => (letters.next().ok_or("a date format ends with `%-`")?, false),
            other => (other, true),
        };
        match date.directive(directive) {
            Some(text) if padded => out.push_str(&text),
            Some(text) => {
                let bare = text.trim_start_matches('0');
                out.push_str(if bare.is_empty() { "0" } else { bare });
            }
            None => {
                return Err(format!(
                    "a date format has the unknown directive `%{directive}`"
                ));
            }
        }
    }
    Ok(out)
}

impl Date {
    fn of(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64,
            Err(before) => -(before.duration().as_secs_f64().ceil() as i64),
        };
        let (mut days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let weekday = (days + 4).rem_euclid(7) as usize;
        // The calendar repeats after 400 years.
        let mut year = 1970 + 400 * days.div_euclid(146_097);
        days = days.rem_euclid(146_097);
        while days >= days_of(year) {
            days -= days_of(year);
            year += 1;
        }
        let day_of_year = days;
        let mut month = 0;
        while days >= length_of(year, month) {
            days -= length_of(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: days + 1,
            day_of_year,
            weekday,
            second,
        }
    }

    fn directive(&self, directive: char) -> Option<String> {
        let hour = self.second / 3600;
        let two = |number: i64| Some(format!("{number:02}"));
        match directive {
            'Y' => Some(self.year.to_string()),
            'y' => two(self.year.rem_euclid(100)),
            'm' => two(self.month as i64 + 1),
            'd' => two(self.day),
            'j' => Some(format!("{:03}", self.day_of_year + 1)),
            'H' => two(hour),
            'I' => two((hour + 11) % 12 + 1),
            'M' => two(self.second / 60 % 60),
            'S' => two(self.second % 60),
            'p' => Some(if hour < 12 { "AM" } else { "PM" }.to_owned()),
            'B' => Some(MONTHS[self.month].to_owned()),
            'b' => Some(MONTHS[self.month][..3].to_owned()),
            'A' => Some(DAYS[self.weekday].to_owned()),
            'a' => Some(DAYS[self.weekday][..3].to_owned()),
            'F' => Some(format!(
                "{}-{:02}-{:02}",
                self.year,
                self.month + 1,
                self.day
            )),
            '%' => Some("%".to_owned()),
            _ => None,
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64) -> i64 {
    365 + i64::from(is_leap(year))
}

fn length_of(year: i64, month: usize) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
