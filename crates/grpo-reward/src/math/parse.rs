//! Tokens as an expression: lists of statements, down to factors.

use super::expression::{Expression, Joint, Unit};
use super::token::Token;

/// Brackets, powers and functions nested deeper than this are refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 40;

/// The most factors, terms and arguments that are read, counting those that are read again with the other sign of a `±`.
const MAX_STEPS: usize = 4000;

/// The most powers, factorials, units and different operations in a row, each of which makes the tree deeper.
const MAX_CHAIN: usize = 4;

const RELATIONS: &str = "=<≤>≥≠≈≡∈";

/// `None` if the tokens are not one expression, or too many.
pub(super) fn parse(tokens: &[Token]) -> Option<Expression> {
    let mut parser = Parser { tokens, at: 0, depth: 0, steps: 0, bars: 0, lower: false, has_sign: false };
    let mut groups = vec![parser.items()?];
    while parser.eat(';') {
        groups.push(parser.items()?);
    }
    let expression = if groups.len() == 1 { groups.pop()? } else { Expression::List(Joint::Comma, groups) };
    (parser.at == tokens.len()).then_some(expression)
}

pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    steps: usize,
    /// Open bars of absolute values: the next one closes.
    pub(super) bars: usize,
    /// Whether `±` is read as its lower sign.
    lower: bool,
    /// Whether a `±` was read.
    has_sign: bool,
}

// `None` for what is not an expression.
impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    pub(super) fn sees(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    pub(super) fn follows(&self, token: &Token) -> bool {
        self.tokens.get(self.at + 1) == Some(token)
    }

    pub(super) fn eat(&mut self, sign: char) -> bool {
        let seen = self.sees(sign);
        self.at += usize::from(seen);
        seen
    }

    pub(super) fn expect(&mut self, sign: char) -> Option<()> {
        self.eat(sign).then_some(())
    }

    /// What `parse` reads, one level deeper.
    pub(super) fn deeper(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Option<Expression>,
    ) -> Option<Expression> {
        self.depth += 1;
        self.steps += 1;
        if self.depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return None;
        }
        let expression = parse(self);
        self.depth -= 1;
        expression
    }

    /// Statements with commas or conjunctions between them, or a single one.
    pub(super) fn items(&mut self) -> Option<Expression> {
        let (mut items, mut joints) = (self.alternatives()?, Vec::new());
        while let Some(joint) = self.joint() {
            joints.push(joint);
            items.extend(self.alternatives()?);
        }
        if items.len() == 1 {
            return items.pop();
        }
        let conjunctions = || joints.iter().filter(|joint| **joint != Joint::Comma);
        let joint = conjunctions().next().filter(|first| conjunctions().all(|joint| joint == *first));
        Some(Expression::List(joint.copied().unwrap_or(Joint::Comma), items))
    }

    fn joint(&mut self) -> Option<Joint> {
        let comma = self.eat(',').then_some(Joint::Comma);
        let word = match self.peek() {
            Some(Token::Joint(joint)) => *joint,
            Some(Token::Sign('∨')) => Joint::Or,
            Some(Token::Sign('∧')) => Joint::And,
            _ => return comma,
        };
        self.at += 1;
        Some(word)
    }

    /// A statement, or the two that it is with `±`.
    pub(super) fn alternatives(&mut self) -> Option<Vec<Expression>> {
        let (start, outer) = (self.at, (self.lower, self.has_sign));
        (self.lower, self.has_sign) = (false, false);
        let mut statements = vec![self.statement()?];
        if self.has_sign {
            (self.at, self.lower) = (start, true);
            statements.push(self.statement()?);
        }
        (self.lower, self.has_sign) = outer;
        Some(statements)
    }

    /// An expression, or several with relations between them.
    pub(super) fn statement(&mut self) -> Option<Expression> {
        let (mut sides, mut signs) = (vec![self.operation()?], Vec::new());
        while let Some(Token::Sign(sign)) = self.peek() {
            if !RELATIONS.contains(*sign) {
                break;
            }
            signs.push(*sign);
            self.at += 1;
            sides.push(self.operation()?);
        }
        if signs.is_empty() { sides.pop() } else { Some(Expression::Relation(sides, signs)) }
    }

    /// Sets with signs between them.
    fn operation(&mut self) -> Option<Expression> {
        let mut left = self.sum()?;
        for _ in 0..MAX_CHAIN {
            let Some(Token::Sign(sign @ ('∪' | '∩' | '∖'))) = self.peek() else { return Some(left) };
            let sign = *sign;
            let mut sets = vec![left];
            while self.eat(sign) {
                sets.push(self.sum()?);
            }
            left = Expression::Operation(sign, sets);
        }
        None
    }

    pub(super) fn sum(&mut self) -> Option<Expression> {
        let mut terms = Vec::new();
        loop {
            let negative = self.signs();
            let term = self.product()?;
            terms.push(if negative { Expression::negative(term) } else { term });
            if !matches!(self.peek(), Some(Token::Sign('+' | '-' | '±' | '∓'))) {
                return if terms.len() == 1 { terms.pop() } else { Some(Expression::Sum(terms)) };
            }
        }
    }

    /// Whether the signs before a term make it negative.
    pub(super) fn signs(&mut self) -> bool {
        let mut negative = false;
        while let Some(Token::Sign(sign @ ('+' | '-' | '±' | '∓'))) = self.peek() {
            negative ^= match sign {
                '+' => false,
                '-' => true,
                '±' => self.lower,
                _ => !self.lower,
            };
            self.has_sign |= matches!(sign, '±' | '∓');
            self.at += 1;
        }
        negative
    }

    fn product(&mut self) -> Option<Expression> {
        let mut factors = vec![self.factor()?];
        let mut units = 0;
        loop {
            match self.peek() {
                Some(Token::Sign('*')) => {
                    self.at += 1;
                    factors.push(self.signed_factor()?);
                }
                Some(Token::Sign('/' | ':')) => {
                    self.at += 1;
                    let divisor = self.signed_factor()?;
                    factors.push(Expression::Quotient(Box::new(Expression::integer(1)), Box::new(divisor)));
                }
                Some(Token::Sign('%' | '°') | Token::Text(_)) if units < MAX_CHAIN => {
                    units += 1;
                    factors = vec![self.quantity(factors)?];
                }
                _ if self.begins_factor() => self.juxtaposed(&mut factors)?,
                _ => return product_of(factors),
            }
        }
    }

    /// The product with the unit that follows, or with the word for its size: `5 million`.
    fn quantity(&mut self, mut factors: Vec<Expression>) -> Option<Expression> {
        if let Some(Token::Text(text)) = self.peek() {
            factors.extend(Unit::scale(text).map(|(scale, _)| Expression::integer(scale)));
        }
        let unit = self.unit();
        Some(Expression::Quantity(Box::new(product_of(factors)?), unit))
    }

    fn signed_factor(&mut self) -> Option<Expression> {
        let negative = self.signs();
        let factor = self.factor()?;
        Some(if negative { Expression::negative(factor) } else { factor })
    }

    /// A factor without a sign before it: the fraction of a mixed number, or a factor.
    fn juxtaposed(&mut self, factors: &mut Vec<Expression>) -> Option<()> {
        let after_number = matches!(factors.last(), Some(Expression::Number(_)));
        let before_number = matches!(self.peek(), Some(Token::Number(_)));
        let mut factor = self.factor()?;
        if before_number {
            // `1 1/2`; without the bar, two numbers side by side are no product.
            self.expect('/')?;
            factor = Expression::Quotient(Box::new(factor), Box::new(self.factor()?));
        }
        match factor {
            Expression::Quotient(above, below) if after_number && is_proper(&above, &below) => {
                let fraction = Expression::Quotient(above, below);
                let whole = factors.pop()?;
                factors.push(Expression::Sum(vec![whole, fraction]));
            }
            _ if before_number => return None,
            factor => factors.push(factor),
        }
        Some(())
    }

    /// A unit, with its power and what it is divided by.
    fn unit(&mut self) -> Unit {
        if self.eat('%') {
            return Unit::Percent;
        }
        if self.eat('°') {
            return Unit::Degree;
        }
        let (tokens, mut words) = (self.tokens, Vec::new());
        while let Some(Token::Text(text)) = tokens.get(self.at) {
            words.push(Unit::scale(text).map_or(text.as_str(), |(_, unit)| unit));
            self.at += 1;
            self.at += match self.tokens[self.at..] {
                [Token::Sign('^'), Token::Number(_), ..] => 2,
                [Token::Sign('^'), Token::Sign('{'), Token::Number(_), Token::Sign('}'), ..] => 4,
                _ => 0,
            };
            self.at += usize::from(matches!(self.tokens[self.at..], [Token::Sign('/'), Token::Text(_), ..]));
        }
        Unit::of(&words.join(" "))
    }

    pub(super) fn begins_factor(&self) -> bool {
        match self.peek() {
            Some(Token::Number(_) | Token::Symbol(_) | Token::Function(_)) => true,
            Some(Token::Command(name)) => *name != "end",
            Some(Token::Sign('|')) => self.bars == 0,
            Some(Token::Sign(sign)) => "([{⦃⌊⌈∞…".contains(*sign),
            _ => false,
        }
    }

    pub(super) fn factor(&mut self) -> Option<Expression> {
        let mut factor = self.deeper(Self::atom)?;
        for _ in 0..MAX_CHAIN {
            factor = match self.peek() {
                Some(Token::Sign('^')) => {
                    self.at += 1;
                    let exponent = self.deeper(Self::script)?;
                    Expression::Power(Box::new(factor), Box::new(exponent))
                }
                Some(Token::Sign('!')) => {
                    self.at += 1;
                    Expression::Call("!".to_owned(), vec![factor])
                }
                _ => return Some(factor),
            };
        }
        None
    }
}

pub(super) fn product_of(mut factors: Vec<Expression>) -> Option<Expression> {
    if factors.len() == 1 { factors.pop() } else { Some(Expression::Product(factors)) }
}

/// Whether a fraction is below 1, so that it may belong to a mixed number.
fn is_proper(above: &Expression, below: &Expression) -> bool {
    let integer = |side: &Expression| match side {
        Expression::Number(number) => number.as_integer(),
        _ => None,
    };
    integer(above).zip(integer(below)).is_some_and(|(above, below)| 0 < above && above < below)
}
