//! The values of metadata.

/// A value of any of the format's types.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// 8 bits, from 0.
    U8(u8),
    /// 8 bits.
    I8(i8),
    /// 16 bits, from 0.
    U16(u16),
    /// 16 bits.
    I16(i16),
    /// 32 bits, from 0.
    U32(u32),
    /// 32 bits.
    I32(i32),
    /// A 32-bit floating-point number, which may be NaN or infinite.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// Text.
    String(String),
    /// A list.
    Array(Array),
    /// 64 bits, from 0.
    U64(u64),
    /// 64 bits.
    I64(i64),
    /// A 64-bit floating-point number, which may be NaN or infinite.
    F64(f64),
}

/// A list of values of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// 8 bits, from 0.
    U8(Vec<u8>),
    /// 8 bits.
    I8(Vec<i8>),
    /// 16 bits, from 0.
    U16(Vec<u16>),
    /// 16 bits.
    I16(Vec<i16>),
    /// 32 bits, from 0.
    U32(Vec<u32>),
    /// 32 bits.
    I32(Vec<i32>),
    /// 32-bit floating-point numbers.
    F32(Vec<f32>),
    /// True or false.
    Bool(Vec<bool>),
    /// Texts.
    String(Vec<String>),
    /// Lists, each of a type of its own.
    Array(Vec<Array>),
    /// 64 bits, from 0.
    U64(Vec<u64>),
    /// 64 bits.
    I64(Vec<i64>),
    /// 64-bit floating-point numbers.
    F64(Vec<f64>),
}

impl Value {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one of any width and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(value) => Some(value.into()),
            Self::I8(value) => value.try_into().ok(),
            Self::U16(value) => Some(value.into()),
            Self::I16(value) => value.try_into().ok(),
            Self::U32(value) => Some(value.into()),
            Self::I32(value) => value.try_into().ok(),
            Self::U64(value) => Some(value),
            Self::I64(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// The number, if it is a finite floating-point number; 32 bits are widened by way of the shortest decimal form.
    pub fn as_f64(&self) -> Option<f64> {
        let value = match *self {
            Self::F32(value) => value.to_string().parse().ok()?,
            Self::F64(value) => value,
            _ => return None,
        };
        value.is_finite().then_some(value)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(list) => Some(list),
            _ => None,
        }
    }

    /// The value for messages, cut short.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Array(list) => format!("a list of {} values", list.len()),
            Self::String(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            scalar => format!("{scalar:?}"),
        }
    }
}

impl Array {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(list) => list.len(),
            Self::I8(list) => list.len(),
            Self::U16(list) => list.len(),
            Self::I16(list) => list.len(),
            Self::U32(list) => list.len(),
            Self::I32(list) => list.len(),
            Self::F32(list) => list.len(),
            Self::Bool(list) => list.len(),
            Self::String(list) => list.len(),
            Self::Array(list) => list.len(),
            Self::U64(list) => list.len(),
            Self::I64(list) => list.len(),
            Self::F64(list) => list.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
