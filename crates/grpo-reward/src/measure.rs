//! A number and its unit, as people write them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::extract::strip;
use crate::markup::{leading_pair, plain};
use crate::number::{NUMBER, SEPARATORS};
use crate::text::{compatible, regex};

/// The number and the unit.
pub(crate) fn parse(text: &str) -> Option<(f64, String)> {
    let text = without_inner_pair(uniform(text));
    let (number, dollar, rest) = split(&text)?;
    let rest = strip(rest);
    if !number.is_finite() || goes_on(rest) {
        return None;
    }
    let unit = unit_form(rest.strip_suffix('.').unwrap_or(rest));
    match (dollar, unit.as_str()) {
        ("", _) => Some((number, unit)),
        (dollar, "") => Some((number, dollar.to_owned())),
        _ => None,
    }
}

/// The one normal form of the different ways to write a unit.
pub(crate) fn unit_form(unit: &str) -> String {
    plain(&compatible(&plain(unit))).replace(['^', '{', '}'], "")
}

/// A decimal, with a power of ten as in `3e8`, `3 × 10^8`, `3 × 10^{8}` or `3 × 10⁸`.
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| {
    let times = r"\s*[×xX*·]\s*10";
    let power = format!(r"(?:[eE]|{times}\^\{{?)(?<power>[+\-]?[0-9]{{1,4}})\}}?");
    let raised = format!(r"{times}(?<raised>[⁺⁻]?[⁰¹²³⁴-⁹]{{1,4}})");
    regex(&format!(r"(?s)\A{NUMBER}(?:{power}|{raised})?(?<rest>.*)\z"))
});
/// A fraction, with or without a whole number before it.
static FRACTION: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?xs)\A(?<sign>[+\-]?)(?<dollar>\$?)(?:(?<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)\s+)?
        (?<numerator>[0-9]+)[/⁄∕](?<denominator>[0-9]+)(?<rest>.*)\z",
    )
});

/// `½`, `\frac{1}{2}`, and the last digit before them.
static OTHER_FRACTION: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)(?<whole>[0-9]?)\s*
        (?:(?<sign>[¼-¾⅐-⅞↉])|\\[dt]?frac\{(?<numerator>-?[0-9]+)\}\{(?<denominator>[0-9]+)\})",
    )
});

/// LaTeX allows single digits without braces.
static SHORT_FRACTION: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?<frac>\\[dt]?frac)\s*(?<above>[0-9])\s*(?<below>[0-9])"));

/// A power of ten on its own.
static POWER: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?<sign>[+\-]?)10(?<raised>\^|[⁺⁻]?[⁰¹²³⁴-⁹])"));

/// Plain text with `1 1/2` for `1½` and `1\frac{1}{2}`, and with `1×10^8` for `10^8`.
fn uniform(text: &str) -> String {
    let fraction = |groups: &Captures<'_>| {
        let fraction = match groups.name("sign") {
            Some(sign) => compatible(sign.as_str()),
            None => format!("{}/{}", &groups["numerator"], &groups["denominator"]),
        };
        strip(&format!("{} {fraction}", &groups["whole"])).to_owned()
    };
    let text = plain(text);
    let text = SHORT_FRACTION.replace_all(&text, "$frac{$above}{$below}");
    let text = OTHER_FRACTION.replace_all(&text, fraction);
    POWER.replace(&text, "${sign}1×10$raised").into_owned()
}

/// `12.5 km` for `**12.5** km` and `$12.5$ km`.
fn without_inner_pair(text: String) -> String {
    if let Some((inner, unit)) = leading_pair(&text) {
        let inner = uniform(inner);
        if split(&inner).is_some_and(|(_, _, rest)| rest.is_empty()) {
            return format!("{inner} {unit}");
        }
    }
    text
}

/// The number at the beginning, its dollar sign, and what follows it.
fn split(text: &str) -> Option<(f64, &str, &str)> {
    let (number, groups) = match FRACTION.captures(text) {
        Some(groups) => (fraction(&groups)?, groups),
        None => DECIMAL.captures(text).and_then(|groups| Some((decimal(&groups)?, groups)))?,
    };
    Some((number, groups.name("dollar")?.as_str(), groups.name("rest")?.as_str()))
}

/// The value of a fraction, or of a whole number and a fraction below 1.
fn fraction(groups: &Captures<'_>) -> Option<f64> {
    let group = |name| groups.name(name).map(|digits| digits.as_str());
    let (above, below) = (group("numerator")?, group("denominator")?);
    let (numerator, denominator): (f64, f64) = (above.parse().ok()?, below.parse().ok()?);
    let whole: f64 = match group("whole") {
        None => 0.0,
        Some(whole) if numerator < denominator && !above.starts_with('0') => {
            whole.replace(',', "").parse().ok()?
        }
        Some(_) => return None,
    };
    let value = (whole * denominator + numerator) / denominator;
    Some(if &groups["sign"] == "-" { -value } else { value })
}

/// The value of a decimal, which may be too large for its type.
fn decimal(groups: &Captures<'_>) -> Option<f64> {
    let group = |name| groups.name(name).map_or("", |group| group.as_str());
    let (integer, fraction) = (group("integer"), group("fraction"));
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let raised = plain(&compatible(group("raised")));
    let power = [group("power"), &raised, "0"].into_iter().find(|power| !power.is_empty())?;
    let number = format!("{}0{integer}.{fraction}0e{power}", group("sign"));
    number.replace(SEPARATORS, "").parse().ok()
}

/// Whether what follows a number turns it into another number, or is a second one: `12 13`, `1,2,3`, `10-20`, `1.05/2`.
fn goes_on(rest: &str) -> bool {
    static GOES_ON: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\A(?:[0-9,.^⁰¹²³⁴-⁹⁺⁻]|[\-\p{Sm}/:*·xX]+\s*[+\-]?\$?\.?[0-9])"));
    // A period on its own ends the answer.
    rest != "." && GOES_ON.is_match(rest)
}
