//! Decoding what a peer has sent, whatever it is, with the reason of a failure.
//!
//! The `Deserialize` of a type follows the bytes: one that contains itself can be nested until the stack overflows, and a
//! sequence of nothing can be announced with any length. So every value passes this layer, which counts: levels, and the
//! elements of what has a length of its own in the message, unlike tuples and structs. It also keeps
//! what a type says of a value that it does not take, which postcard throws away.
//!
//! After `serde_stacker`, which wraps a deserializer in the same way.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// How deeply values may be nested in each other.
const DEPTH: u8 = 128;
/// Elements that a message may have beyond one for each of its bytes: those that take none.
const EMPTY_ELEMENTS: usize = 1024;

/// Decodes a value within the limits for a message of this length.
pub(super) fn decode<'de, T, D>(deserializer: D, len: usize) -> Result<T, String>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let elements = Cell::new(len.saturating_add(EMPTY_ELEMENTS));
    let limits = Limits { elements, reason: RefCell::default() };
    let limited = Limited { inner: deserializer, limits: &limits, depth: DEPTH, counts: false };
    T::deserialize(limited).map_err(|reason| reason.0)
}

/// What is left of the limits, and why decoding has failed.
struct Limits {
    elements: Cell<usize>,
    reason: RefCell<Option<String>>,
}

/// Why decoding failed.
#[derive(Debug)]
struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

impl Error for Reason {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Limits {
    /// On the way in: the error of the layer below cannot carry the reason, which is put aside.
    fn put<E: Error>(&self, reason: Reason) -> E {
        let error = E::custom(&reason);
        self.reason.replace(Some(reason.0));
        error
    }

    /// On the way out: the reason that was put aside, or else that of the layer below.
    fn take<E: Error>(&self, error: &E) -> Reason {
        Reason(self.reason.take().unwrap_or_else(|| error.to_string()))
    }

    /// There is one element more, if it `counts`.
    fn element(&self, counts: bool) -> Result<(), Reason> {
        if !counts {
            return Ok(());
        }
        match self.elements.get().checked_sub(1) {
            Some(left) => {
                self.elements.set(left);
                Ok(())
            }
            None => Err(Reason("it has more elements than bytes".to_owned())),
        }
    }
}

/// Anything of serde, with the limits for what is in it.
struct Limited<'l, T> {
    inner: T,
    limits: &'l Limits,
    /// How many levels there may be below.
    depth: u8,
    /// Its length is in the message, so that its elements count.
    counts: bool,
}

impl<'l, T> Limited<'l, T> {
    /// Something else on the same level.
    fn with<U>(&self, inner: U) -> Limited<'l, U> {
        Limited { inner, limits: self.limits, depth: self.depth, counts: false }
    }

    /// The visitor of something that has a length of its own.
    fn counted<U>(&self, inner: U) -> Limited<'l, U> {
        Limited { counts: true, ..self.with(inner) }
    }

    /// The limits of the next level.
    fn below<U>(&self, inner: U) -> Result<Limited<'l, U>, Reason> {
        let too_deep = || Reason(format!("it is nested more than {DEPTH} levels deep"));
        let depth = self.depth.checked_sub(1).ok_or_else(too_deep)?;
        Ok(Limited { inner, limits: self.limits, depth, counts: self.counts })
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*)),* $(,)?) => {$(
        fn $name<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Reason> {
            let visitor = self.with(visitor);
            self.inner.$name($($argument,)* visitor).map_err(|error| self.limits.take(&error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = Reason;

    forward! {
        deserialize_any(), deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(),
        deserialize_i64(), deserialize_i128(), deserialize_u8(), deserialize_u16(), deserialize_u32(),
        deserialize_u64(), deserialize_u128(), deserialize_f32(), deserialize_f64(), deserialize_char(),
        deserialize_str(), deserialize_string(), deserialize_bytes(), deserialize_byte_buf(),
        deserialize_option(), deserialize_unit(), deserialize_identifier(),
        deserialize_ignored_any(), deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str), deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        let visitor = self.counted(visitor);
        self.inner.deserialize_seq(visitor).map_err(|error| self.limits.take(&error))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        let visitor = self.counted(visitor);
        self.inner.deserialize_map(visitor).map_err(|error| self.limits.take(&error))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$name(value).map_err(|reason| self.limits.put(reason))
        }
    )*};
}

macro_rules! visit_compound {
    ($($name:ident: $trait:ident),* $(,)?) => {$(
        fn $name<T: $trait<'de>>(self, inner: T) -> Result<V::Value, T::Error> {
            let below = self.below(inner).map_err(|reason| self.limits.put(reason))?;
            self.inner.$name(below).map_err(|reason| self.limits.put(reason))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    visit_compound! {
        visit_some: Deserializer, visit_newtype_struct: Deserializer, visit_seq: SeqAccess, visit_map: MapAccess,
        visit_enum: EnumAccess,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none().map_err(|reason| self.limits.put(reason))
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit().map_err(|reason| self.limits.put(reason))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer).map_err(|reason| self.limits.put(reason))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<'_, A> {
    type Error = Reason;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Reason> {
        let seed = self.with(seed);
        let element = self.inner.next_element_seed(seed).map_err(|error| self.limits.take(&error))?;
        element.map(|element| self.limits.element(self.counts).map(|()| element)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<'_, A> {
    type Error = Reason;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Reason> {
        let seed = self.with(seed);
        let key = self.inner.next_key_seed(seed).map_err(|error| self.limits.take(&error))?;
        key.map(|key| self.limits.element(self.counts).map(|()| key)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reason> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed).map_err(|error| self.limits.take(&error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'l, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'l, A> {
    type Error = Reason;
    type Variant = Limited<'l, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Reason> {
        let (seed, rest) = (self.with(seed), self.with(()));
        let (value, variant) = self.inner.variant_seed(seed).map_err(|error| self.limits.take(&error))?;
        Ok((value, rest.with(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = Reason;

    fn unit_variant(self) -> Result<(), Reason> {
        self.inner.unit_variant().map_err(|error| self.limits.take(&error))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Reason> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed).map_err(|error| self.limits.take(&error))
    }

    forward! { tuple_variant(len: usize), struct_variant(fields: &'static [&'static str]) }
}

#[cfg(test)]
mod tests;
