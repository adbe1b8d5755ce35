//! What the headers of a response say.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;
use ureq::http::header::{DATE, RETRY_AFTER};

/// The value of a header; `None` if the header is missing or not ASCII text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How long the server asks to wait: `Retry-After`, in seconds or as a date, or the Hub's `RateLimit`.
pub(super) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers).or_else(|| {
        // As in `"api";r=0;t=55`: the remaining requests, and the seconds until there are more.
        let seconds =
            text(headers, "ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
        Some(Duration::from_secs(seconds.parse().ok()?))
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // By the server's clock, which may differ from ours.
    let now = text(headers, DATE.as_str()).and_then(|now| httpdate::parse_http_date(now).ok());
    Some(date.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderName;

    use super::*;

    type Headers<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn the_pause_that_a_server_asks_for() {
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let cases: [(Headers, Option<u64>); 9] = [
            (&[("retry-after", "2")], Some(2)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[date, ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], Some(30)),
            (&[date, ("retry-after", "Wednesday, 21-Oct-15 07:29:00 GMT")], Some(60)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], Some(0)), // in the past
            (&[("ratelimit", "\"api\";r=0;t=55")], Some(55)),
            (&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "3")], Some(3)),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        let pause = |list: Headers| {
            asked_pause(
                &list
                    .iter()
                    .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
                    .collect(),
            )
        };
        for (list, seconds) in cases {
            assert_eq!(pause(list), seconds.map(Duration::from_secs), "{list:?}");
        }
        assert!((90..=100).contains(&pause(&[("retry-after", soon.as_str())]).unwrap().as_secs()));
    }
}
