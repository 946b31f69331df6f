//! One run as a Chrome trace: the "JSON object format" of the Trace Event Format, which chrome://tracing and Perfetto open.
//!
//! Complete events (`ph` X), times in microseconds since the inference began. A node of tract that holds an int8 plan encloses
//! the steps of the plan.

use anyhow::Result;
use serde_json::{Value, json};

use super::Shown;

pub fn of(shown: &Shown) -> Result<String> {
    let p = &shown.profile;
    let named =
        |what: &str, name: &str| json!({ "ph": "M", "pid": 1, "tid": 1, "name": what, "args": { "name": name } });
    let mut events = vec![named("process_name", &shown.model), named("thread_name", shown.path())];
    events.extend(p.steps.iter().zip(&p.spans).map(|(step, span)| -> Value {
        json!({
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "name": step.name,
            "cat": step.class,
            "ts": span.start_ns as f64 / 1e3,
            "dur": (span.end_ns - span.start_ns) as f64 / 1e3,
            "args": {
                "kind": step.class,
                "path": step.path,
                "output": step.output,
                "macs": step.macs,
                "bytes": step.bytes,
                "own_us": span.own_ns as f64 / 1e3,
            },
        })
    }));
    Ok(serde_json::to_string(&json!({ "traceEvents": events, "displayTimeUnit": "ms" }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_complete_events_in_microseconds() {
        let text = of(&super::super::tests::shown()).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        let steps: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
        assert_eq!(steps.len(), 3);
        assert_eq!((steps[1]["ts"].as_f64(), steps[1]["dur"].as_f64()), (Some(1000.0), Some(3000.0)));
        assert_eq!(steps[2]["name"], "c \"quoted\"");
    }
}
