//! The application as the SDK builds it: the same user objects, taken from its graph and put into a [`Pipeline`].

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use wallaroo_orch::source::framing::{ByteOrder, Framing, LengthPrefix};

use crate::call::Callable;
use crate::pipeline::{Pipeline, Step, Table, Work};

/// The address at which a source listens or to which a sink connects.
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A source and its pipeline.
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) framing: Framing,
    pub(crate) pipeline: Pipeline,
}

/// The application's sources and sinks.
pub(crate) struct Application {
    pub(crate) sources: Vec<Source>,
    pub(crate) sinks: Vec<Place>,
}

impl Application {
    /// Imports the application and calls its `application_setup`, as a worker does.
    pub(crate) fn load(py: Python<'_>, path: &str, args: &[String]) -> PyResult<Self> {
        let loaded = py.import("wallaroo.worker._load")?.getattr("load")?.call1((path, args))?;
        let application = loaded.getattr("application")?;
        let mut builder = Builder { application: application.clone(), tables: PyDict::new(py), sinks: Vec::new() };
        let nodes: Vec<Bound<'_, PyAny>> = application.getattr("nodes")?.extract()?;
        let mut sources = Vec::new();
        for (id, node) in nodes.iter().enumerate() {
            if kind(node)? == "source" {
                sources.push(builder.source(id, node)?);
            }
        }
        Ok(Self { sources, sinks: builder.sinks })
    }
}

struct Builder<'py> {
    application: Bound<'py, PyAny>,
    /// States by table name.
    tables: Bound<'py, PyDict>,
    sinks: Vec<Place>,
}

impl<'py> Builder<'py> {
    fn source(&mut self, id: usize, node: &Bound<'py, PyAny>) -> PyResult<Source> {
        let source = node.getattr("source")?;
        let framing = framing(&source.getattr("framing")?)?;
        let decode = Callable::new(&source.getattr("decode")?)?;
        let steps = self.children(id, None)?;
        Ok(Source { place: place(&source)?, framing, pipeline: Pipeline { decode, steps } })
    }

    fn children(&mut self, parent: usize, keys: Option<&Bound<'py, PyTuple>>) -> PyResult<Vec<Step>> {
        let ids: Vec<usize> = self.application.call_method1("children", (parent,))?.extract()?;
        ids.into_iter().map(|id| self.step(id, keys)).collect()
    }

    /// `keys`: the only keys that may occur, if there is a list of keys.
    fn step(&mut self, id: usize, keys: Option<&Bound<'py, PyTuple>>) -> PyResult<Step> {
        let node = self.application.getattr("nodes")?.get_item(id)?;
        let call = |name| node.getattr(name).and_then(|callable| Callable::new(&callable));
        let known: Option<Bound<'py, PyTuple>>;
        let mut keys_below = keys;
        let work = match kind(&node)?.as_str() {
            "computation" => Work::Computation { call: call("call")?, multi: node.getattr("multi")?.extract()? },
            "key_by" => {
                known = node.getattr("known_keys")?.extract()?;
                keys_below = known.as_ref();
                Work::KeyBy { call: call("call")? }
            }
            "collect" => {
                keys_below = None;
                Work::Collect
            }
            "state" => {
                let multi = node.getattr("multi")?.extract()?;
                Work::State { call: call("call")?, multi, table: self.table(&node, keys)? }
            }
            "sink" => {
                let sink = node.getattr("sink")?;
                self.sinks.push(place(&sink)?);
                Work::Sink { call: Callable::new(&sink.getattr("encode")?)?, sink: self.sinks.len() - 1 }
            }
            other => return Err(PyNotImplementedError::new_err(format!("a step of kind {other}"))),
        };
        let next = self.children(id, keys_below)?;
        Ok(Step { name: node.getattr("name")?.extract()?, work, next })
    }

    /// The states of known keys are created at the start, so no message has to check whether a key is known.
    fn table(&mut self, node: &Bound<'py, PyAny>, keys: Option<&Bound<'py, PyTuple>>) -> PyResult<Table> {
        let name = node.getattr("table")?;
        let build = node.getattr("build")?;
        let states = if let Some(states) = self.tables.get_item(&name)? {
            states.cast_into::<PyDict>()?
        } else {
            let states = PyDict::new(node.py());
            self.tables.set_item(&name, &states)?;
            for key in keys.into_iter().flatten() {
                states.set_item(key, build.call0()?)?;
            }
            states
        };
        Ok(Table { states: states.unbind(), build: build.unbind(), closed: keys.is_some() })
    }
}

fn kind(node: &Bound<'_, PyAny>) -> PyResult<String> {
    node.getattr("kind")?.extract()
}

fn place(config: &Bound<'_, PyAny>) -> PyResult<Place> {
    let described = config.call_method0("describe")?;
    if described.get_item("kind")?.extract::<String>()? != "tcp" {
        return Err(PyNotImplementedError::new_err("only TCP sources and sinks are compared"));
    }
    Ok(Place { host: described.get_item("host")?.extract()?, port: described.get_item("port")?.extract()? })
}

fn framing(described: &Bound<'_, PyAny>) -> PyResult<Framing> {
    let field = |name| described.get_item(name);
    if field("kind")?.extract::<String>()? != "length" {
        return Err(PyNotImplementedError::new_err("only length-prefixed frames are compared"));
    }
    Ok(Framing::Length(LengthPrefix {
        header: field("header")?.extract()?,
        width: field("width")?.extract()?,
        offset: field("offset")?.extract()?,
        order: if field("order")?.extract::<String>()? == "big" { ByteOrder::Big } else { ByteOrder::Little },
        signed: field("signed")?.extract()?,
        adjust: field("adjust")?.extract()?,
    }))
}
