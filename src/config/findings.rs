//! Collects what is found while a file is read: its problems, with their positions.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::Path;

use super::problem::{Fault, Place, Problem, Problems, Severity};

/// Problems kept of one file; more are counted only.
const MAX_PROBLEMS: usize = 200;

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

pub(super) struct Findings<'a> {
    file: &'a Path,
    text: &'a str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<(usize, Problem)>>,
    left_out: Cell<usize>,
    errors: Cell<usize>,
}

impl<'a> Findings<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Findings<'a> {
        let after_newline = text.match_indices('\n').map(|(at, _)| at + 1);
        Findings {
            file,
            text,
            line_starts: std::iter::once(0).chain(after_newline).collect(),
            problems: RefCell::default(),
            left_out: Cell::new(0),
            errors: Cell::new(0),
        }
    }

    pub fn error(&self, span: Span, key: &str, fault: Fault) {
        self.errors.set(self.errors.get() + 1);
        self.add(Severity::Error, span, key, fault);
    }

    pub fn warning(&self, span: Span, key: &str, sentence: impl Into<String>) {
        self.add(Severity::Warning, span, key, Fault::Other(sentence.into()));
    }

    /// Whether more problems would only be counted: nobody needs them explained.
    pub fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }

    fn add(&self, severity: Severity, span: Span, key: &str, fault: Fault) {
        if self.is_full() {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let problem = Problem {
            severity,
            place: self.place(span.start),
            key: (!key.is_empty()).then(|| key.to_owned()),
            fault,
        };
        self.problems.borrow_mut().push((span.start, problem));
    }

    /// `line:column` of a place, for problems that name a second one.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let line_start = self.line_starts[line - 1];
        let before = self.text.get(line_start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.line_and_column(offset);
        Place::Position {
            file: self.file.to_path_buf(),
            line,
            column,
        }
    }

    /// The warnings, or everything where there is an error, both in the order of the file.
    pub fn finish(self) -> Result<Vec<Problem>, Problems> {
        let mut problems = self.problems.take();
        problems.sort_by_key(|(offset, _)| *offset);
        let mut problems: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
        if self.left_out.get() > 0 {
            let sentence = format!("{} more problems are not shown", self.left_out.get());
            problems.push(Problem::of_file(self.file, sentence));
        }
        match self.errors.get() {
            0 => Ok(problems),
            _ => Err(Problems(problems)),
        }
    }
}
