//! Values of an operation: the data of EDN.

use std::collections::{BTreeMap, BTreeSet};

/// What EDN can say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `nil`.
    #[default]
    Nil,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// Any other number, as it is written: nothing here calculates with it.
    Decimal(String),
    /// `\a`.
    Char(char),
    /// `"text"`.
    Text(String),
    /// `:name`, without its colon.
    Keyword(String),
    /// `name`.
    Symbol(String),
    /// `(1 2)`.
    List(Vec<Value>),
    /// `[1 2]`.
    Vector(Vec<Value>),
    /// `#{1 2}`.
    Set(BTreeSet<Value>),
    /// `{:a 1}`.
    Map(BTreeMap<Value, Value>),
    /// `#tag value`.
    Tagged(String, Box<Value>),
}

impl Value {
    /// `:name`.
    #[must_use]
    pub fn keyword(name: &str) -> Self {
        Self::Keyword(name.to_owned())
    }

    /// A map with keywords as keys.
    #[must_use]
    pub fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Map(fields.into_iter().map(|(name, value)| (Self::keyword(name), value)).collect())
    }

    /// The field `:name` of a map.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(&Self::keyword(name)),
            _ => None,
        }
    }

    /// Sets the field `:name` of a map; what is no map becomes one.
    pub fn set_field(&mut self, name: &str, value: Self) {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(BTreeMap::new());
        }
        if let Self::Map(map) = self {
            map.insert(Self::keyword(name), value);
        }
    }

    /// Text, or the name of a keyword or symbol.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Keyword(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number, not below zero.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        self.int().and_then(|number| number.try_into().ok())
    }

    /// Elements of a list or vector, in order.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Vector(items) => Some(items),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    /// Numbers above 2^63 are kept as they are written.
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Decimal(number.to_string()), Self::Int)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Vector(items.into_iter().map(Into::into).collect())
    }
}
