//! `.model` files of SentencePiece: a protocol-buffers message with scored pieces and the settings of the training.
//! Also turns scored pieces, from there or from GGUF, into a list.

use rustc_hash::FxHashSet;

use super::recovery::{FileToken, recover};
use super::{
    Alphabet, Format, ListOrder, ListedToken, MergeList, MergeReport, ReadOptions,
    SentencePieceSpec, TokenizerSpec,
};
use crate::error::{Error, Result};

const FORMAT: Format = Format::SentencePiece;

/// Pieces with a score this low were put in by hand after training.
const MANUAL_SCORE: f32 = -1e8;

impl MergeList {
    /// Reads a SentencePiece `.model` that was trained with `model_type=bpe`. The order of training is that of falling
    /// scores; pieces with a score of -1e8 or less, which were put in by hand, are set apart. The single characters
    /// among the pieces become the letters of the list.
    ///
    /// # Errors
    /// [`Error::NotBpe`] for other model types, [`Error::Parse`] if the message is broken or most scores are equal,
    /// [`Error::Unreachable`] if the pieces are not made by merging each other.
    pub fn from_sentencepiece_model(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read(bytes, &ReadOptions::default())
    }
}

/// A piece of a vocabulary in the sense of SentencePiece; its id is its place.
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) score: f32,
    pub(crate) kind: PieceKind,
}

/// What a piece is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// A character, or what merges made.
    Learnt,
    /// Unknown, control and user-defined pieces.
    Added,
    /// A single byte, for characters without a piece.
    Byte,
}

impl PieceKind {
    /// From the number that both SentencePiece and GGUF use.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        match number {
            1 | 5 => Some(Self::Learnt),
            2..=4 => Some(Self::Added),
            6 => Some(Self::Byte),
            _ => None,
        }
    }
}

/// The list that scored pieces describe.
pub(crate) fn from_pieces(
    format: Format,
    pieces: Vec<Piece>,
    mut spec: TokenizerSpec,
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    let mut letters = Vec::new();
    let mut added = Vec::new();
    let mut manual = Vec::new();
    let mut learnt: Vec<(f32, FileToken)> = Vec::new();
    for (id, piece) in (0..).zip(pieces) {
        let text = piece.text.as_bytes();
        if !piece.score.is_finite() {
            let reason = format!("the score of piece {id} is {}", piece.score);
            return Err(format.error(0, reason));
        }
        let mut chars = piece.text.chars();
        let first = chars.next();
        let single = chars.next().is_none();
        match (piece.kind, first) {
            (PieceKind::Byte, _) => spec.byte_fallback = true,
            (PieceKind::Added, _) => added.push(ListedToken::new(Some(id), text)),
            (PieceKind::Learnt, None) => {
                return Err(format.error(0, format!("piece {id} is empty")));
            }
            (PieceKind::Learnt, Some(letter)) if single => letters.push(letter),
            _ if piece.score <= MANUAL_SCORE => manual.push(ListedToken::new(Some(id), text)),
            _ => learnt.push((
                piece.score,
                FileToken {
                    id: Some(id),
                    text: piece.text.into_bytes(),
                },
            )),
        }
    }
    learnt.sort_by(|a, b| b.0.total_cmp(&a.0));
    let duplicate_ranks: Vec<(usize, ListedToken)> = (1..learnt.len())
        .filter(|&k| learnt[k].0 == learnt[k - 1].0)
        .map(|k| (k, ListedToken::new(learnt[k].1.id, &learnt[k].1.text)))
        .collect();
    options.check_ranks(format, learnt.len(), &duplicate_ranks)?;

    let listed = learnt.len() + manual.len();
    let mut seen: FxHashSet<Vec<u8>> = FxHashSet::default();
    let (mut tokens, mut repeated_tokens) = (Vec::with_capacity(learnt.len()), Vec::new());
    for (_, token) in learnt {
        match seen.insert(token.text.clone()) {
            true => tokens.push(token),
            false => repeated_tokens.push(ListedToken::new(token.id, &token.text)),
        }
    }
    let (list, unreachable) = recover(Alphabet::Characters, tokens, options)?;
    let mut report = MergeReport::new(format, ListOrder::Ranks, list.merges().len(), spec);
    report.listed = listed;
    report.redundant = repeated_tokens.len();
    report.unreachable = unreachable;
    report.manual = manual;
    report.duplicate_ranks = duplicate_ranks
        .into_iter()
        .map(|(_, token)| token)
        .collect();
    report.repeated_tokens = repeated_tokens;
    report.added = added;
    Ok((list.with_letters(letters), report))
}

/// Whether the bytes start with a piece: field 1, a message that starts with its own field 1.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    let first = Fields::new(bytes, 0).next();
    matches!(first, Some(Ok(Field { number: 1, value: Value::Bytes(piece, _) })) if piece.first() == Some(&0x0a))
}

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
    let mut pieces = Vec::new();
    let mut settings = SentencePieceSpec::default();
    // What a model without the field is, according to the format's definition.
    let mut model_type = 1;
    for field in Fields::new(bytes, 0) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(piece, offset)) => pieces.push(read_piece(piece, offset)?),
            (2, Value::Bytes(trainer, offset)) => {
                read_trainer(trainer, offset, &mut settings, &mut model_type)?;
            }
            (3, Value::Bytes(normalizer, offset)) => {
                read_normalizer(normalizer, offset, &mut settings)?;
            }
            _ => {}
        }
    }
    if model_type != 2 {
        let model = match model_type {
            1 => "Unigram".to_owned(),
            3 => "Word".to_owned(),
            4 => "Char".to_owned(),
            other => format!("of the unknown SentencePiece type {other}"),
        };
        return Err(Error::NotBpe { model });
    }
    let spec = TokenizerSpec {
        sentencepiece: Some(settings),
        ..TokenizerSpec::default()
    };
    from_pieces(FORMAT, pieces, spec, options)
}

fn read_piece(bytes: &[u8], offset: u64) -> Result<Piece> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Learnt,
    };
    for field in Fields::new(bytes, offset) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(text, offset)) => piece.text = utf8(text, offset)?,
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Varint(kind)) => {
                piece.kind = PieceKind::from_number(kind).ok_or_else(|| {
                    FORMAT.error(offset, format!("a piece is of the unknown type {kind}"))
                })?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn read_trainer(
    bytes: &[u8],
    offset: u64,
    settings: &mut SentencePieceSpec,
    model_type: &mut u64,
) -> Result<()> {
    for field in Fields::new(bytes, offset) {
        let field = field?;
        match (field.number, field.value) {
            (3, Value::Varint(kind)) => *model_type = kind,
            (10, Value::Fixed32(bits)) => settings.character_coverage = f32::from_bits(bits),
            (20, Value::Varint(n)) => {
                settings.max_sentencepiece_length = u32::try_from(n).unwrap_or(u32::MAX);
            }
            (21, Value::Varint(on)) => settings.split_by_unicode_script = on != 0,
            (22, Value::Varint(on)) => settings.split_by_whitespace = on != 0,
            (23, Value::Varint(on)) => settings.split_by_number = on != 0,
            (24, Value::Varint(on)) => settings.treat_whitespace_as_suffix = on != 0,
            (25, Value::Varint(on)) => settings.split_digits = on != 0,
            (26, Value::Varint(on)) => settings.allow_whitespace_only_pieces = on != 0,
            _ => {}
        }
    }
    Ok(())
}

fn read_normalizer(bytes: &[u8], offset: u64, settings: &mut SentencePieceSpec) -> Result<()> {
    for field in Fields::new(bytes, offset) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(name, offset)) => settings.normalization = utf8(name, offset)?,
            (3, Value::Varint(on)) => settings.add_dummy_prefix = on != 0,
            (4, Value::Varint(on)) => settings.remove_extra_whitespaces = on != 0,
            _ => {}
        }
    }
    Ok(())
}

fn utf8(bytes: &[u8], offset: u64) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| {
        let at = e.utf8_error().valid_up_to() as u64;
        FORMAT.error(offset + at, "a piece or name is not valid UTF-8")
    })
}

/// A field of a protocol-buffers message.
struct Field<'a> {
    number: u64,
    value: Value<'a>,
}

/// A field's value as it is on the wire.
enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    /// Bytes, and where in the file they start.
    Bytes(&'a [u8], u64),
}

/// The fields of a message one after the other; ends after the first error.
struct Fields<'a> {
    rest: &'a [u8],
    /// Where `rest` starts in the file.
    offset: u64,
}

impl<'a> Fields<'a> {
    fn new(message: &'a [u8], offset: u64) -> Self {
        Self {
            rest: message,
            offset,
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = (self.rest.split_at_checked(length)).ok_or_else(|| {
            let reason = format!("{length} bytes expected, {} left", self.rest.len());
            FORMAT.error(self.offset, reason)
        })?;
        self.rest = rest;
        self.offset += length as u64;
        Ok(taken)
    }

    /// A number of seven bits a byte, lowest first.
    fn varint(&mut self) -> Result<u64> {
        let start = self.offset;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FORMAT.error(start, "a variable-length number is longer than ten bytes"))
    }

    fn field(&mut self) -> Result<Field<'a>> {
        let start = self.offset;
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let offset = self.offset;
                Value::Bytes(self.take(length)?, offset)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            other => {
                let reason = format!("a field of the unknown wire type {other}");
                return Err(FORMAT.error(start, reason));
            }
        };
        Ok(Field {
            number: tag >> 3,
            value,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
