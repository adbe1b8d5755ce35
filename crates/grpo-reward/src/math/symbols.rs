//! What commands of LaTeX and characters mean.

/// What a command or a character is read as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    Sign(char),
    Function,
    Command(&'static str),
    Symbol(&'static str),
    /// Words.
    Text,
    /// Letters in another font.
    Font,
    /// The size of a bracket.
    Size,
    Nothing,
}

/// The meaning of a command; none for the name of a variable, such as `\alpha`.
pub(super) fn command(name: &str) -> Option<Meaning> {
    if let Some(sign) = command_for_sign(name) {
        return Some(Meaning::Sign(sign));
    }
    Some(match name {
        "sin" | "cos" | "tan" | "cot" | "sec" | "csc" | "arcsin" | "arccos" | "arctan" | "sinh" | "cosh"
        | "tanh" | "log" | "ln" | "lg" | "exp" | "min" | "max" | "gcd" | "lcm" | "det" | "dim" | "arg"
        | "sum" | "prod" | "int" | "lim" => Meaning::Function,
        "frac" | "dfrac" | "tfrac" | "cfrac" => Meaning::Command("frac"),
        "sqrt" => Meaning::Command("sqrt"),
        "binom" | "dbinom" | "tbinom" => Meaning::Command("binom"),
        "begin" => Meaning::Command("begin"),
        "end" => Meaning::Command("end"),
        "mathbb" => Meaning::Command("mathbb"),
        "overline" | "bar" => Meaning::Command("overline"),
        "vec" | "overrightarrow" => Meaning::Command("vec"),
        "hat" => Meaning::Command("hat"),
        "pmod" => Meaning::Command("pmod"),
        "text" | "textbf" | "textit" | "textrm" | "textnormal" | "textsf" | "texttt" | "mbox" | "hbox" => {
            Meaning::Text
        }
        "mathrm" | "mathbf" | "mathit" | "mathsf" | "mathtt" | "mathcal" | "bold" | "boldsymbol"
        | "operatorname" => Meaning::Font,
        "emptyset" | "varnothing" => Meaning::Symbol("∅"),
        "varepsilon" => Meaning::Symbol("epsilon"),
        "varphi" => Meaning::Symbol("phi"),
        "vartheta" => Meaning::Symbol("theta"),
        "pi" => Meaning::Symbol("pi"),
        "left" | "right" | "big" | "Big" | "bigg" | "Bigg" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl"
        | "biggr" => Meaning::Size,
        "boxed" | "fbox" | "displaystyle" | "textstyle" | "limits" | "nolimits" | "quad" | "qquad" => {
            Meaning::Nothing
        }
        _ => return None,
    })
}

fn command_for_sign(name: &str) -> Option<char> {
    Some(match name {
        "times" | "cdot" | "ast" | "bullet" => '*',
        "div" | "over" => '/',
        "pm" => '±',
        "mp" => '∓',
        "le" | "leq" | "leqslant" => '≤',
        "ge" | "geq" | "geqslant" => '≥',
        "lt" => '<',
        "gt" => '>',
        "ne" | "neq" => '≠',
        "approx" | "sim" | "simeq" | "cong" => '≈',
        "equiv" => '≡',
        "in" => '∈',
        "cup" => '∪',
        "cap" => '∩',
        "setminus" | "backslash" => '∖',
        "lbrace" => '⦃',
        "rbrace" => '⦄',
        "langle" | "lparen" => '(',
        "rangle" | "rparen" => ')',
        "lbrack" => '[',
        "rbrack" => ']',
        "lfloor" => '⌊',
        "rfloor" => '⌋',
        "lceil" => '⌈',
        "rceil" => '⌉',
        "vert" | "lvert" | "rvert" | "mid" => '|',
        "colon" => ':',
        "prime" => '\'',
        "degree" => '°',
        "infty" | "infinity" => '∞',
        "lor" | "vee" => '∨',
        "land" | "wedge" => '∧',
        "dots" | "ldots" | "cdots" | "dotsc" | "dotsb" => '…',
        _ => return None,
    })
}

/// The meaning of a character that isn't the usual one for it.
pub(super) fn sign(character: char) -> Option<Meaning> {
    Some(match character {
        '×' | '·' | '⋅' | '∗' | '∙' => Meaning::Sign('*'),
        '÷' | '∕' | '⁄' => Meaning::Sign('/'),
        '\u{2010}'..='\u{2015}' | '−' | '﹣' => Meaning::Sign('-'),
        '⩽' => Meaning::Sign('≤'),
        '⩾' => Meaning::Sign('≥'),
        '≃' | '≅' => Meaning::Sign('≈'),
        '’' | '′' => Meaning::Sign('\''),
        '⟨' => Meaning::Sign('('),
        '⟩' => Meaning::Sign(')'),
        '√' => Meaning::Command("sqrt"),
        'π' => Meaning::Symbol("pi"),
        'θ' => Meaning::Symbol("theta"),
        'α' => Meaning::Symbol("alpha"),
        'β' => Meaning::Symbol("beta"),
        'λ' => Meaning::Symbol("lambda"),
        'ℝ' => Meaning::Symbol("mathbb R"),
        '∅' => Meaning::Symbol("∅"),
        _ => return None,
    })
}
