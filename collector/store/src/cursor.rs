//! Cursors of pages: the ordering key of the last row, so that rows inserted meanwhile neither repeat nor hide others.
//!
//! To callers a cursor is opaque text that is safe inside an address: the key as JSON, in hexadecimal.

use crate::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;

/// The longest cursor that is looked at; ours are far shorter.
const MAX_CHARS: usize = 4096;

/// The cursor that continues after the row with this ordering key.
pub(crate) fn encode<K: Serialize>(key: &K) -> Result<String, StoreError> {
    let json = serde_json::to_vec(key)
        .map_err(|error| StoreError::Invalid { detail: format!("a page cannot end here: {error}") })?;
    let mut text = String::with_capacity(json.len() * 2);
    for byte in json {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// The ordering key inside a cursor that came from outside.
pub(crate) fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K, StoreError> {
    let refused =
        || StoreError::Invalid { detail: "the page cursor is not one that was given out".to_owned() };
    if cursor.len() > MAX_CHARS || !cursor.len().is_multiple_of(2) || !cursor.is_ascii() {
        return Err(refused());
    }
    let mut json = Vec::with_capacity(cursor.len() / 2);
    for at in (0..cursor.len()).step_by(2) {
        json.push(u8::from_str_radix(&cursor[at..at + 2], 16).map_err(|_| refused())?);
    }
    serde_json::from_slice(&json).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_key_it_was_made_of() {
        let key = (3_i64, i64::MAX, "bjørn's pc".to_owned());
        assert_eq!(decode::<(i64, i64, String)>(&encode(&key).unwrap()).unwrap(), key);
    }

    #[test]
    fn invented_cursors_are_refused() {
        for bad in ["", "x", "zz", "é", "5b", &"0".repeat(5000)] {
            assert!(
                matches!(decode::<(i64, i64)>(bad), Err(StoreError::Invalid { .. })),
                "{bad:?} was accepted"
            );
        }
    }
}
