//! What holds for every network.

use limbeck_adapt::{Loss, Parameters, TrainingNet};
use limbeck_engine::onnx::{Data, Tensor};

use crate::builder::{Builder, Window, node};
use crate::check::{RandomExamples, check};

#[test]
fn equal_and_zero_biases_stay_parameters_of_their_own() {
    // No ReLU: with zero biases its kink would lie exactly where the pixels are dead.
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv3(2, 4).unary("Tanh").conv([4, 4, 1, 1], Window::POINT).unary("Tanh");
    let mut model = b.finish(100);
    for tensor in model.graph.initializers.values_mut().filter(|t| t.dims.len() == 1) {
        *tensor = Tensor::f32(&tensor.dims.clone(), vec![0.0; tensor.len()]);
    }
    assert_eq!(Parameters::of(&model).unwrap().names().len(), 6);
    check("zero biases", model);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut b = Builder::new(&[2, 6, 6]);
    b.conv3(2, 4).unary("Relu");
    let model = b.finish(144);
    let parameters = Parameters::of(&model).unwrap();
    let indices: Vec<usize> = (0..37).collect();
    let run = |threads| {
        let net = TrainingNet::new(&model, &parameters, &Loss::default(), threads).unwrap();
        net.gradient(&parameters, &RandomExamples, &indices).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn an_operator_without_a_rule_is_named_with_what_to_freeze() {
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv3(2, 4).unary("Sign").conv3(4, 2);
    let model = b.finish(50);
    let parameters = Parameters::of(&model).unwrap();
    let error = TrainingNet::new(&model, &parameters, &Loss::default(), 1).err().unwrap().to_string();
    assert_eq!(
        error,
        "no gradient for Sign (node \"n1\"): Sign is flat, so nothing before it can learn; freeze what lies before it \
         (\"w0\", \"w1\"): 4 of 6 trained tensors remain, from \"w2\" on; or replace the operator"
    );
}

#[test]
fn an_operator_without_a_rule_costs_nothing_where_no_trained_tensor_stands_behind_it() {
    let mut b = Builder::new(&[2, 5, 5]);
    b.unary("Sign").op(node("CumSum"), &["axis"]);
    b.graph.initializers.insert("axis".into(), Tensor { dims: vec![], data: Data::I64(vec![1]) });
    b.conv3(2, 4);
    check("frozen Sign and CumSum", b.finish(100));
}

#[test]
fn a_tensor_that_the_output_does_not_depend_on_is_named() {
    let mut b = Builder::new(&[2, 5, 5]);
    let shift = b.weight(&[2, 5, 5]);
    b.op(node("Add"), &[&shift]);
    b.last = "x".into(); // the sum is not read
    b.conv3(2, 4);
    let model = b.finish(100);
    let parameters = Parameters::of(&model).unwrap();
    let error = TrainingNet::new(&model, &parameters, &Loss::default(), 1).err().unwrap().to_string();
    assert!(error.contains("depend on \"w0\""), "{error}");
}
