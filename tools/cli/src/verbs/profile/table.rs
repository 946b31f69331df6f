//! A profile as text: a row a step, a row a kind, and the sums.

use limbeck_engine::Peak;

use super::{Shown, per_second};

/// Longest name that is printed whole: of longer ones the end tells more.
const NAME: usize = 34;

pub fn of(shown: &Shown) -> String {
    let p = &shown.profile;
    let name_width = p.steps.iter().map(|s| s.name.chars().count()).max().unwrap_or(4).clamp(4, NAME);
    let class_width = p.steps.iter().map(|s| s.class.chars().count()).max().unwrap_or(4).max(4);
    let output_width = p.steps.iter().map(|s| s.output.chars().count()).max().unwrap_or(6).max(6);
    let mut text = format!("{}: {}, medians of {} runs, one thread\n\n", shown.model, shown.path(), p.runs);
    text += &format!(
        "{:>3}  {:name_width$}  {:class_width$}  {:output_width$}  {:8}  {:>8}  {:>8}  {:>8}  {:>5}  {:>6}\n",
        "#", "step", "kind", "output", "path", "MMAC", "KiB", "ms", "%", "GMAC/s"
    );
    for (i, (step, &ns)) in p.steps.iter().zip(&p.median_ns).enumerate() {
        text += &format!(
            "{i:>3}  {:name_width$}  {:class_width$}  {:output_width$}  {:8}  {:>8}  {:>8.1}  {:>8.4}  {:>5.1}  {:>6}\n",
            tail(&step.name),
            step.class,
            step.output,
            step.path,
            mega(step.macs),
            step.bytes as f64 / 1024.0,
            ms(ns),
            100.0 * shown.share(ns),
            giga(per_second(step.macs, ns)),
        );
    }
    text += &format!(
        "\n{:class_width$}  {:>5}  {:>8}  {:>5}  {:>8}  {:>6}  {:>7}\n",
        "kind", "count", "ms", "%", "MMAC", "GMAC/s", "of peak"
    );
    for kind in shown.kinds() {
        let of_peak = shown.of_peak(&kind).map_or("-".into(), |part| format!("{:.0} %", 100.0 * part));
        text += &format!(
            "{:class_width$}  {:>5}  {:>8.4}  {:>5.1}  {:>8}  {:>6}  {of_peak:>7}\n",
            kind.class,
            kind.count,
            ms(kind.ns),
            100.0 * shown.share(kind.ns),
            mega(kind.macs),
            giga(per_second(kind.macs, kind.ns)),
        );
    }
    let macs = p.steps.iter().map(|s| s.macs).sum();
    text += &format!(
        "{:class_width$}  {:>5}  {:>8.4}  100.0  {:>8}  {:>6}\n",
        "all steps",
        p.steps.len(),
        ms(p.steps_ns()),
        mega(macs),
        giga(per_second(macs, p.steps_ns())),
    );
    text += &format!(
        "\none inference {:.4} ms, fastest {:.4} ms; with a clock read after each step {:.4} ms; sum of the steps {:.4} ms\n",
        ms(p.undisturbed_ns),
        ms(p.fastest_ns),
        ms(p.inference_ns),
        ms(p.steps_ns())
    );
    if shown.has_integers() {
        text += &format!(
            "practical peak of {} here, measured just now: {:.1} GMAC/s, {}; {:.1} GMAC/s, {}\n",
            shown.isa.name(),
            shown.peak.conv / 1e9,
            Peak::CONV,
            shown.peak.depthwise / 1e9,
            Peak::DEPTHWISE
        );
    }
    text
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn mega(macs: u64) -> String {
    if macs == 0 { "-".into() } else { format!("{:.3}", macs as f64 / 1e6) }
}

fn giga(rate: Option<f64>) -> String {
    rate.map_or("-".into(), |rate| format!("{:.2}", rate / 1e9))
}

/// The last characters of a name, after `…` when it is cut.
fn tail(name: &str) -> String {
    let count = name.chars().count();
    match count > NAME {
        true => format!("…{}", name.chars().skip(count - NAME + 1).collect::<String>()),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_its_numbers() {
        let text = of(&super::super::tests::shown());
        let row = text.lines().find(|l| l.contains("  b ")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["1", "b", "conv", "1x1", "8×8×16", "portable", "2.000", "2.0", "3.0000", "60.0", "0.67"]);
        assert!(
            text.contains("one inference 5.0000 ms, fastest 4.9000 ms; with a clock read after each step 5.1000 ms"),
            "{text}"
        );
        let kind = text.lines().find(|l| l.starts_with("conv 1x1")).unwrap();
        assert!(kind.ends_with("25 %"), "{kind}");
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let long = format!("{}end", "x".repeat(50));
        assert_eq!(tail(&long).chars().count(), NAME);
        assert!(tail(&long).starts_with('…') && tail(&long).ends_with("xend"));
        assert_eq!(tail("short"), "short");
    }
}
