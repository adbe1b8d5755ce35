//! Sets of real numbers: intervals, points, solved inequalities, and what is made of them.

use super::evaluate::{Evaluator, Work};
use super::expression::{Expression, Joint};

/// Whether this is a set of more than single numbers, or with signs between its parts.
pub(super) fn is_region(expression: &Expression) -> bool {
    match expression {
        Expression::Operation(..) => true,
        Expression::Symbol(name) => name == "mathbb R",
        Expression::Relation(sides, signs) => *signs == ['∈'] || solved(sides, signs).is_some(),
        Expression::List(Joint::And | Joint::Or, items) => items.iter().all(is_region),
        _ => false,
    }
}

/// Whether two sets have the same numbers. `None` if one of them isn't known to be a set of real numbers.
pub(super) fn equal(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    let mut variables = Vec::new();
    let mut reader = Reader { variables: &mut variables, work };
    let (gold_set, answer_set) = (reader.set(gold)?, reader.set(answer)?);
    if variables.iter().any(|variable| *variable != variables[0]) {
        return Some(false);
    }
    let tolerance = if gold.has_decimal() || answer.has_decimal() { 5e-7 } else { 1e-10 };
    let mut ends = [gold_set.ends(), answer_set.ends()].concat();
    let all = ends.len();
    ends.sort_by(f64::total_cmp);
    ends.dedup_by(|next, end| *next - *end <= margin(*end, tolerance));
    let ends = Ends { ends, tolerance };
    let positions = 2 * ends.ends.len() + 1;
    work.take(positions * (all + 2))?;
    Some((0..positions).all(|position| gold_set.has(position, &ends) == answer_set.has(position, &ends)))
}

/// The distinct ends of intervals, in order. The end with index `i` has the position `2 i + 1`; the numbers before it, behind the
/// previous one, have `2 i`.
struct Ends {
    ends: Vec<f64>,
    tolerance: f64,
}

impl Ends {
    fn position(&self, end: f64) -> usize {
        if end == f64::INFINITY {
            return 2 * self.ends.len() + 1;
        }
        let margin = margin(end, self.tolerance);
        2 * self.ends.partition_point(|other| *other < end - margin) + 1
    }
}

/// The largest distance between two ends that are equal up to rounding.
fn margin(end: f64, tolerance: f64) -> f64 {
    tolerance * end.abs().clamp(1e-3, 1.0) + 1e-12 * end.abs()
}

enum Set {
    /// From an end to an end, either of which may be infinite, and whether they belong to it.
    Interval([f64; 2], [bool; 2]),
    Points(Vec<f64>),
    Union(Vec<Set>),
    Intersection(Vec<Set>),
    Difference(Box<Set>, Box<Set>),
}

impl Set {
    const REALS: Self = Self::Interval([f64::NEG_INFINITY, f64::INFINITY], [false; 2]);

    /// `None` for one that begins or ends at the wrong infinity.
    fn interval([low, high]: [f64; 2], closed: [bool; 2]) -> Option<Self> {
        (low < f64::INFINITY && high > f64::NEG_INFINITY).then_some(Self::Interval([low, high], closed))
    }

    fn has(&self, position: usize, ends: &Ends) -> bool {
        match self {
            Self::Interval([low, high], closed) => {
                let from =
                    if *low == f64::NEG_INFINITY { 0 } else { ends.position(*low) + usize::from(!closed[0]) };
                let to = ends.position(*high) - usize::from(!closed[1]);
                (from..=to).contains(&position)
            }
            Self::Points(points) => points.iter().any(|point| ends.position(*point) == position),
            Self::Union(sets) => sets.iter().any(|set| set.has(position, ends)),
            Self::Intersection(sets) => sets.iter().all(|set| set.has(position, ends)),
            Self::Difference(left, right) => left.has(position, ends) && !right.has(position, ends),
        }
    }

    /// Its finite ends.
    fn ends(&self) -> Vec<f64> {
        match self {
            Self::Interval(ends, _) => ends.iter().copied().filter(|end| end.is_finite()).collect(),
            Self::Points(points) => points.clone(),
            Self::Union(sets) | Self::Intersection(sets) => sets.iter().flat_map(Self::ends).collect(),
            Self::Difference(left, right) => [left.ends(), right.ends()].concat(),
        }
    }
}

struct Reader<'a, 'e> {
    /// What the sets are said to hold values of.
    variables: &'a mut Vec<&'e Expression>,
    work: &'a mut Work,
}

impl<'e> Reader<'_, 'e> {
    fn set(&mut self, expression: &'e Expression) -> Option<Set> {
        match expression {
            Expression::Bracket(open, ends, close) => {
                let [low, high] = ends.as_slice() else { return None };
                Set::interval([self.number(low)?, self.number(high)?], [*open == '[', *close == ']'])
            }
            Expression::Set(items) => {
                let points: Option<Vec<f64>> = items.iter().map(|item| self.number(item)).collect();
                points.filter(|points| points.iter().all(|point| point.is_finite())).map(Set::Points)
            }
            Expression::Symbol(name) if name == "mathbb R" => Some(Set::REALS),
            Expression::Symbol(name) if name == "∅" => Some(Set::Points(Vec::new())),
            Expression::Operation(sign, parts) => {
                let mut sets = parts.iter().map(|part| self.set(part)).collect::<Option<Vec<Set>>>()?;
                Some(match sign {
                    '∪' => Set::Union(sets),
                    '∩' => Set::Intersection(sets),
                    _ => {
                        let rest = Set::Union(sets.split_off(1));
                        Set::Difference(Box::new(sets.pop()?), Box::new(rest))
                    }
                })
            }
            Expression::List(joint @ (Joint::And | Joint::Or), items) if items.iter().all(is_region) => {
                let sets: Option<Vec<Set>> = items.iter().map(|item| self.set(item)).collect();
                Some(if *joint == Joint::Or { Set::Union(sets?) } else { Set::Intersection(sets?) })
            }
            Expression::Relation(sides, signs) if *signs == ['∈'] => {
                self.variables.push(&sides[0]);
                self.set(&sides[1])
            }
            Expression::Relation(sides, signs) => self.inequality(solved(sides, signs)?),
            _ => None,
        }
    }

    fn inequality(&mut self, solved: Solved<'e>) -> Option<Set> {
        let Solved { name, range } = solved;
        let size_of = match name {
            Expression::Call(function, arguments) if function == "abs" => match arguments.as_slice() {
                [symbol @ Expression::Symbol(_)] => Some(symbol),
                _ => None,
            },
            _ => None,
        };
        self.variables.push(size_of.unwrap_or(name));
        let (ends, closed) = match range {
            Range::From(low, closed) => ([self.number(low)?, f64::INFINITY], [closed, false]),
            Range::To(high, closed) => ([f64::NEG_INFINITY, self.number(high)?], [false, closed]),
            Range::Between(ends, closed) => ([self.number(ends[0])?, self.number(ends[1])?], closed),
            Range::Without(point) => {
                let point = Set::Points(vec![self.number(point).filter(|point| point.is_finite())?]);
                return size_of.is_none().then(|| Set::Difference(Box::new(Set::REALS), Box::new(point)));
            }
        };
        let positive = Set::interval(ends, closed)?;
        let ([low, high], [includes_low, includes_high]) = (ends, closed);
        if size_of.is_none() {
            Some(positive)
        } else if low == f64::NEG_INFINITY {
            Set::interval([-high, high], [includes_high; 2])
        } else {
            let negative = Set::interval([-high, -low], [includes_high, includes_low])?;
            (low >= 0.0).then(|| Set::Union(vec![negative, positive]))
        }
    }

    /// A number without variables, or infinity.
    fn number(&mut self, expression: &Expression) -> Option<f64> {
        match expression {
            Expression::Infinity => Some(f64::INFINITY),
            Expression::Negative(inner) if **inner == Expression::Infinity => Some(f64::NEG_INFINITY),
            expression => {
                let mut evaluator = Evaluator { point: 0, work: self.work, has_variable: false };
                let number = evaluator.scalar(expression)?;
                number.as_real().filter(|_| !evaluator.has_variable)
            }
        }
    }
}

/// What an inequality says that has a name on one side, or between two others.
struct Solved<'e> {
    name: &'e Expression,
    range: Range<'e>,
}

/// Ends, and whether they belong to it.
enum Range<'e> {
    From(&'e Expression, bool),
    To(&'e Expression, bool),
    Between([&'e Expression; 2], [bool; 2]),
    Without(&'e Expression),
}

/// `None` if it isn't solved.
fn solved<'e>(sides: &'e [Expression], signs: &[char]) -> Option<Solved<'e>> {
    use Range::{Between, From, To, Without};
    let (name, range) = match (sides, signs) {
        ([x, a], ['≠']) => (x, Without(a)),
        ([x, a], [sign @ ('<' | '≤')]) if may_be_unknown(x) => (x, To(a, *sign == '≤')),
        ([x, a], [sign @ ('>' | '≥')]) if may_be_unknown(x) => (x, From(a, *sign == '≥')),
        ([a, x], [sign @ ('<' | '≤')]) => (x, From(a, *sign == '≤')),
        ([a, x], [sign @ ('>' | '≥')]) => (x, To(a, *sign == '≥')),
        ([a, x, b], [first @ ('<' | '≤'), second @ ('<' | '≤')]) => {
            (x, Between([a, b], [*first == '≤', *second == '≤']))
        }
        ([a, x, b], [first @ ('>' | '≥'), second @ ('>' | '≥')]) => {
            (x, Between([b, a], [*second == '≥', *first == '≥']))
        }
        _ => return None,
    };
    may_be_unknown(name).then_some(Solved { name, range })
}

fn may_be_unknown(side: &Expression) -> bool {
    match side {
        Expression::Symbol(name) => !["pi", "e", "i"].contains(&name.as_str()),
        side => matches!(side, Expression::Call(..)),
    }
}
