//! Tokens as an expression: what has no operator outside of brackets.

use super::expression::{Expression, Unit};
use super::number::Number;
use super::parse::{Parser, product_of};
use super::token::Token;

/// Letters that are functions if brackets follow them.
const FUNCTIONS: [&str; 3] = ["f", "g", "h"];

impl Parser<'_> {
    pub(super) fn atom(&mut self) -> Option<Expression> {
        match self.next()? {
            Token::Number(digits) => self.number(&digits),
            Token::Symbol(name) => self.symbol(name),
            Token::Text(text) => Some(Expression::Text(text)),
            Token::Function(name) => self.function(name),
            Token::Command(name) => self.command(name),
            Token::Sign('∞') => Some(Expression::Infinity),
            Token::Sign('…') => Some(Expression::Symbol("…".to_owned())),
            Token::Sign('{') => {
                let inside = self.unbarred(Self::items)?;
                self.expect('}')?;
                Some(inside)
            }
            Token::Sign(open @ ('(' | '[')) => self.bracket(open),
            Token::Sign('⦃') => self.set(),
            Token::Sign('|') => self.within("abs", '|', 1),
            Token::Sign('⌊') => self.within("floor", '⌋', 0),
            Token::Sign('⌈') => self.within("ceil", '⌉', 0),
            Token::Sign(_) | Token::Joint(_) => None,
        }
    }

    /// What `parse` reads in brackets, in which a bar opens an absolute value of its own.
    fn unbarred(&mut self, parse: impl FnOnce(&mut Self) -> Option<Expression>) -> Option<Expression> {
        let bars = std::mem::take(&mut self.bars);
        let expression = parse(self);
        self.bars = bars;
        expression
    }

    fn within(&mut self, name: &str, close: char, bars: usize) -> Option<Expression> {
        let outer = std::mem::replace(&mut self.bars, bars);
        let inside = self.sum()?;
        self.bars = outer;
        self.expect(close)?;
        Some(Expression::Call(name.to_owned(), vec![inside]))
    }

    fn number(&mut self, digits: &str) -> Option<Expression> {
        let number = Number::decimal(digits)?;
        if !digits.contains('.') && self.eat('_') {
            let base = self.deeper(Self::script)?;
            return Some(Expression::Call("base".to_owned(), vec![Expression::Number(number), base]));
        }
        match digits.split_once('.') {
            None => Some(Expression::Number(number)),
            Some((_, fraction)) if self.peek() == Some(&Token::Command("overline")) => {
                self.next();
                let repeated = repeated(fraction, &self.subscript()?)?;
                Some(Expression::Sum(vec![Expression::Number(number), Expression::Number(repeated)]))
            }
            Some(_) => Some(Expression::Decimal(number)),
        }
    }

    fn symbol(&mut self, mut name: String) -> Option<Expression> {
        loop {
            if self.eat('\'') {
                name.push('\'');
            } else if self.eat('_') {
                name = format!("{name}_{}", self.subscript()?);
            } else {
                break;
            }
        }
        if FUNCTIONS.contains(&name.trim_end_matches('\'')) && self.eat('(') {
            return Some(Expression::Call(name, arguments(self.bracket('(')?)));
        }
        Some(Expression::Symbol(name))
    }

    /// The text of a subscript.
    fn subscript(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut depth = 0;
        loop {
            match self.next()? {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                Token::Number(part) | Token::Symbol(part) | Token::Text(part) | Token::Function(part) => {
                    text += &part;
                }
                Token::Sign(sign) => text.push(sign),
                Token::Command(_) | Token::Joint(_) => return None,
            }
            if depth == 0 {
                return Some(text);
            }
        }
    }

    /// An exponent, an index, or another argument, with or without braces.
    pub(super) fn script(&mut self) -> Option<Expression> {
        let negative = self.signs();
        let base = self.deeper(Self::atom)?;
        let value = if self.eat('^') {
            Expression::Power(Box::new(base), Box::new(self.deeper(Self::script)?))
        } else {
            base
        };
        Some(if negative { Expression::negative(value) } else { value })
    }

    fn function(&mut self, name: String) -> Option<Expression> {
        let (mut below, mut above) = (None, None);
        loop {
            if below.is_none() && self.eat('_') {
                below = Some(self.deeper(Self::atom)?);
            } else if above.is_none() && self.eat('^') {
                above = Some(self.deeper(Self::script)?);
            } else {
                break;
            }
        }
        let mut inside = self.function_arguments()?;
        match (name.as_str(), above) {
            ("sum" | "prod" | "int" | "lim", above) => {
                Some(Expression::Call(name, below.into_iter().chain(above).chain(inside).collect()))
            }
            ("sin" | "cos" | "tan", Some(above)) if above == Expression::integer(-1) => {
                Some(Expression::Call(format!("arc{name}"), inside))
            }
            (_, above) => {
                inside.extend(below);
                let call = Expression::Call(name, inside);
                Some(match above {
                    Some(exponent) => Expression::Power(Box::new(call), Box::new(exponent)),
                    None => call,
                })
            }
        }
    }

    /// What is in brackets, or else factors up to the next function.
    fn function_arguments(&mut self) -> Option<Vec<Expression>> {
        if self.eat('(') {
            return Some(arguments(self.bracket('(')?));
        }
        let mut factors = vec![self.factor()?];
        while self.begins_factor() && !matches!(self.peek(), Some(Token::Function(_))) {
            factors.push(self.factor()?);
        }
        let argument = product_of(factors)?;
        let degrees = self.eat('°');
        Some(vec![if degrees { Expression::Quantity(Box::new(argument), Unit::Degree) } else { argument }])
    }

    fn command(&mut self, name: &str) -> Option<Expression> {
        match name {
            "frac" => {
                let (above, below) = (self.deeper(Self::atom)?, self.deeper(Self::atom)?);
                Some(Expression::Quotient(Box::new(above), Box::new(below)))
            }
            "sqrt" => {
                let degree = if self.eat('[') { self.bracket('[')? } else { Expression::integer(2) };
                let inside = self.deeper(Self::atom)?;
                let exponent = Expression::Quotient(Box::new(Expression::integer(1)), Box::new(degree));
                Some(Expression::Power(Box::new(inside), Box::new(exponent)))
            }
            "binom" => Some(Expression::Call(
                name.to_owned(),
                vec![self.deeper(Self::atom)?, self.deeper(Self::atom)?],
            )),
            "mathbb" => match self.deeper(Self::atom)? {
                Expression::Symbol(letter) => Some(Expression::Symbol(format!("mathbb {letter}"))),
                _ => None,
            },
            "begin" => self.matrix(),
            "end" => None,
            _ => Some(Expression::Call(name.to_owned(), vec![self.deeper(Self::script)?])),
        }
    }

    fn matrix(&mut self) -> Option<Expression> {
        let name = self.environment()?;
        if name == "array" {
            self.subscript()?; // the alignment of its columns
        }
        let mut rows = vec![Vec::new()];
        loop {
            match self.peek()? {
                Token::Sign('&') => self.expect('&')?,
                Token::Sign('⏎') => {
                    self.expect('⏎')?;
                    rows.push(Vec::new());
                }
                Token::Command("end") => break,
                _ => rows.last_mut()?.push(self.sum()?),
            }
        }
        self.next();
        self.environment()?;
        rows.retain(|row| !row.is_empty());
        match name.as_str() {
            "array" | "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" => {
                Some(Expression::Matrix(rows))
            }
            _ => None,
        }
    }

    /// The name behind `\begin` or `\end`.
    fn environment(&mut self) -> Option<String> {
        self.expect('{')?;
        let Token::Text(name) = self.next()? else { return None };
        self.expect('}')?;
        Some(name)
    }

    /// What follows an opening bracket: an expression, a tuple or an interval.
    fn bracket(&mut self, open: char) -> Option<Expression> {
        let mut items = Vec::new();
        loop {
            items.push(self.unbarred(Self::statement)?);
            match self.next()? {
                Token::Sign(',' | ';') => {}
                Token::Sign(close @ (')' | ']')) if items.len() > 1 => {
                    return Some(Expression::Bracket(open, items, close));
                }
                Token::Sign(')') if open == '(' => return items.pop(),
                Token::Sign(']') if open == '[' => return items.pop(),
                _ => return None,
            }
        }
    }

    fn set(&mut self) -> Option<Expression> {
        if self.eat('⦄') {
            return Some(Expression::Set(Vec::new()));
        }
        // `{x | x > 2}`
        let describes = [Token::Sign('|'), Token::Sign(':')].iter().any(|sign| self.follows(sign));
        if describes && matches!(self.peek(), Some(Token::Symbol(_))) {
            self.next();
            self.next();
            let condition = self.unbarred(Self::items)?;
            self.expect('⦄')?;
            return is_inequality(&condition).then_some(condition);
        }
        let mut items = Vec::new();
        loop {
            items.extend(self.alternatives()?);
            match self.next()? {
                Token::Sign(',' | ';') => {}
                Token::Sign('⦄') => return Some(Expression::Set(items)),
                _ => return None,
            }
        }
    }
}

fn is_inequality(condition: &Expression) -> bool {
    matches!(condition, Expression::Relation(_, signs) if signs.iter().all(|sign| "<≤>≥≠".contains(*sign)))
}

/// The arguments in brackets.
fn arguments(inside: Expression) -> Vec<Expression> {
    match inside {
        Expression::Bracket('(', items, ')') => items,
        inside => vec![inside],
    }
}

/// What digits add to a number that repeat without end after those of its fraction: `0.1\overline{6}`.
fn repeated(fraction: &str, period: &str) -> Option<Number> {
    let nines = Number::decimal(&"9".repeat(period.len()))?;
    let shift = Number::decimal(&format!("1{}", "0".repeat(fraction.len())))?;
    Some(Number::decimal(period)?.multiply(nines.multiply(shift).invert()?))
}
