//! Texts that are written together: each joins when it is asked for and leaves at its end, and a step reads one token of every text
//! (Yu et al. 2022, "Orca").

use std::mem;

use trustformers_models::{Model, Outputs};
use trustformers_tensor::Generator;

use super::{Generated, Request, Session};
use crate::config::GenerationConfig;
use crate::joint::Joint;
use crate::{Result, Scores};

/// Who asks for texts.
pub trait Writer<'r>: Send {
    /// Between two tokens: takes the texts that have ended, by their numbers, and says which begin and which are wanted no more.
    ///
    /// # Errors
    /// Its own, which end everything.
    fn turn(&mut self, ended: Vec<(u64, Result<Generated>)>) -> Result<Turn<'r>>;
}

/// What changes between two tokens.
#[derive(Default)]
pub struct Turn<'r> {
    /// What begins.
    pub joins: Vec<Job<'r>>,
    /// What is given up; numbers of texts that are not there mean nothing.
    pub leaves: Vec<u64>,
}

/// A text to be written, or several for the prompts of one batch.
pub struct Job<'r> {
    /// What the caller calls it.
    pub number: u64,
    /// Its settings.
    pub config: GenerationConfig,
    /// What is to be written.
    pub request: Request<'r>,
    /// What its tokens are drawn with.
    pub generator: Generator,
}

/// A job under way.
struct Member<'r> {
    number: u64,
    session: Box<Session<'r>>,
}

/// Writes what `writer` asks for, together, until there is nothing left to write and it asks for nothing.
///
/// Every job gives what [`super::generate`] gives for it alone, without its keys and values. What cannot be written token by token beside
/// others (beams, drafts, guidance, an encoder's texts, outputs of every step) is written alone, while the others wait.
///
/// # Errors
/// Those of the model, and the writer's own. What is wrong with one job is told to the writer and ends that one alone.
pub fn write_together<'r>(model: &'r Model, writer: &mut dyn Writer<'r>) -> Result<()> {
    let mut joint = Joint::new(model);
    let mut members: Vec<Member> = Vec::new();
    let mut ended = Vec::new();
    loop {
        let Turn { joins, leaves } = writer.turn(mem::take(&mut ended))?;
        retain(&mut joint, &mut members, |member| !leaves.contains(&member.number))?;
        for job in joins {
            let number = job.number;
            match begin(model, job, &mut joint) {
                Ok(Begun::Joined(session)) => members.push(Member { number, session }),
                Ok(Begun::Ended(generated)) => ended.push((number, Ok(*generated))),
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => ended.push((number, Err(error))),
            }
        }
        if members.is_empty() {
            if ended.is_empty() {
                return Ok(());
            }
            continue;
        }
        let last =
            |member: &Member| member.session.sequences.iter().filter_map(|row| row.last()).copied().collect();
        let tokens: Vec<Vec<i64>> = members.iter().map(last).collect();
        let logits = joint.step(&tokens.concat())?;
        let (mut first, mut over) = (0, Vec::new());
        for (member, tokens) in members.iter_mut().zip(&tokens) {
            let own = first..first + tokens.len();
            first = own.end;
            // The scores of all, at once, would be much memory.
            let scores = Scores::new(&logits.narrow(0, own.start, own.end)?)?;
            match member.session.step(scores, Outputs::default()) {
                Ok(true) => {}
                Ok(false) => over.push((member.number, None)),
                Err(error) => over.push((member.number, Some(error))),
            }
        }
        let left = retain(&mut joint, &mut members, |member| {
            !over.iter().any(|(number, _)| *number == member.number)
        })?;
        ended.extend(left.into_iter().zip(over).map(|(member, (number, error))| match error {
            None => (number, member.session.finish_all()),
            Some(error) => (number, Err(error)),
        }));
    }
}

/// What has become of a job after its first token.
enum Begun<'r> {
    Joined(Box<Session<'r>>),
    Ended(Box<Generated>),
}

/// Reads a job's prompts and joins it to the others; or does all of it, if that is how it must be done.
fn begin<'r>(model: &'r Model, job: Job<'r>, joint: &mut Joint<'r>) -> Result<Begun<'r>> {
    let Job { config, request, generator, .. } = job;
    let mut session = Session::begin(model, config, request, generator)?;
    if !session.can_join() {
        return Ok(Begun::Ended(Box::new(session.run()?)));
    }
    let (scores, outputs) = session.read_prompts()?;
    if !session.step(scores, outputs)? {
        return Ok(Begun::Ended(Box::new(session.finish_all()?)));
    }
    joint.join(session.decoder.hand_over(session.sequences.len()))?;
    Ok(Begun::Joined(Box::new(session)))
}

/// Keeps those members for which `stays` says so, and gives the others.
fn retain<'r>(
    joint: &mut Joint,
    members: &mut Vec<Member<'r>>,
    stays: impl Fn(&Member) -> bool,
) -> Result<Vec<Member<'r>>> {
    if members.iter().all(&stays) {
        return Ok(Vec::new());
    }
    let rows = members.iter().flat_map(|member| {
        let stays = stays(member);
        member.session.sequences.iter().map(move |_| stays)
    });
    joint.select(&rows.enumerate().filter_map(|(row, stays)| stays.then_some(row)).collect::<Vec<_>>())?;
    let (kept, left) = mem::take(members).into_iter().partition(stays);
    *members = kept;
    Ok(left)
}
