//! Reading a JSON object field by field, with the path of the field at fault in every refusal.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::ApiError;

/// An object of a client message and the path that leads to it.
#[derive(Clone)]
pub(crate) struct Fields<'v> {
    map: &'v Map<String, Value>,
    path: String,
}

impl<'v> Fields<'v> {
    /// The object at a path; an empty path is the message itself.
    pub(crate) fn of(value: &'v Value, path: impl Into<String>) -> Result<Self, ApiError> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(ApiError::invalid_type(path, "an object")),
        }
    }

    /// The path of a field.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The first field outside the given list is refused.
    pub(crate) fn allow_only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ApiError::unknown_parameter(self.path_of(key))),
            None => Ok(()),
        }
    }

    /// The field as it stands; `null` is a value.
    pub(crate) fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key)
    }

    /// The field unless it is missing or `null`.
    pub(crate) fn value(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the field is there and `null`.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(typed) => Ok(Some(typed)),
                None => Err(ApiError::invalid_type(self.path_of(key), expected)),
            },
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'v str>, ApiError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn required_text(&self, key: &str) -> Result<&'v str, ApiError> {
        self.text(key)?.ok_or_else(|| ApiError::missing_parameter(self.path_of(key)))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        self.typed(key, "a boolean", Value::as_bool)
    }

    pub(crate) fn list(&self, key: &str) -> Result<Option<&'v [Value]>, ApiError> {
        self.typed(key, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>, ApiError> {
        self.value(key).map(|value| Self::of(value, self.path_of(key))).transpose()
    }

    /// A whole number in a range; a client that computes with floating point may send decimals, which are cut.
    pub(crate) fn whole(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let (least, most) = (*range.start(), *range.end());
        let Some(number) = self.typed(key, "an integer", Value::as_f64)? else { return Ok(None) };
        // A cast saturates at zero, so the sign is looked at before.
        if number <= -1.0 || !range.contains(&(number as u64)) {
            let reason = format!("expected a number between {least} and {most}.");
            return Err(ApiError::invalid_value(self.path_of(key), reason));
        }
        Ok(Some(number as u64))
    }

    pub(crate) fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(number) = self.typed(key, "a number", Value::as_f64)? else { return Ok(None) };
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let reason = format!("expected a number between {} and {}.", range.start(), range.end());
        Err(ApiError::invalid_value(self.path_of(key), reason))
    }

    pub(crate) fn one_of(&self, key: &str, words: &[&str]) -> Result<Option<&'v str>, ApiError> {
        match self.text(key)? {
            Some(text) if !words.contains(&text) => {
                let reason = format!("supported values are '{}'.", words.join("', '"));
                Err(ApiError::invalid_value(self.path_of(key), reason))
            }
            text => Ok(text),
        }
    }
}
