//! Texts that are written together: each joins when it is asked for and leaves at its end, and a step reads one token of every text
//! (Yu et al. 2022, "Orca"). A long prompt is read in pieces, between which the others go on (Agrawal et al. 2023, "Sarathi").

use std::collections::VecDeque;
use std::mem;

use trustformers_models::{Model, Outputs};
use trustformers_tensor::Generator;

use super::{Generated, Request, Session};
use crate::Result;
use crate::config::GenerationConfig;
use crate::joint::Joint;

/// How many tokens of prompts are read between two tokens of the texts that are being written, if there are any.
const PIECE: usize = 128;

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

/// A job whose prompts have not been read, or not to the end.
struct Reader<'r> {
    number: u64,
    session: Session<'r>,
    /// Whether it is written beside others, or alone.
    joins: bool,
}

/// Writes what `writer` asks for, together, until there is nothing left to write and it asks for nothing.
///
/// Every job gives what [`super::generate`] gives for it alone, without its keys and values. Prompts are read in the order of the jobs, a
/// long one in pieces, so that what is being written goes on meanwhile; one of embeddings is read at once. What cannot be written token by token beside
/// others (beams, drafts, guidance, an encoder's texts, outputs of every step) is written alone, while the others wait.
///
/// # Errors
/// Those of the model, and the writer's own. What is wrong with one job is told to the writer and ends that one alone.
pub fn write_together<'r>(model: &'r Model, writer: &mut dyn Writer<'r>) -> Result<()> {
    let mut joint = Joint::new(model);
    let mut members: Vec<Member> = Vec::new();
    let mut reading: VecDeque<Reader> = VecDeque::new();
    let mut ended = Vec::new();
    loop {
        let Turn { joins, leaves } = writer.turn(mem::take(&mut ended))?;
        retain(&mut joint, &mut members, |member| !leaves.contains(&member.number))?;
        reading.retain(|reader| !leaves.contains(&reader.number));
        for Job { number, config, request, generator } in joins {
            match Session::begin(model, config, request, generator) {
                Ok(session) => reading.push_back(Reader { number, joins: session.can_join(), session }),
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => ended.push((number, Err(error))),
            }
        }
        let mut room = PIECE;
        while let Some((number, read)) = read_on(&mut reading, &mut room, &mut joint) {
            match read {
                Ok(Read::Joined(session)) => members.push(Member { number, session }),
                Ok(Read::Ended(generated)) => ended.push((number, Ok(*generated))),
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => ended.push((number, Err(error))),
            }
        }
        if members.is_empty() {
            if ended.is_empty() && reading.is_empty() {
                return Ok(());
            }
            continue;
        }
        let last =
            |member: &Member| member.session.sequences.iter().filter_map(|row| row.last()).copied().collect();
        let tokens: Vec<Vec<i64>> = members.iter().map(last).collect();
        let logits = joint.step(&tokens.concat())?;
        // All are chosen before the first is waited for.
        let (mut first, mut chosen) = (0, Vec::with_capacity(members.len()));
        for (member, tokens) in members.iter_mut().zip(&tokens) {
            let own = first..first + tokens.len();
            first = own.end;
            let own = logits.narrow(0, own.start, own.end)?;
            chosen.push(member.session.choose(own, Outputs::default()));
        }
        let mut over = Vec::new();
        for (member, chosen) in members.iter_mut().zip(chosen) {
            match chosen.and_then(|chosen| member.session.accept(chosen)) {
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

/// What has become of a job whose prompts have been read.
enum Read<'r> {
    Joined(Box<Session<'r>>),
    Ended(Box<Generated>),
}

/// Reads the prompts of the oldest job, if there is room for them in this turn: what has become of it. Of prompts that no turn has room
/// for a piece is read.
fn read_on<'r>(
    reading: &mut VecDeque<Reader<'r>>,
    room: &mut usize,
    joint: &mut Joint<'r>,
) -> Option<(u64, Result<Read<'r>>)> {
    let Reader { number, session, joins } = reading.front_mut()?;
    let (number, unread) = (*number, session.unread());
    if unread > *room {
        // What is left of the room is no piece worth reading.
        if *room < PIECE {
            return None;
        }
        match if *joins { session.read_ahead(PIECE) } else { Ok(false) } {
            Ok(true) => return None,
            Ok(false) => {}
            Err(error) => {
                reading.pop_front();
                return Some((number, Err(error)));
            }
        }
    }
    *room = room.saturating_sub(unread);
    reading.pop_front().map(|reader| (number, begin(reader, joint)))
}

/// Reads what is left of a job's prompts and joins it to the others; or does all of it, if that is how it must be done.
fn begin<'r>(reader: Reader<'r>, joint: &mut Joint<'r>) -> Result<Read<'r>> {
    let mut session = reader.session;
    if !reader.joins {
        return Ok(Read::Ended(Box::new(session.run()?)));
    }
    let (logits, outputs) = session.read_prompts()?;
    let chosen = session.choose(logits, outputs)?;
    if !session.accept(chosen)? {
        return Ok(Read::Ended(Box::new(session.finish_all()?)));
    }
    joint.join(session.decoder.hand_over(session.sequences.len()))?;
    Ok(Read::Joined(Box::new(session)))
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
