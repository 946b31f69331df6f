//! Text into HTML, and the few shapes that every section uses.

use std::fmt::{self, Display, Formatter, Write};

use crate::printable;
use crate::schema::KeyValue;

/// Any text, escaped when it is displayed; fit for element contents and for attributes in double quotes.
pub(super) struct T<S>(pub(super) S);

impl<S: AsRef<str>> Display for T<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in printable(self.0.as_ref()).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A panel with a heading; `body` is HTML. An empty body makes no panel.
pub(super) fn panel(heading: impl AsRef<str>, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section class=\"panel\">\n<h2>{}</h2>\n{body}</section>\n", T(heading))
}

/// Column of a table: its head, and whether its cells are numbers.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Words, set left.
    Words(&'static str),
    /// Numbers, set right.
    Number(&'static str),
    /// Sentences, set left, never narrower than a few words.
    Prose(&'static str),
}

/// A table whose first column names the row. Cells are HTML; `caption` is read out and not shown.
///
/// Rows must be as long as `columns`.
pub(super) fn table(caption: &str, columns: &[Column], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let class = |column: &Column| match column {
        Column::Words(_) => "",
        Column::Number(_) => " class=\"num\"",
        Column::Prose(_) => " class=\"prose\"",
    };
    let mut html = format!("<div class=\"scroll\"><table>\n<caption>{}</caption>\n<thead><tr>", T(caption));
    for column in columns {
        let (Column::Words(name) | Column::Number(name) | Column::Prose(name)) = column;
        html += &format!("<th scope=\"col\"{}>{}</th>", class(column), T(name));
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (i, (cell, column)) in row.iter().zip(columns).enumerate() {
            html += &if i == 0 {
                format!("<th scope=\"row\">{cell}</th>")
            } else {
                format!("<td{}>{cell}</td>", class(column))
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table></div>\n"
}

/// A list of keys and values, both plain text.
pub(super) fn key_values(lines: &[KeyValue]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let line = |kv: &KeyValue| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", T(&kv.key), T(&kv.value));
    format!("<dl class=\"kv\">\n{}</dl>\n", lines.iter().map(line).collect::<String>())
}

/// A card with a small heading inside a panel; nothing if `body` is empty.
pub(super) fn card(heading: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<div class=\"card\">\n<h3>{}</h3>\n{body}</div>\n", T(heading))
}

/// A hash in full, breakable anywhere.
pub(super) fn full_hash(hash: &str) -> String {
    if hash.is_empty() { "–".into() } else { format!("<code class=\"hash\">{}</code>", T(hash)) }
}

/// The first digits of a hash, the rest on hover.
pub(super) fn hash(hash: &str) -> String {
    if hash.is_empty() {
        return "–".into();
    }
    format!("<code title=\"{}\">{}</code>", T(hash), T(crate::numbers::short_hash(hash)))
}

/// A bar of 0..=100 percent of the width with its name and value as text above.
pub(super) struct Bar {
    /// Plain text.
    pub(super) name: String,
    /// HTML, set right.
    pub(super) value: String,
    /// Read out instead of the drawing; plain text.
    pub(super) title: String,
    /// SVG inside a drawing 18 pixels high, x in percent.
    pub(super) drawing: String,
}

impl Bar {
    pub(super) fn html(&self) -> String {
        format!(
            "<div class=\"bar\"><div class=\"bar-text\"><span>{}</span><span class=\"bar-value\">{}</span></div>\
             <svg role=\"img\" width=\"100%\" height=\"18\"><title>{}</title>\
             <rect class=\"track\" x=\"0\" y=\"2\" width=\"100%\" height=\"14\" rx=\"3\"/>{}</svg></div>\n",
            T(&self.name),
            self.value,
            T(&self.title),
            self.drawing
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_text() {
        let hostile = "<script>&\"'\u{0}\u{1b}\u{202e}</style>";
        let want = "&lt;script&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}&lt;/style&gt;";
        assert_eq!(T(hostile).to_string(), want);
        assert_eq!(T("limbeck µs é 蒸").to_string(), "limbeck µs é 蒸");
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert!(panel("x", "").is_empty() && card("x", "").is_empty());
        assert!(table("x", &[Column::Words("a")], &[]).is_empty() && key_values(&[]).is_empty());
    }
}
