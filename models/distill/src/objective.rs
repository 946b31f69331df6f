//! A stage's losses as one objective: what the student says against what the teacher said, weighted and summed.

use limbeck_adapt::{Judged, Objective, Said};
use limbeck_answers::{Answers, HeadId, View};
use limbeck_engine::argmax;
use limbeck_losses::{Batch, Given, Loss, Progress, Teacher, TopKBatch};

use crate::connect::Wired;
use crate::own::OwnAnswers;
use crate::recipe::{Schedule, Term};

/// Where the values of a key lie.
pub(crate) enum Values<'a> {
    /// Values under a head of an answers file.
    File { answers: &'a Answers, head: HeadId, dims: Vec<usize>, top_k: bool },
    /// Logits that were recorded at the start of the stage.
    Own,
    /// Logits of the last time that the picture was seen.
    History,
    /// What the moving average of the weights says at this output.
    Average(usize),
    /// Logits of other nodes at the start of the epoch.
    Peer,
    /// What the graph makes of a teacher's value at this output; no gradient goes there.
    Computed(usize, Vec<usize>),
}

/// One loss of a term.
struct One<'a> {
    loss: Box<dyn Loss>,
    wired: Wired,
    keys: Vec<Values<'a>>,
}

struct Weighted<'a> {
    kind: String,
    weight: f64,
    schedule: Schedule,
    losses: Vec<One<'a>>,
}

/// The sum of a stage's losses.
pub(crate) struct Losses<'a> {
    terms: Vec<Weighted<'a>>,
    /// The teacher's classes are read from here.
    agreement: Option<Values<'a>>,
    /// The views that visits count in.
    views: &'a [View],
    /// Outputs of the graph, the student's own first.
    outputs: usize,
    classes: usize,
    own: Option<OwnAnswers>,
    history: Option<OwnAnswers>,
    peers: Vec<OwnAnswers>,
    average: bool,
}

impl<'a> Losses<'a> {
    /// `wired` and `keys` are for each term its losses, and for each of those its keys.
    pub fn new(
        terms: &[Term],
        wired: Vec<Vec<Wired>>,
        keys: Vec<Vec<Vec<Values<'a>>>>,
        seed: u64,
        views: &'a [View],
        classes: usize,
    ) -> Losses<'a> {
        let outputs = wired.iter().flatten().flat_map(|w| &w.outputs).max().map_or(1, |most| most + 1);
        let mut average = false;
        let terms = terms.iter().zip(wired).zip(keys).enumerate().map(|(number, ((term, wired), keys))| {
            let losses = wired.into_iter().zip(keys).enumerate().map(|(group, (wired, keys))| {
                average |= keys.iter().any(|key| matches!(key, Values::Average(_)));
                // Each loss draws numbers of its own.
                let seed = seed ^ ((number as u64) << 32 | group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                One { loss: term.method.build(seed), wired, keys }
            });
            let kind = term.kind.clone();
            Weighted { kind, weight: term.weight, schedule: term.schedule, losses: losses.collect() }
        });
        let terms: Vec<_> = terms.collect();
        Losses { terms, agreement: None, views, outputs, classes, own: None, history: None, peers: vec![], average }
    }

    /// Read the teacher's classes from these logits.
    pub fn agreeing_with(mut self, logits: Option<Values<'a>>) -> Self {
        self.agreement = logits;
        self
    }

    /// Give it what was answered before.
    pub fn with_own(mut self, own: Option<OwnAnswers>, history: Option<OwnAnswers>) -> Self {
        (self.own, self.history) = (own, history);
        self
    }

    /// What the peers answer from now on.
    pub fn put_peers(&mut self, peers: Vec<OwnAnswers>) {
        self.peers = peers;
    }

    /// Does any key read logits recorded at the start?
    pub fn reads(&self, what: impl Fn(&Values<'_>) -> bool) -> bool {
        self.terms.iter().flat_map(|t| &t.losses).flat_map(|l| &l.keys).any(what)
    }

    /// The teacher's values for a batch.
    fn teacher(&self, values: &Values<'_>, peer: usize, said: &Said<'_>) -> Result<Teacher, String> {
        match values {
            Values::Peer => {
                let peer = self.peers.get(peer).ok_or("nothing was heard of a peer for `peer/`")?;
                Ok(Teacher::Dense(peer.batch(said.indices)))
            }
            Values::File { answers, head, dims, top_k: false } => {
                let len: usize = dims.iter().product();
                let mut all = Vec::with_capacity(len * said.indices.len());
                let mut one = vec![0.0f32; len];
                for &visit in said.indices {
                    let (sample, view) = (visit / self.views.len(), self.views[visit % self.views.len()]);
                    answers.values_into(*head, sample as u64, view, &mut one).map_err(|e| e.to_string())?;
                    all.extend(one.iter().map(|&v| v as f64));
                }
                Ok(Teacher::Dense(Batch::new(dims, all)))
            }
            Values::File { answers, head, dims, top_k: true } => {
                let (classes, none) = (dims.iter().product(), vec![]);
                let mut batch = TopKBatch {
                    classes,
                    k: 0,
                    index: vec![],
                    z: none.clone(),
                    lse: none.clone(),
                    tail_lse: none.clone(),
                    mean: none.clone(),
                    sd: none,
                };
                for &visit in said.indices {
                    let (sample, view) = (visit / self.views.len(), self.views[visit % self.views.len()]);
                    let top = answers.top_k(*head, sample as u64, view).map_err(|e| e.to_string())?;
                    batch.k = top.index.len();
                    batch.index.extend(&top.index);
                    batch.z.extend(top.z.iter().map(|&v| v as f64));
                    batch.lse.push(top.lse as f64);
                    batch.tail_lse.extend(top.tail_lse.iter().map(|&v| v as f64));
                    batch.mean.push(top.mean as f64);
                    batch.sd.push(top.sd as f64);
                }
                Ok(Teacher::TopK(batch))
            }
            Values::Computed(output, dims) => {
                Ok(Teacher::Dense(Batch::new(dims, said.outputs[*output].iter().map(|&v| v as f64).collect())))
            }
            Values::Own => recorded(&self.own, "self", said.indices),
            Values::History => recorded(&self.history, "history", said.indices),
            Values::Average(output) => {
                let average = said.average.and_then(|outputs| outputs.get(*output));
                let average = average.ok_or("nothing is averaged for `average/`")?;
                let len = average.len() / said.indices.len().max(1);
                Ok(Teacher::Dense(Batch::new(&[len], average.iter().map(|&v| v as f64).collect())))
            }
        }
    }

    /// Share of samples on which the student's class is the teacher's, or the label where there is no teacher.
    fn agreement(&self, said: &Said<'_>) -> Result<f64, String> {
        let logits = said.outputs[0].chunks(self.classes.max(1));
        let student: Vec<usize> = logits.map(argmax).collect();
        let teacher: Vec<Option<usize>> = match &self.agreement {
            Some(values) => match self.teacher(values, 0, said)? {
                Teacher::Dense(batch) => {
                    let class = |b: usize| batch.sample(b).iter().map(|&v| v as f32).collect::<Vec<_>>();
                    (0..batch.samples()).map(|b| Some(argmax(&class(b)))).collect()
                }
                Teacher::TopK(top) => top.index.chunks(top.k.max(1)).map(|i| i.first().map(|&c| c as usize)).collect(),
            },
            None => said.labels.to_vec(),
        };
        let agreeing = student.iter().zip(&teacher).filter(|(s, t)| Some(**s) == **t).count();
        Ok(agreeing as f64 / student.len().max(1) as f64)
    }
}

fn recorded(own: &Option<OwnAnswers>, source: &str, visits: &[usize]) -> Result<Teacher, String> {
    let own = own.as_ref().ok_or_else(|| format!("nothing was recorded for `{source}/`"))?;
    Ok(Teacher::Dense(own.batch(visits)))
}

impl Objective for Losses<'_> {
    fn judge(&mut self, said: &Said<'_>) -> Result<Judged, String> {
        let [step, total, epoch_steps] = said.steps;
        let progress = Progress { step, total, epoch_steps };
        let samples: Vec<u64> = said.indices.iter().map(|visit| (visit / self.views.len()) as u64).collect();
        let mut gradients: Vec<Vec<f32>> = said.outputs.iter().map(|o| vec![0.0; o.len()]).collect();
        let mut wanted: Vec<Vec<f64>> = (0..self.outputs).map(|_| vec![]).collect();
        let mut loss = 0.0;
        for t in 0..self.terms.len() {
            let factor = self.terms[t].weight * self.terms[t].schedule.factor(progress);
            if factor == 0.0 {
                continue;
            }
            for l in 0..self.terms[t].losses.len() {
                let one = &self.terms[t].losses[l];
                let student = one.wired.outputs.iter().zip(&one.wired.dims).map(|(&output, dims)| {
                    let values: Vec<f64> = said.outputs[output].iter().map(|&v| v as f64).collect();
                    let own = [values.len() / said.indices.len().max(1)];
                    Batch::new(if dims.is_empty() { &own } else { dims }, values)
                });
                let student: Vec<Batch> = student.collect();
                // A loss over peers is the mean of the losses over each.
                let of_peers = one.keys.iter().any(|key| matches!(key, Values::Peer));
                let rounds = if of_peers { self.peers.len().max(1) } else { 1 };
                for round in 0..rounds {
                    let keys = &self.terms[t].losses[l].keys;
                    let teacher = keys.iter().map(|values| self.teacher(values, round, said));
                    let teacher = teacher.collect::<Result<Vec<_>, _>>()?;
                    let (student, teacher) = (&student[..], &teacher[..]);
                    let given = Given { student, teacher, labels: said.labels, samples: &samples, progress };
                    let one = &mut self.terms[t].losses[l];
                    let evaluated = one.loss.evaluate(&given).map_err(|e| e.to_string())?;
                    if !evaluated.loss.is_finite() {
                        let (kind, loss) = (&self.terms[t].kind, evaluated.loss);
                        return Err(format!("loss `{kind}` is {loss} at step {step}; lower the rate"));
                    }
                    let factor = factor / rounds as f64;
                    loss += factor * evaluated.loss;
                    for (&output, gradient) in one.wired.outputs.iter().zip(&evaluated.gradients) {
                        let sum = &mut wanted[output];
                        sum.resize(gradient.values.len(), 0.0);
                        sum.iter_mut().zip(&gradient.values).for_each(|(s, g)| *s += factor * g);
                    }
                }
            }
        }
        for (gradient, sum) in gradients.iter_mut().zip(wanted) {
            gradient.iter_mut().zip(sum).for_each(|(g, s)| *g = s as f32);
        }
        let agreement = self.agreement(said)?;
        if let Some(history) = &mut self.history {
            history.put(said.indices, &said.outputs[0]);
        }
        Ok(Judged { loss, agreement, gradients })
    }

    fn wants_average(&self) -> bool {
        self.average
    }
}
