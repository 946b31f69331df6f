//! A recipe on a student: its stages one after the other, each a training run with losses of its own.

use std::time::Instant;

use limbeck_adapt::{Loss, Opened, Selection, TappedExamples, TappedSession, Visits};
use limbeck_answers::{Answers, Augment, Card, Expected, HeadKind, Preprocess, View};
use limbeck_data::{Dataset, Viewed, Watch};
use limbeck_engine::onnx::Model;
use limbeck_losses::Method;

use crate::connect::{ConnectError, connect};
use crate::exchange::Exchange;
use crate::objective::{Losses, Values};
use crate::own::OwnAnswers;
use crate::recipe::{DistillRecipe, Key, Schedule, Source, Stage};
use crate::{DistillError, Distilled, Epoch, QuantizedStudent, Recipe, Target, TrainingSamples};

/// What a recipe is run on.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The student.
    pub student: Pupil<'a>,
    /// Its card.
    pub card: &'a Card,
    /// The samples.
    pub dataset: &'a dyn Dataset,
    /// Answers files by the names that the recipe has for them; the first one's views are shown. The caller has checked that they are of
    /// these samples.
    pub answers: &'a [(String, Answers)],
    /// Models that a recipe trains on the way, with their cards; float.
    pub assistants: &'a [(Model, Card)],
    /// How.
    pub recipe: &'a DistillRecipe,
    /// Epochs, batch, rate and all else that a recipe does not say. Its `loss` is not looked at.
    pub train: &'a Recipe,
    /// Which tensors of the student are trained.
    pub selection: &'a Selection,
    /// Other nodes, for a recipe that learns from them.
    pub exchange: Option<&'a Exchange>,
}

/// A student, float or quantized.
#[derive(Clone, Copy)]
pub enum Pupil<'a> {
    /// Trained in float.
    Float(&'a Model),
    /// Trained in its integers.
    Quantized(QuantizedStudent<'a>),
}

impl<'a> Pupil<'a> {
    fn model(&self) -> &'a Model {
        match self {
            Pupil::Float(model) => model,
            Pupil::Quantized(student) => student.file,
        }
    }
}

/// How long a stage is.
struct Length {
    /// That it begins; the last may be cut short.
    epochs: usize,
    /// That it takes.
    steps: usize,
}

/// What one stage trains.
struct Stint<'a> {
    stage: &'a Stage,
    student: Pupil<'a>,
    card: &'a Card,
    selection: &'a Selection,
    recipe: Recipe,
    steps: usize,
    /// Epochs of the stages before: peers count on.
    before: usize,
    /// What `self/` answers.
    answering: &'a Model,
    answering_card: &'a Card,
}

impl Job<'_> {
    /// Train.
    ///
    /// # Errors
    /// A recipe that names what student or answers do not have: before anything is trained in that stage.
    pub fn run(&self, watch: &dyn Watch) -> Result<Distilled, DistillError> {
        self.check()?;
        let mut model = self.student.model().clone();
        let mut answering: Option<(Model, Card)> = None;
        let mut all = Distilled { model: model.clone(), epochs: vec![], steps: 0 };
        let lengths: Vec<Length> = self.recipe.stages.iter().map(|stage| self.length(stage)).collect();
        let visits = lengths.iter().map(|l| l.steps * self.train.batch).sum::<usize>();
        for (number, (stage, length)) in self.recipe.stages.iter().zip(&lengths).enumerate() {
            let first = if stage.restart { self.student.model() } else { &model };
            let (student, card, selection) = match stage.assistant {
                Some(n) => (Pupil::Float(&self.assistants[n].0), &self.assistants[n].1, &Selection::All),
                None => (self.pupil(first), self.card, self.selection),
            };
            let (own, own_card) = match &answering {
                Some((model, card)) => (model, card),
                None => (self.student.model(), self.card),
            };
            let recipe = Recipe {
                epochs: length.epochs,
                rate: self.train.rate * stage.rate as f32,
                ema: stage.ema.or(self.train.ema),
                seed: self.train.seed.wrapping_add(number as u64),
                ..self.train.clone()
            };
            let (steps, answering_card) = (length.steps, own_card);
            let before = all.epochs.len();
            let stint =
                Stint { stage, student, card, selection, recipe, steps, before, answering: own, answering_card };
            let told = Told { watch, before: all.steps * self.train.batch, all: visits };
            let trained = self.stint(&stint, &told).map_err(|e| match e {
                DistillError::Cancelled { steps } => DistillError::Cancelled { steps: steps + all.steps },
                e => e,
            })?;
            all.steps += trained.steps;
            all.epochs.extend(trained.epochs);
            answering = Some((trained.model.clone(), card.clone()));
            // An assistant is gone when it has answered; the student begins as it was given.
            model = if stage.assistant.is_some() { self.student.model().clone() } else { trained.model };
        }
        all.model = model;
        // It travels on into the int8 student's file, like the answers' hash.
        all.model.metadata.insert("limbeck.recipe".into(), self.recipe.name.clone());
        Ok(all)
    }

    /// Would it run? Everything but the training: the recipe's answers, heads, taps and connectors.
    pub fn fits(&self) -> Result<(), DistillError> {
        self.check()?;
        for stage in &self.recipe.stages {
            let (student, card, selection) = match stage.assistant {
                Some(n) => (Pupil::Float(&self.assistants[n].0), &self.assistants[n].1, &Selection::All),
                None => (self.student, self.card, self.selection),
            };
            let opened = match student {
                Pupil::Float(model) => Opened::float(model, selection, 1.0)?,
                Pupil::Quantized(student) => student.open(selection)?,
            };
            let quantized = matches!(student, Pupil::Quantized(_));
            let shape_of = |key: &Key| self.shape_of(key, card.labels.len());
            let connected = connect(&opened.model, quantized, &stage.terms, &shape_of, 0)?;
            opened.attach(&connected.attachment)?;
        }
        Ok(())
    }

    /// Shape of one sample's value.
    fn shape_of(&self, key: &Key, classes: usize) -> Result<Vec<usize>, ConnectError> {
        match &key.source {
            Source::File(name) => {
                let answers = self.answers(name)?;
                answers.head(&key.name).map_err(|e| ConnectError::Key(e.to_string()))?;
                let head = answers.heads().iter().find(|h| h.key == key.name);
                let dims: Vec<usize> = head.map(|h| h.dims.iter().map(|&d| d as usize).collect()).unwrap_or_default();
                // A map without channels has one.
                Ok(if let [h, w] = dims[..] { vec![1, h, w] } else { dims })
            }
            // What students answer is kept as logits only.
            _ if key.name != "logits" => Err(ConnectError::Key(format!(
                "`{}` of a student's own answers: only `logits` are kept of them; name an answers file for others",
                key.name
            ))),
            Source::Own | Source::History | Source::Average | Source::Peer => Ok(vec![classes]),
        }
    }

    /// The student as a stage before left it.
    fn pupil<'m>(&self, model: &'m Model) -> Pupil<'m>
    where
        Self: 'm,
    {
        match self.student {
            Pupil::Float(_) => Pupil::Float(model),
            Pupil::Quantized(student) => {
                // What was trained already has better masters than the float student: its own integers.
                let float = if std::ptr::eq(model, student.file) { student.float } else { None };
                Pupil::Quantized(QuantizedStudent { file: model, float, options: student.options })
            }
        }
    }

    fn length(&self, stage: &Stage) -> Length {
        let an_epoch = self.dataset.len().div_ceil(self.train.batch.max(1)).max(1);
        let steps = (self.train.epochs as f64 * stage.share * an_epoch as f64).round() as usize;
        let steps = steps.max(1);
        Length { epochs: steps.div_ceil(an_epoch), steps }
    }

    /// What can be said before anything runs.
    fn check(&self) -> Result<(), DistillError> {
        let wrong = |why: String| Err(DistillError::Mismatch(format!("recipe {}: {why}", self.recipe.name)));
        for file in self.recipe.files() {
            if !self.answers.iter().any(|(name, _)| name == file) {
                let give = if file == "teacher" { "--answers FILE".into() } else { format!("--answers {file}=FILE") };
                return wrong(format!("it reads the answers `{file}`, which were not given; add {give}"));
            }
        }
        // A drawn view of another recipe or seed is another picture under the same name.
        if let Some(shown) = self.augment().map(Augment::sha256) {
            let expected = Expected { augment_sha256: Some(shown), ..Expected::default() };
            let read = self.answers.iter().filter(|(name, _)| self.recipe.files().contains(&name.as_str()));
            for (_, answers) in read.filter(|(_, answers)| answers.manifest().augment.is_some()) {
                answers.check(&expected)?;
            }
        }
        let (needed, given) = (self.recipe.assistants(), self.assistants.len());
        if needed > given {
            return wrong(format!("it trains {needed} assistants and {given} were given; add --assistant MODEL.onnx"));
        }
        for (_, card) in self.assistants {
            if card.labels != self.card.labels {
                let [theirs, ours] = [card, self.card].map(|c| c.labels.join(", "));
                return wrong(format!("an assistant's labels ({theirs}) are not the student's ({ours})"));
            }
        }
        let average = |stage: &&Stage| stage.terms.iter().flat_map(|t| &t.teacher).any(|k| k.source == Source::Average);
        if self.recipe.stages.iter().filter(average).any(|stage| stage.ema.or(self.train.ema).is_none()) {
            return wrong(
                "it reads the moving average of the weights, and keeps none; set ema in the stage, or --ema".into(),
            );
        }
        if self.recipe.needs_peers() {
            if self.exchange.is_none_or(|e| e.peers.is_empty()) {
                return wrong("it learns from other nodes; add --exchange FOLDER --node NAME --peers NAMES".into());
            }
            if self.answers.is_empty() {
                return wrong("peers meet over the views of an answers file; add --answers FILE".into());
            }
        }
        // A later sample without one is named when its turn comes.
        let labelled = |i: usize| Ok::<_, DistillError>(self.dataset.sample(i)?.label.is_some());
        if self.recipe.needs_labels() && !self.dataset.is_empty() && !labelled(0)? {
            return wrong("it has a loss over labels, and the images have none; use kd, or label them".into());
        }
        Ok(())
    }

    fn views(&self) -> &[View] {
        self.answers.first().map_or(&[View::Identity], |(_, answers)| answers.views())
    }

    fn augment(&self) -> Option<&Augment> {
        self.answers.first().and_then(|(_, answers)| answers.manifest().augment.as_ref())
    }

    fn answers(&self, name: &str) -> Result<&Answers, ConnectError> {
        let found = self.answers.iter().find(|(known, _)| known == name).map(|(_, answers)| answers);
        found.ok_or_else(|| ConnectError::Key(format!("no answers are called `{name}`; add --answers {name}=FILE")))
    }

    fn stint(&self, stint: &Stint<'_>, watch: &dyn Watch) -> Result<Distilled, DistillError> {
        let target = match self.answers.first() {
            Some((_, answers)) => Target::Answers(answers),
            None => Target::Labels(&[View::Identity]),
        };
        let samples = TrainingSamples::of(stint.student.model(), stint.card, self.dataset, target)?;
        let opened = match stint.student {
            Pupil::Float(model) => Opened::float(model, stint.selection, samples.input_rms()?)?,
            Pupil::Quantized(student) => student.open(stint.selection)?,
        };
        match self.inside(stint.stage) {
            Some((loss, target)) => {
                let samples = TrainingSamples::of(stint.student.model(), stint.card, self.dataset, target)?;
                let recipe = Recipe { loss, ..stint.recipe.clone() };
                crate::train(opened, &samples, None, &recipe, Some(stint.steps), watch)
            }
            None => self.outside(stint, opened, &samples.preprocess, watch),
        }
    }

    /// The loss and answers of a stage that is nothing but soft labels and labels: that loss is an operator of the graph, and a step runs each
    /// sample once.
    fn inside(&self, stage: &Stage) -> Option<(Loss, Target<'_>)> {
        let mut loss = Loss { temperature: 1.0, teacher_weight: 0.0, label_weight: 0.0 };
        let mut target = None;
        for term in &stage.terms {
            if term.schedule != Schedule::Constant || term.student != ["logits"] {
                return None;
            }
            match (&term.method, &term.teacher[..]) {
                (Method::Kd(kd), [Key { source: Source::File(file), name }])
                    if name == "logits" && kd.noise.is_none() && target.is_none() =>
                {
                    let answers = self.answers(file).ok()?;
                    let dense = answers.heads().iter().any(|h| h.key == "logits" && h.is_dense());
                    if !dense || answers.views() != self.views() {
                        return None;
                    }
                    (loss.temperature, loss.teacher_weight) = (kd.temperature as f32, term.weight as f32);
                    target = Some(Target::Answers(answers));
                }
                // Where a picture has two labels the operator would leave them out, and the loss says so instead.
                (Method::CrossEntropy(_), []) if loss.label_weight == 0.0 && self.augment().is_none() => {
                    loss.label_weight = term.weight as f32;
                }
                _ => return None,
            }
        }
        target.map(|target| (loss, target))
    }

    fn outside(
        &self,
        stint: &Stint<'_>,
        opened: Opened,
        preprocess: &Preprocess,
        watch: &dyn Watch,
    ) -> Result<Distilled, DistillError> {
        let terms = &stint.stage.terms;
        let quantized = matches!(stint.student, Pupil::Quantized(_));
        let classes = stint.card.labels.len();
        let shape_of = |key: &Key| self.shape_of(key, classes);
        let mut connected = connect(&opened.model, quantized, terms, &shape_of, stint.recipe.seed)?;
        let mut terms = terms.clone();
        for (term, wired) in std::mem::take(&mut connected.further) {
            terms.push(term);
            connected.terms.push(vec![wired]);
        }
        let opened = opened.attach(&connected.attachment)?;
        let values = |key: &Key, output: Option<usize>| -> Result<Values<'_>, ConnectError> {
            Ok(match &key.source {
                Source::File(name) => {
                    let answers = self.answers(name)?;
                    let head = answers.head(&key.name).map_err(|e| ConnectError::Key(e.to_string()))?;
                    let found = answers.heads().iter().find(|h| h.key == key.name);
                    let top_k = found.is_some_and(|h| matches!(h.kind, HeadKind::TopKF16 { .. }));
                    Values::File { answers, head, dims: shape_of(key)?, top_k }
                }
                Source::Own => Values::Own,
                Source::History => Values::History,
                Source::Average => Values::Average(output.unwrap_or(0)),
                Source::Peer => Values::Peer,
            })
        };
        let keys = connected.terms.iter().map(|wired| {
            let of_one = |one: &crate::connect::Wired| {
                let output = |i: usize| one.outputs.get(i).or(one.outputs.last()).copied();
                let keys = one.keys.iter().enumerate().map(|(i, key)| values(key, output(i)));
                let computed = one.computed.iter().cloned().map(|(output, dims)| Ok(Values::Computed(output, dims)));
                keys.chain(computed).collect::<Result<Vec<_>, ConnectError>>()
            };
            wired.iter().map(of_one).collect::<Result<Vec<_>, _>>()
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let further = connected.inputs.iter().map(|key| values(key, None)).collect::<Result<Vec<_>, _>>()?;
        let logits = Key { source: Source::File("teacher".into()), name: "logits".into() };
        let mut losses = Losses::new(&terms, connected.terms, keys, stint.recipe.seed, self.views(), classes)
            .agreeing_with(values(&logits, None).ok());
        let viewed = Viewed::new(self.dataset, self.augment());
        let record = |model: &Model, card: &Card| {
            let of = (self.dataset.len(), self.views());
            OwnAnswers::record(model, &Preprocess::new(card), &viewed, of, stint.recipe.threads, watch)
        };
        let own = losses.reads(|v| matches!(v, Values::Own)).then(|| record(stint.answering, stint.answering_card));
        let history = losses.reads(|v| matches!(v, Values::History)).then(|| record(stint.student.model(), stint.card));
        losses = losses.with_own(own.transpose()?, history.transpose()?);

        let pictures = Pictures { preprocess, viewed, views: self.views(), further };
        let visits = Visits::all(self.dataset.len(), self.views().len());
        let an_epoch = self.dataset.len().div_ceil(stint.recipe.batch.max(1)).max(1);
        let mut session = TappedSession::new(opened, &stint.recipe, visits)?;
        session.limit(stint.steps);
        let peers = self.exchange.filter(|_| losses.reads(|v| matches!(v, Values::Peer)));
        let mut epochs = vec![];
        let (mut start, mut seen) = (Instant::now(), 0);
        while !session.is_done() {
            if watch.cancelled() {
                return Err(DistillError::Cancelled { steps: session.steps() });
            }
            if let (Some(exchange), Some((_, answers)), true) =
                (peers, self.answers.first(), session.steps().is_multiple_of(an_epoch))
            {
                let (epoch, model) = (stint.before + session.steps() / an_epoch, session.model()?);
                exchange.publish(epoch, &record(&model, stint.card)?, &model, answers.manifest())?;
                losses.put_peers(exchange.collect(epoch, answers.manifest(), self.dataset, watch)?);
            }
            let report = session.step(&pictures, &mut losses)?;
            seen += report.samples;
            let (loss, agreement) = (report.so_far.loss, report.so_far.agreement);
            watch.note(&format!("loss {loss:.4} agree {:.1}%", agreement * 100.0));
            watch.progress(seen, session.total() * stint.recipe.batch);
            if session.epochs().len() > epochs.len() {
                epochs.push(Epoch { loss, agreement, seconds: start.elapsed().as_secs_f64() });
                start = Instant::now();
            }
        }
        Ok(Distilled { model: session.model()?, epochs, steps: session.steps() })
    }
}

/// The pictures of a stage, and a teacher's values that the graph reads.
struct Pictures<'a> {
    preprocess: &'a Preprocess,
    viewed: Viewed<'a>,
    views: &'a [View],
    further: Vec<Values<'a>>,
}

impl TappedExamples for Pictures<'_> {
    fn example(&self, visit: usize, x: &mut [f32], further: &mut [Vec<f32>]) -> Result<Option<usize>, String> {
        let (index, view) = (visit / self.views.len(), self.views[visit % self.views.len()]);
        for (values, out) in self.further.iter().zip(further) {
            match values {
                Values::File { answers, head, .. } => {
                    answers.values_into(*head, index as u64, view, out).map_err(|e| e.to_string())?;
                }
                _ => {
                    return Err("a connector on the teacher's side reads an answers file; name one in `teacher`".into());
                }
            }
        }
        let labels = self.viewed.input(self.preprocess, index, view, x).map_err(|e| e.to_string())?;
        Ok(labels.only())
    }
}

/// One stage's share of the whole.
struct Told<'a> {
    watch: &'a dyn Watch,
    before: usize,
    all: usize,
}

impl Watch for Told<'_> {
    fn progress(&self, done: usize, _: usize) {
        self.watch.progress((self.before + done).min(self.all), self.all);
    }

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }

    fn note(&self, note: &str) {
        self.watch.note(note);
    }
}
