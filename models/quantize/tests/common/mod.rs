//! A small data set and what the tests do with a model.

#![allow(dead_code, reason = "every test file uses some of it")]

use limbeck_answers::{Card, Image, Preprocess, View};
use limbeck_data::{DataError, Dataset, Sample, Unwatched};
use limbeck_engine::Student;
use limbeck_engine::onnx::{Data, Model};
use limbeck_quantize::{QuantizeError, QuantizeOptions, Quantized, quantize};

/// Pictures of `size` × `size` pixels with no two alike, labelled or not.
pub struct Pictures {
    pub size: u32,
    pub len: usize,
    pub labels: Vec<String>,
}

impl Pictures {
    pub fn new(size: u32, len: usize) -> Pictures {
        Pictures { size, len, labels: vec![] }
    }

    pub fn labelled(size: u32, len: usize) -> Pictures {
        Pictures { size, len, labels: ["a", "b", "c", "d"].map(String::from).to_vec() }
    }

    pub fn image(&self, i: usize) -> Image {
        let pixel = |p: u32| {
            // A gradient whose slope and colour change from picture to picture, and some noise.
            let (x, y, c) = (p / 3 % self.size, p / 3 / self.size, p % 3);
            let noise = (p.wrapping_mul(2_654_435_761).wrapping_add(i as u32 * 40_503) >> 20) % 64;
            ((x * (i as u32 % 7) * 5 + y * (i as u32 % 5) * 9 + c * i as u32 * 31 + noise) % 256) as u8
        };
        Image { width: self.size, height: self.size, rgb: (0..3 * self.size * self.size).map(pixel).collect() }
    }

    pub fn card(&self) -> Card {
        let size = self.size;
        let text = format!(
            r#"
            version = 1
            task = "classification"
            labels = ["a", "b", "c", "d"]
            [input]
            width = {size}
            height = {size}
            layout = "nchw"
            colour = "rgb"
            resize = "exact"
            scale = 0.0078125
            mean = [1.0, 1.0, 1.0]
            std = [1.0, 1.0, 1.0]
            "#
        );
        Card::parse(&text, "card.toml".as_ref()).unwrap()
    }

    /// A picture as the student sees it.
    pub fn input(&self, i: usize) -> Vec<f32> {
        let preprocess = Preprocess::new(&self.card());
        let mut x = vec![0.0; preprocess.len()];
        preprocess.run(&self.image(i), View::Identity, &mut x).unwrap();
        x
    }

    /// The model's first output for every picture.
    pub fn outputs(&self, model: &Model) -> Vec<Vec<f32>> {
        let student = Student::load(model).unwrap();
        let mut worker = student.worker().unwrap();
        let mut run = |i| {
            let mut y = vec![0.0; student.output_len()];
            worker.run(&self.input(i), &mut y).unwrap();
            y
        };
        (0..self.len).map(&mut run).collect()
    }

    pub fn quantize(&self, model: &Model, options: &QuantizeOptions) -> Result<Quantized, QuantizeError> {
        quantize(model, &self.card(), self, options, &Unwatched)
    }

    /// Mean squared difference of two models' outputs, and the mean difference of each output.
    pub fn differences(&self, a: &Model, b: &Model) -> (f64, Vec<f64>) {
        let (a, b) = (self.outputs(a), self.outputs(b));
        let n = self.len as f64;
        let mut mean = vec![0.0; a[0].len()];
        let mut squared = 0.0;
        for (a, b) in a.iter().zip(&b) {
            for ((a, b), mean) in a.iter().zip(b).zip(&mut mean) {
                let difference = f64::from(*a) - f64::from(*b);
                *mean += difference / n;
                squared += difference * difference / n;
            }
        }
        (squared, mean)
    }
}

impl Dataset for Pictures {
    fn name(&self) -> &str {
        "pictures"
    }
    fn labels(&self) -> &[String] {
        &self.labels
    }
    fn len(&self) -> usize {
        self.len
    }
    fn id(&self, i: usize) -> String {
        i.to_string()
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        let label = (!self.labels.is_empty()).then_some((i % 4) as u16);
        Ok(Sample { image: self.image(i), label, objects: vec![], mask: None })
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        Ok(limbeck_data::merkle::leaf(&self.image(i).rgb))
    }
}

/// Multiply constants of a model.
pub fn scale(model: &mut Model, name: &str, factor: impl Fn(usize) -> f32) {
    let tensor = model.graph.initializers.get_mut(name).unwrap_or_else(|| panic!("no constant {name}"));
    let Data::F32(values) = &mut tensor.data else { panic!("{name} is not f32") };
    values.iter_mut().enumerate().for_each(|(at, v)| *v *= factor(at));
}

/// Add to constants of a model.
pub fn shift(model: &mut Model, name: &str, by: impl Fn(usize) -> f32) {
    let tensor = model.graph.initializers.get_mut(name).unwrap_or_else(|| panic!("no constant {name}"));
    let Data::F32(values) = &mut tensor.data else { panic!("{name} is not f32") };
    values.iter_mut().enumerate().for_each(|(at, v)| *v += by(at));
}
