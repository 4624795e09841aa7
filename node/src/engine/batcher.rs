//! Calls that one run answers: their inputs joined along the first dimension, and the outputs cut apart again.
//!
//! For models of which their package says that they treat each row by itself; no model tells so much. The rule a newcomer
//! would break: what goes wrong together is tried again one by one, so that nobody's input is another's error.

use super::seat::{Ended, Taken, size};
use super::tensor::{Data, map_data};
use super::worker::Job;
use super::{Output, Port, PortKind, Tensor, Unanswered};
use std::time::{Duration, Instant};

/// Elements of the inputs of one run, unless one call has more: what is joined is copied.
const LARGEST: usize = 1 << 20;

/// Whether a model's inputs and outputs all have a first dimension of any size. A ZipMap has a map for each row.
pub(super) fn has_batch_dimension(inputs: &[Port], outputs: &[Port]) -> bool {
    let open = |port: &Port| match &port.kind {
        PortKind::Tensor { shape, .. } => shape.first() == Some(&-1),
        PortKind::Maps => true,
    };
    !inputs.is_empty() && inputs.iter().all(open) && outputs.iter().all(open)
}

/// How many rows all of these have.
fn rows(inputs: &[Tensor]) -> Option<usize> {
    let mut rows = inputs.iter().map(|input| input.shape().first().copied());
    let first = rows.next()??;
    let all_alike = rows.all(|rows| rows == Some(first));
    usize::try_from(first).ok().filter(|rows| all_alike && *rows > 0)
}

/// Whether each of these has rows like the other's.
fn are_alike(some: &[Tensor], others: &[Tensor]) -> bool {
    some.len() == others.len()
        && some.iter().zip(others).all(|(one, other)| {
            one.shape().get(1..) == other.shape().get(1..) && one.data().data_type() == other.data().data_type()
        })
}

/// The inputs of several calls as those of one. They must be alike.
fn join<'a>(mut calls: impl Iterator<Item = &'a [Tensor]>) -> Option<Vec<Tensor>> {
    let first = calls.next()?;
    let mut joined: Vec<(Vec<i64>, Data)> = first
        .iter()
        .map(|tensor| (tensor.shape().to_vec(), tensor.data().clone()))
        .collect();
    for call in calls {
        for ((shape, data), tensor) in joined.iter_mut().zip(call) {
            let (rows, more) = (shape.first_mut()?, tensor.shape().first()?);
            *rows = rows.checked_add(*more)?;
            data.append(tensor.data())?;
        }
    }
    joined
        .into_iter()
        .map(|(shape, data)| Tensor::new(shape, data))
        .collect()
}

/// What each call gets, of so many rows each; `None` where the outputs do not have these rows.
fn split(outputs: &[Output], rows: &[usize]) -> Option<Vec<Vec<Output>>> {
    let all: usize = rows.iter().sum();
    let mut from = 0;
    rows.iter()
        .map(|rows| {
            let range = from..from + rows;
            from = range.end;
            let part = |output: &Output| match output {
                Output::Maps(maps) if maps.len() == all => Some(Output::Maps(maps.get(range.clone())?.to_vec())),
                Output::Tensor(tensor) if tensor.shape().first() == Some(&i64::try_from(all).ok()?) => {
                    let width = tensor.data().len() / all;
                    let elements = range.start * width..range.end * width;
                    let mut shape = tensor.shape().to_vec();
                    *shape.first_mut()? = i64::try_from(*rows).ok()?;
                    let data = map_data!(tensor.data(), all => all.get(elements)?.to_vec());
                    Some(Output::Tensor(Tensor::new(shape, data)?))
                }
                Output::Maps(_) | Output::Tensor(_) => None,
            };
            outputs.iter().map(part).collect()
        })
        .collect()
}

/// Jobs for one run, at least one.
pub(super) struct Batch {
    jobs: Vec<Job>,
    /// Of each job; empty when the first goes alone.
    rows: Vec<usize>,
    size: usize,
}

/// How a run is begun.
pub(super) struct Manner<'a> {
    /// How long it may take.
    pub(super) most: Option<Duration>,
    /// Told the number of the run, and for whom it is, when it begins; whether it should.
    pub(super) begin: &'a dyn Fn(u64, &[Job]) -> bool,
}

impl Batch {
    pub(super) fn of(first: Job) -> Self {
        let rows = rows(&first.inputs).filter(|rows| *rows < first.most_rows);
        Self {
            size: size(&first.inputs),
            jobs: vec![first],
            rows: rows.into_iter().collect(),
        }
    }

    /// Takes one more in, where all together have at most so many elements; else gives it back.
    pub(super) fn take_in(&mut self, job: Job, most: usize) -> Option<Job> {
        let Some(first) = self.jobs.first() else {
            return Some(job);
        };
        let all: usize = self.rows.iter().sum();
        let size = self.size + size(&job.inputs);
        let fits = |rows: &usize| {
            let most_rows = first.most_rows.min(job.most_rows);
            all > 0 && all + rows <= most_rows && size <= most.min(LARGEST) && are_alike(&first.inputs, &job.inputs)
        };
        let Some(rows) = rows(&job.inputs).filter(fits) else {
            return Some(job);
        };
        self.size = size;
        self.rows.push(rows);
        self.jobs.push(job);
        None
    }

    /// Whether another might fit.
    pub(super) fn has_room(&self) -> bool {
        let most = self.jobs.first().map_or(0, |first| first.most_rows);
        !self.rows.is_empty() && self.rows.iter().sum::<usize>() < most
    }

    pub(super) fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }

    /// Runs them, and answers those who still wait and are not too late; gives back what was stopped.
    pub(super) fn run(self, taken: &mut Taken<'_>, manner: &Manner<'_>) -> Vec<Job> {
        let now = Instant::now();
        let (mut jobs, mut rows) = (Vec::with_capacity(self.jobs.len()), Vec::with_capacity(self.jobs.len()));
        let own_rows = self.rows.into_iter().map(Some).chain(std::iter::repeat(None));
        for (job, own_rows) in self.jobs.into_iter().zip(own_rows) {
            if job.deadline <= now {
                job.answer(Err(Unanswered::Late));
            } else if job.is_wanted() {
                rows.extend(own_rows);
                jobs.push(job);
            }
        }
        if jobs.len() > 1 && rows.len() == jobs.len() {
            match together(jobs, &rows, taken, manner) {
                Ok(stopped) => return stopped,
                Err(one_by_one) => jobs = one_by_one,
            }
        }
        let alone = jobs.into_iter().filter_map(|job| alone(job, taken, manner));
        alone.collect()
    }
}

fn alone(job: Job, taken: &mut Taken<'_>, manner: &Manner<'_>) -> Option<Job> {
    let begin = |run| (manner.begin)(run, std::slice::from_ref(&job));
    match taken.run(&job.inputs, manner.most, begin) {
        Ended::Answered(answer) => job.answer(answer),
        Ended::Stopped => return Some(job),
    }
    None
}

/// Runs them together. What was stopped is given back; in an error, what has to be run one by one.
fn together(jobs: Vec<Job>, rows: &[usize], taken: &mut Taken<'_>, manner: &Manner<'_>) -> Result<Vec<Job>, Vec<Job>> {
    let Some(inputs) = join(jobs.iter().map(|job| job.inputs.as_slice())) else {
        return Err(jobs);
    };
    match taken.run(&inputs, manner.most, |run| (manner.begin)(run, &jobs)) {
        Ended::Answered(Ok(outputs)) => {
            let Some(parts) = split(&outputs, rows) else {
                return Err(jobs);
            };
            for (job, part) in jobs.into_iter().zip(parts) {
                job.answer(Ok(part));
            }
            Ok(Vec::new())
        }
        Ended::Answered(Err(_)) => Err(jobs),
        Ended::Stopped => Ok(jobs),
    }
}

impl Data {
    /// Adds the elements of another of the same type.
    fn append(&mut self, other: &Self) -> Option<()> {
        macro_rules! of {
            ($($kind:ident),*) => {
                match (self, other) {
                    $((Self::$kind(own), Self::$kind(more)) => own.extend_from_slice(more),)*
                    _ => return None,
                }
            };
        }
        of!(
            Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Fp32, Fp64, Bytes, Bf16
        );
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DataType, Label};
    use half::{bf16, f16};

    /// Two elements of each type, for each row 0 and 1.
    fn of_every_type(row: u8) -> Vec<Data> {
        let both = [row, row + 10];
        let floats = both.map(f32::from);
        vec![
            Data::Bool(both.map(|n| n > 5).to_vec()),
            Data::Uint8(both.to_vec()),
            Data::Uint16(both.map(u16::from).to_vec()),
            Data::Uint32(both.map(u32::from).to_vec()),
            Data::Uint64(both.map(u64::from).to_vec()),
            Data::Int8(both.map(|n| n as i8).to_vec()),
            Data::Int16(both.map(i16::from).to_vec()),
            Data::Int32(both.map(i32::from).to_vec()),
            Data::Int64(both.map(i64::from).to_vec()),
            Data::Fp16(floats.map(f16::from_f32).to_vec()),
            Data::Fp32(floats.to_vec()),
            Data::Fp64(both.map(f64::from).to_vec()),
            Data::Bytes(both.map(|n| n.to_string()).to_vec()),
            Data::Bf16(floats.map(bf16::from_f32).to_vec()),
        ]
    }

    fn tensors(row: u8) -> Vec<Tensor> {
        let tensor = |data| Tensor::new(vec![1, 2], data).unwrap();
        of_every_type(row).into_iter().map(tensor).collect()
    }

    #[test]
    fn what_was_joined_is_split_as_it_was_whatever_its_type() {
        let calls = [tensors(0), tensors(1)];
        let types = calls[0].iter().map(|tensor| tensor.data().data_type());
        assert!(types.eq(DataType::ALL));
        assert!(are_alike(&calls[0], &calls[1]));
        let joined = join(calls.iter().map(Vec::as_slice)).unwrap();
        assert!(joined.iter().all(|tensor| tensor.shape() == [2, 2]));
        let outputs: Vec<Output> = joined.into_iter().map(Output::Tensor).collect();
        let parts = split(&outputs, &[1, 1]).unwrap();
        for (part, call) in parts.iter().zip(&calls) {
            let of_call = call.iter().cloned().map(Output::Tensor);
            assert!(of_call.eq(part.iter().cloned()));
        }
    }

    #[test]
    fn the_maps_of_each_call_are_its_own() {
        let map = |n: i64| vec![(Label::Number(n), 1.0)];
        let parts = split(&[Output::Maps(vec![map(0), map(1), map(2)])], &[1, 2]).unwrap();
        let [first, second] = parts.as_slice() else {
            panic!("two")
        };
        assert!(first.as_slice() == [Output::Maps(vec![map(0)])]);
        assert!(second.as_slice() == [Output::Maps(vec![map(1), map(2)])]);
    }

    #[test]
    fn outputs_without_these_rows_are_not_split() {
        let tensor = |shape: &[i64]| {
            let count = shape.iter().product::<i64>() as usize;
            Output::Tensor(Tensor::new(shape.to_vec(), Data::Fp32(vec![0.0; count])).unwrap())
        };
        for (output, splits) in [
            (tensor(&[3]), true),
            (tensor(&[3, 0]), true),
            (tensor(&[3, 2, 2]), true),
            (tensor(&[]), false),
            (tensor(&[1, 3]), false),
            (tensor(&[4]), false),
            (Output::Maps(vec![Vec::new(); 2]), false),
        ] {
            assert_eq!(split(&[output], &[1, 2]).is_some(), splits);
        }
    }

    #[test]
    fn rows_are_those_of_all_inputs() {
        let input = |shape: &[i64]| {
            let count = shape.iter().product::<i64>() as usize;
            Tensor::new(shape.to_vec(), Data::Fp32(vec![0.0; count])).unwrap()
        };
        for (inputs, expected) in [
            (vec![input(&[2, 3]), input(&[2])], Some(2)),
            (vec![input(&[2, 3]), input(&[3])], None),
            (vec![input(&[0, 3])], None),
            (vec![input(&[])], None),
            (vec![], None),
        ] {
            assert_eq!(rows(&inputs), expected);
        }
        assert!(!are_alike(&[input(&[1, 2])], &[input(&[1, 3])]));
        assert!(!are_alike(&[input(&[1])], &[input(&[1]), input(&[1])]));
    }

    #[test]
    fn every_first_dimension_must_be_open() {
        let port = |shape: &[i64]| Port {
            name: "x".to_owned(),
            kind: PortKind::Tensor {
                data_type: DataType::Fp32,
                shape: shape.to_vec(),
            },
        };
        let maps = || Port {
            name: "z".to_owned(),
            kind: PortKind::Maps,
        };
        for (inputs, outputs, expected) in [
            (vec![port(&[-1, 4])], vec![port(&[-1]), maps()], true),
            (vec![port(&[1, 4])], vec![port(&[-1])], false),
            (vec![port(&[-1, 4]), port(&[])], vec![port(&[-1])], false),
            (vec![port(&[-1, 4])], vec![port(&[1])], false),
            (vec![], vec![port(&[-1])], false),
        ] {
            assert_eq!(has_batch_dimension(&inputs, &outputs), expected);
        }
    }
}
