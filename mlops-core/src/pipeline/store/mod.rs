//! The folder that keeps results, journals and answers.
//!
//! ```text
//! results/ab/cdef..      what one execution of a step gave, by cache key (or operation id)
//! latest/..              the cache key of the last result of each step: what a miss is explained by
//! runs/<id>/journal      what the run committed, line by line
//! runs/<id>/questions/.. what people are asked, and up to when
//! runs/<id>/answers/..   what they decided
//! runs/<id>/run.json     the record of the run
//! triggers/..            what continuous training knows
//! tmp/..                 files that are being written
//! ```
//!
//! A result becomes visible by a rename, a journal line by its checksum: at whatever byte the process is
//! killed, the folder holds whole results and whole lines alone.

mod file;
mod journal;
mod prune;
mod result;

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use journal::{Committed, Entry, Started, decode};
pub(super) use journal::{FORMAT as JOURNAL_FORMAT, Journal};
pub use prune::Pruned;
pub use result::StoredResult;
pub(super) use result::{FORMAT as RESULT_FORMAT, Header, StoredOutput};

use super::approval::Approval;
use crate::run::{Run, RunStatus, Waiting};
use crate::trigger::TriggerState;
use crate::version::later_format;
use crate::{Digest, Error, Result};

/// A folder with the results, journals and records of runs. Any number of processes may share it.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<Path>,
    durable: bool,
}

impl Store {
    /// Opens the folder, and makes it if it does not exist.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let root: PathBuf = folder.into();
        for part in ["results", "latest", "runs", "tmp"] {
            file::create_dir(&root.join(part), true)?;
        }
        Ok(Self { root: root.into(), durable: true })
    }

    /// Leaves writing to the disk to the operating system. What is committed then survives a crash of the
    /// process, not one of the machine; in exchange a step costs no `fsync`.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.durable = false;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// Answers an approval of a run that asked it, also while the run is still going on. The first answer counts.
    ///
    /// # Errors
    /// `Conflict` if it was answered already, or the time of the answer is after the deadline; `NotFound` if the run
    /// asks no such question; `Unavailable` if the folder cannot be written.
    pub fn decide(&self, run: &str, token: &str, answer: &Approval) -> Result<()> {
        check_run_id(run)?;
        // A question is open from when it is asked, before the run leaves a record. Runs of older builds have a record
        // alone.
        let asked = match self.question(run, token)? {
            Some(asked) => Some(asked),
            None => match self.run(run)?.status {
                RunStatus::Suspended { waiting } => waiting.into_iter().find(|open| open.token == token),
                _ => None,
            },
        };
        let is_answered =
            || Error::conflict(format!("question `{token}` of run `{run}` was answered before"));
        match asked.map(|question| question.deadline) {
            None if self.answer_path(run, token).exists() => return Err(is_answered()),
            None => return Err(Error::not_found(format!("run `{run}` asks no question `{token}`"))),
            Some(Some(deadline)) if answer.time > deadline => {
                return Err(Error::conflict(format!(
                    "question `{token}` of run `{run}` could be answered up to {deadline}: it is {}",
                    answer.time
                )));
            }
            Some(_) => {}
        }
        if self.write_answer(run, token, answer)? { Ok(()) } else { Err(is_answered()) }
    }

    /// The answer to a question: this one, unless there is one before it.
    pub(super) fn first_answer(&self, run: &str, token: &str, answer: Approval) -> Result<Approval> {
        match self.write_answer(run, token, &answer)? {
            true => Ok(answer),
            false => Ok(self.answer(run, token)?.unwrap_or(answer)),
        }
    }

    fn write_answer(&self, run: &str, token: &str, answer: &Approval) -> Result<bool> {
        let json = serde_json::to_vec(answer)
            .map_err(|error| Error::internal("an answer does not go into JSON").with_source(error))?;
        file::write_new(&self.tmp(), &self.answer_path(run, token), &json, self.durable)
    }

    /// Notes that a question is asked; one that was asked before stays as it is.
    pub(super) fn ask(&self, run: &str, question: &Waiting) -> Result<()> {
        let json = serde_json::to_vec(question)
            .map_err(|error| Error::internal("a question does not go into JSON").with_source(error))?;
        let path = self.question_path(run, &question.token);
        file::write_new(&self.tmp(), &path, &json, self.durable).map(drop)
    }

    /// Gives a question that was asked its deadline.
    pub(super) fn limit(&self, run: &str, question: &Waiting) -> Result<()> {
        let json = serde_json::to_vec(question)
            .map_err(|error| Error::internal("a question does not go into JSON").with_source(error))?;
        let path = self.question_path(run, &question.token);
        file::write(&self.tmp(), &path, &[&json], self.durable)
    }

    /// The question of this token, if the run asked it.
    pub(super) fn question(&self, run: &str, token: &str) -> Result<Option<Waiting>> {
        let path = self.question_path(run, token);
        let Some(bytes) = file::read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::data(format!("the question in `{}` is damaged", path.display())).with_source(error)
        })
    }

    /// The record of a run, as of its last end or interruption.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Data` if it is damaged, `Unavailable` if it cannot be read.
    pub fn run(&self, id: &str) -> Result<Run> {
        let path = self.run_folder(id)?.join("run.json");
        match file::read(&path)? {
            Some(bytes) => Run::from_json(&bytes),
            None => Err(Error::not_found(format!("there is no record of run `{id}`"))),
        }
    }

    /// The ids of all runs that left a record, sorted.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub fn runs(&self) -> Result<Vec<String>> {
        let folder = self.root.join("runs");
        let entries = fs::read_dir(&folder).map_err(|error| file::failed("list", &folder, error))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| file::failed("list", &folder, error))?;
            if entry.path().join("run.json").exists() {
                ids.extend(entry.file_name().into_string());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    pub(super) fn save_run(&self, run: &Run) -> Result<()> {
        let json = serde_json::to_vec_pretty(run).map_err(|error| {
            Error::internal("the record of a run does not go into JSON").with_source(error)
        })?;
        let folder = self.run_folder(&run.id)?;
        file::create_dir(&folder, self.durable)?;
        file::write(&self.tmp(), &folder.join("run.json"), &[&json], false)
    }

    pub(crate) fn save_trigger(&self, name: &str, state: &TriggerState) -> Result<()> {
        let json = serde_json::to_vec_pretty(state)
            .map_err(|error| Error::internal("a trigger does not go into JSON").with_source(error))?;
        let path = self.trigger_path(name);
        file::create_dir(&self.root.join("triggers"), self.durable)?;
        file::write(&self.tmp(), &path, &[&json], self.durable)
    }

    pub(crate) fn load_trigger(&self, name: &str) -> Result<Option<TriggerState>> {
        let path = self.trigger_path(name);
        let Some(bytes) = file::read(&path)? else { return Ok(None) };
        if let Some(format) = later_format(&bytes, TriggerState::FORMAT) {
            let known = TriggerState::FORMAT;
            return Err(Error::unsupported(format!(
                "trigger format {format}: this build reads up to {known}"
            )));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::data(format!("the trigger in `{}` is damaged: delete it to start anew", path.display()))
                .with_source(error)
        })
    }

    fn trigger_path(&self, name: &str) -> PathBuf {
        self.root.join("triggers").join(Digest::of(name).to_string())
    }

    /// The answer to a question, if it was given.
    pub(crate) fn answer(&self, run: &str, token: &str) -> Result<Option<Approval>> {
        let path = self.answer_path(run, token);
        let Some(bytes) = file::read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::data(format!("the answer in `{}` is damaged", path.display())).with_source(error)
        })
    }

    /// The result under this id.
    ///
    /// # Errors
    /// `Data` if it is damaged.
    pub(super) fn load(&self, id: &Digest) -> Result<Option<StoredResult>> {
        let path = self.result_path(id);
        let Some(bytes) = file::read(&path)? else { return Ok(None) };
        StoredResult::decode(&bytes.into())
            .map(Some)
            .map_err(|error| error.context(format!("the result in `{}` is damaged", path.display())))
    }

    pub(super) fn save(&self, id: &Digest, header: &Header, outputs: &[Vec<u8>]) -> Result<()> {
        let path = self.result_path(id);
        if let Some(folder) = path.parent() {
            file::create_dir(folder, self.durable)?;
        }
        let head = header.encode()?;
        let mut parts = vec![head.as_slice()];
        parts.extend(outputs.iter().map(Vec::as_slice));
        file::write(&self.tmp(), &path, &parts, self.durable)?;
        let pointer = self.latest_path(&header.fields.pipeline, &header.fields.step);
        file::write(&self.tmp(), &pointer, &[id.to_string().as_bytes()], false)
    }

    /// What the last result of this step was computed from, to explain a miss by.
    pub(super) fn latest(&self, pipeline: &str, step: &str) -> Result<Option<Header>> {
        let Some(bytes) = file::read(&self.latest_path(pipeline, step))? else { return Ok(None) };
        let id = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<Digest>().ok());
        let Some(id) = id else { return Ok(None) };
        let path = self.result_path(&id);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file::failed("read", &path, error)),
        };
        // A damaged one explains nothing.
        Ok(StoredResult::read_header(&mut BufReader::new(file)).ok())
    }

    pub(super) fn journal_path(&self, run: &str) -> Result<PathBuf> {
        Ok(self.run_folder(run)?.join("journal"))
    }

    pub(super) fn make_journal_folder(&self, run: &str) -> Result<PathBuf> {
        file::create_dir(&self.run_folder(run)?, self.durable)?;
        self.journal_path(run)
    }

    pub(super) fn read_journal(&self, run: &str) -> Result<Vec<Entry>> {
        let path = self.journal_path(run)?;
        let bytes = file::read(&path)?.unwrap_or_default();
        match decode(&bytes) {
            Ok((entries, _)) => Ok(entries),
            Err(error) => Err(error.context(format!("`{}` cannot be resumed from", path.display()))),
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn result_path(&self, id: &Digest) -> PathBuf {
        let name = id.to_string();
        let (head, tail) = name.split_at(2);
        let mut path = self.root.join("results");
        path.push(head);
        path.push(tail);
        path
    }

    fn latest_path(&self, pipeline: &str, step: &str) -> PathBuf {
        let mut digester = crate::Digester::new();
        digester.field(pipeline);
        digester.field(step);
        self.root.join("latest").join(digester.finish().to_string())
    }

    fn answer_path(&self, run: &str, token: &str) -> PathBuf {
        self.root.join("runs").join(run).join("answers").join(Digest::of(token).to_string())
    }

    fn question_path(&self, run: &str, token: &str) -> PathBuf {
        self.root.join("runs").join(run).join("questions").join(Digest::of(token).to_string())
    }

    /// The folder of a run.
    pub(super) fn run_folder(&self, run: &str) -> Result<PathBuf> {
        check_run_id(run)?;
        Ok(self.root.join("runs").join(run))
    }

    /// The greatest number of a run whose id is this name, `-` and the number; 0 without one.
    pub(crate) fn last_number(&self, name: &str) -> Result<u64> {
        let folder = self.root.join("runs");
        let entries = fs::read_dir(&folder).map_err(|error| file::failed("list", &folder, error))?;
        let mut last = 0;
        for entry in entries {
            let id = entry.map_err(|error| file::failed("list", &folder, error))?.file_name();
            let number = id.to_str().and_then(|id| id.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last)
    }
}

/// The id of a run must be safe as a file name everywhere.
pub(crate) fn check_run_id(run: &str) -> Result<()> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if run.is_empty() || run.len() > 128 || run.starts_with('.') || !run.chars().all(safe) {
        return Err(Error::invalid(format!(
            "`{run}` cannot name a run: want 1 to 128 of A-Z a-z 0-9 - _ . +, not starting with a dot"
        )));
    }
    Ok(())
}
