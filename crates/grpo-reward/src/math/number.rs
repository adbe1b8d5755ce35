//! Numbers of any size in constant space.

use num_complex::Complex64;

/// A prime that no answer has to do with: it would be 0.
const MODULUS: u64 = 2_145_863_365_274_607_179;

/// The largest argument of a factorial.
const MAX_FACTORIAL: i64 = 5000;

/// A number that is known approximately, and if it is rational also by its residue modulo a prime.
///
/// Residues tell numbers of thousands of digits apart, which floats cannot, and are never rounded: two different numbers share
/// one with a probability of 2⁻⁶¹. So no operation takes longer for larger numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) approximate: Complex64,
    residue: Option<u64>,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self.residue, other.residue) {
            (Some(a), Some(b)) => a == b,
            _ => self.near(other),
        }
    }
}

impl Number {
    pub(super) fn integer(value: i64) -> Self {
        let residue = value.rem_euclid(MODULUS as i64) as u64;
        Self { approximate: Complex64::from(value as f64), residue: Some(residue) }
    }

    /// `None` for anything but digits, which may have a point among them.
    pub(super) fn decimal(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits = text.bytes().filter(u8::is_ascii_digit);
        let residue = digits.fold(0, |value, digit| add(multiply(value, 10), u64::from(digit - b'0')));
        let scale = inverse(power(10, fraction as u64));
        let approximate = text.parse::<f64>().ok()?;
        Some(Self { approximate: approximate.into(), residue: Some(multiply(residue, scale)) })
    }

    pub(super) fn real(value: f64) -> Self {
        Self::irrational(value.into())
    }

    pub(super) fn irrational(approximate: Complex64) -> Self {
        Self { approximate, residue: None }
    }

    /// An unknown: a residue and a value that have nothing else in common.
    pub(super) fn unknown(residue: u64, value: f64) -> Self {
        Self { approximate: value.into(), residue: Some(residue % MODULUS) }
    }

    /// A text that is hashed for this number: the same for numbers that are equal up to rounding.
    pub(super) fn fingerprint(&self) -> String {
        match self.residue {
            Some(residue) => residue.to_string(),
            None => format!("{:.8e} {:.8e}", self.approximate.re, self.approximate.im),
        }
    }

    /// Whether twelve digits are the same.
    fn near(&self, other: &Self) -> bool {
        let (a, b) = (self.approximate, other.approximate);
        a.is_finite() && b.is_finite() && (a - b).norm() <= 1e-12 * b.norm()
    }

    /// Whether `other` is this number rounded to six decimals, and to no less than three digits.
    pub(super) fn rounds_to(&self, other: &Self) -> bool {
        let (a, b) = (self.approximate, other.approximate);
        // Half a unit of the sixth decimal, and the error of its binary form.
        a.is_finite() && b.is_finite() && (a - b).norm() <= (5e-4 * a.norm()).min(5e-7) + 1e-15 * a.norm()
    }

    /// Whether six decimals are enough for it.
    pub(super) fn is_short(&self) -> bool {
        self.multiply(Self::integer(1_000_000)).as_integer().is_some()
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::integer(0)
    }

    /// The value, if it is finite and on the real line.
    pub(super) fn as_real(&self) -> Option<f64> {
        let value = self.approximate;
        (value.is_finite() && value.im.abs() <= 1e-12 * value.re.abs().max(1.0)).then_some(value.re)
    }

    /// The value, if it is an integer.
    pub(super) fn as_integer(&self) -> Option<i64> {
        let integer = self.as_real()?.round();
        (integer.abs() < 1e15 && self.residue == Self::integer(integer as i64).residue)
            .then_some(integer as i64)
    }

    pub(super) fn add(self, other: Self) -> Self {
        let sum = self.combine(other, self.approximate + other.approximate, add);
        // What is left of two terms that cancel out is the error of rounding.
        let cancels = sum.approximate.norm() <= 1e-14 * self.approximate.norm();
        if sum.residue.is_none() && cancels { Self::integer(0) } else { sum }
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        self.combine(other, self.approximate * other.approximate, multiply)
    }

    fn combine(self, other: Self, approximate: Complex64, residues: fn(u64, u64) -> u64) -> Self {
        let residue = self.residue.zip(other.residue).map(|(a, b)| residues(a, b));
        Self { approximate, residue }
    }

    pub(super) fn negate(self) -> Self {
        self.multiply(Self::integer(-1))
    }

    /// `None` for 1 / 0.
    pub(super) fn invert(self) -> Option<Self> {
        (!self.is_zero())
            .then(|| Self { approximate: self.approximate.inv(), residue: self.residue.map(inverse) })
    }

    pub(super) fn absolute(self) -> Self {
        match self.as_real() {
            Some(value) if value < 0.0 => self.negate(),
            Some(_) => self,
            None => Self::real(self.approximate.norm()),
        }
    }

    /// `None` for 0 to a power that is not positive, and for results that are too large to tell apart.
    pub(super) fn power(self, exponent: Self) -> Option<Self> {
        if self.is_zero() {
            return (exponent.approximate.re > 0.0).then_some(self);
        }
        if let Some(integer) = exponent.as_integer() {
            let positive = if integer < 0 { self.invert()? } else { self };
            let approximate = match self.as_real() {
                Some(base) => base.powf(integer as f64).into(),
                None => self.approximate.powf(integer as f64),
            };
            let residue = positive.residue.map(|residue| power(residue, integer.unsigned_abs()));
            return Some(Self { approximate, residue }).filter(Self::is_known);
        }
        let approximate = match (self.as_real(), exponent.odd_root()) {
            (Some(base), Some(numerator)) if base < 0.0 => {
                let size = (-base).powf(exponent.approximate.re);
                Complex64::from(if numerator % 2 == 0 { size } else { -size })
            }
            _ => self.approximate.powc(exponent.approximate),
        };
        Some(Self::irrational(approximate).exact()).filter(Self::is_known)
    }

    /// The numerator, if this is a fraction whose denominator is odd: then a negative number has a real power.
    fn odd_root(&self) -> Option<i64> {
        (3..=15).step_by(2).find_map(|denominator| self.multiply(Self::integer(denominator)).as_integer())
    }

    /// The integer that this equals up to rounding, as `√4` does, unless that is 0.
    pub(super) fn exact(self) -> Self {
        let integer = self.approximate.re.round();
        let is_integer =
            integer.abs() < 1e9 && (self.approximate - integer).norm() <= 4.0 * f64::EPSILON * integer.abs();
        if is_integer { Self::integer(integer as i64) } else { self }
    }

    pub(super) fn is_known(&self) -> bool {
        self.residue.is_some() || self.approximate.is_finite()
    }

    /// `None` for what is no small natural number.
    pub(super) fn factorial(self) -> Option<Self> {
        let n = self.as_integer().filter(|n| (0..=MAX_FACTORIAL).contains(n))?;
        Some((1..=n).fold(Self::integer(1), |product, factor| product.multiply(Self::integer(factor))))
    }
}

fn add(a: u64, b: u64) -> u64 {
    (a + b) % MODULUS
}

fn multiply(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(MODULUS)) as u64
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = multiply(result, base);
        }
        base = multiply(base, base);
        exponent /= 2;
    }
    result
}

/// By Fermat's little theorem.
fn inverse(residue: u64) -> u64 {
    power(residue, MODULUS - 2)
}
