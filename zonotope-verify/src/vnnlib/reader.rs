//! The grammar: declarations and assertions, of both versions, to one condition on numbered inputs and outputs.

use std::collections::HashMap;

use super::formula::{Formula, Linear, Variable};
use super::lexer::{Lexer, Place, Token};
use super::number::{Number, Refused};
use super::{Declarations, TensorDeclaration};
use crate::error::{Error, Result};

/// Brackets inside each other. Nothing real comes near.
const MAX_DEPTH: usize = 100;

/// More inputs or outputs than any network that can be verified has.
const MAX_VARIABLES: usize = 1 << 24;

/// What a file says.
pub(super) struct Script {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// All assertions together.
    pub(super) condition: Formula,
    pub(super) notes: Vec<String>,
    pub(super) declarations: Option<Declarations>,
}

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Script> {
    let mut reader = Reader {
        lexer: Lexer::new(text),
        modern: false,
        scalars: Scalars::default(),
        tensors: None,
        assertions: Vec::new(),
        strict: None,
        strict_count: 0,
    };
    reader.script()?;
    reader.finish()
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    /// Whether the text is in version 2.
    modern: bool,
    /// What version 1 declares.
    scalars: Scalars<'a>,
    /// What version 2 declares.
    tensors: Option<Declarations>,
    assertions: Vec<Formula>,
    /// Where the first strict inequality stands, and how many there are.
    strict: Option<Place>,
    strict_count: usize,
}

/// The variables `X_i` and `Y_j` of version 1.
#[derive(Default)]
struct Scalars<'a> {
    by_name: HashMap<&'a str, Variable>,
    inputs: Extent,
    outputs: Extent,
}

/// How many indices were declared, and one more than the largest of them.
#[derive(Default, Clone, Copy)]
struct Extent {
    count: usize,
    end: usize,
}

impl Extent {
    fn include(&mut self, index: usize) {
        self.count += 1;
        self.end = self.end.max(index + 1);
    }
}

impl<'a> Reader<'a> {
    fn script(&mut self) -> Result<()> {
        let mut first = true;
        loop {
            match self.lexer.take()? {
                (Token::End, _) => return Ok(()),
                (Token::Open, _) => {
                    let (word, place) = self.word("a command")?;
                    self.command(word, place, first)?;
                    first = false;
                }
                (other, place) => {
                    return Err(place.expected(format!("`(`, found {}", other.describe())));
                }
            }
        }
    }

    fn command(&mut self, word: &'a str, place: Place, first: bool) -> Result<()> {
        match word {
            "vnnlib-version" if first => {
                let (version, at) = self.word("a version like <2.0>")?;
                let numbers = version
                    .strip_prefix('<')
                    .and_then(|rest| rest.strip_suffix('>'));
                let major = numbers
                    .and_then(|numbers| numbers.split_once('.'))
                    .map(|(major, _)| major);
                match major {
                    Some("1") => {}
                    Some("2") => self.modern = true,
                    Some(_) => return Err(at.unsupported(format!("version {version} of VNN-LIB"))),
                    None => return Err(at.expected("a version like <2.0>")),
                }
                self.close()
            }
            "declare-network" if self.modern => self.network(place),
            "declare-const" | "declare-fun" if !self.modern => self.scalar(word),
            "assert" => {
                let condition = self.formula(0)?;
                self.assertions.push(condition);
                self.close()
            }
            // Commands of SMT-LIB that say nothing about the network.
            "set-logic" | "set-info" | "set-option" | "check-sat" | "get-model" | "exit"
                if !self.modern =>
            {
                self.skip()
            }
            _ if self.modern => {
                Err(place.expected(format!("`declare-network` or `assert`, found `{word}`")))
            }
            _ => Err(place.expected(format!("`declare-const` or `assert`, found `{word}`"))),
        }
    }

    /// `declare-const NAME Real)` or `declare-fun NAME () Real)`.
    fn scalar(&mut self, word: &str) -> Result<()> {
        let (name, place) = self.word("a name")?;
        // X_01 would be a second name for X_1.
        let canonical = |digits: &str| digits == "0" || !digits.starts_with(['0', '+']);
        let index = |digits: &str| {
            let index = if canonical(digits) {
                digits.parse().ok()
            } else {
                None
            };
            index.filter(|&index| index < MAX_VARIABLES)
        };
        let variable = match name.split_once('_') {
            Some(("X", digits)) => index(digits).map(Variable::Input),
            Some(("Y", digits)) => index(digits).map(Variable::Output),
            _ => None,
        };
        let variable = variable.ok_or_else(|| {
            place.unsupported(format!("the variable `{name}`, other than X_i or Y_j"))
        })?;
        if word == "declare-fun" {
            self.expect(Token::Open)?;
            self.expect(Token::Close)?;
        }
        let (sort, at) = self.word("`Real`")?;
        if sort != "Real" {
            return Err(at.unsupported(format!("the sort `{sort}`")));
        }
        if self.scalars.by_name.insert(name, variable).is_some() {
            return Err(place.expected(format!("a name that is not declared yet, found `{name}`")));
        }
        match variable {
            Variable::Input(index) => self.scalars.inputs.include(index),
            Variable::Output(index) => self.scalars.outputs.include(index),
        }
        self.close()
    }

    /// `declare-network NAME (declare-input ..) (declare-output ..))`
    fn network(&mut self, place: Place) -> Result<()> {
        if self.tensors.is_some() {
            return Err(place.unsupported("a second network"));
        }
        self.word("a name")?;
        let (mut input, mut output) = (None, None);
        loop {
            match self.lexer.take()? {
                (Token::Close, at) => {
                    let (Some(input), Some(output)) = (input, output) else {
                        return Err(
                            at.expected("a `declare-input` and a `declare-output` before this")
                        );
                    };
                    self.tensors = Some(Declarations { input, output });
                    return Ok(());
                }
                (Token::Open, _) => {
                    let (word, at) = self.word("a declaration")?;
                    let slot = match word {
                        "declare-input" => &mut input,
                        "declare-output" => &mut output,
                        "declare-hidden" => {
                            return Err(at.unsupported("a condition on hidden values"));
                        }
                        "equal-to" | "isomorphic-to" => {
                            return Err(at.unsupported("a relation between networks"));
                        }
                        _ => {
                            return Err(at.expected(format!(
                                "`declare-input` or `declare-output`, found `{word}`"
                            )));
                        }
                    };
                    if slot.is_some() {
                        return Err(at.unsupported("a network with several inputs or outputs"));
                    }
                    *slot = Some(self.tensor()?);
                    if input
                        .as_ref()
                        .zip(output.as_ref())
                        .is_some_and(|(a, b)| a.name == b.name)
                    {
                        return Err(at.expected("different names for input and output"));
                    }
                }
                (other, at) => {
                    return Err(at.expected(format!("a declaration, found {}", other.describe())));
                }
            }
        }
    }

    /// `NAME TYPE [SHAPE])`, possibly with the name in the ONNX file.
    fn tensor(&mut self) -> Result<TensorDeclaration> {
        let (name, _) = self.word("a name")?;
        let (element, at) = self.word("a type of elements")?;
        if !matches!(
            element.to_ascii_lowercase().as_str(),
            "real" | "float32" | "float64"
        ) {
            return Err(at.unsupported(format!("the type `{element}`")));
        }
        let (_, at) = self.lexer.peek()?;
        let shape = self.indices()?;
        let count = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        if !count.is_some_and(|count| (1..=MAX_VARIABLES).contains(&count)) {
            return Err(at.unsupported(format!("a tensor with the shape {shape:?}")));
        }
        if let (Token::Quoted(_), _) = self.lexer.peek()? {
            self.lexer.take()?;
        }
        self.close()?;
        Ok(TensorDeclaration {
            name: name.to_owned(),
            element: element.to_owned(),
            shape,
        })
    }

    /// `[1,2,3]` or `[]`
    fn indices(&mut self) -> Result<Vec<usize>> {
        self.expect(Token::OpenIndex)?;
        let mut indices = Vec::new();
        if let (Token::CloseIndex, _) = self.lexer.peek()? {
            self.lexer.take()?;
            return Ok(indices);
        }
        loop {
            let (word, place) = self.word("a whole number")?;
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            let index = word.parse().ok().filter(|_| digits);
            indices.push(
                index.ok_or_else(|| place.expected(format!("a whole number, found `{word}`")))?,
            );
            match self.lexer.take()? {
                (Token::Comma, _) => {}
                (Token::CloseIndex, _) => return Ok(indices),
                (other, place) => {
                    return Err(place.expected(format!("`,` or `]`, found {}", other.describe())));
                }
            }
        }
    }

    fn formula(&mut self, depth: usize) -> Result<Formula> {
        let (token, place) = self.lexer.take()?;
        match token {
            Token::Word("true") => return Ok(Formula::All(Vec::new())),
            Token::Word("false") => return Ok(Formula::Any(Vec::new())),
            Token::Open if depth < MAX_DEPTH => {}
            Token::Open => {
                return Err(
                    place.unsupported(format!("a nesting of more than {MAX_DEPTH} brackets"))
                );
            }
            other => return Err(place.expected(format!("a condition, found {}", other.describe()))),
        }
        let (operator, place) = self.word("a comparison, `and` or `or`")?;
        match operator {
            "and" => Ok(Formula::All(self.formulas(depth + 1)?)),
            "or" => Ok(Formula::Any(self.formulas(depth + 1)?)),
            "<=" | ">=" | "<" | ">" | "=" | "==" => self.comparison(operator, place, depth + 1),
            "!=" | "distinct" | "not" | "xor" | "=>" | "ite" | "let" | "forall" | "exists" => {
                Err(place.unsupported(format!("the operator `{operator}`")))
            }
            _ => Err(place.expected(format!("a comparison, `and` or `or`, found `{operator}`"))),
        }
    }

    fn formulas(&mut self, depth: usize) -> Result<Vec<Formula>> {
        let mut parts = Vec::new();
        while !self.at_close()? {
            parts.push(self.formula(depth)?);
        }
        Ok(parts)
    }

    /// The operands of a comparison. More than two stand for the comparisons of all neighbours.
    fn comparison(&mut self, operator: &str, place: Place, depth: usize) -> Result<Formula> {
        let terms = self.terms(depth)?;
        if terms.len() < 2 {
            return Err(place.expected(format!(
                "two terms behind `{operator}`, found {}",
                terms.len()
            )));
        }
        if matches!(operator, "<" | ">") {
            self.strict.get_or_insert(place);
            self.strict_count += 1;
        }
        let mut parts = Vec::new();
        for pair in terms.windows(2) {
            let (left, right) = (pair[0].clone(), pair[1].clone());
            if matches!(operator, "<=" | "<" | "=" | "==") {
                parts.push(Formula::at_most_zero(
                    left.clone().plus(right.clone().negated()),
                    place,
                )?);
            }
            if matches!(operator, ">=" | ">" | "=" | "==") {
                parts.push(Formula::at_most_zero(right.plus(left.negated()), place)?);
            }
        }
        Ok(if parts.len() == 1 {
            parts.swap_remove(0)
        } else {
            Formula::All(parts)
        })
    }

    fn terms(&mut self, depth: usize) -> Result<Vec<Linear>> {
        let mut terms = Vec::new();
        while !self.at_close()? {
            terms.push(self.term(depth)?);
        }
        Ok(terms)
    }

    fn term(&mut self, depth: usize) -> Result<Linear> {
        let (token, place) = self.lexer.take()?;
        match token {
            Token::Word(word) => return self.operand(word, place),
            Token::Open if depth < MAX_DEPTH => {}
            Token::Open => {
                return Err(
                    place.unsupported(format!("a nesting of more than {MAX_DEPTH} brackets"))
                );
            }
            other => {
                return Err(place.expected(format!(
                    "a number, a variable or `(`, found {}",
                    other.describe()
                )));
            }
        }
        let (operator, place) = self.word("`+`, `-` or `*`")?;
        let mut terms = self.terms(depth + 1)?.into_iter();
        let Some(first) = terms.next() else {
            return Err(place.expected(format!("a term behind `{operator}`")));
        };
        match operator {
            "+" => Ok(terms.fold(first, Linear::plus)),
            "-" if terms.len() == 0 => Ok(first.negated()),
            "-" => Ok(terms.fold(first, |difference, term| difference.plus(term.negated()))),
            "*" => terms.try_fold(first, |product, factor| {
                match (product.terms.is_empty(), factor.terms.is_empty()) {
                    (_, true) => Ok(product.times(factor.constant)),
                    (true, false) => Ok(factor.times(product.constant)),
                    (false, false) => Err(place.unsupported("a product of variables")),
                }
            }),
            "/" => Err(place.unsupported("a division")),
            _ => Err(place.expected(format!("`+`, `-` or `*`, found `{operator}`"))),
        }
    }

    /// A number or a variable.
    fn operand(&mut self, word: &str, place: Place) -> Result<Linear> {
        match Number::parse(word) {
            Ok(number) => return Ok(Linear::constant(number)),
            Err(Refused::OutOfRange) => {
                let shown: String = word.chars().take(40).collect();
                return Err(
                    place.unsupported(format!("the number `{shown}`, beyond the 64-bit range,"))
                );
            }
            Err(Refused::NoNumber) => {}
        }
        let unknown = || {
            place.expected(format!(
                "a number or a declared variable, found {}",
                Token::Word(word).describe()
            ))
        };
        if !self.modern {
            return self
                .scalars
                .by_name
                .get(word)
                .map(|&variable| Linear::variable(variable))
                .ok_or_else(unknown);
        }
        let indices = match self.lexer.peek()? {
            (Token::OpenIndex, _) => self.indices()?,
            _ => Vec::new(),
        };
        let tensors = self.tensors.as_ref().ok_or_else(unknown)?;
        let (tensor, kind): (_, fn(usize) -> Variable) = if tensors.input.name == word {
            (&tensors.input, Variable::Input)
        } else if tensors.output.name == word {
            (&tensors.output, Variable::Output)
        } else {
            return Err(unknown());
        };
        let inside = indices
            .iter()
            .zip(&tensor.shape)
            .all(|(index, size)| index < size);
        if indices.len() != tensor.shape.len() || !inside {
            return Err(place.expected(format!(
                "an index within the shape {:?}, found {indices:?}",
                tensor.shape
            )));
        }
        let flat = indices
            .iter()
            .zip(&tensor.shape)
            .fold(0, |flat, (index, size)| flat * size + index);
        Ok(Linear::variable(kind(flat)))
    }

    fn finish(self) -> Result<Script> {
        let (inputs, outputs) = match &self.tensors {
            Some(tensors) => (
                tensors.input.shape.iter().product(),
                tensors.output.shape.iter().product(),
            ),
            None => (self.scalars.inputs.end, self.scalars.outputs.end),
        };
        if self.tensors.is_none() {
            self.check_scalars()?;
        }
        let mut notes = Vec::new();
        if let Some(place) = self.strict {
            let count = self.strict_count;
            notes.push(format!(
                "{count} strict inequalities, the first in line {}, are taken as `<=` or `>=`",
                place.line
            ));
        }
        Ok(Script {
            inputs,
            outputs,
            condition: Formula::All(self.assertions),
            notes,
            declarations: self.tensors,
        })
    }

    /// That the declared variables are X_0 .. X_n and Y_0 .. Y_m, each once.
    fn check_scalars(&self) -> Result<()> {
        for (extent, letter) in [(self.scalars.inputs, 'X'), (self.scalars.outputs, 'Y')] {
            if extent.count == 0 {
                return Err(Error::VnnlibSyntax {
                    line: 1,
                    column: 1,
                    expected: format!("a declaration of {letter}_0"),
                });
            }
            if extent.count != extent.end {
                let what = format!(
                    "a declaration of {} variables {letter}_0 to {letter}_{}",
                    extent.count,
                    extent.end - 1
                );
                return Err(Error::VnnlibUnsupported { line: 1, what });
            }
        }
        Ok(())
    }

    /// Skips to the bracket that closes the present one.
    fn skip(&mut self) -> Result<()> {
        let mut open = 1;
        while open > 0 {
            match self.lexer.take()? {
                (Token::Open, _) => open += 1,
                (Token::Close, _) => open -= 1,
                (Token::End, place) => return Err(place.expected("`)`, found the end of the text")),
                _ => {}
            }
        }
        Ok(())
    }

    fn word(&mut self, what: &str) -> Result<(&'a str, Place)> {
        match self.lexer.take()? {
            (Token::Word(word), place) => Ok((word, place)),
            (other, place) => Err(place.expected(format!("{what}, found {}", other.describe()))),
        }
    }

    fn expect(&mut self, expected: Token) -> Result<()> {
        match self.lexer.take()? {
            (found, _) if found == expected => Ok(()),
            (found, place) => Err(place.expected(format!(
                "{}, found {}",
                expected.describe(),
                found.describe()
            ))),
        }
    }

    fn close(&mut self) -> Result<()> {
        self.expect(Token::Close)
    }

    /// Takes the closing bracket, if it is the next token.
    fn at_close(&mut self) -> Result<bool> {
        match self.lexer.peek()? {
            (Token::Close, _) => {
                self.lexer.take()?;
                Ok(true)
            }
            (Token::End, place) => Err(place.expected("`)`, found the end of the text")),
            _ => Ok(false),
        }
    }
}
