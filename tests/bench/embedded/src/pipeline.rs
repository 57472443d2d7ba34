//! The application's steps as a tree. Every message passes through it depth first, as an object, by reference.

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::call::Callable;
use crate::outlet::Outlet;

/// One step and the steps that take its outputs.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) next: Vec<Step>,
}

/// What a step does.
pub(crate) enum Work {
    /// A stateless computation; with `multi` it returns any number of outputs.
    Computation { call: Callable, multi: bool },
    /// Computes a message's key.
    KeyBy { call: Callable },
    /// Gives all messages the key `None`.
    Collect,
    /// A computation with the state of the message's key.
    State { call: Callable, multi: bool, table: Table },
    /// Encodes a message for the sink with this index.
    Sink { call: Callable, sink: usize },
}

/// Keyed state, shared by all steps that name the same table.
pub(crate) struct Table {
    pub(crate) states: Py<PyDict>,
    pub(crate) build: Py<PyAny>,
    /// Whether only the initial keys may occur.
    pub(crate) closed: bool,
}

/// Runs the messages of one source.
pub(crate) struct Pipeline {
    pub(crate) decode: Callable,
    pub(crate) steps: Vec<Step>,
}

impl Pipeline {
    /// Runs one frame through all steps. If the user's code fails, the error is printed and the message dropped.
    pub(crate) fn run(&self, py: Python<'_>, frame: &[u8], outlets: &mut [Outlet]) {
        match self.decode.call(PyBytes::new(py, frame).as_any()) {
            Ok(value) => deliver(&self.steps, &value, None, outlets),
            Err(error) => show("decoder", &error, py),
        }
    }
}

fn deliver<'py>(steps: &[Step], value: &Bound<'py, PyAny>, key: Option<&Bound<'py, PyAny>>, outlets: &mut [Outlet]) {
    if value.is_none() {
        return;
    }
    for step in steps {
        if let Err(error) = step.run(value, key, outlets) {
            show(&step.name, &error, value.py());
        }
    }
}

impl Step {
    fn run<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        key: Option<&Bound<'py, PyAny>>,
        outlets: &mut [Outlet],
    ) -> PyResult<()> {
        match &self.work {
            Work::Computation { call, multi } => self.output(&call.call(value)?, *multi, key, outlets),
            Work::KeyBy { call } => {
                let key = call.call(value)?;
                deliver(&self.next, value, Some(&key), outlets);
                Ok(())
            }
            Work::Collect => {
                deliver(&self.next, value, None, outlets);
                Ok(())
            }
            Work::State { call, multi, table } => {
                let state = table.state(value.py(), key)?;
                let result = call.call_with_state(value, &state)?;
                // Whether the state has changed is not used here.
                let output = match result.cast_exact::<PyTuple>() {
                    Ok(pair) if pair.len() == 2 => pair.get_borrowed_item(0)?,
                    _ => return Err(PyTypeError::new_err("a state computation returns (output, state_changed)")),
                };
                self.output(&output, *multi, key, outlets)
            }
            Work::Sink { call, sink } => outlets[*sink].take(&call.call(value)?),
        }
    }

    fn output<'py>(
        &self,
        output: &Bound<'py, PyAny>,
        multi: bool,
        key: Option<&Bound<'py, PyAny>>,
        outlets: &mut [Outlet],
    ) -> PyResult<()> {
        if !multi {
            deliver(&self.next, output, key, outlets);
        } else if let Ok(list) = output.cast_exact::<PyList>() {
            for item in list.iter() {
                deliver(&self.next, &item, key, outlets);
            }
        } else if output.is_exact_instance_of::<PyString>() || output.is_exact_instance_of::<PyBytes>() {
            return Err(PyTypeError::new_err("compute_multi returns an iterable of outputs, not a str or bytes"));
        } else if !output.is_none() {
            for item in output.try_iter()? {
                deliver(&self.next, &item?, key, outlets);
            }
        }
        Ok(())
    }
}

impl Table {
    fn state<'py>(&self, py: Python<'py>, key: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let states = self.states.bind(py);
        let none = py.None();
        let key = key.unwrap_or(none.bind(py));
        if let Some(state) = states.get_item(key)? {
            return Ok(state);
        }
        if self.closed {
            return Err(PyKeyError::new_err(key.clone().unbind()));
        }
        let state = self.build.bind(py).call0()?;
        states.set_item(key, &state)?;
        Ok(state)
    }
}

fn show(step: &str, error: &PyErr, py: Python<'_>) {
    eprintln!("error: {step} failed, the message is dropped");
    error.print(py);
}
