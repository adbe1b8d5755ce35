//! Whether an answer says what the truth says.

use super::evaluate::{Evaluator, Value, Work};
use super::expression::{Expression, Unit};
use super::number::Number;
use super::set;

/// Expressions with variables are compared at this many points.
const POINTS: u64 = 4;

/// The most items of a list that is compared with another one.
const MAX_ITEMS: usize = 100;

/// Whether both are the same number, set, list, statement …
pub(super) fn equal(gold: &Expression, answer: &Expression, work: &mut Work) -> bool {
    gold == answer || work.take(1).is_some_and(|()| compare(gold, answer, work).unwrap_or(false))
}

/// `None` if nothing can be said.
fn compare(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    match (assignment(gold), assignment(answer)) {
        (Some((_, value)), None) if !is_relation(answer) => return Some(equal(value, answer, work)),
        (None, Some((_, value))) if !is_relation(gold) => return Some(equal(gold, value, work)),
        (Some((name, gold)), Some((other, answer)))
            if same_name(name, other) && equal(gold, answer, work) =>
        {
            return Some(true);
        }
        _ => {}
    }
    if (set::is_region(gold) || set::is_region(answer))
        && let Some(equal) = set::equal(gold, answer, work)
    {
        return Some(equal);
    }
    match (gold, answer) {
        (Expression::Relation(..), Expression::Relation(..)) => same_relations(gold, answer, work),
        (Expression::Bracket(open, gold, close), Expression::Bracket(other_open, answer, other_close)) => {
            Some((open, close) == (other_open, other_close) && all_equal(gold, answer, work))
        }
        (Expression::List(_, items), Expression::Bracket('(', tuple, ')')) => {
            Some(all_equal(items, tuple, work))
        }
        (Expression::Bracket('(', tuple, ')'), Expression::List(_, items)) => {
            Some(all_equal(tuple, items, work))
        }
        (Expression::List(..) | Expression::Set(_), _) | (_, Expression::List(..) | Expression::Set(_)) => {
            same_items(gold, answer, work)
        }
        (Expression::Operation(sign, gold), Expression::Operation(other, answer)) if sign == other => {
            Some(all_equal(gold, answer, work) || *sign != '∖' && have_each_other(gold, answer, work)?)
        }
        (Expression::Quantity(..), _) | (_, Expression::Quantity(..)) => same_quantities(gold, answer, work),
        _ => Some(same_letters(gold, answer) || same_values(gold, answer, work)?),
    }
}

fn all_equal(gold: &[Expression], answer: &[Expression], work: &mut Work) -> bool {
    gold.len() == answer.len() && gold.iter().zip(answer).all(|(gold, answer)| equal(gold, answer, work))
}

/// Items in any order, unless they have different names on one side alone: `a = 1, b = 2` is `1, 2`, and not `2, 1`.
fn same_items(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    let (gold, answer) = (items(gold), items(answer));
    if has_names(gold) != has_names(answer) {
        return Some(all_equal(gold, answer, work));
    }
    have_each_other(gold, answer, work)
}

/// Whether each item of one list is in the other. `None` for lists that are too long.
fn have_each_other(gold: &[Expression], answer: &[Expression], work: &mut Work) -> Option<bool> {
    if gold.len().max(answer.len()) > MAX_ITEMS {
        return None;
    }
    let mut in_answer = |item| answer.iter().any(|other| equal(item, other, work));
    if gold.is_empty() != answer.is_empty() || !gold.iter().all(&mut in_answer) {
        return Some(false);
    }
    Some(answer.iter().all(|item| gold.iter().any(|other| equal(other, item, work))))
}

fn items(expression: &Expression) -> &[Expression] {
    match expression {
        Expression::List(_, items) | Expression::Set(items) => items,
        Expression::Symbol(name) if name == "∅" => &[],
        single => std::slice::from_ref(single),
    }
}

/// Whether the items are values of different variables.
fn has_names(items: &[Expression]) -> bool {
    let mut names = items.iter().filter_map(|item| Some(assignment(item)?.0));
    let first = names.next();
    first.is_some_and(|first| names.any(|name| !same_name(first, name)))
}

/// The name and the value, if this is an equation of a name with a value.
fn assignment(expression: &Expression) -> Option<(&Expression, &Expression)> {
    let Expression::Relation(sides, signs) = expression else { return None };
    let (name, exact) = (sides.first()?, signs.iter().take_while(|sign| **sign == '=').count());
    let rounded = signs[exact..].iter().all(|sign| *sign == '≈');
    let value = match (exact, signs.as_slice()) {
        (0, ['≈'] | ['∈']) => sides.get(1)?,
        (1.., _) if rounded => sides.get(exact)?,
        _ => return None,
    };
    let is_named = is_name(name) || !name.any(is_variable) && !value.any(is_variable);
    is_named.then_some((name, value))
}

fn is_relation(expression: &Expression) -> bool {
    matches!(expression, Expression::Relation(..))
}

fn is_variable(expression: &Expression) -> bool {
    matches!(expression, Expression::Symbol(_) | Expression::Text(_))
}

/// Whether this may be what a value is given to: `x`, `f(x)`, `AB`, `|AB|`, `AB : CD`, `(x, y)`.
fn is_name(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) | Expression::Text(_) => true,
        Expression::Call(name, arguments) => {
            name != "!" && arguments.iter().all(|a| is_name(a) || name.len() == 1)
        }
        // `xy = 4` is an equation, `AB = 4` and `V(x) = 4` say what has the value.
        Expression::Product(parts) => parts.iter().all(is_name) && !parts.iter().all(is_lowercase),
        Expression::Bracket(_, parts, _) => parts.iter().all(is_name),
        Expression::Quotient(above, below) => {
            (**above == Expression::integer(1) || is_name(above)) && is_name(below)
        }
        _ => false,
    }
}

fn is_lowercase(expression: &Expression) -> bool {
    matches!(expression, Expression::Symbol(name) if !name.starts_with(char::is_uppercase))
}

/// Words describe a value whatever its name is.
fn same_name(a: &Expression, b: &Expression) -> bool {
    a == b || matches!(a, Expression::Text(_)) || matches!(b, Expression::Text(_))
}

/// Relations between the same sides, or between others that say the same.
fn same_relations(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    let (gold, answer) = (ascending(gold)?, ascending(answer)?);
    if gold.1 == answer.1 && gold.0.len() == answer.0.len() {
        let mut sides = gold.0.iter().zip(&answer.0);
        if sides.all(|(gold, answer)| equal(gold, answer, work)) {
            return Some(true);
        }
    }
    // Or the equation to be solved would be its own solution.
    if is_solved(&gold.0) && !is_solved(&answer.0) {
        return Some(false);
    }
    let ([a, b], [c, d], [sign]) = (&gold.0[..], &answer.0[..], &gold.1[..]) else { return Some(false) };
    if gold.1 != answer.1 {
        return Some(false);
    }
    let factor = ratio([a, b], [c, d], work)?;
    Some(match sign {
        '=' | '≠' => true,
        '<' | '≤' => factor > 0.0,
        _ => false,
    })
}

/// Whether each side is a variable, possibly negated, or contains none.
fn is_solved(sides: &[&Expression]) -> bool {
    sides.iter().all(|side| match side {
        Expression::Negative(side) => is_name(side),
        side => is_name(side) || !side.any(is_variable),
    })
}

/// Sides and signs, with `<` for `>`.
fn ascending(relation: &Expression) -> Option<(Vec<&Expression>, Vec<char>)> {
    let Expression::Relation(sides, signs) = relation else { return None };
    let (mut sides, mut signs) = (sides.iter().collect::<Vec<_>>(), signs.clone());
    if signs.iter().all(|sign| ">≥".contains(*sign)) {
        sides.reverse();
        signs.reverse();
        signs.iter_mut().for_each(|sign| *sign = if *sign == '>' { '<' } else { '≤' });
    }
    Some((sides, signs))
}

/// What the difference of two sides is that of two others multiplied by, if it is the same everywhere.
fn ratio(gold: [&Expression; 2], answer: [&Expression; 2], work: &mut Work) -> Option<f64> {
    let mut differences = Vec::new();
    for point in 0..POINTS {
        let mut evaluator = Evaluator { point, work, has_variable: false };
        let mut difference =
            |[a, b]: [&Expression; 2]| Some(evaluator.scalar(a)?.add(evaluator.scalar(b)?.negate()));
        let pair = difference(gold).zip(difference(answer));
        if !evaluator.has_variable {
            return None;
        }
        differences.extend(pair.filter(|(gold, answer)| !gold.is_zero() && !answer.is_zero()));
    }
    let ((gold, answer), others) = differences.split_first()?;
    let same = others.iter().all(|(a, b)| gold.multiply(*b) == answer.multiply(*a));
    let factor = gold.multiply(answer.invert()?).as_real()?;
    (others.len() > 1 && same).then_some(factor)
}

/// Numbers with units, one of which may be missing.
fn same_quantities(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    let ((gold, unit), (answer, other)) = (quantity(gold), quantity(answer));
    let (scaled, other_scaled) = (with_unit(gold, unit), with_unit(answer, other));
    Some(match (unit, other) {
        (Some(a), Some(b)) if a == b => equal(gold, answer, work),
        (Some(a), Some(b)) if ![a, b].contains(&Unit::Other) => false,
        // `28%` is 28, and it is 0.28.
        _ => equal(gold, answer, work) || equal(&scaled?, &other_scaled?, work),
    })
}

fn quantity(expression: &Expression) -> (&Expression, Option<Unit>) {
    match expression {
        Expression::Quantity(value, unit) => (value, Some(*unit)),
        value => (value, None),
    }
}

/// The value of a percentage or of an angle.
fn with_unit(value: &Expression, unit: Option<Unit>) -> Option<Expression> {
    match unit {
        Some(unit) => Some(Expression::Product(vec![value.clone(), Expression::Number(unit.factor()?)])),
        None => Some(value.clone()),
    }
}

/// Whether both are the same word. Capitals make a difference between variables alone.
fn same_letters(gold: &Expression, answer: &Expression) -> bool {
    let is_text = |expression: &Expression| matches!(expression, Expression::Text(_));
    let (Some(a), Some(b)) = (letters(gold), letters(answer)) else { return false };
    (is_text(gold) || is_text(answer))
        && (a == b || is_text(gold) && is_text(answer) && a.to_lowercase() == b.to_lowercase())
}

fn letters(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Text(text) => Some(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        Expression::Symbol(name) => Some(name.clone()),
        Expression::Product(factors) => factors.iter().map(letters).collect(),
        _ => None,
    }
}

/// Whether the values of both are the same, whatever those of their variables are.
fn same_values(gold: &Expression, answer: &Expression, work: &mut Work) -> Option<bool> {
    // A whole number or a fraction of a million is given as it is.
    let rounds = |a: &Value, b: &Value| {
        gold.has_decimal() && rounds_to(a, b, |_| true)
            || answer.has_decimal() && rounds_to(a, b, |number| !number.is_short())
    };
    let mut compared = 0;
    for point in 0..POINTS {
        let mut evaluator = Evaluator { point, work, has_variable: false };
        let (a, b) = (evaluator.value(gold), evaluator.value(answer));
        let has_variable = evaluator.has_variable;
        match (a, b) {
            (Some(a), Some(b)) if a == b || !has_variable && rounds(&a, &b) => compared += 1,
            (None, None) => {}
            _ => return Some(false),
        }
        if !has_variable {
            return Some(compared == 1);
        }
    }
    Some(compared > 1)
}

fn rounds_to(gold: &Value, answer: &Value, may_be_rounded: fn(&Number) -> bool) -> bool {
    let rounds = |(a, b): (&Number, &Number)| a == b || may_be_rounded(a) && a.rounds_to(b);
    match (gold, answer) {
        (Value::Scalar(a), Value::Scalar(b)) => rounds((a, b)),
        (Value::Matrix(a), Value::Matrix(b)) => {
            let same =
                |(a, b): (&Vec<Number>, &Vec<Number>)| a.len() == b.len() && a.iter().zip(b).all(rounds);
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        _ => false,
    }
}
