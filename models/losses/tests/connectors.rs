//! Connectors as recipes name them: shapes, refusals and initial weights.

use limbeck_losses::{Between, Connector, ConnectorError, ConnectorShape, Vid, batch_norm_margins, initial_conv1x1};
use serde_json::Value;

fn between(student: [usize; 3], teacher: [usize; 3]) -> Between {
    Between { student, teacher, middle: None }
}

fn shape(name: &str, between: Between) -> Result<ConnectorShape, ConnectorError> {
    Connector::parse(name)?.shape(between)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|n| n.as_f64().expect("a number")).collect()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/connectors.json")).expect("JSON")
}

#[test]
fn every_connector_has_the_shapes_of_the_table() {
    let maps = between([16, 8, 8], [24, 4, 4]);
    for (name, outputs, parameters) in [
        ("none", vec![vec![16, 8, 8]], vec![]),
        ("conv1x1", vec![vec![24, 8, 8]], vec![("weight", vec![24, 16, 1, 1]), ("bias", vec![24])]),
        ("resize", vec![vec![16, 4, 4]], vec![]),
        ("pool", vec![vec![16, 4, 4]], vec![]),
        (
            "vid",
            vec![vec![24, 8, 8], vec![24]],
            vec![
                ("first", vec![24, 16, 1, 1]),
                ("second", vec![24, 24, 1, 1]),
                ("third", vec![24, 24, 1, 1]),
                ("rho", vec![24]),
            ],
        ),
        (
            "abf",
            vec![vec![24, 4, 4]],
            vec![
                ("reduce.weight", vec![24, 16, 1, 1]),
                ("reduce.bias", vec![24]),
                ("attention.weight", vec![2, 48, 1, 1]),
                ("attention.bias", vec![2]),
                ("expand.weight", vec![24, 24, 3, 3]),
                ("expand.bias", vec![24]),
            ],
        ),
    ] {
        let found = shape(name, maps).expect(name);
        assert_eq!((found.connector.name(), &found.outputs), (name, &outputs));
        let named: Vec<_> = found.parameters.iter().map(|p| (p.name, p.dims.clone())).collect();
        assert_eq!(named, parameters, "{name}");
        assert_eq!(found.passed_on, (name == "abf").then_some([24, 8, 8]), "{name}");
    }
    let vectors = shape("linear", between([64, 1, 1], [10, 1, 1])).expect("a linear connector");
    assert_eq!(vectors.outputs, [vec![10]]);
    assert_eq!(vectors.parameters[0].dims, [10, 64]);
}

#[test]
fn the_middle_is_as_given_and_the_deepest_stage_does_not_fuse() {
    let narrow = Between { middle: Some(6), ..between([16, 8, 8], [24, 8, 8]) };
    let vid = shape("vid", narrow).expect("vid");
    assert_eq!(vid.parameters[2].dims, [24, 6, 1, 1]);
    let deepest = shape("abf", narrow).expect("abf").without_fusion();
    assert_eq!(deepest.passed_on, Some([6, 8, 8]));
    let names: Vec<_> = deepest.parameters.iter().map(|p| p.name).collect();
    assert_eq!(names, ["reduce.weight", "reduce.bias", "expand.weight", "expand.bias"]);
    assert_eq!(shape("abf", between([2048, 7, 7], [2048, 7, 7])).expect("abf").passed_on, Some([512, 7, 7]));
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let error = shape("conv1x1-bn", between([1; 3], [1; 3])).unwrap_err().to_string();
    assert_eq!(error, "unknown connector `conv1x1-bn`; there are none, conv1x1, resize, pool, linear, vid, abf");
    let error = shape("pool", between([3, 7, 7], [3, 4, 4])).unwrap_err().to_string();
    assert!(error.contains("7 x 7") && error.contains("\"resize\""), "{error}");
    let error = shape("pool", between([3, 4, 4], [3, 8, 8])).unwrap_err().to_string();
    assert!(error.contains("\"resize\""), "{error}");
    let error = shape("linear", between([3, 4, 4], [5, 1, 1])).unwrap_err().to_string();
    assert!(error.contains("pooled vector"), "{error}");
    for zero in [between([0, 1, 1], [1; 3]), Between { middle: Some(0), ..between([1; 3], [1; 3]) }] {
        assert!(matches!(shape("abf", zero), Err(ConnectorError::Shapes { .. })));
    }
}

#[test]
fn recipes_read_connectors_by_name() {
    #[derive(serde::Deserialize)]
    struct Tap {
        #[serde(default)]
        connector: Connector,
    }
    let read = |text: &str| toml::from_str::<Tap>(text).map(|tap| tap.connector);
    assert_eq!(read(""), Ok(Connector::None));
    for name in ["none", "conv1x1", "resize", "pool", "linear", "vid", "abf"] {
        assert_eq!(read(&format!("connector = \"{name}\"")).expect(name).name(), name);
    }
    assert!(read("connector = \"conv\"").unwrap_err().to_string().contains("there are none, conv1x1"));
}

#[test]
fn initial_weights_are_those_of_a_second_implementation() {
    for case in golden()["weights"].as_array().expect("cases") {
        let size = |key: &str| case[key].as_u64().expect("a number");
        let name = case["name"].as_str().expect("a name");
        let found = initial_conv1x1(size("seed"), name, size("c_in") as usize, size("c_out") as usize);
        let expected = numbers(&case["values"]);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            // Python's libm against ours: a few last bits
            assert!((found - expected).abs() < 1e-14, "{name}: {found} against {expected}");
        }
    }
}

#[test]
fn parameters_begin_as_their_rules_say() {
    let maps = between([32, 4, 4], [48, 4, 4]);
    let vid = shape("vid", maps).expect("vid");
    let initial = vid.initial(5, "layer3");
    assert_eq!(initial, vid.initial(5, "layer3"));
    for (parameter, values) in vid.parameters.iter().zip(&initial) {
        assert_eq!(values.len(), parameter.dims.iter().product::<usize>());
    }
    assert!(initial[3].iter().all(|rho| *rho == Vid::rho(5.0)));
    assert_ne!(initial[1], initial[2], "two weights of one connector are two draws");
    assert_ne!(initial[0], vid.initial(6, "layer3")[0]);
    assert_ne!(initial[0], vid.initial(5, "layer4")[0]);
    // Variance 2 / fan-in; five deviations of a mean square
    for (values, fan_in) in [(&initial[0], 32.0), (&initial[1], 48.0)] {
        let square = values.iter().map(|w| w * w).sum::<f64>() / values.len() as f64 * fan_in / 2.0;
        assert!((square - 1.0).abs() < 5.0 * (2.0 / values.len() as f64).sqrt(), "{square}");
    }
    let conv = shape("conv1x1", maps).expect("a convolution").initial(5, "layer3");
    assert!(conv[1].iter().all(|bias| *bias == 0.0));
    assert_eq!(conv[0], initial_conv1x1(5, "layer3/weight", 32, 48));
}

#[test]
fn margins_of_a_batch_normalisation_are_those_of_its_normal_distribution() {
    let margins = &golden()["margins"];
    let found = batch_norm_margins(&numbers(&margins["scale"]), &numbers(&margins["shift"]));
    let expected = numbers(&margins["margins"]);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        // The tail of 0.001 is what remains of ½, to 1e-14 absolute
        assert!((found - expected).abs() < 1e-10 * expected.abs(), "{found} against {expected}");
    }
}
