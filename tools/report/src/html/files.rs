//! The files of the run: models, sizes beside each other, the bundle, and where everything came from.

use super::text::{Bar, Column, T, full_hash, hash, key_values, panel, table};
use crate::numbers::{bytes, count, short_count};
use crate::schema::{KeyValue, Report, Size};

pub(super) fn sections(report: &Report) -> String {
    sizes(report) + &bundle(report) + &sources(report)
}

fn sizes(report: &Report) -> String {
    let largest = report.sizes.iter().map(|size| size.bytes).max().unwrap_or(0).max(1);
    let bar = |size: &Size| {
        let width = size.bytes as f64 / largest as f64 * 100.0;
        let value = format!("<b>{}</b> · {} bytes", bytes(size.bytes), count(size.bytes));
        let name = if size.note.is_empty() { size.name.clone() } else { format!("{} ({})", size.name, size.note) };
        let title = format!("{name}: {} bytes", count(size.bytes));
        // Half a percent is the least that can be seen; the number says what it is.
        let width = width.max(if size.bytes > 0 { 0.5 } else { 0.0 });
        let drawing = format!("<rect class=\"c-size\" x=\"0\" y=\"2\" width=\"{width:.2}%\" height=\"14\" rx=\"2\"/>");
        Bar { name, value, title, drawing }.html()
    };
    let bars: String = report.sizes.iter().map(bar).collect();
    let bars = if bars.is_empty() { bars } else { format!("<div class=\"bars\">\n{bars}</div>\n") };
    let columns = [
        Column::Words("model"),
        Column::Words("file"),
        Column::Number("bytes"),
        Column::Number("parameters"),
        Column::Number("MACs per inference"),
        Column::Words("sha256"),
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let rows: Vec<_> = report
        .models
        .iter()
        .map(|model| {
            vec![
                T(&model.role).to_string(),
                T(&model.name).to_string(),
                count(model.bytes),
                or_dash(model.parameters.map(count)),
                or_dash(model.macs.map(short_count)),
                hash(&model.sha256),
            ]
        })
        .collect();
    panel("Models and sizes", &(bars + &table("Models", &columns, &rows)))
}

fn bundle(report: &Report) -> String {
    let Some(bundle) = &report.bundle else { return String::new() };
    let head = format!(
        "<p><b>{}</b> · {} · {} bytes<br><span class=\"small\">sha256 {}</span></p>\n",
        T(&bundle.name),
        bytes(bundle.bytes),
        count(bundle.bytes),
        full_hash(&bundle.sha256)
    );
    let unsigned = || "nobody".to_owned();
    let mut lines = vec![KeyValue::new("signed by", bundle.signer.clone().unwrap_or_else(unsigned))];
    let known = [
        ("version", bundle.version.map(count)),
        ("toolchain", bundle.toolchain.clone()),
        ("kernels", (!bundle.kernels.is_empty()).then(|| bundle.kernels.join(", "))),
        ("git revision", bundle.git_revision.clone()),
    ];
    lines.extend(known.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))));
    lines.extend(bundle.contents.iter().cloned());
    panel("Bundle", &(head + &key_values(&lines)))
}

fn sources(report: &Report) -> String {
    let columns = [Column::Words("source"), Column::Words("name"), Column::Number("bytes"), Column::Words("sha256")];
    let rows: Vec<_> = report
        .sources
        .iter()
        .map(|source| {
            vec![
                T(&source.role).to_string(),
                T(&source.name).to_string(),
                source.bytes.map_or_else(|| "–".into(), count),
                full_hash(&source.sha256),
            ]
        })
        .collect();
    panel("Made from", &table("Input files", &columns, &rows))
}
