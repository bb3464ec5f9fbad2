//! Values as JSON, in the manner of Transit
//! (<https://github.com/cognitect/transit-format>): what JSON lacks is a string or
//! an array that begins with `~`.
//!
//! | EDN | JSON |
//! |---|---|
//! | `nil`, booleans, whole numbers | themselves |
//! | `"text"` | `"text"`; with another `~` before it where it begins with one |
//! | `:name`, `name`, `\a`, `1.5` | `"~:name"`, `"~$name"`, `"~ca"`, `"~d1.5"` |
//! | `[1 2]` | `[1, 2]` |
//! | `(1 2)`, `#{1 2}` | `["~#list", [1, 2]]`, `["~#set", [1, 2]]` |
//! | `#tag 1` | `["~#tag", "tag", 1]` |
//! | `{:a 1}`, keys that are a string in JSON | `{"~:a": 1}` |
//! | any other map | `["~#cmap", [key, value, …]]` |

use serde_json::{Map, Value as Json};

use crate::value::Value;

/// Why a JSON value is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A string or array that begins with a `~` of no meaning.
    #[error("a mark that begins with '~' and is none of ours")]
    Mark,
}

/// As JSON.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Vector(items) => items.iter().map(to_json).collect(),
        Value::List(items) => marked("list", items.iter().map(to_json).collect()),
        Value::Set(items) => marked("set", items.iter().map(to_json).collect()),
        Value::Tagged(tag, value) => {
            Json::Array(vec!["~#tag".into(), tag.as_str().into(), to_json(value)])
        }
        Value::Map(map) => {
            let fields: Option<Map<_, _>> =
                map.iter().map(|(key, value)| Some((string(key)?, to_json(value)))).collect();
            fields.map(Json::Object).unwrap_or_else(|| {
                let flat = map.iter().flat_map(|(key, value)| [to_json(key), to_json(value)]);
                marked("cmap", flat.collect())
            })
        }
        other => string(other).map_or(Json::Null, Json::String),
    }
}

/// From JSON. A number with a fraction is kept as it is written.
///
/// # Errors
///
/// When a mark is none of ours.
pub fn from_json(json: &Json) -> Result<Value, JsonError> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Decimal(number.to_string()), Value::Int)
        }
        Json::String(text) => from_string(text)?,
        Json::Object(fields) => Value::Map(
            fields
                .iter()
                .map(|(key, value)| Ok((from_string(key)?, from_json(value)?)))
                .collect::<Result<_, _>>()?,
        ),
        Json::Array(items) => return from_array(items),
    })
}

fn from_array(items: &[Json]) -> Result<Value, JsonError> {
    let mark = items.first().and_then(Json::as_str).and_then(|text| text.strip_prefix("~#"));
    let Some(mark) = mark else {
        return Ok(Value::Vector(items.iter().map(from_json).collect::<Result<_, _>>()?));
    };
    match (mark, &items[1..]) {
        ("tag", [Json::String(tag), value]) => {
            Ok(Value::Tagged(tag.clone(), Box::new(from_json(value)?)))
        }
        (_, [Json::Array(inner)]) => {
            let mut inner = inner.iter().map(from_json).collect::<Result<Vec<_>, _>>()?;
            match mark {
                "list" => Ok(Value::List(inner)),
                "set" => Ok(Value::Set(inner.into_iter().collect())),
                "cmap" if inner.len() % 2 == 0 => {
                    let mut map = std::collections::BTreeMap::new();
                    while let (Some(value), Some(key)) = (inner.pop(), inner.pop()) {
                        map.insert(key, value);
                    }
                    Ok(Value::Map(map))
                }
                _ => Err(JsonError::Mark),
            }
        }
        _ => Err(JsonError::Mark),
    }
}

fn marked(mark: &str, items: Vec<Json>) -> Json {
    Json::Array(vec![format!("~#{mark}").into(), Json::Array(items)])
}

/// What JSON says with a string.
fn string(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) if text.starts_with('~') => format!("~{text}"),
        Value::Text(text) => text.clone(),
        Value::Keyword(name) => format!("~:{name}"),
        Value::Symbol(name) => format!("~${name}"),
        Value::Char(c) => format!("~c{c}"),
        Value::Decimal(text) => format!("~d{text}"),
        _ => return None,
    })
}

fn from_string(text: &str) -> Result<Value, JsonError> {
    let Some(marked) = text.strip_prefix('~') else { return Ok(text.into()) };
    let mut rest = marked.chars();
    let mark = rest.next().ok_or(JsonError::Mark)?;
    let rest = rest.as_str();
    let mut characters = rest.chars();
    Ok(match mark {
        '~' => Value::Text(marked.to_owned()),
        ':' => Value::keyword(rest),
        '$' => Value::Symbol(rest.to_owned()),
        'd' => Value::Decimal(rest.to_owned()),
        'c' => match (characters.next(), characters.next()) {
            (Some(c), None) => Value::Char(c),
            _ => return Err(JsonError::Mark),
        },
        _ => return Err(JsonError::Mark),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_is_none_of_ours_is_refused() {
        for text in ["\"~\"", "\"~x1\"", "\"~cab\"", "[\"~#cmap\", [1]]", "[\"~#odd\", []]"] {
            let json = serde_json::from_str(text).unwrap();
            assert_eq!(from_json(&json), Err(JsonError::Mark), "{text}");
        }
    }

    #[test]
    fn text_that_looks_like_a_mark_stays_text() {
        for text in ["~", "~:a", "~#list", "~~"] {
            let value = Value::Vector(vec![text.into(), Value::Vector(vec![])]);
            assert_eq!(from_json(&to_json(&value)), Ok(value));
        }
    }
}
