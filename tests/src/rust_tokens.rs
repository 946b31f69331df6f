//! Rust source as words and signs, comments and literals left out: enough to ask "is `unsafe` written here?" without
//! being fooled by a sentence or a string that says so.

/// A word (identifier, keyword, number, lifetime) or one sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Line it begins on, from 1.
    pub line: usize,
    /// As written; a raw identifier without its `r#`.
    pub text: String,
}

/// All tokens of `source`, in order. Source that does not lex (an open string) ends early and is no error here: the
/// compiler says so better.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(c) = lexer.peek(0) {
        let line = lexer.line;
        match (c, lexer.peek(1)) {
            ('/', Some('/')) => lexer.skip_while(|c| c != '\n'),
            ('/', Some('*')) => lexer.skip_block_comment(),
            ('"', _) => lexer.skip_quoted('"'),
            ('\'', Some(next)) if next == '\\' || lexer.peek(2) == Some('\'') => lexer.skip_quoted('\''),
            (c, _) if is_word(c) => {
                let word = lexer.word();
                match (word.as_str(), lexer.peek(0)) {
                    ("r" | "br" | "cr", Some('"' | '#')) if lexer.skip_raw_string() => {}
                    ("r", Some('#')) => lexer.step(),
                    ("b" | "c", Some('"')) => lexer.skip_quoted('"'),
                    ("b", Some('\'')) => lexer.skip_quoted('\''),
                    _ => found.push(Token { line, text: word }),
                }
            }
            (c, _) => {
                lexer.step();
                if !c.is_whitespace() {
                    found.push(Token { line, text: c.into() });
                }
            }
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.step();
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        self.skip_while(is_word);
        self.chars[start..self.at].iter().collect()
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            let next = self.peek(1);
            match (c, next) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.step();
            self.step();
            if depth == 0 {
                return;
            }
        }
    }

    /// From the opening quote past the closing one; a backslash hides what follows it.
    fn skip_quoted(&mut self, quote: char) {
        self.step();
        while let Some(c) = self.peek(0) {
            self.step();
            if c == '\\' {
                self.step();
            } else if c == quote {
                return;
            }
        }
    }

    /// After `r`: `#`s, quote, anything, quote, as many `#`s. False, and nothing skipped, if it is a raw identifier.
    fn skip_raw_string(&mut self) -> bool {
        let hashes = (0..).take_while(|&i| self.peek(i) == Some('#')).count();
        if self.peek(hashes) != Some('"') {
            return false;
        }
        self.at += hashes + 1;
        while let Some(c) = self.peek(0) {
            self.step();
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                self.at += hashes;
                return true;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_left_out() {
        let cases = [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            (r#"a "b \" c" d"#, "a d"),
            ("a r#\"b \" c\"# d", "a d"),
            ("a br\"b\" b\"c\" c\"d\" e", "a e"),
            (r"a '\'' 'b' b'c' '\\' d", "a d"),
            ("fn f<'a>(x: &'a str)", "fn f < ' a > ( x : & ' a str )"),
            ("r#unsafe r#type", "unsafe type"),
            ("\"open", ""),
            ("/* open", ""),
            ("r#\"open", ""),
            ("'", "'"),
        ];
        for (source, want) in cases {
            let got: Vec<String> = tokens(source).into_iter().map(|t| t.text).collect();
            assert_eq!(got.join(" "), want, "{source}");
        }
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let source = "a\n\"x\ny\"\n/* \n */ r\"\n\" unsafe";
        assert_eq!(tokens(source).last(), Some(&Token { line: 6, text: "unsafe".into() }));
    }
}
