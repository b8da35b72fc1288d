//! Texts of others as people may see them: nothing in one is an order to a terminal, and nothing is there that nobody sees.

use std::borrow::Cow;

/// A text in which nothing is an order to a terminal: such characters are written as `\x1b` or `\u{202e}`. Line ends and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_order) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match u32::from(letter) {
            _ if !is_order(letter) => shown.push(letter),
            number @ ..=0xff => shown.push_str(&format!("\\x{number:02x}")),
            number => shown.push_str(&format!("\\u{{{number:x}}}")),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, those that turn the direction of what follows, so that it reads otherwise than it is, and those that nobody
/// sees, so that two names look alike.
#[must_use]
pub fn is_order(letter: char) -> bool {
    is_unseen(letter) || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

/// Characters of formatting (Unicode's class Cf, with the separators of lines and what is blank or ignored though it is a letter or a mark).
fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_that_others_wrote_is_an_order_to_a_terminal() {
        let text = "a\x1b[2Jb\x07\u{9b}31m\r\u{202e}c\x7f";
        assert_eq!(visible(text), r"a\x1b[2Jb\x07\x9b31m\x0d\u{202e}c\x7f");
        assert_eq!(visible("grün\t\n— ✓"), "grün\t\n— ✓");
    }

    #[test]
    fn two_names_that_look_alike_are_told_apart() {
        for unseen in [
            '\u{200b}',
            '\u{200d}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{2028}',
            '\u{e0041}',
            '\u{3164}',
        ] {
            let shown = visible(&format!("a{unseen}b")).into_owned();
            assert_eq!(
                shown,
                format!(
                    "a\\{}b",
                    match u32::from(unseen) {
                        number @ ..=0xff => format!("x{number:02x}"),
                        number => format!("u{{{number:x}}}"),
                    }
                )
            );
        }
    }
}
