//! The templates: the question, and how it is worked out.

use super::working::Working;
use crate::dice::Dice;

/// Draws numbers, works out the answer as the last step, and returns the question.
pub(super) type Template = fn(&mut Dice, &mut Working) -> String;

/// What problems to learn from, and to be tested on, are made of.
pub(super) const KNOWN: [Template; 32] = [
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 12), d.number(2, 12));
        w.times(a, b, "dollars");
        format!("{n} buys {a} {t} for {b} dollars each. How many dollars does {n} pay?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(5, 60), d.number(3, 30));
        w.plus(a, b, t);
        format!("{n} has {a} {t} and finds {b} more. How many {t} does {n} have now?")
    },
    |d, w| {
        let (n, m, t, a) = (d.name(), d.name(), d.thing(), d.number(20, 80));
        let b = d.number(3, a - 3);
        w.minus(a, b, t);
        format!("{n} has {a} {t} and gives {b} to {m}. How many {t} does {n} have left?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 12), d.number(2, 10));
        w.over(a * b, a, t);
        format!("{n} shares {} {t} equally among {a} friends. How many {t} does each friend get?", a * b)
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(3, 10), d.number(2, 9));
        let all = a * b + d.number(1, a - 1);
        let packed = w.times(b, a, t);
        w.minus(all, packed, t);
        format!("{n} packs {all} {t} into bags of {a}. How many {t} do not fill a bag?")
    },
    |d, w| {
        let (n, t, a, b, c) = (d.name(), d.thing(), d.number(2, 9), d.number(2, 10), d.number(2, 9));
        let boxed = w.times(a, b, t);
        w.plus(boxed, c, t);
        format!("{n} has {a} boxes of {b} {t} and {c} loose {t}. How many {t} does {n} have in all?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 9), d.number(2, 9));
        let paid = a * b + d.number(1, 20);
        let cost = w.times(a, b, "dollars");
        w.minus(paid, cost, "dollars");
        format!(
            "{n} buys {a} {t} for {b} dollars each and pays with {paid} dollars. How many dollars does {n} get back?"
        )
    },
    |d, w| {
        let (n, m, t, a, b) = (d.name(), d.name(), d.thing(), d.number(2, 15), d.number(2, 6));
        let more = w.times(b, a, t);
        w.plus(a, more, t);
        format!("{n} has {a} {t} and {m} has {b} times as many. How many {t} do they have together?")
    },
    |d, w| {
        let (n, m, t, a, b) = (d.name(), d.name(), d.thing(), d.number(3, 40), d.number(2, 20));
        let more = w.plus(a, b, t);
        w.plus(a, more, t);
        format!("{n} has {a} {t} and {m} has {b} more than {n}. How many {t} do they have together?")
    },
    |d, w| {
        let (n, m, t, a) = (d.name(), d.name(), d.thing(), d.number(15, 50));
        let b = d.number(2, a - 5);
        let fewer = w.minus(a, b, t);
        w.plus(a, fewer, t);
        format!("{n} has {a} {t} and {m} has {b} fewer than {n}. How many {t} do they have together?")
    },
    |d, w| {
        let (n, a, b) = (d.name(), d.number(3, 20), d.number(2, 7));
        w.times(a, b, "pages");
        format!("{n} reads {a} pages a day. How many pages does {n} read in {b} days?")
    },
    |d, w| {
        let (n, a, b) = (d.name(), d.number(3, 15), d.number(2, 6));
        let pages = a * b + d.number(5, 40);
        let read = w.times(a, b, "pages");
        w.minus(pages, read, "pages");
        format!("A book has {pages} pages. {n} reads {a} pages a day for {b} days. How many pages are left?")
    },
    |d, w| {
        let (n, a, b, c) = (d.name(), d.number(5, 15), d.number(2, 6), d.number(2, 6));
        let hours = w.plus(b, c, "hours");
        w.times(hours, a, "dollars");
        format!(
            "{n} earns {a} dollars an hour and works {b} hours on Monday and {c} hours on Tuesday. How many dollars does {n} earn?"
        )
    },
    |d, w| {
        let (n, a, b, c) = (d.name(), d.number(2, 12), d.number(2, 12), d.number(2, 6));
        let daily = w.plus(a, b, "minutes");
        w.times(daily, c, "minutes");
        format!(
            "{n} walks for {a} minutes and runs for {b} minutes every day. How many minutes is that in {c} days?"
        )
    },
    |d, w| {
        let (a, b) = (d.number(2, 10), d.number(3, 12));
        w.over(a * b, a, "children");
        format!("{} children form {a} teams of the same size. How many children are in each team?", a * b)
    },
    |d, w| {
        let (a, b, c) = (d.number(2, 10), d.number(3, 12), d.number(2, 6));
        let team = w.over(a * b, a, "children");
        w.plus(team, c, "children");
        format!(
            "{} children form {a} teams of the same size, and then {c} more children join each team. How many children are in each team?",
            a * b
        )
    },
    |d, w| {
        let (n, t, a) = (d.name(), d.thing(), d.number(4, 40));
        w.over(2 * a, 2, t);
        format!("{n} has {} {t} and sells half of them. How many {t} are left?", 2 * a)
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 12), d.number(2, 9));
        let sold = w.over(2 * a, 2, t);
        w.times(sold, b, "dollars");
        format!(
            "{n} has {} {t} and sells half of them for {b} dollars each. How many dollars does {n} get?",
            2 * a
        )
    },
    |d, w| {
        let (n, a, b) = (d.name(), d.number(4, 12), d.number(3, 9));
        let c = d.number(2, a * b - 2);
        let saved = w.times(a, b, "dollars");
        w.minus(saved, c, "dollars");
        format!(
            "{n} saves {a} dollars a week for {b} weeks and then spends {c} dollars. How many dollars does {n} have left?"
        )
    },
    |d, w| {
        let (n, t, a, b, c) = (d.name(), d.thing(), d.number(2, 9), d.number(2, 9), d.number(5, 30));
        let cost = w.times(a, b, "dollars");
        w.plus(cost, c, "dollars");
        format!(
            "{n} buys {a} {t} for {b} dollars each and a hat for {c} dollars. How many dollars does {n} pay?"
        )
    },
    |d, w| {
        let (a, b) = (d.number(3, 10), d.number(3, 10));
        let c = d.number(2, a * b - 2);
        let planted = w.times(a, b, "flowers");
        w.minus(planted, c, "flowers");
        format!("A garden has {a} rows of {b} flowers. {c} flowers are cut. How many flowers are left?")
    },
    |d, w| {
        let (n, m, a, b, c) = (d.name(), d.name(), d.number(5, 40), d.number(2, 15), d.number(2, 12));
        let older = w.plus(a, b, "years");
        w.plus(older, c, "years");
        format!("{n} is {a} years old and {m} is {b} years older. How many years old is {m} in {c} years?")
    },
    |d, w| {
        let (n, t, a, b, c) = (d.name(), d.thing(), d.number(3, 30), d.number(3, 30), d.number(3, 30));
        let two = w.plus(a, b, t);
        w.plus(two, c, t);
        format!(
            "{n} picks {a} {t} on Monday, {b} on Tuesday and {c} on Friday. How many {t} does {n} have in all?"
        )
    },
    |d, w| {
        let (n, a) = (d.name(), d.number(20, 60));
        let b = d.number(2, 9);
        let c = d.number(2, a - b - 3);
        let rest = w.minus(a, b, "muffins");
        w.minus(rest, c, "muffins");
        format!("{n} bakes {a} muffins, eats {b} and sells {c}. How many muffins are left?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 10), d.number(2, 12));
        w.over(a * b, a, "boxes");
        format!("{n} puts {} {t} into boxes of {a}. How many boxes does {n} fill?", a * b)
    },
    |d, w| {
        let (n, m, t, a, b) = (d.name(), d.name(), d.thing(), d.number(2, 6), d.number(3, 12));
        let first = d.number(2, a * b - 2);
        let all = w.plus(first, a * b - first, t);
        w.over(all, a, t);
        format!(
            "{n} has {first} {t} and {m} has {}. They share them equally among {a} friends. How many {t} does each friend get?",
            a * b - first
        )
    },
    |d, w| {
        let a = d.number(15, 50);
        let (b, c) = (d.number(2, a - 5), d.number(2, 20));
        let stayed = w.minus(a, b, "people");
        w.plus(stayed, c, "people");
        format!(
            "There are {a} people on a bus. {b} get off and {c} get on. How many people are on the bus now?"
        )
    },
    |d, w| {
        let (a, b) = (d.number(2, 15), d.number(2, 12));
        let bikes = w.times(a, 2, "wheels");
        let cars = w.times(b, 4, "wheels");
        w.plus(bikes, cars, "wheels");
        format!(
            "A shop has {a} bikes with 2 wheels and {b} cars with 4 wheels. How many wheels is that in all?"
        )
    },
    |d, w| {
        let (n, a, b, c) = (d.name(), d.number(2, 9), d.number(2, 10), d.number(5, 30));
        let missing = w.minus(a * b + c, c, "dollars");
        w.over(missing, a, "weeks");
        format!(
            "{n} has {c} dollars and saves {a} dollars a week. A game costs {} dollars. How many weeks does {n} save?",
            a * b + c
        )
    },
    |d, w| {
        let (t, a, b, c) = (d.thing(), d.number(2, 9), d.number(2, 9), d.number(2, 9));
        let price = w.over(a * b, a, "dollars");
        w.times(price, c, "dollars");
        format!("{a} {t} cost {} dollars. How many dollars do {c} {t} cost?", a * b)
    },
    |d, w| {
        let (n, a, b, c) = (d.name(), d.number(3, 12), d.number(2, 9), d.number(2, 20));
        let ridden = w.times(a, b, "miles");
        w.plus(ridden, c, "miles");
        format!(
            "{n} rides {a} miles an hour for {b} hours and then walks {c} miles. How many miles is that in all?"
        )
    },
    |d, w| {
        let (n, t, a) = (d.name(), d.thing(), d.number(5, 40));
        let b = d.number(2, 2 * a - 2);
        let doubled = w.times(a, 2, t);
        w.minus(doubled, b, t);
        format!("{n} has {a} {t}, gets as many again and then loses {b}. How many {t} are left?")
    },
];

/// What problems of a kind never learned from are made of.
pub(super) const HELD_OUT: [Template; 8] = [
    |d, w| {
        let (n, m, t, a, b) = (d.name(), d.name(), d.thing(), d.number(2, 9), d.number(3, 10));
        let c = d.number(2, a * b - 2);
        let boxed = w.times(a, b, t);
        w.minus(boxed, c, t);
        format!("{n} has {a} boxes of {b} {t} and gives {c} to {m}. How many {t} does {n} have left?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(10, 40), d.number(3, 20));
        let c = d.number(2, a + b - 2);
        let found = w.plus(a, b, t);
        w.minus(found, c, t);
        format!("{n} has {a} {t}, finds {b} more and then loses {c}. How many {t} are left?")
    },
    |d, w| {
        let (n, a, b) = (d.name(), d.number(5, 15), d.number(2, 8));
        let c = d.number(2, a * b - 2);
        let earned = w.times(a, b, "dollars");
        w.minus(earned, c, "dollars");
        format!(
            "{n} earns {a} dollars an hour and works {b} hours. {n} buys a hat for {c} dollars. How many dollars are left?"
        )
    },
    |d, w| {
        let (n, m, t, a, b) = (d.name(), d.name(), d.thing(), d.number(5, 40), d.number(5, 40));
        w.plus(a, b, t);
        format!("{n} has {a} {t} and {m} has {b}. How many {t} do they have together?")
    },
    |d, w| {
        let (n, t, a, b) = (d.name(), d.thing(), d.number(2, 9), d.number(2, 9));
        let each = w.over(a * b, a, t);
        let c = d.number(1, 20);
        w.plus(each, c, t);
        format!(
            "{n} shares {} {t} equally among {a} friends. One friend has {c} {t} already. How many {t} does this friend have now?",
            a * b
        )
    },
    |d, w| {
        let (n, t, a, b, c) = (d.name(), d.thing(), d.number(3, 15), d.number(3, 15), d.number(2, 5));
        let daily = w.plus(a, b, t);
        w.times(daily, c, t);
        format!("{n} picks {a} {t} and finds {b} {t} every day. How many {t} does {n} have in {c} days?")
    },
    |d, w| {
        let (n, a, b, c) = (d.name(), d.number(5, 30), d.number(5, 30), d.number(5, 30));
        let two = w.plus(a, b, "dollars");
        w.plus(two, c, "dollars");
        format!(
            "{n} buys a hat for {a} dollars, a game for {b} dollars and a book for {c} dollars. How many dollars does {n} pay?"
        )
    },
    |d, w| {
        let (a, b) = (d.number(3, 9), d.number(3, 9));
        let c = d.number(2, 20);
        let seats = w.times(a, b, "people");
        w.plus(seats, c, "people");
        format!("A bus has {a} rows of {b} people, and {c} people stand. How many people are on the bus?")
    },
];
