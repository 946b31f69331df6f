//! Which of the bytes that come from a board are ours.
//!
//! A login shell may print a banner, a program may lie with its exit code, and ssh says 255 for a lost connection, for a
//! shell killed by a signal and for an exit with 255. So a step is believed only by lines that carry its nonce:
//!
//! ```text
//! <banner>            ignored
//! <nonce> begin
//! <output>
//! <nonce> end 0       or: timeout 0, stopped 0, held
//! ```

use std::hash::{BuildHasher, Hasher, RandomState};

/// How a step says that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code; 128 + n for signal n.
    By(i32),
    /// The board killed it at its deadline.
    Timeout,
    /// It was killed because we asked for it, or the connection ended.
    Stopped,
}

/// What a piece of output is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not ours: a banner.
    Noise,
    /// The step has begun.
    Begin,
    /// The lock is held.
    Held,
    /// Output of the step.
    Content,
    /// The step has ended.
    End(Ended),
}

/// Tells our lines from others.
#[derive(Debug)]
pub(crate) struct Frames {
    nonce: String,
    begun: bool,
    at_line_start: bool,
}

impl Frames {
    pub(crate) fn new() -> Frames {
        // Two hashers with keys of their own: nothing that a banner says by chance.
        let half = || RandomState::new().build_hasher().finish();
        Frames { nonce: format!("limbeck-{:016x}{:016x}", half(), half()), begun: false, at_line_start: true }
    }

    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// What the next piece is: a line with its end, or part of a long one.
    pub(crate) fn hear(&mut self, piece: &[u8]) -> Heard {
        let is_line_start = std::mem::replace(&mut self.at_line_start, piece.ends_with(b"\n"));
        match self.ours(piece).filter(|_| is_line_start) {
            Some(Heard::Begin) => {
                self.begun = true;
                Heard::Begin
            }
            Some(heard) if self.begun => heard,
            _ if self.begun => Heard::Content,
            _ => Heard::Noise,
        }
    }

    fn ours(&self, piece: &[u8]) -> Option<Heard> {
        let mut words = std::str::from_utf8(piece).ok()?.strip_suffix('\n')?.split(' ');
        if words.next()? != self.nonce {
            return None;
        }
        let heard = match (words.next()?, words.next().map(str::parse)) {
            ("begin", None) => Heard::Begin,
            ("held", None) => Heard::Held,
            ("end", Some(Ok(status))) => Heard::End(Ended::By(status)),
            ("timeout", Some(Ok(0))) => Heard::End(Ended::Timeout),
            ("stopped", Some(Ok(0))) => Heard::End(Ended::Stopped),
            _ => return None,
        };
        words.next().is_none().then_some(heard)
    }
}

/// The output of a step byte for byte: the line break before our last line is not its own.
#[derive(Default)]
pub(crate) struct Bytes {
    holds_break: bool,
}

impl Bytes {
    pub(crate) fn content(&mut self, piece: &[u8], mut give: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.holds_break) {
            give(b"\n");
        }
        let rest = piece.strip_suffix(b"\n");
        self.holds_break = rest.is_some();
        give(rest.unwrap_or(piece));
    }
}

/// The output of a step line by line, each as it comes. An empty line waits: it may be the break before our last line.
#[derive(Default)]
pub(crate) struct Lines {
    holds_empty: bool,
}

impl Lines {
    pub(crate) fn content(&mut self, line: &str, give: &mut dyn FnMut(&str)) {
        if std::mem::replace(&mut self.holds_empty, line.is_empty()) {
            give("");
        }
        if !line.is_empty() {
            give(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&[u8]> {
        text.split_inclusive('\n').map(str::as_bytes).collect()
    }

    /// Output as bytes and as lines, and the end, of what a shell printed; `N` stands for the nonce.
    fn hear(text: &str) -> (String, Vec<String>, Option<Ended>) {
        let mut frames = Frames::new();
        let text = text.replace("N ", &format!("{} ", frames.nonce()));
        let (mut bytes, mut lines, mut all, mut each) = (Bytes::default(), Lines::default(), Vec::new(), Vec::new());
        let mut end = None;
        for piece in pieces(&text) {
            match frames.hear(piece) {
                Heard::Content => {
                    bytes.content(piece, |b| all.extend_from_slice(b));
                    lines.content(&crate::process::line_of(piece), &mut |l| each.push(l.to_owned()));
                }
                Heard::End(ended) => end = Some(ended),
                _ => {}
            }
        }
        (String::from_utf8(all).unwrap(), each, end)
    }

    #[test]
    fn the_output_comes_out_as_it_went_in() {
        for output in ["", "a", "a\n", "\n", "\n\n", "a\n\n", "\na\n\nb", "end 0\n"] {
            let (bytes, lines, end) = hear(&format!("hello\n\nN begin\n{output}\nN end 3\n"));
            assert_eq!((bytes.as_str(), end), (output, Some(Ended::By(3))));
            assert_eq!(lines, output.lines().collect::<Vec<_>>(), "{output:?}");
        }
    }

    #[test]
    fn only_our_own_lines_are_believed() {
        for text in
            ["", "end 0\n", "N end 0\n", "N held\n", "x N begin\nN end 0\n", "N begin \nN end 0\n", "N begin\nN end\n"]
        {
            assert_eq!(hear(text).2, None, "{text:?}");
        }
        for text in ["N begin\nN end x\n", "N begin\nxN end 0\n", "N begin\nN end 0 0\n", "N begin\nN end 0"] {
            assert_eq!(hear(text).2, None, "{text:?}");
        }
        assert_eq!(hear("N begin\nN timeout 0\n").2, Some(Ended::Timeout));
        assert_eq!(hear("N begin\nN stopped 0\n").2, Some(Ended::Stopped));
    }

    #[test]
    fn no_two_steps_share_a_nonce() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(|_| Frames::new().nonce().to_owned()).collect();
        assert_eq!(all.len(), 1000);
    }
}
