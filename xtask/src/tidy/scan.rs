//! Reading Rust text just well enough for house rules: comments and literals blanked, brackets matched, words found.
//!
//! A parser would be exact, but it would refuse a file that does not parse yet, and tidy should still say what it sees.

/// The code with the contents of comments, strings and characters replaced by spaces: same length, same lines.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if !continues_word(bytes, at) || is_prefixed_raw(bytes, at) => {
                match raw_string_end(bytes, at) {
                    Some(end) => end,
                    None => at + 1,
                }
            }
            b'\'' => char_end(bytes, at).unwrap_or(at + 1),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    // Only whole literals and comments were blanked, byte by byte, so what is left is still UTF-8.
    String::from_utf8_lossy(&code).into_owned()
}

fn continues_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word_byte(bytes[at - 1])
}

/// `br"..."` and `cr"..."`: the `r` follows a one-letter prefix.
fn is_prefixed_raw(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'b' | b'c') && (at < 2 || !is_word_byte(bytes[at - 2]))
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| from + n)
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = open + 1;
    let found = bytes[body..].windows(close.len()).position(|window| window == close);
    Some(found.map_or(bytes.len(), |n| body + n + close.len()))
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes.get(at + 3..)?.iter().position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    // One character of up to four bytes, then the closing quote.
    (at + 2..=at + 5)
        .find(|end| {
            bytes.get(*end) == Some(&b'\'')
                && std::str::from_utf8(&bytes[at + 1..*end]).is_ok_and(|s| s.chars().count() == 1)
        })
        .map(|end| end + 1)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The offsets at which `word` stands as a whole word.
pub(super) fn find_word(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let end = at + word.len();
            !continues_word(bytes, *at) && !bytes.get(end).is_some_and(|byte| is_word_byte(*byte))
        })
        .collect()
}

/// What stands between the bracket that opens at or after `from` (only blanks and `!` before it) and its partner.
pub(super) fn bracketed(code: &str, from: usize) -> Option<&str> {
    let bytes = code.as_bytes();
    let open =
        from + bytes.get(from..)?.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'!')?;
    if !matches!(bytes[open], b'(' | b'[' | b'{') {
        return None;
    }
    let mut depth = 0_usize;
    for (n, byte) in bytes[open..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return code.get(open + 1..open + n);
                }
            }
            _ => {}
        }
    }
    None
}

/// The 1-based line of an offset.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        for (text, kept, gone) in [
            ("let a = 1; // secret", "let a = 1;", "secret"),
            ("/* secret /* secret */ secret */ fn f() {}", "fn f() {}", "secret"),
            (r#"call("secret \" secret"); next()"#, "next()", "secret"),
            ("call(r#\"secret \" secret\"#); next()", "next()", "secret"),
            ("call(br\"secret\\\"); next()", "next()", "secret"),
            ("let c = '\"'; let d = '\\''; next()", "next()", "'"),
            ("fn f<'a>(x: &'a str) -> &'a str { x }", "fn f<'a>(x: &'a str) -> &'a str { x }", "secret"),
            ("let attr = \"secret\"; attr", "attr", "secret"),
            ("let c = 'é'; let s = \"secret\";", "let s =", "secret"),
        ] {
            let code = code_only(text);
            assert_eq!(code.len(), text.len(), "{text}");
            assert!(code.contains(kept), "{text} -> {code}");
            assert!(!code.contains(gone), "{text} -> {code}");
        }
    }

    #[test]
    fn lines_survive_blanking() {
        let code = code_only("/* a\nb */\nlet s = \"c\nd\";\nlast");
        assert_eq!(line_at(&code, code.find("last").unwrap()), 5);
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(find_word("unsafe_code unsafe {} not_unsafe", "unsafe"), [12]);
    }

    #[test]
    fn bracketed_text_ends_at_its_partner() {
        assert_eq!(bracketed("cfg!(all(unix, x)) y", 3), Some("all(unix, x)"));
        assert_eq!(bracketed("cfg x (y)", 3), None);
        assert_eq!(bracketed("cfg(never closed", 3), None);
    }
}
