//! What was taken for what: a shaded table of counts, or the commonest mistakes where the classes are many.

use super::text::{Column, T, table};
use crate::confusion::Confusion;
use crate::numbers::{count, percent};
use crate::schema::{Accuracy, Report};

/// Classes that are shown as a table.
const WHOLE: usize = 16;
/// Mistakes that are listed where the classes are more.
const MISTAKES: usize = 20;

pub(super) fn tables(report: &Report) -> String {
    report.accuracy.iter().filter_map(of_row).collect()
}

fn of_row(row: &Accuracy) -> Option<String> {
    let confusion = row.confusion.as_ref().filter(|confusion| !confusion.labels.is_empty())?;
    let body = if confusion.labels.len() <= WHOLE { whole(confusion) } else { mistakes(confusion) };
    Some(format!("<h3>{}: what was taken for what</h3>\n{body}", T(&row.subject)))
}

/// Rows are labels, columns are answers, by number.
fn whole(confusion: &Confusion) -> String {
    let k = confusion.labels.len();
    let cell = |i: usize, j: usize| confusion.counts.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    let numbers: String = (1..=k).map(|j| format!("<th scope=\"col\" class=\"num\">{j}</th>")).collect();
    let answers: String = (0..k).map(|j| format!("<td class=\"num\">{}</td>", rate(confusion, j, true))).collect();
    let row = |i: usize| {
        let cells: String = (0..k)
            .map(|j| {
                let n = cell(i, j);
                let text = if i == j { format!("<b>{}</b>", count(n)) } else { count(n) };
                format!("<td class=\"num {}\">{text}</td>", shade(n, confusion.of_class(i)))
            })
            .collect();
        format!(
            "<tr><th scope=\"row\">{} {}</th>{cells}<td class=\"num\">{}</td></tr>\n",
            i + 1,
            T(&confusion.labels[i]),
            rate(confusion, i, false)
        )
    };
    format!(
        "<div class=\"scroll\"><table class=\"confusion\">\n<caption>Rows are labels, columns are answers</caption>\n\
         <thead><tr><th scope=\"col\">label, by answer</th>{numbers}<th scope=\"col\" class=\"num\">found</th></tr></thead>\n\
         <tbody>\n{}<tr><th scope=\"row\">right, of those answered so</th>{answers}<td></td></tr>\n\
         </tbody>\n</table></div>\n",
        (0..k).map(row).collect::<String>()
    )
}

/// Share of a label's samples that were found, or of an answer that was right.
fn rate(confusion: &Confusion, class: usize, of_answer: bool) -> String {
    let all = if of_answer { confusion.answered(class) } else { confusion.of_class(class) };
    if all == 0 { "–".into() } else { percent(confusion.right(class) as f64 / all as f64) }
}

/// One of five shades, by the share of the row; the number says what it is.
fn shade(n: u64, of: u64) -> &'static str {
    let share = if of == 0 { 0.0 } else { n as f64 / of as f64 };
    match share {
        s if s <= 0.0 => "shade-0",
        s if s < 0.03 => "shade-1",
        s if s < 0.1 => "shade-2",
        s if s < 0.5 => "shade-3",
        _ => "shade-4",
    }
}

/// The commonest first; equal ones in order of the labels.
fn mistakes(confusion: &Confusion) -> String {
    let mut wrong: Vec<(usize, usize, u64)> = Vec::new();
    for (i, row) in confusion.counts.iter().enumerate() {
        wrong.extend(row.iter().enumerate().filter(|(j, n)| *j != i && **n > 0).map(|(j, n)| (i, j, *n)));
    }
    wrong.sort_by(|a, b| b.2.cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let name =
        |i: usize| confusion.labels.get(i).map_or_else(|| format!("class {}", i + 1), |label| T(label).to_string());
    let columns = [
        Column::Words("label"),
        Column::Words("taken for"),
        Column::Number("samples"),
        Column::Number("of the label's"),
        Column::Number("found"),
    ];
    let row = |(i, j, n): &(usize, usize, u64)| {
        let share = percent(*n as f64 / confusion.of_class(*i) as f64);
        vec![name(*i), name(*j), count(*n), share, rate(confusion, *i, false)]
    };
    let rows: Vec<_> = wrong.iter().take(MISTAKES).map(row).collect();
    let note = format!(
        "<p class=\"small muted\">{} classes: the {} commonest of {} kinds of mistake.</p>\n",
        count(confusion.labels.len() as u64),
        rows.len(),
        count(wrong.len() as u64)
    );
    table("The commonest mistakes", &columns, &rows) + &note
}
