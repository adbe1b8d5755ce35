//! The value of an expression, with values chosen for its variables.

use std::f64::consts::{E, PI};

use num_complex::Complex64;

use super::expression::{Expression, Unit};
use super::number::Number;

/// The steps that comparing two answers may take: additions, multiplications, calls, and comparisons.
const MAX_STEPS: usize = 100_000;

/// What is left of the steps.
pub(super) struct Work(usize);

impl Default for Work {
    fn default() -> Self {
        Self(MAX_STEPS)
    }
}

impl Work {
    /// `None` if there are not as many left.
    pub(super) fn take(&mut self, steps: usize) -> Option<()> {
        self.0 = self.0.checked_sub(steps)?;
        Some(())
    }
}

/// A number, or a matrix of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Scalar(Number),
    Matrix(Vec<Vec<Number>>),
}

/// Evaluates expressions at a point: with a value for every variable that depends on its name and the point.
pub(super) struct Evaluator<'a> {
    pub(super) point: u64,
    pub(super) work: &'a mut Work,
    /// Whether there was a variable.
    pub(super) has_variable: bool,
}

// `None` for what has no value, or takes too much work.
impl Evaluator<'_> {
    pub(super) fn scalar(&mut self, expression: &Expression) -> Option<Number> {
        match self.value(expression)? {
            Value::Scalar(number) => Some(number),
            Value::Matrix(_) => None,
        }
    }

    pub(super) fn value(&mut self, expression: &Expression) -> Option<Value> {
        self.work.take(1)?;
        Some(Value::Scalar(match expression {
            Expression::Number(number) | Expression::Decimal(number) => *number,
            Expression::Symbol(name) => self.symbol(name),
            Expression::Negative(inner) => return scale(Number::integer(-1), self.value(inner)?),
            Expression::Sum(terms) => return self.fold(terms, add),
            Expression::Product(factors) => return self.fold(factors, multiply),
            Expression::Quotient(above, below) => {
                let divisor = self.scalar(below)?.invert()?;
                return scale(divisor, self.value(above)?);
            }
            Expression::Power(base, exponent) => self.power(base, exponent)?,
            Expression::Call(name, arguments) => self.call(name, arguments)?,
            Expression::Quantity(value, unit) => {
                let factor = unit.factor().unwrap_or(Number::integer(1));
                return scale(factor, self.value(value)?);
            }
            Expression::Matrix(rows) => return self.matrix(rows),
            _ => return None,
        }))
    }

    fn symbol(&mut self, name: &str) -> Number {
        match name {
            "pi" => Number::real(PI),
            "e" => Number::real(E),
            "i" => Number::irrational(Complex64::I),
            _ => self.variable(name),
        }
    }

    /// A value that nothing else has.
    fn variable(&mut self, name: &str) -> Number {
        self.has_variable = true;
        let hash = hash(self.point, name);
        // From -3 to 3, and not near 0.
        let size = 0.2 + 2.8 * (hash >> 11) as f64 / (1_u64 << 53) as f64;
        Number::unknown(hash, if hash & 1 == 0 { size } else { -size })
    }

    fn fold(
        &mut self,
        parts: &[Expression],
        combine: fn(Value, Value, &mut Work) -> Option<Value>,
    ) -> Option<Value> {
        let (first, rest) = parts.split_first()?;
        let mut value = self.value(first)?;
        for part in rest {
            let part = self.value(part)?;
            value = combine(value, part, self.work)?;
        }
        Some(value)
    }

    fn matrix(&mut self, rows: &[Vec<Expression>]) -> Option<Value> {
        let width = rows.first()?.len();
        let rows: Option<Vec<Vec<Number>>> =
            rows.iter().map(|row| row.iter().map(|entry| self.scalar(entry)).collect()).collect();
        rows.filter(|rows| rows.iter().all(|row| row.len() == width)).map(Value::Matrix)
    }

    fn power(&mut self, base: &Expression, exponent: &Expression) -> Option<Number> {
        let exponent = self.scalar(exponent)?;
        if *base == Expression::Symbol("e".to_owned()) {
            return Some(Number::irrational(exponent.approximate.exp()).exact()).filter(Number::is_known);
        }
        self.scalar(base)?.power(exponent)
    }

    fn call(&mut self, name: &str, arguments: &[Expression]) -> Option<Number> {
        if let [argument] = arguments
            && let Some(function) = function(name)
        {
            let value = function(self.scalar(argument)?.approximate);
            // `sin π`
            let is_zero = name != "exp" && value.norm() <= 4.0 * f64::EPSILON;
            let value = if is_zero { Number::integer(0) } else { Number::irrational(value).exact() };
            return Some(value).filter(Number::is_known);
        }
        match (name, arguments) {
            ("abs", [argument]) => Some(self.scalar(argument)?.absolute()),
            ("floor", [argument]) => Some(Number::real(self.scalar(argument)?.as_real()?.floor()).exact()),
            ("ceil", [argument]) => Some(Number::real(self.scalar(argument)?.as_real()?.ceil()).exact()),
            ("!", [argument]) => self.factorial(argument),
            ("binom", [n, k]) => self.binomial(n, k),
            ("log", [argument, base]) => {
                let base = self.scalar(base)?.approximate.ln();
                let logarithm = self.scalar(argument)?.approximate.ln() / base;
                Some(Number::irrational(logarithm).exact()).filter(Number::is_known)
            }
            _ => self.unknown(name, arguments),
        }
    }

    fn factorial(&mut self, argument: &Expression) -> Option<Number> {
        let argument = self.scalar(argument)?;
        match argument.as_integer() {
            Some(n) => {
                self.work.take(usize::try_from(n).ok()?)?;
                argument.factorial()
            }
            None => Some(self.variable(&format!("! {}", argument.fingerprint()))),
        }
    }

    fn binomial(&mut self, n: &Expression, k: &Expression) -> Option<Number> {
        let [above, below] = [self.scalar(n)?, self.scalar(k)?];
        let rest = above.add(below.negate());
        match (above.as_integer(), below.as_integer(), rest.as_integer()) {
            (Some(n), Some(0..), Some(0..)) => {
                self.work.take(2 * usize::try_from(n).ok()?)?;
                let divisor = below.factorial()?.multiply(rest.factorial()?);
                Some(above.factorial()?.multiply(divisor.invert()?))
            }
            _ => Some(self.variable(&format!("binom {} {}", above.fingerprint(), below.fingerprint()))),
        }
    }

    /// The value of a function of which only its arguments are known.
    fn unknown(&mut self, name: &str, arguments: &[Expression]) -> Option<Number> {
        let arguments: Option<Vec<String>> = arguments.iter().map(|part| self.fingerprint(part)).collect();
        let key = format!("{name} {}", arguments?.join(" "));
        Some(self.variable(&key))
    }

    /// A text that is the same for equal expressions.
    fn fingerprint(&mut self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::Text(text) => Some(text.clone()),
            Expression::Infinity => Some("∞".to_owned()),
            Expression::Relation(parts, _)
            | Expression::List(_, parts)
            | Expression::Bracket(_, parts, _) => {
                let parts: Option<Vec<String>> = parts.iter().map(|part| self.fingerprint(part)).collect();
                Some(parts?.join(","))
            }
            Expression::Negative(inner) if **inner == Expression::Infinity => Some("-∞".to_owned()),
            expression => Some(self.scalar(expression)?.fingerprint()),
        }
    }
}

impl Unit {
    /// What a number in this unit is to be multiplied by.
    pub(super) fn factor(self) -> Option<Number> {
        match self {
            Self::Percent => Number::integer(100).invert(),
            Self::Degree => Some(Number::real(PI / 180.0)),
            Self::Known(_) | Self::Other => None,
        }
    }
}

fn function(name: &str) -> Option<fn(Complex64) -> Complex64> {
    Some(match name {
        "sin" => Complex64::sin,
        "cos" => Complex64::cos,
        "tan" => Complex64::tan,
        "cot" => |x| x.tan().inv(),
        "sec" => |x| x.cos().inv(),
        "csc" => |x| x.sin().inv(),
        "arcsin" => Complex64::asin,
        "arccos" => Complex64::acos,
        "arctan" => Complex64::atan,
        "sinh" => Complex64::sinh,
        "cosh" => Complex64::cosh,
        "tanh" => Complex64::tanh,
        "exp" => Complex64::exp,
        "ln" => Complex64::ln,
        "lg" => |x| x.ln() / 10_f64.ln(),
        // The base is unknown, but the same in the answer and in the truth.
        "log" => |x| x.ln() * 0.734_129_586,
        _ => return None,
    })
}

fn add(a: Value, b: Value, _: &mut Work) -> Option<Value> {
    match (a, b) {
        (Value::Scalar(a), Value::Scalar(b)) => Some(Value::Scalar(a.add(b))),
        (Value::Matrix(a), Value::Matrix(b)) => {
            let same_size = a.len() == b.len() && a[0].len() == b[0].len();
            let add_rows =
                |(a, b): (Vec<Number>, Vec<Number>)| a.into_iter().zip(b).map(|(a, b)| a.add(b)).collect();
            same_size.then(|| Value::Matrix(a.into_iter().zip(b).map(add_rows).collect()))
        }
        _ => None,
    }
}

fn multiply(a: Value, b: Value, work: &mut Work) -> Option<Value> {
    match (a, b) {
        (Value::Scalar(a), b) => scale(a, b),
        (a, Value::Scalar(b)) => scale(b, a),
        (Value::Matrix(a), Value::Matrix(b)) => {
            work.take(a.len() * b.len() * b[0].len())?;
            let entry = |row: &[Number], column: usize| {
                let products = row.iter().zip(&b).map(|(a, row)| a.multiply(row[column]));
                products.fold(Number::integer(0), Number::add)
            };
            let row = |row: &Vec<Number>| (0..b[0].len()).map(|column| entry(row, column)).collect();
            (a[0].len() == b.len()).then(|| Value::Matrix(a.iter().map(row).collect()))
        }
    }
}

fn scale(factor: Number, value: Value) -> Option<Value> {
    Some(match value {
        Value::Scalar(value) => Value::Scalar(factor.multiply(value)),
        Value::Matrix(rows) => {
            let scale = |row: Vec<Number>| row.into_iter().map(|entry| factor.multiply(entry)).collect();
            Value::Matrix(rows.into_iter().map(scale).collect())
        }
    })
}

/// FNV-1a, and a finalizer that makes its bits depend on each other.
fn hash(seed: u64, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = text.bytes().fold(start, step);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
