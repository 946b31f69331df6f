//! Columns of plain text, for a terminal.

/// Heads and rows set in columns two spaces apart: the first left, the others right. A row may be shorter than `heads`.
pub(crate) fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines() {
        let mut cells = String::new();
        for (i, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            cells += &if i == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text += cells.trim_end();
        text += "\n";
    }
    text
}
