//! A profile as JSON: times in nanoseconds, rates in multiply-accumulates a second.

use anyhow::Result;
use limbeck_engine::Peak;
use serde_json::json;

use super::Shown;

pub fn of(shown: &Shown) -> Result<String> {
    let p = &shown.profile;
    let steps = p.steps.iter().zip(&p.median_ns).map(|(step, ns)| {
        json!({
            "name": step.name,
            "kind": step.class,
            "path": step.path,
            "integer": step.integer,
            "output": step.output,
            "macs": step.macs,
            "bytes": step.bytes,
            "packed_bytes": step.packed_bytes,
            "median_ns": ns,
        })
    });
    let kinds = shown.kinds();
    let kinds = kinds.iter().map(|kind| {
        json!({
            "kind": kind.class,
            "count": kind.count,
            "ns": kind.ns,
            "macs": kind.macs,
            "share": shown.share(kind.ns),
            "of_peak": shown.of_peak(kind),
        })
    });
    let all = json!({
        "schema_version": 1,
        "model": shown.model,
        "path": shown.path(),
        "runs": p.runs,
        "inference_ns": p.undisturbed_ns,
        "fastest_inference_ns": p.fastest_ns,
        "profiled_inference_ns": p.inference_ns,
        "steps_ns": p.steps_ns(),
        "peak_macs_per_second": {
            "conv": { "rate": shown.peak.conv, "what": Peak::CONV },
            "depthwise": { "rate": shown.peak.depthwise, "what": Peak::DEPTHWISE },
        },
        "steps": steps.collect::<Vec<_>>(),
        "kinds": kinds.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&all)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_step_and_kind_is_there() {
        let text = super::of(&super::super::tests::shown()).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["steps"].as_array().unwrap().len(), 3);
        assert_eq!(read["steps"][1]["median_ns"], 3_000_000);
        assert_eq!(read["steps"][2]["name"], "c \"quoted\"");
        assert_eq!(read["kinds"][0]["of_peak"], 0.25);
        assert_eq!(read["kinds"][1]["of_peak"], serde_json::Value::Null);
    }
}
