//! Characters that let a text pass for another one. Every place that shows a device's text to a person (pages, tickets,
//! terminals) asks here, so that none of them knows fewer of these characters than another.

/// Whether a character breaks lines or terminals, turns the direction of writing around, or cannot be seen.
///
/// Joiners are among them: a name that needs one to be spelled well reads a little worse, a name that uses one to look like
/// another is found out.
pub const fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        // Controls of both halves: escape sequences begin with one of them.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Soft hyphen, grapheme joiner, marks and overrides of direction, separators of lines and paragraphs.
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        // Letters without a shape.
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}'
        // Tags: a whole alphabet that nobody sees.
        | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text in one line of a terminal: what deceives becomes `?`.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) { '?' } else { c }).collect()
}

/// As [`one_line`], with line breaks kept: for messages that have several lines by themselves.
pub fn lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_deceptive(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in
            ["pc-017", "Ørsta 2. etasje", "プリンター", "O'Brien & Sons", "a\u{a0}b", "🖨\u{fe0f}", "אבג"]
        {
            assert_eq!(one_line(name), name);
        }
    }

    #[test]
    fn r26_what_moves_a_terminal_or_hides_in_a_line_is_replaced() {
        let text = "a\u{1b}[2J\u{9b}1m\r\n\u{202e}b\u{200b}\u{2066}\u{61c}\u{feff}\u{ad}\u{3164}\u{e0041}\0";
        assert_eq!(one_line(text), "a?[2J?1m???b????????");
    }
}
